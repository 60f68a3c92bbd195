//! The condition `MachinesProtected` and `status.machines` as machines appear, fail, are repaired, disconnect or
//! become unreadable, and as scans fail.

use std::time::Duration;

use serverprotection_api::{MachineExclusion, Tier};

use super::{Object, failure, observed, protected};
use crate::{
    azure_error::ErrorClass,
    machines::{
        Exclusions, Finding, Kind, Machine, Summary, Verdict,
        reading::{Access, Scans, SubscriptionReading},
    },
};

fn finding(verdict: Verdict) -> Finding {
    Finding {
        verdict,
        reason: "Because".into(),
        message: "of a cause".into(),
        remedy: "fix it".into(),
        since: None,
        until: None,
        exclusion: (verdict == Verdict::Excluded).then_some(0),
        plan_off: None,
    }
}

fn scanned(object: &Object, verdicts: &[(Verdict, u32)]) -> SubscriptionReading {
    let mut summary = Summary::new(&Exclusions::of(&object.spec.machines));
    for (verdict, machines) in verdicts {
        for at in 0..*machines {
            let machine = Machine {
                id: format!("/m/{verdict}-{at:03}"),
                name: format!("{verdict}-{at:03}"),
                kind: Kind::ArcMachine,
                cloud: if at % 2 == 0 { "AWS".into() } else { String::new() },
                instances: 1,
                ..Machine::default()
            };
            summary.add(&machine, &finding(*verdict));
        }
    }
    SubscriptionReading {
        summary,
        access: Access::Sufficient,
        tier: Some("P2".into()),
        at: object.now,
    }
}

impl Object {
    fn scan(&mut self, verdicts: &[(Verdict, u32)]) -> &Self {
        let reading = scanned(self, verdicts);
        self.on_event(Ok(reading))
    }

    fn scan_fails(&mut self) -> &Self {
        self.on_event(Err(failure(
            ErrorClass::Transient,
            "ConnectFailed",
            "POST resources",
        )))
    }

    fn on_event(&mut self, result: Result<SubscriptionReading, crate::azure_error::AzureError>) -> &Self {
        let now = self.now;
        self.scans.get_or_insert_with(Scans::default).add(result, now);
        let mut actual = protected();
        actual.plan = super::plan(Tier::P2);
        self.observe(&observed(&actual));
        self
    }

    fn machines(&self) -> &serverprotection_api::MachinesStatus {
        self.status.machines.as_ref().unwrap()
    }
}

#[test]
fn the_threshold_is_the_minimum_of_the_spec() {
    use Verdict::{Failed, Missing, PoweredOff, Protected, Provisioning};
    for (minimum, verdicts, answer, reason, summary) in [
        (100, vec![(Protected, 8)], "True", "Protected", "8/8"),
        (
            100,
            vec![(Protected, 8), (PoweredOff, 3)],
            "True",
            "Protected",
            "8/8",
        ),
        (
            100,
            vec![(Protected, 199), (Failed, 1)],
            "False",
            "BelowMinimum",
            "199/200",
        ),
        (
            99,
            vec![(Protected, 199), (Failed, 1)],
            "True",
            "Protected",
            "199/200",
        ),
        (
            90,
            vec![(Protected, 9), (Missing, 1)],
            "True",
            "Protected",
            "9/10",
        ),
        (
            91,
            vec![(Protected, 9), (Missing, 1)],
            "False",
            "BelowMinimum",
            "9/10",
        ),
        (
            100,
            vec![(Protected, 9), (Provisioning, 1)],
            "False",
            "Provisioning",
            "9/10",
        ),
        (1, vec![(Missing, 10)], "False", "BelowMinimum", "0/10"),
    ] {
        let mut object = Object::in_sync(Tier::P2);
        object.spec.machines.minimum_protected_percent = minimum;
        object.scan(&verdicts).reason("MachinesProtected", answer, reason);
        assert_eq!(object.columns().machines.as_deref(), Some(summary));
        // It does not affect Ready (I-9).
        object.expect("True", "InSync", "");
    }
}

#[test]
fn nothing_to_count_is_unknown_and_never_true() {
    let mut object = Object::in_sync(Tier::P2);
    object.reason("MachinesProtected", "Unknown", "NotObserved");
    object
        .scan(&[])
        .reason("MachinesProtected", "Unknown", "NoMachines");
    assert_eq!(object.columns().machines.as_deref(), Some("0/0"));
    object
        .scan(&[(Verdict::PoweredOff, 2), (Verdict::Excluded, 1)])
        .reason("MachinesProtected", "Unknown", "NoMachines");
    assert!(
        object
            .condition("MachinesProtected")
            .2
            .contains("2 PoweredOff, 1 Excluded")
    );

    let mut reading = scanned(&object, &[(Verdict::Protected, 5)]);
    reading.access = Access::Missing(vec!["Microsoft.HybridCompute/machines/read"]);
    object
        .on_event(Ok(reading))
        .reason("MachinesProtected", "Unknown", "NoReadAccess");
    assert!(object.condition("MachinesProtected").2.contains("HybridCompute"));
    let mut reading = scanned(&object, &[]);
    reading.access = Access::NotReadable;
    object
        .on_event(Ok(reading))
        .reason("MachinesProtected", "Unknown", "NoMachines");
    assert!(object.condition("MachinesProtected").2.contains("Reader"));
}

#[test]
fn rows_that_are_missing_or_unreadable_are_counted_in_the_message() {
    let mut object = Object::in_sync(Tier::P2);
    object.spec.machines.minimum_protected_percent = 50;
    for (unreadable, not_listed, percent, answer) in [
        (0, 0, 50, "True"),
        (1, 0, 50, "True"),
        (0, 2, 50, "True"),
        (3, 4, 60, "False"),
    ] {
        object.spec.machines.minimum_protected_percent = percent;
        let mut reading = scanned(&object, &[(Verdict::Protected, 7), (Verdict::Unknown, 7)]);
        reading.summary.unreadable = unreadable;
        reading.summary.not_listed = not_listed;
        object.on_event(Ok(reading));
        let (found, _, message) = object.condition("MachinesProtected");
        assert_eq!(found, answer, "{message}");
        let named = |text: &str, count: u64| message.contains(&format!("{text} {count}")) == (count > 0);
        assert!(
            named("rows of", unreadable) && named("no longer lists", not_listed),
            "{message}"
        );
    }
}

#[test]
fn without_a_plan_missing_machines_are_not_reported() {
    let mut object = Object::in_sync(Tier::P2);
    object.edit(|spec| spec.plan.tier = Tier::Free);
    object
        .scan(&[(Verdict::Missing, 3)])
        .reason("MachinesProtected", "Unknown", "PlanFree");
    assert_eq!(object.columns().machines.as_deref(), Some("0/3"));
}

#[test]
fn a_failed_scan_keeps_the_last_good_numbers_and_says_how_old_they_are() {
    let mut object = Object::in_sync(Tier::P2);
    object
        .scan_fails()
        .reason("MachinesProtected", "Unknown", "ScanFailed");
    assert!(object.status.machines.is_none());
    object
        .scan(&[(Verdict::Protected, 3)])
        .reason("MachinesProtected", "True", "Protected");
    let scanned_at = object.machines().last_scan_time.clone();
    for _ in 0..2 {
        object.sleep(Duration::from_secs(900));
        object
            .scan_fails()
            .reason("MachinesProtected", "True", "Protected");
        let message = object.condition("MachinesProtected").2;
        assert!(message.contains("2023-11-14T"), "{message}");
        assert!(message.contains("ConnectFailed"), "{message}");
    }
    object.sleep(Duration::from_secs(900));
    object
        .scan_fails()
        .reason("MachinesProtected", "Unknown", "ScanStale");
    assert_eq!(
        (
            object.columns().machines.as_deref(),
            &object.machines().last_scan_time
        ),
        (Some("3/3"), &scanned_at)
    );
    assert!(object.machines().scan_failure.is_some());
    object
        .scan(&[(Verdict::Protected, 3)])
        .reason("MachinesProtected", "True", "Protected");
    assert!(object.machines().scan_failure.is_none());
}

#[test]
fn the_worst_ten_are_named_and_their_dates_stay() {
    let mut object = Object::in_sync(Tier::P2);
    object.scan(&[
        (Verdict::LegacyAgent, 4),
        (Verdict::Missing, 6),
        (Verdict::Failed, 4),
        (Verdict::Protected, 9),
    ]);
    let names = |object: &Object| -> Vec<String> {
        object
            .machines()
            .worst
            .iter()
            .map(|worst| worst.name.clone())
            .collect()
    };
    let worst = names(&object);
    assert_eq!(worst.len(), 10);
    assert_eq!(
        (worst[0].as_str(), worst[3].as_str(), worst[9].as_str()),
        ("Failed-000", "Failed-003", "Missing-005")
    );
    let first = object.machines().worst[0].start_time.clone();
    object.sleep(Duration::from_secs(900));
    object.scan(&[(Verdict::Failed, 2), (Verdict::Unknown, 1)]);
    assert_eq!(names(&object), ["Failed-000", "Failed-001", "Unknown-000"]);
    assert_eq!(object.machines().worst[0].start_time, first);
    assert!(object.machines().worst[2].start_time.0 > first.0);
}

#[test]
fn a_timestamp_in_the_future_does_not_change_with_every_scan() {
    let mut object = Object::in_sync(Tier::P2);
    let ahead = object
        .now
        .checked_add(crate::jiff::SignedDuration::from_hours(3))
        .unwrap();
    let mut first = None;
    for _ in 0..3 {
        let mut reading = scanned(&object, &[(Verdict::Failed, 1)]);
        reading.summary.worst[0].finding.since = Some(ahead);
        object.on_event(Ok(reading));
        let since = object.machines().worst[0].start_time.clone();
        assert_eq!(*first.get_or_insert(since.clone()), since);
        object.sleep(Duration::from_secs(900));
    }
}

#[test]
fn counts_add_up_by_verdict_environment_and_rule() {
    let mut object = Object::in_sync(Tier::P2);
    object.spec.machines.exclude = vec![MachineExclusion {
        name: "lab".into(),
        tags: Vec::new(),
        resource_groups: vec!["lab".into()],
        ids: Vec::new(),
    }];
    object.scan(&[
        (Verdict::Protected, 5),
        (Verdict::Excluded, 3),
        (Verdict::Failed, 2),
    ]);
    let machines = object.machines();
    assert_eq!((machines.total, machines.eligible), (10, 7));
    assert_eq!(machines.verdicts.values().sum::<i64>(), machines.total);
    let environments = || machines.environments.values();
    assert_eq!(environments().map(|one| one.total).sum::<i64>(), machines.total);
    assert_eq!(
        environments().map(|one| one.eligible).sum::<i64>(),
        machines.eligible
    );
    let aws = &machines.environments["AWS"];
    assert_eq!((aws.protected, aws.eligible), (3, 4));
    assert_eq!(
        (machines.excluded[0].name.as_str(), machines.excluded[0].machines),
        ("lab", 3)
    );
}

#[test]
fn status_does_not_change_while_the_fleet_does_not() {
    let mut object = Object::in_sync(Tier::P2);
    object.scan(&[(Verdict::Protected, 3), (Verdict::Missing, 1)]);
    let before = object.status.clone();
    for _ in 0..3 {
        object.sleep(Duration::from_secs(900));
        object.scan(&[(Verdict::Protected, 3), (Verdict::Missing, 1)]);
        assert_eq!(object.status, before);
    }
    // The heartbeat after an hour updates `lastScanTime`.
    object.sleep(Duration::from_secs(900));
    object.scan(&[(Verdict::Protected, 3), (Verdict::Missing, 1)]);
    assert!(object.machines().last_scan_time > before.machines.unwrap().last_scan_time);
}

#[test]
fn a_restart_keeps_what_was_known_until_the_first_scan() {
    let mut object = Object::in_sync(Tier::P2);
    object.scan(&[(Verdict::Protected, 3)]);
    let before = object.machines().clone();
    object.scans = None;
    let mut actual = protected();
    actual.plan = super::plan(Tier::P2);
    object.observe(&observed(&actual));
    object.reason("MachinesProtected", "True", "Protected");
    assert_eq!(*object.machines(), before);
}
