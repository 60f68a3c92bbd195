//! Expressions over the columns of a row, and their values. A value is borrowed from its
//! row where possible: a property bag is never copied to read one of its members.

use std::{borrow::Cow, cmp::Ordering};

use serde_json::Value;

use super::{ast::Search, functions::Function};

/// The type of a column or expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Text,
    Whole,
    Real,
    Truth,
    /// Any JSON.
    Dynamic,
}

impl Type {
    /// The type name in responses of format `table`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Whole => "integer",
            Self::Real => "number",
            Self::Truth => "boolean",
            Self::Dynamic => "object",
        }
    }

    /// The value of a missing cell.
    pub(crate) const fn blank(self) -> Value {
        match self {
            Self::Text => Value::String(String::new()),
            _ => Value::Null,
        }
    }

    pub(crate) const fn is_number(self) -> bool {
        matches!(self, Self::Whole | Self::Real)
    }

    /// Whether a function of strings accepts this type: dynamic values are converted.
    pub(crate) const fn reads_as_text(self) -> bool {
        matches!(self, Self::Text | Self::Dynamic)
    }
}

/// Comparison operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

/// An expression over the columns of a row.
#[derive(Clone, Debug)]
pub(crate) enum Bound {
    Literal(Value),
    Column(usize),
    Member(Box<Self>, String),
    Index(Box<Self>, usize),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    /// A subtraction if true.
    Sum(bool, Box<Self>, Box<Self>),
    Relation(Relation, Box<Self>, Box<Self>),
    Equal {
        fold: bool,
        negated: bool,
        sides: Box<[Self; 2]>,
    },
    In {
        needle: Box<Self>,
        list: Vec<Value>,
        fold: bool,
        negated: bool,
    },
    Search {
        search: Search,
        negated: bool,
        sides: Box<[Self; 2]>,
    },
    Call(Function, Vec<Self>),
}

static NULL: Value = Value::Null;

impl Bound {
    /// The value for a row.
    pub(crate) fn value<'a>(&'a self, row: &'a [Value]) -> Cow<'a, Value> {
        match self {
            Self::Literal(value) => Cow::Borrowed(value),
            Self::Column(place) => Cow::Borrowed(row.get(*place).unwrap_or(&NULL)),
            Self::Member(of, name) => match of.value(row) {
                Cow::Borrowed(bag) => Cow::Borrowed(bag.get(name).unwrap_or(&NULL)),
                Cow::Owned(mut bag) => Cow::Owned(bag.get_mut(name).map(Value::take).unwrap_or_default()),
            },
            Self::Index(of, index) => match of.value(row) {
                Cow::Borrowed(list) => Cow::Borrowed(list.get(index).unwrap_or(&NULL)),
                Cow::Owned(mut list) => Cow::Owned(list.get_mut(index).map(Value::take).unwrap_or_default()),
            },
            Self::And(left, right) => truth(match left.truth(row) {
                Some(false) => Some(false),
                left => match right.truth(row) {
                    Some(false) => Some(false),
                    right => left.and(right),
                },
            }),
            Self::Or(left, right) => truth(match left.truth(row) {
                Some(true) => Some(true),
                left => match right.truth(row) {
                    Some(true) => Some(true),
                    right => left.and(right),
                },
            }),
            Self::Sum(minus, left, right) => Cow::Owned(sum(*minus, &left.value(row), &right.value(row))),
            Self::Relation(relation, left, right) => {
                truth(related(*relation, &left.value(row), &right.value(row)))
            }
            Self::Equal { fold, negated, sides } => {
                let [left, right] = sides.as_ref();
                let (left, right) = (left.value(row), right.value(row));
                truth(equal(&left, &right, *fold).map(|equal| equal != *negated))
            }
            Self::In {
                needle,
                list,
                fold,
                negated,
            } => {
                let needle = needle.value(row);
                let found = if needle.is_null() && !fold {
                    None
                } else {
                    Some(list.iter().any(|item| equal(&needle, item, *fold) == Some(true)))
                };
                truth(found.map(|found| found != *negated))
            }
            Self::Search {
                search,
                negated,
                sides,
            } => {
                let [left, right] = sides.as_ref();
                let (left, right) = (left.value(row), right.value(row));
                truth(Some(found(*search, &text(&left), &text(&right)) != *negated))
            }
            Self::Call(function, arguments) => function.value(arguments, row),
        }
    }

    /// The value of a condition; `None` is null.
    pub(crate) fn truth(&self, row: &[Value]) -> Option<bool> {
        self.value(row).as_bool()
    }
}

/// A boolean as a value.
pub(crate) fn truth<'a>(truth: Option<bool>) -> Cow<'a, Value> {
    Cow::Owned(truth.map_or(Value::Null, Value::Bool))
}

/// A value as text, as `tostring` returns it: empty for null.
pub(crate) fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => Cow::Borrowed(""),
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

fn equal(left: &Value, right: &Value, fold: bool) -> Option<bool> {
    if fold {
        return Some(same_folded(&text(left), &text(right)));
    }
    match (left, right) {
        (Value::Null, _) | (_, Value::Null) => None,
        (Value::Number(_), Value::Number(_)) => Some(compared(left, right) == Some(Ordering::Equal)),
        (Value::String(_), _) | (_, Value::String(_)) => Some(text(left) == text(right)),
        _ => Some(left == right),
    }
}

fn same_folded(left: &str, right: &str) -> bool {
    left.eq_ignore_ascii_case(right)
        || (!(left.is_ascii() && right.is_ascii()) && left.to_lowercase() == right.to_lowercase())
}

/// `None` if one of them is not a number.
fn compared(left: &Value, right: &Value) -> Option<Ordering> {
    match (left.as_i64(), right.as_i64()) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

fn related(relation: Relation, left: &Value, right: &Value) -> Option<bool> {
    let order = compared(left, right)?;
    Some(match relation {
        Relation::Less => order.is_lt(),
        Relation::LessEqual => order.is_le(),
        Relation::Greater => order.is_gt(),
        Relation::GreaterEqual => order.is_ge(),
    })
}

fn sum(minus: bool, left: &Value, right: &Value) -> Value {
    if let (Some(left), Some(right)) = (left.as_i64(), right.as_i64()) {
        let sum = if minus {
            left.checked_sub(right)
        } else {
            left.checked_add(right)
        };
        return sum.map_or(Value::Null, Value::from);
    }
    match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => Value::from(if minus { left - right } else { left + right }),
        _ => Value::Null,
    }
}

fn found(search: Search, text: &str, expected: &str) -> bool {
    let (text, expected) = (text.to_lowercase(), expected.to_lowercase());
    match search {
        Search::Contains => text.contains(&expected),
        Search::StartsWith => text.starts_with(&expected),
        Search::EndsWith => text.ends_with(&expected),
        // A term: letters and digits, without a letter or digit on either side.
        Search::Has => text.match_indices(&expected).any(|(at, found)| {
            let before = text.get(..at).and_then(|before| before.chars().next_back());
            let after = text
                .get(at + found.len()..)
                .and_then(|after| after.chars().next());
            ![before, after].into_iter().flatten().any(char::is_alphanumeric)
        }),
    }
}

/// The sort order: null, booleans, numbers, strings, the rest.
pub(crate) fn sorted(left: &Value, right: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        _ => 4,
    };
    match (left, right) {
        (Value::String(left), Value::String(right)) => left.cmp(right),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::Number(_), Value::Number(_)) => compared(left, right).unwrap_or(Ordering::Equal),
        _ => rank(left).cmp(&rank(right)),
    }
}
