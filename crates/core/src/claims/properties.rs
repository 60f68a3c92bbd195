//! What holds in every history of objects, access rights, outages and restarts (docs/claims.md).

use std::time::Duration;

use proptest::prelude::*;

use super::{
    candidate::{Stage, State},
    model::{Access, Cluster, Object, RETRY, RULES},
    rules::signed,
};

#[derive(Clone, Debug)]
enum Step {
    Create { namespace: u8, access: Access },
    Delete { at: usize, kept: bool },
    Edit { at: usize, stage: Stage },
    Access { at: usize, access: Access },
    Reconcile { at: usize },
    Sleep(Duration),
    Restart,
}

fn access() -> impl Strategy<Value = Access> {
    prop_oneof![
        4 => Just(Access::Owner),
        1 => Just(Access::Hidden),
        1 => Just(Access::Reader),
        1 => Just(Access::HiddenReader),
        2 => Just(Access::Stranger),
        1 => Just(Access::Outage),
    ]
}

fn stage() -> impl Strategy<Value = Stage> {
    prop_oneof![
        3 => Just(Stage::Enforces),
        1 => Just(Stage::Observes),
        1 => Just(Stage::Suspended),
        1 => Just(Stage::Unreadable),
        1 => Just(Stage::Blocked),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let at = 0_usize..6;
    prop_oneof![
        3 => (0_u8..3, access()).prop_map(|(namespace, access)| Step::Create { namespace, access }),
        2 => (at.clone(), any::<bool>()).prop_map(|(at, kept)| Step::Delete { at, kept }),
        2 => (at.clone(), stage()).prop_map(|(at, stage)| Step::Edit { at, stage }),
        2 => (at.clone(), access()).prop_map(|(at, access)| Step::Access { at, access }),
        3 => at.prop_map(|at| Step::Reconcile { at }),
        2 => (1_u64..2000).prop_map(|seconds| Step::Sleep(Duration::from_secs(seconds))),
        1 => Just(Step::Restart),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..30)
}

/// The uid of the object at this place, among those that are not being deleted.
fn uid(cluster: &Cluster, at: usize) -> Option<String> {
    let mut objects = cluster
        .objects
        .iter()
        .filter(|object| !matches!(object.stage, Stage::Deleting { .. }));
    let count = objects.clone().count();
    (count > 0).then(|| objects.nth(at % count).unwrap().uid.clone())
}

fn make(cluster: &mut Cluster, step: &Step) {
    match step {
        Step::Create { namespace, access } => {
            cluster.apply(&format!("ns-{namespace}"), *access);
        }
        Step::Sleep(duration) => cluster.sleep(*duration),
        Step::Restart => cluster.restart(),
        Step::Delete { at, kept } => {
            if let Some(uid) = uid(cluster, *at) {
                cluster.delete(&uid, *kept);
            }
        }
        Step::Edit { at, stage } => {
            if let Some(uid) = uid(cluster, *at) {
                cluster.edit(&uid, *stage);
            }
        }
        Step::Access { at, access } => {
            if let Some(uid) = uid(cluster, *at) {
                cluster.object_mut(&uid).access = *access;
            }
        }
        Step::Reconcile { at } => {
            if let Some(uid) = uid(cluster, *at) {
                cluster.reconcile(&uid);
            }
        }
    }
    // The model checks before each write that the writer alone holds the key.
    assert!(cluster.owners().len() <= 1, "{:?}", cluster.owners());
}

/// Longer than every period of the rules.
fn settle(cluster: &mut Cluster) {
    cluster.settle(RULES.unknown_lapse_after + RULES.lapse_after);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    /// At every revision at most one object holds the key, and none writes without it.
    #[test]
    fn one_owner_and_no_write_without_a_claim(steps in steps()) {
        let mut cluster = Cluster::new();
        for step in &steps {
            make(&mut cluster, step);
        }
        settle(&mut cluster);
        prop_assert!(cluster.owners().len() <= 1);
    }

    /// In the end the owner is somebody who may write, if there is such an object that wants to.
    #[test]
    fn who_may_write_becomes_the_owner(steps in steps()) {
        let mut cluster = Cluster::new();
        for step in &steps {
            make(&mut cluster, step);
        }
        settle(&mut cluster);
        let may = |object: &Object| object.stage == Stage::Enforces && object.access == Access::Owner;
        if cluster.objects.iter().any(may) {
            let owners = cluster.owners();
            prop_assert_eq!(owners.len(), 1, "somebody may write, and nobody owns");
            let owner = cluster.object(owners[0]);
            // Nothing shows what a suspended object without readable permissions may do.
            let unknown = owner.access == Access::HiddenReader && owner.stage != Stage::Enforces;
            prop_assert!(owner.access.writes() || unknown, "{:?}", owner);
        }
    }

    /// Who never proves anything changes nothing for anybody: not who owns, not who waits, and no write.
    #[test]
    fn objects_without_access_change_nothing(
        steps in prop::collection::vec(step(), 1..30),
        squatters in prop::collection::vec((0_usize..30, 0_u8..3, stage()), 1..6),
    ) {
        let run = |with: bool| {
            let mut cluster = Cluster::new();
            let mut number = 500;
            let ours = |cluster: &Cluster| -> Vec<_> {
                let ours = cluster.objects.iter().filter(|object| object.uid.as_str() < "uid-500");
                ours.map(|object| (object.uid.clone(), object.state())).collect()
            };
            for (at, step) in steps.iter().enumerate() {
                for (_, namespace, stage) in squatters.iter().filter(|(when, ..)| with && *when == at) {
                    number += 1;
                    let uid = cluster.create_as(number, &format!("ns-{namespace}"), Access::Stranger);
                    cluster.reconcile(&uid);
                    cluster.edit(&uid, *stage);
                }
                make_without(&mut cluster, step);
            }
            settle(&mut cluster);
            let writers: Vec<_> = cluster.writes.iter().map(|(_, uid)| uid.clone()).collect();
            (ours(&cluster), writers)
        };
        prop_assert_eq!(run(true), run(false));
    }

    /// A restart at any point ends with the same owner. When the key becomes free, a restart only tries everybody once
    /// more: with rights that have just changed, another one may be the first to prove them.
    #[test]
    fn a_restart_changes_no_owner(
        objects in prop::collection::vec((0_u8..3, access()), 1..5),
        steps in prop::collection::vec(step(), 1..15),
    ) {
        let owners = |restarts: bool| {
            let mut cluster = Cluster::new();
            for (namespace, access) in &objects {
                cluster.apply(&format!("ns-{namespace}"), *access);
                cluster.sleep(RETRY);
            }
            for step in &steps {
                // Who is created while a key is reserved may come before or after a restart.
                if !matches!(step, Step::Create { .. } | Step::Restart) {
                    make(&mut cluster, step);
                }
            }
            let owner = |cluster: &Cluster| cluster.owners().first().map(|uid| (*uid).to_owned());
            let before = owner(&cluster);
            if restarts {
                cluster.restart();
            }
            settle(&mut cluster);
            (before, owner(&cluster))
        };
        let (before, without) = owners(false);
        let (_, with) = owners(true);
        prop_assert_eq!(with.is_some(), without.is_some());
        if before.is_some() && before == without {
            prop_assert_eq!(with, without);
        }
    }

    /// An object that may write holds the key within D and 15 minutes after the last proof of its owner.
    #[test]
    fn an_owner_without_access_is_replaced_in_time(
        before in 1_u64..5000,
        phase in 1_u64..300,
        denied in prop_oneof![Just(Access::Stranger), Just(Access::Reader)],
        stage in prop_oneof![Just(Stage::Enforces), Just(Stage::Suspended), Just(Stage::Unreadable), Just(Stage::Blocked)],
        restarts in any::<bool>(),
    ) {
        let mut cluster = Cluster::new();
        let owner = cluster.apply("a", Access::Owner);
        let waiting = cluster.apply("b", Access::Owner);
        cluster.sleep(Duration::from_secs(before));
        cluster.all();
        let last_proof = cluster.now;
        cluster.object_mut(&owner).access = denied;
        cluster.edit(&owner, stage);
        cluster.sleep(Duration::from_secs(phase));
        let limit = signed(RULES.lapse_after + Duration::from_secs(900) + RETRY);
        let mut restarted = false;
        while cluster.state(&waiting) != State::Held {
            prop_assert!(cluster.now.duration_since(last_proof) <= limit, "too late");
            prop_assert!(cluster.owners().len() <= 1);
            cluster.sleep(RETRY);
            if restarts && !restarted {
                restarted = true;
                cluster.restart();
            } else {
                cluster.all();
            }
        }
        let early = stage != Stage::Blocked && cluster.now.duration_since(last_proof) < signed(RULES.lapse_after);
        prop_assert!(!early, "the owner keeps it for D");
    }
}

/// Makes a step with the objects that existed without squatters.
fn make_without(cluster: &mut Cluster, step: &Step) {
    let ours: Vec<String> = cluster
        .objects
        .iter()
        .filter(|object| object.uid.as_str() < "uid-500" && !matches!(object.stage, Stage::Deleting { .. }))
        .map(|object| object.uid.clone())
        .collect();
    let pick = |at: usize| (!ours.is_empty()).then(|| ours[at % ours.len()].clone());
    match step {
        Step::Create { .. } | Step::Sleep(_) | Step::Restart => make(cluster, step),
        Step::Delete { at, kept } => {
            if let Some(uid) = pick(*at) {
                cluster.delete(&uid, *kept);
            }
        }
        Step::Edit { at, stage } => {
            if let Some(uid) = pick(*at) {
                cluster.edit(&uid, *stage);
            }
        }
        Step::Access { at, access } => {
            if let Some(uid) = pick(*at) {
                cluster.object_mut(&uid).access = *access;
            }
        }
        Step::Reconcile { at } => {
            if let Some(uid) = pick(*at) {
                cluster.reconcile(&uid);
            }
        }
    }
}
