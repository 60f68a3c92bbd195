//! Objects with a ClusterAzureCredential: who may use one identity of the platform for what.

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};
use serverprotection_tests::{
    Error, cases,
    env::Environment,
    harness::Case,
    platform::{Platform, only},
    team::{Team, condition, merge},
};

use super::{TIMEOUT, claims, condition_values, p2, plan_writes, ready, requests, stalled, writes};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        a_granted_namespace_works_and_others_learn_nothing,
        two_grants_are_pairs,
        a_withdrawn_grant_is_denied_and_the_claim_lapses,
        a_label_grants_and_withdraws,
        a_resource_id_elsewhere_needs_a_grant,
        a_management_group_grants_what_is_below_it,
        a_deleted_credential_is_like_one_without_grants,
        a_grant_without_a_selector_is_rejected,
    ]
}

/// A namespace whose subscription belongs to the platform.
async fn team_of<'a>(
    environment: &'a Environment,
    platform: &Platform<'_>,
    name: &str,
) -> Result<Team<'a>, Error> {
    environment.team_with(name, platform.owner()).await
}

/// A spec that uses the identity of the platform.
fn with(platform: &Platform<'_>, more: Value) -> Value {
    let mut spec = p2();
    merge(&mut spec, json!({"credentialRef": platform.reference()}));
    merge(&mut spec, more);
    spec
}

async fn a_granted_namespace_works_and_others_learn_nothing(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let platform = Platform::create(&environment, "shared").await?;
    let team = team_of(&environment, &platform, "granted").await?;
    let other = team_of(&environment, &platform, "refused").await?;
    let grants = json!([{"namespaceSelector": only(&team.namespace),
        "subscriptions": [team.subscription, other.subscription]}]);
    platform.grant(grants).await?;
    team.protect("prod", with(&platform, Value::Null)).await?;
    other.protect("prod", with(&platform, Value::Null)).await?;
    ready(&team, "prod").await?;
    let refused = stalled(&other, "prod", "CredentialNotGranted", "spec.grants").await?;
    let (status, _, message) = condition_values(&refused, "CredentialReady");
    assert_eq!(status, "False");
    assert!(
        message.contains(&other.namespace) && !refused.to_string().contains(&team.namespace),
        "{message}"
    );
    assert!(requests(&other).await?.is_empty(), "nothing was read");
    // A credential that does not exist looks the same.
    let absent = json!({"credentialRef": {"kind": "ClusterAzureCredential", "name": "absent"}});
    let subscription = other.another_subscription(Value::Null).await?;
    let mut spec = with(&platform, absent);
    merge(&mut spec, json!({"subscriptionId": subscription}));
    other.protect("absent", spec).await?;
    let absent = stalled(&other, "absent", "CredentialNotGranted", "spec.grants").await?;
    let (_, _, text) = condition_values(&absent, "CredentialReady");
    assert_eq!(text, message.replace(&platform.name, "absent"));
    // Its own status: a token, and who uses it.
    let credentials = platform.credentials();
    let what = "two users";
    let object = credentials
        .until_holds(&platform.name, what, TIMEOUT, |object| {
            object["status"]["usedBy"] == 2
        })
        .await?;
    assert_eq!(condition_values(&object, "Ready").1, "TokenIssued");
    let table = environment
        .plane
        .kubectl(&["get", "clusterazurecredential", &platform.name])
        .await?;
    let heading: Vec<_> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heading, ["NAME", "TYPE", "CLIENT", "READY", "REASON", "AGE"]);
    // One token for all of them.
    let requests = environment.emulator.requests_of(&platform.client_id).await?;
    let tokens = requests.iter().filter(|request| request["kind"] == "token");
    assert_eq!(tokens.count(), 1, "{requests:#?}");
    Ok(())
}

async fn two_grants_are_pairs(environment: Arc<Environment>) -> Result<(), Error> {
    let platform = Platform::create(&environment, "pairs").await?;
    let one = team_of(&environment, &platform, "one").await?;
    let two = team_of(&environment, &platform, "two").await?;
    let grant = |team: &Team<'_>| json!({"namespaceSelector": only(&team.namespace), "subscriptions": [team.subscription]});
    platform.grant(json!([grant(&one), grant(&two)])).await?;
    // Each first asks for what the other one may protect.
    for (team, other) in [(&one, &two), (&two, &one)] {
        let crossed = with(&platform, json!({"subscriptionId": other.subscription}));
        team.protect("crossed", crossed).await?;
        stalled(team, "crossed", "SubscriptionNotGranted", &other.subscription).await?;
    }
    for team in [&one, &two] {
        assert!(requests(team).await?.is_empty());
        team.protect("prod", with(&platform, Value::Null)).await?;
        ready(team, "prod").await?;
        let all = plan_writes(team).await?;
        assert_eq!(all.len(), 1, "only the owner writes: {all:#?}");
    }
    Ok(())
}

async fn a_withdrawn_grant_is_denied_and_the_claim_lapses(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let platform = Platform::create(&environment, "withdrawn").await?;
    let team = team_of(&environment, &platform, "held").await?;
    let granted = json!([{"namespaceSelector": only(&team.namespace), "subscriptions": [team.subscription]}]);
    platform.grant(granted).await?;
    team.protect("prod", with(&platform, Value::Null)).await?;
    ready(&team, "prod").await?;
    let before = writes(&team).await?.len();
    platform.grant(json!([])).await?;
    let object = stalled(&team, "prod", "CredentialNotGranted", "spec.grants").await?;
    assert_eq!(object["status"]["claim"]["state"], "Held", "not at once");
    // Nothing is repaired any more.
    let drift = json!({"settings.WDATP": false});
    environment.emulator.set(&team.subscription, drift).await?;
    team.protections().reconcile("prod", TIMEOUT).await?;
    assert_eq!(writes(&team).await?.len(), before);
    // The owner of the subscription can take it over with a credential of its own.
    team.protect("own", p2()).await?;
    let limit = claims::LAPSE_AFTER + TIMEOUT;
    team.until("own", "Claimed", "True", limit).await?;
    ready(&team, "own").await?;
    let lost = team
        .until_holds("prod", "without its claim", TIMEOUT, |object| {
            object["status"]["claim"]["state"] != "Held"
        })
        .await?;
    assert_eq!(condition_values(&lost, "CredentialReady").0, "False");
    Ok(())
}

async fn a_label_grants_and_withdraws(environment: Arc<Environment>) -> Result<(), Error> {
    let platform = Platform::create(&environment, "labels").await?;
    let team = team_of(&environment, &platform, "labelled").await?;
    let key = format!("example.com/{}", platform.name);
    let grants =
        json!([{"namespaceSelector": {"matchLabels": {&key: "yes"}}, "subscriptions": [team.subscription]}]);
    platform.grant(grants).await?;
    team.protect("prod", with(&platform, Value::Null)).await?;
    stalled(&team, "prod", "CredentialNotGranted", "namespaceSelector").await?;
    platform.label(&team.namespace, json!({&key: "yes"})).await?;
    ready(&team, "prod").await?;
    let before = writes(&team).await?.len();
    platform.label(&team.namespace, json!({&key: null})).await?;
    stalled(&team, "prod", "CredentialNotGranted", "namespaceSelector").await?;
    assert_eq!(writes(&team).await?.len(), before);
    Ok(())
}

async fn a_resource_id_elsewhere_needs_a_grant(environment: Arc<Environment>) -> Result<(), Error> {
    let platform = Platform::create(&environment, "references").await?;
    let team = team_of(&environment, &platform, "named").await?;
    let shared = team.another_subscription(platform.owner()).await?;
    let grant = |references: Value| {
        json!([{"namespaceSelector": only(&team.namespace), "subscriptions": [team.subscription],
            "referencedSubscriptions": references}])
    };
    platform.grant(grant(json!([]))).await?;
    let id = format!(
        "/subscriptions/{shared}/resourceGroups/rg/providers/Microsoft.OperationalInsights/workspaces/law"
    );
    let spec = with(&platform, json!({"workspaces": [{"resourceId": id}]}));
    team.protect("prod", spec).await?;
    let object = stalled(&team, "prod", "ReferenceNotGranted", "referencedSubscriptions").await?;
    let (_, _, message) = condition_values(&object, "CredentialReady");
    assert!(
        message.contains("workspaces[].resourceId") && message.contains(&shared),
        "{message}"
    );
    assert!(writes(&team).await?.is_empty());
    assert!(environment.emulator.requests(&shared).await?.is_empty());
    platform.grant(grant(json!([shared]))).await?;
    ready(&team, "prod").await?;
    // What may be named may not be protected.
    let other = with(&platform, json!({"subscriptionId": shared}));
    team.protect("other", other).await?;
    stalled(&team, "other", "SubscriptionNotGranted", "subscriptionId").await?;
    Ok(())
}

async fn a_management_group_grants_what_is_below_it(environment: Arc<Environment>) -> Result<(), Error> {
    let platform = Platform::create(&environment, "groups").await?;
    let team = team_of(&environment, &platform, "below").await?;
    let group = format!("mg-{}", platform.name);
    let members = json!({&group: [team.subscription]});
    let path = "management-groups";
    environment
        .emulator
        .call(Method::PATCH, path, Some(members))
        .await?;
    let grants =
        json!([{"namespaceSelector": only(&team.namespace), "managementGroups": [group.to_uppercase()]}]);
    platform.grant(grants).await?;
    team.protect("prod", with(&platform, Value::Null)).await?;
    ready(&team, "prod").await?;
    let outside = team.another_subscription(platform.owner()).await?;
    let spec = with(&platform, json!({"subscriptionId": outside}));
    team.protect("outside", spec).await?;
    stalled(&team, "outside", "SubscriptionNotGranted", &outside).await?;
    // A subscription that the identity cannot see does not keep the others from being read.
    let unknown = with(
        &platform,
        json!({"subscriptionId": "99999999-9999-4999-8999-999999999999"}),
    );
    team.protect("unknown", unknown).await?;
    stalled(&team, "unknown", "SubscriptionNotGranted", "99999999").await?;
    // At rest nobody asks Resource Graph again.
    let asked = async || {
        let all = environment.emulator.requests_of(&platform.client_id).await?;
        let asks = |request: &&Value| {
            request["body"]
                .to_string()
                .contains("managementGroupAncestorsChain")
        };
        Ok::<_, Error>(all.iter().filter(asks).count())
    };
    team.delete("outside", TIMEOUT).await?;
    team.delete("unknown", TIMEOUT).await?;
    let before = asked().await?;
    assert!((1..=4).contains(&before), "{before}");
    for _ in 0..3 {
        team.protections().reconcile("prod", TIMEOUT).await?;
    }
    let object = team.get("prod").await?;
    assert!(condition(&object, "Stalled").is_none(), "{object:#}");
    assert_eq!(asked().await?, before);
    Ok(())
}

async fn a_deleted_credential_is_like_one_without_grants(environment: Arc<Environment>) -> Result<(), Error> {
    let platform = Platform::create(&environment, "deleted").await?;
    let team = team_of(&environment, &platform, "left").await?;
    let grants = json!([{"namespaceSelector": only(&team.namespace), "subscriptions": [team.subscription]}]);
    platform.grant(grants.clone()).await?;
    team.protect("prod", with(&platform, Value::Null)).await?;
    ready(&team, "prod").await?;
    let before = writes(&team).await?.len();
    platform.delete(TIMEOUT).await?;
    let object = stalled(&team, "prod", "CredentialNotGranted", "does not exist").await?;
    assert_eq!(object["status"]["claim"]["state"], "Held");
    assert_eq!(writes(&team).await?.len(), before);
    platform.grant(grants).await?;
    ready(&team, "prod").await?;
    Ok(())
}

async fn a_grant_without_a_selector_is_rejected(environment: Arc<Environment>) -> Result<(), Error> {
    let platform = Platform::create(&environment, "open").await?;
    let id = "00000000-0000-4000-8000-000000000001";
    for open in [
        json!({"subscriptions": [id]}),
        json!({"namespaceSelector": {}, "subscriptions": [id]}),
        json!({"namespaceSelector": {"matchLabels": {}}, "subscriptions": [id]}),
    ] {
        let refusal = platform.grant(json!([open])).await.unwrap_err().to_string();
        assert!(
            refusal.contains("would select every namespace")
                && refusal.contains("{matchLabels: {kubernetes.io/metadata.name: team-a}}"),
            "{refusal}"
        );
    }
    Ok(())
}
