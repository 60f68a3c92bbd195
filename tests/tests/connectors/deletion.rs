//! Deletion with the policy Delete: it ends, and it deletes only what the object held.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use serverprotection_api::FINALIZER;
use serverprotection_tests::{Error, cases, env::Environment, harness::Case, team::Team, wait::eventually};

use super::{
    PROTECTION, TIMEOUT, another_account, condition_values, edit_in_azure, event, fault, in_azure, pause,
    protected, ready, requests, stalled,
};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        the_finalizer_is_set_before_the_first_write,
        delete_deletes_the_connector,
        delete_sets_the_finalizer_and_retain_removes_it,
        the_server_protection_may_be_deleted_first,
        suspended_and_observed_connectors_stay,
        a_connector_that_another_object_claims_stays,
        a_deletion_is_not_hindered_by_objects_without_access,
        a_connector_that_was_never_held_stays,
        a_connector_that_now_connects_another_account_stays,
        a_connector_that_is_gone_already_needs_no_delete,
        a_waiting_deletion_reports_why_and_continues,
        force_remove_removes_the_finalizer_at_once,
        a_deletion_during_the_creation_leaves_nothing_behind,
        after_the_deadline_the_object_goes_and_the_connector_stays,
        a_delete_with_a_lost_response_is_repeated,
    ]
}

/// A team with a connector that is Ready and has the policy Delete.
async fn held<'a>(environment: &'a Environment, name: &str) -> Result<Team<'a>, Error> {
    let team = protected(environment, name).await?;
    team.connect("account", json!({"deletionPolicy": "Delete"}))
        .await?;
    ready(&team, "account").await?;
    Ok(team)
}

async fn stays(team: &Team<'_>) -> Result<(), Error> {
    assert!(
        !in_azure(team, "account").await?.is_null(),
        "the connector is gone"
    );
    assert!(requests(team, "DELETE").await?.is_empty(), "unexpected DELETE");
    Ok(())
}

async fn the_finalizer_is_set_before_the_first_write(environment: Arc<Environment>) -> Result<(), Error> {
    let team = protected(&environment, "first").await?;
    let held = json!({"match": {"method": "PUT", "path": "/securityConnectors/"}, "action": {"hang": true}});
    let id = fault(&team, held).await?;
    team.connect("account", json!({"deletionPolicy": "Delete"}))
        .await?;
    eventually("a PUT that waits", TIMEOUT, || async {
        let faults = environment.emulator.faults().await.map_err(|e| e.to_string())?;
        let hanging = |fault: &Value| fault["id"] == id.as_str() && fault["hanging"] == 1;
        if faults.iter().any(hanging) {
            Ok(())
        } else {
            Err(format!("{faults:?}"))
        }
    })
    .await?;
    let object = team.connectors().get("account").await?;
    let current = in_azure(&team, "account").await?;
    environment.emulator.delete_fault(&id).await?;
    assert_eq!(object["metadata"]["finalizers"], json!([FINALIZER]));
    assert!(current.is_null(), "it was written already");
    ready(&team, "account").await?;
    Ok(())
}

async fn delete_deletes_the_connector(environment: Arc<Environment>) -> Result<(), Error> {
    let team = held(&environment, "deleted").await?;
    team.connectors().delete("account", TIMEOUT).await?;
    assert!(in_azure(&team, "account").await?.is_null());
    assert_eq!(requests(&team, "DELETE").await?.len(), 1);
    event(&team, "account", "ConnectorDeleted").await?;
    // The status is still updated during the deletion.
    eventually("Ready/Deleting", TIMEOUT, || {
        let recorder = &environment.recorder;
        let history = recorder.of("SecurityConnector", &team.namespace, "account");
        let condition_values = history.iter().any(|version| {
            let ready = version.condition("Ready");
            version.deleting && ready.is_some_and(|ready| ready["reason"] == "Deleting")
        });
        std::future::ready(if condition_values {
            Ok(())
        } else {
            Err("no version says so")
        })
    })
    .await
}

async fn delete_sets_the_finalizer_and_retain_removes_it(environment: Arc<Environment>) -> Result<(), Error> {
    let team = protected(&environment, "switched").await?;
    team.connect("account", json!({})).await?;
    ready(&team, "account").await?;
    let theirs = json!({"metadata": {"finalizers": ["example.com/theirs"]}});
    team.connectors().patch("account", theirs).await?;
    for (policy, finalizers) in [
        ("Delete", json!(["example.com/theirs", FINALIZER])),
        ("Retain", json!(["example.com/theirs"])),
        ("Delete", json!(["example.com/theirs", FINALIZER])),
        ("Retain", json!(["example.com/theirs"])),
    ] {
        let edit = json!({"spec": {"deletionPolicy": policy}});
        team.connectors().patch("account", edit).await?;
        let object = ready(&team, "account").await?;
        assert_eq!(object["metadata"]["finalizers"], finalizers, "{policy}");
    }
    assert_eq!(
        requests(&team, "PUT").await?.len(),
        1,
        "the policy is not Azure's business"
    );
    let none = json!({"metadata": {"finalizers": null}});
    team.connectors().patch("account", none).await?;
    team.connectors().delete("account", TIMEOUT).await?;
    stays(&team).await
}

async fn the_server_protection_may_be_deleted_first(environment: Arc<Environment>) -> Result<(), Error> {
    let team = held(&environment, "orphan").await?;
    team.delete(PROTECTION, TIMEOUT).await?;
    stalled(&team, "account", "ProtectionNotFound", PROTECTION).await?;
    team.connectors().delete("account", TIMEOUT).await?;
    assert!(in_azure(&team, "account").await?.is_null());
    assert_eq!(requests(&team, "DELETE").await?.len(), 1);
    Ok(())
}

async fn suspended_and_observed_connectors_stay(environment: Arc<Environment>) -> Result<(), Error> {
    let team = held(&environment, "asleep").await?;
    team.connectors()
        .patch("account", json!({"spec": {"suspend": true}}))
        .await?;
    team.connectors()
        .until("account", "Suspended", "True", TIMEOUT)
        .await?;
    team.connectors().delete("account", TIMEOUT).await?;
    stays(&team).await?;
    let note = event(&team, "account", "ConnectorLeftBehind").await?;
    assert!(note.contains("suspended or in mode Observe"), "{note}");
    assert!(
        note.contains("/securityConnectors/account."),
        "the event names the connector: {note}"
    );

    let team = held(&environment, "observed").await?;
    team.patch(PROTECTION, json!({"spec": {"mode": "Observe"}}))
        .await?;
    team.connectors()
        .until_holds("account", "Ready/Observed", TIMEOUT, |object| {
            condition_values(object, "Ready").1 == "Observed"
        })
        .await?;
    // The ServerProtection in mode Observe is gone, but its mode is recorded.
    team.delete(PROTECTION, TIMEOUT).await?;
    stalled(&team, "account", "ProtectionNotFound", PROTECTION).await?;
    team.connectors().delete("account", TIMEOUT).await?;
    stays(&team).await?;
    event(&team, "account", "ConnectorLeftBehind").await?;
    Ok(())
}

async fn a_connector_that_another_object_claims_stays(environment: Arc<Environment>) -> Result<(), Error> {
    let team = held(&environment, "holder").await?;
    team.connect("rival", json!({"connectorName": "account"})).await?;
    stalled(&team, "rival", "ClaimConflicted", "account of this namespace").await?;
    team.connectors().delete("account", TIMEOUT).await?;
    stays(&team).await?;
    let note = event(&team, "account", "ConnectorLeftBehind").await?;
    assert!(note.contains("SecurityConnector rival waits for it"), "{note}");
    ready(&team, "rival").await?;
    Ok(())
}

/// Objects that name the account or the connector and prove nothing neither keep it in Azure nor take it.
async fn a_deletion_is_not_hindered_by_objects_without_access(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let (owner, attacker) = tokio::try_join!(held(&environment, "mine"), environment.team("theirs"))?;
    let named = json!({"aws": {"accountId": owner.account}});
    for (name, more) in [
        ("suspended", json!({"suspend": true})),
        (
            "unprotected",
            json!({"protectionRef": {"name": "does-not-exist"}}),
        ),
        (
            "both",
            json!({"suspend": true, "protectionRef": {"name": "does-not-exist"}, "connectorName": "account"}),
        ),
    ] {
        let mut spec = named.clone();
        serverprotection_tests::team::merge(&mut spec, more);
        attacker.connect(name, spec).await?;
    }
    // Its ServerProtection names the owner's subscription, to which it has no access.
    let spec = json!({"subscriptionId": owner.subscription, "plan": {"tier": "P2"}});
    attacker.protect(PROTECTION, spec).await?;
    attacker
        .connect(
            "aimed",
            json!({"connectorName": "account", "aws": {"accountId": owner.account}}),
        )
        .await?;
    let seen = |object: &Value| object["status"]["observedGeneration"] == object["metadata"]["generation"];
    for name in ["suspended", "unprotected", "both", "aimed"] {
        let object = attacker
            .connectors()
            .until_holds(name, "its first status", TIMEOUT, seen)
            .await?;
        assert!(object["status"]["claim"].is_null(), "{:#}", object["status"]);
    }
    owner.connectors().delete("account", TIMEOUT).await?;
    event(&owner, "account", "ConnectorDeleted").await?;
    assert!(in_azure(&owner, "account").await?.is_null());
    // The account is free for its owner.
    owner.connect("again", json!({})).await?;
    ready(&owner, "again").await?;
    Ok(())
}

async fn a_connector_that_was_never_held_stays(environment: Arc<Environment>) -> Result<(), Error> {
    let current = json!({"securityConnectors": [{"name": "account", "hierarchyIdentifier": another_account(),
        "serversSubPlan": "P2"}]});
    let account = current["securityConnectors"][0]["hierarchyIdentifier"].clone();
    let team = environment.team_with("never", current).await?;
    team.protect(PROTECTION, json!({"plan": {"tier": "P1"}})).await?;
    let lower = json!({"aws": {"accountId": account}, "deletionPolicy": "Delete"});
    team.connect("account", lower).await?;
    stalled(&team, "account", "ReductionNeedsApproval", "plan.tier=P1").await?;
    team.connectors().delete("account", TIMEOUT).await?;
    stays(&team).await?;
    let note = event(&team, "account", "ConnectorLeftBehind").await?;
    assert!(note.contains("never had it in sync"), "{note}");
    Ok(())
}

async fn a_connector_that_now_connects_another_account_stays(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = held(&environment, "notours").await?;
    edit_in_azure(
        &team,
        "account",
        json!({"hierarchyIdentifier": another_account()}),
    )
    .await?;
    team.connectors().delete("account", TIMEOUT).await?;
    stays(&team).await?;
    let note = event(&team, "account", "ConnectorLeftBehind").await?;
    assert!(note.contains("another account"), "{note}");
    Ok(())
}

async fn a_connector_that_is_gone_already_needs_no_delete(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = held(&environment, "gone").await?;
    let gone = json!({"securityConnectors.account": null});
    environment.emulator.set(&team.subscription, gone).await?;
    team.connectors().delete("account", TIMEOUT).await?;
    assert!(requests(&team, "DELETE").await?.is_empty());
    event(&team, "account", "ConnectorDeleted").await?;
    Ok(())
}

/// Deletes a connector in a locked subscription, until it reports that it waits.
async fn waiting<'a>(environment: &'a Environment, name: &str) -> Result<(Team<'a>, Value), Error> {
    let team = held(environment, name).await?;
    environment
        .emulator
        .set(&team.subscription, json!({"lockLevel": "ReadOnly"}))
        .await?;
    team.connectors().start_deletion("account").await?;
    let object = team
        .connectors()
        .until_holds("account", "a deletion that waits", TIMEOUT, |object| {
            condition_values(object, "Ready").2.contains("not deleted yet")
        })
        .await?;
    Ok((team, object))
}

async fn a_waiting_deletion_reports_why_and_continues(environment: Arc<Environment>) -> Result<(), Error> {
    let (team, object) = waiting(&environment, "waits").await?;
    let (status, reason, message) = condition_values(&object, "Ready");
    assert_eq!((status, reason), ("False", "Deleting"));
    assert_eq!(condition_values(&object, "Reconciling").1, "Deleting");
    for says in ["ScopeLocked", "remove the", "lock", "force-remove"] {
        assert!(message.contains(says), "no \"{says}\" in: {message}");
    }
    assert_eq!(
        object["status"]["observedGeneration"],
        object["metadata"]["generation"]
    );
    event(&team, "account", "DeletionWaits").await?;
    eventually("the metric", TIMEOUT, || async {
        let mut slot = environment.controller().await;
        let controller = slot.as_mut().ok_or("no controller")?;
        let metric = controller.metric("serverprotection_deletions_waiting", &[]).await;
        match metric.map_err(|error| error.to_string())? {
            Some(waiting) if waiting >= 1.0 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    assert!(!in_azure(&team, "account").await?.is_null());
    environment
        .emulator
        .set(&team.subscription, json!({"lockLevel": null}))
        .await?;
    team.connectors().until_gone("account", TIMEOUT).await?;
    assert!(in_azure(&team, "account").await?.is_null());
    event(&team, "account", "ConnectorDeleted").await?;
    Ok(())
}

async fn force_remove_removes_the_finalizer_at_once(environment: Arc<Environment>) -> Result<(), Error> {
    let (team, _) = waiting(&environment, "forced").await?;
    let began = Instant::now();
    let annotation = "serverprotection.dev/force-remove";
    team.connectors().annotate("account", annotation, "true").await?;
    team.connectors().until_gone("account", TIMEOUT).await?;
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "after {:?}",
        began.elapsed()
    );
    assert!(!in_azure(&team, "account").await?.is_null());
    let note = event(&team, "account", "ConnectorLeftBehind").await?;
    assert!(note.contains(annotation), "{note}");
    Ok(())
}

/// An object is deleted while the write of its connector is in progress, and the response is lost.
async fn a_deletion_during_the_creation_leaves_nothing_behind(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = protected(&environment, "created").await?;
    let matching = json!({"method": "PUT", "path": "/securityConnectors/", "times": 1});
    let lost = json!({"hang": true, "respond": {"status": 504}});
    let id = fault(
        &team,
        json!({"match": matching, "phase": "after", "action": lost}),
    )
    .await?;
    team.connect("account", json!({"deletionPolicy": "Delete"}))
        .await?;
    eventually("the connector", TIMEOUT, || async {
        let connector = in_azure(&team, "account")
            .await
            .map_err(|error| error.to_string())?;
        if connector.is_null() { Err("none") } else { Ok(()) }.map_err(String::from)
    })
    .await?;
    team.connectors().start_deletion("account").await?;
    environment.emulator.delete_fault(&id).await?;
    team.connectors().until_gone("account", TIMEOUT).await?;
    assert!(in_azure(&team, "account").await?.is_null(), "an orphan");
    event(&team, "account", "ConnectorDeleted").await?;
    Ok(())
}

async fn after_the_deadline_the_object_goes_and_the_connector_stays(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let (team, _) = waiting(&environment, "deadline").await?;
    tokio::time::sleep(super::DELETION_DEADLINE / 2).await;
    team.connectors().get("account").await?;
    team.connectors().until_gone("account", TIMEOUT).await?;
    assert!(!in_azure(&team, "account").await?.is_null());
    let tries = requests(&team, "DELETE").await?.len();
    assert!((2..=6).contains(&tries), "{tries} tries on a clock of 3 s");
    let note = event(&team, "account", "ConnectorLeftBehind").await?;
    assert!(note.contains("did not delete it within"), "{note}");
    Ok(())
}

async fn a_delete_with_a_lost_response_is_repeated(environment: Arc<Environment>) -> Result<(), Error> {
    let team = held(&environment, "lost").await?;
    let lost = json!({"match": {"method": "DELETE", "path": "/securityConnectors/", "times": 1},
        "phase": "after", "action": {"respond": {"status": 504}}});
    fault(&team, lost).await?;
    team.connectors().delete("account", TIMEOUT).await?;
    assert!(in_azure(&team, "account").await?.is_null());
    assert_eq!(
        requests(&team, "DELETE").await?.len(),
        1,
        "the read shows that it is gone"
    );
    event(&team, "account", "ConnectorDeleted").await?;
    pause().await;
    Ok(())
}
