//! The one place that turns the bytes of a response into a value: the limit of its size, the byte order mark, pages
//! that are not JSON, and errors in a body with a status of success.

use reqwest::{StatusCode, header::HeaderMap};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serverprotection_core::azure_error::{AzureError, ErrorClass, UNRECOGNIZED_RESPONSE};

use crate::{
    arm::Call,
    body,
    error_response::{self, shape, unreachable},
};

const MB: usize = 1024 * 1024;

/// The largest bodies that are read. One response takes at most about 64 MB of memory, whatever it contains:
///
/// * As JSON values, 1 MB of the smallest items (`[0,0,...]`) takes 16 MB, and twice that while the list grows.
/// * A page takes its size, and its items ([`crate::bounded`]): 10,000 items of 330 bytes with 100 inner items of 48
///   bytes each are 51 MB.
/// * A page of connectors takes its size twice, and one connector as JSON values.
/// * A page of rows takes its size twice, and 1000 rows with 100 tags of 104 bytes and two lists of 100 entries of 64
///   bytes each, which are 23 MB.
pub(crate) const LARGEST_RESOURCE: usize = MB;
/// The same for a page of a list whose items are read one by one.
pub(crate) const LARGEST_PAGE: usize = 4 * MB;
/// The same for rows of Resource Graph. A page of 1000 rows has about 2 MB.
pub(crate) const LARGEST_ROWS: usize = 8 * MB;

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
        self.parse(call, false)
    }

    /// The same for a page of a list, where one invalid character must not make the other items unreadable. Not for
    /// what is written back, because the character is replaced.
    pub(crate) fn page<T: DeserializeOwned>(self, call: &Call<'_>) -> Result<T, AzureError> {
        self.parse(call, true)
    }

    fn parse<T: DeserializeOwned>(self, call: &Call<'_>, replaces: bool) -> Result<T, AzureError> {
        let mut bytes = self.body?;
        if replaces
            && !is_utf_16(&bytes)
            && let Err(invalid) = str::from_utf8(&bytes)
        {
            tracing::debug!(operation = call.operation, error = %invalid, "response is not UTF-8; replacing invalid characters");
            bytes = String::from_utf8_lossy(&bytes).into_owned().into_bytes();
        }
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
                .unwrap_or_else(|| body::unreadable(call.operation, cause(bytes, &error)))
        })
    }
}

fn is_utf_16(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff")
}

/// Why a body cannot be read.
fn cause(bytes: &[u8], error: &serde_json::Error) -> String {
    match error.classify() {
        _ if is_utf_16(bytes) => "Azure's response is in UTF-16, not in UTF-8".into(),
        Category::Eof => format!("Azure's response is cut off: {error}"),
        Category::Data => format!("Azure's response has another form than expected: {error}"),
        Category::Syntax | Category::Io => format!("Azure's response is not JSON: {error}"),
    }
}

/// The error for a page with a status of success, such as the sign-in page of a network; `None` if the body is JSON of
/// another form, or JSON that is cut off.
fn not_json(operation: &str, status: StatusCode, bytes: &[u8]) -> Option<AzureError> {
    // Only a page is parsed again, of which little is read.
    if !bytes.trim_ascii_start().starts_with(b"<") {
        return None;
    }
    let page = shape::parsed(bytes);
    let sentence = shape::sentence(page.as_str().unwrap_or_default());
    Some(AzureError {
        code: UNRECOGNIZED_RESPONSE.into(),
        ..body::unreadable(operation, format!("status {}: {sentence}", status.as_u16()))
    })
}

/// Reads the body of a response with at most `largest` bytes. A longer description of an error is cut off, because its
/// status says enough.
pub(crate) async fn read_body(
    call: &Call<'_>,
    mut response: reqwest::Response,
    largest: usize,
) -> Result<Vec<u8>, AzureError> {
    let is_error = !response.status().is_success();
    let largest = if is_error {
        largest.min(LARGEST_RESOURCE)
    } else {
        largest
    };
    let expected = response.content_length().unwrap_or_default();
    if !is_error && usize::try_from(expected).unwrap_or(usize::MAX) > largest {
        return Err(too_large(call, largest));
    }
    let mut bytes = Vec::new();
    let lost = |error| unreachable::transport(call.writes(), call.operation, &error);
    while let Some(part) = response.chunk().await.map_err(lost)? {
        let left = largest.saturating_sub(bytes.len());
        match part.get(..left) {
            Some(fitting) if is_error && left < part.len() => {
                bytes.extend_from_slice(fitting);
                break;
            }
            Some(_) if left < part.len() => return Err(too_large(call, largest)),
            _ => bytes.extend_from_slice(&part),
        }
    }
    Ok(bytes)
}

fn too_large(call: &Call<'_>, largest: usize) -> AzureError {
    AzureError {
        class: ErrorClass::Transient,
        code: "ResponseTooLarge".into(),
        message: format!("the response is larger than {} MB", largest / MB),
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
