//! The emulator's request log by object. Requests before an object was Ready belong to converging, later ones to the
//! quiet phase.

use crate::requests::{Calls, QUERY, Request};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::collections::HashMap;

/// Requests of scans when there are no machines. Permissions are read by reconciles, and scans use what they read; a
/// scan that read them itself would add reads to the reconciles.
const SCANNING: [&str; 3] = [QUERY, "GET subscriptions", "GET healthReports"];

/// Whether the request belongs to a scan and not to the reconcile of an object.
fn scans(request: &Request) -> bool {
    SCANNING.contains(&request.operation.as_str())
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
        .partition(|request| scans(request));
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
        token_requests: count(requests.iter().filter(|request| request.is_token()).count()),
        converge: Calls::of(converge),
        objects_with_other_writes: count(other),
        quiet: Calls::of(quiet),
        quiet_reconciles: count(reconciles.iter().map(Vec::len).sum()),
        fewest_quiet_reconciles: count(fewest),
        most_reads_in_a_quiet_reconcile: reconciles.iter().flatten().copied().max().unwrap_or_default(),
        scans: Calls::of(scans),
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
    use crate::requests::tests::{at, request};

    fn get(second: i64, subscription: &str) -> Request {
        request(second, "GET x", 200, subscription)
    }

    fn put(second: i64, subscription: &str) -> Request {
        request(second, "PUT x", 200, subscription)
    }

    #[test]
    fn each_object_has_its_own_boundary() {
        let log = [
            get(1, "a"),
            put(2, "a"),
            get(3, "b"),
            get(20, "a"),
            get(20, "a"),
            get(40, "a"),
            put(41, "b"),
            get(60, "b"),
        ];
        let needed = HashMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]);
        let ready = HashMap::from([("a".to_owned(), at(5)), ("b".to_owned(), at(50))]);
        let traffic = judge(&log, &needed, &ready, SignedDuration::from_secs(5));
        assert_eq!((traffic.converge.total, traffic.converge.writes), (4, 2));
        assert_eq!(
            traffic.objects_with_other_writes, 1,
            "b wrote once and needed two"
        );
        assert_eq!((traffic.quiet.total, traffic.quiet.writes), (4, 0));
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
        let query = request(9, QUERY, 200, "a");
        let needed = HashMap::from([("a".to_owned(), 0)]);
        let ready = HashMap::from([("a".to_owned(), at(0))]);
        let log = [query, get(10, "a")];
        let traffic = judge(&log, &needed, &ready, SignedDuration::from_secs(5));
        assert_eq!((traffic.scans.total, traffic.quiet.total), (1, 1));
        assert_eq!(traffic.quiet.writes + traffic.converge.writes, 0);
    }

    #[test]
    fn an_object_that_was_never_reconciled_counts_as_none() {
        let needed = HashMap::from([("a".to_owned(), 0), ("b".to_owned(), 0)]);
        let ready = HashMap::from([("a".to_owned(), at(0)), ("b".to_owned(), at(0))]);
        let log = [get(10, "a")];
        let traffic = judge(&log, &needed, &ready, SignedDuration::from_secs(5));
        assert_eq!(traffic.fewest_quiet_reconciles, 0);
    }
}
