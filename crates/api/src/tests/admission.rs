//! Each rule, satisfied and broken, with its exact message: a user reads it when `kubectl apply` is rejected.

use serde_json::{Value, json};

use super::{SUBSCRIPTION, WORKSPACE, credential, protection};

const AGENTLESS: &str = "plan.agentlessScanning needs plan.tier P2: set plan.tier to P2, or plan.agentlessScanning.state to Disabled";
const FIM_TIER: &str = "plan.fileIntegrityMonitoring needs plan.tier P2: set plan.tier to P2, or plan.fileIntegrityMonitoring.state to Disabled";
const FIM_INTEGRATION: &str = "plan.fileIntegrityMonitoring needs endpointIntegration: set endpointIntegration.state to Enabled, or plan.fileIntegrityMonitoring.state to Disabled";
const FIM_WORKSPACE: &str = "plan.fileIntegrityMonitoring.workspaceId is required when state is Enabled: set it to the resource id of the Log Analytics workspace that receives the events";
const FIM_RULES: &str = "plan.fileIntegrityMonitoring.rules must contain exactly one of preset and custom";
const FIM_EMPTY: &str = "plan.fileIntegrityMonitoring.rules.custom must contain at least one entry in windowsFiles, linuxFiles or registryKeys; to monitor nothing, set plan.fileIntegrityMonitoring.state to Disabled";
const ONBOARDING: &str = "plan.directOnboarding needs plan.tier P1 or P2: set plan.tier to P1 or P2, or plan.directOnboarding.state to Disabled";
const OTHERS: &str = "plan.otherExtensions needs plan.tier P1 or P2: set plan.tier to P1 or P2, or the state of each extension to Disabled";
const TYPED: &str = "plan.otherExtensions must not contain an extension that has its own field: use plan.agentlessScanning (AgentlessVmScanning), plan.fileIntegrityMonitoring (FileIntegrityMonitoring) or plan.directOnboarding (MdeDesignatedSubscription)";
const UNIFIED: &str = "endpointIntegration.unifiedSolution cannot be Enabled while endpointIntegration.state is Disabled: set endpointIntegration.state to Enabled, or endpointIntegration.unifiedSolution to Disabled";
const LINUX: &str = "endpointIntegration.linux cannot be Enabled while endpointIntegration.state is Disabled: set endpointIntegration.state to Enabled, or endpointIntegration.linux to Disabled";
const INTERVAL: &str =
    "interval must be from 1m to 24h, in hours (h), minutes (m) and seconds (s), for example 10m or 1h30m";
const IMMUTABLE: &str =
    "subscriptionId cannot be changed: create another ServerProtection for another subscription";

const EVERYTHING: &str = "machines.exclude must not contain a rule without tags, resourceGroups and ids, which would exclude every machine: set at least one of them; to accept unprotected machines, lower machines.minimumProtectedPercent";
const GRACE: &str = "machines.gracePeriod must be from 1m to 720h, in hours (h), minutes (m) and seconds (s), for example 24h; write 30 days as 720h";

pub(super) fn messages(result: Result<(), kube::core::cel::ValidationErrors>) -> Vec<String> {
    match result {
        Ok(()) => Vec::new(),
        Err(errors) => {
            let text = errors.to_string();
            let reported = text.lines().filter_map(|line| line.strip_prefix("  - "));
            reported.map(str::to_owned).collect()
        }
    }
}

fn refused(over: &Value, message: &str) {
    let found = messages(protection(over.clone()).validate_cel());
    assert!(
        found.len() == 1 && found[0].starts_with("spec.") && found[0].ends_with(&format!(": {message}")),
        "{over}: {found:#?}\nis not {message}"
    );
}

fn admitted(over: &Value) {
    let found = messages(protection(over.clone()).validate_cel());
    assert!(found.is_empty(), "{over}: {found:#?}");
}

#[test]
fn what_needs_p2() {
    for tier in ["P1", "Free"] {
        let with = |feature: &str, state: &str| json!({"plan": {"tier": tier, feature: {"state": state, "workspaceId": WORKSPACE}}});
        refused(&with("agentlessScanning", "Enabled"), AGENTLESS);
        refused(&with("fileIntegrityMonitoring", "Enabled"), FIM_TIER);
        // Overlays may keep the field if it is not Enabled.
        for state in ["Disabled", "Unmanaged"] {
            admitted(&with("agentlessScanning", state));
            admitted(&with("fileIntegrityMonitoring", state));
        }
    }
    admitted(&json!({"plan": {"tier": "P2", "agentlessScanning": {"state": "Enabled"}}}));
}

#[test]
fn what_needs_a_plan() {
    let onboarding =
        |tier: &str, state: &str| json!({"plan": {"tier": tier, "directOnboarding": {"state": state}}});
    let others = |tier: &str, state: &str| json!({"plan": {"tier": tier, "otherExtensions": [{"name": "New", "state": state}]}});
    refused(&onboarding("Free", "Enabled"), ONBOARDING);
    refused(&others("Free", "Enabled"), OTHERS);
    for tier in ["Free", "P1", "P2"] {
        admitted(&onboarding(tier, "Disabled"));
        admitted(&others(tier, "Unmanaged"));
    }
    for tier in ["P1", "P2"] {
        admitted(&onboarding(tier, "Enabled"));
        admitted(&others(tier, "Enabled"));
    }
}

#[test]
fn file_integrity_monitoring_needs_a_workspace_and_the_integration() {
    let with = |monitoring: Value, integration: &str| {
        let integration = json!({"state": integration});
        json!({"plan": {"fileIntegrityMonitoring": monitoring}, "endpointIntegration": integration})
    };
    refused(&with(json!({"state": "Enabled"}), "Enabled"), FIM_WORKSPACE);
    let complete = json!({"state": "Enabled", "workspaceId": WORKSPACE});
    refused(&with(complete.clone(), "Disabled"), FIM_INTEGRATION);
    admitted(&with(complete.clone(), "Enabled"));
    admitted(&with(complete, "Unmanaged"));
    admitted(&with(json!({"state": "Disabled"}), "Disabled"));
    admitted(&with(json!({}), "Disabled"));
}

#[test]
fn the_rules_of_file_integrity_monitoring_are_a_preset_or_a_list() {
    let with = |state: &str, rules: Value| json!({"plan": {"fileIntegrityMonitoring": {"state": state, "workspaceId": WORKSPACE, "rules": rules}}});
    let some = json!({"linuxFiles": ["/etc/*.conf"]});
    for state in ["Enabled", "Disabled", "Unmanaged"] {
        refused(&with(state, json!({})), FIM_RULES);
        refused(
            &with(state, json!({"preset": "Recommended", "custom": some})),
            FIM_RULES,
        );
        for empty in [
            json!({}),
            json!({"windowsFiles": [], "linuxFiles": [], "registryKeys": []}),
        ] {
            refused(&with(state, json!({"custom": empty})), FIM_EMPTY);
        }
        // Overlays may change the state and keep the rules.
        admitted(&with(state, json!({"preset": "Recommended"})));
        for custom in [
            json!({"windowsFiles": [r"\Windows\win.ini"]}),
            json!({"registryKeys": [r"hklm\SOFTWARE\Microsoft\"]}),
            some.clone(),
        ] {
            admitted(&with(state, json!({"custom": custom})));
        }
    }
}

#[test]
fn an_opt_in_needs_the_integration() {
    let with = |opt_in: &str, state: &str, integration: &str| json!({"endpointIntegration": {"state": integration, opt_in: state}});
    refused(&with("unifiedSolution", "Enabled", "Disabled"), UNIFIED);
    refused(&with("linux", "Enabled", "Disabled"), LINUX);
    for opt_in in ["unifiedSolution", "linux"] {
        admitted(&with(opt_in, "Enabled", "Enabled"));
        admitted(&with(opt_in, "Enabled", "Unmanaged"));
        admitted(&with(opt_in, "Disabled", "Disabled"));
        admitted(&with(opt_in, "Unmanaged", "Disabled"));
    }
}

#[test]
fn a_typed_extension_is_not_named_again() {
    let with = |name: &str| json!({"plan": {"otherExtensions": [{"name": name, "state": "Disabled"}]}});
    for name in [
        "AgentlessVmScanning",
        "agentlessVMscanning",
        "FileIntegrityMonitoring",
        "MdeDesignatedSubscription",
    ] {
        refused(&with(name), TYPED);
    }
    admitted(&with("ContainerSensor"));
}

#[test]
fn the_interval_has_bounds() {
    for interval in ["59s", "25h", "24h1s", "0m"] {
        refused(&json!({"interval": interval}), INTERVAL);
    }
    for interval in ["1m", "60s", "10m", "1h30m", "24h"] {
        admitted(&json!({"interval": interval}));
    }
}

#[test]
fn the_subscription_is_immutable() {
    let old = protection(json!({}));
    let mut new = protection(json!({"plan": {"tier": "P1"}}));
    assert_eq!(messages(new.validate_cel_update(&old)), [""; 0]);
    new.spec.subscription_id = "6f1c0d7e-0000-4000-8000-000000000002".into();
    let found = messages(new.validate_cel_update(&old));
    assert!(found.len() == 1 && found[0].ends_with(IMMUTABLE), "{found:#?}");
    assert_eq!(messages(new.validate_cel()), [""; 0], "a new object may name any");
}

#[test]
fn rules_hold_on_updates_too() {
    let old = protection(json!({"plan": {"agentlessScanning": {"state": "Enabled"}}}));
    let new = protection(json!({"plan": {"tier": "P1", "agentlessScanning": {"state": "Enabled"}}}));
    let found = messages(new.validate_cel_update(&old));
    assert!(found.len() == 1 && found[0].ends_with(AGENTLESS), "{found:#?}");
}

#[test]
fn a_credential_has_the_member_of_its_type() {
    let workload = json!({"serviceAccountName": "sa"});
    let secret = json!({"secretRef": {"name": "s", "key": "k"}});
    let with = |type_: &str, members: &[(&str, &Value)]| {
        let mut spec = json!({"tenantId": SUBSCRIPTION, "clientId": SUBSCRIPTION, "type": type_});
        for (name, value) in members {
            spec[*name] = (*value).clone();
        }
        messages(credential(spec).validate_cel())
    };
    let certificate = json!({"secretRef": {"name": "s"}});
    let workload = ("workloadIdentity", &workload);
    let secret = ("clientSecret", &secret);
    let certificate = ("clientCertificate", &certificate);
    assert_eq!(with("WorkloadIdentity", &[workload]), [""; 0]);
    assert_eq!(with("ClientSecret", &[secret]), [""; 0]);
    assert_eq!(with("ClientCertificate", &[certificate]), [""; 0]);
    let only_workload =
        "workloadIdentity must be set when type is WorkloadIdentity, and must not be set otherwise";
    let only_secret = "clientSecret must be set when type is ClientSecret, and must not be set otherwise";
    let only_certificate =
        "clientCertificate must be set when type is ClientCertificate, and must not be set otherwise";
    for (type_, members, expected) in [
        ("WorkloadIdentity", vec![], vec![only_workload]),
        ("ClientCertificate", vec![], vec![only_certificate]),
        ("ClientCertificate", vec![certificate, secret], vec![only_secret]),
        ("ClientSecret", vec![secret, certificate], vec![only_certificate]),
        ("WorkloadIdentity", vec![workload, secret], vec![only_secret]),
        ("ClientSecret", vec![], vec![only_secret]),
        ("ClientSecret", vec![secret, workload], vec![only_workload]),
        ("ClientSecret", vec![workload], vec![only_workload, only_secret]),
    ] {
        let found = with(type_, &members);
        assert_eq!(found.len(), expected.len(), "{type_}: {found:#?}");
        for message in expected {
            assert!(found.iter().any(|found| found.ends_with(message)), "{found:#?}");
        }
    }
}

#[test]
fn exclusions_select_something_and_not_everything() {
    let exclude = |rule: Value| json!({"machines": {"exclude": [rule]}});
    refused(&exclude(json!({"name": "all"})), EVERYTHING);
    refused(
        &exclude(json!({"name": "all", "tags": [], "resourceGroups": [], "ids": []})),
        EVERYTHING,
    );
    let id = "/subscriptions/6f1c0d7e-0000-4000-8000-000000000001/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/web";
    admitted(&exclude(
        json!({"name": "lab", "tags": [{"key": "env", "value": "lab"}]}),
    ));
    admitted(&exclude(json!({"name": "lab", "tags": [{"key": "env"}]})));
    admitted(&exclude(json!({"name": "lab", "resourceGroups": ["rg-lab"]})));
    admitted(&exclude(json!({"name": "lab", "ids": [id]})));
}

#[test]
fn the_grace_period_lies_between_a_minute_and_a_month() {
    for (grace, fits) in [
        ("1m", true),
        ("720h", true),
        ("24h", true),
        ("59s", false),
        ("721h", false),
    ] {
        let over = json!({"machines": {"gracePeriod": grace}});
        if fits {
            admitted(&over);
        } else {
            refused(&over, GRACE);
        }
    }
}
