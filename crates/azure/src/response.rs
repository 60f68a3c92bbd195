//! The one place that turns the bytes of a response into a value: the limit of its size, the byte order mark, pages
//! that are not JSON, and errors in a body with a status of success.

use reqwest::{StatusCode, header::HeaderMap};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serverprotection_core::azure_error::{AzureError, ErrorClass, UNRECOGNIZED_RESPONSE};

use crate::{
    arm::Call,
    body,
    error_response::{self, shape, unreachable},
};

/// The largest body that is read. A page of 1000 rows of Resource Graph has about 2 MB.
pub(crate) const LARGEST_BODY: usize = 16 * 1024 * 1024;

/// Ids of requests are GUIDs; messages and logs hold no more than this of another one.
const LONGEST_ID: usize = 64;

/// The response to one request, or why there is none.
pub(crate) struct Response {
    /// Meaningless without a response.
    pub(crate) status: StatusCode,
    /// Empty without a response.
    pub(crate) headers: HeaderMap,
    /// The body of a successful response.
    pub(crate) body: Result<Vec<u8>, AzureError>,
}

impl Response {
    pub(crate) fn none(failure: AzureError) -> Self {
        Self {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Err(failure),
        }
    }

    /// The size of the body in bytes.
    pub(crate) fn size(&self) -> usize {
        self.body.as_ref().map_or(0, Vec::len)
    }

    /// The body as `T`; an empty body counts as `null`. An error in the body of a successful response is an error.
    pub(crate) fn json<T: DeserializeOwned>(self, call: &Call<'_>) -> Result<T, AzureError> {
        let bytes = self.body?;
        let bytes = match body::without_byte_order_mark(&bytes) {
            [] => b"null",
            bytes => bytes,
        };
        let request_id = request_id(&self.headers);
        if let Some(error) = body::error_in(bytes) {
            return Err(error_response::in_success(
                call.writes(),
                call.operation,
                self.status,
                &error,
                request_id,
            ));
        }
        serde_json::from_slice(bytes).map_err(|error| AzureError {
            request_id,
            effect_unknown: call.writes(),
            ..not_json(call.operation, self.status, bytes)
                .unwrap_or_else(|| body::unreadable(call.operation, error.to_string()))
        })
    }
}

/// The error for a page with a status of success, such as the sign-in page of a network; `None` if the body is JSON of
/// another form, or JSON that is cut off.
fn not_json(operation: &str, status: StatusCode, bytes: &[u8]) -> Option<AzureError> {
    let Value::String(page) = shape::parsed(bytes) else {
        return None;
    };
    page.starts_with('<').then(|| AzureError {
        code: UNRECOGNIZED_RESPONSE.into(),
        ..body::unreadable(
            operation,
            format!("status {}: {}", status.as_u16(), shape::sentence(&page)),
        )
    })
}

/// Reads the body of a response up to [`LARGEST_BODY`].
pub(crate) async fn read_body(
    call: &Call<'_>,
    mut response: reqwest::Response,
) -> Result<Vec<u8>, AzureError> {
    let expected = response.content_length().unwrap_or_default();
    if usize::try_from(expected).unwrap_or(usize::MAX) > LARGEST_BODY {
        return Err(too_large(call));
    }
    let mut bytes = Vec::new();
    let lost = |error| unreachable::transport(call.writes(), call.operation, &error);
    while let Some(part) = response.chunk().await.map_err(lost)? {
        if bytes.len().saturating_add(part.len()) > LARGEST_BODY {
            return Err(too_large(call));
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

fn too_large(call: &Call<'_>) -> AzureError {
    AzureError {
        class: ErrorClass::Transient,
        code: "ResponseTooLarge".into(),
        message: format!("the response is larger than {} MB", LARGEST_BODY / 1024 / 1024),
        operation: call.operation.into(),
        request_id: None,
        effect_unknown: call.writes(),
    }
}

pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

pub(crate) fn request_id(headers: &HeaderMap) -> Option<String> {
    let id = text(headers, "x-ms-correlation-request-id").or_else(|| text(headers, "x-ms-request-id"));
    id.map(|id| id.chars().take(LONGEST_ID).collect())
}
