//! Requests to Azure, from the emulator's log.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde::Serialize;
use serde_json::Value;
use serverprotection_tests::{Error, emulator::Emulator};
use std::collections::BTreeMap;

/// A query to Resource Graph: it is sent with POST and reads.
pub(crate) const QUERY: &str = "POST resources";
/// Resources whose names are no part of an operation.
const NAMED: [&str; 3] = ["virtualMachines/", "machines/", "securityConnectors/"];

/// A request, as far as it is counted.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Number in the log.
    pub(crate) sequence: u64,
    pub(crate) at: Timestamp,
    pub(crate) method: String,
    /// Method and resource, without the names of single machines and connectors: `GET virtualMachines/…`.
    pub(crate) operation: String,
    /// That name.
    pub(crate) name: Option<String>,
    pub(crate) status: u64,
    pub(crate) subscription: Option<String>,
    /// Time from arrival to response, with the latency of the emulator.
    pub(crate) took: SignedDuration,
    kind: String,
}

impl Request {
    /// Parses an entry of the emulator's log.
    pub(crate) fn read(entry: &Value) -> Option<Self> {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).map(str::to_owned);
        let (operation, name) = split(text("operation")?);
        let took = entry.get("durationMs").and_then(Value::as_i64);
        Some(Self {
            sequence: entry.get("sequence").and_then(Value::as_u64).unwrap_or_default(),
            at: text("at")?.parse().ok()?,
            method: text("method")?,
            operation,
            name,
            status: entry.get("status").and_then(Value::as_u64)?,
            subscription: text("subscription"),
            took: SignedDuration::from_millis(took.unwrap_or_default()),
            kind: text("kind")?,
        })
    }

    /// Whether Azure Resource Manager was asked.
    pub(crate) fn is_arm(&self) -> bool {
        self.kind == "arm"
    }

    /// Whether Entra was asked for a token.
    pub(crate) fn is_token(&self) -> bool {
        self.kind == "token"
    }

    pub(crate) fn is_query(&self) -> bool {
        self.operation == QUERY
    }

    pub(crate) fn writes(&self) -> bool {
        self.method != "GET" && !self.is_query()
    }

    /// The operation without its method.
    pub(crate) fn resource(&self) -> &str {
        let parts = self.operation.split_once(' ');
        parts.map_or("", |(_, resource)| resource)
    }
}

/// The requests after a sequence number of the emulator's log.
pub(crate) async fn since(emulator: &Emulator, sequence: u64) -> Result<Vec<Request>, Error> {
    let path = format!("requests?kind=all&since={sequence}");
    let answer = emulator.call(Method::GET, &path, None).await?;
    let entries = answer.get("requests").and_then(Value::as_array);
    Ok(entries.into_iter().flatten().filter_map(Request::read).collect())
}

/// Separates the name of a single machine or connector from an operation.
fn split(operation: String) -> (String, Option<String>) {
    for resource in NAMED {
        if let Some((method, name)) = operation.split_once(' ')
            && let Some(name) = name.strip_prefix(resource)
        {
            return (format!("{method} {resource}…"), Some(name.to_owned()));
        }
    }
    (operation, None)
}

/// Numbers of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Calls {
    pub(crate) total: u64,
    /// Requests that change something.
    pub(crate) writes: u64,
    pub(crate) by_operation: BTreeMap<String, u64>,
    pub(crate) by_status: BTreeMap<u64, u64>,
}

impl Calls {
    pub(crate) fn of<'r>(requests: impl IntoIterator<Item = &'r Request>) -> Self {
        let mut calls = Self::default();
        for request in requests {
            calls.total += 1;
            calls.writes += u64::from(request.writes());
            *calls.by_operation.entry(request.operation.clone()).or_default() += 1;
            *calls.by_status.entry(request.status).or_default() += 1;
        }
        calls
    }

    /// Number of requests of an operation.
    pub(crate) fn count(&self, operation: &str) -> u64 {
        self.by_operation.get(operation).copied().unwrap_or_default()
    }

    /// Requests that change nothing.
    pub(crate) const fn reads(&self) -> u64 {
        self.total - self.writes
    }

    /// Queries to Resource Graph.
    pub(crate) fn queries(&self) -> u64 {
        self.count(QUERY)
    }

    /// Responses with status 429.
    pub(crate) fn refused(&self) -> u64 {
        self.by_status.get(&429).copied().unwrap_or_default()
    }

    /// Responses other than 2xx, 404 and 429.
    pub(crate) fn failed(&self) -> u64 {
        let statuses = self.by_status.iter();
        let failed =
            statuses.filter(|(status, _)| !(200..300).contains(*status) && ![404, 429].contains(*status));
        failed.map(|(_, requests)| requests).sum()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    pub(crate) fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A request of 500 ms to Azure Resource Manager.
    pub(crate) fn request(second: i64, operation: &str, status: u16, subscription: &str) -> Request {
        let entry = json!({"at": at(second).to_string(), "kind": "arm", "operation": operation, "status": status,
            "method": operation.split(' ').next(), "durationMs": 500, "subscription": subscription});
        Request::read(&entry).unwrap()
    }

    #[test]
    fn names_are_no_part_of_an_operation() {
        let read = |operation| {
            let request = request(1, operation, 200, "a");
            (request.operation, request.name)
        };
        let name = || Some("one".to_owned());
        assert_eq!(read("GET machines/one"), ("GET machines/…".to_owned(), name()));
        assert_eq!(
            read("PUT securityConnectors/one"),
            ("PUT securityConnectors/…".to_owned(), name())
        );
        assert_eq!(read("GET securityConnectors").1, None);
        assert_eq!(read("GET pricings/VirtualMachines").1, None);
    }

    #[test]
    fn a_query_reads() {
        let log = [
            request(1, QUERY, 200, "a"),
            request(1, "GET settings", 404, "a"),
            request(1, "PUT settings", 504, "a"),
            request(1, QUERY, 429, "a"),
        ];
        let calls = Calls::of(&log);
        assert_eq!((calls.total, calls.reads(), calls.writes), (4, 3, 1));
        assert_eq!((calls.queries(), calls.refused(), calls.failed()), (2, 1, 1));
    }
}
