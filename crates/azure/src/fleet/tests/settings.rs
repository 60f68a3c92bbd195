//! Objects that share a subscription: it is read once, and its machines are judged by the spec of each object.

use serverprotection_core::machines::Exclusions;

use super::*;

/// Two objects for subscription a: one excludes `bad` and waits long, the other does neither.
fn two() -> Vec<Target> {
    let mut exclusions = Exclusions::default();
    exclusions.rule("all", [], &[], &[id("a", "bad")]);
    let lenient = Target {
        object: "/lenient".into(),
        exclusions: Arc::new(exclusions),
        grace: SignedDuration::from_hours(720),
        ..targets(&["a"]).remove(0)
    };
    let strict = Target {
        object: "/strict".into(),
        ..targets(&["a"]).remove(0)
    };
    vec![lenient, strict]
}

fn stub() -> Stub {
    let created = Timestamp::now()
        .checked_sub(SignedDuration::from_hours(48))
        .unwrap();
    let mut stub = Stub::new(&["a"])
        .vm("a", "good", "Succeeded")
        .vm("a", "bad", "Failed")
        .vm("a", "new", "");
    stub.rows[2]["created"] = created.to_string().into();
    stub.resource(&id("a", "bad"), 200, json!({ "properties": {}, "resources": [] }))
        .resource(&id("a", "new"), 200, json!({ "properties": {}, "resources": [] }))
}

/// The verdicts with at least one machine.
fn verdicts(recording: &Recording, object: &str) -> String {
    let reading = recording.reading(&format!("a{object}"));
    let tally = reading.summary.tally;
    let all = Verdict::ALL
        .into_iter()
        .map(|verdict| (verdict.as_str(), tally.verdict(verdict)));
    let some: Vec<_> = all
        .filter(|(_, machines)| *machines > 0)
        .map(|(name, machines)| format!("{name} {machines}"))
        .collect();
    some.join(", ")
}

#[tokio::test]
async fn each_object_is_judged_by_its_own_spec_in_any_order() {
    for reversed in [false, true] {
        let azure = Azure::of(stub()).await;
        let mut all = two();
        if reversed {
            all.reverse();
        }
        let recording = Recording::default();
        azure.scanner.scan(&azure.arm, &all, &recording).await;
        assert_eq!(
            verdicts(&recording, "/lenient"),
            "Protected 1, Provisioning 1, Excluded 1"
        );
        assert_eq!(verdicts(&recording, "/strict"), "Protected 1, Missing 2");
    }
}

#[tokio::test]
async fn two_objects_cost_as_many_requests_as_one() {
    let requests = async |targets: &[Target]| {
        let azure = Azure::of(stub()).await;
        let report = azure
            .scanner
            .scan(&azure.arm, targets, &Recording::default())
            .await;
        let requests = azure.stub.lock().unwrap().requests.len();
        (report.queries, report.confirmations, requests)
    };
    let (strict, both) = (requests(&two()[1..]).await, requests(&two()).await);
    assert_eq!(both, strict);
}

#[tokio::test]
async fn a_lost_row_counts_only_for_the_object_that_does_not_exclude_the_machine() {
    let azure = Azure::of(stub()).await;
    azure
        .scanner
        .scan(&azure.arm, &two(), &Recording::default())
        .await;
    azure.stub.lock().unwrap().rows.retain(|row| row["name"] != "bad");
    let recording = Recording::default();
    let report = azure.scanner.scan(&azure.arm, &two(), &recording).await;
    assert_eq!(verdicts(&recording, "/lenient"), "Protected 1, Provisioning 1");
    assert!(verdicts(&recording, "/strict").contains("Unknown 1"));
    assert!(report.confirmations >= 1, "{report:?}");
}
