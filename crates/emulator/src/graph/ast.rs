//! A query as it was written.

use serde_json::Value;

use super::problem::At;

/// A table and what happens to its rows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Query {
    pub(crate) table: Name,
    pub(crate) steps: Vec<Step>,
}

/// A name and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) at: At,
}

/// `name = expression`, or an expression that names itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Named {
    pub(crate) name: Option<Name>,
    pub(crate) expression: Expression,
}

/// One operator between two pipes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    Where(Expression),
    Extend(Vec<Named>),
    Project(Vec<Named>),
    ProjectAway(Vec<Name>),
    /// With `true` for ascending.
    Order(Vec<(Expression, bool)>),
    Join {
        at: At,
        outer: bool,
        right: Query,
        on: Vec<Name>,
    },
    Limit(usize),
    /// `count()`, perhaps under another name.
    Summarize {
        counted: Option<String>,
        by: Vec<Named>,
    },
    Count,
    Distinct(Vec<Named>),
}

/// An expression and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Expression {
    pub(crate) at: At,
    pub(crate) kind: Kind,
}

/// What an expression is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Literal(Value),
    Column(String),
    Member(Box<Expression>, String),
    Index(Box<Expression>, usize),
    Call(String, Vec<Expression>),
    Binary(Operator, Box<Expression>, Box<Expression>),
    In {
        needle: Box<Expression>,
        list: Vec<Expression>,
        /// Without case.
        fold: bool,
        negated: bool,
    },
}

/// Between two expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    And,
    Or,
    Plus,
    Minus,
    /// `==`, or with `true`: `!=`.
    Equal(bool),
    /// `=~`, or with `true`: `!~`.
    EqualFold(bool),
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    /// With `true` for the negated form.
    Text(Search, bool),
}

/// The searches in texts, all without case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Search {
    Contains,
    StartsWith,
    EndsWith,
    Has,
}
