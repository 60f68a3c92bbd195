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

#[test]
fn the_recommended_set_is_complete() {
    let set = Monitored::recommended();
    let counts = PathList::ALL.map(|list| set.paths(list).len());
    assert_eq!(counts, [8, 18, 21]);
    assert!(set.windows_files.contains(r"\Windows\System32\userinit.exe"));
    assert!(set.linux_files.contains("/etc/*.conf"));
    let keys = &set.registry_keys;
    let services = r"Microsoft\Windows\CurrentVersion\RunServicesOnce\";
    assert!(keys.contains(&format!(r"hklm\SOFTWARE\{services}")));
    assert!(!keys.contains(&format!(r"hklm\SOFTWARE\WOW6432Node\{services}")));
    assert!(keys.contains(r"hklm\SOFTWARE\WOW6432Node\Microsoft\Cryptography\OID\"));
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
fn custom_rules_compare_as_sets() {
    let met = |expected: &Rules, found: &Rules| expected.are_met_by(&found.monitored());
    let expected = custom(
        &[r"\Windows\win.ini"],
        &["/etc/a", "/etc/b"],
        &[r"hklm\SOFTWARE\X\"],
    );
    let same = custom(
        &[r"\WINDOWS\WIN.INI"],
        &["/etc/b", "/etc/a"],
        &[r"HKLM\Software\x\"],
    );
    assert!(met(&expected, &same));
    for other in [
        // Linux paths differ by case.
        custom(
            &[r"\Windows\win.ini"],
            &["/etc/A", "/etc/b"],
            &[r"hklm\SOFTWARE\X\"],
        ),
        // One path is missing, or is in the wrong list.
        custom(&[r"\Windows\win.ini"], &["/etc/a"], &[r"hklm\SOFTWARE\X\"]),
        custom(
            &[],
            &["/etc/a", "/etc/b", r"\Windows\win.ini"],
            &[r"hklm\SOFTWARE\X\"],
        ),
        custom(&[], &[], &[]),
    ] {
        assert!(!met(&expected, &other), "{other:?}");
        assert!(met(&Rules::Recommended, &other));
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
}
