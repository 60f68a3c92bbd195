//! The HTTP client for Entra and Azure Resource Manager: one CA setting, one proxy setting, one connection pool.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use azure_core::{
    Bytes,
    http::{AsyncRawResponse, HttpClient, Request, headers::Headers},
};
use futures::StreamExt;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Map, Value};
use serverprotection_core::{
    azure_error::{AzureError, ErrorClass, UNRECOGNIZED_RESPONSE},
    token_cause::TokenCause,
};

use crate::{body, certificates, error_response::shape, retry_after};

/// The longest lifetime of a token, in seconds; real tokens live for hours. `azure_identity` adds the lifetime to the
/// current time, and panics if the sum overflows.
const LONGEST_TOKEN: i64 = 7 * 24 * 3600;
/// `azure_identity` sleeps before it retries a managed identity, while the token lock is held.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// The largest body of a response to a token request; tokens have a few kB.
const LARGEST_BODY: usize = 1024 * 1024;

/// Why the HTTP client cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The extra CA is not a PEM bundle.
    #[error("the extra CA is not a PEM certificate bundle: {0}")]
    Certificate(#[source] rustls::pki_types::pem::Error),
    /// TLS cannot be set up, for example because a certificate of the extra CA cannot be parsed.
    #[error("TLS cannot be set up with the certificate authorities of the system and the extra CA: {0}")]
    Tls(#[source] rustls::Error),
    /// The client cannot be built.
    #[error("the HTTPS client cannot be built: {0}")]
    Build(#[source] reqwest::Error),
}

/// Builds the shared client. `extra_ca` is a PEM bundle that is trusted in addition to the roots of the system.
///
/// # Errors
///
/// If `extra_ca` is not a PEM bundle, or TLS cannot be set up.
pub fn http_client(extra_ca: Option<&[u8]>) -> Result<reqwest::Client, HttpError> {
    let pem = extra_ca.unwrap_or_default();
    let extra_roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let tls =
        certificates::tls_config(extra_roots.map_err(HttpError::Certificate)?).map_err(HttpError::Tls)?;
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .https_only(true)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(10))
        .timeout(Duration::from_secs(90))
        .user_agent(user_agent());
    builder.build().map_err(HttpError::Build)
}

/// Names the program, its version, and this process: an id that differs in each run, so that the requests of two
/// replicas can be told apart in the logs of Azure.
fn user_agent() -> String {
    let process = uuid::Uuid::new_v4().simple();
    format!("serverprotection/{} ({process})", env!("CARGO_PKG_VERSION"))
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

/// A response to a token request that holds no token.
#[derive(Clone, Debug)]
pub(crate) struct EntraError {
    pub(crate) class: ErrorClass,
    /// `AADSTS…`
    pub(crate) code: String,
    pub(crate) description: String,
}

/// The transport of `azure_identity`. It stores Entra's error responses, because `azure_identity` 1.0 loses the code of
/// one whose description contains an escaped character (docs/azure-api.md 9.2).
#[derive(Debug)]
pub(crate) struct EntraTransport {
    inner: Arc<dyn HttpClient>,
    /// For log lines.
    operation: &'static str,
    refusal: Mutex<Option<EntraError>>,
    no_assertion: Mutex<Option<AzureError>>,
}

impl EntraTransport {
    pub(crate) fn new(inner: Arc<dyn HttpClient>, operation: &'static str) -> Self {
        Self {
            inner,
            operation,
            refusal: Mutex::default(),
            no_assertion: Mutex::default(),
        }
    }

    /// The error response since the last call, if there was one.
    pub(crate) fn take_refusal(&self) -> Option<EntraError> {
        self.lock().take()
    }

    /// Stores why there is no assertion: errors of `azure_identity` hold only its text.
    pub(crate) fn without_assertion(&self, failure: AzureError) {
        *self.no_assertion.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
    }

    /// Why there was no assertion since the last call, if there was none.
    pub(crate) fn take_assertion_failure(&self) -> Option<AzureError> {
        let mut failure = self.no_assertion.lock().unwrap_or_else(PoisonError::into_inner);
        failure.take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<EntraError>> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl HttpClient for EntraTransport {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let response = self.inner.execute_request(request).await?;
        let (status, mut headers, mut stream) = response.deconstruct();
        let mut bytes = Vec::new();
        while let Some(part) = stream.next().await {
            bytes.extend_from_slice(&part?);
            if bytes.len() > LARGEST_BODY {
                let message = "the response to the token request is too large";
                return Err(azure_core::Error::with_message(
                    azure_core::error::ErrorKind::Io,
                    message,
                ));
            }
        }
        let bytes = Bytes::copy_from_slice(body::without_byte_order_mark(&bytes));
        if status.is_success() && has_token(&bytes) {
            let token = bounded(&bytes);
            *self.lock() = token.is_none().then(unreadable_lifetime);
            let bytes = token.unwrap_or(bytes);
            return Ok(AsyncRawResponse::from_bytes(status, headers, bytes));
        }
        let retry_after = take_retry_after(&mut headers, self.operation);
        *self.lock() = Some(read_refusal(u16::from(status), &bytes, retry_after));
        Ok(AsyncRawResponse::from_bytes(status, headers, bytes))
    }
}

/// Whether a body holds a token that fits into a header, and is not a page of the network.
fn has_token(bytes: &[u8]) -> bool {
    let body: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let token = body.get("access_token").and_then(Value::as_str);
    token.is_some_and(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()))
}

/// A token response as `azure_identity` reads it, with a lifetime that can be added to the current time. `None` if the
/// lifetime is not a number.
fn bounded(bytes: &[u8]) -> Option<Bytes> {
    let mut body: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
    // Not needed, and Entra version 1 sends it as text.
    body.remove("ext_expires_in");
    let number = match body.remove("expires_in") {
        None | Some(Value::Null) => None,
        // Entra version 1 and managed identities.
        Some(Value::String(text)) => Some(serde_json::from_str(&text).ok().filter(Value::is_number)?),
        Some(number) => Some(Some(number).filter(Value::is_number)?),
    };
    if let Some(number) = number {
        let seconds = match (number.as_i64(), number.as_f64()) {
            (Some(seconds), _) => seconds.clamp(0, LONGEST_TOKEN),
            (None, Some(seconds)) if seconds < 1.0 => 0,
            _ => LONGEST_TOKEN,
        };
        if number.as_i64() != Some(seconds) {
            tracing::warn!(expires_in = %number, used_seconds = seconds, "lifetime of a token is invalid; using the nearest valid one");
        }
        body.insert("expires_in".into(), seconds.into());
    }
    Some(Value::Object(body).to_string().into())
}

fn unreadable_lifetime() -> EntraError {
    EntraError {
        class: ErrorClass::Transient,
        code: "UnreadableAnswer".into(),
        description: "the lifetime of the token in the response is not a number".into(),
    }
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

/// The errors of OAuth (RFC 6749) and of Entra. Their description is optional.
const OAUTH_ERRORS: [&str; 14] = [
    "access_denied",
    "consent_required",
    "interaction_required",
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_resource",
    "invalid_scope",
    "login_required",
    "server_error",
    "temporarily_unavailable",
    "unauthorized_client",
    "unsupported_grant_type",
    "unsupported_response_type",
];

fn read_refusal(status: u16, body: &[u8], retry_after: Option<Duration>) -> EntraError {
    let body = shape::parsed(body);
    let mut reported = shape::reported(&body);
    let oauth = body.get("error").and_then(Value::as_str);
    if let Some(error) = oauth.filter(|error| OAUTH_ERRORS.contains(error)) {
        reported.is_known_shape = true;
        reported.code.get_or_insert_with(|| error.to_owned());
    }
    let is_success = (200..300).contains(&status);
    let is_page = body.as_str().is_some_and(|page| page.starts_with('<'));
    let text = match reported.message {
        // What is cut off may contain a part of a token.
        Some(_) if is_success && body.is_string() && !is_page => String::new(),
        message => message.unwrap_or_default(),
    };
    // "AADSTS7000215: Invalid client secret … Trace ID: … Correlation ID: … Timestamp: …"
    let (code, rest) = match text.split_once(": ") {
        Some((code, rest)) if is_aadsts(code) => (code.to_owned(), rest),
        _ => {
            let number = body.pointer("/error_codes/0").and_then(Value::as_u64);
            let number = number.map(|number| format!("AADSTS{number}"));
            let code = number.filter(|code| is_aadsts(code)).or(reported.code);
            (code.unwrap_or_else(|| format!("Http{status}")), text.as_str())
        }
    };
    let description = rest.split("Trace ID:").next().unwrap_or(rest).trim_end();
    let description = match description {
        "" if is_success => "the response contains no usable token".to_owned(),
        "" => "no description".to_owned(),
        description => description.to_owned(),
    };
    let transient = || retry_after.map_or(ErrorClass::Transient, ErrorClass::Unavailable);
    let class = match status {
        429 => ErrorClass::Throttled(retry_after),
        500.. => transient(),
        _ if !reported.is_known_shape => {
            return EntraError {
                class: transient(),
                code: UNRECOGNIZED_RESPONSE.into(),
                description: format!("status {status}: {description}"),
            };
        }
        _ if TokenCause::of(&code) == Some(TokenCause::Unavailable) => transient(),
        _ => ErrorClass::Credential,
    };
    EntraError {
        class,
        code,
        description,
    }
}

/// `AADSTS` and a number.
fn is_aadsts(code: &str) -> bool {
    let number = code.strip_prefix("AADSTS").unwrap_or_default();
    (1..=12).contains(&number.len()) && number.bytes().all(|digit| digit.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escaped_description_keeps_its_code_and_loses_its_ids() {
        let body = br#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid \"client\" secret provided.\r\nTrace ID: 1 Timestamp: 2"}"#;
        let refusal = read_refusal(401, body, None);
        assert_eq!(refusal.class, ErrorClass::Credential);
        assert_eq!(refusal.code, "AADSTS7000215");
        assert_eq!(refusal.description, "Invalid \"client\" secret provided.");
    }

    #[test]
    fn only_entras_own_refusal_says_something_about_the_credential() {
        let wait = Duration::from_secs(7);
        let page = "<html><head><title>Access denied</title><style>a{}</style></head></html>";
        let coded =
            |code: &str| format!(r#"{{"error":"invalid_request","error_description":"{code}: text"}}"#);
        for (status, body, class, code) in [
            (
                400,
                coded("AADSTS7000112"),
                ErrorClass::Credential,
                "AADSTS7000112",
            ),
            (
                401,
                coded("AADSTS99999999"),
                ErrorClass::Credential,
                "AADSTS99999999",
            ),
            (
                400,
                coded("AADSTS90033"),
                ErrorClass::Unavailable(wait),
                "AADSTS90033",
            ),
            (
                400,
                r#"{"error":"invalid_request","error_description":"Identity not found"}"#.into(),
                ErrorClass::Credential,
                "invalid_request",
            ),
            (
                403,
                page.into(),
                ErrorClass::Unavailable(wait),
                UNRECOGNIZED_RESPONSE,
            ),
            (
                200,
                page.into(),
                ErrorClass::Unavailable(wait),
                UNRECOGNIZED_RESPONSE,
            ),
            (
                302,
                String::new(),
                ErrorClass::Unavailable(wait),
                UNRECOGNIZED_RESPONSE,
            ),
            (429, page.into(), ErrorClass::Throttled(Some(wait)), "Http429"),
            (503, page.into(), ErrorClass::Unavailable(wait), "Http503"),
        ] {
            let refusal = read_refusal(status, body.as_bytes(), Some(wait));
            assert_eq!((refusal.class, refusal.code.as_str()), (class, code), "{body}");
        }
        let refused = read_refusal(403, page.as_bytes(), None);
        assert_eq!(refused.description, "status 403: Access denied");
    }

    #[test]
    fn a_token_lives_as_long_as_entra_says_within_reason() {
        let lifetime = |text: &str| {
            let body = format!(r#"{{"access_token":"t","expires_in":{text},"ext_expires_in":"1"}}"#);
            let body = bounded(body.as_bytes())?;
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["access_token"], "t");
            Some(body["expires_in"].clone())
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
            assert_eq!(lifetime(text), Some(seconds.into()), "{text}");
        }
        for (text, seconds) in [(r#""3599""#, 3599), (r#""-5""#, 0), (r#""1e300""#, LONGEST_TOKEN)] {
            assert_eq!(lifetime(text), Some(seconds.into()), "{text}");
        }
        assert_eq!(lifetime("null"), Some(Value::Null), "absent");
        for odd in [r#""soon""#, r#""""#, "{}", "true"] {
            assert_eq!(lifetime(odd), None, "{odd}");
        }
        for body in ["", "<html>", "[]", "null"] {
            assert_eq!(bounded(body.as_bytes()), None);
        }
    }

    #[test]
    fn only_a_token_that_fits_into_a_header_is_one() {
        for (token, usable) in [
            (r#""eyJ.a-b_c""#, true),
            (r#""""#, false),
            (r#""a\nb""#, false),
            (r#""SECRÉT""#, false),
            (r#""a b""#, false),
            ("7", false),
            ("null", false),
        ] {
            let body = format!(r#"{{"access_token":{token}}}"#);
            assert_eq!(has_token(body.as_bytes()), usable, "{token}");
            let refusal = read_refusal(200, body.as_bytes(), None);
            assert_eq!(
                refusal.description,
                "status 200: the response contains no usable token"
            );
        }
        let cut_off = read_refusal(200, br#"{"access_token":"SECRET"#, None);
        assert!(!cut_off.description.contains("SECRET"), "{}", cut_off.description);
    }

    #[test]
    fn the_description_of_an_oauth_error_is_optional() {
        for (body, class, code) in [
            (
                r#"{"error":"invalid_client"}"#,
                ErrorClass::Credential,
                "invalid_client",
            ),
            (
                r#"{"error":"interaction_required","error_codes":[53003],"error_description":""}"#,
                ErrorClass::Credential,
                "AADSTS53003",
            ),
            (
                r#"{"error":"invalid_client","error_codes":[90033]}"#,
                ErrorClass::Transient,
                "AADSTS90033",
            ),
            // Anything may send this.
            (
                r#"{"error":"forbidden"}"#,
                ErrorClass::Transient,
                UNRECOGNIZED_RESPONSE,
            ),
        ] {
            let refusal = read_refusal(401, body.as_bytes(), None);
            assert_eq!((refusal.class, refusal.code.as_str()), (class, code), "{body}");
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
