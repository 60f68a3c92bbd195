//! The registration of a resource provider in a subscription.

use serde::{Deserialize, Serialize};

/// The states on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RegistrationState {
    /// Never registered, or unregistered.
    NotRegistered,
    /// Registration in progress.
    Registering,
    /// Registered.
    Registered,
    /// Unregistration in progress.
    Unregistering,
}

impl RegistrationState {
    /// Parses the wire name.
    pub fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "notregistered" | "unregistered" => Some(Self::NotRegistered),
            "registering" => Some(Self::Registering),
            "registered" => Some(Self::Registered),
            "unregistering" => Some(Self::Unregistering),
            _ => None,
        }
    }

    /// The wire name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotRegistered => "NotRegistered",
            Self::Registering => "Registering",
            Self::Registered => "Registered",
            Self::Unregistering => "Unregistering",
        }
    }
}

/// A registration with the time at which it began.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Registration {
    /// The state at `since`.
    pub state: RegistrationState,
    /// Milliseconds since the epoch.
    #[serde(default)]
    pub since: i64,
}

impl Registration {
    /// The state at a moment: `Registering` ends after the given time, unless it is stuck.
    pub fn at(&self, now: i64, takes: i64, stuck: bool) -> RegistrationState {
        let over = !stuck && now.saturating_sub(self.since) >= takes;
        match self.state {
            RegistrationState::Registering if over => RegistrationState::Registered,
            RegistrationState::Unregistering if over => RegistrationState::NotRegistered,
            state => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registering_ends_unless_stuck() {
        let registration = Registration {
            state: RegistrationState::Registering,
            since: 1000,
        };
        assert_eq!(registration.at(1500, 2000, false), RegistrationState::Registering);
        assert_eq!(registration.at(3000, 2000, false), RegistrationState::Registered);
        assert_eq!(registration.at(9000, 2000, true), RegistrationState::Registering);
    }
}
