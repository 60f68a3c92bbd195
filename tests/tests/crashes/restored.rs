//! An object that a backup restored, with the status of another cluster or of an earlier life.

use std::sync::Arc;

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use serverprotection_tests::{Error, cases, env::Environment, harness::Case};

use super::{
    TIMEOUT,
    fixture::{Fixture, NAME, p2},
};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![the_claim_of_a_restored_object_does_not_count]
}

async fn the_claim_of_a_restored_object_does_not_count(environment: Arc<Environment>) -> Result<(), Error> {
    let fixture = Fixture::create(&environment, "restored", json!({})).await?;
    let team = &fixture.team;
    let mut spec = p2();
    spec["credentialRef"] = json!({"kind": "AzureCredential", "name": "does-not-exist"});
    team.protect("restored", spec).await?;
    let claim = json!({"state": "Held", "uid": "9d2f3c52-0000-4000-8000-000000000001",
        "since": "2026-01-01T00:00:00Z", "establishedSince": "2026-01-01T00:00:00Z"});
    let patch = Patch::Merge(json!({"status": {"claim": claim}}));
    team.api()
        .patch_status("restored", &PatchParams::default(), &patch)
        .await?;
    team.protect(NAME, p2()).await?;
    let mut controller = fixture.controller()?;
    let object = fixture.ready().await?;
    assert_eq!(object["status"]["claim"]["state"], "Held");
    assert_eq!(object["status"]["claim"]["uid"], object["metadata"]["uid"]);
    let dropped = |object: &Value| object["status"]["claim"].is_null();
    team.until_holds("restored", "the end of the old claim", TIMEOUT, dropped)
        .await?;
    controller.terminate().await?;
    Ok(())
}
