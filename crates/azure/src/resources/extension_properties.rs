//! Properties of extensions in Azure. All of them are texts; tags and rules are JSON in a text (docs/azure-api.md 1.2,
//! 1.4, 1.10).

use serde_json::{Value, json};
use serverprotection_core::server_protection::{
    field::Property,
    property::{PropertyValue, PropertyWrite, StoredProperty, StoredValue, Tags},
};

use super::integrity_rules;
use crate::body;

/// Reads a property.
pub(super) fn read(property: &Property, found: &Value) -> StoredProperty {
    let value = match property {
        Property::ExclusionTags => tags(found).map(StoredValue::Tags),
        Property::Rules => integrity_rules::read(found),
        Property::WorkspaceId | Property::Other(_) => match found {
            Value::Null => Some(StoredValue::Nothing),
            Value::String(text) => Some(StoredValue::Text(text.clone())),
            _ => None,
        },
    };
    let json = found.to_string();
    StoredProperty {
        value: value.unwrap_or_else(|| StoredValue::Unreadable(json.clone())),
        json,
    }
}

/// The property in the body of a write.
pub(super) fn written(write: &PropertyWrite) -> Value {
    let (value, stored) = match write {
        PropertyWrite::AsRead(stored) => return original(stored),
        PropertyWrite::Value { value, stored } => (value, stored),
    };
    match value {
        PropertyValue::Tags(tags) => {
            let list = tags
                .iter()
                .map(|(key, value)| json!({"key": key, "value": value}));
            Value::String(Value::Array(list.collect()).to_string())
        }
        PropertyValue::Rules(rules) => {
            let current = stored.as_ref().map(original);
            integrity_rules::written(current.as_ref(), &rules.monitored())
        }
        PropertyValue::ResourceId(text) | PropertyValue::Text(text) => Value::String(text.clone()),
    }
}

/// The value that [`read`] got, which it keeps as JSON.
fn original(stored: &StoredProperty) -> Value {
    serde_json::from_str(&stored.json).unwrap_or_default()
}

/// The tags in Azure's text, whose members are spelled `key` or `Key` (docs/azure-api.md 1.4). Absent and empty mean no
/// tags; `None` if the value is not a list of tags.
fn tags(found: &Value) -> Option<Tags> {
    let list = match body::inner_json(found)? {
        Value::Null => return Some(Tags::new()),
        list => list,
    };
    let member = |tag: &Value, name: &str| {
        let found = body::member(tag.as_object()?, name)?;
        found.as_str().map(str::to_owned)
    };
    list.as_array()?
        .iter()
        .map(|tag| {
            let key = member(tag, "key")?.to_lowercase();
            Some((key, member(tag, "value").unwrap_or_default()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::{collection, prelude::*, sample};

    use super::*;

    fn value(list: &[(String, String)]) -> PropertyValue {
        PropertyValue::Tags(list.iter().cloned().collect())
    }

    fn list(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect()
    }

    fn text(text: &str) -> StoredProperty {
        read(&Property::ExclusionTags, &Value::String(text.into()))
    }

    #[test]
    fn tags_are_read_in_every_spelling() {
        let desired = value(&list(&[("env", "lab"), ("Team", "x")]));
        for wire in [
            r#"[{"key":"env","value":"lab"},{"key":"Team","value":"x"}]"#,
            r#"[{"Key":"team","Value":"x"},{"Key":"ENV","Value":"lab"}]"#,
            r#" [ { "value" : "x", "key" : "Team" } , {"value":"lab","key":"env"} ] "#,
        ] {
            assert!(desired.matches(Some(&text(wire))), "{wire}");
        }
        let other_case = r#"[{"key":"env","value":"LAB"},{"key":"Team","value":"x"}]"#;
        for other in [other_case, "not json", "{}", "[1]"] {
            assert!(!desired.matches(Some(&text(other))), "{other}");
        }
    }

    #[test]
    fn no_tags_and_absent_are_the_same() {
        let none = value(&[]);
        for found in [json!(null), json!(""), json!(" "), json!("[]"), json!([])] {
            let stored = read(&Property::ExclusionTags, &found);
            assert!(none.matches(Some(&stored)), "{found}");
            assert_eq!(written(&none.write(Some(&stored))), json!("[]"));
        }
        assert!(none.matches(None));
    }

    #[test]
    fn a_value_of_another_shape_matches_no_text_and_is_sent_back() {
        let seven = PropertyValue::Text("7".into());
        for found in [json!(7), json!({"z": null, "a": [1, true]}), json!(null)] {
            let stored = read(&Property::Other("a".into()), &found);
            assert!(!seven.matches(Some(&stored)), "{found}");
            assert_eq!(written(&PropertyWrite::AsRead(stored)), found);
        }
        let stored = read(&Property::Other("a".into()), &json!("7"));
        assert!(seven.matches(Some(&stored)));
    }

    /// Tags as another client may have written them: any order of members, either spelling, any white space.
    fn spelled(tags: &[(String, String)], style: u8) -> String {
        let (key, value) = if style & 1 == 0 {
            ("key", "value")
        } else {
            ("Key", "Value")
        };
        let gap = if style & 2 == 0 { "" } else { " \n " };
        let tag = |(tag_key, tag_value): &(String, String)| {
            let first = format!("\"{key}\"{gap}:{gap}{}", json!(tag_key));
            let second = format!("\"{value}\":{gap}{}", json!(tag_value));
            if style & 4 == 0 {
                format!("{{{first},{gap}{second}}}")
            } else {
                format!("{{{second}{gap},{first}}}")
            }
        };
        let mut all: Vec<_> = tags.iter().map(tag).collect();
        if style & 8 != 0 {
            all.reverse();
        }
        format!("{gap}[{gap}{}{gap}]{gap}", all.join(","))
    }

    fn some_tags() -> impl Strategy<Value = Vec<(String, String)>> {
        let keys = sample::select(vec!["env", "Env", "team", "ü"]);
        collection::vec((keys.prop_map(str::to_owned), "[a-zA-Z\" ]{0,3}"), 0..4)
    }

    proptest! {
        #[test]
        fn tags_compare_as_a_set(expected in some_tags(), style in any::<u8>(), extra in "[a-z]{1,3}") {
            let desired = value(&expected);
            prop_assert!(desired.matches(Some(&text(&spelled(&expected, style)))));
            let sent = written(&desired.write(None));
            prop_assert!(desired.matches(Some(&read(&Property::ExclusionTags, &sent))));
            let mut more = expected;
            more.push(("other".into(), extra));
            prop_assert!(!desired.matches(Some(&text(&spelled(&more, style)))));
        }
    }
}
