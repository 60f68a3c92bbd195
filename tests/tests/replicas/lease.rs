//! What others do with the Lease, and two controllers that start at once.

use std::{sync::Arc, time::Instant};

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::{SignedDuration, Timestamp},
};
use kube::api::{Patch, PatchParams};
use serde_json::json;
use serverprotection_tests::{Error, cases, env::Environment, harness::Case};

use crate::{
    TIMEOUT,
    pair::{LEASE, NAME, Pair, TIMES, is_leader, leads},
};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        two_controllers_that_start_together_have_one_writer,
        the_clock_of_another_leader_does_not_matter,
    ]
}

async fn two_controllers_that_start_together_have_one_writer(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let pair = Pair::create(&environment, "together").await?;
    let spec = json!({"plan": {"tier": "P2"}});
    pair.team.protect(NAME, spec).await?;
    let mut both = [pair.start("first")?, pair.start("second")?];
    let object = pair.team.until(NAME, "Ready", "True", TIMEOUT).await?;
    assert_eq!(object["status"]["claim"]["state"], "Held");
    let mut leaders = 0.0;
    for replica in &mut both {
        replica.wait_ready(TIMEOUT).await?;
        leaders += is_leader(replica).await?.unwrap();
    }
    assert!((leaders - 1.0).abs() < f64::EPSILON, "{leaders} leaders");
    for replica in &mut both {
        assert_eq!(replica.terminate().await?, Some(0));
    }
    Ok(())
}

/// A leader on a node whose clock is an hour slow, and then one whose clock is an hour fast.
async fn the_clock_of_another_leader_does_not_matter(environment: Arc<Environment>) -> Result<(), Error> {
    let pair = Pair::create(&environment, "clock").await?;
    let leases = pair.leases();
    let write = |hours: i64| {
        let now = Timestamp::now() + SignedDuration::from_hours(hours);
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": LEASE},
            "spec": {"holderIdentity": "another", "leaseDurationSeconds": TIMES[0].as_secs(),
                "renewTime": MicroTime(now)}});
        let leases = leases.clone();
        async move {
            let parameters = PatchParams::apply("tests").force();
            leases.patch(LEASE, &parameters, &Patch::Apply(lease)).await
        }
    };
    write(-1).await?;
    let mut standby = pair.start("first")?;
    standby.wait_ready(TIMEOUT).await?;
    for hours in [-1, 1] {
        let began = Instant::now();
        while began.elapsed() < 2 * TIMES[0] {
            write(hours).await?;
            assert_eq!(is_leader(&mut standby).await?, Some(0.0));
            tokio::time::sleep(TIMES[0] / 4).await;
        }
    }
    // The other one does not renew any more. Its time is still in the future.
    leads(&mut standby).await?;
    assert_eq!(standby.terminate().await?, Some(0));
    Ok(())
}
