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

impl ConnectorValue {
    /// The address of a proxy without its user name and password. Another client may have set them, in any form, and they
    /// must not appear in status, in events or in logs: all that precedes the last `@` is masked.
    pub(super) fn without_password(self) -> Self {
        let Self::Text(text) = &self else {
            return self;
        };
        let Some((before, host)) = text.rsplit_once('@') else {
            return self;
        };
        // Anything else before `://` may be a part of the password.
        let is_scheme = |text: &&str| {
            ["http", "https"]
                .iter()
                .any(|known| text.eq_ignore_ascii_case(known))
        };
        let scheme = before
            .split_once("://")
            .map(|(scheme, _)| scheme)
            .filter(is_scheme);
        let scheme = scheme.map_or_else(String::new, |scheme| format!("{scheme}://"));
        Self::Text(format!("{scheme}***@{host}"))
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked(text: &str) -> String {
        ConnectorValue::Text(text.to_owned())
            .without_password()
            .to_string()
    }

    #[test]
    fn the_password_of_a_proxy_is_masked_in_every_form() {
        for (proxy, shown) in [
            (
                "http://user:hunter2@proxy.corp:3128",
                "http://***@proxy.corp:3128",
            ),
            ("user:hunter2@proxy.corp:3128", "***@proxy.corp:3128"),
            ("//user:hunter2@proxy.corp", "***@proxy.corp"),
            ("HTTPS://user:a@b@proxy.corp/", "HTTPS://***@proxy.corp/"),
            ("user:a://b@proxy.corp", "***@proxy.corp"),
            ("user@proxy.corp", "***@proxy.corp"),
            (r#"{"url":"user:hunter2@proxy.corp"}"#, r#"***@proxy.corp"}"#),
            ("http://proxy.corp:3128", "http://proxy.corp:3128"),
            ("", ""),
        ] {
            assert_eq!(masked(proxy), shown, "{proxy}");
        }
        assert_eq!(
            ConnectorValue::Hours(4).without_password(),
            ConnectorValue::Hours(4)
        );
    }

    proptest! {
        #[test]
        fn a_password_is_never_shown(scheme in "(https?://|//|)", user in "[a-z:]{0,8}", host in "[a-z.]{1,8}") {
            let shown = masked(&format!("{scheme}{user}HUNTER2://@{host}"));
            prop_assert!(!shown.contains("HUNTER2"), "{shown}");
            let end = format!("***@{host}");
            prop_assert!(shown.ends_with(&end), "{shown}");
        }
    }
}
