//! One owner per subscription, across namespaces.

use std::sync::Arc;

use serde_json::json;
use serverprotection_tests::{Error, cases, env::Environment, harness::Case};

use super::{TIMEOUT, p2, plan_writes, ready, stalled};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![the_second_object_of_a_subscription_waits_and_takes_over]
}

async fn the_second_object_of_a_subscription_waits_and_takes_over(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let (first, second) = tokio::try_join!(environment.team("first"), environment.team("second"))?;
    first.protect("holder", p2()).await?;
    ready(&first, "holder").await?;

    // The second team's application may work on the first one's subscription too.
    let role = json!({"roleAssignments": {first.subscription.clone(): ["Owner"]}});
    environment.emulator.principal(&second.client_id, role).await?;
    let mut spec = p2();
    spec["subscriptionId"] = json!(first.subscription);
    spec["plan"] = json!({"tier": "P1"});
    second.protect("rival", spec).await?;
    let holder = format!("{}/holder", first.namespace);
    let object = stalled(&second, "rival", "ClaimConflicted", &holder).await?;
    assert_eq!(object["status"]["claim"]["state"], "Conflicted");
    assert_eq!(object["status"]["claim"]["holder"], holder);
    ready(&first, "holder").await?;
    assert_eq!(plan_writes(&first).await?.len(), 1, "one writer");

    first.delete("holder", TIMEOUT).await?;
    // Azure has more protection than the second object demands: it takes over, but needs approval to reduce it.
    let object = stalled(&second, "rival", "ReductionNeedsApproval", "plan.tier=P1").await?;
    assert_eq!(object["status"]["claim"]["state"], "Held");
    second
        .annotate("rival", "serverprotection.dev/approve-reduction", "plan.tier=P1")
        .await?;
    ready(&second, "rival").await?;
    assert_eq!(plan_writes(&first).await?.len(), 2);
    Ok(())
}
