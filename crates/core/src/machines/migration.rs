//! How far the move from Defender for Endpoint to Defender for Servers is: a stage for each machine, and their counts.

use std::collections::BTreeMap;

use super::{
    Environment, Finding, Kind, Machine, Verdict,
    operating_systems::{Identified, Support, identify, system_name},
};

/// Different systems that a report names at most; further ones are counted under [`OTHER_SYSTEMS`].
pub const MOST_SYSTEMS: usize = 200;

/// Name of the systems beyond [`MOST_SYSTEMS`].
pub const OTHER_SYSTEMS: &str = "other systems";

/// How far a machine is, and thereby what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// It has arrived: Defender for Servers protects it.
    Onboarded,
    /// On its way: the extension is being installed, or the grace period still runs.
    Waiting,
    /// Windows Server 2012 R2 or 2016 that still runs the retired agent.
    LegacyAgent,
    /// The extension or its sensor failed.
    Failing,
    /// No extension, and the grace period is over.
    Missing,
    /// The plan is switched off on this machine.
    PlanOff,
    /// The Arc agent is not connected.
    NotConnected,
    /// Defender for Endpoint supports the system and the Arc agent does not.
    DirectOnboardingOnly,
    /// Azure told something that has no meaning here.
    Unclear,
    /// Defender for Endpoint does not support the system through Defender for Cloud.
    Unsupported,
    /// Powered off: nothing can be said.
    NotAssessable,
    /// A Uniform scale set, which is scanned without an agent.
    AgentlessOnly,
    /// Left out by `spec.machines.exclude`.
    Excluded,
    /// A second resource of a machine that is counted elsewhere.
    DuplicateShell,
}

impl Stage {
    /// All of them, in the order of every report: the way first, then what is in the way, then what never goes it.
    pub const ALL: [Self; 14] = [
        Self::Onboarded,
        Self::Waiting,
        Self::LegacyAgent,
        Self::Failing,
        Self::Missing,
        Self::PlanOff,
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
            Verdict::PlanOff => Self::PlanOff,
            Verdict::LegacyAgent => Self::LegacyAgent,
            Verdict::Unknown => Self::Unclear,
            Verdict::PoweredOff => Self::NotAssessable,
            Verdict::UnsupportedOs => Self::Unsupported,
            Verdict::Excluded => Self::Excluded,
            Verdict::AgentlessOnly => Self::AgentlessOnly,
            Verdict::DuplicateShell => Self::DuplicateShell,
        };
        // Whatever keeps it from arriving through Arc, mending Arc is not the way.
        let would_fix_arc = matches!(stage, Self::Failing | Self::Missing | Self::NotConnected);
        if would_fix_arc && needs_direct_onboarding(machine) {
            return Self::DirectOnboardingOnly;
        }
        stage
    }

    /// As reports spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Onboarded => "Onboarded",
            Self::Waiting => "Waiting",
            Self::LegacyAgent => "LegacyAgent",
            Self::Failing => "Failing",
            Self::Missing => "Missing",
            Self::PlanOff => "PlanOff",
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

    /// What to do about the machines of this stage.
    pub const fn next_step(self) -> &'static str {
        match self {
            Self::Onboarded => "none: Defender for Servers protects them",
            Self::Waiting => {
                "wait: the first machines of a tenant take up to 12 hours, later ones about one, those of AWS and GCP up to 24"
            }
            Self::LegacyAgent => {
                "set endpointIntegration.unifiedSolution to Enabled, then remove the extension: it comes again with the unified solution, which replaces the old agent"
            }
            Self::Failing => "mend what each machine's remedy says (--verdict Failed -o wide)",
            Self::Missing => {
                "check plan, endpoint integration and the machines' agents, then what each machine's remedy says (--verdict Missing -o wide)"
            }
            Self::PlanOff => {
                "delete the machines' own pricings, or set plan.inheritance to Enforced; leave them out with spec.machines.exclude if it is meant"
            }
            Self::NotConnected => {
                "mend the Arc agent (azcmagent show, azcmagent check); connect an expired machine again"
            }
            Self::DirectOnboardingOnly => {
                "the Arc agent does not support these systems: onboard them directly (plan.directOnboarding in one subscription of the tenant), or move them to a newer system"
            }
            Self::Unclear => {
                "look at the machines in Azure: it told something that is not known here (--verdict Unknown -o wide)"
            }
            Self::Unsupported => {
                "move them to a system that Defender for Endpoint supports, or leave them as they are: they do not count"
            }
            Self::NotAssessable => "start them to see: extensions arrive on running machines only",
            Self::AgentlessOnly => {
                "none: P2 scans them without an agent; instances of Flexible scale sets can have the extension"
            }
            Self::Excluded => "none: spec.machines.exclude leaves them out",
            Self::DuplicateShell => {
                "none: each stands for a machine that is counted already; switch one of the two connectors off"
            }
        }
    }

    /// Whether a report names the systems of its machines: they are the reason.
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

/// An Arc machine whose system Defender for Endpoint supports and the Arc agent does not: connected by an agent of old,
/// or by force.
fn needs_direct_onboarding(machine: &Machine) -> bool {
    machine.kind == Kind::ArcMachine
        && matches!(
            identify(machine),
            Identified::Known(known)
                if known.arc() == Support::Unsupported && known.endpoint() == Support::Supported
        )
}

/// What Azure Resource Manager cannot tell about the move (docs/azure-api.md 5.1 and 6.8).
pub const NOT_VISIBLE: [&str; 4] = [
    "machines that are onboarded directly (without Azure Arc) have no resource in Azure: they are in none of these numbers; look for them in the device inventory of the Defender portal",
    "machines outside Azure that neither Azure Arc nor a connector knows are not seen at all: compare the totals with your own inventory",
    "antivirus policies and exclusions are not carried over and not visible here: plan them before a server's Defender Antivirus becomes active",
    "that the retired agent of Windows Server 2012 R2 and 2016 (MMA, MsSense.exe) has stopped is seen on the machine only",
];

/// The counts: every machine stands in exactly one stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Migration {
    counts: [[u64; Stage::ALL.len()]; Environment::ALL.len()],
    systems: BTreeMap<(Environment, Stage, String), u64>,
}

impl Migration {
    /// Counts a machine.
    pub fn add(&mut self, machine: &Machine, finding: &Finding) {
        let environment = machine.environment();
        let stage = Stage::of(machine, finding);
        let machines = u64::from(machine.instances);
        self.count_more(environment, stage, machines);
        if stage.names_systems() {
            self.count_system((environment, stage, system_name(machine)), machines);
        }
    }

    /// Adds the counts of another one.
    pub fn merge(&mut self, other: Self) {
        for environment in Environment::ALL {
            for stage in Stage::ALL {
                self.count_more(environment, stage, other.count(environment, stage));
            }
        }
        for (key, machines) in other.systems {
            self.count_system(key, machines);
        }
    }

    /// Machines of one environment in one stage.
    pub fn count(&self, environment: Environment, stage: Stage) -> u64 {
        let row = self.counts.get(environment as usize);
        row.and_then(|row| row.get(stage as usize))
            .copied()
            .unwrap_or_default()
    }

    /// All machines of an environment.
    pub fn total(&self, environment: Environment) -> u64 {
        Stage::ALL
            .iter()
            .map(|stage| self.count(environment, *stage))
            .sum()
    }

    /// Systems of one environment and stage, with their machines: the most frequent first.
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

    /// Names come from agents: their number is bounded here.
    fn count_system(&mut self, mut key: (Environment, Stage, String), machines: u64) {
        if self.systems.len() >= MOST_SYSTEMS && !self.systems.contains_key(&key) {
            key.2 = OTHER_SYSTEMS.into();
        }
        *self.systems.entry(key).or_default() += machines;
    }
}

#[cfg(test)]
#[path = "migration_tests.rs"]
mod tests;
