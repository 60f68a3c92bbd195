//! Faults that tests add: error responses, resets, truncation, delay, hanging.
//!
//! To add an action, add a member to [`Action`] and its effect to `handler.rs`.

use std::{collections::BTreeMap, time::Duration};

use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::arm::Distortion;

/// The requests that a fault matches. Absent members match everything.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Match {
    kind: Option<String>,
    method: Option<String>,
    path: Option<String>,
    subscription: Option<String>,
    skip: u64,
    times: Option<u64>,
}

/// Before or after the effect of the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Instead of the effect.
    #[default]
    Before,
    /// After the effect is committed.
    After,
}

/// A response that replaces the normal one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Respond {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// JSON body.
    #[serde(default)]
    pub body: Option<Value>,
    /// A body that is no JSON, such as the page of a proxy, instead of `body`.
    #[serde(default)]
    pub text: Option<String>,
}

/// What a fault does. Delay and hang come first, then one of the others or the normal response.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is one fault, ordered or not")]
pub struct Action {
    /// Another response.
    pub respond: Option<Respond>,
    /// The connection ends without a response.
    pub reset: bool,
    /// The connection ends in the middle of the response.
    pub truncate: bool,
    /// The normal response, with a byte order mark before its JSON; needs phase `after`.
    #[serde(rename = "byteOrderMark")]
    pub byte_order_mark: bool,
    /// A delay.
    delay: Option<String>,
    /// A wait until the fault is deleted.
    pub hang: bool,
    /// A response of Resource Graph that is well-formed but incomplete or wrong.
    pub graph: Option<Distortion>,
    #[serde(skip)]
    pause: Duration,
}

impl Action {
    /// How long to wait.
    pub const fn pause(&self) -> Duration {
        self.pause
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Order {
    id: Option<String>,
    #[serde(default, rename = "match")]
    matching: Match,
    #[serde(default)]
    phase: Phase,
    action: Action,
    #[serde(default = "always")]
    probability: f64,
    #[serde(default = "one")]
    seed: u64,
}

const fn always() -> f64 {
    1.0
}

const fn one() -> u64 {
    1
}

#[derive(Debug)]
struct Fault {
    id: String,
    document: Value,
    matching: Match,
    path: Option<Regex>,
    phase: Phase,
    action: Action,
    probability: f64,
    dice: u64,
    seen: u64,
    hits: u64,
    /// Dropped with the fault, which releases the requests that hang on it.
    removal: watch::Sender<()>,
}

/// A fault that applies to a request.
#[derive(Debug)]
pub struct Strike {
    /// Its id.
    pub id: String,
    /// Before or after the effect.
    pub phase: Phase,
    /// What it does.
    pub action: Action,
    removal: watch::Receiver<()>,
}

impl Strike {
    /// Waits until the fault is deleted.
    pub async fn released(&mut self) {
        while self.removal.changed().await.is_ok() {}
    }
}

/// The faults in the order in which they were added.
#[derive(Debug, Default)]
pub struct Faults {
    faults: Vec<Fault>,
    made: u64,
}

impl Faults {
    /// Adds a fault, or replaces the one with the same id, and returns its id.
    ///
    /// # Errors
    ///
    /// Returns a message if a duration, the status or the path's regular expression is invalid.
    pub fn add(&mut self, document: Value) -> Result<String, String> {
        let mut order: Order = serde_json::from_value(document.clone()).map_err(|error| error.to_string())?;
        if let Some(delay) = &order.action.delay {
            order.action.pause =
                humantime::parse_duration(delay).map_err(|error| format!("delay: {error}"))?;
        }
        if let Some(respond) = &order.action.respond
            && axum::http::StatusCode::from_u16(respond.status).is_err()
        {
            return Err(format!(
                "respond.status: {} is not an HTTP status",
                respond.status
            ));
        }
        let path = order
            .matching
            .path
            .as_ref()
            .map(|path| RegexBuilder::new(path).case_insensitive(true).build())
            .transpose()
            .map_err(|error| format!("match.path: {error}"))?;
        self.made += 1;
        let id = order.id.unwrap_or_else(|| format!("fault-{}", self.made));
        self.remove(&id);
        self.faults.push(Fault {
            id: id.clone(),
            document,
            matching: order.matching,
            path,
            phase: order.phase,
            action: order.action,
            probability: order.probability,
            dice: order.seed,
            seen: 0,
            hits: 0,
            removal: watch::Sender::new(()),
        });
        Ok(id)
    }

    /// Removes a fault and releases the requests that hang on it.
    pub fn remove(&mut self, id: &str) -> bool {
        let before = self.faults.len();
        self.faults.retain(|fault| fault.id != id);
        self.faults.len() < before
    }

    /// Removes all faults.
    pub fn clear(&mut self) {
        self.faults.clear();
    }

    /// The faults with their counters.
    pub fn list(&self) -> Value {
        let all: Vec<Value> = self
            .faults
            .iter()
            .map(|fault| {
                let mut shown = fault.document.clone();
                if let Some(shown) = shown.as_object_mut() {
                    shown.insert("id".into(), json!(fault.id));
                    shown.insert("hits".into(), json!(fault.hits));
                    let hanging = if fault.action.hang {
                        fault.removal.receiver_count()
                    } else {
                        0
                    };
                    shown.insert("hanging".into(), json!(hanging));
                }
                shown
            })
            .collect();
        json!({"faults": all})
    }

    /// The first fault that matches the request and is not used up.
    pub fn strike(
        &mut self,
        kind: &str,
        method: &str,
        path: &str,
        subscription: Option<&str>,
    ) -> Option<Strike> {
        self.faults
            .iter_mut()
            .find_map(|fault| fault.strike(kind, method, path, subscription))
    }
}

impl Fault {
    fn strike(&mut self, kind: &str, method: &str, path: &str, subscription: Option<&str>) -> Option<Strike> {
        let same = |expected: &Option<String>, is: &str| {
            expected
                .as_ref()
                .is_none_or(|expected| expected.eq_ignore_ascii_case(is))
        };
        if !same(&self.matching.kind, kind)
            || !same(&self.matching.method, method)
            || !same(&self.matching.subscription, subscription.unwrap_or_default())
            || self.path.as_ref().is_some_and(|pattern| !pattern.is_match(path))
            || self.matching.times.is_some_and(|times| self.hits >= times)
        {
            return None;
        }
        self.seen += 1;
        if self.seen <= self.matching.skip || !self.strikes_by_chance() {
            return None;
        }
        self.hits += 1;
        Some(Strike {
            id: self.id.clone(),
            phase: self.phase,
            action: self.action.clone(),
            removal: self.removal.subscribe(),
        })
    }

    /// Decides by the fault's probability. The generator is seeded, so that a run can be repeated.
    fn strikes_by_chance(&mut self) -> bool {
        if self.probability >= 1.0 {
            return true;
        }
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.dice;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        #[expect(clippy::cast_precision_loss, reason = "a die of 53 bits is fine enough")]
        let rolled = (mixed >> 11) as f64 / (1_u64 << 53) as f64;
        rolled < self.probability
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_obey_skip_times_and_order() {
        let mut faults = Faults::default();
        faults
            .add(json!({"id": "a", "match": {"method": "put", "path": "pricings/virtual", "skip": 1, "times": 1},
                        "action": {"reset": true}}))
            .unwrap();
        faults
            .add(json!({"id": "b", "match": {"subscription": "S1"}, "action": {"delay": "1ms"}}))
            .unwrap();
        let mut hit = |method: &str| {
            let path = "/subscriptions/s1/providers/Microsoft.Security/pricings/VirtualMachines";
            faults
                .strike("arm", method, path, Some("s1"))
                .map(|strike| strike.id)
        };
        assert_eq!(hit("PUT").as_deref(), Some("b"));
        assert_eq!(hit("PUT").as_deref(), Some("a"));
        assert_eq!(hit("PUT").as_deref(), Some("b"));
        assert_eq!(hit("GET").as_deref(), Some("b"));
        assert_eq!(faults.list()["faults"][0]["hits"], 1);
    }

    #[test]
    fn a_seeded_generator_is_fair_and_repeatable() {
        let roll = || {
            let mut faults = Faults::default();
            faults
                .add(json!({"action": {"reset": true}, "probability": 0.25, "seed": 7}))
                .unwrap();
            (0..1000)
                .map(|_| faults.strike("arm", "GET", "/", None).is_some())
                .collect::<Vec<_>>()
        };
        let struck = roll().iter().filter(|hit| **hit).count();
        assert!((200..300).contains(&struck), "{struck}");
        assert_eq!(roll(), roll());
    }

    #[test]
    fn invalid_faults_are_refused() {
        let mut faults = Faults::default();
        assert!(
            faults
                .add(json!({"action": {"explode": true}}))
                .unwrap_err()
                .contains("explode")
        );
        assert!(
            faults
                .add(json!({"match": {"path": "("}, "action": {}}))
                .unwrap_err()
                .contains("match.path")
        );
        assert!(
            faults
                .add(json!({"action": {"graph": {"leaveOut": "("}}}))
                .unwrap_err()
                .contains("ids: ")
        );
    }
}
