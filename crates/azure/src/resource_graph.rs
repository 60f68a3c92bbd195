//! Queries of Azure Resource Graph: one request returns one page (docs/azure-api.md 7.1).

use reqwest::Method;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use serverprotection_core::azure_error::{AzureError, ErrorClass};

use crate::{
    arm::{Arm, Call},
    quota::Reservation,
    throttled::Budget,
};

/// The code of a result that Azure cut off. Its next page cannot be requested, so that a retry does not help.
pub(crate) const RESULT_TRUNCATED: &str = "ResultTruncated";

/// One page of a query.
pub(crate) struct Query<'a> {
    /// From a fixed set, for metrics and messages: `POST resources (machines)`.
    pub(crate) operation: &'static str,
    pub(crate) text: &'a str,
    /// At most 1000 GUIDs; Microsoft recommends 300. `None`: all that the identity can see.
    pub(crate) subscriptions: Option<&'a [&'a str]>,
    /// The maximum number of rows, at most 1000.
    pub(crate) top: u32,
    /// The token of the previous page; `None` for the first page.
    pub(crate) skip_token: Option<&'a str>,
}

/// One page of rows.
#[derive(Debug)]
pub(crate) struct Page<R> {
    /// The number of rows of all pages, if Azure reports it.
    pub(crate) total: Option<u64>,
    /// The token of the next page. A page that is not full may have a next one.
    pub(crate) skip_token: Option<String>,
    pub(crate) rows: Vec<R>,
    /// Azure did not read all subscriptions of the identity; only without `subscriptions` (docs/azure-api.md 7.2).
    pub(crate) some_left_out: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound = "R: DeserializeOwned")]
struct Body<R> {
    /// A number, or the same as a string.
    total_records: Option<Value>,
    /// A string, `"true"` or `"false"`.
    result_truncated: Option<Value>,
    #[serde(rename = "$skipToken")]
    skip_token: Option<String>,
    /// Mandatory: a response without it is unreadable, not empty.
    data: Vec<R>,
}

impl Arm {
    /// Reads one page, and updates the quota with the response, even if it is an error. A result that Azure truncated
    /// because it cannot be paged is an error with the code `ResultTruncated`.
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
            budget: Budget::ResourceGraph,
            path: &["providers", "Microsoft.ResourceGraph", "resources"],
            api_version: "2024-04-01",
            body: Some(&body),
            timeout: None,
            correlation_id: None,
        };
        let answered = self.answer(&call).await;
        // An outage with a Retry-After applies to every query of the identity, too.
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
            RESULT_TRUNCATED,
            "Resource Graph truncated the result because it cannot be paged",
            operation,
        ));
    }
    let total = body.total_records.as_ref();
    let spelled = |total: &Value| total.as_str()?.trim().parse().ok();
    Ok(Page {
        total: total.and_then(|total| total.as_u64().or_else(|| spelled(total))),
        skip_token: body.skip_token.filter(|token| !token.is_empty()),
        rows: body.data,
        some_left_out: false,
    })
}

/// A response of Resource Graph that must not be used. The spec is not to blame, and the next scan may get a right one.
pub(crate) fn failure(code: &str, message: &str, operation: &str) -> AzureError {
    AzureError {
        class: ErrorClass::Transient,
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
    fn a_page_is_read_and_a_truncated_one_is_an_error() {
        let read = |text: &str| page::<Value>(serde_json::from_str(text).unwrap(), "q");
        let whole = read(
            r#"{"totalRecords": 3, "count": 1, "resultTruncated": "false", "$skipToken": "t", "data": [{}]}"#,
        )
        .unwrap();
        assert_eq!(
            (whole.total, whole.skip_token.as_deref(), whole.rows.len()),
            (Some(3), Some("t"), 1)
        );
        let last = read(r#"{"totalRecords": "3", "$skipToken": "", "data": []}"#).unwrap();
        assert_eq!((last.total, last.skip_token), (Some(3), None));
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
