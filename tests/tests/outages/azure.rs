//! Azure is frozen; tokens and secrets expire.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use serverprotection_tests::{
    Error,
    env::Environment,
    team::{Team, condition},
};

use super::{NAME, alive, last_sequence, p2, ready, reconcile, requests};

/// How long Azure is frozen.
const FROZEN: Duration = Duration::from_secs(30);

/// Connections stay open, and nothing is answered.
pub(crate) async fn frozen(environment: Arc<Environment>) -> Result<(), Error> {
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
    // Reconciles of other objects are neither lost nor piled up.
    let thawed = Instant::now();
    for team in &teams {
        reconcile(team).await?;
        ready(team).await?;
    }
    let mut counts = Vec::new();
    for team in &teams {
        counts.push(requests(team, since).await?.len());
    }
    eprintln!(
        "Azure frozen for {FROZEN:?}: {counts:?} requests until all were reconciled again, {:.1?} after",
        thawed.elapsed()
    );
    assert!(
        counts.iter().all(|count| *count <= 30),
        "too many requests: {counts:?}"
    );
    alive(&environment).await
}

/// Tokens expire and the secret changes without any error, as long as the old and the new secret overlap.
pub(crate) async fn rolling(environment: Arc<Environment>) -> Result<(), Error> {
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

/// The lifetime is shorter than the renewal margin of five minutes: no error, and at most one token for each request.
pub(crate) async fn short_tokens(environment: Arc<Environment>) -> Result<(), Error> {
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

/// Numbers of requests and token requests, none of which may fail.
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
