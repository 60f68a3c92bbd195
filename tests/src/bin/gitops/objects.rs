//! Many objects of a team at once.

use crate::steps::ensure;
use kube::api::ListParams;
use serde_json::{Value, json};
use serverprotection_tests::{Error, objects::condition, team::Team};
use std::{collections::BTreeMap, time::Duration};

/// Pause between two lists of all objects.
const PAUSE: Duration = Duration::from_millis(500);

/// Fails unless so many objects of the team have this plan in their spec and, if asked for, are Ready with it.
pub(crate) async fn have(team: &Team<'_>, number: usize, plan: &str, ready: bool) -> Result<(), Error> {
    let mut reached = 0;
    for object in team.api().list(&ListParams::default()).await? {
        let object = serde_json::to_value(object)?;
        let status = condition(&object, "Ready").and_then(|ready| ready.get("status"));
        let observed = object.pointer("/status/observedGeneration");
        let current = observed == object.pointer("/metadata/generation");
        let is_ready = current && status == Some(&json!("True"));
        let has_plan = object.pointer("/spec/plan/tier") == Some(&json!(plan));
        reached += usize::from(has_plan && (!ready || is_ready));
    }
    if reached != number {
        // The next list is as expensive as this one, and takes time from the programs that are measured.
        tokio::time::sleep(PAUSE).await;
    }
    ensure(reached == number, || format!("{reached} of {number}"))
}

/// How many recorded versions of the team's objects have another status than the version before.
pub(crate) fn status_writes(team: &Team<'_>) -> usize {
    let versions = team.history();
    let mut last: BTreeMap<&str, &Value> = BTreeMap::new();
    let changed = versions.iter().filter(|version| {
        let before = last.insert(&version.uid, &version.status);
        before.is_some_and(|before| *before != version.status)
    });
    changed.count()
}
