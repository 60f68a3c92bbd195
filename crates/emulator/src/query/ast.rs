//! The syntax tree of a query.

use serde_json::Value;

use super::problem::At;

/// A table and the operators on its rows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Query {
    pub(crate) table: Name,
    pub(crate) steps: Vec<Step>,
}

/// A name with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) at: At,
}

/// `name = expression`, or an expression with an implicit name.
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
    /// The flag is true for ascending.
    Order(Vec<(Expression, bool)>),
    Join {
        at: At,
        outer: bool,
        right: Query,
        on: Vec<Name>,
    },
    Limit(usize),
    /// `count()`, with an optional name.
    Summarize {
        counted: Option<String>,
        by: Vec<Named>,
    },
    Count,
    Distinct(Vec<Named>),
}

/// An expression with its position.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Expression {
    pub(crate) at: At,
    pub(crate) kind: Kind,
}

/// The kind of an expression.
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
        /// Case-insensitive.
        fold: bool,
        negated: bool,
    },
}

/// Binary operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    And,
    Or,
    Plus,
    Minus,
    /// `==`; negated (`!=`) if true.
    Equal(bool),
    /// `=~`; negated (`!~`) if true.
    EqualFold(bool),
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    /// Negated if true.
    Text(Search, bool),
}

/// The text searches; all are case-insensitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Search {
    Contains,
    StartsWith,
    EndsWith,
    Has,
}
