//! Rules as they are read and sent.

use proptest::{collection, prelude::*, sample};
use serverprotection_api::{CustomFileIntegrityRules, FileIntegrityRules};
use serverprotection_core::server_protection::{
    field::Property,
    file_integrity::Rules,
    property::{PropertyValue, StoredProperty},
};

use super::*;
use crate::resources::extension_properties;

fn stored(found: &Value) -> StoredProperty {
    extension_properties::read(&Property::Rules, found)
}

fn matches(rules: &Rules, observed: Option<&Value>) -> bool {
    let stored = observed.map(stored);
    PropertyValue::Rules(rules.clone()).matches(stored.as_ref())
}

/// The value that is sent while Azure has this one.
fn wire(rules: &Rules, observed: Option<&Value>) -> Value {
    let stored = observed.map(stored);
    let write = PropertyValue::Rules(rules.clone()).write(stored.as_ref());
    extension_properties::written(&write)
}

/// The JSON inside the string that is sent.
fn sent(rules: &Rules, observed: Option<&Value>) -> Value {
    serde_json::from_str(wire(rules, observed).as_str().unwrap()).unwrap()
}

fn custom(windows_files: &[&str], linux_files: &[&str], registry_keys: &[&str]) -> Rules {
    let list = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
    Rules::of(Some(&FileIntegrityRules {
        preset: None,
        custom: Some(CustomFileIntegrityRules {
            windows_files: list(windows_files),
            linux_files: list(linux_files),
            registry_keys: list(registry_keys),
        }),
    }))
}

fn string(text: &str) -> Value {
    Value::String(text.into())
}

#[test]
fn the_recommended_set_is_one_rule() {
    let sent = sent(&Rules::Recommended, None);
    assert_eq!(sent.as_array().unwrap().len(), 1);
    assert_eq!(sent[0]["RuleId"], RULE_ID);
    let count = |list: &str| sent[0]["MonitoredEntities"][list].as_array().unwrap().len();
    assert_eq!(
        ["WindowsFiles", "LinuxFiles", "Registries"].map(count),
        [8, 18, 21]
    );
}

#[test]
fn the_preset_is_written_only_where_azure_stores_nothing() {
    for nothing in [
        None,
        Some(Value::Null),
        Some(string("")),
        Some(string(" \n")),
        Some(string("[]")),
        Some(string(" [ ] ")),
        Some(string("null")),
        Some(json!([])),
    ] {
        assert!(!matches(&Rules::Recommended, nothing.as_ref()), "{nothing:?}");
        assert!(nothing.as_ref().is_none_or(|found| !stored(found).is_stored()));
        assert_eq!(sent(&Rules::Recommended, nothing.as_ref())[0]["RuleId"], RULE_ID);
    }
    for found in [
        string(r#"[{"RuleId":"a","MonitoredEntities":{"LinuxFiles":[{"Path":"/srv"}]}}]"#),
        string(r#"[{"RuleId":"a"}]"#),
        string("no JSON"),
        string(r#"{"Version": 2}"#),
        json!([{"RuleId": "a"}]),
        json!(7),
    ] {
        assert!(matches(&Rules::Recommended, Some(&found)), "{found}");
        assert_eq!(
            wire(&Rules::Recommended, Some(&found)),
            found,
            "sent as it was read"
        );
    }
}

#[test]
fn custom_rules_compare_as_sets() {
    let expected = custom(
        &[r"\Windows\win.ini"],
        &["/etc/a", "/etc/b"],
        &[r"hklm\SOFTWARE\X\"],
    );
    for same in [
        // Another id, order and white space, and another case if case has no meaning.
        r#" [ {"MonitoredEntities":{"Registries":[{"Path":"HKLM\\Software\\x\\"}],
            "LinuxFiles":[{"Path":"/etc/b"},{"Path":"/etc/a"}],"WindowsFiles":[{"Path":"\\WINDOWS\\WIN.INI"}]},"RuleId":"other"} ]"#,
        // Several rules count together.
        r#"[{"RuleId":"1","MonitoredEntities":{"LinuxFiles":[{"Path":"/etc/a"},{"Path":"/etc/b"}]}},
            {"RuleId":"2","MonitoredEntities":{"windowsFiles":[{"path":"\\Windows\\win.ini"}],"Registries":[{"Path":"hklm\\SOFTWARE\\X\\"}]}}]"#,
    ] {
        let same = string(same);
        assert!(matches(&expected, Some(&same)), "{same}");
        assert_eq!(wire(&expected, Some(&same)), same, "sent as it was read");
    }
    for other in [
        // Linux paths differ by case.
        r#"[{"MonitoredEntities":{"WindowsFiles":[{"Path":"\\Windows\\win.ini"}],"LinuxFiles":[{"Path":"/etc/A"},{"Path":"/etc/b"}],"Registries":[{"Path":"hklm\\SOFTWARE\\X\\"}]}}]"#,
        // One path is missing, or is in the wrong list.
        r#"[{"MonitoredEntities":{"WindowsFiles":[{"Path":"\\Windows\\win.ini"}],"LinuxFiles":[{"Path":"/etc/a"}],"Registries":[{"Path":"hklm\\SOFTWARE\\X\\"}]}}]"#,
        r#"[{"MonitoredEntities":{"LinuxFiles":[{"Path":"/etc/a"},{"Path":"/etc/b"},{"Path":"\\Windows\\win.ini"}],"Registries":[{"Path":"hklm\\SOFTWARE\\X\\"}]}}]"#,
        r#"[{"MonitoredEntities":{"LinuxFiles":["/etc/a"]}}]"#,
        r#"[{"MonitoredEntities":[]}]"#,
        r#"["rule"]"#,
        "no JSON",
        "",
        "[]",
    ] {
        let other = string(other);
        assert!(!matches(&expected, Some(&other)), "{other}");
        let written = wire(&expected, Some(&other));
        assert!(matches(&expected, Some(&written)), "{written}");
    }
    assert!(!matches(&expected, None));
}

#[test]
fn unknown_members_of_a_rule_are_kept() {
    let observed = string(
        r#"[{"RuleId":"mine","Name":"x","MonitoredEntities":{"MacFiles":[{"Path":"/m"}],
            "WindowsFiles":[{"Path":"\\A","Recursive":true},{"Path":"\\B"}]}},{"RuleId":"second"}]"#,
    );
    assert_eq!(
        sent(&custom(&[r"\a", r"\c"], &[], &[]), Some(&observed)),
        json!([{"RuleId": "mine", "Name": "x", "MonitoredEntities": {"MacFiles": [{"Path": "/m"}],
            "WindowsFiles": [{"Path": r"\A", "Recursive": true}, {"Path": r"\c"}], "LinuxFiles": [], "Registries": []}}])
    );
    for without_id in [
        r#"[{"ruleId":""}]"#,
        r#"[{"RuleId":null}]"#,
        r#"["rule"]"#,
        "no JSON",
    ] {
        let sent = sent(&custom(&[], &["/a"], &[]), Some(&string(without_id)));
        let rule = sent[0].as_object().unwrap();
        assert_eq!(member(rule, "RuleId").unwrap(), RULE_ID, "{without_id}");
        assert_eq!(rule.len(), 2, "no member twice: {rule:?}");
    }
}

/// Rules with at least one path, some of which differ by case only.
fn custom_rules() -> impl Strategy<Value = CustomFileIntegrityRules> {
    let list = |paths: &'static [&'static str]| {
        let set = collection::btree_set(sample::select(paths), 0..3);
        set.prop_map(|paths| paths.into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    let lists = (
        list(&[r"\A", r"\a", r"C:\Ü.txt"]),
        list(&["/a", "/A", "/etc/*.conf"]),
        list(&[r"hklm\A\", r"HKLM\a\"]),
    );
    let some = lists.prop_filter("at least one path", |(windows, linux, keys)| {
        !(windows.is_empty() && linux.is_empty() && keys.is_empty())
    });
    some.prop_map(
        |(windows_files, linux_files, registry_keys)| CustomFileIntegrityRules {
            windows_files,
            linux_files,
            registry_keys,
        },
    )
}

/// Rules as another client may have written them: one rule or three, in any order, and in any case if case has no
/// meaning.
fn spelled_rules(rules: &CustomFileIntegrityRules, style: u8) -> Value {
    let path = if style & 1 == 0 { "Path" } else { "path" };
    let list = |paths: &[String], ignore_case: bool| -> Value {
        let spelled = paths.iter().map(|path| match style & 2 {
            2 if ignore_case => path.to_uppercase(),
            _ => path.clone(),
        });
        let mut all: Vec<_> = spelled.map(|text| json!({ path: text, "Kept": 1 })).collect();
        if style & 4 != 0 {
            all.reverse();
        }
        Value::Array(all)
    };
    let mut entities = [
        json!({"WindowsFiles": list(&rules.windows_files, true)}),
        json!({"LinuxFiles": list(&rules.linux_files, false), "Registries": null}),
        json!({"Registries": list(&rules.registry_keys, true)}),
    ];
    if style & 8 != 0 {
        let [windows, linux, keys] = &entities;
        entities[0] = json!({"WindowsFiles": windows["WindowsFiles"], "LinuxFiles": linux["LinuxFiles"],
            "Registries": keys["Registries"]});
        entities[1] = Value::Null;
        entities[2] = json!({});
    }
    let all: Vec<_> = entities
        .iter()
        .enumerate()
        .map(|(number, entities)| json!({"RuleId": number.to_string(), "MonitoredEntities": entities}))
        .collect();
    let all = Value::Array(all);
    if style & 16 == 0 {
        Value::String(all.to_string())
    } else {
        all
    }
}

/// Any value that may be stored as rules.
fn stored_rules() -> impl Strategy<Value = Value> {
    let spelled = (custom_rules(), any::<u8>()).prop_map(|(rules, style)| spelled_rules(&rules, style));
    let odd = sample::select(vec![
        json!(null),
        json!(""),
        json!("[]"),
        json!([]),
        json!("no JSON"),
        json!("{}"),
        json!("[1]"),
        json!("[{\"RuleId\":\"1\"}]"),
        json!("[{\"MonitoredEntities\":{\"LinuxFiles\":[\"/a\"]}}]"),
    ]);
    prop_oneof![spelled, odd]
}

proptest! {
    /// Rules compare as sets of paths, in any spelling. A write repairs the difference, and the preset matches everything
    /// that is stored.
    #[test]
    fn rules_compare_as_sets(expected in custom_rules(), other in stored_rules(), style in any::<u8>()) {
        let same = spelled_rules(&expected, style);
        let rules = Rules::of(Some(&FileIntegrityRules { preset: None, custom: Some(expected) }));
        prop_assert!(matches(&rules, Some(&same)), "{}", same);
        prop_assert_eq!(wire(&rules, Some(&same)), same);
        let repaired = wire(&rules, Some(&other));
        prop_assert!(matches(&rules, Some(&repaired)), "{}", repaired);
        prop_assert!(matches(&rules, Some(&wire(&rules, None))));
        let kept = wire(&Rules::Recommended, Some(&other));
        prop_assert!(matches(&Rules::Recommended, Some(&kept)));
        prop_assert_eq!(kept == other, stored(&other).is_stored());
    }
}
