//! The safety monitor: watches every authenticated ARM request and notes breaches of the laws.

mod connectors;
mod invariants;
mod memory;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::{
    invariants::{INVARIANTS, Invariant},
    memory::{Memory, Stored, Subject, stored},
};
use crate::{arm::Route, instant};

/// A request with everything that a law may look at.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent observations, each read by its own law"
)]
pub struct Seen<'a> {
    /// Its number in the log.
    pub sequence: u64,
    /// Arrival, in milliseconds since the epoch.
    pub arrived: i64,
    /// Answer, in milliseconds since the epoch.
    pub answered_at: i64,
    /// HTTP method.
    pub method: &'a str,
    /// Path and query as sent.
    pub url: &'a str,
    /// What it names.
    pub route: &'a Route,
    /// Client id.
    pub principal: &'a str,
    /// JSON body.
    pub body: &'a Value,
    /// HTTP status; 0 when nothing was answered.
    pub status: u16,
    /// The caller got the true answer, whole.
    pub undisturbed: bool,
    /// ARM has no such route.
    pub unknown: bool,
    /// A secret or token stands in the URL.
    pub secret_in_url: bool,
    /// Another write of this caller under the same lock was under way.
    pub overlapped: bool,
    /// Seconds, when the answer had a Retry-After with a 429, a 408 or a server error.
    pub retry_after: Option<u64>,
    /// The subject of a write before it.
    pub before: Option<Stored>,
    /// And after it.
    pub after: Option<Stored>,
    /// What a read showed.
    pub read: Vec<Stored>,
}

/// A breach of a law.
#[derive(Clone, Debug, Serialize)]
pub struct Breach {
    /// When the request arrived.
    pub at: String,
    /// The law's name.
    pub invariant: &'static str,
    /// Where.
    pub subscription: Option<String>,
    /// What happened.
    pub detail: String,
    /// The request's number in the log.
    pub sequence: u64,
    /// Who.
    pub principal: String,
}

/// What a test allows: `PUT /_emulator/monitor` (any subset).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Allowances {
    /// Subscriptions (`*`: all) whose plan may go to Free.
    pub allow_free: BTreeSet<String>,
    /// Subscriptions (`*`: all) where a write may change nothing.
    pub allow_useless: BTreeSet<String>,
    /// Subscriptions (`*`: all) where what others put into connectors may change.
    pub allow_foreign: BTreeSet<String>,
    /// Applications that are not watched, such as a person's.
    pub ignore_principals: BTreeSet<String>,
}

impl Allowances {
    fn holds(list: &BTreeSet<String>, subscription: Option<&str>) -> bool {
        list.contains("*")
            || subscription.is_some_and(|id| list.iter().any(|known| known.eq_ignore_ascii_case(id)))
    }
}

/// Breaches so far, and what the laws need to remember.
#[derive(Debug, Default)]
pub struct Monitor {
    breaches: Vec<Breach>,
    /// What is allowed.
    pub allowances: Allowances,
    memory: Memory,
}

/// Enough to see what goes wrong; more would only fill memory.
const MOST: usize = 10_000;

impl Monitor {
    /// Notes the beginning of a write under a lock; true when another one is under way.
    pub fn begin_write(&mut self, principal: &str, lock: &str) -> bool {
        self.memory.begin_write(principal, lock)
    }

    /// Notes its end.
    pub fn end_write(&mut self, principal: &str, lock: &str) {
        self.memory.end_write(principal, lock);
    }

    /// Judges a finished request.
    pub fn judge(&mut self, seen: &Seen<'_>) {
        if !self.allowances.ignore_principals.contains(seen.principal) {
            for invariant in INVARIANTS {
                let Some(detail) = (invariant.broken)(seen, &self.memory, &self.allowances) else {
                    continue;
                };
                tracing::warn!(
                    invariant = invariant.name,
                    detail,
                    sequence = seen.sequence,
                    "invariant broken"
                );
                if self.breaches.len() < MOST {
                    self.breaches.push(Breach {
                        at: Timestamp::from_millisecond(seen.arrived)
                            .map(instant::milliseconds)
                            .unwrap_or_default(),
                        invariant: invariant.name,
                        subscription: seen.route.subscription.clone(),
                        detail,
                        sequence: seen.sequence,
                        principal: seen.principal.into(),
                    });
                }
            }
        }
        self.memory.record(seen);
    }

    /// The breaches so far.
    pub fn breaches(&self) -> &[Breach] {
        &self.breaches
    }

    /// Forgets breaches and memory, keeps the allowances.
    pub fn clear(&mut self) {
        self.breaches.clear();
    }

    /// Forgets everything, as for a new cloud.
    pub fn reset(&mut self) {
        *self = Self {
            allowances: self.allowances.clone(),
            ..Self::default()
        };
    }
}
