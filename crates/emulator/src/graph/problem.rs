//! What is wrong with a query, and where.

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{answer::ArmError, instant};

/// A place in the text of a query: the line from 1, the character in it from 0, as the service counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) line: u32,
    pub(crate) character: u32,
}

/// Why a query is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// `ParserFailure` for its grammar, `InvalidQueryLanguage` for its meaning.
    code: &'static str,
    pub(crate) at: At,
    pub(crate) token: String,
    /// What should have been there, or what is wrong with it.
    pub(crate) text: String,
}

impl Problem {
    /// The text is no query.
    pub(crate) fn grammar(at: At, token: &str, expected: impl Into<String>) -> Self {
        Self {
            code: "ParserFailure",
            at,
            token: token.into(),
            text: expected.into(),
        }
    }

    /// The query asks for something that does not exist, or that this emulator does not know.
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

/// The text of every error of the service: only the details tell more.
pub(crate) fn support() -> String {
    format!(
        "Please provide below info when asking for support: timestamp = {}, correlationId = {}.",
        instant::ticks(Timestamp::now()),
        Uuid::new_v4()
    )
}
