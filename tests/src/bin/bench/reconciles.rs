//! The requests to Azure for reconciles of connectors.

use crate::requests::{Calls, Request};
use serde::Serialize;
use std::collections::BTreeMap;

const READ: &str = "GET securityConnectors/…";
const PUT: &str = "PUT securityConnectors/…";
/// The list of all connectors, one page for each request.
const LIST: &str = "GET securityConnectors";
/// Requests that only reconciles of connectors send. Permissions are also read by others.
const OURS: [&str; 3] = ["securityConnectors/", "resourceGroup", "resource healthReports"];

/// Requests in a period.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reconciles {
    /// All requests to Azure, for objects of either kind.
    pub(crate) all: Calls,
    /// Requests for connectors only.
    pub(crate) ours: Calls,
    /// Reads and writes of each connector, by name.
    #[serde(skip)]
    read: BTreeMap<String, usize>,
    #[serde(skip)]
    put: BTreeMap<String, usize>,
}

impl Reconciles {
    /// Number of PUTs of connectors.
    pub(crate) fn puts(&self) -> u64 {
        self.all.count(PUT)
    }

    /// Number of list requests.
    pub(crate) fn lists(&self) -> u64 {
        self.all.count(LIST)
    }

    /// Number of reads of single connectors. Each reconcile makes one.
    pub(crate) fn readings(&self) -> u64 {
        self.all.count(READ)
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

/// Counts requests.
pub(crate) fn of(requests: &[Request]) -> Reconciles {
    let is_ours = |request: &&Request| {
        request.operation == LIST || OURS.iter().any(|ours| request.resource().starts_with(ours))
    };
    let mut reconciles = Reconciles {
        all: Calls::of(requests),
        ours: Calls::of(requests.iter().filter(is_ours)),
        ..Reconciles::default()
    };
    for request in requests.iter().filter(|request| request.status != 429) {
        let each = match request.operation.as_str() {
            READ => &mut reconciles.read,
            PUT => &mut reconciles.put,
            _ => continue,
        };
        if let Some(name) = &request.name {
            *each.entry(name.clone()).or_default() += 1;
        }
    }
    reconciles
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requests::tests::request;

    fn entry(operation: &str, status: u16) -> Request {
        request(1, operation, status, "a")
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
            (reconciles.ours.reads(), reconciles.ours.writes, reconciles.puts()),
            (5, 4, 3)
        );
        assert_eq!((reconciles.all.refused(), reconciles.all.failed()), (1, 1));
        assert_eq!((reconciles.fewest(2), reconciles.fewest(3)), (1, 0));
        assert_eq!(
            (reconciles.not_once(2), reconciles.not_once(3)),
            (1, 2),
            "b was written twice"
        );
    }
}
