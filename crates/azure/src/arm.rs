//! The thin ARM client: one call is one request. Retrying is the work queue's business; here are the token, the origin
//! check, request ids, the memory of throttling, and the classification of what came back.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::Value;
use serverprotection_core::failure::{Class, Failure};
use url::Url;

use crate::{
    Meter,
    cloud::Cloud,
    identity::Identity,
    locks::Locks,
    refusal::{self, Answer, is_write},
    tokens::Tokens,
};

/// ARM as one identity.
#[derive(Debug)]
pub struct Arm {
    http: reqwest::Client,
    cloud: Arc<Cloud>,
    tokens: Tokens,
    pub(crate) locks: Arc<Locks>,
    meter: Arc<dyn Meter>,
    /// Until when Azure asked not to be called, by subscription and kind.
    throttled: Mutex<HashMap<(String, bool), Instant>>,
}

/// One request.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    /// Short and from a fixed set, for metrics and messages: `PUT pricings/VirtualMachines`.
    pub(crate) operation: &'static str,
    pub(crate) subscription: &'a str,
    /// Path segments; each is percent-encoded by itself.
    pub(crate) path: &'a [&'a str],
    pub(crate) api_version: &'static str,
    pub(crate) body: Option<&'a Value>,
}

impl Arm {
    /// A client for one identity. `locks` are shared by all identities of the process.
    pub fn new(
        identity: Identity,
        http: reqwest::Client,
        cloud: Arc<Cloud>,
        locks: Arc<Locks>,
        meter: Arc<dyn Meter>,
    ) -> Self {
        let tokens = Tokens::new(identity, Arc::clone(&cloud), http.clone());
        Self {
            http,
            cloud,
            tokens,
            locks,
            meter,
            throttled: Mutex::default(),
        }
    }

    /// Whether a token can be had.
    pub(crate) async fn check_credential(&self) -> Result<(), Failure> {
        self.tokens.get(false).await.map(drop)
    }

    /// One request and its answer's body.
    pub(crate) async fn call(&self, call: &Call<'_>) -> Result<Value, Failure> {
        let url = self.url(call)?;
        self.not_before(call)?;
        match self.send(call, &url, false).await {
            // The token may have been revoked or the key rolled: once with a new one.
            Err(failure)
                if failure.class == Class::Credential
                    && failure.code != "InvalidAuthenticationTokenTenant" =>
            {
                self.send(call, &url, true).await
            }
            answer => answer,
        }
    }

    /// A list over all its pages.
    pub(crate) async fn list(&self, call: &Call<'_>) -> Result<Vec<Value>, Failure> {
        let mut items = Vec::new();
        let mut page = self.call(call).await?;
        loop {
            if let Some(Value::Array(value)) = page.get_mut("value").map(Value::take) {
                items.extend(value);
            }
            let next = page
                .get("nextLink")
                .and_then(Value::as_str)
                .filter(|link| !link.is_empty());
            let Some(next) = next else { return Ok(items) };
            let next = Url::parse(next).map_err(|error| malformed(call, &error.to_string()))?;
            self.same_origin(call, &next)?;
            page = self.send(call, &next, false).await?;
        }
    }

    fn url(&self, call: &Call<'_>) -> Result<Url, Failure> {
        let mut url = self.cloud.resource_manager.clone();
        url.path_segments_mut()
            .map_err(|()| malformed(call, "the resource manager endpoint takes no path"))?
            .pop_if_empty()
            .extend(call.path);
        url.query_pairs_mut().append_pair("api-version", call.api_version);
        Ok(url)
    }

    /// Tokens go to the configured origin only (law 10).
    fn same_origin(&self, call: &Call<'_>, url: &Url) -> Result<(), Failure> {
        if url.origin() == self.cloud.resource_manager.origin() {
            return Ok(());
        }
        Err(malformed(
            call,
            "the next page lies on another host; it was not asked for",
        ))
    }

    /// Azure's Retry-After holds for every caller, also one that was asked to run at once.
    fn not_before(&self, call: &Call<'_>) -> Result<(), Failure> {
        let key = (call.subscription.to_owned(), is_write(&call.method));
        let throttled = self
            .throttled
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let left = throttled
            .get(&key)
            .map(|until| until.saturating_duration_since(Instant::now()));
        match left.filter(|left| !left.is_zero()) {
            None => Ok(()),
            Some(left) => Err(Failure {
                class: Class::Throttled(Some(left)),
                code: "TooManyRequests".into(),
                message: "Azure asked to wait".into(),
                operation: call.operation.into(),
                request_id: None,
                effect_unknown: false,
            }),
        }
    }

    fn remember_throttling(&self, call: &Call<'_>, wait: Duration) {
        let key = (call.subscription.to_owned(), is_write(&call.method));
        let now = Instant::now();
        let mut throttled = self
            .throttled
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        throttled.retain(|_, until| *until > now);
        throttled.insert(key, now + wait);
    }

    async fn send(&self, call: &Call<'_>, url: &Url, renew: bool) -> Result<Value, Failure> {
        let token = self.tokens.get(renew).await?;
        let mut request = self
            .http
            .request(call.method.clone(), url.clone())
            .bearer_auth(token)
            .header("accept", "application/json")
            .header("x-ms-client-request-id", uuid::Uuid::new_v4().to_string());
        if let Some(body) = call.body {
            request = request.json(body);
        } else if is_write(&call.method) {
            request = request.header("content-length", "0");
        }
        let started = Instant::now();
        let sent = request.send().await;
        let answer = match sent {
            Ok(response) => {
                let (status, headers) = (response.status(), response.headers().clone());
                response.bytes().await.map(|bytes| (status, headers, bytes))
            }
            Err(error) => Err(error),
        };
        let status = answer.as_ref().map_or(0, |(status, ..)| status.as_u16());
        self.meter.request(call.operation, status, started.elapsed());
        match answer {
            Ok((status, headers, bytes)) => self.read(call, status, &headers, &bytes),
            Err(error) => Err(refusal::transport(&call.method, call.operation, &error)),
        }
    }

    fn read(
        &self,
        call: &Call<'_>,
        status: StatusCode,
        headers: &HeaderMap,
        bytes: &[u8],
    ) -> Result<Value, Failure> {
        let text = |name: &str| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let request_id = text("x-ms-correlation-request-id").or_else(|| text("x-ms-request-id"));
        tracing::debug!(operation = call.operation, subscription = call.subscription, %status, request_id, "azure answered");
        if status.is_success() {
            if bytes.is_empty() {
                return Ok(Value::Null);
            }
            return serde_json::from_slice(bytes).map_err(|error| Failure {
                class: Class::Transient,
                code: "UnreadableAnswer".into(),
                message: error.to_string(),
                operation: call.operation.into(),
                request_id,
                effect_unknown: is_write(&call.method),
            });
        }
        let retry_after = text("retry-after")
            .and_then(|value| value.trim().parse().ok())
            .map(Duration::from_secs);
        if let (StatusCode::TOO_MANY_REQUESTS, Some(wait)) = (status, retry_after) {
            self.remember_throttling(call, wait);
        }
        let body = serde_json::from_slice(bytes).unwrap_or_default();
        Err(refusal::classify(&Answer {
            method: &call.method,
            operation: call.operation,
            status,
            body: &body,
            request_id,
            retry_after,
        }))
    }
}

/// Azure answered something that cannot be used.
pub(crate) fn malformed(call: &Call<'_>, message: &str) -> Failure {
    Failure {
        class: Class::Refused,
        code: "UnexpectedAnswer".into(),
        message: message.to_owned(),
        operation: call.operation.into(),
        request_id: None,
        effect_unknown: false,
    }
}
