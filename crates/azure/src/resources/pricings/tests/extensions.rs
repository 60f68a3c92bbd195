//! Properties of plan extensions, from a plan in Azure to the body of the next write.

use serverprotection_api::ServerProtectionSpec;
use serverprotection_core::server_protection::{changes, desired::Desired, untouched::Untouched};

use super::super::*;

const WORKSPACE: &str = "/subscriptions/6f1c0d7e-0000-4000-8000-000000000001/resourceGroups/rg/providers/Microsoft.OperationalInsights/workspaces/law";
/// Rules as the portal stores them, with white space and an unknown member.
const PORTAL_RULES: &str = r#"[ {"RuleId":"9a0c6a3e-61b5-4b0e-9f3c-1d2b3c4d5e6f", "Source":"portal","MonitoredEntities":{"WindowsFiles":[{"Path":"\\Windows\\win.ini"}],"LinuxFiles":[{"Path":"/etc/*.conf"}],"Registries":[{"Path":"hklm\\SECURITY\\POLICY\\SECRETS\\"}]}} ]"#;

/// The body of the plan write for a `spec.plan` if the plan in Azure has these properties, and the fields that differ.
fn sent(plan: &Value, answered: &Value) -> (Value, Vec<String>) {
    let spec: ServerProtectionSpec = serde_json::from_value(json!({
        "subscriptionId": "6f1c0d7e-0000-4000-8000-000000000001",
        "credentialRef": {"name": "platform"},
        "plan": plan,
    }))
    .unwrap();
    let desired = Desired::of(&spec);
    let body = json!({
        "id": "/subscriptions/6f1c0d7e-0000-4000-8000-000000000001/providers/Microsoft.Security/pricings/VirtualMachines",
        "name": "VirtualMachines", "type": "Microsoft.Security/pricings", "properties": answered,
    });
    let current = changes::Actual {
        plan: read_plan(GET, &body).unwrap(),
        settings: serverprotection_core::server_protection::observed::Settings::default(),
        assessment: false,
    };
    let fields = changes::differences(&desired, &current)
        .into_iter()
        .map(|difference| difference.field.to_string())
        .filter(|field| field.starts_with("plan."))
        .collect();
    let write = changes::plan_write(&desired, &current.plan, &Untouched::default());
    (request(&write), fields)
}

fn extension<'v>(body: &'v Value, name: &str) -> Option<&'v Value> {
    let extensions = body["properties"]["extensions"].as_array().unwrap();
    extensions.iter().find(|extension| extension["name"] == name)
}

fn free() -> Value {
    json!({"resourcesCoverageStatus": "NotCovered", "pricingTier": "Free", "freeTrialRemainingTime": "P30D"})
}

fn p2(extensions: &Value) -> Value {
    json!({"extensions": extensions, "enablementTime": "2023-03-01T12:42:42.1921106Z", "subPlan": "P2",
        "pricingTier": "Standard", "freeTrialRemainingTime": "PT0S", "enforce": "False",
        "resourcesCoverageStatus": "FullyCovered"})
}

fn p1() -> Value {
    json!({"extensions": [{"name": "MdeDesignatedSubscription", "isEnabled": "False"}], "subPlan": "P1",
        "pricingTier": "Standard", "freeTrialRemainingTime": "PT0S"})
}

fn monitored(rules: &Value) -> Value {
    json!({"name": "FileIntegrityMonitoring", "isEnabled": "True",
        "additionalExtensionProperties": {"DefinedWorkspaceId": WORKSPACE, "Rules": rules}})
}

fn monitoring(rules: Option<Value>) -> Value {
    let mut monitoring = json!({"state": "Enabled", "workspaceId": WORKSPACE});
    if let Some(rules) = rules {
        monitoring["rules"] = rules;
    }
    json!({"tier": "P2", "fileIntegrityMonitoring": monitoring})
}

#[test]
fn the_first_write_carries_the_workspace_and_the_rules() {
    let off = p2(&json!([{"name": "FileIntegrityMonitoring", "isEnabled": "False"}]));
    for (answered, tier_differs) in [(free(), true), (p1(), true), (off, false)] {
        let (body, fields) = sent(&monitoring(None), &answered);
        assert_eq!(
            fields.contains(&"plan.tier".to_owned()),
            tier_differs,
            "{fields:?}"
        );
        for field in ["state", "workspaceId", "rules"] {
            assert!(
                fields.contains(&format!("plan.fileIntegrityMonitoring.{field}")),
                "{fields:?}"
            );
        }
        assert_eq!(body["properties"]["subPlan"], "P2");
        let extension = extension(&body, "FileIntegrityMonitoring").unwrap();
        assert_eq!(extension["isEnabled"], "True");
        let properties = &extension["additionalExtensionProperties"];
        assert_eq!(properties["DefinedWorkspaceId"], WORKSPACE);
        let rules: Value = serde_json::from_str(properties["Rules"].as_str().unwrap()).unwrap();
        assert_eq!(rules[0]["RuleId"], "1c18eca2-7d3b-4367-3397-097a1ef2edb1");
        let entities = &rules[0]["MonitoredEntities"];
        assert_eq!(
            entities["WindowsFiles"][3],
            json!({"Path": r"\Windows\system.ini"})
        );
        let counts =
            ["WindowsFiles", "LinuxFiles", "Registries"].map(|list| entities[list].as_array().unwrap().len());
        assert_eq!(counts, [8, 18, 21]);
    }
}

#[test]
fn rules_of_the_portal_are_in_sync_with_the_preset_and_are_sent_as_they_were_read() {
    for preset in [None, Some(json!({"preset": "Recommended"}))] {
        for rules in [
            json!(PORTAL_RULES),
            json!("not even JSON"),
            json!([{"RuleId": 1}]),
        ] {
            let (body, fields) = sent(&monitoring(preset.clone()), &p2(&json!([monitored(&rules)])));
            assert!(fields.is_empty(), "{fields:?}");
            assert_eq!(
                extension(&body, "FileIntegrityMonitoring"),
                Some(&monitored(&rules))
            );
        }
    }
}

#[test]
fn custom_rules_keep_the_rule_id() {
    let rules = json!({"custom": {"linuxFiles": ["/etc/*.conf"], "windowsFiles": [r"\windows\WIN.INI"],
        "registryKeys": [r"HKLM\Security\Policy\Secrets\"]}});
    let current = p2(&json!([monitored(&json!(PORTAL_RULES))]));
    let (body, fields) = sent(&monitoring(Some(rules)), &current);
    assert!(fields.is_empty(), "{fields:?}");
    assert_eq!(
        extension(&body, "FileIntegrityMonitoring"),
        Some(&monitored(&json!(PORTAL_RULES)))
    );

    let rules = json!({"custom": {"linuxFiles": ["/ETC/*.conf"]}});
    let (body, fields) = sent(&monitoring(Some(rules)), &current);
    assert_eq!(fields, ["plan.fileIntegrityMonitoring.rules"]);
    let properties = &extension(&body, "FileIntegrityMonitoring").unwrap()["additionalExtensionProperties"];
    let rules: Value = serde_json::from_str(properties["Rules"].as_str().unwrap()).unwrap();
    assert_eq!(
        rules,
        json!([{"RuleId": "9a0c6a3e-61b5-4b0e-9f3c-1d2b3c4d5e6f", "Source": "portal",
            "MonitoredEntities": {"WindowsFiles": [], "LinuxFiles": [{"Path": "/ETC/*.conf"}], "Registries": []}}])
    );
}

#[test]
fn enabled_extensions_are_sent_with_the_properties_that_were_read() {
    let current = json!([
        {"name": "MdeDesignatedSubscription", "isEnabled": "True",
         "additionalExtensionProperties": {"New": "{\"b\" : 1,  \"a\":[ ]}", "Odd": {"z": null, "a": [1, true]}}},
        {"name": "AgentlessVmScanning", "isEnabled": "True",
         "additionalExtensionProperties": {"ExclusionTags": "[ {\"Value\":\"B\",\"Key\":\"A\"} ]", "New": "x"},
         "operationStatus": {"code": "Succeeded", "message": "Successfully enabled extension"}},
        monitored(&json!(PORTAL_RULES)),
        {"name": "Unknown", "isEnabled": "True", "additionalExtensionProperties": {"a": "b"}},
        {"name": "UnknownOff", "isEnabled": "False", "additionalExtensionProperties": {"a": "b"}},
    ]);
    let mut expected: Vec<_> = current.as_array().unwrap().clone();
    expected[1].as_object_mut().unwrap().remove("operationStatus");
    expected[4] = json!({"name": "UnknownOff", "isEnabled": "False"});
    expected.sort_by_key(|extension| extension["name"].as_str().map(str::to_owned));
    for plan in [
        // No managed extension; managed ones without properties; a managed property of another extension.
        json!({"tier": "P2"}),
        json!({"tier": "P2", "agentlessScanning": {"state": "Enabled"}, "directOnboarding": {"state": "Enabled"},
            "otherExtensions": [{"name": "Unknown", "state": "Enabled"}]}),
        json!({"tier": "P2", "inheritance": "Enforced", "fileIntegrityMonitoring": {"state": "Unmanaged"}}),
    ] {
        let (body, _) = sent(&plan, &p2(&current));
        assert_eq!(body["properties"]["extensions"], json!(expected), "{plan}");
    }
}

#[test]
fn monitoring_that_stays_off_is_not_sent() {
    let off = p2(&json!([{"name": "FileIntegrityMonitoring", "isEnabled": "False"},
        {"name": "AgentlessVmScanning", "isEnabled": "False"}]));
    for plan in [
        json!({"tier": "P2"}),
        json!({"tier": "P2", "fileIntegrityMonitoring": {"state": "Disabled"}}),
    ] {
        let (body, _) = sent(&plan, &off);
        assert_eq!(extension(&body, "FileIntegrityMonitoring"), None, "{plan}");
        assert!(
            extension(&body, "AgentlessVmScanning").is_some(),
            "its default is on"
        );
    }
    let plan = json!({"tier": "P2", "fileIntegrityMonitoring": {"state": "Disabled"}});
    let (body, fields) = sent(&plan, &p2(&json!([monitored(&json!(PORTAL_RULES))])));
    assert_eq!(fields, ["plan.fileIntegrityMonitoring.state"]);
    assert_eq!(
        extension(&body, "FileIntegrityMonitoring"),
        Some(&json!({"name": "FileIntegrityMonitoring", "isEnabled": "False"}))
    );
}

/// Names are compared without case, as Azure does.
#[test]
fn an_extension_that_is_listed_twice_is_one_or_unreadable() {
    let scanning = |name: &str, on: &str, tags: &str| json!({"name": name, "isEnabled": on, "additionalExtensionProperties": {"ExclusionTags": tags}});
    let read = |extensions: Value| {
        let body =
            json!({"properties": {"pricingTier": "Standard", "subPlan": "P2", "extensions": extensions}});
        read_plan(GET, &body)
    };
    for twice in ["AgentlessVmScanning", "agentlessvmscanning"] {
        let first = scanning("AgentlessVmScanning", "True", "[]");
        let plan = read(json!([first, scanning(twice, "true", "[]")])).unwrap();
        assert_eq!(plan.extensions.len(), 1, "{twice}");
        for other in [scanning(twice, "False", "[]"), scanning(twice, "True", "x")] {
            let failure = read(json!([first, other])).unwrap_err();
            assert_eq!(failure.code, "UnreadableAnswer", "{other}");
        }
    }
    let unknown = |name: &str, on: bool| json!({"name": name, "isEnabled": on});
    assert_eq!(
        read(json!([unknown("New", true), unknown("NEW", true)]))
            .unwrap()
            .extensions
            .len(),
        1
    );
    assert!(read(json!([unknown("New", true), unknown("NEW", false)])).is_err());
    let long = read(json!([
        unknown(&"x".repeat(2_000_000), true),
        unknown(&"X".repeat(2_000_000), false)
    ]));
    assert!(long.unwrap_err().message.len() < 200);
}
