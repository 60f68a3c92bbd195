//! Errors of a query, with their position.

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{answer::ArmError, instant};

/// A position in the text of a query: line from 1, character from 0, as in the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) line: u32,
    pub(crate) character: u32,
}

/// Why a query is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// `ParserFailure` for the grammar, `InvalidQueryLanguage` for names, types and limits.
    code: &'static str,
    pub(crate) at: At,
    pub(crate) token: String,
    /// What was expected, or what is wrong.
    pub(crate) text: String,
}

impl Problem {
    /// A syntax error.
    pub(crate) fn grammar(at: At, token: &str, expected: impl Into<String>) -> Self {
        Self {
            code: "ParserFailure",
            at,
            token: token.into(),
            text: expected.into(),
        }
    }

    /// A name, type or function that does not exist or is not supported by this emulator.
    pub(crate) fn meaning(at: At, token: &str, text: impl Into<String>) -> Self {
        Self {
            code: "InvalidQueryLanguage",
            at,
            token: token.into(),
            text: text.into(),
        }
    }
}

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
