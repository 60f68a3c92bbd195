//! Valid and invalid sequences: a checker that never fails checks nothing.

use super::{
    Status::{Current, Failed, InProgress},
    *,
};
use serde_json::json;

/// A condition whose last transition was `age` seconds after the beginning.
fn condition(kind: &str, status: &str, generation: i64, age: u32) -> Value {
    let time = format!("2026-01-01T00:00:{age:02}Z");
    json!({"type": kind, "status": status, "reason": "InSync", "message": "",
        "observedGeneration": generation, "lastTransitionTime": time})
}

fn version(generation: i64, observed: i64, conditions: Vec<Value>) -> Version {
    let mut status = json!({"observedGeneration": observed});
    if !conditions.is_empty() {
        status["conditions"] = conditions.into();
    }
    Version {
        kind: "ServerProtection".into(),
        namespace: "team".into(),
        name: "prod".into(),
        uid: "1".into(),
        resource_version: "1".into(),
        generation,
        suspended: false,
        finalizers: Vec::new(),
        deleting: false,
        deleted: false,
        status,
        at: "2026-01-01T00:00:59Z".parse().unwrap(),
        after_gap: false,
    }
}

/// From creation to Ready, an edit, Stalled, and Ready again.
fn good() -> Vec<Version> {
    vec![
        version(1, -1, vec![]),
        version(
            1,
            1,
            vec![
                condition("Ready", "Unknown", 1, 1),
                condition("Reconciling", "True", 1, 1),
            ],
        ),
        version(1, 1, vec![condition("Ready", "True", 1, 5)]),
        version(2, 1, vec![condition("Ready", "True", 1, 5)]), // the user's edit, not observed yet
        version(
            2,
            2,
            vec![
                condition("Ready", "False", 2, 9),
                condition("Stalled", "True", 2, 9),
            ],
        ),
        version(
            2,
            2,
            vec![
                condition("Ready", "True", 2, 20),
                condition("Drifted", "False", 2, 20),
            ],
        ),
    ]
}

#[test]
fn a_good_sequence_violates_no_rule() {
    assert_eq!(judge(&good()), []);
    let kinds: Vec<Status> = good().iter().map(kstatus_of).collect();
    assert_eq!(
        kinds,
        [InProgress, InProgress, Current, InProgress, Failed, Current]
    );
}

#[test]
fn kstatus_as_coded() {
    assert_eq!(
        kstatus(&json!({"metadata": {"generation": 1}})),
        Status::Current,
        "no status at all"
    );
    let status = json!({"observedGeneration": -1});
    assert_eq!(
        kstatus(&json!({"metadata": {"generation": 1}, "status": status})),
        Status::InProgress
    );
    let meta = json!({"generation": 1, "deletionTimestamp": "2026-01-01T00:00:00Z"});
    assert_eq!(
        kstatus(&json!({"metadata": meta, "status": status})),
        Status::Terminating
    );
    // The first of the two in the list decides.
    let both = vec![
        condition("Stalled", "True", 1, 1),
        condition("Reconciling", "True", 1, 1),
    ];
    assert_eq!(kstatus_of(&version(1, 1, both.clone())), Status::Failed);
    assert_eq!(
        kstatus_of(&version(1, 1, both.into_iter().rev().collect())),
        Status::InProgress
    );
    assert_eq!(
        kstatus_of(&version(1, 1, vec![condition("Ready", "Unknown", 1, 1)])),
        Status::InProgress
    );
}

/// An edit that makes a valid version invalid, and a part of the expected breach.
type Spoiler = (&'static str, fn(&mut Version));

#[test]
fn every_rule_about_one_version_can_fail() {
    let spoilers: [Spoiler; 14] = [
        ("observedGeneration is missing", |v| {
            drop(v.status.as_object_mut().unwrap().remove("observedGeneration"));
        }),
        ("ahead of generation", |v| {
            v.status["observedGeneration"] = 3.into();
        }),
        ("Ready is missing", |v| {
            v.status["conditions"][0]["type"] = "Happy".into();
        }),
        ("both present", |v| {
            v.status["conditions"] = json!([
                condition("Ready", "False", 1, 1),
                condition("Stalled", "True", 1, 1),
                condition("Reconciling", "True", 1, 1)
            ]);
        }),
        ("absent unless", |v| {
            add(v, condition("Reconciling", "False", 1, 1));
        }),
        ("Ready is True together with Stalled", |v| {
            add(v, condition("Stalled", "True", 1, 1));
        }),
        ("Ready is True together with Reconciling", |v| {
            add(v, condition("Reconciling", "True", 1, 1));
        }),
        ("kstatus computes Current", |v| v.status["conditions"] = json!([])),
        ("twice", |v| add(v, condition("Ready", "True", 1, 1))),
        ("not CamelCase", |v| {
            v.status["conditions"][0]["reason"] = "in_sync".into();
        }),
        ("has the status", |v| {
            v.status["conditions"][0]["status"] = "Maybe".into();
        }),
        ("no lastTransitionTime", |v| {
            v.status["conditions"][0]["lastTransitionTime"] = Value::Null;
        }),
        ("has no observedGeneration", |v| {
            v.status["conditions"][0]["observedGeneration"] = Value::Null;
        }),
        ("describes generation 0", |v| {
            v.status["conditions"][0]["observedGeneration"] = 0.into();
        }),
    ];
    for (words, spoil) in spoilers {
        let before = version(1, 1, vec![condition("Ready", "True", 1, 1)]);
        let mut after = before.clone();
        spoil(&mut after);
        let found = judge(&[before, after]);
        assert!(
            found.iter().any(|b| b.rule.contains(words)),
            "{words:?} not found in {found:?}"
        );
    }
}

fn add(version: &mut Version, condition: Value) {
    version.status["conditions"]
        .as_array_mut()
        .unwrap()
        .push(condition);
}

#[test]
fn observed_generation_never_goes_back() {
    let mut versions = vec![
        version(2, 2, vec![condition("Ready", "True", 2, 1)]),
        version(2, 1, vec![condition("Ready", "True", 1, 1)]),
    ];
    assert!(judge(&versions)[0].rule.contains("went back"));
    versions[1].after_gap = true;
    assert!(
        judge(&versions)[0].rule.contains("went back"),
        "not even over a gap"
    );
    versions[1].uid = "2".into();
    assert_eq!(judge(&versions), [], "another object of the same name");
}

#[test]
fn transition_times_change_with_the_status_only() {
    let ready = |status: &str, age| version(1, 1, vec![condition("Ready", status, 1, age)]);
    let rules = |a: Version, b: Version| {
        judge(&[a, b])
            .into_iter()
            .map(|b| b.rule)
            .collect::<Vec<_>>()
            .join("; ")
    };
    assert!(rules(ready("True", 1), ready("True", 2)).contains("without a change of status"));
    assert!(rules(ready("False", 1), ready("True", 1)).contains("stayed"));
    assert!(rules(ready("False", 9), ready("True", 1)).contains("went back"));
    assert_eq!(rules(ready("False", 1), ready("True", 2)), "");

    let mut at_once = ready("True", 58);
    at_once.at = "2026-01-01T00:00:59.5Z".parse().unwrap();
    assert_eq!(rules(ready("False", 58), at_once), "", "twice within one second");
    let mut after_gap = ready("True", 2);
    after_gap.after_gap = true;
    assert_eq!(
        rules(ready("True", 1), after_gap),
        "",
        "it may have changed twice in the gap"
    );
}
