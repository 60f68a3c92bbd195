//! The requests to Azure for reconciles of connectors, from the emulator's log.

use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Without the names of single connectors.
const CONNECTOR: &str = "securityConnectors/";
/// The list of all connectors, one page for each request.
const LIST: &str = "GET securityConnectors";
/// Requests that only reconciles of connectors send. Permissions are also read by others.
const OURS: [&str; 3] = [CONNECTOR, "resourceGroup", "resource healthReports"];

/// Requests in a period.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reconciles {
    /// All requests to Azure by operation, for objects of either kind.
    pub(crate) by_operation: BTreeMap<String, u64>,
    /// Responses with status 429.
    pub(crate) refused: u64,
    /// Other responses than 2xx, 404 and 429.
    pub(crate) failed: u64,
    /// Requests for connectors only.
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    /// Reads and writes of each connector, by name.
    #[serde(skip)]
    read: BTreeMap<String, usize>,
    #[serde(skip)]
    put: BTreeMap<String, usize>,
}

impl Reconciles {
    /// Number of requests of this operation.
    pub(crate) fn count(&self, operation: &str) -> u64 {
        self.by_operation.get(operation).copied().unwrap_or_default()
    }

    /// Number of PUTs of connectors.
    pub(crate) fn puts(&self) -> u64 {
        self.count("PUT securityConnectors/…")
    }

    /// Number of list requests.
    pub(crate) fn lists(&self) -> u64 {
        self.count(LIST)
    }

    /// Number of reads of single connectors. Each reconcile makes one.
    pub(crate) fn readings(&self) -> u64 {
        self.count("GET securityConnectors/…")
    }

    /// Number of reads that count against the budget of connectors.
    pub(crate) fn budget(&self) -> u64 {
        self.lists() + self.readings()
    }

    /// Reads of the connector with the fewest reads, out of this many.
    pub(crate) fn fewest(&self, connectors: usize) -> usize {
        if self.read.len() < connectors {
            return 0;
        }
        self.read.values().copied().min().unwrap_or_default()
    }

    /// Number of connectors, out of this many, that were not written exactly once.
    pub(crate) fn not_once(&self, connectors: usize) -> usize {
        let once = self.put.values().filter(|times| **times == 1).count();
        connectors.abs_diff(once)
    }
}

/// Counts requests. `entries` are entries of the emulator's log.
pub(crate) fn of(entries: &[Value]) -> Reconciles {
    let mut reconciles = Reconciles::default();
    for entry in entries {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        let status = entry.get("status").and_then(Value::as_u64).unwrap_or_default();
        let operation = text("operation");
        let (method, what) = operation.split_once(' ').unwrap_or_default();
        let connector = what.strip_prefix(CONNECTOR);
        if let Some(name) = connector.filter(|_| status != 429) {
            let each = match method {
                "GET" => Some(&mut reconciles.read),
                "PUT" => Some(&mut reconciles.put),
                _ => None,
            };
            if let Some(each) = each {
                *each.entry(name.to_owned()).or_default() += 1;
            }
        }
        if operation == LIST || OURS.iter().any(|ours| what.starts_with(ours)) {
            if method == "GET" {
                reconciles.reads += 1;
            } else {
                reconciles.writes += 1;
            }
        }
        reconciles.refused += u64::from(status == 429);
        reconciles.failed += u64::from(!(200..300).contains(&status) && status != 404 && status != 429);
        let operation = match connector {
            Some(_) => format!("{method} {CONNECTOR}…"),
            None => operation.to_owned(),
        };
        *reconciles.by_operation.entry(operation).or_default() += 1;
    }
    reconciles
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(operation: &str, status: u16) -> Value {
        json!({"kind": "arm", "operation": operation, "status": status})
    }

    #[test]
    fn requests_are_classified() {
        let reconciles = of(&[
            entry("GET securityConnectors", 200),
            entry("GET securityConnectors/a", 404),
            entry("GET securityConnectors/b", 429),
            entry("GET securityConnectors/b", 404),
            entry("PUT resourceGroup", 201),
            entry("PUT securityConnectors/a", 201),
            entry("PUT securityConnectors/b", 504),
            entry("PUT securityConnectors/b", 200),
            entry("GET resource healthReports", 200),
            entry("GET settings", 200),
        ]);
        assert_eq!(
            (reconciles.lists(), reconciles.readings(), reconciles.budget()),
            (1, 3, 4)
        );
        assert_eq!(
            (reconciles.reads, reconciles.writes, reconciles.puts()),
            (5, 4, 3)
        );
        assert_eq!((reconciles.refused, reconciles.failed), (1, 1));
        assert_eq!((reconciles.fewest(2), reconciles.fewest(3)), (1, 0));
        assert_eq!(
            (reconciles.not_once(2), reconciles.not_once(3)),
            (1, 2),
            "b was written twice"
        );
    }
}
