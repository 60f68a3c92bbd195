//! Kubernetes away, Azure frozen, tokens that run out: nothing is lost, nothing storms, everything recovers.
//! Each case breaks a world of its own.

// Clippy does not see that a test with its own main is one.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt;
use k8s_openapi::jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use serverprotection_tests::{
    Error,
    env::{Environment, Options},
    harness::{self, Setting, case},
    team::{Team, condition},
    wait::eventually,
};

const SOON: Duration = Duration::from_secs(90);
const NAME: &str = "prod";
/// How long the API server is away.
const AWAY: Duration = Duration::from_secs(60);
/// How long Azure is frozen.
const FROZEN: Duration = Duration::from_secs(30);

/// The cases share nothing.
struct Nothing;

impl Setting for Nothing {
    async fn stop(&self, _: bool) -> Result<(), Error> {
        Ok(())
    }
}

fn main() -> ExitCode {
    let limit = Duration::from_secs(240);
    harness::run(
        || std::future::ready(Ok(Nothing)),
        vec![
            case("a_minute_without_kubernetes_loses_nothing", |_| {
                world(&["--visit-every", "2s"], json!({}), without_kubernetes)
            })
            .limit(limit),
            case("half_a_minute_of_frozen_azure_is_waited_for", |_| {
                world(&["--visit-every", "1s"], json!({}), frozen_azure)
            })
            .limit(limit),
            case("tokens_and_secrets_are_renewed_in_time", |_| {
                // Tokens are renewed five minutes before they end: these live for four seconds.
                let settings = json!({"tokenLifetime": "304s"});
                world(&["--visit-every", "1s", "--slow-retry", "2s"], settings, rolling)
            })
            .limit(limit),
            case("tokens_shorter_than_any_that_entra_issues_still_work", |_| {
                world(
                    &["--visit-every", "1s"],
                    json!({"tokenLifetime": "3s"}),
                    short_tokens,
                )
            })
            .limit(limit),
        ],
    )
}

/// Runs a case in an environment of its own, which judges it at its end.
async fn world<F, A>(flags: &'static [&'static str], settings: Value, body: F) -> Result<(), Error>
where
    F: FnOnce(Arc<Environment>) -> A,
    A: Future<Output = Result<(), Error>>,
{
    let options = Options {
        seed: Some(json!({"settings": settings})),
        ..Options::with_controller(flags)
    };
    let environment = Arc::new(Environment::start(options).await?);
    let result = AssertUnwindSafe(body(environment.clone())).catch_unwind().await;
    let failed = !matches!(result, Ok(Ok(())));
    let stopped = environment.stop(failed).await;
    match result {
        Ok(result) => result.and(stopped),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Visits go on meanwhile: what needs no word of Kubernetes is repaired, what needs the note first waits, and what Azure
/// answered is told when Kubernetes is back.
async fn without_kubernetes(environment: Arc<Environment>) -> Result<(), Error> {
    let writing = environment.team("writing").await?;
    let setting = environment.team("setting").await?;
    let extension = environment.team("extension").await?;
    let passing = environment.team("passing").await?;
    let edited = environment.team("edited").await?;
    let in_sync = [&setting, &extension, &passing, &edited];
    for team in in_sync {
        team.protect(NAME, p2()).await?;
    }
    for team in in_sync {
        ready(team).await?;
    }
    // A write whose answer comes when nobody can be told.
    let fault = environment
        .emulator
        .add_fault(json!({
            "match": {"method": "PUT", "path": "/pricings/", "subscription": writing.subscription, "times": 1},
            "phase": "after", "action": {"delay": "4s"},
        }))
        .await?;
    writing.protect(NAME, p2()).await?;
    eventually("the write under way", SOON, || async {
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

    environment.plane.kill_api_server().await;
    let (gone, began) = (Instant::now(), Timestamp::now());
    let since = last_sequence(&environment).await?;
    assert_eq!(plan_writes(&writing).await?.len(), 0, "its answer comes later");
    environment
        .emulator
        .set(&setting.subscription, json!({"settings.WDATP": false}))
        .await?;
    let switch = "plan.extensions.AgentlessVmScanning.isEnabled";
    for team in [&extension, &passing] {
        environment
            .emulator
            .set(&team.subscription, json!({switch: "False"}))
            .await?;
    }
    let seen = last_sequence(&environment).await?;
    eventually("a visit that saw the passing drift", SOON, || async {
        let all = requests(&passing, seen).await.map_err(|e| e.to_string())?;
        if all.len() > 6 {
            Ok(())
        } else {
            Err(all.len().to_string())
        }
    })
    .await?;
    environment
        .emulator
        .set(&passing.subscription, json!({switch: "True"}))
        .await?;
    while gone.elapsed() < AWAY {
        alive(&environment).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }

    let azure = environment.emulator.get(&setting.subscription).await?;
    assert_eq!(
        azure["settings"]["WDATP"], true,
        "a setting is repaired all the same: {azure:#}"
    );
    let azure = environment.emulator.get(&extension.subscription).await?;
    let found = &azure["plan"]["extensions"]["AgentlessVmScanning"]["isEnabled"];
    assert_eq!(found, "False", "no plan write without its note: {azure:#}");
    let mut counts = Vec::new();
    for team in [&writing, &setting, &extension, &passing, &edited] {
        counts.push(requests(team, since).await?.len());
    }
    eprintln!(
        "without Kubernetes for {:.0?}: {counts:?} requests to Azure of five objects",
        gone.elapsed()
    );
    // Visits every two seconds go on where nothing has to be told; the others are backed off.
    let visits = usize::try_from(gone.elapsed().as_millis() / 1800).unwrap() + 1;
    assert!(
        counts.iter().all(|count| *count <= visits * 4),
        "a storm: {counts:?}"
    );
    for untold in [counts[0], counts[2]] {
        assert!(untold <= 50, "not backed off: {counts:?}");
    }

    let back = Instant::now();
    environment.plane.start_api_server().await?;
    let tags = json!([{"key": "env", "value": "lab"}]);
    edited
        .patch(
            NAME,
            json!({"spec": {"plan": {"agentlessScanning": {"exclusionTags": tags}}}}),
        )
        .await?;
    let object = ready(&edited).await?;
    eprintln!(
        "an edit was picked up {:.0?} after Kubernetes was started again",
        back.elapsed()
    );
    assert_eq!(object["status"]["observedGeneration"], 2);
    assert_eq!(plan_writes(&edited).await?.len(), 2);

    // The answer was kept: nothing had to be asked again.
    let object = told_at_last(&writing, "ExtensionsProvisioned", "Provisioned").await?;
    assert_eq!(condition(&object, "Ready").unwrap()["status"], "True");
    assert_eq!(plan_writes(&writing).await?.len(), 1);
    let lost = writing.history().iter().any(|version| {
        version
            .condition("ExtensionsProvisioned")
            .is_some_and(|told| told["reason"] == "ResultLost")
    });
    assert!(!lost);

    ready(&extension).await?;
    eventually("the repair of the extension", SOON, || async {
        let azure = environment
            .emulator
            .get(&extension.subscription)
            .await
            .map_err(|e| e.to_string())?;
        let found = &azure["plan"]["extensions"]["AgentlessVmScanning"]["isEnabled"];
        if found == "True" {
            Ok(())
        } else {
            Err(azure.to_string())
        }
    })
    .await?;
    let object = told_at_last(&extension, "ExtensionsProvisioned", "Provisioned").await?;
    assert_eq!(object["status"]["driftCount"], 0);
    assert_eq!(plan_writes(&extension).await?.len(), 2);

    let what = "the repair of the setting in status";
    setting
        .until_holds(NAME, what, SOON, |object| {
            let observed = object["status"]["lastObserved"].as_str().unwrap_or_default();
            observed
                .parse()
                .is_ok_and(|at: Timestamp| at > began && object["status"]["driftCount"] == 0)
        })
        .await?;
    visit(&passing).await?;
    ready(&passing).await?;
    assert_eq!(
        plan_writes(&passing).await?.len(),
        1,
        "nothing was left to repair"
    );
    eprintln!(
        "everything was told {:.0?} after Kubernetes was started again",
        back.elapsed()
    );
    alive(&environment).await
}

/// Connections stand and nothing is answered.
async fn frozen_azure(environment: Arc<Environment>) -> Result<(), Error> {
    let mut teams = Vec::new();
    for name in ["one", "two", "three"] {
        let team = environment.team(name).await?;
        team.protect(NAME, p2()).await?;
        teams.push(team);
    }
    for team in &teams {
        ready(team).await?;
    }
    let since = last_sequence(&environment).await?;
    environment.emulator.pause().await?;
    let frozen = Instant::now();
    while frozen.elapsed() < FROZEN {
        alive(&environment).await?;
        for team in &teams {
            let object = team.get(NAME).await?;
            let ready = condition(&object, "Ready").unwrap();
            let fine = ready["status"] == "True" || ready["reason"] == "ObservationStale";
            assert!(fine, "{ready}");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    environment.emulator.resume().await?;
    // Other objects' visits were neither lost nor piled up.
    let thawed = Instant::now();
    for team in &teams {
        visit(team).await?;
        ready(team).await?;
    }
    let mut counts = Vec::new();
    for team in &teams {
        counts.push(requests(team, since).await?.len());
    }
    eprintln!(
        "Azure frozen for {FROZEN:?}: {counts:?} requests until all were visited again, {:.1?} after",
        thawed.elapsed()
    );
    assert!(counts.iter().all(|count| *count <= 30), "a storm: {counts:?}");
    alive(&environment).await
}

/// Nobody notices that tokens end and that the secret is changed, as long as old and new secret overlap.
async fn rolling(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("rolling").await?;
    team.protect(NAME, p2()).await?;
    let object = ready(&team).await?;
    let began = Instant::now();
    let (old, new) = (
        format!("{}-secret", team.namespace),
        format!("{}-rolled", team.namespace),
    );
    let rest = Duration::from_secs(9);
    tokio::time::sleep(rest).await;
    let secrets = json!({"secrets": [old, new]});
    environment.emulator.principal(&team.client_id, secrets).await?;
    team.set_secret(&new).await?;
    tokio::time::sleep(rest).await;
    environment
        .emulator
        .principal(&team.client_id, json!({"secrets": [new]}))
        .await?;
    tokio::time::sleep(rest).await;

    let (arm, tokens) = all_answered(&team).await?;
    let lived = began.elapsed().as_secs();
    eprintln!("tokens of 4 s for {lived} s: {tokens} token requests for {arm} others");
    let due = usize::try_from(lived / 4).unwrap();
    assert!(
        tokens >= due / 2,
        "{tokens} token requests: were they renewed at all?"
    );
    assert!(
        tokens <= due + 4,
        "{tokens} token requests for {due} lives of a token"
    );
    let now = team.get(NAME).await?;
    assert_eq!(
        now["metadata"]["resourceVersion"],
        object["metadata"]["resourceVersion"]
    );
    alive(&environment).await
}

/// No grace of five minutes is left then; still no error, and no more than a token for each request.
async fn short_tokens(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("short").await?;
    team.protect(NAME, p2()).await?;
    let object = ready(&team).await?;
    tokio::time::sleep(Duration::from_secs(8)).await;
    let (arm, tokens) = all_answered(&team).await?;
    eprintln!("tokens of 3 s: {tokens} token requests for {arm} others");
    assert!(tokens <= arm * 2, "{tokens} token requests for {arm} others");
    let now = team.get(NAME).await?;
    assert_eq!(
        now["metadata"]["resourceVersion"],
        object["metadata"]["resourceVersion"]
    );
    alive(&environment).await
}

/// How many requests and token requests there were, none of them refused.
async fn all_answered(team: &Team<'_>) -> Result<(usize, usize), Error> {
    let all = requests(team, 0).await?;
    let refused: Vec<_> = all.iter().filter(|request| request["status"] != 200).collect();
    // The assessment is created.
    let refused: Vec<_> = refused
        .into_iter()
        .filter(|request| request["status"] != 201 && request["status"] != 404)
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
    let tokens = all.iter().filter(|request| request["kind"] == "token").count();
    Ok((all.len() - tokens, tokens))
}

fn p2() -> Value {
    json!({"plan": {"tier": "P2", "agentlessScanning": {"state": "Enabled"}}})
}

async fn ready(team: &Team<'_>) -> Result<Value, Error> {
    team.until(NAME, "Ready", "True", SOON).await
}

async fn told_at_last(team: &Team<'_>, kind: &str, reason: &str) -> Result<Value, Error> {
    let what = format!("{kind}/{reason} of {}", team.namespace);
    team.until_holds(NAME, &what, SOON, |object| {
        condition(object, kind).is_some_and(|told| told["reason"] == reason)
            && condition(object, "Ready").is_some_and(|ready| ready["status"] == "True")
    })
    .await
}

/// Asks for one more visit, and waits until it was made.
async fn visit(team: &Team<'_>) -> Result<Value, Error> {
    let request = team.request(NAME).await?;
    let what = format!("a visit of {}", team.namespace);
    team.until_holds(NAME, &what, SOON, |object| {
        object["status"]["lastHandledReconcileAt"] == request.as_str()
    })
    .await
}

/// The controller lives and says so.
async fn alive(environment: &Environment) -> Result<(), Error> {
    let mut controller = environment.controller().await;
    let controller = controller.as_mut().unwrap();
    controller.check()?;
    assert_eq!(controller.get("healthz").await?, "ok");
    controller.metrics().await.map(drop)
}

async fn last_sequence(environment: &Environment) -> Result<u64, Error> {
    let summary = environment.emulator.summary(None).await?;
    Ok(summary["lastSequence"].as_u64().unwrap())
}

/// What the team's application asked since then, tokens included.
async fn requests(team: &Team<'_>, since: u64) -> Result<Vec<Value>, Error> {
    let path = format!("requests?since={since}&kind=all");
    let answer = team.environment.emulator.call(Method::GET, &path, None).await?;
    let all = answer["requests"].as_array().unwrap().iter();
    Ok(all
        .filter(|request| request["principal"] == team.client_id.as_str())
        .cloned()
        .collect())
}

async fn plan_writes(team: &Team<'_>) -> Result<Vec<Value>, Error> {
    let all = requests(team, 0).await?;
    let plan = |request: &Value| request["operation"] == "PUT pricings/VirtualMachines";
    Ok(all.into_iter().filter(plan).collect())
}
