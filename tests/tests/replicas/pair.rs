//! A team with two replicas of the controller, which share a Lease in its namespace.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde_json::{Value, json};
use serverprotection_tests::{
    Error,
    controller_process::{ControllerOptions, ControllerProcess, Replica},
    env::{CONTROLLER_READY_LIMIT, Environment},
    grants,
    relay::Relay,
    team::Team,
    users,
    wait::eventually,
};

use crate::TIMEOUT;

/// Name of the object.
pub(crate) const NAME: &str = "prod";
/// Name of the Lease.
pub(crate) const LEASE: &str = "serverprotection-controller";
/// The duration of the Lease, and how long a leader that cannot renew it still writes. Several replicas share two cores,
/// so shorter times would make leaders give up.
pub(crate) const TIMES: [Duration; 2] = [Duration::from_secs(6), Duration::from_secs(4)];

pub(crate) struct Pair<'a> {
    pub(crate) team: Team<'a>,
}

impl<'a> Pair<'a> {
    pub(crate) async fn create(environment: &'a Environment, name: &str) -> Result<Self, Error> {
        let team = environment.team(name).await?;
        grants::lease(&environment.client, &team.namespace).await?;
        Ok(Self { team })
    }

    fn options(&self) -> ControllerOptions {
        let namespace = &self.team.namespace;
        ControllerOptions {
            replica: Some(Replica {
                lease_namespace: namespace.clone(),
                times: TIMES,
            }),
            ..ControllerOptions::flags(&[
                "--watch-namespace",
                namespace,
                "--blocked-retry-interval",
                "3s",
                "--reconcile-every",
                "2s",
            ])
        }
    }

    fn log(&self, replica: &str) -> String {
        format!("{}-{replica}.log", self.team.namespace)
    }

    /// Starts a replica.
    pub(crate) fn start(&self, replica: &str) -> Result<ControllerProcess, Error> {
        let environment = self.team.environment;
        environment.another_controller(&self.log(replica), &self.options())
    }

    /// Starts a replica that reaches the API server through a relay.
    pub(crate) async fn start_behind(&self, replica: &str) -> Result<(ControllerProcess, Relay), Error> {
        let plane = &self.team.environment.plane;
        let relay = Relay::start(plane.server().trim_start_matches("https://")).await?;
        let original = std::fs::read_to_string(plane.kubeconfig(users::CONTROLLER)?).unwrap();
        let mut config: Value = serde_json::from_str(&original).unwrap();
        config["clusters"][0]["cluster"]["server"] = json!(format!("https://{}", relay.address()));
        let file = format!("{}-{replica}.kubeconfig", self.team.namespace);
        let path = plane.folder().join(file);
        std::fs::write(&path, config.to_string()).unwrap();
        let environment = self.team.environment;
        let controller = environment.controller_of(&path, &self.log(replica), &self.options())?;
        Ok((controller, relay))
    }

    /// A leader with an object in sync, and a standby.
    pub(crate) async fn running(&self) -> Result<(ControllerProcess, ControllerProcess), Error> {
        let mut leader = self.start("first")?;
        leads(&mut leader).await?;
        let standby = self.with_standby().await?;
        Ok((leader, standby))
    }

    /// Applies the object, waits until it is in sync, and starts a standby.
    pub(crate) async fn with_standby(&self) -> Result<ControllerProcess, Error> {
        self.team.protect(NAME, json!({"plan": {"tier": "P2"}})).await?;
        self.team.until(NAME, "Ready", "True", TIMEOUT).await?;
        let mut standby = self.start("second")?;
        standby.wait_ready(CONTROLLER_READY_LIMIT).await?;
        assert_eq!(is_leader(&mut standby).await?, Some(0.0));
        Ok(standby)
    }

    /// Somebody switches a setting off.
    pub(crate) async fn drift(&self) -> Result<(), Error> {
        let setting = json!({"settings.WDATP": false});
        let emulator = &self.team.environment.emulator;
        emulator.set(&self.team.subscription, setting).await?;
        Ok(())
    }

    /// Waits until the setting is on again.
    pub(crate) async fn repaired(&self) -> Result<(), Error> {
        eventually("the setting that was switched off", TIMEOUT, || async {
            let emulator = &self.team.environment.emulator;
            let found = emulator
                .get(&self.team.subscription)
                .await
                .map_err(|e| e.to_string())?;
            let on = &found["settings"]["WDATP"];
            if *on == true { Ok(()) } else { Err(on.to_string()) }
        })
        .await
    }

    /// The Lease.
    pub(crate) fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.team.environment.client.clone(), &self.team.namespace)
    }

    /// Who has the Lease.
    pub(crate) async fn holder(&self) -> Result<String, Error> {
        let lease = self.leases().get(LEASE).await?;
        Ok(lease
            .spec
            .and_then(|spec| spec.holder_identity)
            .unwrap_or_default())
    }

    /// Writes to Azure so far.
    pub(crate) async fn writes(&self) -> Result<usize, Error> {
        let all = self
            .team
            .environment
            .emulator
            .requests(&self.team.subscription)
            .await?;
        Ok(all.iter().filter(|request| request["method"] != "GET").count())
    }
}

/// The gauge of the leader, if there is a metrics page.
pub(crate) async fn is_leader(replica: &mut ControllerProcess) -> Result<Option<f64>, Error> {
    replica.metric("serverprotection_leader", &[]).await
}

/// Waits until the replica is the leader.
pub(crate) async fn leads(replica: &mut ControllerProcess) -> Result<(), Error> {
    replica
        .wait_for_log("this process is the leader", TIMEOUT)
        .await?;
    replica.wait_ready(CONTROLLER_READY_LIMIT).await?;
    assert_eq!(is_leader(replica).await?, Some(1.0));
    Ok(())
}

/// Waits until the replica has ended by itself.
pub(crate) async fn has_ended(replica: &mut ControllerProcess) -> Result<(), Error> {
    let began = std::time::Instant::now();
    while replica.is_running() {
        if began.elapsed() > TIMEOUT {
            return Err(Error::Other("the former leader still runs".into()));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
