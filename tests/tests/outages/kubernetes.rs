//! The API server is unavailable for a minute. Reconciles continue: changes that need no recorded intent are repaired,
//! those that need one wait, and results from Azure are reported when the API server is back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use serverprotection_tests::{
    Error,
    env::Environment,
    team::{Team, condition},
    wait::eventually,
};

use super::{NAME, TIMEOUT, alive, last_sequence, p2, ready, reconcile, requests};

/// How long the API server is unavailable.
const AWAY: Duration = Duration::from_secs(60);
/// Name of the connector.
const CONNECTOR: &str = "aws";
/// The switch of an extension, as the emulator sets it behind everybody's back.
const SWITCH: &str = "pricings.VirtualMachines.extensions.AgentlessVmScanning.isEnabled";

/// One object for each thing that happens during the outage.
struct Teams<'a> {
    /// Its plan write is in progress.
    writing: Team<'a>,
    /// The write of its connector is in progress.
    connecting: Team<'a>,
    /// A setting drifts.
    setting: Team<'a>,
    /// An extension drifts.
    extension: Team<'a>,
    /// An extension drifts, and the drift disappears.
    passing: Team<'a>,
    /// Nothing happens. Its spec is edited right after the outage.
    edited: Team<'a>,
}

impl<'a> Teams<'a> {
    async fn create(environment: &'a Environment) -> Result<Self, Error> {
        Ok(Self {
            writing: environment.team("writing").await?,
            connecting: environment.team("connecting").await?,
            setting: environment.team("setting").await?,
            extension: environment.team("extension").await?,
            passing: environment.team("passing").await?,
            edited: environment.team("edited").await?,
        })
    }

    /// Number of requests of each object after a sequence number: writing, setting, extension, passing, edited.
    async fn requests(&self, since: u64) -> Result<[usize; 5], Error> {
        let mut counts = [0; 5];
        let teams = [
            &self.writing,
            &self.setting,
            &self.extension,
            &self.passing,
            &self.edited,
        ];
        for (count, team) in counts.iter_mut().zip(teams) {
            *count = requests(team, since).await?.len();
        }
        Ok(counts)
    }
}

pub(crate) async fn away(environment: Arc<Environment>) -> Result<(), Error> {
    let teams = Teams::create(&environment).await?;
    begin(&environment, &teams).await?;
    environment.plane.kill_api_server().await;
    let began = Timestamp::now();
    meanwhile(&environment, &teams).await?;
    let back = Instant::now();
    environment.plane.start_api_server().await?;
    edit(&teams.edited).await?;
    eprintln!(
        "an edit was picked up {:.0?} after Kubernetes was started again",
        back.elapsed()
    );
    afterwards(&environment, &teams, began).await?;
    eprintln!(
        "everything was reported {:.0?} after the API server was started again",
        back.elapsed()
    );
    alive(&environment).await
}

/// Creates objects in sync, and two whose writes (plan and connector) have had their effect but no response yet.
async fn begin(environment: &Environment, teams: &Teams<'_>) -> Result<(), Error> {
    let in_sync = [
        &teams.setting,
        &teams.extension,
        &teams.passing,
        &teams.edited,
        &teams.connecting,
    ];
    for team in in_sync {
        team.protect(NAME, p2()).await?;
    }
    for team in in_sync {
        ready(team).await?;
    }
    // Started first, so that both are in progress together.
    let connector = slow_write(&teams.connecting, "/securityConnectors/", "6s").await?;
    let plan = slow_write(&teams.writing, "/pricings/", "4s").await?;
    teams.connecting.connect(CONNECTOR, json!({})).await?;
    until_struck(environment, &connector).await?;
    teams.writing.protect(NAME, p2()).await?;
    until_struck(environment, &plan).await
}

/// Delays the response of the next write, but not its effect.
async fn slow_write(team: &Team<'_>, path: &str, delay: &str) -> Result<String, Error> {
    let fault = json!({
        "match": {"method": "PUT", "path": path, "subscription": team.subscription, "times": 1},
        "phase": "after", "action": {"delay": delay},
    });
    team.environment.emulator.add_fault(fault).await
}

async fn until_struck(environment: &Environment, fault: &str) -> Result<(), Error> {
    eventually("the write under way", TIMEOUT, || async {
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

async fn meanwhile(environment: &Environment, teams: &Teams<'_>) -> Result<(), Error> {
    let emulator = &environment.emulator;
    let gone = Instant::now();
    let since = last_sequence(environment).await?;
    assert_eq!(plan_writes(&teams.writing).await?, 0, "its answer comes later");
    assert_eq!(connector_requests(&teams.connecting, 0, "PUT").await?, 0);
    emulator
        .set(&teams.setting.subscription, json!({"settings.WDATP": false}))
        .await?;
    emulator
        .set(&teams.extension.subscription, json!({SWITCH: "False"}))
        .await?;
    emulator
        .set(&teams.passing.subscription, json!({SWITCH: "False"}))
        .await?;
    let seen = last_sequence(environment).await?;
    eventually("a reconcile that saw the passing drift", TIMEOUT, || async {
        let all = requests(&teams.passing, seen).await.map_err(|e| e.to_string())?;
        if all.len() > 6 {
            Ok(())
        } else {
            Err(all.len().to_string())
        }
    })
    .await?;
    emulator
        .set(&teams.passing.subscription, json!({SWITCH: "True"}))
        .await?;
    while gone.elapsed() < AWAY {
        alive(environment).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }

    let azure = emulator.get(&teams.setting.subscription).await?;
    assert_eq!(
        azure["settings"]["WDATP"], true,
        "a setting is repaired all the same: {azure:#}"
    );
    assert!(
        !is_on(environment, &teams.extension).await?,
        "no plan write without a recorded intent"
    );
    let counts = teams.requests(since).await?;
    eprintln!(
        "without Kubernetes for {:.0?}: {counts:?} requests to Azure of five objects",
        gone.elapsed()
    );
    // Objects without a status change are reconciled every two seconds; the others back off.
    let reconciles = usize::try_from(gone.elapsed().as_millis() / 1800).unwrap() + 1;
    let connecting = connector_requests(&teams.connecting, since, "GET").await?;
    assert!(connecting <= 50, "the connector is not backed off: {connecting}");
    let [unreported @ .., quiet] = counts;
    assert!(quiet <= reconciles * 4, "too many requests: {counts:?}");
    assert!(
        unreported.iter().all(|count| *count <= 50),
        "not backed off: {counts:?}"
    );
    Ok(())
}

async fn edit(team: &Team<'_>) -> Result<(), Error> {
    let tags = json!([{"key": "env", "value": "lab"}]);
    let spec = json!({"spec": {"plan": {"agentlessScanning": {"exclusionTags": tags}}}});
    team.patch(NAME, spec).await?;
    let object = ready(team).await?;
    assert_eq!(object["status"]["observedGeneration"], 2);
    assert_eq!(plan_writes(team).await?, 2);
    Ok(())
}

async fn afterwards(environment: &Environment, teams: &Teams<'_>, began: Timestamp) -> Result<(), Error> {
    // The result was stored, so it is not read again.
    until_condition(&teams.writing, "ExtensionsProvisioned", "Provisioned").await?;
    assert_eq!(plan_writes(&teams.writing).await?, 1);
    let lost = teams.writing.history().iter().any(|version| {
        version
            .condition("ExtensionsProvisioned")
            .is_some_and(|condition_values| condition_values["reason"] == "ResultLost")
    });
    assert!(!lost);

    connector_condition(&teams.connecting).await?;
    // What was written without the API server is reported too.
    for (team, reason) in [
        (&teams.writing, "PlanWritten"),
        (&teams.connecting, "ConnectorCreated"),
        (&teams.setting, "EndpointIntegrationRepaired"),
    ] {
        team.until_events(&[reason], TIMEOUT).await?;
    }

    eventually("the repair of the extension", TIMEOUT, || async {
        match is_on(environment, &teams.extension).await {
            Ok(true) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    let object = until_condition(&teams.extension, "ExtensionsProvisioned", "Provisioned").await?;
    assert_eq!(object["status"]["driftCount"], 0);
    assert_eq!(plan_writes(&teams.extension).await?, 2);

    let what = "the repair of the setting in status";
    teams
        .setting
        .until_holds(NAME, what, TIMEOUT, |object| {
            let observed = object["status"]["lastObservedTime"].as_str().unwrap_or_default();
            observed
                .parse()
                .is_ok_and(|at: Timestamp| at > began && object["status"]["driftCount"] == 0)
        })
        .await?;

    reconcile(&teams.passing).await?;
    ready(&teams.passing).await?;
    assert_eq!(
        plan_writes(&teams.passing).await?,
        1,
        "nothing was left to repair"
    );
    Ok(())
}

/// The result of the write was stored too, and the write was not repeated.
async fn connector_condition(team: &Team<'_>) -> Result<(), Error> {
    let object = team
        .connectors()
        .until(CONNECTOR, "Ready", "True", TIMEOUT)
        .await?;
    let configured = condition(&object, "ConnectorConfigured").unwrap();
    assert_eq!(configured["reason"], "Configured", "{object:#}");
    assert_eq!(
        condition(&object, "CloudAuthenticated").unwrap()["status"],
        "True"
    );
    assert!(object["status"]["claim"]["establishedSince"].is_string());
    assert_eq!(object["status"]["driftCount"], 0);
    assert_eq!(connector_requests(team, 0, "PUT").await?, 1);
    let condition_values = |object: &Value| object["status"]["display"]["connectors"] == "1/1";
    team.until_holds(NAME, "the connector of", TIMEOUT, condition_values)
        .await?;
    Ok(())
}

async fn connector_requests(team: &Team<'_>, since: u64, method: &str) -> Result<usize, Error> {
    let all = requests(team, since).await?;
    let operation = format!("{method} securityConnectors/{CONNECTOR}");
    let ours = |request: &&Value| request["operation"] == operation.as_str();
    Ok(all.iter().filter(ours).count())
}

async fn is_on(environment: &Environment, team: &Team<'_>) -> Result<bool, Error> {
    let azure = environment.emulator.get(&team.subscription).await?;
    Ok(azure["pricings"]["VirtualMachines"]["extensions"]["AgentlessVmScanning"]["isEnabled"] == "True")
}

async fn until_condition(team: &Team<'_>, kind: &str, reason: &str) -> Result<Value, Error> {
    let what = format!("{kind}/{reason} of {}", team.namespace);
    team.until_holds(NAME, &what, TIMEOUT, |object| {
        condition(object, kind).is_some_and(|condition_values| condition_values["reason"] == reason)
            && condition(object, "Ready").is_some_and(|ready| ready["status"] == "True")
    })
    .await
}

async fn plan_writes(team: &Team<'_>) -> Result<usize, Error> {
    let all = requests(team, 0).await?;
    let plan = |request: &&Value| request["operation"] == "PUT pricings/VirtualMachines";
    Ok(all.iter().filter(plan).count())
}
