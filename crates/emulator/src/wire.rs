//! Converts a response to HTTP: the headers of every response, and responses that break off.

use std::{convert::Infallible, io, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderName, HeaderValue, Response, header},
};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use uuid::Uuid;

use crate::{answer::Answer, incoming::Incoming, instant};

/// How much of the body reaches the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// All of it.
    Whole,
    /// Half of it, then the connection ends.
    Truncated,
    /// Nothing: the connection ends before the head.
    Reset,
}

/// Builds the HTTP response.
pub fn response(answer: &Answer, request: &Incoming, delivery: Delivery) -> Response<Body> {
    let text = answer
        .spelled
        .clone()
        .or_else(|| answer.body.as_ref().map(ToString::to_string));
    let has_body = text.is_some();
    let bytes = Bytes::from(text.unwrap_or_default());
    let length = bytes.len();
    let body = match delivery {
        Delivery::Whole => Body::from(bytes),
        Delivery::Truncated => truncated(&bytes),
        Delivery::Reset => Body::from_stream(stream::once(async { Err::<Bytes, _>(broken()) })),
    };
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    for (name, value) in [
        ("cache-control", "no-cache"),
        ("pragma", "no-cache"),
        ("expires", "-1"),
        ("strict-transport-security", "max-age=31536000; includeSubDomains"),
        ("x-content-type-options", "nosniff"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if has_body {
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json; charset=utf-8"),
        );
    }
    if delivery != Delivery::Whole {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length.max(2)));
    }
    let now = Timestamp::now();
    let id = Uuid::new_v4().to_string();
    // The two ids differ in recordings.
    let correlation = request
        .header("x-ms-correlation-request-id")
        .map_or_else(|| Uuid::new_v4().to_string(), Into::into);
    let mut text = vec![
        ("x-ms-request-id".to_owned(), id.clone()),
        ("x-ms-correlation-request-id".to_owned(), correlation),
        (
            "x-ms-routing-request-id".to_owned(),
            format!("WESTEUROPE:{}:{id}", instant::compact(now)),
        ),
    ];
    if request
        .header("x-ms-return-client-request-id")
        .is_some_and(|asked| asked.eq_ignore_ascii_case("true"))
        && let Some(own) = request.header("x-ms-client-request-id")
    {
        text.push(("x-ms-client-request-id".into(), own.into()));
    }
    text.extend(answer.headers.iter().cloned());
    for (name, value) in text {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&value)) {
            headers.insert(name, value);
        }
    }
    response
}

/// The pause lets the first half leave before the connection ends.
fn truncated(bytes: &Bytes) -> Body {
    let half = bytes.slice(..bytes.len() / 2);
    let first =
        stream::once(async { Ok::<_, Infallible>(half) }).map(|half| half.map_err(|never| match never {}));
    let last = stream::once(async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(broken())
    });
    Body::from_stream(first.chain(last))
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "a fault ends this connection")
}
