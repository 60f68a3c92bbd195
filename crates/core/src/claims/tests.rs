//! The rules R1 to R19 of docs/claims.md, one by one.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serverprotection_api::ClaimStatus;

use super::{
    candidate::{Names, Stage, State},
    index::OwnerChange,
    model::{Access, Cluster, RETRY, RULES},
    record::Claim,
    rules::{Ownership, Verdict, signed},
};

fn ownership(cluster: &Cluster, uid: &str) -> Ownership {
    cluster.object(uid).ownership.clone().unwrap()
}

fn held_since(uid: &str, since: i64) -> ClaimStatus {
    ClaimStatus {
        state: "Held".into(),
        uid: Some(uid.into()),
        since: crate::Timestamp::from_second(since).ok().map(Time),
        ..ClaimStatus::default()
    }
}

/// An owner, and an object of another namespace that waits.
fn pair() -> (Cluster, String, String) {
    let mut cluster = Cluster::new();
    let owner = cluster.apply("a", Access::Owner);
    let waiting = cluster.apply("b", Access::Owner);
    assert_eq!(cluster.state(&owner), State::Held);
    assert_eq!(cluster.state(&waiting), State::Waiting);
    (cluster, owner, waiting)
}

#[test]
fn r1_objects_that_observe_neither_claim_nor_block() {
    let mut cluster = Cluster::new();
    let observer = cluster.create("a", Access::Owner);
    cluster.edit(&observer, Stage::Observes);
    assert_eq!(cluster.object(&observer).claim, None);
    let owner = cluster.apply("b", Access::Owner);
    assert_eq!(cluster.state(&owner), State::Held);
    // Observing beside the owner is not waiting.
    cluster.reconcile(&observer);
    assert_eq!(cluster.object(&observer).claim, None);
    assert_eq!(ownership(&cluster, &observer), Ownership::ClaimsNothing);
    // Switching to Observe releases.
    cluster.edit(&observer, Stage::Enforces);
    assert_eq!(cluster.state(&observer), State::Waiting);
    cluster.edit(&owner, Stage::Observes);
    assert_eq!(cluster.object(&owner).claim, None);
    assert_eq!(cluster.state(&observer), State::Held, "at once");
}

#[test]
fn r3_only_who_may_write_is_proven() {
    for (access, state) in [
        (Access::Owner, State::Held),
        (Access::Hidden, State::Held),
        (Access::Reader, State::None),
        (Access::Stranger, State::None),
        (Access::Outage, State::None),
    ] {
        let mut cluster = Cluster::new();
        let uid = cluster.apply("a", access);
        assert_eq!(cluster.state(&uid), state, "{access:?}");
        let owner = cluster.apply("b", Access::Owner);
        let blocked = access.writes();
        assert_eq!(cluster.state(&owner) == State::Held, !blocked, "{access:?}");
    }
}

#[test]
fn r3_who_only_seems_to_may_write_yields_until_a_write_succeeded() {
    let mut cluster = Cluster::new();
    let weak = cluster.create("a", Access::Hidden);
    // Another object took the key before it wrote anything: it would have to be proven.
    cluster.object_mut(&weak).claim = Some(held_since(&weak, 1));
    cluster.restart();
    assert_eq!(cluster.state(&weak), State::Held);
    let mut unwritten = Cluster::new();
    let weak = unwritten.create("a", Access::Reader);
    unwritten.object_mut(&weak).claim = Some(held_since(&weak, 1));
    unwritten.object_mut(&weak).access = Access::Hidden;
    unwritten.object_mut(&weak).stage = Stage::Suspended;
    unwritten.restart();
    let owner = unwritten.apply("b", Access::Owner);
    unwritten.settle(RETRY);
    assert_eq!(unwritten.state(&owner), State::Held, "the weak one yields");
    // A write of the weak one succeeded, and it is recorded: it stays.
    let mut written = Cluster::new();
    let weak = written.apply("a", Access::Hidden);
    assert!(written.object(&weak).claim.as_ref().unwrap().credential.is_some());
    written.restart();
    let late = written.apply("b", Access::Owner);
    written.settle(2 * RULES.lapse_after);
    assert_eq!(written.state(&late), State::Waiting);
}

#[test]
fn r5_the_claim_of_a_backup_does_not_count() {
    let mut cluster = Cluster::new();
    let restored = cluster.create("a", Access::Stranger);
    cluster.object_mut(&restored).claim = Some(held_since("uid-of-the-backup", 1));
    cluster.restart();
    assert_eq!(cluster.state(&restored), State::None);
    let owner = cluster.apply("b", Access::Owner);
    assert_eq!(cluster.state(&owner), State::Held);
}

#[test]
fn r5_the_first_denial_counts_and_only_a_proof_ends_it() {
    let (mut cluster, owner, _) = pair();
    cluster.object_mut(&owner).access = Access::Stranger;
    cluster.sleep(RETRY);
    cluster.reconcile(&owner);
    let since = |cluster: &Cluster| {
        cluster
            .object(&owner)
            .claim
            .as_ref()
            .unwrap()
            .denied_since
            .clone()
    };
    let first = since(&cluster);
    assert_eq!(first, Some(Time(cluster.now)));
    for access in [Access::Stranger, Access::Outage, Access::Reader] {
        cluster.object_mut(&owner).access = access;
        cluster.sleep(RETRY);
        cluster.reconcile(&owner);
        assert_eq!(since(&cluster), first, "{access:?}");
    }
    cluster.restart();
    assert_eq!(since(&cluster), first, "a restart");
    cluster.object_mut(&owner).access = Access::Owner;
    cluster.reconcile(&owner);
    assert_eq!(since(&cluster), None);
    assert_eq!(cluster.state(&owner), State::Held);
}

#[test]
fn r6_nothing_is_decided_before_all_objects_are_listed() {
    let mut cluster = Cluster::new();
    let first = cluster.create("a", Access::Owner);
    cluster.forget();
    cluster.redeliver(&first);
    cluster.reconcile(&first);
    assert_eq!(ownership(&cluster, &first), Ownership::Undecided);
    assert_eq!(cluster.state(&first), State::None);
    cluster.list();
    cluster.reconcile(&first);
    assert_eq!(cluster.state(&first), State::Held);
}

#[test]
fn r7_the_older_one_goes_first_but_is_waited_for_only_shortly() {
    let mut cluster = Cluster::new();
    let older = cluster.create("a", Access::Owner);
    cluster.sleep(Duration::from_secs(1));
    let younger = cluster.apply("b", Access::Owner);
    assert_eq!(
        ownership(&cluster, &younger),
        Ownership::Undecided,
        "the older one is not tried"
    );
    cluster.sleep(Duration::from_secs(31));
    cluster.reconcile(&younger);
    assert_eq!(cluster.state(&younger), State::Held, "it does not come");
    cluster.reconcile(&older);
    assert_eq!(cluster.state(&older), State::Waiting);
    // It comes in time, and its access is denied.
    let mut cluster = Cluster::new();
    let older = cluster.create("a", Access::Stranger);
    let younger = cluster.apply("b", Access::Owner);
    cluster.reconcile(&older);
    cluster.reconcile(&younger);
    assert_eq!(cluster.state(&younger), State::Held);
}

#[test]
fn r8_who_proved_nothing_learns_nothing() {
    let (mut cluster, _, waiting) = pair();
    assert_eq!(
        ownership(&cluster, &waiting),
        Ownership::HeldByAnother(None),
        "no name"
    );
    let stranger = cluster.apply("c", Access::Stranger);
    assert_eq!(
        ownership(&cluster, &stranger),
        Ownership::AccessDenied("AuthorizationFailed".into())
    );
    let silent = cluster.apply("c", Access::Outage);
    assert_eq!(ownership(&cluster, &silent), Ownership::AccessNotProven);
    // Within the namespace of the owner, its name helps.
    let twin = cluster.apply("a", Access::Owner);
    assert_eq!(
        ownership(&cluster, &twin),
        Ownership::HeldByAnother(Some("object-1".into()))
    );
}

#[test]
fn r9_a_holder_survives_outages_denials_suspension_and_a_rollback() {
    for (access, stage) in [
        (Access::Outage, Stage::Enforces),
        (Access::Stranger, Stage::Enforces),
        (Access::Owner, Stage::Suspended),
        (Access::Owner, Stage::Unreadable),
    ] {
        let (mut cluster, owner, waiting) = pair();
        cluster.object_mut(&owner).access = access;
        cluster.edit(&owner, stage);
        cluster.settle(RULES.lapse_after.mul_f64(0.9));
        assert_eq!(cluster.state(&owner), State::Held, "{access:?} {stage:?}");
        assert_eq!(cluster.state(&waiting), State::Waiting);
        cluster.object_mut(&owner).access = Access::Owner;
        cluster.settle(3 * RULES.lapse_after);
        assert_eq!(cluster.state(&owner), State::Held, "{access:?} {stage:?}");
    }
}

#[test]
fn r10_a_stale_holder_is_asked_only_while_somebody_waits() {
    let mut cluster = Cluster::new();
    let owner = cluster.apply("a", Access::Owner);
    cluster.edit(&owner, Stage::Suspended);
    cluster.object_mut(&owner).access = Access::Stranger;
    cluster.settle(3 * RULES.lapse_after);
    let denied = |cluster: &Cluster| {
        cluster
            .object(&owner)
            .claim
            .as_ref()
            .unwrap()
            .denied_since
            .clone()
    };
    assert_eq!(
        (cluster.state(&owner), denied(&cluster)),
        (State::Held, None),
        "nobody asked"
    );
    let waiting = cluster.apply("b", Access::Owner);
    assert_eq!(
        denied(&cluster),
        Some(Time(cluster.now)),
        "asked because another object waits"
    );
    cluster.settle(RULES.lapse_after + RETRY);
    assert_eq!(cluster.state(&waiting), State::Held);
}

#[test]
fn r11_a_foreign_finalizer_holds_nothing() {
    let (mut cluster, owner, waiting) = pair();
    cluster.delete(&owner, true);
    assert_eq!(cluster.object(&owner).claim, None);
    cluster.settle(RULES.reserve);
    assert_eq!(cluster.state(&waiting), State::Held);
}

#[test]
fn r12_a_deletion_that_works_on_azure_keeps_the_key() {
    let (mut cluster, owner, waiting) = pair();
    cluster.edit(&owner, Stage::Deleting { working: true });
    cluster.settle(3 * RULES.lapse_after);
    assert_eq!(cluster.state(&owner), State::Releasing);
    assert_eq!(cluster.state(&waiting), State::Waiting);
    cluster.delete(&owner, false);
    cluster.settle(RULES.reserve);
    assert_eq!(cluster.state(&waiting), State::Held);
}

#[test]
fn r13_a_denied_holder_loses_it_to_who_waits_and_not_before() {
    let (mut cluster, owner, waiting) = pair();
    cluster.object_mut(&owner).access = Access::Stranger;
    cluster.settle(RULES.lapse_after.saturating_sub(RETRY));
    assert_eq!(cluster.state(&owner), State::Held);
    cluster.settle(2 * RETRY);
    assert_eq!(
        (cluster.state(&owner), cluster.state(&waiting)),
        (State::None, State::Held)
    );
    // Nobody waits: nothing lapses.
    let mut alone = Cluster::new();
    let owner = alone.apply("a", Access::Owner);
    alone.object_mut(&owner).access = Access::Stranger;
    let stranger = alone.apply("b", Access::Stranger);
    alone.settle(10 * RULES.lapse_after);
    assert_eq!(
        (alone.state(&owner), alone.state(&stranger)),
        (State::Held, State::None)
    );
}

#[test]
fn r13_this_process_must_have_seen_three_denials() {
    let (mut cluster, owner, waiting) = pair();
    cluster.object_mut(&owner).access = Access::Stranger;
    cluster.settle(RULES.lapse_after.saturating_sub(RETRY));
    cluster.restart();
    cluster.sleep(2 * RETRY);
    for _ in 0..5 {
        // Results in quick succession count once.
        cluster.all();
        assert_eq!(cluster.state(&owner), State::Held);
    }
    cluster.settle(2 * RETRY);
    assert_eq!(cluster.state(&waiting), State::Held);
}

#[test]
fn r13_an_outage_is_no_denial() {
    let (mut cluster, owner, waiting) = pair();
    cluster.object_mut(&owner).access = Access::Outage;
    cluster.settle(RULES.unknown_lapse_after.saturating_sub(RETRY));
    assert_eq!(cluster.state(&owner), State::Held, "longer than D");
    cluster.settle(3 * RETRY);
    assert_eq!(cluster.state(&waiting), State::Held);
}

#[test]
fn r14_the_namespace_of_a_deleted_owner_goes_first() {
    let (mut cluster, owner, waiting) = pair();
    cluster.delete(&owner, false);
    let until = cluster.now.checked_add(signed(RULES.reserve)).unwrap();
    assert_eq!(ownership(&cluster, &waiting), Ownership::Reserved(until));
    assert_eq!(
        cluster.object(&waiting).claim.as_ref().unwrap().not_before,
        Some(Time(until))
    );
    // GitOps creates the object again.
    cluster.sleep(RETRY);
    let again = cluster.apply("a", Access::Owner);
    assert_eq!(cluster.state(&again), State::Held);
    cluster.settle(2 * RULES.lapse_after);
    assert_eq!(cluster.state(&waiting), State::Waiting);
    // It is not created again; a new object of a third namespace does not slip in.
    cluster.delete(&again, false);
    let third = cluster.apply("c", Access::Owner);
    assert!(matches!(ownership(&cluster, &third), Ownership::Reserved(_)));
    cluster.settle(RULES.reserve);
    assert_eq!(cluster.owners(), [waiting.as_str()]);
}

#[test]
fn r14_a_waiting_object_of_the_same_namespace_takes_it_at_once() {
    let (mut cluster, owner, other) = pair();
    let twin = cluster.apply("a", Access::Owner);
    cluster.delete(&owner, false);
    assert_eq!(
        (cluster.state(&twin), cluster.state(&other)),
        (State::Held, State::Waiting)
    );
}

#[test]
fn r14_a_holder_that_disappeared_unseen_is_reserved_too() {
    let (mut cluster, owner, waiting) = pair();
    cluster.objects.retain(|object| object.uid != owner);
    cluster.restart();
    assert!(matches!(ownership(&cluster, &waiting), Ownership::Reserved(_)));
    let again = cluster.apply("a", Access::Owner);
    assert_eq!(cluster.state(&again), State::Held);
}

#[test]
fn r15_a_new_owner_has_established_nothing() {
    let (mut cluster, owner, waiting) = pair();
    let established = |cluster: &Cluster, uid: &str| {
        let claim = cluster.object(uid).claim.clone();
        claim.unwrap().established_since
    };
    let first = established(&cluster, &owner).unwrap();
    cluster.sleep(RETRY);
    cluster.reconcile(&owner);
    assert_eq!(
        established(&cluster, &owner).as_ref(),
        Some(&first),
        "a holder keeps it"
    );
    assert_eq!(established(&cluster, &waiting), None);
    cluster.edit(&owner, Stage::Observes);
    cluster.edit(&owner, Stage::Enforces);
    cluster.edit(&waiting, Stage::Observes);
    assert_eq!(cluster.state(&owner), State::Held);
    assert!(
        established(&cluster, &owner).unwrap().0 > first.0,
        "it begins again"
    );
}

#[test]
fn r16_only_who_waits_and_proved_its_access_is_left_something() {
    let (mut cluster, owner, waiting) = pair();
    assert!(cluster.successor(&owner));
    cluster.edit(&waiting, Stage::Suspended);
    assert!(!cluster.successor(&owner));
    cluster.edit(&waiting, Stage::Enforces);
    cluster.object_mut(&waiting).access = Access::Stranger;
    cluster.reconcile(&waiting);
    assert!(!cluster.successor(&owner));
}

#[test]
fn r17_of_two_holders_the_later_one_yields_before_anyone_writes() {
    let mut cluster = Cluster::new();
    let (a, b) = (
        cluster.create("a", Access::Owner),
        cluster.create("b", Access::Owner),
    );
    cluster.object_mut(&a).claim = Some(held_since(&a, 20));
    cluster.object_mut(&b).claim = Some(held_since(&b, 10));
    cluster.restart();
    assert!(
        cluster.writes.iter().all(|(_, uid)| *uid == b),
        "{:?}",
        cluster.writes
    );
    assert_eq!(
        (cluster.state(&a), cluster.state(&b)),
        (State::Waiting, State::Held)
    );
    // The same time: the larger uid yields.
    let mut cluster = Cluster::new();
    let (a, b) = (
        cluster.create("a", Access::Owner),
        cluster.create("b", Access::Owner),
    );
    cluster.object_mut(&a).claim = Some(held_since(&a, 10));
    cluster.object_mut(&b).claim = Some(held_since(&b, 10));
    cluster.restart();
    assert_eq!(
        (cluster.state(&a), cluster.state(&b)),
        (State::Held, State::Waiting)
    );
}

#[test]
fn r18_a_connector_without_its_protection_keeps_the_key_for_a_while() {
    let (mut cluster, owner, waiting) = pair();
    cluster.edit(&owner, Stage::Blocked);
    let writes = cluster.writes.len();
    cluster.settle(RULES.lapse_after.saturating_sub(RETRY));
    assert_eq!(cluster.state(&owner), State::Held);
    assert_eq!(cluster.writes.len(), writes, "it writes nothing");
    cluster.settle(2 * RETRY);
    assert_eq!(cluster.state(&waiting), State::Held);
    // One that never held it does not begin.
    let blocked = cluster.create("c", Access::Owner);
    cluster.edit(&blocked, Stage::Blocked);
    assert_eq!(cluster.state(&blocked), State::None);
}

#[test]
fn r19_a_change_of_owner_is_reported_with_both_names() {
    let (mut cluster, owner, waiting) = pair();
    assert_eq!(cluster.changes, [], "the first owner follows nobody");
    cluster.restart();
    assert_eq!(cluster.changes, [], "nor does a restart change anything");
    let names = |cluster: &Cluster, uid: &str| -> Names { cluster.object(uid).names.clone() };
    let change = OwnerChange {
        from: names(&cluster, &owner),
        to: names(&cluster, &waiting),
    };
    cluster.object_mut(&owner).access = Access::Stranger;
    cluster.settle(2 * RULES.lapse_after);
    assert_eq!(cluster.changes, [change]);
}

#[test]
fn an_owner_that_another_object_waits_for_proves_its_access_often() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let next = |verdict: &Verdict| Claim { uid: "u", verdict }.at_most(DAY, RETRY);
    let mut verdict = Verdict::holds();
    assert_eq!(next(&verdict), DAY);
    verdict.is_awaited = true;
    assert_eq!(next(&verdict), 2 * RETRY);
    verdict.denied_since = Some(crate::Timestamp::UNIX_EPOCH);
    assert_eq!(next(&verdict), RETRY);
    let mut waiting = Verdict::waits(None);
    waiting.is_awaited = true;
    assert_eq!(next(&waiting), DAY, "who waits keeps its interval");
    // Its last proof is old when the other one comes: it is asked at once.
    let mut cluster = Cluster::new();
    let owner = cluster.apply("a", Access::Owner);
    cluster.object_mut(&owner).access = Access::Stranger;
    cluster.sleep(DAY);
    cluster.apply("b", Access::Owner);
    let claim = cluster.object(&owner).claim.clone().unwrap();
    assert_eq!(claim.denied_since, Some(Time(cluster.now)));
}
