use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};
use serverprotection_api::{SecurityConnectorSpec, ServerProtectionSpec, crds};

use super::{
    references::{Reference, of_connector, of_protection},
    *,
};
use crate::claims::Evidence;

const ONE: &str = "00000000-0000-4000-8000-000000000001";
const TWO: &str = "00000000-0000-4000-8000-000000000002";
const SHARED: &str = "00000000-0000-4000-8000-00000000000f";
const FOREIGN: &str = "ffffffff-0000-4000-8000-000000000001";

fn grants(all: &Value) -> Vec<Grant> {
    serde_json::from_value(all.clone()).unwrap()
}

fn labels(name: &str) -> Labels {
    Labels::from([("kubernetes.io/metadata.name".into(), name.into())])
}

fn of(name: &str) -> Value {
    json!({"matchLabels": {"kubernetes.io/metadata.name": name}})
}

fn workspace(subscription: &str) -> Reference {
    Reference {
        field: "workspaces[].resourceId",
        subscription: subscription.into(),
    }
}

/// The access of a namespace of this name.
fn access(all: &Value, namespace: &str, subscription: &str, references: &[Reference]) -> Access {
    let labels = labels(namespace);
    let usage = Use {
        labels: Some(&labels),
        subscription,
        references,
    };
    grant(&grants(all), usage, Ancestors::Known(&[]))
}

#[test]
fn without_a_grant_no_namespace_may_use_it() {
    for none in [
        json!([]),
        json!([{"subscriptions": [ONE]}]),
        json!([{"namespaceSelector": {}, "subscriptions": [ONE]}]),
        json!([{"namespaceSelector": {"matchLabels": {}, "matchExpressions": []}, "subscriptions": [ONE]}]),
    ] {
        assert_eq!(
            access(&none, "a", ONE, &[]),
            Access::Denied(Denial::Namespace),
            "{none}"
        );
    }
    let nothing = json!([{"namespaceSelector": of("a")}]);
    assert_eq!(
        access(&nothing, "a", ONE, &[]),
        Access::Denied(Denial::Subscription)
    );
    let all = grants(&json!([{"namespaceSelector": of("a"), "subscriptions": [ONE]}]));
    let unknown = Use {
        labels: None,
        subscription: ONE,
        references: &[],
    };
    let denied = Access::Denied(Denial::Namespace);
    assert_eq!(
        grant(&all, unknown, Ancestors::Unknown),
        denied,
        "the namespace is not known"
    );
}

#[test]
fn two_grants_are_two_pairs_and_not_four() {
    let all = json!([
        {"namespaceSelector": of("a"), "subscriptions": [ONE]},
        {"namespaceSelector": of("b"), "subscriptions": [TWO]},
    ]);
    let denied = Access::Denied(Denial::Subscription);
    assert_eq!(access(&all, "a", ONE, &[]), Access::Granted);
    assert_eq!(access(&all, "b", TWO, &[]), Access::Granted);
    assert_eq!(access(&all, "a", TWO, &[]), denied);
    assert_eq!(access(&all, "b", ONE, &[]), denied);
    assert_eq!(access(&all, "c", ONE, &[]), Access::Denied(Denial::Namespace));
}

#[test]
fn a_reference_is_granted_together_with_its_subscription() {
    let all = json!([
        {"namespaceSelector": of("a"), "subscriptions": [ONE], "referencedSubscriptions": [SHARED]},
        {"namespaceSelector": of("a"), "subscriptions": [TWO]},
        {"namespaceSelector": of("b"), "subscriptions": [ONE], "referencedSubscriptions": [FOREIGN]},
    ]);
    let named = |subscription: &str, other: &str| access(&all, "a", subscription, &[workspace(other)]);
    assert_eq!(named(ONE, SHARED), Access::Granted);
    assert_eq!(named(ONE, &SHARED.to_uppercase()), Access::Granted);
    assert_eq!(named(ONE, ONE), Access::Granted, "its own subscription");
    let missing = |other: &str| Access::Denied(Denial::Reference(workspace(other)));
    // The other grant has it, and the grant of another namespace.
    assert_eq!(named(TWO, SHARED), missing(SHARED));
    assert_eq!(named(ONE, TWO), missing(TWO));
    assert_eq!(named(ONE, FOREIGN), missing(FOREIGN));
    // What may only be named may not be protected.
    assert_eq!(
        access(&all, "a", SHARED, &[]),
        Access::Denied(Denial::Subscription)
    );
    let both = json!([{"namespaceSelector": of("a"), "subscriptions": [ONE, TWO]}]);
    let named = access(&both, "a", ONE, &[workspace(TWO)]);
    assert_eq!(named, Access::Granted, "what may be protected may be named");
}

#[test]
fn management_groups_decide_only_if_nothing_else_does() {
    let all = grants(&json!([
        {"namespaceSelector": of("a"), "subscriptions": [ONE]},
        {"namespaceSelector": of("a"), "managementGroups": ["Corp"]},
    ]));
    let labels = labels("a");
    let usage = |subscription, references| Use {
        labels: Some(&labels),
        subscription,
        references,
    };
    let above = |groups: &[&str]| groups.iter().map(|&group| group.to_owned()).collect::<Vec<_>>();
    let (inside, outside) = (above(&["landing-zone", "CORP", "root"]), above(&["root"]));
    let inside = Ancestors::Known(&inside);
    assert_eq!(grant(&all, usage(TWO, &[]), inside), Access::Granted);
    let outside = Ancestors::Known(&outside);
    let denied = Access::Denied(Denial::Subscription);
    assert_eq!(grant(&all, usage(TWO, &[]), outside), denied);
    assert_eq!(grant(&all, usage(TWO, &[]), Ancestors::Known(&[])), denied);
    assert_eq!(grant(&all, usage(TWO, &[]), Ancestors::Unknown), Access::Unknown);
    assert_eq!(grant(&all, usage(ONE, &[]), Ancestors::Unknown), Access::Granted);
    let named = [workspace(SHARED)];
    let missing = Access::Denied(Denial::Reference(workspace(SHARED)));
    assert_eq!(
        grant(&all, usage(TWO, &named), Ancestors::Unknown),
        missing,
        "no group allows it"
    );
    assert_eq!(grant(&all, usage(TWO, &named), inside), missing);
}

#[test]
fn selectors_mean_what_they_mean_in_kubernetes() {
    let selected = |selector: Value, labels: &[(&str, &str)]| {
        let all = grants(&json!([{"namespaceSelector": selector}]));
        let labels = labels.iter().map(|(key, value)| ((*key).into(), (*value).into()));
        selects(&all[0], &labels.collect())
    };
    let both = json!({"matchLabels": {"env": "prod"},
        "matchExpressions": [{"key": "team", "operator": "In", "values": ["a", "b"]}]});
    assert!(selected(
        both.clone(),
        &[("env", "prod"), ("team", "b"), ("more", "")]
    ));
    assert!(!selected(both.clone(), &[("env", "prod"), ("team", "c")]));
    assert!(!selected(both.clone(), &[("env", "prod")]));
    assert!(!selected(both, &[("env", "Prod"), ("team", "a")]));
    for (operator, values, has, other, missing) in [
        ("In", &["v"][..], true, false, false),
        ("NotIn", &["v"], false, true, true),
        ("Exists", &[], true, true, false),
        ("DoesNotExist", &[], false, false, true),
    ] {
        let selector = json!({"matchExpressions": [{"key": "k", "operator": operator, "values": values}]});
        let found = |labels: &[(&str, &str)]| selected(selector.clone(), labels);
        assert_eq!(
            (found(&[("k", "v")]), found(&[("k", "w")]), found(&[])),
            (has, other, missing),
            "{operator}"
        );
    }
}

#[test]
fn a_denial_has_a_next_step_and_names_no_other_namespace() {
    let (credential, namespace) = ("platform", "team-a");
    let mut actions = BTreeSet::new();
    for denial in [
        Denial::Namespace,
        Denial::Subscription,
        Denial::Reference(workspace(SHARED)),
    ] {
        let error = denial.error(credential, namespace, ONE);
        assert_eq!(Evidence::of_failure(&error), Evidence::Denied(error.code.clone()));
        let text = error.to_message().to_string();
        assert!(text.contains(credential) && text.contains(namespace), "{text}");
        let action = error.hint().unwrap();
        assert!(text.ends_with(&format!("{action}.")), "{text}");
        assert!(actions.insert(action), "{action}");
    }
    let cause = refused("AuthorizationFailed", "no".into());
    let unknown = unreadable(credential, ONE, &cause);
    assert_eq!(
        Evidence::of_failure(&unknown),
        Evidence::Nothing,
        "it denies nothing"
    );
}

/// The paths of all texts of a schema that are not one of a few words.
fn texts(path: &str, schema: &Value, found: &mut BTreeSet<String>) {
    if schema["type"] == "string" && schema["enum"].is_null() {
        found.insert(path.to_owned());
    }
    for (name, part) in schema["properties"].as_object().into_iter().flatten() {
        let begin = if path.is_empty() {
            String::new()
        } else {
            format!("{path}.")
        };
        texts(&format!("{begin}{name}"), part, found);
    }
    if schema["items"].is_object() {
        texts(&format!("{path}[]"), &schema["items"], found);
    }
    if schema["additionalProperties"].is_object() {
        texts(&format!("{path}{{}}"), &schema["additionalProperties"], found);
    }
}

fn texts_of(kind: &str) -> BTreeSet<String> {
    let crd = crds()
        .into_iter()
        .find(|crd| crd.spec.names.kind == kind)
        .unwrap();
    let crd = serde_json::to_value(crd).unwrap();
    let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut found = BTreeSet::new();
    texts("", spec, &mut found);
    found
}

/// Puts a text at a path of a spec.
fn put(spec: &mut Value, path: &str, text: &str) {
    let mut place = spec;
    for part in path.replace("[]", ".[]").replace("{}", ".{}").split('.') {
        place = match part {
            "[]" => {
                if !place.is_array() {
                    *place = json!([{}]);
                }
                &mut place[0]
            }
            "{}" => &mut place["key"],
            name => &mut place[name],
        };
        if place.is_null() {
            *place = json!({});
        }
    }
    *place = text.into();
}

/// Fields that contain resource ids, and how to complete their neighbours. Each must be checked against the grants.
const PROTECTION_IDS: &[(&str, &str)] = &[
    (
        "plan.fileIntegrityMonitoring.workspaceId",
        "plan.fileIntegrityMonitoring.workspaceId",
    ),
    ("workspaces[].resourceId", "workspaces[].resourceId"),
    ("machines.exclude[].ids[]", "machines.exclude[].ids"),
    (
        "plan.otherExtensions[].properties{}",
        "plan.otherExtensions[].properties",
    ),
];
/// Texts that are no resource ids. subscriptionId is the subscription itself.
const PROTECTION_TEXTS: &[&str] = &[
    "subscriptionId",
    "credentialRef.name",
    "interval",
    "machines.exclude[].name",
    "machines.exclude[].resourceGroups[]",
    "machines.exclude[].tags[].key",
    "machines.exclude[].tags[].value",
    "machines.gracePeriod",
    "plan.agentlessScanning.exclusionTags[].key",
    "plan.agentlessScanning.exclusionTags[].value",
    "plan.fileIntegrityMonitoring.rules.custom.linuxFiles[]",
    "plan.fileIntegrityMonitoring.rules.custom.registryKeys[]",
    "plan.fileIntegrityMonitoring.rules.custom.windowsFiles[]",
    "plan.otherExtensions[].name",
];
const CONNECTOR_IDS: &[(&str, &str)] = &[(
    "autoProvisioning.arcAgent.privateLinkScope",
    "autoProvisioning.arcAgent.privateLinkScope",
)];
/// Texts that are no resource ids. Tags are only shown.
const CONNECTOR_TEXTS: &[&str] = &[
    "agentlessScanning.exclusionTags[].key",
    "agentlessScanning.exclusionTags[].value",
    "autoProvisioning.arcAgent.proxy",
    "aws.accountId",
    "aws.organization.excludedAccountIds[]",
    "aws.organization.stackSetName",
    "aws.regions[]",
    "aws.roleArns.agentlessScanner",
    "aws.roleArns.arcProvisioning",
    "aws.roleArns.cspm",
    "aws.roleArns.servers",
    "connectorName",
    "gcp.organization.excludedProjectNumbers[]",
    "gcp.organization.serviceAccount",
    "gcp.organization.workloadIdentityProvider",
    "gcp.projectId",
    "gcp.projectNumber",
    "gcp.serviceAccounts.cspm",
    "gcp.serviceAccounts.servers",
    "gcp.workloadIdentityProviders.cspm",
    "gcp.workloadIdentityProviders.servers",
    "location",
    "protectionRef.name",
    "resourceGroup",
    "scanInterval",
    "tags{}",
];

fn id_of(subscription: &str) -> String {
    format!("/Subscriptions/{subscription}/resourceGroups/rg/providers/Microsoft.X/y/z")
}

/// A new text field of a spec must be listed above: either it is checked, or it is no resource id.
#[test]
fn every_text_of_a_spec_is_checked_or_is_no_resource_id() {
    for (kind, ids, others) in [
        ("ServerProtection", PROTECTION_IDS, PROTECTION_TEXTS),
        ("SecurityConnector", CONNECTOR_IDS, CONNECTOR_TEXTS),
    ] {
        let listed = ids.iter().map(|(path, _)| *path).chain(others.iter().copied());
        let listed: BTreeSet<_> = listed.map(str::to_owned).collect();
        assert_eq!(texts_of(kind), listed, "{kind}");
    }
}

#[test]
fn every_resource_id_of_a_spec_is_found() {
    let found = |path: &str, text: &str| {
        let mut spec = json!({"subscriptionId": ONE, "plan": {"tier": "P2",
            "otherExtensions": [{"name": "New", "state": "Enabled"}]},
            "machines": {"exclude": [{"name": "rule"}]}});
        put(&mut spec, path, text);
        let spec: ServerProtectionSpec = serde_json::from_value(spec).unwrap();
        of_protection(&spec)
    };
    for (path, field) in PROTECTION_IDS {
        let expected = Reference {
            field,
            subscription: FOREIGN.into(),
        };
        assert_eq!(found(path, &id_of(&FOREIGN.to_uppercase())), [expected], "{path}");
    }
    for (path, field) in CONNECTOR_IDS {
        let mut spec =
            json!({"protectionRef": {"name": "p"}, "resourceGroup": "rg", "location": "l", "type": "AWS"});
        put(&mut spec, path, &id_of(FOREIGN));
        let spec: SecurityConnectorSpec = serde_json::from_value(spec).unwrap();
        let expected = Reference {
            field,
            subscription: FOREIGN.into(),
        };
        assert_eq!(of_connector(&spec), [expected], "{path}");
    }
    // A text that is no resource id is granted by nothing.
    let odd = found("workspaces[].resourceId", "workspace");
    assert_eq!(odd, [workspace("workspace")]);
    assert_eq!(found("workspaces[].resourceId", "")[0].subscription, "");
}

#[test]
fn a_property_of_an_extension_may_contain_several_ids() {
    let found = |value: &str| {
        let spec = json!({"subscriptionId": ONE, "plan": {"tier": "P2", "otherExtensions":
            [{"name": "New", "state": "Enabled", "properties": {"p": value}}]}});
        let spec: ServerProtectionSpec = serde_json::from_value(spec).unwrap();
        let found = of_protection(&spec).into_iter();
        found.map(|reference| reference.subscription).collect::<Vec<_>>()
    };
    assert!(found("AllTags").is_empty() && found("all subscriptions").is_empty());
    let list = format!(
        r#"["{}", "subscriptions/{FOREIGN}", "{}"]"#,
        id_of(TWO),
        id_of(TWO)
    );
    assert_eq!(found(&list), [TWO, FOREIGN]);
    assert_eq!(found(&format!(r"\/SUBSCRIPTIONS\/{FOREIGN}\/x")), [FOREIGN]);
    assert_eq!(found(&format!("%2Fsubscriptions%2F{FOREIGN}%2Fx")), [FOREIGN]);
    // What cannot be read is granted by nothing.
    assert_eq!(found("/subscriptions/*/resourceGroups"), ["/*/resourcegroups"]);
}

fn any_grant() -> impl Strategy<Value = Value> {
    let names = || prop::sample::subsequence(vec!["a", "b", "c"], 0..3);
    let ids = || prop::sample::subsequence(vec![ONE, TWO, SHARED], 0..3);
    let groups = prop::sample::subsequence(vec!["g", "h"], 0..2);
    (names(), any::<bool>(), ids(), groups, ids()).prop_map(|(names, exists, ids, groups, references)| {
        let operator = if names.is_empty() { if exists { "Exists" } else { "DoesNotExist" } } else { "In" };
        let key = "kubernetes.io/metadata.name";
        json!({"namespaceSelector": {"matchExpressions": [{"key": key, "operator": operator, "values": names}]},
            "subscriptions": ids, "managementGroups": groups, "referencedSubscriptions": references})
    })
}

proptest! {
    /// What one grant alone does not allow, all together do not allow, and another one takes nothing away.
    #[test]
    fn grants_do_not_add_up(
        all in prop::collection::vec(any_grant(), 0..4),
        namespace in prop::sample::select(vec!["a", "b", "c"]),
        subscription in prop::sample::select(vec![ONE, TWO, SHARED]),
        named in prop::sample::subsequence(vec![ONE, TWO, SHARED], 0..3),
        above in prop::option::of(prop::sample::subsequence(vec!["g".to_owned(), "h".to_owned()], 0..2)),
    ) {
        let labels = labels(namespace);
        let references: Vec<_> = named.into_iter().map(workspace).collect();
        let usage = Use { labels: Some(&labels), subscription, references: &references };
        let ancestors = above.as_deref().map_or(Ancestors::Unknown, Ancestors::Known);
        let together = grant(&grants(&json!(all)), usage, ancestors);
        let alone = all.iter().map(|one| grant(&grants(&json!([one])), usage, ancestors));
        let best = alone.max_by_key(rank);
        prop_assert_eq!(rank(&together), best.as_ref().map_or(0, rank));
        // What is unknown is never granted; what is known is never unknown.
        let known = grant(&grants(&json!(all)), usage, Ancestors::Known(&[]));
        prop_assert_ne!(&known, &Access::Unknown);
        if above.is_none() {
            prop_assert_eq!(together == Access::Granted, known == Access::Granted);
        }
    }
}
