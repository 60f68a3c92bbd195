//! Whether Defender for Servers bills a machine once its plan is P1 or P2. Both plans bill the same machines, at
//! different prices, by their state (docs/azure-api.md 6.8).

use super::{Finding, Kind, Machine, PlanOff, Verdict};

/// What decides whether a machine is billed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Billing {
    /// Billed: a running virtual machine, an instance of a scale set, or a connected Arc machine.
    Running,
    /// Billed: the virtual machine is stopped, but still allocated.
    Stopped,
    /// Not billed: the virtual machine is deallocated or hibernated.
    Deallocated,
    /// Not billed: the Arc agent is not connected.
    NotConnected,
    /// Not billed: the machine has its own plan, and it is Free.
    OwnPlanFree,
    /// Unknown, because Azure reports no state or one that this version does not recognize.
    Unknown,
}

impl Billing {
    /// All of them, in the order of every report.
    pub const ALL: [Self; 6] = [
        Self::Running,
        Self::Stopped,
        Self::Deallocated,
        Self::NotConnected,
        Self::OwnPlanFree,
        Self::Unknown,
    ];

    /// How a machine is billed.
    pub fn of(machine: &Machine, finding: &Finding) -> Self {
        if finding.plan_off == Some(PlanOff::OfMachine) {
            return Self::OwnPlanFree;
        }
        if machine.kind == Kind::UniformScaleSet {
            return Self::Running;
        }
        if let Some(arc) = &machine.arc {
            return match arc.status.to_ascii_lowercase().as_str() {
                _ if finding.verdict == Verdict::DuplicateShell => Self::NotConnected,
                "connected" => Self::Running,
                "disconnected" | "expired" | "connecting" | "awaitingconnection" => Self::NotConnected,
                _ => Self::Unknown,
            };
        }
        match machine.power_state().to_ascii_lowercase().as_str() {
            "running" | "starting" => Self::Running,
            "stopped" | "stopping" => Self::Stopped,
            "deallocated" | "deallocating" | "hibernated" | "hibernating" => Self::Deallocated,
            _ => Self::Unknown,
        }
    }

    /// Whether the machine is billed; `None` if it is unknown.
    pub const fn is_billed(self) -> Option<bool> {
        match self {
            Self::Running | Self::Stopped => Some(true),
            Self::Deallocated | Self::NotConnected | Self::OwnPlanFree => Some(false),
            Self::Unknown => None,
        }
    }
}
