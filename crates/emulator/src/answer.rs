//! A response before it becomes HTTP, and ARM's error envelope.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

/// Status, headers and JSON body.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers besides those of every response.
    pub headers: Vec<(String, String)>,
    /// JSON body; `None` sends an empty body.
    pub body: Option<Value>,
    /// An already serialized body, sent instead of `body`.
    pub spelled: Option<String>,
}

impl Answer {
    /// 200 with a body.
    pub fn ok(body: Value) -> Self {
        Self::json(StatusCode::OK, body)
    }

    /// Any status with a body.
    pub fn json(status: StatusCode, body: Value) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Some(body),
            spelled: None,
        }
    }

    /// A status without a body.
    pub fn empty(status: StatusCode) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: None,
            spelled: None,
        }
    }

    /// 200 with already serialized JSON, so that large responses are not parsed again.
    pub fn spelled(text: String) -> Self {
        Self {
            spelled: Some(text),
            ..Self::empty(StatusCode::OK)
        }
    }

    /// `{"value": [...]}`.
    pub fn list(items: Vec<Value>) -> Self {
        Self::ok(Value::Object(Map::from_iter([(
            "value".to_owned(),
            Value::Array(items),
        )])))
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// `error.code` of ARM's envelope, or `error` of Entra's.
    pub fn error_code(&self) -> Option<String> {
        let error = self.body.as_ref()?.get("error")?;
        error
            .as_str()
            .or_else(|| error.get("code")?.as_str())
            .map(Into::into)
    }
}

/// An error of ARM or of a provider.
#[derive(Clone, Debug)]
pub struct ArmError {
    status: StatusCode,
    code: String,
    message: String,
    members: Map<String, Value>,
    headers: Vec<(String, String)>,
}

impl ArmError {
    /// An error of a resource provider.
    pub fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
            members: Map::new(),
            headers: Vec::new(),
        }
    }

    /// An error of ARM itself, marked as such by a header.
    pub fn gateway(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self::new(status, code, message).header("x-ms-failure-cause", "gateway")
    }

    /// 400 of a resource provider.
    pub fn bad_request(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// Adds `target`, `details` or `additionalInfo`.
    #[must_use]
    pub fn with(mut self, member: &str, value: Value) -> Self {
        self.members.insert(member.into(), value);
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

impl From<ArmError> for Answer {
    fn from(error: ArmError) -> Self {
        let mut members = error.members;
        members.insert("code".into(), Value::String(error.code));
        members.insert("message".into(), Value::String(error.message));
        Self {
            status: error.status,
            headers: error.headers,
            body: Some(json!({"error": members})),
            spelled: None,
        }
    }
}
