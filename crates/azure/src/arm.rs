//! The thin ARM client: one call is one request. Retrying is the work queue's business; here are the token, the origin
//! check, request ids, the memory of throttling, and the classification of what came back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode, header::HeaderMap};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serverprotection_core::azure_error::{AzureError, ErrorClass};
use url::Url;

use crate::{
    RequestObserver, body,
    cloud::Cloud,
    connectors::cache::ConnectorCache,
    error_response::{self, Answer, is_write},
    identity::Identity,
    locks::Locks,
    resources::security_connectors,
    retry_after,
    throttled::{Throttled, Why},
    tokens::Tokens,
};

/// ARM as one identity.
#[derive(Debug)]
pub struct Arm {
    principal: String,
    http: reqwest::Client,
    cloud: Arc<Cloud>,
    tokens: Arc<Tokens>,
    pub(crate) locks: Arc<Locks>,
    request_observer: Arc<dyn RequestObserver>,
    throttled: Throttled,
    pub(crate) shared: ConnectorCache,
}

/// One request.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    /// Short and from a fixed set, for metrics and messages: `PUT pricings/VirtualMachines`.
    pub(crate) operation: &'static str,
    /// Lower case. What has a budget of its own in a subscription is named after a slash: `{subscription}/…`.
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
        request_observer: Arc<dyn RequestObserver>,
    ) -> Self {
        let principal = identity.principal();
        let tokens = Arc::new(Tokens::new(identity, Arc::clone(&cloud), http.clone()));
        Self {
            principal,
            http,
            cloud,
            tokens,
            locks,
            request_observer,
            throttled: Throttled::default(),
            shared: ConnectorCache::default(),
        }
    }

    /// Who this is: tenant and application. Quotas of Azure are counted by it.
    pub fn principal(&self) -> &str {
        &self.principal
    }

    /// A client of a stub, which has a token and cannot get another one.
    #[cfg(test)]
    pub(crate) fn of_stub(resource_manager: Url) -> Self {
        Self::of_stub_over(resource_manager, reqwest::Client::new())
    }

    #[cfg(test)]
    pub(crate) fn of_stub_over(resource_manager: Url, http: reqwest::Client) -> Self {
        #[derive(Debug)]
        struct Unmetered;
        impl RequestObserver for Unmetered {
            fn request(&self, _: &'static str, _: u16, _: Duration) {}
        }
        let cloud = Arc::new(Cloud {
            authority_host: resource_manager.clone(),
            audience: resource_manager.to_string(),
            resource_manager,
        });
        Self {
            principal: "stub".into(),
            tokens: Arc::new(Tokens::with_token(Arc::clone(&cloud), http.clone())),
            http,
            cloud,
            locks: Arc::default(),
            request_observer: Arc::new(Unmetered),
            throttled: Throttled::default(),
            shared: ConnectorCache::default(),
        }
    }

    /// A client of the same identity for one who keeps it and is kept by this one.
    pub(crate) fn same_identity(&self) -> Self {
        Self {
            principal: self.principal.clone(),
            http: self.http.clone(),
            cloud: Arc::clone(&self.cloud),
            tokens: Arc::clone(&self.tokens),
            locks: Arc::clone(&self.locks),
            request_observer: Arc::clone(&self.request_observer),
            throttled: Throttled::default(),
            shared: ConnectorCache::default(),
        }
    }

    /// Whether a token can be had.
    pub(crate) async fn check_credential(&self) -> Result<(), AzureError> {
        self.tokens.get(false).await.map(drop)
    }

    /// One request and its answer's body.
    pub(crate) async fn call(&self, call: &Call<'_>) -> Result<Value, AzureError> {
        self.read(call, &[]).await
    }

    /// One request and its answer's body as `T`; `query` is added to the URL (`$expand`).
    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        call: &Call<'_>,
        query: &[(&str, &str)],
    ) -> Result<T, AzureError> {
        let url = self.url(call, query)?;
        self.ask(call, &url).await.json(call)
    }

    /// One request and all of its answer, for a caller that also reads the headers.
    pub(crate) async fn answer(&self, call: &Call<'_>) -> Answered {
        match self.url(call, &[]) {
            Ok(url) => self.ask(call, &url).await,
            Err(failure) => Answered::none(failure),
        }
    }

    /// A list over all its pages.
    pub(crate) async fn list(&self, call: &Call<'_>) -> Result<Vec<Value>, AzureError> {
        let mut items = Vec::new();
        self.pages(call, |page| items.extend(page)).await?;
        Ok(items)
    }

    /// A list page by page, for one that is too long to keep.
    pub(crate) async fn pages<T: DeserializeOwned>(
        &self,
        call: &Call<'_>,
        mut each: impl FnMut(Vec<T>) + Send,
    ) -> Result<(), AzureError> {
        let mut url = self.url(call, &[])?;
        loop {
            let page: Page<T> = self.ask(call, &url).await.json(call)?;
            each(page.value);
            let Some(next) = page.next_link.filter(|link| !link.is_empty()) else {
                return Ok(());
            };
            let next = Url::parse(&next).map_err(|error| malformed(call, &error.to_string()))?;
            self.same_origin(call, &next)?;
            if next == url {
                return Err(malformed(call, "a page names itself as the next one"));
            }
            url = next;
        }
    }

    async fn ask(&self, call: &Call<'_>, url: &Url) -> Answered {
        if let Some((left, why)) = self.throttled.remaining(call.subscription, call.writes()) {
            return Answered::none(too_early(call, left, why));
        }
        let answered = self.send(call, url, false).await;
        match &answered.body {
            // The token may have been revoked or the key rolled: once with a new one.
            Err(failure)
                if failure.class == ErrorClass::Credential
                    && failure.code != "InvalidAuthenticationTokenTenant" =>
            {
                self.send(call, url, true).await
            }
            _ => answered,
        }
    }

    fn url(&self, call: &Call<'_>, query: &[(&str, &str)]) -> Result<Url, AzureError> {
        let mut url = self.cloud.resource_manager.clone();
        url.path_segments_mut()
            .map_err(|()| malformed(call, "the resource manager endpoint takes no path"))?
            .pop_if_empty()
            .extend(call.path);
        url.query_pairs_mut()
            .append_pair("api-version", call.api_version)
            .extend_pairs(query);
        Ok(url)
    }

    /// Tokens go to the configured origin only (I-10).
    fn same_origin(&self, call: &Call<'_>, url: &Url) -> Result<(), AzureError> {
        if url.origin() == self.cloud.resource_manager.origin() {
            return Ok(());
        }
        Err(malformed(
            call,
            "the next page lies on another host; it was not asked for",
        ))
    }

    async fn send(&self, call: &Call<'_>, url: &Url, renew: bool) -> Answered {
        let token = match self.tokens.get(renew).await {
            Ok(token) => token,
            Err(failure) => return Answered::none(failure),
        };
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
        if let Some(timeout) = call.timeout() {
            request = request.timeout(timeout);
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
        self.request_observer
            .request(call.operation, status, started.elapsed());
        match answer {
            Ok((status, headers, bytes)) => {
                let body = self.accept(call, status, &headers, bytes.into());
                Answered {
                    status,
                    headers,
                    body,
                }
            }
            Err(error) => Answered::none(error_response::transport(call.writes(), call.operation, &error)),
        }
    }

    fn accept(
        &self,
        call: &Call<'_>,
        status: StatusCode,
        headers: &HeaderMap,
        bytes: Vec<u8>,
    ) -> Result<Vec<u8>, AzureError> {
        let request_id = request_id(headers);
        tracing::debug!(
            operation = call.operation,
            subscription_id = call.subscription,
            status = status.as_u16(),
            request_id,
            "response from Azure"
        );
        if status.is_success() {
            return Ok(bytes);
        }
        let retry_after = retry_after::of(headers, call.operation);
        // Gateways answer in plain text (docs/azure-api.md 4.7).
        let body = serde_json::from_slice(body::without_byte_order_mark(&bytes))
            .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&bytes).into_owned()));
        let failure = error_response::classify(&Answer {
            writes: call.writes(),
            operation: call.operation,
            status,
            body: &body,
            request_id,
            retry_after,
        });
        if let (Some(why), Some(wait), false) = (Why::of(&failure.class), retry_after, call.is_query()) {
            self.throttled
                .record(call.subscription, call.writes(), &failure.code, (wait, why));
        }
        Err(failure)
    }
}

impl Call<'_> {
    /// Whether Azure counts it as a write, and it may have an effect. A query of Resource Graph is a POST that reads.
    fn writes(&self) -> bool {
        is_write(&self.method) && !self.is_query()
    }

    /// A query of Resource Graph, whose quota has its own headers and its own memory (see `quota`).
    fn is_query(&self) -> bool {
        self.path.starts_with(&["providers", "Microsoft.ResourceGraph"])
    }

    /// How long an answer may take, where the client's own patience is too short.
    fn timeout(&self) -> Option<Duration> {
        (self.operation == security_connectors::PUT).then_some(security_connectors::PUT_TIMEOUT)
    }
}

/// What came back from one request.
pub(crate) struct Answered {
    /// Of no meaning when no answer came.
    status: StatusCode,
    /// Empty when no answer came.
    pub(crate) headers: HeaderMap,
    /// The body of a success.
    pub(crate) body: Result<Vec<u8>, AzureError>,
}

impl Answered {
    fn none(failure: AzureError) -> Self {
        Self {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Err(failure),
        }
    }

    /// The body as `T`; an empty one is `null`. An error in the body of a success is a failure.
    pub(crate) fn json<T: DeserializeOwned>(self, call: &Call<'_>) -> Result<T, AzureError> {
        let bytes = self.body?;
        let bytes = match body::without_byte_order_mark(&bytes) {
            [] => b"null",
            bytes => bytes,
        };
        if let Some(error) = body::error_in(bytes) {
            return Err(error_response::in_success(
                call.writes(),
                call.operation,
                self.status,
                &error,
                request_id(&self.headers),
            ));
        }
        serde_json::from_slice(bytes).map_err(|error| AzureError {
            request_id: request_id(&self.headers),
            effect_unknown: call.writes(),
            ..body::unreadable(call.operation, error.to_string())
        })
    }
}

/// One page of a list. Without its `value` it is unreadable, not empty.
#[derive(serde::Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Page<T> {
    value: Vec<T>,
    #[serde(rename = "nextLink")]
    next_link: Option<String>,
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.to_owned())
}

fn request_id(headers: &HeaderMap) -> Option<String> {
    text(headers, "x-ms-correlation-request-id").or_else(|| text(headers, "x-ms-request-id"))
}

/// Azure answered something that cannot be used.
pub(crate) fn malformed(call: &Call<'_>, message: &str) -> AzureError {
    AzureError {
        class: ErrorClass::Refused,
        code: "UnexpectedAnswer".into(),
        message: message.to_owned(),
        operation: call.operation.into(),
        request_id: None,
        effect_unknown: false,
    }
}

/// Azure's Retry-After holds for every caller, also one that was asked to run at once.
fn too_early(call: &Call<'_>, left: Duration, why: Why) -> AzureError {
    let (class, code) = match why {
        Why::Throttled => (ErrorClass::Throttled(Some(left)), "TooManyRequests"),
        Why::Unavailable => (ErrorClass::Unavailable(left), "ServiceUnavailable"),
        Why::Conflict => (ErrorClass::Conflict, "Conflict"),
    };
    AzureError {
        class,
        code: code.into(),
        message: "Azure asked to wait".into(),
        operation: call.operation.into(),
        request_id: None,
        effect_unknown: false,
    }
}
