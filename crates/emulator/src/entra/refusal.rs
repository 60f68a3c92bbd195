//! Entra's errors: AADSTS numbers with the texts of the real service.

use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use crate::{answer::Answer, instant};

/// An AADSTS error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    error: &'static str,
    number: u32,
    message: String,
}

impl Refusal {
    pub(super) fn request(number: u32, message: impl Into<String>) -> Self {
        Self {
            error: "invalid_request",
            number,
            message: message.into(),
        }
    }

    pub(super) fn client(number: u32, message: impl Into<String>) -> Self {
        Self {
            error: "invalid_client",
            number,
            message: message.into(),
        }
    }

    pub(super) fn unauthorized(number: u32, message: impl Into<String>) -> Self {
        Self {
            error: "unauthorized_client",
            number,
            message: message.into(),
        }
    }

    #[cfg(test)]
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn answer(&self, host: &str, now: Timestamp) -> Answer {
        let (trace, correlation) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
        let timestamp = instant::spaced(now);
        // The real service sends these line breaks; they have broken clients that borrow strings from JSON.
        let description = format!(
            "AADSTS{}: {}\r\nTrace ID: {trace}\r\nCorrelation ID: {correlation}\r\nTimestamp: {timestamp}",
            self.number, self.message
        );
        let status = match self.error {
            "invalid_client" => StatusCode::UNAUTHORIZED,
            _ => StatusCode::BAD_REQUEST,
        };
        Answer::json(
            status,
            json!({
                "error": self.error, "error_description": description, "error_codes": [self.number],
                "timestamp": timestamp, "trace_id": trace, "correlation_id": correlation,
                "error_uri": format!("{host}/error?code={}", self.number),
            }),
        )
    }
}
