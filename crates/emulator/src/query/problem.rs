//! Why a query is refused, with the position in its text.

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
    pub(crate) code: &'static str,
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
