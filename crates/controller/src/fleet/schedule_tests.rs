//! When scans are made, and of what.

use std::{collections::BTreeSet, time::Duration};

use serverprotection_azure::{Cloud, Identity, Meter, fleet::KnownMachine, http_client, locks::Locks};
use serverprotection_core::{
    Timestamp,
    failure::Class,
    jiff::SignedDuration,
    machines::{
        Exclusions, Summary,
        reading::{Access, SubscriptionReading},
    },
};

use super::*;
use crate::fleet::members::Member;

const INTERVAL: Duration = Duration::from_secs(900);

#[derive(Debug)]
struct Nobody;

impl Meter for Nobody {
    fn request(&self, _: &'static str, _: u16, _: Duration) {}
}

/// A client that is never used.
fn arm(client: &str) -> Arc<Arm> {
    let identity = Identity::ClientSecret {
        tenant_id: "tenant".into(),
        client_id: client.into(),
        secret: String::new().into(),
    };
    let cloud = Cloud {
        resource_manager: "https://127.0.0.1".parse().unwrap(),
        authority_host: "https://127.0.0.1".parse().unwrap(),
        audience: "https://127.0.0.1".into(),
    };
    Arc::new(Arm::new(
        identity,
        http_client(None).unwrap(),
        Arc::new(cloud),
        Arc::new(Locks::default()),
        Arc::new(Nobody),
    ))
}

fn member(subscription: &str, arm: &Arc<Arm>) -> Member {
    Member {
        namespace: "team".into(),
        name: subscription.into(),
        subscription: subscription.into(),
        arm: Arc::clone(arm),
        exclusions: Arc::default(),
        grace: SignedDuration::from_hours(24),
        credential: Ok(()),
        unprotected: Arc::default(),
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

fn failure() -> Failure {
    Failure {
        class: Class::Credential,
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
fn a_crowd_is_scanned_once_when_it_is_calm() {
    let (mut members, start, arm) = (Members::default(), Instant::now(), arm("a"));
    for at in 0..5_u32 {
        let now = start + Duration::from_millis(600) * at;
        assert!(members.join(at.to_string(), member(&at.to_string(), &arm), false, now));
        assert!(members.due(now, INTERVAL).0.is_empty());
    }
    let (due, _) = members.due(start + Duration::from_millis(600 * 4 + 1000), INTERVAL);
    assert_eq!(due.len(), 1);
    assert_eq!(subscriptions(&due[0]).len(), 5);
    assert!(due[0].whole);
    // The same object once more asks for nothing.
    assert!(!members.join("0".into(), member("0", &arm), false, start));
}

#[test]
fn a_crowd_that_never_ends_does_not_wait_for_ever() {
    let (mut members, start, arm) = (Members::default(), Instant::now(), arm("a"));
    let mut scanned = 0;
    for at in 0..40_u32 {
        let now = start + Duration::from_millis(500) * at;
        members.join(at.to_string(), member(&at.to_string(), &arm), false, now);
        for batch in members.due(now, INTERVAL).0 {
            scanned += batch.targets.len();
            members.ended(&batch);
        }
    }
    assert!(scanned >= 20, "{scanned} in 20 s");
}

#[test]
fn all_of_an_identity_take_turns_and_identities_do_not_mix() {
    let (mut members, start) = (Members::default(), Instant::now());
    let (one, other) = (arm("a"), arm("b"));
    members.join("1".into(), member("s1", &one), false, start);
    members.join("2".into(), member("s2", &other), false, start);
    let calm = start + Duration::from_secs(2);
    let (due, _) = members.due(calm, INTERVAL);
    assert_eq!(due.len(), 2);
    for batch in &due {
        assert_eq!(batch.targets.len(), 1);
        members.ended(batch);
    }
    let (due, wait) = members.due(calm + Duration::from_secs(700), INTERVAL);
    assert!(due.is_empty() && wait > Duration::ZERO);
    let (due, _) = members.due(calm + Duration::from_secs(1000), INTERVAL);
    assert_eq!(due.len(), 2);
    // The next turn does not begin while this one runs.
    assert!(
        members
            .due(calm + Duration::from_secs(2100), INTERVAL)
            .0
            .is_empty()
    );
}

#[test]
fn a_request_scans_one_subscription_at_once() {
    let (mut members, start, arm) = (Members::default(), Instant::now(), arm("a"));
    members.join("1".into(), member("s1", &arm), false, start);
    members.join("2".into(), member("s2", &arm), false, start);
    let calm = start + Duration::from_secs(2);
    let turn = members.due(calm, INTERVAL).0;
    members.join("2".into(), member("s2", &arm), true, calm);
    let (due, _) = members.due(calm, INTERVAL);
    assert_eq!(due.len(), 1, "also while another scan runs");
    assert_eq!(subscriptions(&due[0]), names(&["s2"]));
    assert!(due[0].targets[0].fresh && !due[0].whole);
    drop(turn);
}

#[test]
fn changed_exclusions_are_scanned_soon() {
    let (mut members, start, arm) = (Members::default(), Instant::now(), arm("a"));
    members.join("1".into(), member("s1", &arm), false, start);
    members.join("2".into(), member("s2", &arm), false, start);
    let calm = start + Duration::from_secs(2);
    for batch in members.due(calm, INTERVAL).0 {
        members.ended(&batch);
    }
    let mut exclusions = Exclusions::default();
    exclusions.rule("lab", [], &["lab".to_owned()], &[]);
    let changed = Member {
        exclusions: Arc::new(exclusions),
        ..member("s1", &arm)
    };
    assert!(members.join("1".into(), changed, false, calm));
    let (due, _) = members.due(calm + Duration::from_secs(1), INTERVAL);
    assert_eq!(subscriptions(&due[0]), names(&["s1"]));
}

#[test]
fn a_broken_credential_hears_nothing_of_what_others_see() {
    let (mut members, start, arm) = (Members::default(), Instant::now(), arm("a"));
    members.join("1".into(), member("s1", &arm), false, start);
    members.join("2".into(), member("s2", &arm), false, start);
    members.without_credential("2", failure());
    let (due, _) = members.due(start + Duration::from_secs(2), INTERVAL);
    assert_eq!(subscriptions(&due[0]), names(&["s1"]));
    assert_eq!(due[0].without_credential.len(), 1);
    let now = Timestamp::from_second(10).unwrap();
    members.hear("tenant/a", "s2", &Ok(reading(9, 5)), now, now);
    let scans = members.scans("2").unwrap();
    assert!(scans.reading.is_none() && scans.failing.is_some());
}

#[test]
fn an_older_scan_does_not_replace_a_newer_one() {
    let (mut members, arm) = (Members::default(), arm("a"));
    members.join("1".into(), member("s1", &arm), false, Instant::now());
    let at = |second| Timestamp::from_second(second).unwrap();
    let woken = members.hear("tenant/a", "s1", &Ok(reading(20, 5)), at(20), at(30));
    assert_eq!(woken, [("team".to_owned(), "s1".to_owned())]);
    assert!(
        members
            .hear("tenant/a", "s1", &Ok(reading(10, 3)), at(10), at(31))
            .is_empty()
    );
    assert!(
        members
            .hear("tenant/a", "s1", &Err(failure()), at(10), at(32))
            .is_empty()
    );
    // The same again is no news.
    assert!(members.take_news("1") && !members.take_news("1"));
    assert!(
        members
            .hear("tenant/a", "s1", &Ok(reading(40, 5)), at(40), at(41))
            .is_empty()
    );
    assert!(!members.take_news("1"));
    // Another identity's scan of the same subscription is not for it.
    assert!(
        members
            .hear("tenant/b", "s1", &Ok(reading(50, 9)), at(50), at(51))
            .is_empty()
    );
}

#[test]
fn the_machines_of_the_status_are_known_until_a_scan_of_the_identity_succeeds() {
    let (mut members, start) = (Members::default(), Instant::now());
    let (one, other) = (arm("a"), arm("b"));
    let named = |arm: &Arc<Arm>| Member {
        unprotected: [KnownMachine {
            id: "/m".into(),
            environment: serverprotection_core::machines::Environment::Aws,
        }]
        .into(),
        ..member("s1", arm)
    };
    let mut now = start;
    let mut known = |members: &mut Members| {
        now += Duration::from_secs(2000);
        let (due, _) = members.due(now, INTERVAL);
        for batch in &due {
            members.ended(batch);
        }
        due[0].targets[0].unprotected.len()
    };
    let at = |second| Timestamp::from_second(second).unwrap();
    members.join("1".into(), named(&one), false, start);
    assert_eq!(known(&mut members), 1);
    members.hear("tenant/a", "s1", &Err(failure()), at(10), at(11));
    members.join("1".into(), named(&one), false, start);
    assert_eq!(known(&mut members), 1, "nothing was read yet");
    members.hear("tenant/a", "s1", &Ok(reading(20, 5)), at(20), at(21));
    assert_eq!(known(&mut members), 0);
    members.join("1".into(), named(&one), false, start);
    assert_eq!(known(&mut members), 0);
    // The scanner of another identity knows nothing.
    members.leave("1");
    members.join("1".into(), named(&other), false, start);
    assert_eq!(known(&mut members), 1);
}

#[test]
fn an_identity_scans_the_subscriptions_of_its_members() {
    let (mut members, start, arm_a, arm_b) = (Members::default(), Instant::now(), arm("a"), arm("b"));
    members.join("1".into(), member("s1", &arm_a), false, start);
    members.join("2".into(), member("s2", &arm_a), false, start);
    members.join("3".into(), member("s3", &arm_b), false, start);
    members.without_credential("2", failure());
    let subscriptions = |members: &Members| BTreeSet::from_iter(members.subscriptions("tenant/a"));
    assert_eq!(subscriptions(&members), names(&["s1", "s2"]));
    members.leave("1");
    assert_eq!(subscriptions(&members), names(&["s2"]));
}

#[test]
fn who_leaves_is_forgotten() {
    let (mut members, start, arm) = (Members::default(), Instant::now(), arm("a"));
    members.join("1".into(), member("s1", &arm), false, start);
    assert_eq!(members.leave("1").as_deref(), Some("tenant/a"));
    assert!(!members.has("tenant/a"));
    assert!(members.due(start + Duration::from_secs(5), INTERVAL).0.is_empty());
}
