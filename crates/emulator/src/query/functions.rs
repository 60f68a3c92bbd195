//! The functions: their arguments and results.

use std::borrow::Cow;

use regex::Regex;
use serde_json::Value;

use super::{
    expression::{Bound, Type, text, truth},
    problem::{At, Problem},
};

/// A function. `extract` carries its regular expression.
#[derive(Clone, Debug)]
pub(crate) enum Function {
    ToLower,
    ToUpper,
    ToText,
    ToWhole,
    ToTruth,
    If,
    Coalesce,
    /// Negated if true.
    IsEmpty(bool),
    /// Negated if true.
    IsNull(bool),
    Substring,
    IndexOf,
    Length,
    Concatenate,
    Extract(Regex),
    Keys,
    ArrayLength,
    Not,
}

/// Looks up a function and checks its arguments.
pub(crate) fn bind(at: At, name: &str, arguments: Vec<(Bound, Type)>) -> Result<(Bound, Type), Problem> {
    let wrong = |text: String| Problem::meaning(at, name, text);
    let (least, most) = match name {
        "tolower" | "toupper" | "tostring" | "toint" | "tolong" | "tobool" | "isempty" | "isnotempty"
        | "isnull" | "isnotnull" | "strlen" | "bag_keys" | "array_length" | "not" => (1, 1),
        "iff" | "iif" | "extract" => (3, 3),
        "coalesce" => (2, 64),
        "substring" | "indexof" => (2, 3),
        "strcat" => (1, 64),
        _ => return Err(wrong(format!("Unknown function: '{name}'."))),
    };
    if !(least..=most).contains(&arguments.len()) {
        return Err(wrong(format!(
            "{name}(): function expects {least} to {most} arguments, not {}.",
            arguments.len()
        )));
    }
    let types: Vec<Type> = arguments.iter().map(|(_, kind)| *kind).collect();
    let fits = |expected: &[fn(Type) -> bool]| {
        types
            .iter()
            .zip(expected)
            .enumerate()
            .find(|(_, (kind, expected))| !expected(**kind))
            .map_or(Ok(()), |(index, _)| {
                Err(wrong(format!(
                    "{name}(): argument #{} has the wrong type.",
                    index + 1
                )))
            })
    };
    let texts: fn(Type) -> bool = Type::reads_as_text;
    let wholes: fn(Type) -> bool = |kind| kind == Type::Whole;
    let truths: fn(Type) -> bool = |kind| kind == Type::Truth;
    let dynamics: fn(Type) -> bool = |kind| kind == Type::Dynamic;
    let (function, kind) = match name {
        "tolower" => fits(&[texts]).map(|()| (Function::ToLower, Type::Text)),
        "toupper" => fits(&[texts]).map(|()| (Function::ToUpper, Type::Text)),
        "tostring" => Ok((Function::ToText, Type::Text)),
        "toint" | "tolong" => Ok((Function::ToWhole, Type::Whole)),
        "tobool" => Ok((Function::ToTruth, Type::Truth)),
        "isempty" | "isnotempty" => Ok((Function::IsEmpty(name != "isempty"), Type::Truth)),
        "isnull" | "isnotnull" => Ok((Function::IsNull(name != "isnull"), Type::Truth)),
        "substring" => fits(&[texts, wholes, wholes]).map(|()| (Function::Substring, Type::Text)),
        "indexof" => fits(&[texts, texts, wholes]).map(|()| (Function::IndexOf, Type::Whole)),
        "strlen" => fits(&[texts]).map(|()| (Function::Length, Type::Whole)),
        "bag_keys" => fits(&[dynamics]).map(|()| (Function::Keys, Type::Dynamic)),
        "array_length" => fits(&[dynamics]).map(|()| (Function::ArrayLength, Type::Whole)),
        "not" => fits(&[truths]).map(|()| (Function::Not, Type::Truth)),
        "iff" | "iif" => fits(&[truths])
            .and_then(|()| common(types.get(1..).unwrap_or_default()).ok_or_else(|| mixed(at, name)))
            .map(|kind| (Function::If, kind)),
        "coalesce" => common(&types)
            .ok_or_else(|| mixed(at, name))
            .map(|kind| (Function::Coalesce, kind)),
        "extract" => fits(&[texts, wholes, texts])
            .and_then(|()| expression(at, arguments.first()))
            .map(|regex| (Function::Extract(regex), Type::Text)),
        _ => Ok((Function::Concatenate, Type::Text)),
    }?;
    let arguments = arguments.into_iter().map(|(bound, _)| bound).collect();
    Ok((Bound::Call(function, arguments), kind))
}

fn mixed(at: At, name: &str) -> Problem {
    Problem::meaning(
        at,
        name,
        format!("{name}(): the values have different types; cast them."),
    )
}

/// The common type of the arguments.
fn common(types: &[Type]) -> Option<Type> {
    let first = types.first().copied()?;
    if types.iter().all(|kind| *kind == first) {
        Some(first)
    } else {
        types.iter().all(|kind| kind.is_number()).then_some(Type::Real)
    }
}

fn expression(at: At, argument: Option<&(Bound, Type)>) -> Result<Regex, Problem> {
    let Some((Bound::Literal(Value::String(pattern)), _)) = argument else {
        return Err(Problem::meaning(
            at,
            "extract",
            "extract(): the expression must be a literal.",
        ));
    };
    Regex::new(pattern)
        .map_err(|_| Problem::meaning(at, pattern, "extract(): this is no regular expression."))
}

impl Function {
    pub(crate) fn value<'a>(&'a self, arguments: &'a [Bound], row: &'a [Value]) -> Cow<'a, Value> {
        let argument = |index: usize| {
            arguments
                .get(index)
                .map_or(Cow::Owned(Value::Null), |a| a.value(row))
        };
        match self {
            Self::ToLower => owned(text(&argument(0)).to_lowercase()),
            Self::ToUpper => owned(text(&argument(0)).to_uppercase()),
            Self::ToText => match argument(0) {
                same if same.is_string() => same,
                other => owned(text(&other).into_owned()),
            },
            Self::ToWhole => Cow::Owned(whole(&argument(0)).map_or(Value::Null, Value::from)),
            Self::ToTruth => truth(match argument(0).as_ref() {
                Value::Bool(truth) => Some(*truth),
                Value::Number(number) => number.as_f64().map(|number| number != 0.0),
                Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
                Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
                _ => None,
            }),
            Self::If => argument(if argument(0).as_bool() == Some(true) { 1 } else { 2 }),
            Self::Coalesce => (0..arguments.len())
                .map(argument)
                .find(|value| !value.is_null() && value.as_str() != Some(""))
                .unwrap_or_else(|| argument(arguments.len().saturating_sub(1))),
            Self::IsEmpty(negated) => truth(Some(text(&argument(0)).is_empty() != *negated)),
            Self::IsNull(negated) => truth(Some(argument(0).is_null() != *negated)),
            Self::Substring => {
                let length = match arguments.len() {
                    2 => i64::MAX,
                    _ => argument(2).as_i64().unwrap_or_default(),
                };
                owned(substring(&text(&argument(0)), argument(1).as_i64(), length))
            }
            Self::IndexOf => {
                let (of, expected) = (argument(0), argument(1));
                let from = usize::try_from(argument(2).as_i64().unwrap_or_default()).unwrap_or_default();
                Cow::Owned(Value::from(index_of(&text(&of), &text(&expected), from)))
            }
            Self::Length => Cow::Owned(Value::from(text(&argument(0)).chars().count())),
            Self::Concatenate => {
                let parts = (0..arguments.len()).map(|index| text(&argument(index)).into_owned());
                owned(parts.collect())
            }
            Self::Extract(regex) => {
                let (group, of) = (argument(1).as_u64(), argument(2));
                let group = group.and_then(|group| usize::try_from(group).ok());
                let of = text(&of);
                let found = group.and_then(|group| regex.captures(&of)?.get(group));
                owned(found.map_or_else(String::new, |found| found.as_str().into()))
            }
            Self::Keys => Cow::Owned(argument(0).as_object().map_or(Value::Null, |bag| {
                bag.keys().map(|key| Value::String(key.clone())).collect()
            })),
            Self::ArrayLength => Cow::Owned(
                argument(0)
                    .as_array()
                    .map_or(Value::Null, |list| Value::from(list.len())),
            ),
            Self::Not => truth(argument(0).as_bool().map(|truth| !truth)),
        }
    }
}

fn owned<'a>(text: String) -> Cow<'a, Value> {
    Cow::Owned(Value::String(text))
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Bool(truth) => Some(i64::from(*truth)),
        Value::String(text) => text.trim().parse().ok(),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the cast of the language truncates"
        )]
        number => number
            .as_i64()
            .or_else(|| number.as_f64().map(|number| number as i64)),
    }
}

/// A negative start counts from the end; a negative length gives an empty string.
fn substring(text: &str, start: Option<i64>, length: i64) -> String {
    let count = |number: i64| usize::try_from(number).unwrap_or_default();
    let start = match start {
        None => return String::new(),
        Some(start) if start < 0 => text.chars().count().saturating_sub(count(start.saturating_neg())),
        Some(start) => count(start),
    };
    text.chars().skip(start).take(count(length)).collect()
}

/// The index in characters; -1 if not found.
fn index_of(text: &str, expected: &str, from: usize) -> i64 {
    let start = text.char_indices().nth(from).map_or(text.len(), |(at, _)| at);
    text.get(start..)
        .and_then(|rest| rest.find(expected))
        .and_then(|at| text.get(..start + at))
        .and_then(|before| i64::try_from(before.chars().count()).ok())
        .unwrap_or(-1)
}
