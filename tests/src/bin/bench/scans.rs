//! Scans of machines, from the logs of the controller and the emulator.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// An ended scan, from the controller's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) at: Timestamp,
    pub(crate) subscriptions: usize,
    /// Whether all subscriptions could be read.
    pub(crate) complete: bool,
    /// The numbers in its log line; unknown if the line is incomplete.
    pub(crate) queries: u64,
}

/// The cost of scans in a period, from the emulator's log.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cost {
    /// Number of scans.
    pub(crate) scans: u64,
    /// Queries to Resource Graph.
    pub(crate) queries: u64,
    /// Queries with the response 429.
    pub(crate) refused: u64,
    /// Time from the first query of a scan to its end: the longest one, and the sum.
    pub(crate) longest_seconds: f64,
    pub(crate) all_seconds: f64,
    /// Time of the responses to queries, including latency.
    pub(crate) answer_seconds: f64,
    /// Requests other than queries, by operation.
    pub(crate) requests: BTreeMap<String, u64>,
    /// Writes to subscriptions.
    pub(crate) writes: u64,
}

impl Cost {
    /// Direct GETs of single machines.
    pub(crate) fn confirmations(&self) -> u64 {
        let of = |kind: &str| self.requests.get(kind).copied().unwrap_or_default();
        of(VIRTUAL_MACHINE) + of(ARC_MACHINE)
    }

    /// Reads of health reports and permissions.
    pub(crate) fn other(&self) -> u64 {
        let of = |kind: &str| self.requests.get(kind).copied().unwrap_or_default();
        of("GET healthReports") + of("GET permissions")
    }
}

const QUERY: &str = "POST resources";
/// Without the names of single machines.
const VIRTUAL_MACHINE: &str = "GET virtualMachines/…";
const ARC_MACHINE: &str = "GET machines/…";

/// The scans that have ended so far.
pub(crate) fn of_log(log: &str) -> Vec<Ended> {
    log.lines()
        .filter(|line| line.contains("fleet scan "))
        .filter_map(|line| {
            let entry: Value = serde_json::from_str(line).ok()?;
            let number = |name: &str| entry.get(name).and_then(Value::as_u64);
            Some(Ended {
                at: entry.get("timestamp")?.as_str()?.parse().ok()?,
                subscriptions: usize::try_from(number("subscriptions")?).ok()?,
                complete: entry.get("message")?.as_str()? == "fleet scan complete",
                queries: number("queries").unwrap_or_default(),
            })
        })
        .collect()
}

/// Number of subscriptions, counted once for each scan.
pub(crate) fn subscriptions(scans: &[Ended]) -> usize {
    scans.iter().map(|scan| scan.subscriptions).sum()
}

/// The requests after `from` until the last of these scans ended. `entries`: the emulator's log.
pub(crate) fn cost(entries: &[Value], from: Timestamp, scans: &[Ended]) -> Cost {
    let mut cost = Cost {
        scans: u64::try_from(scans.len()).unwrap_or(u64::MAX),
        ..Cost::default()
    };
    let end = scans.iter().map(|scan| scan.at).max().unwrap_or(from);
    let mut began: Option<Timestamp> = None;
    let mut ends = scans.iter().map(|scan| scan.at).peekable();
    let mut answers = SignedDuration::ZERO;
    let arm = entries
        .iter()
        .filter(|entry| text(entry, "kind") == "arm")
        .filter_map(|entry| Some((text(entry, "at").parse::<Timestamp>().ok()?, entry)))
        .filter(|(at, _)| *at > from && *at <= end);
    // The log is in the order of the responses.
    let mut arm: Vec<_> = arm.collect();
    arm.sort_by_key(|(at, _)| *at);
    for (at, entry) in arm {
        while let Some(ended) = ends.next_if(|ended| *ended < at) {
            close(&mut cost, &mut began, ended);
        }
        let kind = operation(entry);
        if kind != QUERY {
            cost.writes += u64::from(text(entry, "method") != "GET");
            *cost.requests.entry(kind).or_default() += 1;
            continue;
        }
        began.get_or_insert(at);
        cost.queries += 1;
        cost.refused += u64::from(entry.get("status").and_then(Value::as_u64) == Some(429));
        let took = entry
            .get("durationMs")
            .and_then(Value::as_i64)
            .unwrap_or_default();
        answers += SignedDuration::from_millis(took);
    }
    close(&mut cost, &mut began, end);
    cost.answer_seconds = answers.as_secs_f64();
    cost
}

fn close(cost: &mut Cost, began: &mut Option<Timestamp>, ended: Timestamp) {
    if let Some(began) = began.take() {
        let seconds = ended.duration_since(began).as_secs_f64();
        cost.longest_seconds = cost.longest_seconds.max(seconds);
        cost.all_seconds += seconds;
    }
}

fn operation(entry: &Value) -> String {
    let operation = text(entry, "operation");
    for kind in [VIRTUAL_MACHINE, ARC_MACHINE] {
        if operation.starts_with(kind.trim_end_matches('…')) {
            return kind.to_owned();
        }
    }
    operation.to_owned()
}

fn text<'v>(entry: &'v Value, name: &str) -> &'v str {
    entry.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ended(second: i64) -> Ended {
        Ended {
            at: at(second),
            subscriptions: 2,
            complete: true,
            queries: 2,
        }
    }

    fn entry(second: i64, operation: &str, status: u16) -> Value {
        json!({"at": at(second).to_string(), "kind": "arm", "operation": operation, "status": status,
            "method": operation.split(' ').next(), "durationMs": 500})
    }

    #[test]
    fn ends_are_read_from_the_log() {
        let log = r#"{"timestamp":"1970-01-01T00:00:09Z","level":"INFO","message":"fleet scan complete","subscriptions":2,"queries":2}
{"message":"something else"}
{"timestamp":"1970-01-01T00:00:19Z","message":"fleet scan incomplete","subscriptions":2}
{"timestamp":"1970-01-01T00:00:29Z","message":"fleet scan co"#;
        let scans = of_log(log);
        assert_eq!(scans.len(), 2);
        assert_eq!(scans[0], ended(9));
        assert!(!scans[1].complete);
        assert_eq!(subscriptions(&scans), 4);
    }

    #[test]
    fn costs_lie_between_boundaries_and_the_longest_scan_counts() {
        let log = [
            entry(1, "POST resources", 200),
            entry(11, "POST resources", 429),
            entry(12, "POST resources", 200),
            entry(13, "GET virtualMachines/vm-1", 200),
            entry(14, "GET machines/SRV1", 200),
            entry(21, "POST resources", 200),
            entry(22, "PUT pricings/VirtualMachines", 200),
            entry(40, "POST resources", 200),
        ];
        let cost = cost(&log, at(5), &[ended(15), ended(30)]);
        assert_eq!((cost.scans, cost.queries, cost.refused), (2, 3, 1));
        assert_eq!((cost.confirmations(), cost.writes), (2, 1));
        assert!((cost.longest_seconds - 9.0).abs() < 1e-9);
        assert!((cost.all_seconds - 13.0).abs() < 1e-9);
        assert!((cost.answer_seconds - 1.5).abs() < 1e-9);
    }
}
