//! The leader is killed, ended, stopped, or cut from the API server.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use serverprotection_tests::{Error, cases, env::Environment, harness::Case};

use crate::{
    TIMEOUT,
    pair::{NAME, Pair, TIMES, has_ended, is_leader, leads},
};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        a_killed_leader_is_replaced,
        a_leader_that_ends_gives_the_lease_back,
        a_stopped_leader_writes_nothing_when_it_goes_on,
        a_leader_that_is_cut_from_the_api_server_stops_writing,
        a_slow_api_server_keeps_its_leader,
    ]
}

async fn a_killed_leader_is_replaced(environment: Arc<Environment>) -> Result<(), Error> {
    let pair = Pair::create(&environment, "killed").await?;
    let (mut leader, mut standby) = pair.running().await?;
    for page in ["healthz", "readyz"] {
        assert_eq!(standby.get(page).await?, "ok", "{page} of the standby");
    }
    leader.kill().await;
    let killed = Instant::now();
    pair.drift().await?;
    leads(&mut standby).await?;
    eprintln!("a killed leader was replaced after {:.1?}", killed.elapsed());
    pair.repaired().await?;
    pair.team.until(NAME, "Ready", "True", TIMEOUT).await?;
    assert_eq!(standby.terminate().await?, Some(0));
    Ok(())
}

async fn a_leader_that_ends_gives_the_lease_back(environment: Arc<Environment>) -> Result<(), Error> {
    let pair = Pair::create(&environment, "ended").await?;
    let (mut leader, mut standby) = pair.running().await?;
    let first = pair.holder().await?;
    let ended = Instant::now();
    assert_eq!(leader.terminate().await?, Some(0));
    assert!(leader.log().contains("the lease is released"), "{}", leader.log());
    leads(&mut standby).await?;
    eprintln!("a leader that ended was replaced after {:.1?}", ended.elapsed());
    assert_ne!(pair.holder().await?, first);
    pair.drift().await?;
    pair.repaired().await?;
    assert_eq!(standby.terminate().await?, Some(0));
    assert_eq!(pair.holder().await?, "", "nobody has the lease");
    Ok(())
}

async fn a_stopped_leader_writes_nothing_when_it_goes_on(environment: Arc<Environment>) -> Result<(), Error> {
    let pair = Pair::create(&environment, "stopped").await?;
    let (mut leader, mut standby) = pair.running().await?;
    // The leader is in the middle of a reconcile: its read of the settings is on its way, and will show the drift.
    let reads = json!({"method": "GET", "path": "Microsoft.Security/settings", "subscription": pair.team.subscription,
        "times": 1});
    let fault = json!({"match": reads, "phase": "before", "action": {"delay": "2s"}});
    let fault = environment.emulator.add_fault(fault).await?;
    until_struck(&environment, &fault).await?;
    pair.drift().await?;
    leader.pause()?;
    leads(&mut standby).await?;
    pair.repaired().await?;
    pair.team.until(NAME, "Ready", "True", TIMEOUT).await?;
    let writes = pair.writes().await?;
    leader.resume()?;
    has_ended(&mut leader).await?;
    assert!(leader.log().contains("the lease is lost"), "{}", leader.log());
    assert_eq!(pair.writes().await?, writes, "the former leader wrote");
    assert_eq!(is_leader(&mut standby).await?, Some(1.0));
    assert_eq!(standby.terminate().await?, Some(0));
    Ok(())
}

async fn until_struck(environment: &Environment, fault: &str) -> Result<(), Error> {
    serverprotection_tests::wait::eventually("a read on its way", TIMEOUT, || async {
        let faults = environment.emulator.faults().await.map_err(|e| e.to_string())?;
        let struck = faults
            .iter()
            .any(|found| found["id"] == fault && found["hits"] == 1);
        if struck {
            Ok(())
        } else {
            Err(format!("{faults:?}"))
        }
    })
    .await
}

async fn a_leader_that_is_cut_from_the_api_server_stops_writing(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let pair = Pair::create(&environment, "cut").await?;
    let (mut leader, relay) = pair.start_behind("first").await?;
    leads(&mut leader).await?;
    let mut standby = pair.with_standby().await?;
    relay.cut();
    let cut = Instant::now();
    // Azure is still there for it, and every two seconds it finds what to repair.
    has_ended(&mut leader).await?;
    eprintln!(
        "a leader without the API server ended after {:.1?}",
        cut.elapsed()
    );
    assert!(leader.log().contains("the lease is lost"), "{}", leader.log());
    pair.drift().await?;
    leads(&mut standby).await?;
    eprintln!("it was replaced after {:.1?}", cut.elapsed());
    pair.repaired().await?;
    assert_eq!(standby.terminate().await?, Some(0));
    Ok(())
}

async fn a_slow_api_server_keeps_its_leader(environment: Arc<Environment>) -> Result<(), Error> {
    let pair = Pair::create(&environment, "slow").await?;
    let (mut leader, relay) = pair.start_behind("first").await?;
    leads(&mut leader).await?;
    let mut standby = pair.with_standby().await?;
    let holder = pair.holder().await?;
    relay.delay(Duration::from_millis(200));
    tokio::time::sleep(2 * TIMES[0]).await;
    assert_eq!(pair.holder().await?, holder);
    leader.check()?;
    pair.drift().await?;
    pair.repaired().await?;
    assert_eq!(is_leader(&mut standby).await?, Some(0.0));
    relay.delay(Duration::ZERO);
    assert_eq!(leader.terminate().await?, Some(0));
    leads(&mut standby).await?;
    assert_eq!(standby.terminate().await?, Some(0));
    Ok(())
}
