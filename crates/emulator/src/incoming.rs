//! A request as the emulator handles it.

use axum::{
    body::Bytes,
    http::{HeaderMap, Method},
};
use jiff::Timestamp;

/// Method, path, query, headers and body of a request.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// HTTP method.
    pub method: Method,
    /// Path as sent, still percent-encoded.
    pub raw_path: String,
    /// Decoded path segments, without empty ones.
    pub segments: Vec<String>,
    /// Query as sent.
    pub raw_query: String,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
    /// Time of arrival.
    pub at: Timestamp,
    /// Whether it arrived at the machine's own endpoint for managed identities.
    pub of_machine: bool,
}

impl Incoming {
    /// Parses a request.
    pub fn new(method: Method, path: &str, query: &str, headers: HeaderMap, body: Bytes) -> Self {
        // Some clients send a whole id percent-encoded as one segment, with its own leading slash.
        let decoded = percent_decode(path);
        let segments = decoded
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(Into::into)
            .collect();
        Self {
            method,
            raw_path: path.into(),
            segments,
            raw_query: query.into(),
            headers,
            body,
            at: Timestamp::now(),
            of_machine: false,
        }
    }

    /// The decoded path without empty segments.
    pub fn path(&self) -> String {
        format!("/{}", self.segments.join("/"))
    }

    /// A query parameter; names are case-insensitive.
    pub fn query(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(self.raw_query.as_bytes())
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.into_owned())
    }

    /// The text of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A field of a form body.
    pub fn form(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(&self.body)
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }

    /// The decoded segment at an index.
    pub fn segment(&self, index: usize) -> &str {
        self.segments.get(index).map_or("", String::as_str)
    }
}

/// Decodes percent-encoding such as `%2F`; invalid escapes are kept.
fn percent_decode(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escape = (first == b'%').then(|| after.get(..2)).flatten();
        let byte = escape
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(byte.unwrap_or(first));
        rest = if byte.is_some() {
            after.get(2..).unwrap_or_default()
        } else {
            after
        };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_ids_and_double_slashes_are_plain_paths() {
        let request = Incoming::new(
            Method::GET,
            "/%2Fsubscriptions%2FS//providers/Microsoft.Security/pricings/",
            "API-Version=2024-01-01&x=a%20b",
            HeaderMap::new(),
            Bytes::new(),
        );
        assert_eq!(
            request.path(),
            "/subscriptions/S/providers/Microsoft.Security/pricings"
        );
        assert_eq!(request.query("api-version").as_deref(), Some("2024-01-01"));
        assert_eq!(percent_decode("a%zz%4"), "a%zz%4");
    }
}
