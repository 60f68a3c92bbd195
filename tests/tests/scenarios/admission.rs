//! Admission by the real API server: what is refused, with the field's name; what passes, with its defaults.

use std::sync::Arc;

use serde_json::{Value, json};
use serverprotection_tests::{
    Error,
    env::Environment,
    harness::{Case, case},
    team::merge,
    wait::eventually,
};

use super::p2;

pub(crate) fn cases() -> Vec<Case<Environment>> {
    vec![
        case("admission_refuses_with_the_fields_name", refused),
        case("admission_lets_overlays_pass", passes),
        case("a_minimal_object_gets_its_defaults", defaults),
        case("kubectl_explain_tells_every_field", explained),
    ]
}

fn workspace() -> Value {
    json!(
        "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/r/providers/Microsoft.OperationalInsights/workspaces/w"
    )
}

async fn refused(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("refused").await?;
    let scanning = json!({"state": "Enabled"});
    let monitoring = json!({"state": "Enabled", "workspaceId": workspace()});
    let cases = [
        (
            json!({"plan": {"tier": "P1", "agentlessScanning": scanning}}),
            "plan.agentlessScanning needs plan.tier P2",
        ),
        (
            json!({"plan": {"tier": "Free", "agentlessScanning": scanning}}),
            "plan.agentlessScanning needs plan.tier P2",
        ),
        (
            json!({"plan": {"tier": "P1", "fileIntegrityMonitoring": monitoring}}),
            "plan.fileIntegrityMonitoring needs plan.tier P2",
        ),
        (
            json!({"plan": {"tier": "P2", "fileIntegrityMonitoring": scanning}}),
            "fileIntegrityMonitoring.workspaceId is required",
        ),
        (
            json!({"plan": {"tier": "P2", "fileIntegrityMonitoring": {"state": "Enabled", "workspaceId": "w"}}}),
            "workspaceId",
        ),
        (
            json!({"plan": {"tier": "P2", "fileIntegrityMonitoring": monitoring}, "endpointIntegration": {"state": "Disabled"}}),
            "plan.fileIntegrityMonitoring needs endpointIntegration",
        ),
        (
            json!({"plan": {"tier": "Free", "directOnboarding": scanning}}),
            "plan.directOnboarding needs plan.tier P1 or P2",
        ),
        (
            json!({"plan": {"tier": "P2", "otherExtensions": [{"name": "agentlessVmScanning", "state": "Enabled"}]}}),
            "use plan.agentlessScanning",
        ),
        (
            json!({"plan": {"tier": "P2", "otherExtensions": [{"name": "SomethingNew"}]}}),
            "state",
        ),
        (
            json!({"plan": {"tier": "P1"}, "endpointIntegration": {"state": "Disabled", "linux": "Enabled"}}),
            "endpointIntegration.linux cannot be Enabled",
        ),
        (
            json!({"plan": {"tier": "P1"}, "endpointIntegration": {"state": "Disabled", "unifiedSolution": "Enabled"}}),
            "endpointIntegration.unifiedSolution cannot be Enabled",
        ),
        (json!({"plan": {}}), "plan.tier"),
        (json!({"plan": {"tier": "P3"}}), "plan.tier"),
        (
            json!({"plan": {"tier": "P1"}, "interval": "10s"}),
            "interval must lie between 1m and 24h",
        ),
        (json!({"plan": {"tier": "P1"}, "interval": "soon"}), "interval"),
        (
            json!({"plan": {"tier": "P1"}, "subscriptionId": "6F1C0D7E-0000-0000-0000-000000000000"}),
            "subscriptionId",
        ),
        (
            json!({"plan": {"tier": "P1"}, "deletionPolicy": "Disable"}),
            "deletionPolicy",
        ),
        (
            json!({"plan": {"tier": "P1"}, "credentialRef": {"name": "../secrets"}}),
            "credentialRef.name",
        ),
        (
            json!({"plan": {"tier": "P1"}, "credentialRef": {"kind": "ClusterAzureCredential"}}),
            "spec.credentialRef.kind",
        ),
    ];
    for (spec, field) in cases {
        let shown = spec.to_string();
        let refusal = team
            .protect("bad", spec)
            .await
            .err()
            .unwrap_or_else(|| panic!("was admitted: {shown}"));
        assert!(
            refusal.to_string().contains(field),
            "{shown}: not named \"{field}\": {refusal}"
        );
    }
    let mut suspended = p2();
    suspended["suspend"] = json!(true);
    team.protect("good", suspended).await?;
    let other = json!({"spec": {"subscriptionId": "00000000-0000-0000-0000-000000000009"}});
    let refusal = team
        .patch("good", other)
        .await
        .err()
        .unwrap_or_else(|| panic!("subscriptionId was changed"));
    assert!(
        refusal.to_string().contains("subscriptionId cannot be changed"),
        "{refusal}"
    );
    Ok(())
}

async fn passes(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("overlays").await?;
    for (number, plan) in [
        json!({"tier": "P1", "agentlessScanning": {"state": "Disabled"}}),
        json!({"tier": "Free", "agentlessScanning": {"state": "Unmanaged"}, "directOnboarding": {"state": "Disabled"}}),
        json!({"tier": "P2", "fileIntegrityMonitoring": {"state": "Enabled", "workspaceId": workspace()}}),
    ]
    .into_iter()
    .enumerate()
    {
        let mut spec = json!({"suspend": true});
        merge(&mut spec, json!({"plan": plan}));
        team.protect(&format!("overlay-{number}"), spec).await?;
    }
    Ok(())
}

async fn defaults(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("defaults").await?;
    let object = team
        .protect("minimal", json!({"plan": {"tier": "P1"}, "suspend": true}))
        .await?;
    let spec = &object["spec"];
    assert_eq!(
        (&spec["mode"], &spec["interval"], &spec["deletionPolicy"]),
        (&json!("Enforce"), &json!("10m"), &json!("Retain"))
    );
    assert_eq!(spec["plan"]["inheritance"], "Unmanaged");
    assert_eq!(spec["endpointIntegration"]["state"], "Enabled");
    assert_eq!(spec["vulnerabilityAssessment"]["state"], "Enabled");
    assert_eq!(spec["resourceProviders"]["registration"], "Register");
    assert_eq!(
        object["status"]["observedGeneration"], -1,
        "kstatus must not call it Current before a visit"
    );
    Ok(())
}

async fn explained(environment: Arc<Environment>) -> Result<(), Error> {
    let explain = |what: &'static [&'static str]| environment.plane.kubectl(what);
    // The server publishes the schema some seconds after the definition.
    let all = eventually("the published schema", super::SOON, || {
        explain(&["explain", "serverprotection.spec", "--recursive"])
    })
    .await?;
    for field in [
        "subscriptionId",
        "agentlessScanning",
        "exclusionTags",
        "unifiedSolution",
    ] {
        assert!(all.contains(field), "{all}");
    }
    let one = explain(&["explain", "serverprotection.spec.endpointIntegration.linux"]).await?;
    assert!(one.contains("Defender for Endpoint on Linux"), "{one}");
    Ok(())
}
