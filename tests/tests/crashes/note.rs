//! The intent before a plan write, loaded after a crash together with a changed spec.

use std::sync::Arc;

use serde_json::{Value, json};
use serverprotection_tests::{Error, cases, env::Environment, harness::Case, team::condition};

use super::{
    TIMEOUT,
    fixture::{Fixture, NAME, condition_values, p2},
};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        lowered_again_while_an_intent_is_recorded,
        lowered_while_the_intent_of_a_creation_is_recorded_needs_approval,
        switched_to_observe_while_an_intent_is_recorded,
        suspended_while_an_intent_is_recorded,
        crashed_again_while_an_intent_is_recorded,
    ]
}

/// Crashes during a plan write. The intent is recorded.
async fn crash_at_plan_write(fixture: &Fixture<'_>, phase: &str) -> Result<Value, Error> {
    let fault = fixture.hang_plan_write(phase).await?;
    let mut controller = fixture.controller()?;
    fixture.kill_when_it_hangs(&mut controller, &fault).await?;
    let object = fixture.team.get(NAME).await?;
    assert_eq!(
        condition_values(&object, "PlanEnabled"),
        ("Unknown", "Applying"),
        "{object:#}"
    );
    assert_eq!(
        condition_values(&object, "ExtensionsProvisioned"),
        ("Unknown", "Applying")
    );
    assert_eq!(condition_values(&object, "Ready").0, "False");
    assert_eq!(condition_values(&object, "Reconciling").0, "True");
    Ok(object)
}

fn p1() -> Value {
    json!({"spec": {"plan": {"tier": "P1", "agentlessScanning": null}}})
}

/// Whatever the effect of the write was, the new spec is written once, and the end state is as without a crash.
async fn lowered_again_while_an_intent_is_recorded(environment: Arc<Environment>) -> Result<(), Error> {
    for phase in ["before", "after"] {
        let fixture = Fixture::create(&environment, &format!("lowered-{phase}"), json!({})).await?;
        fixture
            .team
            .protect(NAME, json!({"plan": {"tier": "P1"}}))
            .await?;
        let mut controller = fixture.controller()?;
        fixture.ready().await?;
        controller.kill().await;
        fixture.team.patch(NAME, json!({"spec": p2()})).await?;
        crash_at_plan_write(&fixture, phase).await?;
        fixture.team.patch(NAME, p1()).await?;

        let mut controller = fixture.controller()?;
        let object = fixture.ready().await?;
        assert_eq!(condition_values(&object, "PlanEnabled"), ("True", "PlanEnabled"));
        assert_eq!(
            condition_values(&object, "ExtensionsProvisioned"),
            ("True", "NoneManaged")
        );
        assert_eq!(object["status"]["plan"]["tier"], "P1");
        let azure = environment.emulator.get(&fixture.team.subscription).await?;
        assert_eq!(azure["pricings"]["VirtualMachines"]["subPlan"], "P1", "{azure:#}");
        assert_eq!(fixture.plan_writes().await?, 3, "P1, P2 and P1: {phase}");
        fixture.reconcile().await?;
        assert_eq!(fixture.plan_writes().await?, 3);
        fixture.check_monitor().await?;
        controller.terminate().await?;
    }
    Ok(())
}

/// An object that was never in sync does not know that it raised the plan itself, so it asks for approval (I-12a).
async fn lowered_while_the_intent_of_a_creation_is_recorded_needs_approval(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let fixture = Fixture::create(&environment, "adopted", json!({})).await?;
    fixture.team.protect(NAME, p2()).await?;
    crash_at_plan_write(&fixture, "after").await?;
    fixture.team.patch(NAME, p1()).await?;

    let mut controller = fixture.controller()?;
    let object = fixture.team.until(NAME, "Stalled", "True", TIMEOUT).await?;
    assert_eq!(
        condition_values(&object, "Stalled").1,
        "ReductionNeedsApproval",
        "{object:#}"
    );
    assert_ne!(condition_values(&object, "ExtensionsProvisioned").0, "True");
    assert_eq!(fixture.plan_writes().await?, 1);
    fixture
        .team
        .annotate(NAME, "serverprotection.dev/approve-reduction", "plan.tier=P1")
        .await?;
    let object = fixture.ready().await?;
    assert_eq!(
        condition_values(&object, "ExtensionsProvisioned"),
        ("True", "NoneManaged")
    );
    assert_eq!(object["status"]["plan"]["tier"], "P1");
    assert_eq!(fixture.plan_writes().await?, 2);
    fixture.check_monitor().await?;
    controller.terminate().await?;
    Ok(())
}

/// Nothing is written, and nothing unknown is reported as known.
async fn switched_to_observe_while_an_intent_is_recorded(environment: Arc<Environment>) -> Result<(), Error> {
    for phase in ["before", "after"] {
        let fixture = Fixture::create(&environment, &format!("observed-{phase}"), json!({})).await?;
        fixture.team.protect(NAME, p2()).await?;
        crash_at_plan_write(&fixture, phase).await?;
        let written = fixture.writes().await?;
        fixture
            .team
            .patch(NAME, json!({"spec": {"mode": "Observe"}}))
            .await?;

        let mut controller = fixture.controller()?;
        fixture.ready().await?;
        let object = fixture.reconcile().await?;
        assert_eq!(
            condition_values(&object, "Ready"),
            ("True", "Observed"),
            "{object:#}"
        );
        if phase == "after" {
            assert_eq!(condition_values(&object, "PlanEnabled"), ("True", "PlanEnabled"));
            assert_eq!(
                condition_values(&object, "ExtensionsProvisioned"),
                ("Unknown", "ResultLost")
            );
            assert_eq!(object["status"]["plan"]["tier"], "P2");
        } else {
            assert_eq!(condition_values(&object, "PlanEnabled"), ("False", "PlanDiffers"));
            assert_eq!(
                condition_values(&object, "ExtensionsProvisioned"),
                ("False", "NotEnabled")
            );
            assert_eq!(object["status"]["plan"]["tier"], "Free");
        }
        assert_eq!(fixture.writes().await?, written, "nothing since the crash");
        fixture.recorded().await?;
        let history = fixture.team.history();
        let claimed = history.iter().any(|version| {
            version
                .condition("ExtensionsProvisioned")
                .is_some_and(|condition_values| condition_values["reason"] == "Provisioned")
        });
        assert!(!claimed, "{phase}");
        fixture.check_monitor().await?;
        controller.terminate().await?;
    }
    Ok(())
}

/// Nothing is read while the object is suspended. The result of the write is still unknown when it resumes.
async fn suspended_while_an_intent_is_recorded(environment: Arc<Environment>) -> Result<(), Error> {
    let fixture = Fixture::create(&environment, "suspended", json!({})).await?;
    fixture.team.protect(NAME, p2()).await?;
    crash_at_plan_write(&fixture, "after").await?;
    fixture
        .team
        .patch(NAME, json!({"spec": {"suspend": true}}))
        .await?;
    let asked = fixture.arm_requests().await?;

    let mut controller = fixture.controller()?;
    let object = fixture.team.until(NAME, "Suspended", "True", TIMEOUT).await?;
    assert_ne!(condition_values(&object, "Ready").0, "True");
    assert_eq!(fixture.arm_requests().await?, asked, "no call while suspended");
    fixture
        .team
        .patch(NAME, json!({"spec": {"suspend": false}}))
        .await?;
    let object = fixture.ready().await?;
    assert!(condition(&object, "Suspended").is_none());
    assert_eq!(
        condition_values(&object, "ExtensionsProvisioned"),
        ("Unknown", "ResultLost")
    );
    assert_eq!(fixture.plan_writes().await?, 2);
    fixture.recorded().await?;
    assert!(!fixture.ever("ExtensionsProvisioned", "True"));
    fixture.check_monitor().await?;
    controller.terminate().await?;
    Ok(())
}

/// The write that repeats an interrupted write may be interrupted too.
async fn crashed_again_while_an_intent_is_recorded(environment: Arc<Environment>) -> Result<(), Error> {
    let fixture = Fixture::create(&environment, "again", json!({})).await?;
    fixture.team.protect(NAME, p2()).await?;
    for phase in ["after", "before", "after"] {
        crash_at_plan_write(&fixture, phase).await?;
    }
    let mut controller = fixture.controller()?;
    let object = fixture.ready().await?;
    assert_eq!(
        condition_values(&object, "ExtensionsProvisioned"),
        ("Unknown", "ResultLost")
    );
    assert_eq!(fixture.plan_writes().await?, 4, "three cut off, one answered");
    fixture.reconcile().await?;
    assert_eq!(fixture.plan_writes().await?, 4);
    fixture.recorded().await?;
    assert!(!fixture.ever("ExtensionsProvisioned", "True"));
    fixture.check_monitor().await?;
    controller.terminate().await?;
    Ok(())
}
