//! The language of Resource Graph: from the text of a query to rows.
//!
//! It is a subset. Anything else is refused with its position in the query, never guessed. `docs/emulator.md` lists the
//! subset.

mod ast;
mod bind;
mod expression;
mod functions;
mod lexer;
mod parser;
mod plan;
mod problem;
mod tables;
#[cfg(test)]
mod tests;

pub(crate) use self::{
    plan::{Plan, Row},
    problem::Problem,
    tables::{Column, RowSource, Table},
};

/// Parses and checks a query.
///
/// # Errors
///
/// Returns what is wrong with the query, or not supported here, with its position.
pub(crate) fn compile(text: &str) -> Result<Plan, Problem> {
    bind::bind(&parser::parse(text)?)
}
