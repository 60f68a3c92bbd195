//! Adoption: an existing configuration is adopted as it is, and not reduced without approval.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use serverprotection_tests::{Error, cases, env::Environment, harness::Case};

use super::{condition_values, p2, plan_writes, ready, reconcile, stalled, writes};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        a_p2_subscription_is_not_lowered_by_a_p1_object_without_approval,
        a_subscription_in_sync_is_adopted_without_a_write,
    ]
}

async fn a_p2_subscription_is_not_lowered_by_a_p1_object_without_approval(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment
        .team_with(
            "reduction",
            json!({"pricings": {"VirtualMachines": {"pricingTier": "Standard", "subPlan": "P2"}}}),
        )
        .await?;
    team.protect("prod", json!({"plan": {"tier": "P1"}})).await?;
    stalled(&team, "prod", "ReductionNeedsApproval", "plan.tier=P1").await?;
    reconcile(&team, "prod").await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(
        writes(&team).await?.is_empty(),
        "nothing is written before the approval"
    );
    team.annotate("prod", "serverprotection.dev/approve-reduction", "plan.tier=Free")
        .await?;
    stalled(&team, "prod", "ReductionNeedsApproval", "plan.tier=P1").await?;
    assert!(writes(&team).await?.is_empty(), "another value approves nothing");

    team.annotate("prod", "serverprotection.dev/approve-reduction", "plan.tier=P1")
        .await?;
    let object = ready(&team, "prod").await?;
    assert_eq!(object["status"]["plan"]["tier"], "P1");
    assert_eq!(plan_writes(&team).await?.len(), 1);
    Ok(())
}

async fn a_subscription_in_sync_is_adopted_without_a_write(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let current = json!({
        "pricings": {"VirtualMachines": {"pricingTier": "Standard", "subPlan": "P2"}},
        "settings": {"WDATP": true, "WDATP_UNIFIED_SOLUTION": true, "WDATP_EXCLUDE_LINUX_PUBLIC_PREVIEW": false},
        "serverVulnerabilityAssessmentsSettings": {"azureServersSetting": "MdeTvm"},
    });
    let team = environment.team_with("adopted", current).await?;
    team.protect("prod", p2()).await?;
    let object = ready(&team, "prod").await?;
    assert!(writes(&team).await?.is_empty());
    // The result of its extensions was never reported.
    assert_eq!(
        condition_values(&object, "ExtensionsProvisioned").1,
        "NotReported",
        "{object:#}"
    );
    Ok(())
}
