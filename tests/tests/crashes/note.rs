//! The note before a plan write, found again after a crash by a spec that says something else now.

use std::sync::Arc;

use serde_json::{Value, json};
use serverprotection_tests::{
    Error,
    env::Environment,
    harness::{Case, case},
    team::condition,
};

use super::{
    SOON,
    lonely::{Lonely, NAME, p2, told},
};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    vec![
        case("lowered_again_while_the_note_stands", lowered),
        case(
            "lowered_while_the_note_of_a_creation_stands_needs_approval",
            adopted,
        ),
        case("switched_to_observe_while_the_note_stands", observed),
        case("suspended_while_the_note_stands", suspended),
        case("crashed_again_while_the_note_stands", again),
    ]
}

/// Crashes at a plan write; the note stands.
async fn crash_at_plan_write(lonely: &Lonely<'_>, phase: &str) -> Result<Value, Error> {
    let fault = lonely.hang_plan_write(phase).await?;
    let mut controller = lonely.controller()?;
    lonely.kill_when_it_hangs(&mut controller, &fault).await?;
    let object = lonely.team.get(NAME).await?;
    assert_eq!(
        told(&object, "PlanEnabled"),
        ("Unknown", "Applying"),
        "{object:#}"
    );
    assert_eq!(told(&object, "ExtensionsProvisioned"), ("Unknown", "Applying"));
    assert_eq!(told(&object, "Ready").0, "False");
    assert_eq!(told(&object, "Reconciling").0, "True");
    Ok(object)
}

fn p1() -> Value {
    json!({"spec": {"plan": {"tier": "P1", "agentlessScanning": null}}})
}

/// Whatever the write came to, the new demand is written once, and the end is as if nothing had happened.
async fn lowered(environment: Arc<Environment>) -> Result<(), Error> {
    for phase in ["before", "after"] {
        let lonely = Lonely::found(&environment, &format!("lowered-{phase}"), json!({})).await?;
        lonely.team.protect(NAME, json!({"plan": {"tier": "P1"}})).await?;
        let mut controller = lonely.controller()?;
        lonely.ready().await?;
        controller.kill().await;
        lonely.team.patch(NAME, json!({"spec": p2()})).await?;
        crash_at_plan_write(&lonely, phase).await?;
        lonely.team.patch(NAME, p1()).await?;

        let mut controller = lonely.controller()?;
        let object = lonely.ready().await?;
        assert_eq!(told(&object, "PlanEnabled"), ("True", "PlanEnabled"));
        assert_eq!(told(&object, "ExtensionsProvisioned"), ("True", "NoneManaged"));
        assert_eq!(object["status"]["plan"]["tier"], "P1");
        let azure = environment.emulator.get(&lonely.team.subscription).await?;
        assert_eq!(azure["plan"]["subPlan"], "P1", "{azure:#}");
        assert_eq!(lonely.plan_writes().await?, 3, "P1, P2 and P1: {phase}");
        lonely.visit().await?;
        assert_eq!(lonely.plan_writes().await?, 3);
        lonely.check_monitor().await?;
        controller.terminate().await?;
    }
    Ok(())
}

/// An object that never saw its subscription in sync does not know that it raised the plan itself: it asks (law 12).
async fn adopted(environment: Arc<Environment>) -> Result<(), Error> {
    let lonely = Lonely::found(&environment, "adopted", json!({})).await?;
    lonely.team.protect(NAME, p2()).await?;
    crash_at_plan_write(&lonely, "after").await?;
    lonely.team.patch(NAME, p1()).await?;

    let mut controller = lonely.controller()?;
    let object = lonely.team.until(NAME, "Stalled", "True", SOON).await?;
    assert_eq!(told(&object, "Stalled").1, "ReductionNeedsApproval", "{object:#}");
    assert_ne!(told(&object, "ExtensionsProvisioned").0, "True");
    assert_eq!(lonely.plan_writes().await?, 1);
    lonely
        .team
        .annotate(NAME, "serverprotection.dev/approve-reduction", "plan.tier=P1")
        .await?;
    let object = lonely.ready().await?;
    assert_eq!(told(&object, "ExtensionsProvisioned"), ("True", "NoneManaged"));
    assert_eq!(object["status"]["plan"]["tier"], "P1");
    assert_eq!(lonely.plan_writes().await?, 2);
    lonely.check_monitor().await?;
    controller.terminate().await?;
    Ok(())
}

/// Never a write, and no claim about what nobody knows.
async fn observed(environment: Arc<Environment>) -> Result<(), Error> {
    for phase in ["before", "after"] {
        let lonely = Lonely::found(&environment, &format!("observed-{phase}"), json!({})).await?;
        lonely.team.protect(NAME, p2()).await?;
        crash_at_plan_write(&lonely, phase).await?;
        let written = lonely.writes().await?;
        lonely
            .team
            .patch(NAME, json!({"spec": {"mode": "Observe"}}))
            .await?;

        let mut controller = lonely.controller()?;
        lonely.ready().await?;
        let object = lonely.visit().await?;
        assert_eq!(told(&object, "Ready"), ("True", "Observed"), "{object:#}");
        if phase == "after" {
            assert_eq!(told(&object, "PlanEnabled"), ("True", "PlanEnabled"));
            assert_eq!(told(&object, "ExtensionsProvisioned"), ("Unknown", "ResultLost"));
            assert_eq!(object["status"]["plan"]["tier"], "P2");
        } else {
            assert_eq!(told(&object, "PlanEnabled"), ("False", "PlanDiffers"));
            assert_eq!(told(&object, "ExtensionsProvisioned"), ("False", "NotEnabled"));
            assert_eq!(object["status"]["plan"]["tier"], "Free");
        }
        assert_eq!(lonely.writes().await?, written, "nothing since the crash");
        lonely.recorded().await?;
        let history = lonely.team.history();
        let claimed = history.iter().any(|version| {
            version
                .condition("ExtensionsProvisioned")
                .is_some_and(|told| told["reason"] == "Provisioned")
        });
        assert!(!claimed, "{phase}");
        lonely.check_monitor().await?;
        controller.terminate().await?;
    }
    Ok(())
}

/// Not even a look while it sleeps; the question is still open when it wakes up.
async fn suspended(environment: Arc<Environment>) -> Result<(), Error> {
    let lonely = Lonely::found(&environment, "suspended", json!({})).await?;
    lonely.team.protect(NAME, p2()).await?;
    crash_at_plan_write(&lonely, "after").await?;
    lonely
        .team
        .patch(NAME, json!({"spec": {"suspend": true}}))
        .await?;
    let asked = lonely.requests().await?.len();

    let mut controller = lonely.controller()?;
    let object = lonely.team.until(NAME, "Suspended", "True", SOON).await?;
    assert_ne!(told(&object, "Ready").0, "True");
    assert_eq!(lonely.requests().await?.len(), asked, "no call while suspended");
    lonely
        .team
        .patch(NAME, json!({"spec": {"suspend": false}}))
        .await?;
    let object = lonely.ready().await?;
    assert!(condition(&object, "Suspended").is_none());
    assert_eq!(told(&object, "ExtensionsProvisioned"), ("Unknown", "ResultLost"));
    assert_eq!(lonely.plan_writes().await?, 2);
    lonely.recorded().await?;
    assert!(!lonely.ever("ExtensionsProvisioned", "True"));
    lonely.check_monitor().await?;
    controller.terminate().await?;
    Ok(())
}

/// The write that closes an open one may be cut off as well.
async fn again(environment: Arc<Environment>) -> Result<(), Error> {
    let lonely = Lonely::found(&environment, "again", json!({})).await?;
    lonely.team.protect(NAME, p2()).await?;
    for phase in ["after", "before", "after"] {
        crash_at_plan_write(&lonely, phase).await?;
    }
    let mut controller = lonely.controller()?;
    let object = lonely.ready().await?;
    assert_eq!(told(&object, "ExtensionsProvisioned"), ("Unknown", "ResultLost"));
    assert_eq!(lonely.plan_writes().await?, 4, "three cut off, one answered");
    lonely.visit().await?;
    assert_eq!(lonely.plan_writes().await?, 4);
    lonely.recorded().await?;
    assert!(!lonely.ever("ExtensionsProvisioned", "True"));
    lonely.check_monitor().await?;
    controller.terminate().await?;
    Ok(())
}
