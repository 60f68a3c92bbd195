//! What a machine can be found to be.

/// The verdict on one machine; one list everywhere (docs/architecture.md 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// The extension arrived, and nothing says that the sensor does not work.
    Protected,
    /// On its way, or still within the grace period.
    Provisioning,
    /// The extension or its sensor failed.
    Failed,
    /// There is no extension where one belongs.
    Missing,
    /// The Arc agent is not connected.
    ArcDisconnected,
    /// Defender for Servers is switched off on this machine.
    PlanOff,
    /// The retired agent instead of the unified solution.
    LegacyAgent,
    /// Azure told something that has no meaning here.
    Unknown,
    /// Not running: nothing can be said.
    PoweredOff,
    /// Defender for Endpoint does not exist for its system, or not through Azure.
    UnsupportedOs,
    /// Left out by `spec.machines.exclude`.
    Excluded,
    /// A Uniform scale set: agentless scanning only.
    AgentlessOnly,
    /// A second resource for a machine that has another one.
    DuplicateShell,
}

impl Verdict {
    /// All of them, in the order of every table: those that count first.
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

    /// As status, metrics and tables spell it.
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

    /// Whether the machine belongs to the denominator: it should be protected.
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

    /// Somebody has to look at it: it counts, and is neither protected nor on its way.
    pub const fn is_bad(self) -> bool {
        self.is_eligible() && !matches!(self, Self::Protected | Self::Provisioning)
    }

    /// How urgent it is: the lower, the worse. A machine that nobody protects comes before one whose sensor is old.
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
