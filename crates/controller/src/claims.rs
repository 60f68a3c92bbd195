//! The claims of a kind: the index of `core`, and what its decisions trigger.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kube::api::ObjectMeta;
use serde_json::Value;
use serverprotection_api::{ClaimStatus, TargetCredential};
use serverprotection_core::{
    azure_error::{AzureError, ErrorClass},
    claims::{
        Acknowledged, Claim, ClaimIndex, Evidence, Names, Rules, Seen, Stage, State, Verdict, belongs_to,
    },
};

use crate::{
    clock::now,
    context::{Context, InContext},
    kind::{Kind, StatusExt},
    parsed::InvalidObject,
    state::ObjectState,
    status_writer::{Error, write_status},
};

/// The claim index and the creations of connectors, each behind its lock, which is never held across an await.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    rules: Rules,
    index: Mutex<ClaimIndex>,
    /// The object that is creating a connector, by account.
    creations: Arc<Mutex<HashMap<String, String>>>,
}

/// The right of one object to create a connector for an account. Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Creation {
    all: Arc<Mutex<HashMap<String, String>>>,
    account: String,
}

impl Drop for Creation {
    fn drop(&mut self) {
        lock(&self.all).remove(&self.account);
    }
}

impl Claims {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            index: Mutex::new(ClaimIndex::new(rules)),
            creations: Arc::default(),
        }
    }

    /// Forgets everything: a new leader decides only by what it lists itself (R6).
    pub(crate) fn forget(&self) {
        *self.index() = ClaimIndex::new(self.rules);
    }

    pub(crate) fn index(&self) -> MutexGuard<'_, ClaimIndex> {
        lock(&self.index)
    }

    /// Lets an object create a connector for this account; `None` while another object creates one (R2).
    pub(crate) fn create(&self, account: &str, uid: &str) -> Option<Creation> {
        let mut all = lock(&self.creations);
        if all.contains_key(account) {
            return None;
        }
        all.insert(account.to_owned(), uid.to_owned());
        Some(Creation {
            all: Arc::clone(&self.creations),
            account: account.to_owned(),
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Namespace and name of an object.
pub(crate) fn names(meta: &ObjectMeta) -> Names {
    Names {
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
    }
}

/// An object as a candidate of this key. `None` if it has no uid.
pub(crate) fn seen(
    meta: &ObjectMeta,
    key: String,
    stage: Stage,
    claim: Option<ClaimStatus>,
) -> Option<Seen<'_>> {
    Some(Seen {
        names: names(meta),
        uid: meta.uid.as_deref()?,
        created: meta.creation_timestamp.as_ref().map(|time| time.0),
        key,
        stage,
        claim,
    })
}

/// The claim in the status of an object that cannot be parsed.
pub(crate) fn status_claim(object: &InvalidObject) -> Option<ClaimStatus> {
    let claim = object.raw.pointer("/status/claim")?;
    // A member that this build does not know must not free the claim.
    serde_json::from_value(claim.clone()).ok().or_else(|| {
        Some(ClaimStatus {
            state: claim.get("state")?.as_str()?.to_owned(),
            uid: claim.get("uid").and_then(Value::as_str).map(str::to_owned),
            ..ClaimStatus::default()
        })
    })
}

/// The decision about an object in its reconcile, which used this credential of its namespace and learned this.
pub(crate) fn decide<K: InContext>(
    meta: &ObjectMeta,
    stage: Stage,
    credential: Option<&TargetCredential>,
    evidence: Option<Evidence>,
    context: &Context,
) -> Verdict {
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let credential = credential.map(|known| context.credentials.identified(namespace, known));
    let uid = meta.uid.as_deref().unwrap_or_default();
    let own = K::own(context);
    let mut index = own.claims.index();
    let verdict = index.decide(uid, stage, credential, evidence, now());
    let verdict = verdict.unwrap_or_else(Verdict::unknown);
    // The holder is asked for its proof if the last one is old (R10).
    let asked = index.stale_holder(uid, now()).cloned();
    drop(index);
    trigger::<K>(asked.as_slice(), context);
    verdict
}

/// Whether an object that is not reconciled by itself must prove its access now (R10).
pub(crate) fn must_prove<K: InContext>(meta: &ObjectMeta, context: &Context) -> bool {
    let uid = meta.uid.as_deref().unwrap_or_default();
    K::own(context).claims.index().must_prove(uid, now())
}

/// Whether the API server has the claim with which the object may write.
pub(crate) fn is_recorded<K: Kind>(object: &K, state: &ObjectState<K>) -> bool {
    let uid = object.meta().uid.as_deref().unwrap_or_default();
    let claim = state.acknowledged.claim().filter(|claim| belongs_to(claim, uid));
    !state.uncertain && State::of(claim).occupies()
}

/// Whether Azure accepted a write of the object, or denied it.
pub(crate) fn wrote<K: InContext>(object: &K, any: bool, failure: Option<&AzureError>, context: &Context) {
    let denied = failure.is_some_and(|failure| matches!(failure.class, ErrorClass::Permission(_)));
    if any || denied {
        let uid = object.meta().uid.as_deref().unwrap_or_default();
        K::own(context).claims.index().wrote(uid, !any, now());
    }
}

/// Ends the claim of an object that is being deleted and has nothing to do any more (R11).
///
/// # Errors
///
/// Fails if the API server does not acknowledge the write.
pub(crate) async fn release<K: InContext>(object: &K, stage: Stage, context: &Context) -> Result<(), Error> {
    let Some(mut known) = K::states(context).get(object.meta()) else {
        return Ok(());
    };
    let verdict = decide::<K>(object.meta(), stage, None, None, context);
    if known.status.claim().is_none() || verdict.state != State::None {
        return Ok(());
    }
    let mut status = K::Status::clone(&known.status);
    status.clear_claim();
    write_status(object, &mut known, status, context).await.map(drop)
}

/// The claim of an object as an argument of a decision.
pub(crate) fn claim<'a, K: Kind>(object: &'a K, verdict: &'a Verdict) -> Claim<'a> {
    Claim {
        uid: object.meta().uid.as_deref().unwrap_or_default(),
        verdict,
    }
}

/// The API server has this claim of the object now: others may take the key, and a change of owner is reported (R19).
pub(crate) fn acknowledged<K: InContext>(meta: &ObjectMeta, claim: Option<&ClaimStatus>, context: &Context) {
    let own = K::own(context);
    let uid = meta.uid.as_deref().unwrap_or_default();
    let mut index = own.claims.index();
    let Acknowledged { waiting, change } = index.acknowledged(uid, claim, now());
    let asked = index.stale_holder(uid, now()).cloned();
    drop(index);
    trigger::<K>(&waiting, context);
    trigger::<K>(asked.as_slice(), context);
    if let Some(change) = change {
        let text = |names: &Names| format!("{}/{}", names.namespace, names.name);
        let (from, to) = (text(&change.from), text(&change.to));
        tracing::info!(kind = K::NAME, from, to, "a claim has another owner");
        context.metrics.claim_changed(K::NAME);
    }
}

fn trigger<K: InContext>(waiting: &[Names], context: &Context) {
    for names in waiting {
        K::own(context).trigger.reconcile(&names.namespace, &names.name);
    }
}
