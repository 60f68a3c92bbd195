//! Verdicts on machines.

/// The verdict on one machine, the same everywhere (docs/architecture.md 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// The extension succeeded, and no report says that the sensor does not work.
    Protected,
    /// The extension is being installed, or the grace period has not ended.
    Provisioning,
    /// The extension or its sensor failed.
    Failed,
    /// The extension is missing.
    Missing,
    /// The Arc agent is not connected.
    ArcDisconnected,
    /// The machine has its own plan, and it is Free.
    PlanOff,
    /// The retired agent runs instead of the unified solution.
    LegacyAgent,
    /// Azure reports something that this version does not recognize.
    Unknown,
    /// The machine is not running, so its protection cannot be verified.
    PoweredOff,
    /// Defender for Endpoint does not support the operating system through Defender for Cloud.
    UnsupportedOs,
    /// Excluded by `spec.machines.exclude`.
    Excluded,
    /// A Uniform scale set: agentless scanning only.
    AgentlessOnly,
    /// A second resource of a machine that another resource represents.
    DuplicateShell,
}

impl Verdict {
    /// All verdicts, in the order of every table: eligible ones first.
    pub const ALL: [Self; 13] = [
        Self::Protected,
        Self::Provisioning,
        Self::Failed,
        Self::Missing,
        Self::ArcDisconnected,
        Self::PlanOff,
        Self::LegacyAgent,
        Self::Unknown,
        Self::PoweredOff,
        Self::UnsupportedOs,
        Self::Excluded,
        Self::AgentlessOnly,
        Self::DuplicateShell,
    ];

    /// The name in status, metrics and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Protected => "Protected",
            Self::Provisioning => "Provisioning",
            Self::Failed => "Failed",
            Self::Missing => "Missing",
            Self::ArcDisconnected => "ArcDisconnected",
            Self::PlanOff => "PlanOff",
            Self::LegacyAgent => "LegacyAgent",
            Self::Unknown => "Unknown",
            Self::PoweredOff => "PoweredOff",
            Self::UnsupportedOs => "UnsupportedOs",
            Self::Excluded => "Excluded",
            Self::AgentlessOnly => "AgentlessOnly",
            Self::DuplicateShell => "DuplicateShell",
        }
    }

    /// Whether the machine should be protected, and so counts in the denominator.
    pub const fn is_eligible(self) -> bool {
        !matches!(
            self,
            Self::PoweredOff
                | Self::UnsupportedOs
                | Self::Excluded
                | Self::AgentlessOnly
                | Self::DuplicateShell
        )
    }

    /// Whether the machine needs attention: it is eligible, and neither protected nor provisioning.
    pub const fn is_bad(self) -> bool {
        self.is_eligible() && !matches!(self, Self::Protected | Self::Provisioning)
    }

    /// Whether the machine does not count because of what it reports about itself. Unlike its exclusion, this can be a
    /// lag of Resource Graph.
    pub const fn leaves_by_its_state(self) -> bool {
        matches!(self, Self::PoweredOff | Self::UnsupportedOs)
    }

    /// The urgency; lower is worse. A machine without a working sensor comes before one with a retired sensor.
    pub const fn rank(self) -> u8 {
        match self {
            Self::Failed => 0,
            Self::Missing => 1,
            Self::PlanOff => 2,
            Self::ArcDisconnected => 3,
            Self::Unknown => 4,
            Self::LegacyAgent => 5,
            Self::Provisioning => 6,
            _ => 7,
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}
