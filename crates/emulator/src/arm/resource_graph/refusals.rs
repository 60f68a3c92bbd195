//! The service's error responses.

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{answer::ArmError, instant, query::Problem};

const INVALID: &str = "Query is invalid. Please refer to the documentation for the Azure Resource Graph service \
                       and fix the error before retrying.";

impl From<Problem> for ArmError {
    fn from(problem: Problem) -> Self {
        let mut detail = json!({
            "code": problem.code, "message": problem.text, "line": problem.at.line,
            "characterPositionInLine": problem.at.character, "token": problem.token,
        });
        if let ("ParserFailure", Some(detail)) = (problem.code, detail.as_object_mut()) {
            detail.insert("message".into(), json!("ParserFailure"));
            detail.insert("expectedToken".into(), json!(problem.text));
        }
        bad_request(json!([{"code": "InvalidQuery", "message": INVALID}, detail]))
    }
}

/// 400 with one detail.
pub(crate) fn refused(code: &str, message: &str) -> ArmError {
    bad_request(json!([{"code": code, "message": message}]))
}

fn bad_request(details: Value) -> ArmError {
    ArmError::bad_request("BadRequest", support()).with("details", details)
}

/// The message of every error of the service; only the details differ.
pub(crate) fn support() -> String {
    format!(
        "Please provide below info when asking for support: timestamp = {}, correlationId = {}.",
        instant::ticks(Timestamp::now()),
        Uuid::new_v4()
    )
}
