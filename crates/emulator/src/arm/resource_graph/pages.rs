//! Finished results and the tokens of their pages. A query is evaluated once; its serialized rows are kept
//! until the last token expires.

use std::{collections::HashMap, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use uuid::Uuid;

use super::refusals::refused;
use crate::{
    answer::ArmError,
    query::{Column, Row},
};

/// The oldest results are dropped when all of them together exceed this size.
const MOST_BYTES: usize = 256 * 1024 * 1024;
/// Maximum number of tokens, including expired ones that are kept to report them as expired.
const MOST_TOKENS: usize = 50_000;

/// What a token is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(super) principal: String,
    pub(super) query: String,
    /// Subscriptions, management groups, filter.
    pub(super) scope: String,
    /// Rows are arrays, with the columns beside them.
    pub(super) table: bool,
}

/// The rows of a query in the order of the response.
#[derive(Debug)]
pub(super) struct Finished {
    binding: Binding,
    /// The rows as JSON, with commas between them.
    text: String,
    /// Where each row ends in the text.
    ends: Vec<usize>,
    /// `columns` of a table.
    columns: Value,
    /// The rows have ids and an order.
    pub(super) pageable: bool,
}

impl Finished {
    /// `instead` returns the text with which a fault replaces a row.
    pub(super) fn new<'t>(
        binding: Binding,
        columns: &[Column],
        rows: &[Row],
        ordered: bool,
        instead: impl Fn(&Row) -> Option<&'t str>,
    ) -> Self {
        let described = columns
            .iter()
            .map(|column| json!({"name": column.name, "type": column.kind.name()}));
        let names: Vec<String> = columns
            .iter()
            .map(|column| format!("{}:", Value::from(column.name.as_str())))
            .collect();
        let mut text = String::new();
        let mut ends = Vec::with_capacity(rows.len());
        for row in rows {
            if !text.is_empty() {
                text.push(',');
            }
            if let Some(other) = instead(row) {
                text.push_str(other);
                ends.push(text.len());
                continue;
            }
            text.push(if binding.table { '[' } else { '{' });
            for (index, (name, value)) in names.iter().zip(row).enumerate() {
                if index > 0 {
                    text.push(',');
                }
                if !binding.table {
                    text.push_str(name);
                }
                text.push_str(&value.to_string());
            }
            text.push(if binding.table { ']' } else { '}' });
            ends.push(text.len());
        }
        text.shrink_to_fit();
        Self {
            columns: described.collect(),
            pageable: ordered && columns.iter().any(|column| column.name == "id"),
            binding,
            text,
            ends,
        }
    }

    pub(super) fn total(&self) -> usize {
        self.ends.len()
    }

    /// A range of rows as the member `data`.
    pub(super) fn data(&self, from: usize, to: usize) -> String {
        let start = match from.checked_sub(1).and_then(|last| self.ends.get(last)) {
            Some(end) => end + 1,
            None => 0,
        };
        let end = to.checked_sub(1).and_then(|last| self.ends.get(last)).copied();
        let rows = self.text.get(start..end.unwrap_or_default()).unwrap_or_default();
        if self.binding.table {
            format!("{{\"columns\":{},\"rows\":[{rows}]}}", self.columns)
        } else {
            format!("[{rows}]")
        }
    }
}

#[derive(Debug)]
struct Token {
    /// `None` if it expired or was dropped for space.
    result: Option<Arc<Finished>>,
    from: usize,
    expires: i64,
    number: u64,
}

/// The issued tokens.
#[derive(Debug, Default)]
pub(super) struct Pages {
    tokens: HashMap<String, Token>,
    given: u64,
}

impl Pages {
    /// Issues a token for the rest of a result.
    pub(super) fn give(
        &mut self,
        result: &Arc<Finished>,
        from: usize,
        lifetime: Duration,
        now: i64,
    ) -> String {
        self.make_room(result, now);
        self.given += 1;
        let token = STANDARD.encode(format!("{}:{}", Uuid::new_v4().simple(), self.given));
        let lifetime = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
        self.tokens.insert(
            token.clone(),
            Token {
                result: Some(Arc::clone(result)),
                from,
                expires: now.saturating_add(lifetime),
                number: self.given,
            },
        );
        token
    }

    /// The result of a token, and the row to continue with. A token can be used again.
    pub(super) fn find(
        &self,
        token: &str,
        binding: &Binding,
        now: i64,
    ) -> Result<(Arc<Finished>, usize), ArmError> {
        let known = self
            .tokens
            .get(token)
            .ok_or_else(|| refused("InvalidSkipToken", "The skip token is not valid."))?;
        let result = known
            .result
            .as_ref()
            .filter(|_| now < known.expires)
            .ok_or_else(|| {
                refused(
                    "SkipTokenExpired",
                    "The skip token has expired. Run the query again from its first page.",
                )
            })?;
        if result.binding == *binding {
            Ok((Arc::clone(result), known.from))
        } else {
            Err(refused(
                "SkipTokenMismatch",
                "The skip token belongs to another query, scope, format or caller.",
            ))
        }
    }

    fn make_room(&mut self, coming: &Arc<Finished>, now: i64) {
        if self.tokens.len() >= MOST_TOKENS {
            let forgotten = self.given.saturating_sub(MOST_TOKENS as u64 / 2);
            self.tokens.retain(|_, token| token.number > forgotten);
        }
        for token in self.tokens.values_mut() {
            if token.expires <= now {
                token.result = None;
            }
        }
        let mut newest_first: Vec<&mut Token> = self.tokens.values_mut().collect();
        newest_first.sort_by_key(|token| std::cmp::Reverse(token.number));
        let mut held = vec![Arc::clone(coming)];
        let mut bytes = coming.text.len();
        for token in newest_first {
            let Some(result) = &token.result else {
                continue;
            };
            if held.iter().any(|known| Arc::ptr_eq(known, result)) {
                continue;
            }
            bytes = bytes.saturating_add(result.text.len());
            if bytes > MOST_BYTES {
                token.result = None;
            } else {
                held.push(Arc::clone(result));
            }
        }
    }
}
