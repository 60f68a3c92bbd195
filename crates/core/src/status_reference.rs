//! What each condition, reason and event means: the source of `docs/status.md` (`cargo xtask generate`).

mod codes;
mod conditions;
mod events;

pub use self::{
    codes::{CODES, TRANSIENT_CODES},
    conditions::CONDITIONS,
    events::EVENTS,
};
use crate::{
    conditions::ConditionStatus,
    reason::{ConditionType, EventReason, Reason},
};

/// A kind with a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `ServerProtection`.
    ServerProtection,
    /// `SecurityConnector`.
    SecurityConnector,
    /// `AzureCredential`.
    AzureCredential,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [
        Self::ServerProtection,
        Self::SecurityConnector,
        Self::AzureCredential,
    ];

    /// As users write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ServerProtection => "ServerProtection",
            Self::SecurityConnector => "SecurityConnector",
            Self::AzureCredential => "AzureCredential",
        }
    }
}

/// A state of a condition.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The kinds that have it.
    pub kinds: &'static [Kind],
    /// The condition's type.
    pub condition: ConditionType,
    /// Its status.
    pub status: ConditionStatus,
    /// Its reason.
    pub reason: Reason,
    /// What is the case, as a sentence.
    pub meaning: &'static str,
    /// What the user should do; empty if nothing.
    pub action: &'static str,
}

/// An event.
#[derive(Clone, Copy, Debug)]
pub struct EventEntry {
    /// The kinds that have it.
    pub kinds: &'static [Kind],
    /// The event's reason.
    pub reason: EventReason,
    /// When it is emitted, as a sentence.
    pub meaning: &'static str,
}

/// The code of an error that appears as a reason.
#[derive(Clone, Copy, Debug)]
pub struct CodeEntry {
    /// The code.
    pub code: &'static str,
    /// What the user should do.
    pub action: &'static str,
}

/// Whether the page describes a condition of this kind. Codes of Azure count as described: there is no list of them.
pub fn describes(kind: Kind, type_: &str, status: &str, reason: &str) -> bool {
    let ours = Reason::ALL.iter().any(|known| known.as_str() == reason);
    // Ready has the reason of Stalled while that is present.
    let described_under = match type_ {
        "Ready" => &["Ready", "Stalled"][..],
        type_ => &[type_][..],
    };
    !ours
        || CONDITIONS.iter().any(|entry| {
            let same = entry.status.as_str() == status || entry.condition == ConditionType::Stalled;
            entry.kinds.contains(&kind)
                && entry.reason.as_str() == reason
                && described_under.contains(&entry.condition.as_str())
                && same
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_described() {
        for reason in Reason::ALL {
            let found = CONDITIONS.iter().any(|entry| entry.reason == *reason);
            assert!(found, "{} is missing from status_reference", reason.as_str());
        }
        for reason in EventReason::ALL {
            let found = EVENTS.iter().any(|entry| entry.reason == *reason);
            assert!(found, "{} is missing from status_reference", reason.as_str());
        }
        for type_ in ConditionType::ALL {
            let found = CONDITIONS.iter().any(|entry| entry.condition == *type_);
            assert!(found, "{} is missing from status_reference", type_.as_str());
        }
    }

    #[test]
    fn an_undocumented_state_is_noticed() {
        let describes = |type_, status, reason| describes(Kind::ServerProtection, type_, status, reason);
        assert!(describes("Ready", "True", "InSync"));
        assert!(describes("Ready", "False", "ClaimConflicted"));
        assert!(describes("Ready", "False", "ScopeLocked"), "a code of Azure");
        assert!(!describes("Ready", "True", "Deleting"));
        assert!(!describes("PlanEnabled", "True", "Free"));
    }
}
