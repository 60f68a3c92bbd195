//! Output of machines in every format.

use serde_json::Value;
use serverprotection_core::machines::{ArcAgent, Verdict};

use super::*;

const NOW: &str = "2026-11-23T12:00:00Z";

pub(crate) fn machine(name: &str) -> Machine {
    Machine {
        id: format!(
            "/subscriptions/6f1c0d7e-0000-0000-0000-000000000001/resourceGroups/rg/providers/Microsoft.HybridCompute/machines/{name}"
        ),
        name: name.into(),
        subscription_id: "6f1c0d7e-0000-0000-0000-000000000001".into(),
        resource_group: "rg-servers".into(),
        kind: Kind::ArcMachine,
        cloud: "AWS".into(),
        instances: 1,
        os_type: "linux".into(),
        os_sku: "Ubuntu 22.04".into(),
        arc: Some(ArcAgent::default()),
        extensions: vec![MdeExtension {
            type_: "MDE.Linux".into(),
            version: "1.0.6.9".into(),
            state: "Failed".into(),
            ..MdeExtension::default()
        }],
        ..Machine::default()
    }
}

pub(crate) fn finding(verdict: Verdict) -> Finding {
    Finding {
        verdict,
        reason: "ERR_FAILED_DEPENDENCY".into(),
        message: "the package manager, \"apt\",\nfailed".into(),
        remedy: "reinstall it".into(),
        since: "2026-11-23T09:30:00Z".parse().ok(),
        until: None,
        exclusion: None,
        plan_off: None,
    }
}

fn written(format: Format, machines: &[Machine]) -> String {
    let mut rows = Rows::new(format, NOW.parse().unwrap());
    let mut out = Vec::new();
    rows.start(&mut out);
    for machine in machines {
        rows.machine(&mut out, machine, &finding(Verdict::Failed), "");
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn a_table_has_fixed_columns_and_truncates() {
    let long = "a-machine-with-a-name-that-is-much-too-long";
    let text = written(Format::Table, &[machine("web"), machine(long)]);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[1],
        "web                           AWS          Failed           ERR_FAILED_DEPENDENCY         2h     6f1c0d7e                  rg-servers"
    );
    let at = |line: &str, word: &str| line.split_once(word).map(|(before, _)| before.width());
    for (title, word) in [
        ("VERDICT", "Failed  "),
        ("SINCE", "2h"),
        ("RESOURCE-GROUP", "rg-"),
    ] {
        for line in &lines[1..] {
            assert_eq!(at(lines[0], title), at(line, word), "{line}");
        }
    }
    assert!(
        lines[2].starts_with("a-machine-with-a-name-that-…"),
        "{}",
        lines[2]
    );
}

#[test]
fn a_table_names_the_subscription() {
    let mut rows = Rows::new(Format::Table, NOW.parse().unwrap());
    let mut out = Vec::new();
    rows.machine(
        &mut out,
        &machine("web"),
        &finding(Verdict::Failed),
        "Contoso Production",
    );
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("  Contoso Production        rg-servers"), "{text}");
}

#[test]
fn wide_truncates_nothing_and_prints_one_line_per_machine() {
    let long = "a-machine-with-a-name-that-is-much-too-long";
    let text = written(Format::Wide, &[machine(long)]);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2);
    for word in [
        long,
        "Ubuntu 22.04",
        "1.0.6.9",
        "\"apt\", failed",
        "reinstall it",
        "machines/a-machine",
    ] {
        assert!(lines[1].contains(word), "{word}: {}", lines[1]);
    }
}

#[test]
fn texts_of_machines_control_no_terminal_and_no_spreadsheet() {
    let mut evil = machine("web");
    evil.name = "\u{1b}[31mred".into();
    evil.os_sku = "=cmd()".into();
    evil.os_type.clear();
    assert!(!written(Format::Wide, &[evil.clone()]).contains('\u{1b}'));
    assert!(written(Format::Csv, &[evil]).contains(",'=cmd(),"));
}

#[test]
fn json_is_one_document() {
    for machines in [vec![], vec![machine("a")], vec![machine("a"), machine("b")]] {
        let text = format!("{}]}}", written(Format::Json, &machines));
        let document: Value = serde_json::from_str(&text).unwrap();
        let items = document["items"].as_array().unwrap();
        assert_eq!(items.len(), machines.len());
        for item in items {
            assert_eq!(item["verdict"], "Failed");
            assert_eq!(item["environment"], "AWS");
            assert_eq!(item["since"], "2026-11-23T09:30:00Z");
            assert_eq!(item["until"], Value::Null);
            assert_eq!(item["extension"]["version"], "1.0.6.9");
        }
    }
}

#[test]
fn no_name_of_a_machine_controls_the_terminal() {
    let hostile = machine("web\u{1b}[2J\u{9b}1m\u{202e}\u{2028}x\ny");
    for format in [Format::Table, Format::Wide, Format::Json, Format::Csv] {
        let text = written(format, std::slice::from_ref(&hostile));
        let plain = written(format, &[machine("web")]);
        assert!(
            !text.replace('\n', "").contains(is_unsafe),
            "{format:?}: {text:?}"
        );
        assert_eq!(
            text.lines().count(),
            plain.lines().count(),
            "{format:?}: {text:?}"
        );
    }
}

#[test]
fn csv_survives_a_round_trip() {
    let text = written(Format::Csv, &[machine("a"), machine("b")]);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    assert_eq!(
        reader.headers().unwrap().iter().collect::<Vec<_>>(),
        RECORD.to_vec()
    );
    let records: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), 2);
    let at = RECORD.iter().position(|name| *name == "message").unwrap();
    // A record is one line.
    let message = finding(Verdict::Failed).message.replace('\n', " ");
    assert_eq!(&records[1][at], message);
    assert_eq!(text.lines().count(), 3);
}

#[test]
fn ages_have_one_unit() {
    let now: Timestamp = NOW.parse().unwrap();
    for (seconds, expected) in [
        (-5, "0s"),
        (90, "90s"),
        (600, "10m"),
        (7200, "2h"),
        (86400 * 30, "30d"),
    ] {
        let since = Timestamp::from_second(now.as_second() - seconds).unwrap();
        assert_eq!(age(since, now), expected);
    }
}
