use super::*;

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

/// The JSON inside the string that is sent.
fn sent(rules: &Rules, observed: Option<&Value>) -> Value {
    serde_json::from_str(rules.wire(observed).as_str().unwrap()).unwrap()
}

#[test]
fn the_recommended_set_is_complete() {
    let sent = sent(&Rules::Recommended, None);
    assert_eq!(sent.as_array().unwrap().len(), 1);
    assert_eq!(sent[0]["RuleId"], RULE_ID);
    let paths = |list: &str| -> Vec<_> {
        let entries = sent[0]["MonitoredEntities"][list].as_array().unwrap();
        entries
            .iter()
            .map(|entry| entry["Path"].as_str().unwrap())
            .collect()
    };
    let (windows, linux, keys) = (paths("WindowsFiles"), paths("LinuxFiles"), paths("Registries"));
    assert_eq!((windows.len(), linux.len(), keys.len()), (8, 18, 21));
    assert!(windows.contains(&r"\Windows\System32\userinit.exe"));
    assert!(linux.contains(&"/etc/*.conf"));
    let services = r"Microsoft\Windows\CurrentVersion\RunServicesOnce\";
    assert!(keys.contains(&format!(r"hklm\SOFTWARE\{services}").as_str()));
    assert!(!keys.contains(&format!(r"hklm\SOFTWARE\WOW6432Node\{services}").as_str()));
    assert!(keys.contains(&r"hklm\SOFTWARE\WOW6432Node\Microsoft\Cryptography\OID\"));
}

/// The page for users lists what is sent.
#[test]
fn the_page_lists_the_recommended_set() {
    let page = include_str!("../../../../docs/file-integrity.md");
    let set = Monitored::recommended();
    for path in set.windows_files.iter().chain(&set.linux_files) {
        assert!(page.contains(&format!("`{path}`")), "{path} is missing");
    }
    for (key, both_views) in RECOMMENDED_MICROSOFT_KEYS {
        let views = if both_views { "both" } else { "64-bit" };
        assert!(
            page.contains(&format!("| `{key}` | {views} |")),
            "{key} is missing"
        );
    }
    assert!(page.contains(RECOMMENDED_SECURITY_KEY));
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
        assert!(!Rules::Recommended.matches(nothing.as_ref()), "{nothing:?}");
        assert!(!is_stored(nothing.as_ref()), "{nothing:?}");
        assert_eq!(observed_value(nothing.as_ref()), ProtectionValue::Absent);
        assert_eq!(sent(&Rules::Recommended, nothing.as_ref())[0]["RuleId"], RULE_ID);
    }
    for stored in [
        string(r#"[{"RuleId":"a","MonitoredEntities":{"LinuxFiles":[{"Path":"/srv"}]}}]"#),
        string(r#"[{"RuleId":"a"}]"#),
        string("no JSON"),
        string(r#"{"Version": 2}"#),
        json!([{"RuleId": "a"}]),
        json!(7),
    ] {
        assert!(Rules::Recommended.matches(Some(&stored)), "{stored}");
        assert_eq!(
            Rules::Recommended.wire(Some(&stored)),
            stored,
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
        assert!(expected.matches(Some(&same)), "{same}");
        assert_eq!(expected.wire(Some(&same)), same, "sent as it was read");
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
        assert!(!expected.matches(Some(&other)), "{other}");
        let written = expected.wire(Some(&other));
        assert!(expected.matches(Some(&written)), "{written}");
    }
    assert!(!expected.matches(None));
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

#[test]
fn descriptions_are_short_and_differ() {
    let one = custom(&[], &["/etc/a"], &[]);
    let other = custom(&[], &["/etc/b"], &[]);
    let in_another_list = custom(&["/etc/a"], &[], &[]);
    assert_eq!(
        one.value().to_string(),
        "windowsFiles=0 linuxFiles=1 registryKeys=0 fingerprint=1cecd7bd"
    );
    assert_ne!(one.value(), other.value());
    assert_ne!(one.value(), in_another_list.value());
    assert_eq!(
        custom(&[r"\A"], &[], &[]).value(),
        custom(&[r"\a"], &[], &[]).value()
    );
    assert_eq!(observed_value(Some(&one.wire(None))), one.value());
    let many: Vec<_> = (0..200)
        .map(|number| format!("/{number}/{}", "x".repeat(500)))
        .collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let long = custom(&many, &many, &many);
    assert!(long.value().to_string().len() < 100);
    assert!(
        !long.value().to_string().contains(','),
        "approvals are separated by commas"
    );
    assert!(
        observed_value(Some(&string(&"x".repeat(100_000))))
            .to_string()
            .len()
            < 100
    );
}
