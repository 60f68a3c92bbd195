//! Azure Resource Graph: one query is one request and one page (docs/azure-api.md 7.1).

use reqwest::Method;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use serverprotection_core::azure_error::{AzureError, ErrorClass};

use crate::{
    arm::{Arm, Call},
    quota::Reservation,
};

/// One page of a query.
pub(crate) struct Query<'a> {
    /// From a fixed set, for metrics: `POST resources (machines)`.
    pub(crate) operation: &'static str,
    pub(crate) text: &'a str,
    /// At most 1000 GUIDs; Microsoft advises 300. `None`: all that the identity sees.
    pub(crate) subscriptions: Option<&'a [&'a str]>,
    /// Rows wanted, at most 1000.
    pub(crate) top: u32,
    /// The page after this one; `None` for the first.
    pub(crate) skip_token: Option<&'a str>,
}

/// What one page holds.
#[derive(Debug)]
pub(crate) struct Page<R> {
    /// Rows of all pages, where told.
    pub(crate) total: Option<u64>,
    /// Asks for the next page; a page may be short although there is one.
    pub(crate) skip_token: Option<String>,
    pub(crate) rows: Vec<R>,
    /// The identity sees more subscriptions than were looked at; only without `subscriptions` (docs/azure-api.md 7.2).
    pub(crate) some_left_out: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound = "R: DeserializeOwned")]
struct Body<R> {
    total_records: Option<u64>,
    /// A string, `"true"` or `"false"`.
    result_truncated: Option<Value>,
    #[serde(rename = "$skipToken")]
    skip_token: Option<String>,
    /// An answer without it is unreadable, not empty.
    data: Vec<R>,
}

impl Arm {
    /// Asks for one page. The quota learns from the answer, whatever it is. An answer that was cut because it cannot be
    /// paged is a failure with code `ResultTruncated`.
    pub(crate) async fn query<R: DeserializeOwned>(
        &self,
        reservation: Reservation<'_>,
        query: &Query<'_>,
    ) -> Result<Page<R>, AzureError> {
        let mut options = json!({ "$top": query.top, "resultFormat": "objectArray" });
        if let (Some(token), Some(options)) = (query.skip_token, options.as_object_mut()) {
            options.insert("$skipToken".into(), token.into());
        }
        let mut body = json!({ "query": query.text, "options": options });
        if let (Some(subscriptions), Some(body)) = (query.subscriptions, body.as_object_mut()) {
            body.insert("subscriptions".into(), json!(subscriptions));
        }
        let call = Call {
            method: Method::POST,
            operation: query.operation,
            subscription: "",
            path: &["providers", "Microsoft.ResourceGraph", "resources"],
            api_version: "2024-04-01",
            body: Some(&body),
        };
        let answered = self.answer(&call).await;
        // Also an outage with a Retry-After holds for every query of the identity.
        let refused = matches!(
            &answered.body,
            Err(failure) if matches!(failure.class, ErrorClass::Throttled(_) | ErrorClass::Unavailable(_))
        );
        reservation.answered(&answered.headers, refused);
        let some_left_out = answered
            .headers
            .get("x-ms-tenant-subscription-limit-hit")
            .is_some_and(|hit| hit.as_bytes().eq_ignore_ascii_case(b"true"));
        let page = page(answered.json(&call)?, query.operation)?;
        Ok(Page {
            some_left_out,
            ..page
        })
    }
}

fn page<R>(body: Body<R>, operation: &str) -> Result<Page<R>, AzureError> {
    let truncated = match &body.result_truncated {
        Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
        Some(Value::Bool(truncated)) => *truncated,
        _ => false,
    };
    if truncated {
        return Err(failure(
            "ResultTruncated",
            "Resource Graph cut the result and cannot page it",
            operation,
        ));
    }
    Ok(Page {
        total: body.total_records,
        skip_token: body.skip_token.filter(|token| !token.is_empty()),
        rows: body.data,
        some_left_out: false,
    })
}

/// An answer of Resource Graph that cannot be relied on.
pub(crate) fn failure(code: &str, message: &str, operation: &str) -> AzureError {
    AzureError {
        class: ErrorClass::Refused,
        code: code.to_owned(),
        message: message.to_owned(),
        operation: operation.to_owned(),
        request_id: None,
        effect_unknown: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_and_a_cut_one_refused() {
        let read = |text: &str| page::<Value>(serde_json::from_str(text).unwrap(), "q");
        let whole = read(
            r#"{"totalRecords": 3, "count": 1, "resultTruncated": "false", "$skipToken": "t", "data": [{}]}"#,
        )
        .unwrap();
        assert_eq!(
            (whole.total, whole.skip_token.as_deref(), whole.rows.len()),
            (Some(3), Some("t"), 1)
        );
        assert_eq!(
            read(r#"{"$skipToken": "", "data": []}"#).unwrap().skip_token,
            None
        );
        for missing in [
            r#"{"totalRecords": 0}"#,
            r#"{"data": null}"#,
            r#"{"data": {"rows": []}}"#,
        ] {
            assert!(serde_json::from_str::<Body<Value>>(missing).is_err(), "{missing}");
        }
        for cut in [
            r#"{"resultTruncated": "true", "data": []}"#,
            r#"{"resultTruncated": true, "data": []}"#,
        ] {
            assert_eq!(read(cut).unwrap_err().code, "ResultTruncated");
        }
    }
}
