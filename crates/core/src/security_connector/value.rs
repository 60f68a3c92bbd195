//! The fields of differences of a connector, and their values, as users see them.

use std::fmt;

use serverprotection_api::Tier;

use super::field::ConnectorField;
use crate::{difference::FieldPath, switch::switch_name, tier::tier_name};

/// What can differ between a spec and Azure.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConnectorPath {
    /// The resource group, while it does not exist.
    ResourceGroup,
    /// The connector, while it does not exist.
    Connector,
    /// A managed field.
    Field(ConnectorField),
}

impl FieldPath for ConnectorPath {
    type Value = ConnectorValue;
}

impl From<&ConnectorField> for ConnectorPath {
    fn from(field: &ConnectorField) -> Self {
        Self::Field(field.clone())
    }
}

impl fmt::Display for ConnectorPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ResourceGroup => f.write_str("resourceGroup"),
            Self::Connector => f.write_str("connectorName"),
            Self::Field(field) => f.write_str(&field.path()),
        }
    }
}

/// How an empty list is shown to users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Empty {
    All,
    None,
}

impl Empty {
    const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::None => "none",
        }
    }
}

/// A value as users see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectorValue {
    /// Azure has no value.
    Absent,
    /// A tier.
    Tier(Tier),
    /// A plan of which Azure does not say the tier.
    UnspecifiedTier,
    /// On or off.
    Switch(bool),
    /// Whole hours.
    Hours(i64),
    /// A list without order.
    List(Vec<String>, Empty),
    /// Tags as `key=value`.
    Tags(Vec<String>),
    /// Any other value, as text.
    Text(String),
}

/// Without commas, because commas separate approvals.
impl fmt::Display for ConnectorValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "none",
            Self::Tier(tier) => tier_name(*tier),
            Self::UnspecifiedTier => "unspecified",
            Self::Switch(on) => switch_name(*on),
            Self::Hours(hours) => return write!(f, "{hours}h"),
            Self::List(entries, empty) if entries.is_empty() => empty.as_str(),
            Self::Tags(tags) if tags.is_empty() => Empty::None.as_str(),
            Self::List(entries, _) | Self::Tags(entries) => return f.write_str(&entries.join(" ")),
            Self::Text(text) => text,
        })
    }
}
