//! SIGTERM: work in progress is finished and reported, and no new work starts.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use serverprotection_tests::{Error, cases, env::Environment, harness::Case, wait::eventually};

use super::{
    TIMEOUT,
    fixture::{Fixture, NAME, condition_values, p2},
};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![sigterm_during_a_slow_write_lets_it_finish]
}

async fn sigterm_during_a_slow_write_lets_it_finish(environment: Arc<Environment>) -> Result<(), Error> {
    for phase in ["before", "after"] {
        let fixture = Fixture::create(&environment, &format!("sigterm-{phase}"), json!({})).await?;
        let fault = environment
            .emulator
            .add_fault(json!({
                "match": {"method": "PUT", "path": "/pricings/", "subscription": fixture.team.subscription, "times": 1},
                "phase": phase, "action": {"delay": "5s"},
            }))
            .await?;
        fixture.team.protect(NAME, p2()).await?;
        let mut controller = fixture.controller()?;
        eventually("the slow write under way", TIMEOUT, || async {
            let faults = environment.emulator.faults().await.map_err(|e| e.to_string())?;
            let struck = faults
                .iter()
                .any(|found| found["id"] == fault.as_str() && found["hits"] == 1);
            if struck {
                Ok(())
            } else {
                Err(format!("{faults:?}"))
            }
        })
        .await?;
        assert_eq!(fixture.plan_writes().await?, 0, "it has no answer yet");
        let began = Instant::now();
        assert_eq!(controller.terminate().await?, Some(0), "exit code after SIGTERM");
        let took = began.elapsed();
        eprintln!("sigterm during a write that takes 5 s ({phase}): ended after {took:.1?}");
        assert!(took < Duration::from_secs(10), "{took:?}");

        // The result is reported before the end, so that it is not lost.
        let object = fixture.team.get(NAME).await?;
        assert_eq!(
            condition_values(&object, "PlanEnabled"),
            ("True", "PlanEnabled"),
            "{object:#}"
        );
        assert_eq!(
            condition_values(&object, "ExtensionsProvisioned"),
            ("True", "Provisioned")
        );
        assert_eq!(fixture.writes().await?.len(), 1, "no new write");
        let mut controller = fixture.controller()?;
        let object = fixture.ready().await?;
        assert_eq!(
            condition_values(&object, "ExtensionsProvisioned"),
            ("True", "Provisioned")
        );
        assert_eq!(fixture.plan_writes().await?, 1);
        fixture.check_monitor().await?;
        controller.terminate().await?;
    }
    Ok(())
}
