//! The tables and their columns.

use serde_json::Value;

use super::expression::Type;

/// A column of a table or an intermediate result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Type,
}

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    /// `resources`
    Resources,
    /// `resourcecontainers`
    Containers,
    /// `securityresources`
    Security,
}

const TEXTS: [&str; 9] = [
    "id",
    "name",
    "type",
    "tenantId",
    "kind",
    "location",
    "resourceGroup",
    "subscriptionId",
    "managedBy",
];
const DYNAMICS: [&str; 8] = [
    "sku",
    "plan",
    "properties",
    "tags",
    "identity",
    "zones",
    "extendedLocation",
    "systemData",
];

impl Table {
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "resources" => Some(Self::Resources),
            "resourcecontainers" => Some(Self::Containers),
            "securityresources" => Some(Self::Security),
            _ => None,
        }
    }

    /// The columns, the same for all three tables.
    #[expect(clippy::unused_self, reason = "other tables have other columns")]
    pub(crate) fn columns(self) -> Vec<Column> {
        let column = |name: &str, kind| Column {
            name: name.into(),
            kind,
        };
        let texts = TEXTS.iter().map(|name| column(name, Type::Text));
        texts
            .chain(DYNAMICS.iter().map(|name| column(name, Type::Dynamic)))
            .collect()
    }
}

/// Source of the rows of a table, one by one. It may skip rows whose types are not needed.
pub(crate) trait RowSource {
    /// Calls back with each row, an object with the table's columns.
    fn rows(&self, table: Table, types: Option<&[String]>, each: &mut dyn FnMut(Value));
}
