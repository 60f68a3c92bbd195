//! The safety monitor: checks every authenticated ARM request and records breaches.

mod connectors;
mod invariants;
mod memory;
mod processes;
mod subject;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::processes::Processes;
pub(crate) use self::processes::of_user_agent;
pub use self::{
    invariants::INVARIANTS,
    memory::{Memory, stored},
    processes::Late,
    subject::{Stored, Subject},
};
use crate::{arm::Route, instant};

/// A request with everything that a check may need.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent observations, each read by its own check"
)]
pub struct Seen<'a> {
    /// Its number in the log.
    pub sequence: u64,
    /// Time of arrival, in milliseconds since the epoch.
    pub arrived: i64,
    /// Time of the response, in milliseconds since the epoch.
    pub answered_at: i64,
    /// HTTP method.
    pub method: &'a str,
    /// Path and query as sent.
    pub url: &'a str,
    /// The parsed path.
    pub route: &'a Route,
    /// Client id.
    pub principal: &'a str,
    /// The process of a controller, if the request names it.
    pub process: Option<&'a str>,
    /// JSON body.
    pub body: &'a Value,
    /// HTTP status; 0 if there was no response.
    pub status: u16,
    /// The caller received the normal response in full.
    pub undisturbed: bool,
    /// ARM has no such route.
    pub unknown: bool,
    /// The URL contains a secret or token.
    pub secret_in_url: bool,
    /// Another write of this caller under the same lock was in progress.
    pub overlapped: bool,
    /// Another process of this caller has written under the same lock since this one did first.
    pub late: Option<Late>,
    /// Seconds, if a 429, a 408 or a server error had a Retry-After.
    pub retry_after: Option<u64>,
    /// The subject of a write before the effect.
    pub before: Option<Stored>,
    /// The subject after the effect.
    pub after: Option<Stored>,
    /// The subjects that a read returned.
    pub read: Vec<Stored>,
}

/// A breach of a check.
#[derive(Clone, Debug, Serialize)]
pub struct Breach {
    /// When the request arrived.
    pub at: String,
    /// Name of the check.
    pub invariant: &'static str,
    /// The subscription.
    pub subscription: Option<String>,
    /// What happened.
    pub detail: String,
    /// The request's number in the log.
    pub sequence: u64,
    /// Client id of the caller.
    pub principal: String,
}

/// Exceptions that a test allows: `PUT /_emulator/monitor` (any subset).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Allowances {
    /// Subscriptions (`*`: all) whose plan may be set to Free.
    pub allow_free: BTreeSet<String>,
    /// Subscriptions (`*`: all) where a write may change nothing.
    pub allow_useless: BTreeSet<String>,
    /// Subscriptions (`*`: all) where parts of others in connectors may change.
    pub allow_foreign: BTreeSet<String>,
    /// Applications that are not checked, such as a person's.
    pub ignore_principals: BTreeSet<String>,
}

impl Allowances {
    fn holds(list: &BTreeSet<String>, subscription: Option<&str>) -> bool {
        list.contains("*")
            || subscription.is_some_and(|id| list.iter().any(|known| known.eq_ignore_ascii_case(id)))
    }
}

/// The breaches so far, and the state of the checks.
#[derive(Debug, Default)]
pub struct Monitor {
    breaches: Vec<Breach>,
    /// The allowed exceptions.
    pub allowances: Allowances,
    memory: Memory,
    processes: Processes,
    identical_late_writes: u64,
}

/// Limits memory; the first breaches are enough to find the error.
const MOST: usize = 10_000;

impl Monitor {
    /// Records the start of a write of a writer under a lock; true if another one of it is in progress.
    pub fn begin_write(&mut self, writer: &str, lock: &str) -> bool {
        self.memory.begin_write(writer, lock)
    }

    /// Records its end.
    pub fn end_write(&mut self, writer: &str, lock: &str) {
        self.memory.end_write(writer, lock);
    }

    /// Records a write of a process of a caller under a lock.
    pub fn write_of(&mut self, principal: &str, lock: &str, process: &str, content: &str) -> Option<Late> {
        let late = self.processes.write(principal, lock, process, content);
        self.identical_late_writes += u64::from(late == Some(Late::Identical));
        late
    }

    /// Writes of former processes that equal the first write of the process after them. They do no harm.
    pub const fn identical_late_writes(&self) -> u64 {
        self.identical_late_writes
    }

    /// Checks a finished request.
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

    /// Deletes breaches and state, keeps the exceptions.
    pub fn clear(&mut self) {
        self.breaches.clear();
    }

    /// Deletes everything, as for a new cloud.
    pub fn reset(&mut self) {
        *self = Self {
            allowances: self.allowances.clone(),
            ..Self::default()
        };
    }
}
