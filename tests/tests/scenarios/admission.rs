//! Admission by the real API server: it rejects invalid fields and names them, and it sets the defaults of valid
//! objects.

use std::sync::Arc;

use serde_json::{Value, json};
use serverprotection_tests::{
    Error, cases,
    command::validate_agrees,
    env::Environment,
    harness::Case,
    team::{Team, merge},
    wait::eventually,
};

use super::p2;

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        admission_names_the_rejected_field,
        admission_names_the_rejected_rules,
        admission_lets_overlays_pass,
        a_minimal_object_gets_its_defaults,
        kubectl_explain_describes_every_field,
    ]
}

fn workspace() -> Value {
    json!(
        "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/r/providers/Microsoft.OperationalInsights/workspaces/w"
    )
}

/// A spec whose file integrity monitoring has these rules.
fn with_rules(rules: Value) -> Value {
    let mut monitoring = json!({"state": "Enabled", "workspaceId": workspace()});
    monitoring["rules"] = rules;
    json!({"plan": {"tier": "P2", "fileIntegrityMonitoring": monitoring}})
}

/// Features that do not fit the rest of the spec, with a part of the message.
fn features() -> Vec<(Value, &'static str)> {
    let scanning = json!({"state": "Enabled"});
    let monitoring = json!({"state": "Enabled", "workspaceId": workspace()});
    vec![
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
            "workspaceId must be the resource id of a Log Analytics workspace: /subscriptions/ID/",
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
    ]
}

/// Values of the wrong form, with a part of the message.
fn values() -> Vec<(Value, &'static str)> {
    let excluding = |rule: Value| json!({"plan": {"tier": "P1"}, "machines": {"exclude": [rule]}});
    let escaping = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/.\t./providers/Microsoft.OperationalInsights/workspaces/w";
    vec![
        (json!({"plan": {}}), "plan.tier"),
        (json!({"plan": {"tier": "P3"}}), "plan.tier"),
        (
            json!({"plan": {"tier": "P1"}, "interval": "10s"}),
            "interval must be from 1m to 24h, in hours (h), minutes (m) and seconds (s), for example 10m",
        ),
        (
            json!({"plan": {"tier": "P1"}, "interval": "soon"}),
            "interval must be from 1m to 24h",
        ),
        (
            json!({"plan": {"tier": "P1"}, "interval": "-5m"}),
            "interval must be from 1m to 24h",
        ),
        (
            json!({"plan": {"tier": "P1"}, "machines": {"gracePeriod": "60d"}}),
            "machines.gracePeriod must be from 1m to 720h, in hours (h)",
        ),
        (
            json!({"plan": {"tier": "P1"}, "subscriptionId": "6F1C0D7E-0000-0000-0000-000000000000"}),
            "subscriptionId must be the id of an Azure subscription, a GUID in lower case, for example",
        ),
        (
            json!({"plan": {"tier": "P1"}, "subscriptionId": workspace()}),
            "subscriptionId must be the id of an Azure subscription",
        ),
        (
            json!({"plan": {"tier": "P1"}, "workspaces": [{"resourceId": escaping}]}),
            "workspaces must contain resource ids of Log Analytics workspaces",
        ),
        (
            excluding(json!({"name": "Lab", "resourceGroups": ["rg"]})),
            "machines.exclude must contain rules whose names have",
        ),
        (
            excluding(json!({"name": "lab", "resourceGroups": ["rg-*"]})),
            "machines.exclude.resourceGroups must contain names of resource groups, without wildcards",
        ),
        (
            excluding(json!({"name": "lab", "ids": ["web"]})),
            "machines.exclude.ids must contain resource ids",
        ),
        (
            json!({"plan": {"tier": "P2", "otherExtensions": [{"name": "a-b", "state": "Enabled"}]}}),
            "plan.otherExtensions must name each extension as Azure does",
        ),
        (
            json!({"plan": {"tier": "P1"}, "deletionPolicy": "Disable"}),
            "deletionPolicy",
        ),
        (
            json!({"plan": {"tier": "P1"}, "credentialRef": {"name": "../secrets"}}),
            "credentialRef.name must be the name of an AzureCredential",
        ),
        (
            json!({"plan": {"tier": "P1"}, "credentialRef": {"kind": "Secret"}}),
            "spec.credentialRef.kind",
        ),
    ]
}

async fn admission_names_the_rejected_field(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("refused").await?;
    all_refused(&team, &features()).await?;
    all_refused(&team, &values()).await?;
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

/// Each of these specs is rejected with a message that names the field. `serverprotection validate` must agree.
async fn all_refused(team: &Team<'_>, cases: &[(Value, &str)]) -> Result<(), Error> {
    for (spec, field) in cases {
        let refusal = team
            .protect("bad", spec.clone())
            .await
            .err()
            .unwrap_or_else(|| panic!("was admitted: {spec}"));
        assert!(
            refusal.to_string().contains(field),
            "{spec}: not named \"{field}\": {refusal}"
        );
        let whole = team.protection_spec(spec.clone());
        validate_agrees(&team.protections().object("bad", &whole), false).await?;
    }
    Ok(())
}

async fn admission_names_the_rejected_rules(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("rules").await?;
    let cases = [
        (with_rules(json!({})), "exactly one of preset and custom"),
        (
            with_rules(json!({"preset": "Recommended", "custom": {"linuxFiles": ["/etc/"]}})),
            "exactly one of preset and custom",
        ),
        (with_rules(json!({"preset": "Everything"})), "rules.preset"),
        (
            with_rules(json!({"custom": {"linuxFiles": []}})),
            "rules.custom must contain at least one entry",
        ),
        (
            with_rules(json!({"custom": {"linuxFiles": ["etc/passwd"]}})),
            "rules.custom.linuxFiles must contain absolute paths",
        ),
        (
            with_rules(json!({"custom": {"windowsFiles": ["C:/Windows/win.ini"]}})),
            "rules.custom.windowsFiles must contain paths with backslashes",
        ),
        (
            with_rules(json!({"custom": {"windowsFiles": ["a\nb"]}})),
            "rules.custom.windowsFiles must contain paths with backslashes",
        ),
        (
            with_rules(json!({"custom": {"registryKeys": [r"SOFTWARE\Microsoft\"]}})),
            "rules.custom.registryKeys must contain keys that start with a hive",
        ),
        (
            with_rules(json!({"custom": {"linuxFiles": ["/a", "/a"]}})),
            "rules.custom.linuxFiles: duplicate",
        ),
    ];
    all_refused(&team, &cases).await?;
    Ok(())
}

async fn admission_lets_overlays_pass(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("overlays").await?;
    for (number, plan) in [
        json!({"tier": "P1", "agentlessScanning": {"state": "Disabled"}}),
        json!({"tier": "Free", "agentlessScanning": {"state": "Unmanaged"}, "directOnboarding": {"state": "Disabled"}}),
        json!({"tier": "P2", "fileIntegrityMonitoring": {"state": "Enabled", "workspaceId": workspace()}}),
        json!({"tier": "P1", "fileIntegrityMonitoring": {"state": "Disabled", "rules": {"preset": "Recommended"}}}),
        with_rules(json!({"custom": {
            "windowsFiles": [r"\Windows\system.ini", r"C:\Windows\*.exe", "autoexec.bat", r"%windir%\a"],
            "linuxFiles": ["/etc/*.conf", "/srv/ü"],
            "registryKeys": [r"hklm\SECURITY\POLICY\SECRETS\", r"HKEY_LOCAL_MACHINE\SOFTWARE\a/b"],
        }}))["plan"]
            .clone(),
    ]
    .into_iter()
    .enumerate()
    {
        let mut spec = json!({"suspend": true});
        merge(&mut spec, json!({"plan": plan}));
        let name = format!("overlay-{number}");
        let whole = team.protection_spec(spec.clone());
        validate_agrees(&team.protections().object(&name, &whole), true).await?;
        team.protect(&name, spec).await?;
    }
    Ok(())
}

async fn a_minimal_object_gets_its_defaults(environment: Arc<Environment>) -> Result<(), Error> {
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
        "kstatus must not report Current before the first reconcile"
    );
    Ok(())
}

async fn kubectl_explain_describes_every_field(environment: Arc<Environment>) -> Result<(), Error> {
    let explain = |what: &'static [&'static str]| environment.plane.kubectl(what);
    // The API server publishes the schema some seconds after the definition.
    let all = eventually("the published schema", super::TIMEOUT, || {
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
