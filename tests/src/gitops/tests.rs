//! The fast copy of kstatus and Flux's own agree about every shape of a status, lawful or not.

use super::*;

/// A condition with the generation of the object.
fn condition(kind: &str, status: &str, reason: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": "why", "observedGeneration": 3})
}

fn version(status: Value) -> Version {
    Version {
        kind: "SecurityConnector".into(),
        namespace: "team".into(),
        name: "aws".into(),
        uid: "1".into(),
        resource_version: "1".into(),
        generation: 3,
        suspended: false,
        finalizers: vec!["serverprotection.dev/azure".into()],
        deleting: false,
        deleted: false,
        status,
        at: "2026-01-01T00:00:59Z".parse().unwrap(),
        after_gap: false,
    }
}

/// Every combination of what the tools read.
fn all() -> Vec<Version> {
    let secondaries: [&[Value]; 7] = [
        &[],
        &[condition("Reconciling", "True", "Writing")],
        &[condition("Reconciling", "False", "Writing")],
        &[condition("Stalled", "True", "NotFound")],
        &[condition("Stalled", "False", "NotFound")],
        &[
            condition("Reconciling", "True", "Writing"),
            condition("Stalled", "True", "NotFound"),
        ],
        &[
            condition("Stalled", "True", "NotFound"),
            condition("Reconciling", "True", "Writing"),
        ],
    ];
    let mut versions = vec![version(Value::Null), version(json!({}))];
    for observed in [None, Some(-1), Some(2), Some(3), Some(4)] {
        for ready in [None, Some("True"), Some("False"), Some("Unknown")] {
            for secondary in secondaries {
                for first in [true, false] {
                    let ready = ready.map(|status| condition("Ready", status, "InSync"));
                    let mut conditions: Vec<Value> = secondary.to_vec();
                    let at = if first { 0 } else { conditions.len() };
                    conditions.splice(at..at, ready);
                    let mut status = json!({"conditions": conditions});
                    if let Some(observed) = observed {
                        status["observedGeneration"] = observed.into();
                    }
                    versions.push(version(status));
                }
            }
        }
    }
    let deleting = versions.clone().into_iter().map(|version| Version {
        deleting: true,
        ..version
    });
    let suspended = versions.clone().into_iter().map(|version| Version {
        suspended: true,
        ..version
    });
    let more: Vec<Version> = deleting.chain(suspended).collect();
    versions.extend(more);
    versions
}

#[tokio::test]
async fn our_copy_of_kstatus_agrees_with_flux() {
    let versions = all();
    let judgments = judgments(&versions).await.unwrap();
    for (version, judgment) in versions.iter().zip(&judgments) {
        assert_eq!(kstatus::kstatus_of(version), judgment.kstatus, "{version:?}");
    }
    for status in [
        Status::Current,
        Status::InProgress,
        Status::Failed,
        Status::Terminating,
    ] {
        assert!(
            judgments.iter().any(|judgment| judgment.kstatus == status),
            "{status:?}"
        );
    }
}

#[tokio::test]
async fn what_the_table_does_not_describe_is_reported() {
    let healthy = json!({"observedGeneration": 3, "conditions": [condition("Ready", "True", "InSync")]});
    let lawful = version(healthy.clone());
    assert_eq!(
        disagreements(std::slice::from_ref(&lawful)).await.unwrap(),
        Vec::<String>::new()
    );
    let judgment = judgments(&[lawful]).await.unwrap().remove(0);
    let expected = Judgment {
        situation: "in-sync".into(),
        kstatus: Status::Current,
        health: "Healthy".into(),
        message: "InSync: why".into(),
        problem: None,
    };
    assert_eq!(judgment, expected);

    let mut both = healthy.clone();
    both["conditions"] = json!([
        condition("Ready", "False", "Progressing"),
        condition("Reconciling", "True", "Writing"),
        condition("Stalled", "True", "NotFound"),
    ]);
    let mut reason = healthy;
    reason["conditions"] = json!([condition("Ready", "True", "Perfect")]);
    for status in [both, reason, json!({"observedGeneration": 3})] {
        let problems = disagreements(&[version(status)]).await.unwrap();
        assert!(
            problems.len() == 1 && problems[0].contains("no situation of the table"),
            "{problems:?}"
        );
    }
}
