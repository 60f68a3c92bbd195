//! Parses a page row by row, so that a row that cannot be read does not affect the others.

use std::{collections::BTreeMap, error::Error, fmt};

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::rows::hash;
use crate::bounded::BoundedMap;

/// A row, as far as it could be read.
#[derive(Debug)]
pub(super) struct Parsed<T> {
    /// Members that could not be read have their default.
    pub(super) row: T,
    /// `None` if the whole row was read.
    pub(super) odd: Option<Odd>,
}

/// A row that could not be read completely.
pub(super) struct Odd {
    text: Box<str>,
}

impl<'de, T: Default + DeserializeOwned> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(match whole(raw.get()) {
            Ok(row) => Self { row, odd: None },
            Err(cause) => {
                tracing::debug!(error = %cause, "row could not be parsed");
                Self {
                    row: salvage(raw.get()),
                    odd: Some(Odd {
                        text: raw.get().into(),
                    }),
                }
            }
        })
    }
}

impl Odd {
    /// An object within the row, as far as it can be read.
    pub(super) fn part<T: Default + DeserializeOwned>(&self, member: &str) -> T {
        members(&self.text)
            .get(member)
            .map_or_else(T::default, |part| salvage(part.get()))
    }

    /// A hash that distinguishes rows.
    pub(super) fn fingerprint(&self) -> u64 {
        hash("", &self.text)
    }
}

impl fmt::Debug for Odd {
    /// Without the row, which may contain anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Odd").finish_non_exhaustive()
    }
}

/// Parses an object. A derived struct would also accept a list of its fields.
fn whole<T: DeserializeOwned>(json: &str) -> Result<T, Box<dyn Error>> {
    if !json.trim_start().starts_with('{') {
        return Err("the row is not an object".into());
    }
    Ok(serde_json::from_str(json)?)
}

/// The members of an object; empty if it cannot be read or has too many.
fn members(json: &str) -> BTreeMap<String, Box<RawValue>> {
    let members: Result<BoundedMap<_>, _> = serde_json::from_str(json);
    members.unwrap_or_default().0
}

/// Parses each member separately, and keeps those that can be read.
fn salvage<T: Default + DeserializeOwned>(json: &str) -> T {
    let object = |members: &[String]| format!("{{{}}}", members.join(","));
    let mut readable = Vec::new();
    for (name, value) in members(json) {
        let member = format!("{}:{}", serde_json::Value::from(name), value.get());
        if serde_json::from_str::<T>(&object(std::slice::from_ref(&member))).is_ok() {
            readable.push(member);
        }
    }
    serde_json::from_str(&object(&readable)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default)]
    struct Row {
        id: String,
        number: u8,
    }

    fn page(text: &str) -> Vec<Parsed<Row>> {
        serde_json::from_slice(text.as_bytes()).unwrap()
    }

    #[test]
    fn unreadable_rows_do_not_affect_the_others() {
        let odd = [
            r#""garbage""#,
            "null",
            "5",
            "[]",
            r#"["a", 1]"#,
            r#"{"id": "a", "number": 1000}"#,
            r#"{"id": "a", "number": "x"}"#,
            // Half of a surrogate pair is valid JSON but not a valid string.
            r#"{"id": "\ud800", "number": 7}"#,
            r#"{"id": "a", "id": "b"}"#,
        ];
        for odd in odd {
            let rows = page(&format!(
                r#"[{{"id": "first", "number": 1}}, {odd}, {{"id": "last"}}]"#
            ));
            let read: Vec<_> = rows
                .iter()
                .filter(|row| row.odd.is_none())
                .map(|row| row.row.id.as_str())
                .collect();
            assert_eq!((rows.len(), read), (3, vec!["first", "last"]), "{odd}");
        }
    }

    #[test]
    fn the_readable_members_of_a_row_are_kept() {
        let rows = page(r#"[{"id": "a", "number": 1000}, {"id": "\ud800", "number": 7}, "a"]"#);
        let row = |at: usize| (rows[at].row.id.as_str(), rows[at].row.number);
        assert_eq!((row(0), row(1), row(2)), (("a", 0), ("", 7), ("", 0)));
        let print = |at: usize| rows[at].odd.as_ref().unwrap().fingerprint();
        assert_ne!(print(0), print(1));
    }

    #[test]
    fn a_part_of_a_row_is_read_separately() {
        let rows = page(r#"[{"id": 5, "inner": {"id": "a", "number": -1}}]"#);
        let odd = rows[0].odd.as_ref().unwrap();
        assert_eq!(odd.part::<Row>("inner").id, "a");
        assert_eq!(odd.part::<Row>("other"), Row::default());
    }
}
