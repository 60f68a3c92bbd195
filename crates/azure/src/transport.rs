//! The HTTP client for Entra and Azure Resource Manager: one CA setting, one proxy setting, one connection pool.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use azure_core::{
    Bytes,
    http::{AsyncRawResponse, HttpClient, Request, headers::Headers},
};
use serde_json::Value;

use crate::retry_after;

/// The longest lifetime of a token, in seconds; real tokens live for hours. `azure_identity` adds the lifetime to the
/// current time, and panics if the sum overflows.
const LONGEST_TOKEN: i64 = 7 * 24 * 3600;
/// `azure_identity` sleeps before it retries a managed identity, while the token lock is held.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// Why the HTTP client cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The extra CA is not a PEM bundle.
    #[error("the extra CA is not a PEM certificate bundle: {0}")]
    Certificate(#[source] reqwest::Error),
    /// TLS cannot be set up.
    #[error("the HTTPS client cannot be built: {0}")]
    Build(#[source] reqwest::Error),
}

/// Builds the shared client. `extra_ca` is a PEM bundle that is trusted in addition to the roots of the system.
///
/// # Errors
///
/// If `extra_ca` is not a PEM bundle, or TLS cannot be set up.
pub fn http_client(extra_ca: Option<&[u8]>) -> Result<reqwest::Client, HttpError> {
    let mut builder = reqwest::Client::builder()
        .https_only(true)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(10))
        .timeout(Duration::from_secs(90))
        .user_agent(concat!("serverprotection/", env!("CARGO_PKG_VERSION")));
    if let Some(pem) = extra_ca {
        let bundle = reqwest::Certificate::from_pem_bundle(pem).map_err(HttpError::Certificate)?;
        builder = builder.tls_certs_merge(bundle);
    }
    builder.build().map_err(HttpError::Build)
}

/// Builds the client for the identity endpoint of the node, which uses plain HTTP within the machine (169.254.169.254
/// or a port of localhost) and must not be reached through a proxy. No secret is sent to it.
pub(crate) fn node_client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(Duration::from_secs(3))
        .timeout(Duration::from_secs(30))
        .build()
}

/// Entra's error response to a token request.
#[derive(Clone, Debug)]
pub(crate) struct EntraError {
    pub(crate) status: u16,
    /// `AADSTS…`
    pub(crate) code: String,
    pub(crate) description: String,
    pub(crate) retry_after: Option<Duration>,
}

/// The transport of `azure_identity`. It stores Entra's error responses, because `azure_identity` 1.0 loses the code of
/// one whose description contains an escaped character (docs/azure-api.md 9.2).
#[derive(Debug)]
pub(crate) struct EntraTransport {
    inner: Arc<dyn HttpClient>,
    /// For log lines.
    operation: &'static str,
    refusal: Mutex<Option<EntraError>>,
}

impl EntraTransport {
    pub(crate) fn new(inner: Arc<dyn HttpClient>, operation: &'static str) -> Self {
        Self {
            inner,
            operation,
            refusal: Mutex::new(None),
        }
    }

    /// The error response since the last call, if there was one.
    pub(crate) fn take_refusal(&self) -> Option<EntraError> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<EntraError>> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl HttpClient for EntraTransport {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let response = self.inner.execute_request(request).await?;
        let (status, mut headers, body) = response.deconstruct();
        let bytes = body.collect().await?;
        if status.is_success() {
            return Ok(AsyncRawResponse::from_bytes(status, headers, bounded(bytes)));
        }
        let retry_after = take_retry_after(&mut headers, self.operation);
        *self.lock() = Some(read_refusal(u16::from(status), &bytes, retry_after));
        Ok(AsyncRawResponse::from_bytes(status, headers, bytes))
    }
}

/// A token response with a lifetime that can be added to the current time.
fn bounded(bytes: Bytes) -> Bytes {
    let Ok(mut body) = serde_json::from_slice::<Value>(&bytes) else {
        return bytes;
    };
    let Some(lifetime) = body.get_mut("expires_in").filter(|lifetime| lifetime.is_number()) else {
        return bytes;
    };
    let seconds = match (lifetime.as_i64(), lifetime.as_f64()) {
        (Some(seconds), _) => seconds.clamp(0, LONGEST_TOKEN),
        (None, Some(seconds)) if seconds < 1.0 => 0,
        _ => LONGEST_TOKEN,
    };
    if lifetime.as_i64() == Some(seconds) {
        return bytes;
    }
    tracing::warn!(expires_in = %lifetime, used_seconds = seconds, "lifetime of a token is invalid; using the nearest valid one");
    *lifetime = seconds.into();
    body.to_string().into()
}

/// Reads the Retry-After, and replaces it by the time that `azure_identity` may sleep.
fn take_retry_after(headers: &mut Headers, operation: &str) -> Option<Duration> {
    let text = |name: &str| {
        let mut all = headers.iter();
        let found = all.find(|(known, _)| known.as_str().eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str().to_owned())
    };
    let (value, sent) = (text("retry-after"), text("date"));
    let wait = retry_after::of_texts(value.as_deref(), sent.as_deref(), operation);
    for name in ["retry-after", "retry-after-ms", "x-ms-retry-after-ms"] {
        headers.remove(name);
    }
    if let Some(wait) = wait {
        let seconds = wait.min(LONGEST_SLEEP).as_secs();
        headers.insert("retry-after", seconds.to_string());
    }
    wait
}

fn read_refusal(status: u16, body: &[u8], retry_after: Option<Duration>) -> EntraError {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = body
        .get("error_description")
        .and_then(Value::as_str)
        .unwrap_or_default();
    // "AADSTS7000215: Invalid client secret … Trace ID: … Correlation ID: … Timestamp: …"
    let (code, rest) = match text.split_once(": ") {
        Some((code, rest)) if code.starts_with("AADSTS") => (code.to_owned(), rest),
        _ => (
            body.get("error")
                .and_then(Value::as_str)
                .unwrap_or("TokenRefused")
                .to_owned(),
            text,
        ),
    };
    let description = rest.split("Trace ID:").next().unwrap_or(rest);
    EntraError {
        status,
        code,
        description: crate::error_response::one_line(description),
        retry_after,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escaped_description_keeps_its_code_and_loses_its_ids() {
        let body = br#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid \"client\" secret provided.\r\nTrace ID: 1 Timestamp: 2"}"#;
        let refusal = read_refusal(401, body, None);
        assert_eq!(refusal.code, "AADSTS7000215");
        assert_eq!(refusal.description, "Invalid \"client\" secret provided.");
    }

    #[test]
    fn a_token_lives_as_long_as_entra_says_within_reason() {
        let lifetime = |text: &str| {
            let body = format!(r#"{{"access_token":"t","expires_in":{text}}}"#);
            let body: Value = serde_json::from_slice(&bounded(body.into())).unwrap();
            body["expires_in"].clone()
        };
        for (text, seconds) in [
            ("3599", 3599),
            ("0", 0),
            ("-1", 0),
            ("-9223372036854775808", 0),
            ("9223372036854775807", LONGEST_TOKEN),
            ("18446744073709551615", LONGEST_TOKEN),
            ("1e300", LONGEST_TOKEN),
            ("-1e300", 0),
        ] {
            assert_eq!(lifetime(text), seconds, "{text}");
        }
        // Entra version 1 and managed identities send a string, which is read elsewhere.
        assert_eq!(lifetime(r#""3599""#), "3599");
        for body in ["", "<html>", "[]", "null"] {
            assert_eq!(bounded(body.into()), body);
        }
    }

    #[test]
    fn entras_retry_after_is_read_and_azure_identity_sleeps_no_longer_than_a_minute() {
        for (value, read, left) in [
            (Some("7"), Some(7), Some("7")),
            (Some("300"), Some(300), Some("60")),
            (Some("9223372036854775807"), Some(3600), Some("60")),
            (Some("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0), Some("0")),
            (Some("soon"), None, None),
            (None, None, None),
        ] {
            let mut headers = Headers::new();
            headers.insert("x-ms-retry-after-ms", "9223372036854775807");
            if let Some(value) = value {
                headers.insert("retry-after", value);
            }
            let found = take_retry_after(&mut headers, "GET x");
            assert_eq!(found, read.map(Duration::from_secs), "{value:?}");
            let all: Vec<_> = headers.iter().map(|(_, value)| value.as_str()).collect();
            assert_eq!(all, Vec::from_iter(left), "{value:?}");
        }
    }
}
