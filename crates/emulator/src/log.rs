//! The request log: bounded, for tests to count and read.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{entra, incoming::Incoming};

/// The service that a request addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Azure Resource Manager.
    Arm,
    /// The token endpoint.
    Token,
    /// Documents without authentication.
    Metadata,
}

impl Kind {
    /// The name in the log and in faults.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arm => "arm",
            Self::Token => "token",
            Self::Metadata => "metadata",
        }
    }
}

/// One answered (or abandoned) request.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Increases in the order of the responses.
    pub sequence: u64,
    /// Arrival.
    pub at: String,
    /// The service that it addressed.
    pub kind: Kind,
    /// HTTP method.
    pub method: String,
    /// Path as sent.
    pub path: String,
    /// Query as sent.
    pub query: String,
    /// The `api-version` of the query.
    pub api_version: Option<String>,
    /// The subscription of the path, in lower case.
    pub subscription: Option<String>,
    /// A short name: `PUT pricings/VirtualMachines`.
    pub operation: String,
    /// HTTP status; 0 if there was no response.
    pub status: u16,
    /// Error code; `Reset`, `Truncated` and `ClientGone` are the emulator's own.
    pub error_code: Option<String>,
    /// Client id.
    pub principal: Option<String>,
    /// Body without secrets.
    pub body: Value,
    /// The fault that applied.
    pub fault: Option<String>,
    /// Time from arrival to response.
    pub duration_ms: u64,
}

const CAPACITY: usize = 200_000;

/// The newest entries.
#[derive(Debug, Default)]
pub struct RequestLog {
    entries: VecDeque<Entry>,
    last: u64,
}

impl RequestLog {
    /// Adds an entry and returns its number.
    pub fn push(&mut self, mut entry: Entry) -> u64 {
        self.last += 1;
        entry.sequence = self.last;
        if self.entries.len() == CAPACITY {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
        self.last
    }

    /// Entries after a number, of a subscription, of a kind (`all` for any).
    pub fn select<'a>(
        &'a self,
        subscription: Option<&'a str>,
        since: u64,
        kind: &'a str,
    ) -> impl Iterator<Item = &'a Entry> {
        self.entries
            .iter()
            .filter(move |entry| entry.sequence > since)
            .filter(move |entry| kind == "all" || entry.kind.name() == kind)
            .filter(move |entry| {
                subscription.is_none_or(|expected| entry.subscription.as_deref() == Some(expected))
            })
    }

    /// Counts by method, operation and status.
    pub fn summary(&self, subscription: Option<&str>, since: u64, kind: &str) -> Value {
        let (mut methods, mut operations, mut statuses, mut total) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new(), 0_u64);
        for entry in self.select(subscription, since, kind) {
            *methods.entry(entry.method.as_str()).or_insert(0_u64) += 1;
            *operations.entry(entry.operation.as_str()).or_insert(0_u64) += 1;
            *statuses.entry(entry.status.to_string()).or_insert(0_u64) += 1;
            total += 1;
        }
        json!({"total": total, "byMethod": methods, "byOperation": operations, "byStatus": statuses,
               "lastSequence": self.last})
    }

    /// Deletes the entries; the numbering continues.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// The newest number.
    pub const fn last(&self) -> u64 {
        self.last
    }
}

/// A body for the log: forms and JSON with their secrets removed.
pub fn loggable(kind: Kind, request: &Incoming) -> Value {
    if request.body.is_empty() {
        return Value::Null;
    }
    if kind == Kind::Token {
        let mut shown = Map::new();
        for name in ["grant_type", "client_id", "scope", "resource"] {
            if let Some(value) = request.form(name) {
                shown.insert(name.into(), json!(value));
            }
        }
        let credential = ["client_secret", "client_assertion"]
            .into_iter()
            .find(|name| request.form(name).is_some());
        shown.insert("credential".into(), json!(credential));
        if let Some(assertion) = request.form("client_assertion") {
            shown.insert("assertion".into(), entra::named(&assertion));
        }
        return Value::Object(shown);
    }
    serde_json::from_slice(&request.body).map_or_else(|_| json!("not JSON"), redacted)
}

fn redacted(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .map(|(name, value)| {
                    let lower = name.to_ascii_lowercase();
                    let secret = [
                        "secret",
                        "password",
                        "token",
                        "protectedsettings",
                        "onboardingpackage",
                    ]
                    .iter()
                    .any(|word| lower.contains(word));
                    (
                        name,
                        if secret {
                            json!("redacted")
                        } else {
                            redacted(value)
                        },
                    )
                })
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(redacted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, Method};

    use super::*;

    #[test]
    fn secrets_are_removed() {
        let form = "grant_type=client_credentials&client_id=a&client_secret=geheim";
        let token = Incoming::new(Method::POST, "/t/oauth2/token", "", HeaderMap::new(), form.into());
        let shown = loggable(Kind::Token, &token).to_string();
        assert!(!shown.contains("geheim") && shown.contains("client_secret"));
        let body = r#"{"properties":{"protectedSettings":{"a":1},"enabled":true}}"#;
        let put = Incoming::new(Method::PUT, "/", "", HeaderMap::new(), body.into());
        assert_eq!(
            loggable(Kind::Arm, &put)["properties"],
            json!({"protectedSettings": "redacted", "enabled": true})
        );
    }
}
