//! The objects of one team do not delay those of another.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use serverprotection_tests::{Error, cases, env::Environment, harness::Case, wait::eventually};

use super::{TIMEOUT, another_account, fault, protected, ready};

/// More than there are slots.
const CONNECTORS: usize = 40;
/// How long Azure takes for each of them.
const SLOW: &str = "20s";
/// Half of the time in which the first of them would give its slot back.
const SOON: Duration = Duration::from_secs(10);

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![many_slow_connectors_of_a_team_do_not_delay_another]
}

async fn many_slow_connectors_of_a_team_do_not_delay_another(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let (slow, quick) = tokio::try_join!(protected(&environment, "slow"), protected(&environment, "quick"))?;
    let delay = json!({"match": {"method": "PUT", "path": "/securityConnectors/"}, "phase": "after",
        "action": {"delay": SLOW}});
    let delay = fault(&slow, delay).await?;
    for number in 0..CONNECTORS {
        let account = json!({"type": "AWS", "aws": {"accountId": another_account()}});
        slow.connect(&format!("aws-{number}"), account).await?;
    }
    // Alone, the team has more slots than its share.
    eventually("many writes at once", TIMEOUT, || async {
        let faults = environment
            .emulator
            .faults()
            .await
            .map_err(|error| error.to_string())?;
        let found = faults.iter().find(|found| found["id"] == delay.as_str());
        let writes = found.and_then(|found| found["hits"].as_u64()).unwrap_or_default();
        if writes > 16 {
            Ok(())
        } else {
            Err(format!("{writes} writes"))
        }
    })
    .await?;
    let began = Instant::now();
    quick.connect("aws", json!({})).await?;
    ready(&quick, "aws").await?;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    environment.emulator.delete_fault(&delay).await
}
