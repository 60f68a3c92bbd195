//! One owner per subscription, across namespaces; an object that proved nothing blocks no other one (docs/claims.md).

use std::{sync::Arc, time::Duration};

use kube::api::DeleteParams;
use serde_json::{Value, json};
use serverprotection_tests::{
    Error, cases,
    env::Environment,
    harness::Case,
    team::{Team, condition},
    wait::eventually,
};

use super::{TIMEOUT, condition_values, p2, plan_writes, ready, reconcile, requests, stalled};

const METRIC: &str = "serverprotection_claim_changes_total";

/// `--claim-lapse-after` of the environment: D.
pub(crate) const LAPSE_AFTER: Duration = Duration::from_secs(12);
/// `--claim-reserve` of the environment.
pub(crate) const RESERVE: Duration = Duration::from_secs(5);

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        the_second_object_of_a_subscription_waits_and_takes_over,
        objects_without_access_do_not_block_others,
        an_owner_that_is_created_again_stays_the_owner,
        a_waiting_object_of_the_same_namespace_takes_over_at_once,
        a_foreign_finalizer_holds_nothing,
        an_expired_secret_costs_the_claim_after_a_while_and_not_before,
        an_outage_of_entra_costs_nothing,
        a_suspended_owner_without_access_is_replaced,
        observing_releases_the_subscription,
        a_namespace_can_be_bound_to_its_subscriptions,
    ]
}

/// Lets the application of another team own this team's subscription too.
async fn share(owner: &Team<'_>, with: &Team<'_>) -> Result<(), Error> {
    let role = json!({"roleAssignments": {owner.subscription.clone(): ["Owner"]}});
    owner
        .environment
        .emulator
        .principal(&with.client_id, role)
        .await?;
    Ok(())
}

/// A spec for the subscription of another team.
fn of(owner: &Team<'_>, mut spec: Value) -> Value {
    spec["subscriptionId"] = json!(owner.subscription);
    spec
}

fn state(object: &Value) -> &str {
    object["status"]["claim"]["state"].as_str().unwrap_or("None")
}

/// Waits for a state of the claim.
async fn until_state(team: &Team<'_>, name: &str, expected: &str, limit: Duration) -> Result<Value, Error> {
    let what = format!("claim {expected} of {}/{name}", team.namespace);
    team.until_holds(name, &what, limit, |object| state(object) == expected)
        .await
}

/// An owner that is Ready, and an object of another namespace that may write too and waits.
async fn contest<'a>(environment: &'a Environment, name: &str) -> Result<(Team<'a>, Team<'a>), Error> {
    let (one, two) = (format!("{name}-a"), format!("{name}-b"));
    let (first, second) = tokio::try_join!(environment.team(&one), environment.team(&two))?;
    first.protect("holder", p2()).await?;
    ready(&first, "holder").await?;
    share(&first, &second).await?;
    second.protect("rival", of(&first, p2())).await?;
    let object = stalled(
        &second,
        "rival",
        "ClaimConflicted",
        "An object in another namespace owns",
    )
    .await?;
    assert_eq!(state(&object), "Waiting");
    Ok((first, second))
}

async fn the_second_object_of_a_subscription_waits_and_takes_over(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let (first, second) = contest(&environment, "takes").await?;
    let lower = json!({"spec": {"plan": {"tier": "P1", "agentlessScanning": null}}});
    second.patch("rival", lower).await?;
    reconcile(&second, "rival").await?;
    let object = second.get("rival").await?;
    let (status, reason, message) = condition_values(&object, "Claimed");
    assert_eq!((status, reason), ("False", "HeldByAnother"));
    let text = object["status"].to_string();
    let names = text.contains(&format!("{}/", first.namespace)) || text.contains("holder");
    assert!(!names, "no names of other namespaces: {text}");
    assert!(message.contains("An object in another namespace"), "{message}");
    let (_, _, message) = condition_values(&object, "Ready");
    assert!(
        message.contains("ask the administrators of the cluster"),
        "{message}"
    );
    ready(&first, "holder").await?;
    assert_eq!(plan_writes(&first).await?.len(), 1, "one writer");

    first.delete("holder", TIMEOUT).await?;
    // For a while, the namespace of the owner goes first.
    let reserved = second.until_holds("rival", "the reservation", TIMEOUT, |object| {
        condition(object, "Reconciling").is_some_and(|it| it["reason"] == "Reserved")
    });
    let object = reserved.await?;
    assert!(object["status"]["claim"]["notBefore"].is_string(), "{object:#}");
    // Azure has more protection than the second object demands: it takes over, but needs approval to reduce it.
    let object = stalled(&second, "rival", "ReductionNeedsApproval", "plan.tier=P1").await?;
    assert_eq!(state(&object), "Held");
    second.until_events(&["ClaimTaken"], TIMEOUT).await?;
    eventually("the metric of the change", TIMEOUT, || async {
        let mut controller = environment.controller().await;
        let controller = controller.as_mut().ok_or("no controller")?;
        let found = controller.metric(METRIC, &["kind=\"ServerProtection\""]).await;
        match found.map_err(|error| error.to_string())? {
            Some(changes) if changes >= 1.0 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    let mut guard = environment.controller().await;
    let controller = guard
        .as_mut()
        .ok_or_else(|| Error::Other("no controller".into()))?;
    let page = controller.metrics().await?;
    drop(guard);
    let series = page.lines().filter(|line| line.starts_with(METRIC));
    let labels: Vec<_> = series
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(labels, _)| labels)
        .collect();
    assert_eq!(
        labels.len(),
        2,
        "one series for each kind, without names: {labels:?}"
    );
    second
        .annotate("rival", "serverprotection.dev/approve-reduction", "plan.tier=P1")
        .await?;
    second
        .until_holds("rival", "P1", TIMEOUT, |object| {
            object["status"]["plan"]["tier"] == "P1" && condition_values(object, "Ready").0 != "Unknown"
        })
        .await?;
    Ok(())
}

/// The attacks of a team without any right on the subscription, which comes first each time.
async fn objects_without_access_do_not_block_others(environment: Arc<Environment>) -> Result<(), Error> {
    let (owner, attacker) = tokio::try_join!(environment.team("victim"), environment.team("squat"))?;
    let specs = [
        (
            "no-credential",
            json!({"credentialRef": {"name": "does-not-exist"}}),
        ),
        ("suspended", json!({"suspend": true})),
        ("observing", json!({"mode": "Observe"})),
        ("enforcing", json!({})),
        ("stays", json!({"suspend": true})),
    ];
    for (name, spec) in specs.clone() {
        let mut whole = of(&owner, p2());
        serverprotection_tests::team::merge(&mut whole, spec);
        attacker.protect(name, whole).await?;
    }
    let observed =
        |object: &Value| object["status"]["observedGeneration"] == object["metadata"]["generation"];
    for (name, _) in &specs {
        attacker
            .until_holds(name, "its first status", TIMEOUT, observed)
            .await?;
    }
    // A finalizer of others keeps one of them for ever.
    let finalizer = json!({"metadata": {"finalizers": ["example.com/stay"]}});
    attacker.patch("stays", finalizer).await?;
    attacker.protections().start_deletion("stays").await?;

    owner.protect("prod", p2()).await?;
    let object = ready(&owner, "prod").await?;
    assert_eq!(state(&object), "Held");
    assert_eq!(
        condition_values(&object, "Claimed"),
        ("True", "Held", "This object owns the subscription.")
    );
    let unclaimed = |object: &Value| {
        assert!(object["status"]["claim"].is_null(), "{:#}", object["status"]);
        let text = object["status"].to_string();
        assert!(
            !text.contains(&owner.namespace),
            "nothing about the owner: {text}"
        );
    };
    for (name, _) in &specs {
        attacker.request(name).await?;
        unclaimed(&attacker.get(name).await?);
    }
    // Nor do they take it while the owner creates its object again.
    owner.delete("prod", TIMEOUT).await?;
    for (name, _) in &specs {
        attacker.request(name).await?;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    for (name, _) in &specs {
        unclaimed(&attacker.get(name).await?);
    }
    owner.protect("again", p2()).await?;
    assert_eq!(state(&ready(&owner, "again").await?), "Held");
    attacker
        .patch("stays", json!({"metadata": {"finalizers": null}}))
        .await?;
    Ok(())
}

async fn an_owner_that_is_created_again_stays_the_owner(environment: Arc<Environment>) -> Result<(), Error> {
    let (first, second) = contest(&environment, "gitops").await?;
    first.delete("holder", TIMEOUT).await?;
    first.protect("renamed", p2()).await?;
    ready(&first, "renamed").await?;
    tokio::time::sleep(RESERVE + Duration::from_secs(1)).await;
    reconcile(&second, "rival").await?;
    let object = second.get("rival").await?;
    assert_eq!(state(&object), "Waiting", "{:#}", object["status"]);
    assert_eq!(state(&first.get("renamed").await?), "Held");
    Ok(())
}

async fn a_waiting_object_of_the_same_namespace_takes_over_at_once(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let (first, second) = contest(&environment, "twin").await?;
    first.protect("twin", p2()).await?;
    // Within the namespace, the name of the owner helps.
    stalled(&first, "twin", "ClaimConflicted", "holder of this namespace owns").await?;
    first.delete("holder", TIMEOUT).await?;
    until_state(&first, "twin", "Held", RESERVE).await?;
    assert_eq!(state(&second.get("rival").await?), "Waiting");
    Ok(())
}

async fn a_foreign_finalizer_holds_nothing(environment: Arc<Environment>) -> Result<(), Error> {
    let (first, second) = contest(&environment, "stay").await?;
    first
        .patch(
            "holder",
            json!({"metadata": {"finalizers": ["example.com/stay"]}}),
        )
        .await?;
    first.api().delete("holder", &DeleteParams::default()).await?;
    let released = |object: &Value| object["status"]["claim"].is_null();
    first
        .until_holds("holder", "the end of its claim", TIMEOUT, released)
        .await?;
    until_state(&second, "rival", "Held", TIMEOUT).await?;
    first
        .patch("holder", json!({"metadata": {"finalizers": null}}))
        .await?;
    Ok(())
}

async fn an_expired_secret_costs_the_claim_after_a_while_and_not_before(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let (first, second) = contest(&environment, "expired").await?;
    first.set_secret("wrong").await?;
    // A Secret that works is read again after the retry interval.
    let denied = |object: &Value| object["status"]["claim"]["deniedSince"].is_string();
    eventually("the denial", TIMEOUT, || async {
        let object = reconcile(&first, "holder")
            .await
            .map_err(|error| error.to_string())?;
        if denied(&object) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        Err(object["status"]["claim"].to_string())
    })
    .await?;
    let since = std::time::Instant::now();
    while since.elapsed() < LAPSE_AFTER / 2 {
        assert_eq!(state(&first.get("holder").await?), "Held");
        assert_eq!(state(&second.get("rival").await?), "Waiting");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    until_state(&second, "rival", "Held", 3 * LAPSE_AFTER).await?;
    assert!(
        since.elapsed() >= LAPSE_AFTER.saturating_sub(Duration::from_secs(2)),
        "{:?}",
        since.elapsed()
    );
    ready(&second, "rival").await?;
    let object = first.get("holder").await?;
    assert_eq!(state(&object), "None", "{:#}", object["status"]);
    first.until_events(&["ClaimLost"], TIMEOUT).await?;
    second.until_events(&["ClaimTaken"], TIMEOUT).await?;
    // At every moment at most one object held the subscription.
    one_owner(&[(&first, "holder"), (&second, "rival")]);
    // With a good secret, it waits now.
    first.set_secret(&format!("{}-secret", first.namespace)).await?;
    until_state(&first, "holder", "Waiting", TIMEOUT).await?;
    Ok(())
}

/// Checks the recorded versions in the order of the API server.
fn one_owner(objects: &[(&Team<'_>, &str)]) {
    let mut versions: Vec<(u64, usize, bool)> = Vec::new();
    for (at, (team, name)) in objects.iter().enumerate() {
        let recorder = &team.environment.recorder;
        for version in recorder.of("ServerProtection", &team.namespace, name) {
            let held = version.status["claim"]["state"] == "Held";
            let number = version.resource_version.parse().unwrap_or_default();
            versions.push((number, at, held && !version.deleted));
        }
    }
    versions.sort_unstable();
    let mut held = vec![false; objects.len()];
    for (version, at, holds) in versions {
        held[at] = holds;
        let owners = held.iter().filter(|held| **held).count();
        assert!(owners <= 1, "two owners at resource version {version}");
    }
}

async fn an_outage_of_entra_costs_nothing(environment: Arc<Environment>) -> Result<(), Error> {
    let (first, tenant) = super::retry_after::in_own_tenant(&environment, "outage-a").await?;
    super::retry_after::move_credential(&first, &tenant).await?;
    first.protect("holder", p2()).await?;
    ready(&first, "holder").await?;
    let seed = json!({"principals": [{"clientId": first.client_id, "tenantId": tenant,
        "secrets": [format!("{}-secret", first.namespace), "another"]}]});
    environment.emulator.seed(seed).await?;
    first.protect("twin", p2()).await?;
    stalled(&first, "twin", "ClaimConflicted", "holder of this namespace").await?;

    let answer = json!({"respond": {"status": 503, "body": {"error": "temporarily_unavailable"}}});
    let fault = json!({"match": {"kind": "token", "path": tenant}, "action": answer});
    let id = environment.emulator.add_fault(fault).await?;
    // Another secret needs another token.
    first.set_secret("another").await?;
    let unknown = |object: &Value| condition_values(object, "CredentialReady").0 == "Unknown";
    eventually("a token that is missing", TIMEOUT, || async {
        let object = reconcile(&first, "holder")
            .await
            .map_err(|error| error.to_string())?;
        if unknown(&object) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        Err(object["status"]["claim"].to_string())
    })
    .await?;
    tokio::time::sleep(LAPSE_AFTER + Duration::from_secs(3)).await;
    let object = first.get("holder").await?;
    assert_eq!(state(&object), "Held");
    assert!(
        object["status"]["claim"]["deniedSince"].is_null(),
        "{:#}",
        object["status"]["claim"]
    );
    environment.emulator.delete_fault(&id).await?;
    ready(&first, "holder").await?;
    assert_eq!(state(&first.get("twin").await?), "Waiting");
    Ok(())
}

async fn a_suspended_owner_without_access_is_replaced(environment: Arc<Environment>) -> Result<(), Error> {
    let (first, second) = contest(&environment, "sleeps").await?;
    first.patch("holder", json!({"spec": {"suspend": true}})).await?;
    first.until("holder", "Suspended", "True", TIMEOUT).await?;
    reconcile(&second, "rival").await?;
    tokio::time::sleep(LAPSE_AFTER + Duration::from_secs(3)).await;
    assert_eq!(
        state(&first.get("holder").await?),
        "Held",
        "it may write, and sleeps"
    );
    // Its application loses all roles.
    let none = json!({"roleAssignments": {first.subscription.clone(): []}});
    environment.emulator.principal(&first.client_id, none).await?;
    until_state(&second, "rival", "Held", 4 * LAPSE_AFTER).await?;
    assert_eq!(state(&first.get("holder").await?), "None");
    Ok(())
}

async fn observing_releases_the_subscription(environment: Arc<Environment>) -> Result<(), Error> {
    let (first, second) = contest(&environment, "looks").await?;
    first
        .patch("holder", json!({"spec": {"mode": "Observe"}}))
        .await?;
    let object = first.until("holder", "Ready", "True", TIMEOUT).await?;
    assert!(object["status"]["claim"].is_null(), "{:#}", object["status"]);
    assert_eq!(condition_values(&object, "Claimed").1, "Observed");
    until_state(&second, "rival", "Held", TIMEOUT).await?;
    // Both may read.
    let before = requests(&first).await?.len();
    reconcile(&first, "holder").await?;
    assert!(requests(&first).await?.len() > before);
    Ok(())
}

/// The example policy, limited to the namespace of this case.
async fn a_namespace_can_be_bound_to_its_subscriptions(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("bound").await?;
    let policy = include_str!("../../../deploy/policies/subscription-binding.yaml");
    let selector = format!(
        "  matchResources: {{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {}}}}}}}\n",
        team.namespace
    );
    let path = environment.plane.folder().join("subscription-binding.yaml");
    std::fs::write(&path, format!("{policy}{selector}")).unwrap();
    let path = path.display().to_string();
    environment.plane.kubectl(&["apply", "-f", &path]).await?;
    let annotate = |value: String| {
        let (plane, namespace) = (&environment.plane, team.namespace.clone());
        async move {
            let annotation = format!("serverprotection.dev/subscriptions={value}");
            plane
                .kubectl(&["annotate", "--overwrite", "namespace", &namespace, &annotation])
                .await
        }
    };
    // The policy takes effect within seconds.
    eventually("a refusal", TIMEOUT, || async {
        match team.protect("prod", p2()).await {
            Err(error) if error.to_string().contains("is not bound to subscription") => Ok(()),
            Err(error) => Err(error.to_string()),
            Ok(_) => {
                team.delete("prod", TIMEOUT)
                    .await
                    .map_err(|error| error.to_string())?;
                Err("it was admitted".to_owned())
            }
        }
    })
    .await?;
    annotate(format!("another, {}", team.subscription.to_uppercase())).await?;
    eventually("an admission", TIMEOUT, || async {
        team.protect("prod", p2())
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    })
    .await?;
    ready(&team, "prod").await?;
    Ok(())
}
