//! Options of the emulator itself: not facts about Azure, but how fast the emulator shows them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The options, as `PUT /_emulator/options` takes them (any subset).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Knobs {
    /// Added to every response of Entra and ARM.
    #[serde(with = "spelled")]
    pub latency: Duration,
    /// How long a plan PUT holds its subscription's write lock and delays its response.
    #[serde(with = "spelled")]
    pub pricing_lock_time: Duration,
    /// Time from `Registering` to `Registered`.
    #[serde(with = "spelled")]
    pub registration_time: Duration,
    /// Lifetime of access tokens.
    #[serde(with = "spelled")]
    pub token_lifetime: Duration,
    /// Time until Defender deploys the sensor's extension (per machine: 0.5 to 1.5 times as long).
    #[serde(with = "spelled")]
    pub provisioning_delay: Duration,
    /// How long an extension runs.
    #[serde(with = "spelled")]
    pub provisioning_time: Duration,
    /// How long a PUT of a connector takes, and holds the connector's write lock.
    #[serde(with = "spelled")]
    pub connector_put_time: Duration,
    /// Additional time for the login to the other cloud.
    #[serde(with = "spelled")]
    pub connector_authentication_delay: Duration,
    /// Time from a connector with Arc provisioning to an instance's machine (per instance: 0.5 to 1.5 times as long).
    #[serde(with = "spelled")]
    pub connector_discovery_delay: Duration,
    /// Time from an organization's connector to a member's connector (per member: 0.5 to 1.5 times as long).
    #[serde(with = "spelled")]
    pub connector_member_delay: Duration,
    /// Whether the token buckets and the provider's budget are enforced.
    pub throttling: bool,
    /// Queries of one application per window; 0 disables the quota.
    pub graph_quota: u32,
    /// The window of the quota.
    #[serde(with = "spelled")]
    pub graph_quota_window: Duration,
    /// Lifetime of a page token.
    #[serde(with = "spelled")]
    pub graph_token_lifetime: Duration,
    /// Age of the rows of Resource Graph.
    #[serde(with = "spelled")]
    pub graph_lag: Duration,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            latency: Duration::ZERO,
            pricing_lock_time: Duration::ZERO,
            registration_time: Duration::from_secs(2),
            token_lifetime: Duration::from_secs(3599),
            provisioning_delay: Duration::from_secs(3600),
            provisioning_time: Duration::from_secs(300),
            connector_put_time: Duration::ZERO,
            connector_authentication_delay: Duration::ZERO,
            connector_discovery_delay: Duration::from_secs(4 * 3600),
            connector_member_delay: Duration::from_secs(12 * 3600),
            throttling: true,
            graph_quota: 15,
            graph_quota_window: Duration::from_secs(5),
            graph_token_lifetime: Duration::from_secs(600),
            graph_lag: Duration::ZERO,
        }
    }
}

/// A subset of the options.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct SomeKnobs(serde_json::Map<String, serde_json::Value>);

impl SomeKnobs {
    /// The options `present` with this subset applied.
    ///
    /// # Errors
    ///
    /// Returns a message if an option is unknown or has an invalid value.
    pub fn over(&self, present: &Knobs) -> Result<Knobs, String> {
        let mut all = serde_json::to_value(present).map_err(|error| error.to_string())?;
        if let Some(all) = all.as_object_mut() {
            all.extend(self.0.clone());
        }
        serde_json::from_value(all).map_err(|error| format!("options: {error}"))
    }
}

/// Durations in human-readable form: `50ms`, `2s`, `1h`.
mod spelled {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*duration))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_options_replace_the_current_ones() {
        let some: SomeKnobs = serde_json::from_str(r#"{"latency":"50ms"}"#).unwrap();
        let knobs = some.over(&Knobs::default()).unwrap();
        assert_eq!(knobs.latency, Duration::from_millis(50));
        assert_eq!(knobs.registration_time, Duration::from_secs(2));
        let wrong: SomeKnobs = serde_json::from_str(r#"{"latence":"50ms"}"#).unwrap();
        assert!(wrong.over(&Knobs::default()).is_err());
    }
}
