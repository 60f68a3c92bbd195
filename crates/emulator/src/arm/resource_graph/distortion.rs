//! The ways in which a fault distorts a response of Resource Graph.

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::{Map, Value};

use crate::query::{Column, Row};

/// How a fault changes a page, or the rows of a query when it is evaluated: then it affects all pages.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Distortion {
    /// Half a page, with a token for the rest.
    PartialPages,
    /// The last row of the page appears again as the first of the next one.
    DuplicateRows,
    /// `resultTruncated` is true, half of the rows are cut, and there is no token.
    Truncated,
    /// Rows are missing, and the totals do not count them.
    LeaveOut(Ids),
    /// Rows have other values in some columns.
    Alter(Altered),
    /// Rows are replaced by other text.
    Replace(Replaced),
}

/// The rows whose `id` matches a regular expression, case-insensitive.
#[derive(Clone, Debug)]
pub struct Ids(Regex);

/// New values.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Altered {
    ids: Ids,
    /// By column; columns that the query does not have are skipped.
    set: Map<String, Value>,
}

/// The replacement text.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replaced {
    ids: Ids,
    /// Sent as is, so that it can also be invalid JSON.
    text: String,
}

impl<'de> Deserialize<'de> for Ids {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pattern = String::deserialize(deserializer)?;
        let built = RegexBuilder::new(&pattern).case_insensitive(true).build();
        built
            .map(Self)
            .map_err(|error| D::Error::custom(format!("ids: {error}")))
    }
}

impl Ids {
    fn fit(&self, columns: &[Column], row: &[Value]) -> bool {
        let at = columns.iter().position(|column| column.name == "id");
        let id = at.and_then(|at| row.get(at)).and_then(Value::as_str);
        id.is_some_and(|id| self.0.is_match(id))
    }
}

impl Distortion {
    /// Removes rows or changes their values.
    pub(super) fn spoil(&self, columns: &[Column], rows: &mut Vec<Row>) {
        match self {
            Self::LeaveOut(ids) => rows.retain(|row| !ids.fit(columns, row)),
            Self::Alter(altered) => {
                for row in rows.iter_mut().filter(|row| altered.ids.fit(columns, row)) {
                    for (column, value) in columns.iter().zip(row) {
                        if let Some(other) = altered.set.get(&column.name) {
                            value.clone_from(other);
                        }
                    }
                }
            }
            Self::PartialPages | Self::DuplicateRows | Self::Truncated | Self::Replace(_) => {}
        }
    }

    /// The text that replaces a row.
    pub(super) fn instead_of(&self, columns: &[Column], row: &[Value]) -> Option<&str> {
        match self {
            Self::Replace(replaced) if replaced.ids.fit(columns, row) => Some(&replaced.text),
            _ => None,
        }
    }
}
