//! One `reqwest` client for tokens and ARM: one CA setting, one proxy setting, one pool.

use std::{sync::Mutex, time::Duration};

use azure_core::http::{AsyncRawResponse, HttpClient, Request};
use serde_json::Value;

/// The client could not be built.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The extra CA is no PEM bundle.
    #[error("the extra CA is not a PEM certificate bundle: {0}")]
    Certificate(#[source] reqwest::Error),
    /// TLS could not be set up.
    #[error("the HTTPS client cannot be built: {0}")]
    Build(#[source] reqwest::Error),
}

/// Builds the shared client; `extra_ca` is a PEM bundle that is trusted besides the system's roots.
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

/// The client for the node's own identity endpoint, which speaks plain HTTP within the machine (169.254.169.254, or a
/// port of localhost) and must not be asked through a proxy. It carries no secret of ours, and tokens it brings go to
/// ARM by the other client.
pub(crate) fn node_client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(Duration::from_secs(3))
        .timeout(Duration::from_secs(30))
        .build()
}

/// What Entra said when it refused a token.
#[derive(Clone, Debug)]
pub(crate) struct EntraRefusal {
    pub(crate) status: u16,
    /// `AADSTS…`
    pub(crate) code: String,
    pub(crate) description: String,
}

/// The transport under `azure_identity`. It keeps Entra's refusals, because `azure_identity` 1.0 loses the code of an
/// answer whose description holds an escaped character (clients.md 1.3).
#[derive(Debug)]
pub(crate) struct EntraTransport {
    inner: reqwest::Client,
    refusal: Mutex<Option<EntraRefusal>>,
}

impl EntraTransport {
    pub(crate) fn new(inner: reqwest::Client) -> Self {
        Self {
            inner,
            refusal: Mutex::new(None),
        }
    }

    /// The refusal since the last call, if there was one.
    pub(crate) fn take_refusal(&self) -> Option<EntraRefusal> {
        self.refusal.lock().ok().and_then(|mut refusal| refusal.take())
    }
}

#[async_trait::async_trait]
impl HttpClient for EntraTransport {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let response = self.inner.execute_request(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (status, headers, body) = response.deconstruct();
        let bytes = body.collect().await?;
        if let Ok(mut refusal) = self.refusal.lock() {
            *refusal = Some(read_refusal(u16::from(status), &bytes));
        }
        Ok(AsyncRawResponse::from_bytes(status, headers, bytes))
    }
}

fn read_refusal(status: u16, body: &[u8]) -> EntraRefusal {
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
    EntraRefusal {
        status,
        code,
        description: crate::refusal::one_line(description),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escaped_description_keeps_its_code_and_loses_what_differs_each_time() {
        let body = br#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid \"client\" secret provided.\r\nTrace ID: 1 Timestamp: 2"}"#;
        let refusal = read_refusal(401, body);
        assert_eq!(refusal.code, "AADSTS7000215");
        assert_eq!(refusal.description, "Invalid \"client\" secret provided.");
    }
}
