//! Properties of extensions: what the spec demands, what Azure stores, and what is written. In Azure all of them are
//! texts, and some texts contain JSON (docs/azure-api.md 1.2, 1.10), which only `azure` reads and writes.

use std::collections::BTreeSet;

use super::{
    field::ProtectionValue,
    file_integrity::{Monitored, Rules},
};
use crate::{
    arm_id::same_id,
    message::{MAX_MESSAGE, shortened},
};

/// Keys and values of tags.
pub type Tags = BTreeSet<(String, String)>;

/// An expected property.
#[derive(Clone, Debug, PartialEq)]
pub enum PropertyValue {
    /// A set of tags. Their keys compare without case.
    Tags(Tags),
    /// A resource id: compares without case.
    ResourceId(String),
    /// The rules of file integrity monitoring.
    Rules(Rules),
    /// A plain text.
    Text(String),
}

/// A property as Azure stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredProperty {
    /// What it means.
    pub value: StoredValue,
    /// The JSON that it was read from, so that `azure` can send it back. Nothing else looks at it.
    pub json: String,
}

/// The meaning of a stored property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredValue {
    /// The same as an absent property.
    Nothing,
    /// Tags, with their keys in lowercase.
    Tags(Tags),
    /// Rules of file integrity monitoring.
    Rules(Monitored),
    /// A text.
    Text(String),
    /// Another shape than the property should have, as a text for users.
    Unreadable(String),
}

/// A property in a plan write.
#[derive(Clone, Debug, PartialEq)]
pub enum PropertyWrite {
    /// Sent back as it was read.
    AsRead(StoredProperty),
    /// The spec's value.
    Value {
        /// The value.
        value: PropertyValue,
        /// What Azure stores. Rules keep its parts that the spec does not manage.
        stored: Option<StoredProperty>,
    },
}

impl PropertyValue {
    /// Whether Azure's value means the same as this one.
    pub fn matches(&self, stored: Option<&StoredProperty>) -> bool {
        let stored = stored.map_or(&StoredValue::Nothing, |stored| &stored.value);
        match (self, stored) {
            (Self::Tags(tags), StoredValue::Nothing) => tags.is_empty(),
            (Self::Tags(tags), StoredValue::Tags(found)) => *found == folded(tags),
            (Self::ResourceId(id), StoredValue::Text(found)) => same_id(found, id),
            (Self::Text(text), StoredValue::Text(found)) => found == text,
            (Self::Rules(rules), StoredValue::Rules(found)) => rules.are_met_by(found),
            // The preset matches everything that is stored, readable or not.
            (Self::Rules(rules), stored) => *stored != StoredValue::Nothing && *rules == Rules::Recommended,
            _ => false,
        }
    }

    /// The value in a plan write. Rules that match are sent as they were read.
    pub fn write(&self, stored: Option<&StoredProperty>) -> PropertyWrite {
        match (self, stored) {
            (Self::Rules(_), Some(found)) if self.matches(stored) => PropertyWrite::AsRead(found.clone()),
            _ => PropertyWrite::Value {
                value: self.clone(),
                stored: stored.cloned(),
            },
        }
    }

    /// The value as users see it.
    pub fn value(&self) -> ProtectionValue {
        match self {
            Self::Tags(tags) => ProtectionValue::Tags(tags.clone()),
            Self::Rules(rules) => rules.value(),
            Self::ResourceId(text) | Self::Text(text) => ProtectionValue::Text(text.clone()),
        }
    }

    /// Azure's value as users see it. It is shortened, because values of other clients may have any length.
    pub fn observed_value(&self, stored: Option<&StoredProperty>) -> ProtectionValue {
        let value = match (self, stored.map(|stored| &stored.value)) {
            (_, None | Some(StoredValue::Nothing)) => ProtectionValue::Absent,
            (Self::Rules(_), Some(StoredValue::Rules(found))) => ProtectionValue::Rules(found.digest()),
            (Self::Rules(_), Some(_)) => ProtectionValue::UnreadableRules,
            (_, Some(StoredValue::Rules(found))) => ProtectionValue::Rules(found.digest()),
            (_, Some(StoredValue::Tags(found))) => ProtectionValue::Tags(found.clone()),
            (_, Some(StoredValue::Text(text) | StoredValue::Unreadable(text))) => {
                ProtectionValue::Text(text.clone())
            }
        };
        let text = value.to_string();
        match shortened(&text, MAX_MESSAGE) {
            short if short == text => value,
            short => ProtectionValue::Text(short),
        }
    }
}

impl StoredProperty {
    /// Whether it has a value.
    pub fn is_stored(&self) -> bool {
        match &self.value {
            StoredValue::Nothing => false,
            StoredValue::Text(text) => !text.is_empty(),
            StoredValue::Tags(_) | StoredValue::Rules(_) | StoredValue::Unreadable(_) => true,
        }
    }
}

/// In Azure, keys of tags compare without case, values with case.
pub fn folded(tags: &Tags) -> Tags {
    tags.iter()
        .map(|(key, value)| (key.to_lowercase(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(list: &[(&str, &str)]) -> Tags {
        list.iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect()
    }

    fn stored(value: StoredValue) -> StoredProperty {
        StoredProperty {
            value,
            json: String::new(),
        }
    }

    #[test]
    fn keys_of_tags_compare_without_case_and_values_with_case() {
        let desired = PropertyValue::Tags(tags(&[("env", "lab"), ("Team", "x")]));
        let found = |list| stored(StoredValue::Tags(tags(list)));
        assert!(desired.matches(Some(&found(&[("team", "x"), ("env", "lab")]))));
        for other in [
            found(&[("env", "LAB"), ("team", "x")]),
            found(&[("env", "lab")]),
            stored(StoredValue::Unreadable("\"not json\"".into())),
        ] {
            assert!(!desired.matches(Some(&other)), "{other:?}");
        }
    }

    #[test]
    fn no_tags_and_absent_are_the_same() {
        let desired = PropertyValue::Tags(tags(&[]));
        assert!(desired.matches(None));
        assert!(desired.matches(Some(&stored(StoredValue::Tags(tags(&[]))))));
    }

    #[test]
    fn what_others_wrote_is_shown_shortened() {
        for property in [
            PropertyValue::Tags(tags(&[])),
            PropertyValue::Text("a".into()),
            PropertyValue::ResourceId("a".into()),
            PropertyValue::Rules(Rules::Recommended),
        ] {
            for long in [StoredValue::Text, StoredValue::Unreadable] {
                let long = stored(long("x".repeat(100_000)));
                assert!(property.observed_value(Some(&long)).to_string().chars().count() <= 1024);
            }
        }
    }

    #[test]
    fn the_preset_matches_all_that_is_stored_and_custom_rules_only_what_is_read() {
        let custom = PropertyValue::Rules(Rules::Custom(Monitored {
            linux_files: BTreeSet::from(["/etc/a".to_owned()]),
            ..Monitored::default()
        }));
        let preset = PropertyValue::Rules(Rules::Recommended);
        for (found, by_preset) in [
            (None, false),
            (Some(StoredValue::Nothing), false),
            (Some(StoredValue::Rules(Monitored::default())), true),
            (Some(StoredValue::Unreadable("7".into())), true),
        ] {
            let found = found.map(stored);
            assert_eq!(preset.matches(found.as_ref()), by_preset, "{found:?}");
            assert!(!custom.matches(found.as_ref()), "{found:?}");
            let kept = matches!(preset.write(found.as_ref()), PropertyWrite::AsRead(_));
            assert_eq!(kept, by_preset, "{found:?}");
        }
    }
}
