//! Scans of machines, from the logs of the controller and the emulator.

use crate::requests::{Calls, Request};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;

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
    /// Time from the first query of a scan to its end: the longest one, and the sum.
    pub(crate) longest_seconds: f64,
    pub(crate) all_seconds: f64,
    /// Time of the responses to queries, including latency.
    pub(crate) answer_seconds: f64,
    /// All requests to Azure Resource Manager.
    pub(crate) calls: Calls,
}

impl Cost {
    /// Direct GETs of single machines.
    pub(crate) fn confirmations(&self) -> u64 {
        self.calls.count("GET virtualMachines/…") + self.calls.count("GET machines/…")
    }

    /// Reads of health reports and permissions.
    pub(crate) fn other(&self) -> u64 {
        self.calls.count("GET healthReports") + self.calls.count("GET permissions")
    }
}

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

/// The requests after `from` until the last of these scans ended.
pub(crate) fn cost(requests: &[Request], from: Timestamp, scans: &[Ended]) -> Cost {
    let end = scans.iter().map(|scan| scan.at).max().unwrap_or(from);
    let arm = requests
        .iter()
        .filter(|request| request.is_arm() && request.at > from && request.at <= end);
    // The log is in the order of the responses.
    let mut arm: Vec<_> = arm.collect();
    arm.sort_by_key(|request| request.at);
    let mut cost = Cost {
        scans: u64::try_from(scans.len()).unwrap_or(u64::MAX),
        calls: Calls::of(arm.iter().copied()),
        ..Cost::default()
    };
    let mut began: Option<Timestamp> = None;
    let mut ends = scans.iter().map(|scan| scan.at).peekable();
    let mut answers = SignedDuration::ZERO;
    for request in arm {
        while let Some(ended) = ends.next_if(|ended| *ended < request.at) {
            close(&mut cost, &mut began, ended);
        }
        if request.is_query() {
            began.get_or_insert(request.at);
            answers += request.took;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requests::tests::{at, request};

    fn ended(second: i64) -> Ended {
        Ended {
            at: at(second),
            subscriptions: 2,
            complete: true,
            queries: 2,
        }
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
            request(1, "POST resources", 200, "a"),
            request(11, "POST resources", 429, "a"),
            request(12, "POST resources", 200, "a"),
            request(13, "GET virtualMachines/vm-1", 200, "a"),
            request(14, "GET machines/SRV1", 200, "a"),
            request(21, "POST resources", 200, "a"),
            request(22, "PUT pricings/VirtualMachines", 200, "a"),
            request(40, "POST resources", 200, "a"),
        ];
        let cost = cost(&log, at(5), &[ended(15), ended(30)]);
        assert_eq!(
            (cost.scans, cost.calls.queries(), cost.calls.refused()),
            (2, 3, 1)
        );
        assert_eq!((cost.confirmations(), cost.calls.writes), (2, 1));
        assert!((cost.longest_seconds - 9.0).abs() < 1e-9);
        assert!((cost.all_seconds - 13.0).abs() < 1e-9);
        assert!((cost.answer_seconds - 1.5).abs() < 1e-9);
    }
}
