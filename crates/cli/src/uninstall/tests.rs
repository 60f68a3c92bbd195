//! What is decided about objects in every state, and what is printed.

use serde_json::{Value, json};

use super::{
    plan::{Controller, Effect, Facts, Outcome, Report, plan},
    text,
};
use serverprotection_core::Timestamp;

const ID: &str = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Security/securityConnectors/aws";

fn connector(policy: &str, finalizers: &[&str]) -> Value {
    json!({
        "metadata": {"name": "aws", "namespace": "team", "uid": "1", "finalizers": finalizers},
        "spec": {
            "protectionRef": {"name": "prod"}, "resourceGroup": "rg", "location": "westeurope",
            "type": "AWS", "aws": {"accountId": "123456789012"}, "deletionPolicy": policy
        },
        "status": {
            "claim": {"state": "Held", "uid": "1", "establishedSince": "2026-01-01T00:00:00Z"},
            "target": {"id": ID, "subscriptionId": "s", "mode": "Enforce"}
        }
    })
}

fn protection(mode: &str) -> Value {
    json!({
        "metadata": {"name": "prod", "namespace": "team"},
        "spec": {"mode": mode, "credentialRef": {"name": "azure"}, "deletionPolicy": "Retain"}
    })
}

fn facts(ready: bool, objects: &[(&str, Value)]) -> Facts {
    Facts {
        namespace: None,
        objects: objects
            .iter()
            .map(|(kind, object)| ((*kind).to_owned(), object.clone()))
            .collect(),
        controllers: vec![Controller {
            namespace: "serverprotection-system".into(),
            name: "serverprotection-controller".into(),
            ready,
        }],
        definitions: vec![("securityconnectors.serverprotection.dev".into(), false)],
        unread: None,
    }
}

#[test]
fn the_owner_of_a_namespace_gets_an_answer_too() {
    let mut facts = facts(
        false,
        &[(
            "SecurityConnector",
            connector("Retain", &["serverprotection.dev/azure"]),
        )],
    );
    facts.controllers.clear();
    facts.unread = Some("deployments is forbidden".into());
    let report = report(&facts);
    assert!(report.safe, "{report:#?}");
    assert!(text::render(&report).contains("not known, and assumed: deployments is forbidden"));
}

fn report(facts: &Facts) -> Report {
    plan(facts, Timestamp::UNIX_EPOCH)
}

fn only(ready: bool, connector: Value, mode: &str) -> Outcome {
    let objects = [
        ("SecurityConnector", connector),
        ("ServerProtection", protection(mode)),
    ];
    report(&facts(ready, &objects)).objects.remove(0)
}

#[test]
fn a_connector_with_delete_would_be_deleted_in_azure() {
    let found = only(
        true,
        connector("Delete", &["serverprotection.dev/azure"]),
        "Enforce",
    );
    assert_eq!(found.azure, Effect::ConnectorDeleted);
    assert!(found.explanation.contains(ID), "{}", found.explanation);
    assert_eq!(found.waits_for, None);
    // The controller would delete it as soon as it is started.
    let found = only(
        false,
        connector("Delete", &["serverprotection.dev/azure"]),
        "Enforce",
    );
    assert_eq!(found.azure, Effect::ConnectorDeleted);
    assert!(
        found
            .waits_for
            .is_some_and(|what| what.contains("running controller"))
    );
}

#[test]
fn what_stays_in_azure_is_said_with_the_reason() {
    let finalizers = ["serverprotection.dev/azure"];
    let mut suspended = connector("Delete", &finalizers);
    suspended["spec"]["suspend"] = json!(true);
    let mut never_held = connector("Delete", &finalizers);
    never_held["status"] = json!({});
    let mut forced = connector("Delete", &finalizers);
    forced["metadata"]["annotations"] = json!({"serverprotection.dev/force-remove": "true"});
    for (connector, mode, expected_text) in [
        (connector("Retain", &[]), "Enforce", "Retain"),
        (connector("Delete", &finalizers), "Observe", "Observe"),
        (suspended, "Enforce", "suspended"),
        (never_held, "Enforce", "never"),
        (forced, "Enforce", "force-remove"),
    ] {
        let found = only(true, connector, mode);
        assert_eq!(found.azure, Effect::Unchanged, "{expected_text}");
        assert!(found.explanation.contains(expected_text), "{}", found.explanation);
    }
}

#[test]
fn what_this_version_cannot_read_is_unknown_and_not_safe() {
    let mut newer = connector("Delete", &[]);
    newer["spec"]["deletionPolicy"] = json!("Archive");
    assert_eq!(only(true, newer, "Enforce").azure, Effect::Unknown);
    let mut newer = protection("Enforce");
    newer["spec"]["deletionPolicy"] = json!("Disable");
    let report = report(&facts(true, &[("ServerProtection", newer)]));
    assert_eq!(report.objects[0].azure, Effect::Unknown);
    assert!(!report.safe);
}

#[test]
fn objects_without_effect_are_safe_and_the_order_ends_with_the_definitions() {
    let credential = json!({"metadata": {"name": "azure", "namespace": "team"}});
    let objects = [
        ("SecurityConnector", connector("Retain", &[])),
        ("ServerProtection", protection("Enforce")),
        ("AzureCredential", credential),
    ];
    let report = report(&facts(true, &objects));
    assert!(report.safe);
    assert!(
        report.objects[2]
            .explanation
            .contains("1 ServerProtection uses it")
    );
    let commands: Vec<_> = report
        .steps
        .iter()
        .flat_map(|step| step.commands.clone())
        .collect();
    assert_eq!(
        commands,
        [
            "kubectl delete securityconnectors --all --all-namespaces",
            "kubectl delete serverprotections --all --all-namespaces",
            "kubectl delete azurecredentials --all --all-namespaces",
            "kubectl delete -k deploy/base"
        ]
    );
}

#[test]
fn a_credential_of_the_cluster_has_its_own_users() {
    let named = |namespace: &str| json!({"metadata": {"name": "azure", "namespace": namespace}});
    let user = |kind: &str, namespace: &str| {
        let mut user = protection("Enforce");
        user["metadata"]["namespace"] = json!(namespace);
        user["spec"]["credentialRef"] = json!({"kind": kind, "name": "azure"});
        user
    };
    let cluster = "ClusterAzureCredential";
    let report = report(&facts(
        true,
        &[
            ("ServerProtection", user(cluster, "team")),
            ("ServerProtection", user(cluster, "other")),
            ("ServerProtection", user("AzureCredential", "team")),
            ("AzureCredential", named("team")),
            (cluster, json!({"metadata": {"name": "azure"}})),
        ],
    ));
    let explained = |at: usize| report.objects[at].explanation.as_str();
    assert!(
        explained(3).contains("1 ServerProtection uses it"),
        "{}",
        explained(3)
    );
    assert!(
        explained(4).contains("2 ServerProtections use it"),
        "{}",
        explained(4)
    );
    let mut commands = report.steps.iter().flat_map(|step| step.commands.clone());
    assert!(commands.any(|command| command == "kubectl delete clusterazurecredentials --all"));
}

#[test]
fn connectors_are_retained_first() {
    let report = report(&facts(
        true,
        &[(
            "SecurityConnector",
            connector("Delete", &["serverprotection.dev/azure"]),
        )],
    ));
    assert!(!report.safe);
    assert_eq!(
        report.steps[0].commands,
        [
            r#"kubectl patch securityconnector aws -n team --type=merge -p '{"spec":{"deletionPolicy":"Retain"}}'"#
        ]
    );
    assert_eq!(report.steps[1].commands, ["serverprotection uninstall --check"]);
}

/// Rancher elemental-operator issue 314 and kiali issue 2866: everything was deleted at once.
#[test]
fn a_deletion_without_a_controller_has_a_way_out() {
    let mut stuck = connector("Delete", &["serverprotection.dev/azure", "example.com/theirs"]);
    stuck["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let mut facts = facts(false, &[("SecurityConnector", stuck)]);
    facts.definitions[0].1 = true;
    let found = report(&facts);
    assert!(!found.safe);
    assert_eq!(
        found.steps[0].commands,
        [
            r#"kubectl patch securityconnector aws -n team --type=merge -p '{"metadata":{"finalizers":["example.com/theirs"]}}'"#
        ]
    );
    let last = found.steps.last().unwrap();
    assert!(last.title.contains("Do not install again"), "{}", last.title);
    assert!(last.commands[0].contains("--for=delete crd/securityconnectors.serverprotection.dev"));
    facts.controllers[0].ready = true;
    let found = report(&facts);
    assert!(
        found.steps[0].commands[0].contains("serverprotection.dev/force-remove=true"),
        "{found:#?}"
    );
}

#[test]
fn the_text_has_every_object_and_every_command() {
    let objects = [
        ("SecurityConnector", connector("Delete", &["a.b/c"])),
        ("ServerProtection", protection("Enforce")),
    ];
    let report = report(&facts(true, &objects));
    let text = text::render(&report);
    for expected in [
        "Would be deleted in Azure:\n  SecurityConnector team/aws: ",
        "A deletion would wait for:\n  SecurityConnector team/aws: whoever set a.b/c",
        "nothing changes in Azure:\n  ServerProtection team/prod: ",
        "Do not delete anything yet.",
        "1. Keep the connectors in Azure",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let all = report.steps.iter().flat_map(|step| &step.commands);
    all.for_each(|command| assert!(text.contains(command.as_str()), "{command}: {text}"));
}

#[test]
fn a_cluster_without_definitions_has_nothing_to_delete() {
    let mut facts = facts(true, &[]);
    facts.definitions.clear();
    let report = plan(&facts, Timestamp::now());
    assert!(report.safe);
    let text = text::render(&report);
    assert!(text.contains("definitions are not installed"), "{text}");
    assert!(text.contains("kubectl delete -k deploy/base"), "{text}");
    facts.controllers.clear();
    let report = plan(&facts, Timestamp::now());
    let text = text::render(&report);
    assert!(
        report.safe && text.contains("Nothing is left to delete."),
        "{text}"
    );
    // An owner of a namespace may not know.
    facts.unread = Some("forbidden".into());
    let text = text::render(&plan(&facts, Timestamp::now()));
    assert!(!text.contains("Nothing is left"), "{text}");
}
