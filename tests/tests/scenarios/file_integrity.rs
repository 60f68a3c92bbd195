//! File integrity monitoring: its workspace and rules, and the properties of extensions that are not managed.

use std::sync::Arc;

use serde_json::{Value, json};
use serverprotection_tests::{Error, cases, env::Environment, harness::Case, team::Team, wait::eventually};

use super::{TIMEOUT, condition_values, in_azure, plan_writes, ready, reconcile, writes};

const EXTENSION: &str = "pricings.VirtualMachines.extensions.FileIntegrityMonitoring";
/// Rules as the portal may store them, with blanks and a member that the controller does not know.
const PORTAL_RULES: &str =
    r#"[ {"RuleId":"portal", "Source":"x","MonitoredEntities":{"LinuxFiles":[{"Path":"/srv/"}]}} ]"#;

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        file_integrity_monitoring_is_enabled_on_a_fresh_subscription,
        a_move_from_p1_enables_file_integrity_monitoring_too,
        rules_of_the_portal_are_not_changed,
        custom_rules_are_written_and_their_drift_is_repaired,
        properties_of_extensions_that_are_not_managed_survive_a_write,
        file_integrity_monitoring_is_switched_off_again,
    ]
}

/// A workspace in the team's subscription: the identity must own it.
fn workspace(team: &Team<'_>) -> String {
    format!(
        "/subscriptions/{}/resourceGroups/r/providers/Microsoft.OperationalInsights/workspaces/w",
        team.subscription
    )
}

fn monitoring(team: &Team<'_>, rules: Option<Value>) -> Value {
    let mut monitoring = json!({"state": "Enabled", "workspaceId": workspace(team)});
    if let Some(rules) = rules {
        monitoring["rules"] = rules;
    }
    json!({"plan": {"tier": "P2", "fileIntegrityMonitoring": monitoring}})
}

/// The properties of the extension in the emulator.
async fn properties(team: &Team<'_>, extension: &str) -> Result<Value, Error> {
    let azure = in_azure(team).await?;
    Ok(
        azure["pricings"]["VirtualMachines"]["extensions"][extension]["additionalExtensionProperties"]
            .clone(),
    )
}

/// The rules in Azure, parsed.
async fn rules(team: &Team<'_>) -> Result<Value, Error> {
    let properties = properties(team, "FileIntegrityMonitoring").await?;
    let text = properties["Rules"].as_str().unwrap_or_default();
    Ok(serde_json::from_str(text).unwrap_or_else(|_| panic!("no rules: {properties:#}")))
}

async fn set_rules(team: &Team<'_>, rules: Value) -> Result<(), Error> {
    let path = format!("{EXTENSION}.additionalExtensionProperties.Rules");
    team.environment
        .emulator
        .set(&team.subscription, json!({ path: rules }))
        .await?;
    Ok(())
}

async fn file_integrity_monitoring_is_enabled_on_a_fresh_subscription(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("fim-fresh").await?;
    team.protect("prod", monitoring(&team, None)).await?;
    let object = ready(&team, "prod").await?;
    assert_eq!(
        condition_values(&object, "ExtensionsProvisioned").0,
        "True",
        "{object:#}"
    );
    let puts = plan_writes(&team).await?;
    assert_eq!(puts.len(), 1, "tier and monitoring in one write: {puts:#?}");
    let properties = properties(&team, "FileIntegrityMonitoring").await?;
    assert_eq!(properties["DefinedWorkspaceId"], workspace(&team));
    let rules = rules(&team).await?;
    assert_eq!(rules[0]["RuleId"], "1c18eca2-7d3b-4367-3397-097a1ef2edb1");
    let counts = ["WindowsFiles", "LinuxFiles", "Registries"]
        .map(|list| rules[0]["MonitoredEntities"][list].as_array().map(Vec::len));
    assert_eq!(counts, [Some(8), Some(18), Some(21)]);

    // Nothing is left to do, and deleted rules are restored.
    let object = reconcile(&team, "prod").await?;
    assert_eq!(condition_values(&object, "Drifted").0, "False", "{object:#}");
    assert_eq!(plan_writes(&team).await?.len(), 1);
    set_rules(&team, Value::Null).await?;
    reconcile(&team, "prod").await?;
    ready(&team, "prod").await?;
    eventually("the rules in Azure", TIMEOUT, || async {
        let found = self::properties(&team, "FileIntegrityMonitoring").await;
        let found = found.map_err(|error| error.to_string())?;
        found["Rules"]
            .is_string()
            .then_some(())
            .ok_or_else(|| found.to_string())
    })
    .await?;
    Ok(())
}

async fn a_move_from_p1_enables_file_integrity_monitoring_too(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("fim-p1").await?;
    team.protect("prod", json!({"plan": {"tier": "P1"}})).await?;
    ready(&team, "prod").await?;
    let before = plan_writes(&team).await?.len();
    team.patch("prod", json!({"spec": monitoring(&team, None)}))
        .await?;
    let object = ready(&team, "prod").await?;
    assert_eq!(object["status"]["plan"]["tier"], "P2");
    assert_eq!(plan_writes(&team).await?.len(), before + 1);
    assert!(rules(&team).await?[0]["MonitoredEntities"].is_object());
    Ok(())
}

async fn rules_of_the_portal_are_not_changed(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("fim-portal").await?;
    let mut spec = monitoring(&team, None);
    spec["plan"]["agentlessScanning"] = json!({"state": "Enabled"});
    team.protect("prod", spec).await?;
    ready(&team, "prod").await?;
    set_rules(&team, json!(PORTAL_RULES)).await?;
    let before = writes(&team).await?.len();
    let object = reconcile(&team, "prod").await?;
    assert_eq!(condition_values(&object, "Drifted").0, "False", "{object:#}");
    assert_eq!(
        writes(&team).await?.len(),
        before,
        "rules of the portal are right"
    );

    // Another write does not change them.
    let tags = json!([{"key": "env", "value": "lab"}]);
    let edit = json!({"spec": {"plan": {"agentlessScanning": {"exclusionTags": tags}}}});
    team.patch("prod", edit).await?;
    ready(&team, "prod").await?;
    assert_eq!(writes(&team).await?.len(), before + 1);
    let properties = properties(&team, "FileIntegrityMonitoring").await?;
    assert_eq!(properties["Rules"], PORTAL_RULES);
    Ok(())
}

async fn custom_rules_are_written_and_their_drift_is_repaired(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("fim-custom").await?;
    let custom = json!({"custom": {"windowsFiles": [r"\Windows\win.ini"], "linuxFiles": ["/etc/*.conf"]}});
    team.protect("prod", monitoring(&team, Some(custom))).await?;
    ready(&team, "prod").await?;
    assert_eq!(plan_writes(&team).await?.len(), 1);
    let paths = |rules: &Value| {
        let entities = &rules[0]["MonitoredEntities"];
        (entities["WindowsFiles"].clone(), entities["LinuxFiles"].clone())
    };
    let expected = (
        json!([{"Path": r"\Windows\win.ini"}]),
        json!([{"Path": "/etc/*.conf"}]),
    );
    assert_eq!(paths(&rules(&team).await?), expected);

    // Another id and another case are not drift.
    let same = r#"[{"RuleId":"theirs","MonitoredEntities":{"LinuxFiles":[{"Path":"/etc/*.conf"}],"WindowsFiles":[{"Path":"\\WINDOWS\\win.ini"}]}}]"#;
    set_rules(&team, json!(same)).await?;
    let object = reconcile(&team, "prod").await?;
    assert_eq!(condition_values(&object, "Drifted").0, "False", "{object:#}");
    assert_eq!(plan_writes(&team).await?.len(), 1);

    // Other paths are drift, and the id stays.
    set_rules(&team, json!(PORTAL_RULES)).await?;
    reconcile(&team, "prod").await?;
    let repaired = eventually("the repair in Azure", TIMEOUT, || async {
        let rules = rules(&team).await.map_err(|error| error.to_string())?;
        if paths(&rules) == expected {
            Ok(rules)
        } else {
            Err(rules.to_string())
        }
    })
    .await?;
    assert_eq!(
        (&repaired[0]["RuleId"], &repaired[0]["Source"]),
        (&json!("portal"), &json!("x"))
    );
    let object = ready(&team, "prod").await?;
    assert_eq!(
        object["status"]["contested"][0]["field"],
        "plan.fileIntegrityMonitoring.rules"
    );
    let observed = object["status"]["contested"][0]["observed"]
        .as_str()
        .unwrap_or_default();
    assert!(observed.starts_with("windowsFiles=0 linuxFiles=1"), "{observed}");
    assert_eq!(plan_writes(&team).await?.len(), 2);
    Ok(())
}

async fn properties_of_extensions_that_are_not_managed_survive_a_write(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let odd = json!({"SomebodyElses": "{ \"b\" : 1, \"a\" : [ ] }", "More": {"z": null, "a": [1, true]}});
    let both = json!({"DefinedWorkspaceId": "/theirs", "Rules": PORTAL_RULES, "SomebodyElses": "kept"});
    let current = json!({"pricings": {"VirtualMachines": {"pricingTier": "Standard", "subPlan": "P2", "extensions": {
        "FileIntegrityMonitoring": {"isEnabled": "True", "additionalExtensionProperties": both},
        "MdeDesignatedSubscription": {"isEnabled": "True", "additionalExtensionProperties": odd}}}}});
    let team = environment.team_with("fim-unmanaged", current).await?;
    let tags = json!([{"key": "env", "value": "lab"}]);
    // One extension is not managed, and one is managed without properties.
    let spec = json!({"plan": {"tier": "P2", "agentlessScanning": {"state": "Enabled", "exclusionTags": tags},
        "directOnboarding": {"state": "Enabled"}}});
    team.protect("prod", spec).await?;
    ready(&team, "prod").await?;
    assert_eq!(plan_writes(&team).await?.len(), 1);
    assert_eq!(properties(&team, "FileIntegrityMonitoring").await?, both);
    assert_eq!(properties(&team, "MdeDesignatedSubscription").await?, odd);
    Ok(())
}

async fn file_integrity_monitoring_is_switched_off_again(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("fim-off").await?;
    team.protect("prod", monitoring(&team, None)).await?;
    ready(&team, "prod").await?;
    let state = |state: &str| json!({"spec": {"plan": {"fileIntegrityMonitoring": {"state": state}}}});
    team.patch("prod", state("Disabled")).await?;
    ready(&team, "prod").await?;
    let extension = "/pricings/VirtualMachines/extensions/FileIntegrityMonitoring/isEnabled";
    assert_eq!(in_azure(&team).await?.pointer(extension), Some(&json!("False")));
    team.patch("prod", state("Enabled")).await?;
    ready(&team, "prod").await?;
    assert_eq!(in_azure(&team).await?.pointer(extension), Some(&json!("True")));
    Ok(())
}
