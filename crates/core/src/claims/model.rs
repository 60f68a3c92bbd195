//! A cluster of objects that name one subscription, for tests: the API server's statuses, and one process that decides.

use std::{collections::VecDeque, time::Duration};

use serverprotection_api::{ClaimCredential, ClaimStatus};

use super::{
    candidate::{Names, Stage, State},
    evidence::{Evidence, Rights},
    index::{ClaimIndex, OwnerChange, Seen},
    record::{Claim, Established, belongs_to, claim_status},
    rules::{Ownership, Rules, Verdict, signed},
};
use crate::Timestamp;

/// What Azure grants to an object's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// It may write, and may read that it may.
    Owner,
    /// It may write, but its permissions cannot be read.
    Hidden,
    /// It may only read.
    Reader,
    /// The same, and its permissions cannot be read.
    HiddenReader,
    /// It may not even read.
    Stranger,
    /// Nothing answers.
    Outage,
}

impl Access {
    pub(super) const fn writes(self) -> bool {
        matches!(self, Self::Owner | Self::Hidden)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) names: Names,
    pub(super) uid: String,
    pub(super) created: Timestamp,
    pub(super) stage: Stage,
    pub(super) access: Access,
    pub(super) claim: Option<ClaimStatus>,
    pub(super) ownership: Option<Ownership>,
}

impl Object {
    pub(super) fn state(&self) -> State {
        let ours = self.claim.as_ref().filter(|claim| belongs_to(claim, &self.uid));
        State::of(ours)
    }

    fn is_undecided(&self) -> bool {
        self.ownership == Some(Ownership::Undecided)
    }
}

pub(super) struct Cluster {
    pub(super) objects: Vec<Object>,
    index: ClaimIndex,
    pub(super) now: Timestamp,
    /// The writes to Azure: when, and by which object.
    pub(super) writes: Vec<(Timestamp, String)>,
    pub(super) changes: Vec<OwnerChange>,
    created: u32,
}

/// D is an hour and U two hours.
pub(super) const RULES: Rules = Rules {
    lapse_after: Duration::from_secs(3600),
    unknown_lapse_after: Duration::from_secs(7200),
    reserve: Duration::from_secs(600),
    spacing: Duration::from_secs(300),
};

pub(super) const RETRY: Duration = Duration::from_secs(300);

impl Cluster {
    pub(super) fn new() -> Self {
        let mut index = ClaimIndex::new(RULES);
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        index.retain(|_| false, now);
        Self {
            objects: Vec::new(),
            index,
            now,
            writes: Vec::new(),
            changes: Vec::new(),
            created: 0,
        }
    }

    pub(super) fn sleep(&mut self, duration: Duration) {
        self.now = self.now.checked_add(signed(duration)).unwrap();
    }

    /// Creates an object. Its uid is its number, whatever other objects exist.
    pub(super) fn create_as(&mut self, number: u32, namespace: &str, access: Access) -> String {
        let uid = format!("uid-{number:03}");
        let names = Names {
            namespace: namespace.into(),
            name: format!("object-{number}"),
        };
        self.objects.push(Object {
            names,
            uid: uid.clone(),
            created: self.now,
            stage: Stage::Enforces,
            access,
            claim: None,
            ownership: None,
        });
        self.deliver(&uid);
        uid
    }

    pub(super) fn create(&mut self, namespace: &str, access: Access) -> String {
        self.created += 1;
        self.create_as(self.created, namespace, access)
    }

    /// Creates an object and reconciles it.
    pub(super) fn apply(&mut self, namespace: &str, access: Access) -> String {
        let uid = self.create(namespace, access);
        self.reconcile(&uid);
        uid
    }

    pub(super) fn object(&self, uid: &str) -> &Object {
        self.objects.iter().find(|object| object.uid == uid).unwrap()
    }

    pub(super) fn object_mut(&mut self, uid: &str) -> &mut Object {
        self.objects.iter_mut().find(|object| object.uid == uid).unwrap()
    }

    pub(super) fn state(&self, uid: &str) -> State {
        self.object(uid).state()
    }

    /// Uids of the objects whose status says that they hold the key.
    pub(super) fn owners(&self) -> Vec<&str> {
        let owners = self.objects.iter().filter(|object| object.state().occupies());
        owners.map(|object| object.uid.as_str()).collect()
    }

    /// The watch delivers the object.
    fn deliver(&mut self, uid: &str) {
        let object = self.object(uid).clone();
        let seen = Seen {
            names: object.names,
            uid,
            created: Some(object.created),
            key: "s".into(),
            stage: object.stage,
            claim: object.claim,
        };
        self.index.observe(seen, self.now);
    }

    pub(super) fn edit(&mut self, uid: &str, stage: Stage) {
        self.object_mut(uid).stage = stage;
        self.deliver(uid);
        self.reconcile(uid);
    }

    /// Deletes an object; a finalizer of others may keep it.
    pub(super) fn delete(&mut self, uid: &str, kept: bool) {
        if kept {
            self.edit(uid, Stage::Deleting { working: false });
            return;
        }
        self.objects.retain(|object| object.uid != uid);
        let freed = self.index.remove(uid, self.now);
        self.run(freed);
    }

    /// The process starts again with empty memory.
    pub(super) fn restart(&mut self) {
        self.index = ClaimIndex::new(RULES);
        self.list();
        self.all();
    }

    /// A list at the start of the process.
    pub(super) fn list(&mut self) {
        let uids: Vec<_> = self.objects.iter().map(|object| object.uid.clone()).collect();
        for uid in &uids {
            self.deliver(uid);
        }
        let freed = self
            .index
            .retain(|uid| uids.iter().any(|known| known == uid), self.now);
        self.run(freed);
    }

    /// Reconciles all objects.
    pub(super) fn all(&mut self) {
        let uids: Vec<_> = self.objects.iter().map(|object| object.uid.clone()).collect();
        for uid in uids {
            self.reconcile(&uid);
        }
    }

    /// Reconciles all objects at their retry intervals for a while.
    pub(super) fn settle(&mut self, duration: Duration) {
        let end = self.now.checked_add(signed(duration)).unwrap();
        while self.now < end {
            self.sleep(RETRY);
            self.all();
        }
    }

    pub(super) fn reconcile(&mut self, uid: &str) {
        let names = self.object(uid).names.clone();
        self.run(vec![names]);
    }

    /// Reconciles objects and those that they trigger. Who waits for the turn of another one asks again soon.
    fn run(&mut self, names: Vec<Names>) {
        let mut queue = VecDeque::from(names);
        let mut undecided = VecDeque::new();
        while let Some(names) = queue.pop_front().or_else(|| undecided.pop_front()) {
            let asks_again = self.find(&names).is_some_and(Object::is_undecided);
            let Some(uid) = self.find(&names).map(|object| object.uid.clone()) else {
                continue;
            };
            queue.extend(self.once(&uid));
            if !asks_again && self.object(&uid).is_undecided() {
                undecided.push_back(names);
            }
        }
    }

    fn find(&self, names: &Names) -> Option<&Object> {
        self.objects.iter().find(|object| object.names == *names)
    }

    fn evidence(&self, uid: &str) -> Option<Evidence> {
        let object = self.object(uid);
        let asked = match object.stage {
            Stage::Suspended | Stage::Unreadable => self.index.must_prove(uid, self.now),
            Stage::Deleting { .. } => false,
            Stage::Enforces | Stage::Observes | Stage::Blocked => true,
        };
        asked.then(|| match object.access {
            _ if object.stage == Stage::Blocked => Evidence::Denied("AwaitingProtection".into()),
            Access::Owner => Evidence::Read(Rights::Allowed),
            Access::Hidden | Access::HiddenReader => Evidence::Read(Rights::Unreadable),
            Access::Reader => Evidence::Read(Rights::Missing("write")),
            Access::Stranger => Evidence::Denied("AuthorizationFailed".into()),
            Access::Outage => Evidence::Nothing,
        })
    }

    /// One reconcile: prove, decide, record the claim, write, record the result. Returns what it triggers.
    fn once(&mut self, uid: &str) -> Vec<Names> {
        let evidence = self.evidence(uid);
        let credential = ClaimCredential {
            kind: "AzureCredential".into(),
            name: uid.into(),
            uid: None,
        };
        let stage = self.object(uid).stage;
        let verdict = self
            .index
            .decide(uid, stage, Some(credential), evidence, self.now)
            .unwrap();
        self.object_mut(uid).ownership = Some(verdict.ownership.clone());
        let mut triggered = Vec::new();
        if verdict.ownership == Ownership::Undecided {
            return triggered;
        }
        let mut established = Established::No;
        if verdict.may_write() && stage == Stage::Enforces {
            triggered.extend(self.put(uid, &verdict, Established::No));
            if self.write(uid) {
                established = Established::Written;
            }
        }
        triggered.extend(self.put(uid, &verdict, established));
        triggered
    }

    /// Writes to Azure, where access allows it.
    fn write(&mut self, uid: &str) -> bool {
        assert_eq!(self.owners(), [uid], "a write without the only claim");
        let accepted = self.object(uid).access.writes();
        self.index.wrote(uid, !accepted, self.now);
        if accepted {
            self.writes.push((self.now, uid.to_owned()));
        }
        accepted
    }

    /// Writes the status.
    fn put(&mut self, uid: &str, verdict: &Verdict, established: Established) -> Vec<Names> {
        let claim = Claim { uid, verdict };
        let now = self.now;
        let object = self.object_mut(uid);
        let after = claim_status(object.claim.as_ref(), claim, established, now);
        if object.claim == after {
            return Vec::new();
        }
        object.claim.clone_from(&after);
        let acknowledged = self.index.acknowledged(uid, after.as_ref(), now);
        self.changes.extend(acknowledged.change);
        let mut triggered = acknowledged.waiting;
        triggered.extend(self.index.stale_holder(uid, now).cloned());
        triggered
    }
}

/// What single tests need.
impl Cluster {
    /// The process starts again and has not listed anything yet.
    pub(super) fn forget(&mut self) {
        self.index = ClaimIndex::new(RULES);
    }

    /// The list delivers one object.
    pub(super) fn redeliver(&mut self, uid: &str) {
        self.deliver(uid);
    }

    /// Whether the deletion of this object would leave something to another one.
    pub(super) fn successor(&self, uid: &str) -> bool {
        self.index.successor(uid).is_some()
    }
}
