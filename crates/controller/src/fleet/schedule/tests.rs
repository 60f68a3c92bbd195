//! When scans run, and of which subscriptions.

use std::{collections::BTreeSet, time::Duration};

use serverprotection_azure::{
    Cloud, Identity, Principals, RequestObserver,
    fleet::{KnownMachine, Settings},
    http_client,
};
use serverprotection_core::{
    Timestamp,
    azure_error::ErrorClass,
    jiff::SignedDuration,
    machines::{
        Exclusions, Summary,
        reading::{Access, SubscriptionReading},
    },
};

use super::*;
use crate::fleet::scan_targets::{PlanReading, ScannedObject};

const INTERVAL: Duration = Duration::from_secs(900);

#[derive(Debug)]
struct NullObserver;

impl RequestObserver for NullObserver {
    fn request(&self, _: &'static str, _: u16, _: Duration) {}
}

/// A client that is never used.
fn client(id: &str) -> Arc<Client> {
    let identity = Identity::ClientSecret {
        tenant_id: "tenant".into(),
        client_id: id.into(),
        secret: String::new().into(),
    };
    let (cloud, http) = (Cloud::public().unwrap(), http_client(None).unwrap());
    let principals = Principals::new(cloud, http, Arc::new(NullObserver), Settings::default());
    Arc::new(Client::new(identity, &Arc::new(principals)))
}

fn object(subscription: &str, client: &Arc<Client>) -> ScannedObject {
    ScannedObject {
        namespace: "team".into(),
        name: subscription.into(),
        subscription: subscription.into(),
        client: Arc::clone(client),
        exclusions: Arc::default(),
        grace: SignedDuration::from_hours(24),
        plan: PlanReading::Unknown,
        credential: Ok(()),
        unprotected: Arc::default(),
        had_machines: false,
    }
}

fn subscriptions(batch: &Batch) -> BTreeSet<String> {
    batch
        .targets
        .iter()
        .map(|target| target.subscription.clone())
        .collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn failure() -> AzureError {
    AzureError {
        class: ErrorClass::Credential,
        code: "AADSTS7000215".into(),
        message: "wrong secret".into(),
        operation: "request a token".into(),
        request_id: None,
        effect_unknown: false,
    }
}

fn reading(at: i64, machines: u64) -> SubscriptionReading {
    let mut summary = Summary::default();
    summary.tally.add(
        serverprotection_core::machines::Environment::Azure,
        serverprotection_core::machines::Verdict::Protected,
        machines,
    );
    SubscriptionReading {
        summary,
        access: Access::Sufficient,
        tier: None,
        at: Timestamp::from_second(at).unwrap(),
    }
}

#[test]
fn a_burst_of_objects_is_scanned_once_after_the_debounce() {
    let (mut scan_targets, start, client) = (ScanTargets::default(), Instant::now(), client("a"));
    for at in 0..5_u32 {
        let now = start + Duration::from_millis(600) * at;
        assert!(scan_targets.register(at.to_string(), object(&at.to_string(), &client), false, now));
        assert!(scan_targets.due(now, INTERVAL).0.is_empty());
    }
    let (due, _) = scan_targets.due(start + Duration::from_millis(600 * 4 + 1000), INTERVAL);
    assert_eq!(due.len(), 1);
    assert_eq!(subscriptions(&due[0]).len(), 5);
    assert!(due[0].whole);
    // Registering the same object again schedules no scan.
    assert!(!scan_targets.register("0".into(), object("0", &client), false, start));
}

#[test]
fn a_change_of_the_plan_asks_for_one_scan_of_its_subscription() {
    let (mut scan_targets, start, client) = (ScanTargets::default(), Instant::now(), client("a"));
    let later = |seconds: u64| start + Duration::from_secs(seconds);
    let with = |plan: PlanReading| ScannedObject {
        plan,
        ..object("0", &client)
    };
    let time = |second| Some(Timestamp::from_second(second).unwrap());
    scan_targets.register("1".into(), object("1", &client), false, start);
    scan_targets.register("0".into(), with(PlanReading::Off), false, start);
    for batch in scan_targets.due(later(1), INTERVAL).0 {
        assert_eq!(subscriptions(&batch), names(&["0", "1"]));
        assert!(batch.targets.iter().all(|target| target.plan_enabled.is_none()));
        scan_targets.ended(&batch);
    }
    let mut scanned = |plan: PlanReading, at: u64| {
        let scheduled = scan_targets.register("0".into(), with(plan), false, later(at));
        let (due, _) = scan_targets.due(later(at + 1), INTERVAL);
        let found = due
            .first()
            .map(|batch| (subscriptions(batch), batch.targets[0].plan_enabled));
        for batch in &due {
            scan_targets.ended(batch);
        }
        assert_eq!(scheduled, found.is_some());
        found
    };
    let only = |since: Option<Timestamp>| Some((names(&["0"]), since));
    assert_eq!(scanned(PlanReading::On(time(7)), 10), only(time(7)));
    // The plan is as before, or was not read.
    assert_eq!(scanned(PlanReading::On(time(7)), 20), None);
    assert_eq!(scanned(PlanReading::Unknown, 30), None);
    assert_eq!(scanned(PlanReading::On(None), 40), None);
    // Somebody turned it off and on again.
    assert_eq!(scanned(PlanReading::Off, 50), only(None));
    let again = scanned(PlanReading::On(None), 60).unwrap().1.unwrap();
    assert!(Timestamp::now().duration_since(again) < SignedDuration::from_mins(1));
}

#[test]
fn the_first_reading_of_a_plan_is_no_change() {
    let (mut scan_targets, start, client) = (ScanTargets::default(), Instant::now(), client("a"));
    let since = Some(Timestamp::UNIX_EPOCH);
    scan_targets.register("0".into(), object("0", &client), false, start);
    let read = ScannedObject {
        plan: PlanReading::On(since),
        ..object("0", &client)
    };
    assert!(!scan_targets.register("0".into(), read, false, start));
    let (due, _) = scan_targets.due(start + Duration::from_secs(2), INTERVAL);
    assert_eq!(due[0].targets[0].plan_enabled, since);
}

#[test]
fn an_endless_burst_is_scanned_after_the_maximum_debounce() {
    let (mut scan_targets, start, client) = (ScanTargets::default(), Instant::now(), client("a"));
    let mut scanned = 0;
    for at in 0..40_u32 {
        let now = start + Duration::from_millis(500) * at;
        scan_targets.register(at.to_string(), object(&at.to_string(), &client), false, now);
        for batch in scan_targets.due(now, INTERVAL).0 {
            scanned += batch.targets.len();
            scan_targets.ended(&batch);
        }
    }
    assert!(scanned >= 20, "{scanned} in 20 s");
}

#[test]
fn all_of_an_identity_take_turns_and_identities_do_not_mix() {
    let (mut scan_targets, start) = (ScanTargets::default(), Instant::now());
    let (one, other) = (client("a"), client("b"));
    scan_targets.register("1".into(), object("s1", &one), false, start);
    scan_targets.register("2".into(), object("s2", &other), false, start);
    let settled = start + Duration::from_secs(2);
    let (due, _) = scan_targets.due(settled, INTERVAL);
    assert_eq!(due.len(), 2);
    for batch in &due {
        assert_eq!(batch.targets.len(), 1);
        scan_targets.ended(batch);
    }
    let (due, wait) = scan_targets.due(settled + Duration::from_secs(700), INTERVAL);
    assert!(due.is_empty() && wait > Duration::ZERO);
    let (due, _) = scan_targets.due(settled + Duration::from_secs(1000), INTERVAL);
    assert_eq!(due.len(), 2);
    // The next periodic scan does not start while this one runs.
    assert!(
        scan_targets
            .due(settled + Duration::from_secs(2100), INTERVAL)
            .0
            .is_empty()
    );
}

#[test]
fn a_request_scans_one_subscription_at_once() {
    let (mut scan_targets, start, client) = (ScanTargets::default(), Instant::now(), client("a"));
    scan_targets.register("1".into(), object("s1", &client), false, start);
    scan_targets.register("2".into(), object("s2", &client), false, start);
    let settled = start + Duration::from_secs(2);
    let turn = scan_targets.due(settled, INTERVAL).0;
    scan_targets.register("2".into(), object("s2", &client), true, settled);
    let (due, _) = scan_targets.due(settled, INTERVAL);
    assert_eq!(due.len(), 1, "also while another scan runs");
    assert_eq!(subscriptions(&due[0]), names(&["s2"]));
    assert!(due[0].targets[0].fresh && !due[0].whole);
    drop(turn);
}

#[test]
fn changed_exclusions_are_scanned_soon() {
    let (mut scan_targets, start, client) = (ScanTargets::default(), Instant::now(), client("a"));
    scan_targets.register("1".into(), object("s1", &client), false, start);
    scan_targets.register("2".into(), object("s2", &client), false, start);
    let settled = start + Duration::from_secs(2);
    for batch in scan_targets.due(settled, INTERVAL).0 {
        scan_targets.ended(&batch);
    }
    let mut exclusions = Exclusions::default();
    exclusions.rule("lab", [], &["lab".to_owned()], &[]);
    let changed = ScannedObject {
        exclusions: Arc::new(exclusions),
        ..object("s1", &client)
    };
    assert!(scan_targets.register("1".into(), changed, false, settled));
    let (due, _) = scan_targets.due(settled + Duration::from_secs(1), INTERVAL);
    assert_eq!(subscriptions(&due[0]), names(&["s1"]));
}

#[test]
fn a_broken_credential_sees_no_results_of_others() {
    let (mut scan_targets, start, client) = (ScanTargets::default(), Instant::now(), client("a"));
    scan_targets.register("1".into(), object("s1", &client), false, start);
    scan_targets.register("2".into(), object("s2", &client), false, start);
    scan_targets.without_credential("2", failure());
    let (due, _) = scan_targets.due(start + Duration::from_secs(2), INTERVAL);
    assert_eq!(subscriptions(&due[0]), names(&["s1"]));
    assert_eq!(due[0].without_credential.len(), 1);
    let now = Timestamp::from_second(10).unwrap();
    scan_targets.record_result("tenant/a", "2", "s2", Ok(reading(9, 5)), now, now);
    let scans = scan_targets.scans("2").unwrap();
    assert!(scans.reading.is_none() && scans.failing.is_some());
}

/// Two objects of one application and subscription: a scan reads the subscription once, and each object is judged by its
/// own spec, whichever of them asked for the scan.
#[test]
fn objects_that_share_a_subscription_keep_their_own_settings() {
    let (mut scan_targets, start, client) = (ScanTargets::default(), Instant::now(), client("a"));
    let hours = |hours| ScannedObject {
        namespace: format!("team-{hours}"),
        grace: SignedDuration::from_hours(hours),
        ..object("s1", &client)
    };
    scan_targets.register("1".into(), hours(24), false, start);
    scan_targets.register("2".into(), hours(720), false, start);
    scan_targets.register("3".into(), object("s3", &client), false, start);
    let both = [
        ("1", SignedDuration::from_hours(24)),
        ("2", SignedDuration::from_hours(720)),
    ];
    let of_s1 = |batch: &Batch| {
        let all = batch.targets.iter().filter(|target| target.subscription == "s1");
        all.map(|target| (target.object.clone(), target.grace))
            .collect::<Vec<_>>()
    };
    let both = both.map(|(uid, grace)| (uid.to_owned(), grace));
    let settled = start + Duration::from_secs(2);
    for batch in scan_targets.due(settled, INTERVAL).0 {
        assert_eq!(of_s1(&batch), both);
        assert!(batch.whole);
        scan_targets.ended(&batch);
    }
    for uid in ["1", "2"] {
        let again = hours(if uid == "1" { 24 } else { 720 });
        scan_targets.register(uid.into(), again, true, settled);
        let (due, _) = scan_targets.due(settled, INTERVAL);
        assert_eq!(of_s1(&due[0]), both, "requested by {uid}");
        assert_eq!(subscriptions(&due[0]), names(&["s1"]));
        assert!(!due[0].whole);
        scan_targets.ended(&due[0]);
    }
    // Each one gets its own result, and only that.
    let at = Timestamp::from_second(20).unwrap();
    for (uid, machines) in [("1", 5), ("2", 3)] {
        let names = scan_targets.record_result("tenant/a", uid, "s1", Ok(reading(20, machines)), at, at);
        assert!(names.is_some());
    }
    let protected = |uid| {
        let scans = scan_targets.scans(uid).unwrap();
        let all = serverprotection_core::machines::Environment::ALL;
        scans.reading.unwrap().summary.tally.total(&all)
    };
    assert_eq!((protected("1"), protected("2")), (5, 3));
}

#[test]
fn the_credential_of_one_object_does_not_fail_another_one() {
    let (mut scan_targets, start, client) = (ScanTargets::default(), Instant::now(), client("a"));
    scan_targets.register("1".into(), object("s1", &client), false, start);
    scan_targets.register("2".into(), object("s1", &client), false, start);
    scan_targets.without_credential("2", failure());
    let (due, _) = scan_targets.due(start + Duration::from_secs(2), INTERVAL);
    let failing: Vec<_> = due[0].without_credential.iter().map(|(uid, ..)| uid).collect();
    assert_eq!(failing, ["2"]);
    let now = Timestamp::from_second(10).unwrap();
    for (uid, subscription, failure) in due[0].without_credential.clone() {
        scan_targets.record_result("tenant/a", &uid, &subscription, Err(failure), now, now);
    }
    assert!(scan_targets.scans("1").is_none());
    assert!(scan_targets.scans("2").unwrap().failing.is_some());
}

#[test]
fn an_older_scan_does_not_replace_a_newer_one() {
    let (mut scan_targets, client) = (ScanTargets::default(), client("a"));
    scan_targets.register("1".into(), object("s1", &client), false, Instant::now());
    let at = |second| Timestamp::from_second(second).unwrap();
    let triggered = scan_targets.record_result("tenant/a", "1", "s1", Ok(reading(20, 5)), at(20), at(30));
    assert_eq!(triggered, Some(("team".to_owned(), "s1".to_owned())));
    assert!(
        scan_targets
            .record_result("tenant/a", "1", "s1", Ok(reading(10, 3)), at(10), at(31))
            .is_none()
    );
    assert!(
        scan_targets
            .record_result("tenant/a", "1", "s1", Err(failure()), at(10), at(32))
            .is_none()
    );
    // The same result again changes nothing.
    assert!(
        scan_targets
            .record_result("tenant/a", "1", "s1", Ok(reading(40, 5)), at(40), at(41))
            .is_none()
    );
    // The scan of another principal does not count, even of the same subscription.
    assert!(
        scan_targets
            .record_result("tenant/b", "1", "s1", Ok(reading(50, 9)), at(50), at(51))
            .is_none()
    );
}

#[test]
fn the_machines_of_the_status_are_known_until_a_scan_of_the_identity_succeeds() {
    let (mut scan_targets, start) = (ScanTargets::default(), Instant::now());
    let (one, other) = (client("a"), client("b"));
    let named = |client: &Arc<Client>| ScannedObject {
        unprotected: [KnownMachine {
            id: "/m".into(),
            environment: serverprotection_core::machines::Environment::Aws,
        }]
        .into(),
        ..object("s1", client)
    };
    let mut now = start;
    let mut known = |scan_targets: &mut ScanTargets| {
        now += Duration::from_secs(2000);
        let (due, _) = scan_targets.due(now, INTERVAL);
        for batch in &due {
            scan_targets.ended(batch);
        }
        due[0].targets[0].unprotected.len()
    };
    let at = |second| Timestamp::from_second(second).unwrap();
    scan_targets.register("1".into(), named(&one), false, start);
    assert_eq!(known(&mut scan_targets), 1);
    scan_targets.record_result("tenant/a", "1", "s1", Err(failure()), at(10), at(11));
    scan_targets.register("1".into(), named(&one), false, start);
    assert_eq!(known(&mut scan_targets), 1, "nothing was read yet");
    scan_targets.record_result("tenant/a", "1", "s1", Ok(reading(20, 5)), at(20), at(21));
    assert_eq!(known(&mut scan_targets), 0);
    scan_targets.register("1".into(), named(&one), false, start);
    assert_eq!(known(&mut scan_targets), 0);
    // The scanner of another principal has no results.
    scan_targets.deregister("1");
    scan_targets.register("1".into(), named(&other), false, start);
    assert_eq!(known(&mut scan_targets), 1);
}

#[test]
fn machines_of_the_status_count_until_the_first_result() {
    let (mut scan_targets, start) = (ScanTargets::default(), Instant::now());
    let one = client("a");
    let shown = || ScannedObject {
        had_machines: true,
        ..object("s1", &one)
    };
    let at = |second| Timestamp::from_second(second).unwrap();
    scan_targets.register("1".into(), shown(), false, start);
    assert!(scan_targets.all["1"].had_machines());
    let failed = Err(failure());
    scan_targets.record_result("tenant/a", "1", "s1", failed, at(5), at(6));
    assert!(scan_targets.all["1"].had_machines(), "nothing was read");
    scan_targets.record_result("tenant/a", "1", "s1", Ok(reading(10, 0)), at(10), at(11));
    scan_targets.register("1".into(), shown(), false, start);
    assert!(!scan_targets.all["1"].had_machines());
    scan_targets.record_result("tenant/a", "1", "s1", Ok(reading(20, 1)), at(20), at(21));
    assert!(scan_targets.all["1"].had_machines());
}

#[test]
fn an_identity_scans_the_subscriptions_of_its_objects() {
    let (mut scan_targets, start, arm_a, arm_b) =
        (ScanTargets::default(), Instant::now(), client("a"), client("b"));
    scan_targets.register("1".into(), object("s1", &arm_a), false, start);
    scan_targets.register("2".into(), object("s2", &arm_a), false, start);
    scan_targets.register("3".into(), object("s3", &arm_b), false, start);
    scan_targets.without_credential("2", failure());
    let subscriptions =
        |scan_targets: &ScanTargets| BTreeSet::from_iter(scan_targets.subscriptions("tenant/a"));
    assert_eq!(subscriptions(&scan_targets), names(&["s1", "s2"]));
    scan_targets.deregister("1");
    assert_eq!(subscriptions(&scan_targets), names(&["s2"]));
}

#[test]
fn a_deregistered_object_is_forgotten() {
    let (mut scan_targets, start, client) = (ScanTargets::default(), Instant::now(), client("a"));
    scan_targets.register("1".into(), object("s1", &client), false, start);
    let last = scan_targets.deregister("1").unwrap();
    assert_eq!(last.principal(), "tenant/a");
    assert!(!scan_targets.has("tenant/a"));
    assert!(
        scan_targets
            .due(start + Duration::from_secs(5), INTERVAL)
            .0
            .is_empty()
    );
}
