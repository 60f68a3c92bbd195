//! State that the checks keep about earlier requests.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Seen, connectors,
    subject::{Stored, Subject},
};
use crate::{
    arm::{Resource, Route, Typed},
    state::{Subscription, Tier, canonical_plan},
};

/// The subjects that a route writes or reads, with their content.
pub fn stored(subscription: &Subscription, route: &Route) -> Vec<Stored> {
    let Resource::Typed(typed) = &route.resource else {
        return Vec::new();
    };
    if typed.is("Microsoft.Security", "securityConnectors") {
        return connectors::stored(subscription, typed, subscription.fleet_now(Timestamp::now()));
    }
    if typed.depth != 2 {
        return Vec::new();
    }
    let make = |name: String, text: String, tier, failed| Stored {
        subject: Subject {
            subscription: subscription.id.clone(),
            name,
        },
        text,
        tier,
        failed,
        foreign: None,
        member: false,
    };
    let name = typed.name.as_deref();
    if typed.is("Microsoft.Security", "pricings") {
        let one = name.map(|name| canonical_plan(name).into_iter().collect::<Vec<_>>());
        let plans = one.unwrap_or_else(|| vec!["VirtualMachines", "CloudPosture"]);
        plans
            .into_iter()
            .map(|name| {
                let plan = subscription.plan(name);
                let properties: Vec<_> = plan
                    .extensions
                    .iter()
                    .map(|known| subscription.properties_of(name, &known.name))
                    .collect();
                let failed = plan.extensions.iter().any(|extension| extension.failed);
                make(
                    format!("plan/{name}"),
                    json!([plan, properties]).to_string(),
                    Some(plan.tier),
                    failed,
                )
            })
            .collect()
    } else if typed.is("Microsoft.Security", "settings") {
        let names: Vec<&str> = crate::state::SETTINGS
            .iter()
            .map(|(known, _)| *known)
            .filter(|known| name.is_none_or(|name| name.eq_ignore_ascii_case(known)))
            .collect();
        names
            .into_iter()
            .map(|name| {
                make(
                    format!("setting/{name}"),
                    subscription.setting(name).to_string(),
                    None,
                    false,
                )
            })
            .collect()
    } else if typed.is("Microsoft.Security", "serverVulnerabilityAssessmentsSettings") {
        let provider = subscription
            .vulnerability_assessment
            .as_ref()
            .map(|setting| &setting.selected_provider);
        vec![make(
            "assessment".into(),
            json!(provider).to_string(),
            None,
            false,
        )]
    } else {
        Vec::new()
    }
}

type Caller = String;

/// What a caller last read of a subject.
#[derive(Debug)]
struct Read {
    text: String,
    foreign: Option<BTreeMap<String, Value>>,
}

/// State about earlier requests.
#[derive(Debug, Default)]
pub struct Memory {
    writing: HashMap<(Caller, String), u32>,
    closed: HashMap<(Caller, String, bool), (i64, i64)>,
    lost: HashSet<(Caller, Subject)>,
    read: HashMap<(Caller, Subject), Read>,
    lowered: HashSet<(Caller, Subject)>,
}

/// Requests that were already on the wire when the 429 was sent are excused.
const CROSSING: i64 = 150;

impl Memory {
    pub(super) fn begin_write(&mut self, principal: &str, subscription: &str) -> bool {
        let count = self
            .writing
            .entry((principal.into(), subscription.into()))
            .or_default();
        *count += 1;
        *count > 1
    }

    pub(super) fn end_write(&mut self, principal: &str, subscription: &str) {
        let key = (principal.to_owned(), subscription.to_owned());
        if let Some(count) = self.writing.get_mut(&key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.writing.remove(&key);
            }
        }
    }

    /// How many milliseconds too early a request was sent.
    pub(super) fn early(&self, seen: &Seen<'_>) -> Option<i64> {
        let (from, until) = self.closed.get(&closed_key(seen))?;
        let inside = seen.arrived > from + CROSSING && seen.arrived < *until;
        inside.then(|| until - seen.arrived)
    }

    /// The caller does not know the result of its last write of this subject.
    pub(super) fn lost(&self, seen: &Seen<'_>) -> bool {
        self.key(seen).is_some_and(|key| self.lost.contains(&key))
    }

    /// The caller last read another content: another client changed it before the write.
    pub(super) fn read_something_else(&self, seen: &Seen<'_>, now: &str) -> bool {
        self.key(seen)
            .and_then(|key| self.read.get(&key))
            .is_some_and(|read| read.text != now)
    }

    /// The caller last read other foreign parts, or no connector at all.
    pub(super) fn read_other_foreign(&self, seen: &Seen<'_>) -> bool {
        let before = seen.before.as_ref().and_then(|before| before.foreign.as_ref());
        self.key(seen)
            .and_then(|key| self.read.get(&key))
            .is_some_and(|read| read.foreign.as_ref() != before)
    }

    /// The caller changed this plan from Standard to Free before.
    pub(super) fn lowered(&self, seen: &Seen<'_>) -> bool {
        self.key(seen).is_some_and(|key| self.lowered.contains(&key))
    }

    #[expect(clippy::unused_self, reason = "reads as a question to the memory")]
    fn key(&self, seen: &Seen<'_>) -> Option<(Caller, Subject)> {
        Some((seen.principal.into(), seen.before.as_ref()?.subject.clone()))
    }

    pub(super) fn record(&mut self, seen: &Seen<'_>) {
        if let Some(seconds) = seen.retry_after {
            let wait = i64::try_from(seconds)
                .unwrap_or(i64::MAX / 2)
                .saturating_mul(1000);
            let span = (seen.answered_at, seen.answered_at.saturating_add(wait));
            self.closed.insert(closed_key(seen), span);
        }
        if seen.undisturbed {
            for stored in &seen.read {
                let read = Read {
                    text: stored.text.clone(),
                    foreign: stored.foreign.clone(),
                };
                self.read
                    .insert((seen.principal.into(), stored.subject.clone()), read);
            }
        }
        let (Some(before), Some(after)) = (&seen.before, &seen.after) else {
            // A write that had no effect: the caller may try again.
            if let Some(key) = self.key(seen) {
                self.lost.insert(key);
            }
            return;
        };
        if seen.method != "PUT" {
            return;
        }
        let key = (seen.principal.to_owned(), before.subject.clone());
        if seen.undisturbed && (200..300).contains(&seen.status) {
            self.lost.remove(&key);
            let read = Read {
                text: after.text.clone(),
                foreign: after.foreign.clone(),
            };
            self.read.insert(key.clone(), read);
        } else {
            self.lost.insert(key.clone());
        }
        match (before.tier, after.tier) {
            (Some(Tier::Standard), Some(Tier::Free)) => drop(self.lowered.insert(key)),
            (_, Some(Tier::Standard)) => drop(self.lowered.remove(&key)),
            _ => {}
        }
    }
}

/// Connectors have a budget of their own (docs/azure-api.md 4.7), so its exhaustion does not affect other requests. A process
/// does not know what Azure told another one with the same identity.
fn closed_key(seen: &Seen<'_>) -> (Caller, String, bool) {
    let reads = matches!(seen.method, "GET" | "HEAD");
    let mut place = seen.route.subscription.clone().unwrap_or_default();
    let connectors = |typed: &Typed| typed.is("Microsoft.Security", "securityConnectors");
    if matches!(&seen.route.resource, Resource::Typed(typed) if connectors(typed)) {
        place.push_str("/securityConnectors");
    }
    let caller = match seen.process {
        Some(process) => format!("{} {process}", seen.principal),
        None => seen.principal.to_owned(),
    };
    (caller, place, reads)
}
