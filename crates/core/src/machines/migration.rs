//! Progress of the migration from Defender for Endpoint to Defender for Servers: a stage for each machine, and counts.

use std::collections::BTreeMap;

use super::{
    Billing, Environment, Finding, Kind, Machine, PlanOff, Verdict,
    operating_systems::{Identified, Support, identify, system_name},
};

/// The maximum number of systems in a report; further ones are counted as [`OTHER_SYSTEMS`].
pub const MOST_SYSTEMS: usize = 200;

/// The name of all systems beyond [`MOST_SYSTEMS`].
pub const OTHER_SYSTEMS: &str = "other systems";

/// The stage of a machine, which decides about the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Defender for Servers protects it.
    Onboarded,
    /// The extension is being installed, or the grace period has not ended.
    Waiting,
    /// The plan of the subscription is Free.
    PlanOff,
    /// The machine has its own plan, and it is Free.
    MachinePlanOff,
    /// Windows Server 2012 R2 or 2016 that still runs the retired agent.
    LegacyAgent,
    /// The extension or its sensor failed.
    Failing,
    /// The extension is missing, and the grace period has ended.
    Missing,
    /// The Arc agent is not connected.
    NotConnected,
    /// Defender for Endpoint supports the system, but the Arc agent does not.
    DirectOnboardingOnly,
    /// Azure reports something that this version does not recognize.
    Unclear,
    /// Defender for Endpoint does not support the system through Defender for Cloud.
    Unsupported,
    /// Powered off, so its protection cannot be verified.
    NotAssessable,
    /// A Uniform scale set, which is scanned without an agent.
    AgentlessOnly,
    /// Excluded by `spec.machines.exclude`.
    Excluded,
    /// A second resource of a machine that is counted elsewhere.
    DuplicateShell,
}

impl Stage {
    /// All stages, in the order of every report: progress, then obstacles, then machines that are not migrated.
    pub const ALL: [Self; 15] = [
        Self::Onboarded,
        Self::Waiting,
        Self::PlanOff,
        Self::MachinePlanOff,
        Self::LegacyAgent,
        Self::Failing,
        Self::Missing,
        Self::NotConnected,
        Self::DirectOnboardingOnly,
        Self::Unclear,
        Self::Unsupported,
        Self::NotAssessable,
        Self::AgentlessOnly,
        Self::Excluded,
        Self::DuplicateShell,
    ];

    /// The stage of a machine.
    pub fn of(machine: &Machine, finding: &Finding) -> Self {
        let stage = match finding.verdict {
            Verdict::Protected => Self::Onboarded,
            Verdict::Provisioning => Self::Waiting,
            Verdict::Failed => Self::Failing,
            Verdict::Missing => Self::Missing,
            Verdict::ArcDisconnected => Self::NotConnected,
            Verdict::PlanOff if finding.plan_off == Some(PlanOff::OfSubscription) => Self::PlanOff,
            Verdict::PlanOff => Self::MachinePlanOff,
            Verdict::LegacyAgent => Self::LegacyAgent,
            Verdict::Unknown => Self::Unclear,
            Verdict::PoweredOff => Self::NotAssessable,
            Verdict::UnsupportedOs => Self::Unsupported,
            Verdict::Excluded => Self::Excluded,
            Verdict::AgentlessOnly => Self::AgentlessOnly,
            Verdict::DuplicateShell => Self::DuplicateShell,
        };
        // An agent that does not support the system is not worth repairing.
        let would_fix_arc = matches!(stage, Self::Failing | Self::Missing | Self::NotConnected);
        if would_fix_arc && needs_direct_onboarding(machine) {
            return Self::DirectOnboardingOnly;
        }
        stage
    }

    /// The name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Onboarded => "Onboarded",
            Self::Waiting => "Waiting",
            Self::LegacyAgent => "LegacyAgent",
            Self::Failing => "Failing",
            Self::Missing => "Missing",
            Self::PlanOff => "PlanOff",
            Self::MachinePlanOff => "MachinePlanOff",
            Self::NotConnected => "NotConnected",
            Self::DirectOnboardingOnly => "DirectOnboardingOnly",
            Self::Unclear => "Unclear",
            Self::Unsupported => "Unsupported",
            Self::NotAssessable => "NotAssessable",
            Self::AgentlessOnly => "AgentlessOnly",
            Self::Excluded => "Excluded",
            Self::DuplicateShell => "DuplicateShell",
        }
    }

    /// What the user should do about the machines of this stage.
    pub const fn next_step(self) -> &'static str {
        match self {
            Self::Onboarded => "None. Defender for Servers protects them.",
            Self::Waiting => {
                "Wait. The first machines of a tenant take up to 12 hours, later ones about one hour, those of AWS and GCP up to 24 hours."
            }
            Self::LegacyAgent => {
                "Set endpointIntegration.unifiedSolution to Enabled, then remove the extension. Defender for Cloud deploys it again with the unified solution, which replaces the retired agent."
            }
            Self::Failing => "Follow the remedy of each machine (--verdict Failed -o wide).",
            Self::Missing => {
                "Check the endpoint integration, then follow the remedy of each machine (--verdict Missing -o wide)."
            }
            Self::PlanOff => {
                "Switch on the plan of these subscriptions (plan.tier P1 or P2). Until then nothing is deployed to the machines."
            }
            Self::MachinePlanOff => {
                "Delete the machines' own plans, or set plan.inheritance to Enforced. If Free is intended, add the machines to spec.machines.exclude."
            }
            Self::NotConnected => {
                "Repair the Azure Arc agent (azcmagent show, azcmagent check). If its credential has expired, connect the machine again."
            }
            Self::DirectOnboardingOnly => {
                "Onboard these machines directly (plan.directOnboarding in one subscription of the tenant): the Azure Arc agent does not support their systems. Or move them to a newer system."
            }
            Self::Unclear => {
                "Check the machines in Azure, which reports something that this version does not recognize (--verdict Unknown -o wide)."
            }
            Self::Unsupported => {
                "Move them to a system that Defender for Endpoint supports. Until then they do not count."
            }
            Self::NotAssessable => "Start them. Azure deploys extensions to running machines only.",
            Self::AgentlessOnly => {
                "None. P2 scans them without an agent. Instances of Flexible scale sets can have the extension."
            }
            Self::Excluded => "None. spec.machines.exclude excludes them.",
            Self::DuplicateShell => {
                "Disable one of the two connectors. These machines already count as another resource."
            }
        }
    }

    /// Whether a report lists the operating systems of the machines, because they are the cause.
    pub const fn names_systems(self) -> bool {
        matches!(
            self,
            Self::LegacyAgent | Self::DirectOnboardingOnly | Self::Unsupported
        )
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Whether Defender for Endpoint supports the system of an Arc machine that the Arc agent does not support, such as one
/// that an old agent connected.
fn needs_direct_onboarding(machine: &Machine) -> bool {
    machine.kind == Kind::ArcMachine
        && matches!(
            identify(machine),
            Identified::Known(known)
                if known.arc() == Support::Unsupported && known.endpoint() == Support::Supported
        )
}

/// What Azure Resource Manager does not show about the migration (docs/azure-api.md 5.1 and 6.8).
pub const NOT_VISIBLE: [&str; 5] = [
    "Machines that are onboarded directly, without Azure Arc, have no resource in Azure and are not counted here. Find them in the device inventory of the Defender portal.",
    "Machines outside Azure that neither Azure Arc nor a connector knows are not counted here. Compare the totals with your own inventory.",
    "The mode of the antivirus: Linux machines that Defender for Servers onboards start with antivirus in passive mode, Windows machines in active mode (https://learn.microsoft.com/defender-endpoint/microsoft-defender-antivirus-compatibility, https://learn.microsoft.com/defender-endpoint/linux-preferences). An existing installation of the same tenant is kept as it is.",
    "The antivirus policies and exclusions of the machines, which are not migrated. Plan them before Defender Antivirus becomes active on a server (https://learn.microsoft.com/defender-endpoint/migrating-mde-server-to-cloud, https://learn.microsoft.com/defender-endpoint/configure-server-exclusions-microsoft-defender-antivirus).",
    "Whether the retired agent of Windows Server 2012 R2 and 2016 (MMA, MsSense.exe) has stopped is visible on the machine only.",
];

/// Counts of machines by environment, stage and billing. Every machine has exactly one stage and one billing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Migration {
    counts: [[u64; Stage::ALL.len()]; Environment::ALL.len()],
    billing: [[u64; Billing::ALL.len()]; Environment::ALL.len()],
    systems: BTreeMap<(Environment, Stage, String), u64>,
}

impl Migration {
    /// Adds a machine.
    pub fn add(&mut self, machine: &Machine, finding: &Finding) {
        let environment = machine.environment();
        let stage = Stage::of(machine, finding);
        let machines = u64::from(machine.instances);
        self.count_more(environment, stage, machines);
        self.bill_more(environment, Billing::of(machine, finding), machines);
        if stage.names_systems() {
            self.count_system((environment, stage, system_name(machine)), machines);
        }
    }

    /// Adds other counts.
    pub fn merge(&mut self, other: &Self) {
        for environment in Environment::ALL {
            for stage in Stage::ALL {
                self.count_more(environment, stage, other.count(environment, stage));
            }
            for billing in Billing::ALL {
                self.bill_more(environment, billing, other.billing(environment, billing));
            }
        }
        for (key, machines) in &other.systems {
            self.count_system(key.clone(), *machines);
        }
    }

    /// The number of machines of one environment in one stage.
    pub fn count(&self, environment: Environment, stage: Stage) -> u64 {
        let row = self.counts.get(environment as usize);
        row.and_then(|row| row.get(stage as usize))
            .copied()
            .unwrap_or_default()
    }

    /// The number of machines of one environment with one billing.
    pub fn billing(&self, environment: Environment, billing: Billing) -> u64 {
        let row = self.billing.get(environment as usize);
        row.and_then(|row| row.get(billing as usize))
            .copied()
            .unwrap_or_default()
    }

    /// The number of machines of an environment that P1 or P2 bills.
    pub fn billed(&self, environment: Environment) -> u64 {
        let billed = Billing::ALL
            .into_iter()
            .filter(|one| one.is_billed() == Some(true));
        billed.map(|one| self.billing(environment, one)).sum()
    }

    /// The number of machines of an environment.
    pub fn total(&self, environment: Environment) -> u64 {
        Stage::ALL
            .iter()
            .map(|stage| self.count(environment, *stage))
            .sum()
    }

    /// The operating systems of one environment and stage with their numbers of machines, the most frequent first.
    pub fn systems(&self, environment: Environment, stage: Stage) -> Vec<(&str, u64)> {
        let here = |key: &(Environment, Stage, String)| (key.0, key.1) == (environment, stage);
        let mut systems: Vec<_> = self
            .systems
            .iter()
            .filter(|(key, _)| here(key))
            .map(|(key, machines)| (key.2.as_str(), *machines))
            .collect();
        systems.sort_by_key(|(_, machines)| std::cmp::Reverse(*machines));
        systems
    }

    fn count_more(&mut self, environment: Environment, stage: Stage, machines: u64) {
        let row = self.counts.get_mut(environment as usize);
        if let Some(count) = row.and_then(|row| row.get_mut(stage as usize)) {
            *count += machines;
        }
    }

    fn bill_more(&mut self, environment: Environment, billing: Billing, machines: u64) {
        let row = self.billing.get_mut(environment as usize);
        if let Some(count) = row.and_then(|row| row.get_mut(billing as usize)) {
            *count += machines;
        }
    }

    /// Agents can report any name, so the number of names is bounded.
    fn count_system(&mut self, mut key: (Environment, Stage, String), machines: u64) {
        if self.systems.len() >= MOST_SYSTEMS && !self.systems.contains_key(&key) {
            key.2 = OTHER_SYSTEMS.into();
        }
        *self.systems.entry(key).or_default() += machines;
    }
}

#[cfg(test)]
mod tests;
