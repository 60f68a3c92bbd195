//! A thin client of Azure Resource Manager: one call is one request. It handles tokens, the origin check, request ids,
//! waits that Azure asked for, and the classification of errors. The work queue retries.

#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode, header::HeaderMap};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serverprotection_core::{
    azure_error::{AzureError, ErrorClass},
    gate::WritePermit,
};
use url::Url;

use crate::{
    RequestObserver,
    bounded::{Bounded, MOST_ITEMS},
    cloud::Cloud,
    error_response::{self, ErrorResponse, is_write, shape, unreachable},
    resources::pricings::PricingsVersion,
    response::{self, Response, request_id},
    retry_after,
    throttled::{Budget, Throttled, Why},
    tokens::Tokens,
    url_path,
};

/// Pages without an item that may follow each other: each may be one of many that a filter left empty.
pub(crate) const MOST_EMPTY_PAGES: usize = 3;

/// How much of a list is read. A longer list is an error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of one page.
    pub(crate) page: usize,
    /// Bytes of all pages.
    pub(crate) total: usize,
    pub(crate) pages: usize,
}

impl Limits {
    /// A list that is held in memory as JSON values.
    pub(crate) const SHORT: Self = Self {
        page: response::LARGEST_RESOURCE,
        total: response::LARGEST_RESOURCE,
        pages: 20,
    };
    /// A list whose items are read one by one. With 100 items on each page, more than any tenant has.
    pub(crate) const LONG: Self = Self {
        page: response::LARGEST_PAGE,
        total: usize::MAX,
        pages: 1000,
    };
}

/// How to reach Azure. Clients of one process share it.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) http: reqwest::Client,
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) request_observer: Arc<dyn RequestObserver>,
    /// The version with which plans are read.
    pub(crate) pricings_version: Arc<PricingsVersion>,
}

/// The transport: sends requests with the tokens of one credential.
#[derive(Debug)]
pub(crate) struct Arm {
    connection: Connection,
    tokens: Arc<Tokens>,
    throttled: Arc<Throttled>,
}

/// One request.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    /// Method and resource, from a fixed set, for metrics and messages: `PUT pricings/VirtualMachines`.
    pub(crate) operation: &'static str,
    /// What Azure throttles together with it.
    pub(crate) budget: Budget<'a>,
    /// Path segments, which are validated and percent-encoded separately.
    pub(crate) path: &'a [&'a str],
    pub(crate) api_version: &'static str,
    pub(crate) body: Option<&'a Value>,
    /// `None`: that of the HTTP client.
    pub(crate) timeout: Option<Duration>,
    /// The right to write. A write without one is not sent.
    pub(crate) permit: Option<&'a WritePermit>,
}

impl Arm {
    /// Creates a transport that waits with all others that have the same `throttled`.
    pub(crate) fn new(connection: Connection, tokens: Arc<Tokens>, throttled: Arc<Throttled>) -> Self {
        Self {
            connection,
            tokens,
            throttled,
        }
    }

    /// The version with which plans are read.
    pub(crate) fn pricings_version(&self) -> &PricingsVersion {
        &self.connection.pricings_version
    }

    /// Sends one request and returns the body of the response.
    pub(crate) async fn call(&self, call: &Call<'_>) -> Result<Value, AzureError> {
        self.read(call, &[]).await
    }

    /// Sends one request and returns the body of the response as `T`. `query` is added to the URL (`$expand`).
    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        call: &Call<'_>,
        query: &[(&str, &str)],
    ) -> Result<T, AzureError> {
        let url = self.url(call, query)?;
        self.ask(call, &url, response::LARGEST_RESOURCE).await.json(call)
    }

    /// Sends one query of Resource Graph and returns the whole response, for a caller that needs the headers.
    pub(crate) async fn answer(&self, call: &Call<'_>) -> Response {
        match self.url(call, &[]) {
            Ok(url) => self.ask(call, &url, response::LARGEST_ROWS).await,
            Err(failure) => Response::none(failure),
        }
    }

    /// Reads all pages of a short list.
    pub(crate) async fn list(&self, call: &Call<'_>) -> Result<Vec<Value>, AzureError> {
        self.list_within(call, Limits::SHORT).await
    }

    /// Reads all pages of a list.
    pub(crate) async fn list_within(
        &self,
        call: &Call<'_>,
        limits: Limits,
    ) -> Result<Vec<Value>, AzureError> {
        let mut items = Vec::new();
        self.pages(call, limits, |page| {
            items.extend(page);
            Ok(())
        })
        .await?;
        Ok(items)
    }

    /// Reads a list page by page, for one that is too long to be held in memory.
    pub(crate) async fn pages<T: DeserializeOwned>(
        &self,
        call: &Call<'_>,
        limits: Limits,
        mut each: impl FnMut(Vec<T>) -> Result<(), AzureError> + Send,
    ) -> Result<(), AzureError> {
        let mut url = self.url(call, &[])?;
        let mut left = limits.total;
        let mut empty = 0;
        let mut seen = HashSet::new();
        for _ in 0..limits.pages {
            let answered = self.ask(call, &url, limits.page).await;
            left = left
                .checked_sub(answered.size())
                .ok_or_else(|| malformed(call, "the list is too long"))?;
            let page: Page<T> = answered.page(call)?;
            let items = page.value.0;
            empty = if items.is_empty() { empty + 1 } else { 0 };
            each(items)?;
            let Some(next) = page.next_link.filter(|link| !link.is_empty()) else {
                return Ok(());
            };
            if empty > MOST_EMPTY_PAGES {
                return Err(malformed(call, "too many pages of the list are empty"));
            }
            let next = Url::parse(&next).map_err(|error| {
                let message = format!("the link to the next page of the list cannot be used: {error}");
                malformed(call, &message)
            })?;
            self.same_origin(call, &next)?;
            seen.insert(std::mem::replace(&mut url, next));
            if seen.contains(&url) {
                return Err(malformed(call, "the pages of the list repeat themselves"));
            }
        }
        Err(malformed(call, "the list has too many pages"))
    }

    async fn ask(&self, call: &Call<'_>, url: &Url, largest: usize) -> Response {
        if let Some((left, why)) = self.throttled.remaining(call.budget, call.writes()) {
            return Response::none(too_early(call, left, why));
        }
        let answered = self.send(call, url, largest, false).await;
        match &answered.body {
            // The token may be revoked: try once with a new one.
            Err(failure)
                if failure.class == ErrorClass::Credential
                    && failure.code != "InvalidAuthenticationTokenTenant" =>
            {
                self.send(call, url, largest, true).await
            }
            _ => answered,
        }
    }

    fn url(&self, call: &Call<'_>, query: &[(&str, &str)]) -> Result<Url, AzureError> {
        let mut all = vec![("api-version", call.api_version)];
        all.extend(query);
        let endpoint = &self.connection.cloud.resource_manager;
        url_path::url(endpoint, call.path, &all).map_err(|error| AzureError {
            code: "InvalidResourceId".into(),
            ..malformed(call, &error.to_string())
        })
    }

    /// Tokens go to the configured origin only (I-10).
    fn same_origin(&self, call: &Call<'_>, url: &Url) -> Result<(), AzureError> {
        if url.origin() == self.connection.cloud.resource_manager.origin() {
            return Ok(());
        }
        Err(malformed(
            call,
            "the next page of the list is on another host and was not requested",
        ))
    }

    async fn send(&self, call: &Call<'_>, url: &Url, largest: usize, renew: bool) -> Response {
        let token = match self.tokens.get(renew).await {
            Ok(token) => token,
            Err(failure) => return Response::none(failure),
        };
        let mut request = self
            .connection
            .http
            .request(call.method.clone(), url.clone())
            .bearer_auth(token)
            .header("accept", "application/json")
            .header("x-ms-client-request-id", uuid::Uuid::new_v4().to_string());
        if let Some(permit) = call.permit {
            request = request.header("x-ms-correlation-request-id", permit.correlation_id());
        }
        if let Some(body) = call.body {
            request = request.json(body);
        } else if is_write(&call.method) {
            request = request.header("content-length", "0");
        }
        if let Some(timeout) = call.timeout {
            request = request.timeout(timeout);
        }
        // Asked last: the process may have been stopped, or have waited for a token, while its lease ended.
        if call.writes() && !call.permit.is_some_and(WritePermit::holds) {
            return Response::none(may_not_write(call));
        }
        let started = Instant::now();
        let answer = match request.send().await {
            Ok(response) => {
                let (status, headers) = (response.status(), response.headers().clone());
                let body = response::read_body(call, response, largest).await;
                body.map(|bytes| (status, headers, bytes))
            }
            Err(error) => Err(unreachable::transport(call.writes(), call.operation, &error)),
        };
        let status = answer.as_ref().map_or(0, |(status, ..)| status.as_u16());
        self.connection
            .request_observer
            .request(call.operation, status, started.elapsed());
        match answer {
            Ok((status, headers, bytes)) => {
                let body = self.accept(call, status, &headers, bytes);
                Response {
                    status,
                    headers,
                    body,
                }
            }
            Err(failure) => Response::none(failure),
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
            subscription_id = call.budget.subscription(),
            status = status.as_u16(),
            request_id,
            "response from Azure"
        );
        if status.is_success() {
            return Ok(bytes);
        }
        let retry_after = retry_after::of(headers, call.operation);
        let failure = error_response::classify(&ErrorResponse {
            writes: call.writes(),
            operation: call.operation,
            status,
            body: &shape::parsed(&bytes),
            challenge: response::text(headers, "www-authenticate"),
            request_id,
            retry_after,
        });
        if let (Some(why), Some(wait)) = (Why::of(&failure.class), retry_after) {
            self.throttled
                .record(call.budget, call.writes(), &failure.code, (wait, why));
        }
        Err(failure)
    }
}

impl Call<'_> {
    /// Whether the request may have an effect and counts as a write. A query of Resource Graph is a POST that reads.
    pub(crate) fn writes(&self) -> bool {
        is_write(&self.method) && self.budget != Budget::ResourceGraph
    }
}

/// One page of a list. A page without `value` is unreadable, not empty.
#[derive(serde::Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Page<T> {
    value: Bounded<T, MOST_ITEMS>,
    #[serde(rename = "nextLink")]
    next_link: Option<String>,
}

/// A response that cannot be used. The spec is not to blame, and a later response may be right.
pub(crate) fn malformed(call: &Call<'_>, message: &str) -> AzureError {
    AzureError {
        class: ErrorClass::Transient,
        code: "UnexpectedAnswer".into(),
        message: message.to_owned(),
        operation: call.operation.into(),
        request_id: None,
        effect_unknown: false,
    }
}

/// A write that was not sent because this process may not write any more.
fn may_not_write(call: &Call<'_>) -> AzureError {
    AzureError {
        class: ErrorClass::Transient,
        code: "WritePermitEnded".into(),
        message: "this process may not write any more; the next leader does".into(),
        operation: call.operation.into(),
        request_id: None,
        effect_unknown: false,
    }
}

/// The wait that an earlier response asked for has not ended. It applies to every caller of the identity.
fn too_early(call: &Call<'_>, left: Duration, why: Why) -> AzureError {
    let (class, code) = match why {
        Why::Throttled => (ErrorClass::Throttled(Some(left)), "TooManyRequests"),
        Why::Unavailable => (ErrorClass::Unavailable(left), "ServiceUnavailable"),
        Why::Conflict => (ErrorClass::Conflict, "Conflict"),
    };
    AzureError {
        class,
        code: code.into(),
        message: "an earlier response of Azure asked to wait".into(),
        operation: call.operation.into(),
        request_id: None,
        effect_unknown: false,
    }
}
