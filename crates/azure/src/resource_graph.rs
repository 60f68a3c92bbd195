//! Queries of Azure Resource Graph: one request returns one page (docs/azure-api.md 7.1).

use reqwest::Method;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;
use serverprotection_core::azure_error::{AzureError, ErrorClass};

use crate::{
    arm::{Arm, Call},
    bounded::{Bounded, MOST_ROWS},
    fleet::Text,
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
    /// The number of rows of all pages.
    pub(crate) total: u64,
    /// The token of the next page. A page that is not full may have a next one.
    pub(crate) skip_token: Option<String>,
    pub(crate) rows: Vec<R>,
    /// Azure did not read all subscriptions of the identity; only without `subscriptions` (docs/azure-api.md 7.2).
    pub(crate) some_left_out: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound = "R: DeserializeOwned")]
struct Body<R> {
    /// A number, or the same as a string. Mandatory: without it, nothing shows that rows are missing.
    total_records: Option<Text>,
    /// The number of rows on this page, in the same forms.
    count: Option<Text>,
    /// A string, `"true"` or `"false"`.
    result_truncated: Option<Text>,
    #[serde(rename = "$skipToken")]
    skip_token: Option<String>,
    /// Mandatory: a response without it is unreadable, not empty.
    data: Bounded<R, MOST_ROWS>,
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
            permit: None,
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
        let page = page(answered.page(&call)?, query)?;
        Ok(Page {
            some_left_out,
            ..page
        })
    }
}

fn page<R>(body: Body<R>, query: &Query<'_>) -> Result<Page<R>, AzureError> {
    let operation = query.operation;
    if body.result_truncated.is_some_and(|truncated| truncated.is_true()) {
        return Err(failure(
            RESULT_TRUNCATED,
            "Resource Graph truncated the result because it cannot be paged",
            operation,
        ));
    }
    let rows = body.data.0;
    let incomplete = |message: &str| failure("IncompleteResult", message, operation);
    let number = |text: Text| text.0.trim().parse::<u64>().ok();
    let Some(total) = body.total_records.and_then(number) else {
        return Err(incomplete("Resource Graph did not report the number of all rows"));
    };
    if rows.len() > usize::try_from(query.top).unwrap_or(usize::MAX) {
        return Err(incomplete(
            "Resource Graph returned more rows than were requested",
        ));
    }
    let count = body.count.filter(|count| !count.0.is_empty());
    if count.is_some_and(|count| number(count) != u64::try_from(rows.len()).ok()) {
        return Err(incomplete(
            "the number of rows on a page differs from the number that Resource Graph reported",
        ));
    }
    Ok(Page {
        total,
        skip_token: body.skip_token.filter(|token| !token.is_empty()),
        rows,
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
    use serde_json::Value;

    use super::*;

    fn read(text: &str) -> Result<Page<Value>, AzureError> {
        let query = Query {
            operation: "q",
            text: "",
            subscriptions: None,
            top: 2,
            skip_token: None,
        };
        page(serde_json::from_str(text).unwrap(), &query)
    }

    #[test]
    fn a_page_is_read_and_a_truncated_one_is_an_error() {
        let whole = read(
            r#"{"totalRecords": 3, "count": 1, "resultTruncated": "false", "$skipToken": "t", "data": [{}]}"#,
        )
        .unwrap();
        assert_eq!(
            (whole.total, whole.skip_token.as_deref(), whole.rows.len()),
            (3, Some("t"), 1)
        );
        let last = read(r#"{"totalRecords": "3", "count": null, "$skipToken": "", "data": []}"#).unwrap();
        assert_eq!((last.total, last.skip_token), (3, None));
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

    #[test]
    fn a_page_whose_numbers_of_rows_do_not_fit_is_incomplete() {
        for odd in [
            r#"{"data": [{}]}"#,
            r#"{"count": 5, "data": [{}]}"#,
            r#"{"totalRecords": null, "count": 1, "data": [{}]}"#,
            r#"{"totalRecords": -1, "data": []}"#,
            r#"{"totalRecords": [1], "data": [{}]}"#,
            r#"{"totalRecords": 5, "count": 5, "data": [{}]}"#,
            r#"{"totalRecords": 1, "count": "no", "data": [{}]}"#,
            r#"{"totalRecords": 3, "count": 3, "data": [{}, {}, {}]}"#,
        ] {
            assert_eq!(read(odd).unwrap_err().code, "IncompleteResult", "{odd}");
        }
        let rows = vec!["0"; MOST_ROWS + 1].join(",");
        assert!(serde_json::from_str::<Body<Value>>(&format!(r#"{{"data": [{rows}]}}"#)).is_err());
    }
}
