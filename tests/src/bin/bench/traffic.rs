//! The emulator's request log by object. Requests before an object was Ready belong to converging, later ones to the
//! quiet phase.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// Requests of scans when there are no machines.
const SCANNING: [&str; 4] = [
    "POST resources",
    "GET subscriptions",
    "GET permissions",
    "GET healthReports",
];

/// A request, as far as it is counted.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    at: Timestamp,
    kind: String,
    operation: String,
    method: String,
    status: u64,
    subscription: Option<String>,
}

impl Request {
    /// Parses an entry of the emulator's log.
    pub(crate) fn read(entry: &Value) -> Option<Self> {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            at: text("at")?.parse().ok()?,
            kind: text("kind")?,
            operation: text("operation")?,
            method: text("method")?,
            status: entry.get("status").and_then(Value::as_u64)?,
            subscription: text("subscription"),
        })
    }

    fn is_arm(&self) -> bool {
        self.kind == "arm"
    }

    fn writes(&self) -> bool {
        self.method != "GET" && !self.scans()
    }

    /// Whether the request belongs to a scan and not to the reconcile of an object.
    fn scans(&self) -> bool {
        SCANNING.contains(&self.operation.as_str())
    }
}

/// Requests of a phase.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Calls {
    pub(crate) total: u64,
    pub(crate) by_method: BTreeMap<String, u64>,
    pub(crate) by_operation: BTreeMap<String, u64>,
    pub(crate) by_status: BTreeMap<u64, u64>,
}

impl Calls {
    fn of<'r>(requests: impl Iterator<Item = &'r Request>) -> Self {
        let mut calls = Self::default();
        for request in requests {
            calls.total += 1;
            *calls.by_method.entry(request.method.clone()).or_default() += 1;
            *calls.by_operation.entry(request.operation.clone()).or_default() += 1;
            *calls.by_status.entry(request.status).or_default() += 1;
        }
        calls
    }

    /// Number of requests that are not reads.
    pub(crate) fn writes(&self) -> u64 {
        let reads = self.by_method.get("GET").copied().unwrap_or_default();
        self.total - reads
    }
}

/// The result of reading the log.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Traffic {
    pub(crate) token_requests: u64,
    pub(crate) converge: Calls,
    /// Number of objects whose writes differ from their needed writes.
    pub(crate) objects_with_other_writes: u64,
    pub(crate) quiet: Calls,
    /// Number of reconciles in the quiet phase, recognized by their reads.
    pub(crate) quiet_reconciles: u64,
    /// Reconciles of the object with the fewest reconciles.
    pub(crate) fewest_quiet_reconciles: u64,
    pub(crate) most_reads_in_a_quiet_reconcile: u64,
    /// Requests of scans in both phases, which are not part of the others.
    pub(crate) scans: Calls,
}

/// The first request of any kind.
pub(crate) fn first(requests: &[Request]) -> Option<Timestamp> {
    requests.iter().map(|request| request.at).min()
}

/// Analyzes the log. `needed`: writes by subscription; `ready`: when each was Ready; requests with a longer
/// gap than `pause` belong to two reconciles.
pub(crate) fn judge(
    requests: &[Request],
    needed: &HashMap<String, u64>,
    ready: &HashMap<String, Timestamp>,
    pause: SignedDuration,
) -> Traffic {
    let is_quiet = |request: &Request| {
        let since = request.subscription.as_ref().and_then(|id| ready.get(id));
        since.is_some_and(|since| request.at > *since)
    };
    let (scans, reconciles): (Vec<_>, Vec<_>) = requests
        .iter()
        .filter(|request| request.is_arm())
        .partition(|request| request.scans());
    let (quiet, converge): (Vec<_>, Vec<_>) = reconciles.into_iter().partition(|request| is_quiet(request));

    let mut made: HashMap<&str, u64> = HashMap::new();
    for request in converge.iter().filter(|request| request.writes()) {
        *made
            .entry(request.subscription.as_deref().unwrap_or_default())
            .or_default() += 1;
    }
    let differs = |id: &str, expected: u64| made.get(id).copied().unwrap_or_default() != expected;
    let other = needed
        .iter()
        .filter(|(id, expected)| differs(id, **expected))
        .count();

    let mut by_object: HashMap<&str, Vec<&Request>> = HashMap::new();
    for request in &quiet {
        let id = request.subscription.as_deref().unwrap_or_default();
        by_object.entry(id).or_default().push(request);
    }
    let reconciles: Vec<Vec<u64>> = by_object
        .into_values()
        .map(|requests| reads_by_reconcile(requests, pause))
        .collect();
    let fewest = if reconciles.len() < needed.len() {
        0
    } else {
        reconciles.iter().map(Vec::len).min().unwrap_or_default()
    };
    Traffic {
        token_requests: count(requests.iter().filter(|request| request.kind == "token").count()),
        converge: Calls::of(converge.into_iter()),
        objects_with_other_writes: count(other),
        quiet: Calls::of(quiet.into_iter()),
        quiet_reconciles: count(reconciles.iter().map(Vec::len).sum()),
        fewest_quiet_reconciles: count(fewest),
        most_reads_in_a_quiet_reconcile: reconciles.iter().flatten().copied().max().unwrap_or_default(),
        scans: Calls::of(scans.into_iter()),
    }
}

/// The reads of each reconcile of one object.
fn reads_by_reconcile(mut requests: Vec<&Request>, pause: SignedDuration) -> Vec<u64> {
    requests.sort_by_key(|request| request.at);
    let mut reconciles: Vec<u64> = Vec::new();
    let mut last: Option<Timestamp> = None;
    for request in requests {
        if last.is_none_or(|last| request.at.duration_since(last) > pause) {
            reconciles.push(0);
        }
        last = Some(request.at);
        if let Some(reconcile) = reconciles.last_mut()
            && !request.writes()
        {
            *reconcile += 1;
        }
    }
    reconciles
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn request(second: i64, method: &str, subscription: &str) -> Request {
        Request::read(
            &json!({"at": at(second).to_string(), "kind": "arm", "operation": format!("{method} x"),
            "method": method, "status": 200, "subscription": subscription}),
        )
        .unwrap()
    }

    #[test]
    fn each_object_has_its_own_boundary() {
        let log = [
            request(1, "GET", "a"),
            request(2, "PUT", "a"),
            request(3, "GET", "b"),
            request(20, "GET", "a"),
            request(20, "GET", "a"),
            request(40, "GET", "a"),
            request(41, "PUT", "b"),
            request(60, "GET", "b"),
        ];
        let needed = HashMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]);
        let ready = HashMap::from([("a".to_owned(), at(5)), ("b".to_owned(), at(50))]);
        let traffic = judge(&log, &needed, &ready, SignedDuration::from_secs(5));
        assert_eq!((traffic.converge.total, traffic.converge.writes()), (4, 2));
        assert_eq!(
            traffic.objects_with_other_writes, 1,
            "b wrote once and needed two"
        );
        assert_eq!((traffic.quiet.total, traffic.quiet.writes()), (4, 0));
        assert_eq!(
            (traffic.quiet_reconciles, traffic.fewest_quiet_reconciles),
            (3, 1)
        );
        assert_eq!(traffic.most_reads_in_a_quiet_reconcile, 2);
        assert_eq!(first(&log), Some(at(1)));
        assert_eq!(traffic.scans.total, 0);
    }

    #[test]
    fn scans_of_machines_are_no_reconciles_and_their_queries_no_writes() {
        let query = Request {
            operation: "POST resources".into(),
            ..request(9, "POST", "a")
        };
        let needed = HashMap::from([("a".to_owned(), 0)]);
        let ready = HashMap::from([("a".to_owned(), at(0))]);
        let log = [query, request(10, "GET", "a")];
        let traffic = judge(&log, &needed, &ready, SignedDuration::from_secs(5));
        assert_eq!((traffic.scans.total, traffic.quiet.total), (1, 1));
        assert_eq!(traffic.quiet.writes() + traffic.converge.writes(), 0);
    }

    #[test]
    fn an_object_that_was_never_reconciled_counts_as_none() {
        let needed = HashMap::from([("a".to_owned(), 0), ("b".to_owned(), 0)]);
        let ready = HashMap::from([("a".to_owned(), at(0)), ("b".to_owned(), at(0))]);
        let log = [request(10, "GET", "a")];
        let traffic = judge(&log, &needed, &ready, SignedDuration::from_secs(5));
        assert_eq!(traffic.fewest_quiet_reconciles, 0);
    }
}
