//! The rules of a `ClusterAzureCredential`.

use serde_json::{Value, json};

use super::{SUBSCRIPTION, admission::messages, forms::check};
use crate::{ClusterAzureCredential, MOST_SPEC_BYTES};

const SELECTOR: &str = "grants must contain a namespaceSelector with matchLabels or matchExpressions, because an empty one would select every namespace; for the namespace team-a write namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: team-a}}";
const NOTHING: &str =
    "grants must contain subscriptions or managementGroups: without them a grant allows nothing";
const SUMS: &str = "grants must not contain more than 1024 subscriptions, 256 managementGroups and 512 referencedSubscriptions, counted over all grants: grant a management group instead of its subscriptions, or create another ClusterAzureCredential";
const VALUES: &str = "grants.namespaceSelector.matchExpressions must contain values when operator is In or NotIn, and must not contain values otherwise";

fn of(spec: &Value) -> ClusterAzureCredential {
    let spec = serde_json::from_value(spec.clone()).unwrap();
    ClusterAzureCredential::new("platform", spec)
}

fn with(grants: &Value) -> ClusterAzureCredential {
    of(
        &json!({"tenantId": SUBSCRIPTION, "clientId": SUBSCRIPTION, "type": "WorkloadIdentity",
        "workloadIdentity": {"serviceAccountName": "azure"}, "grants": grants}),
    )
}

fn refused(object: &ClusterAzureCredential, message: &str) {
    let found = messages(object.validate_cel());
    assert!(
        found.len() == 1 && found[0].starts_with("spec") && found[0].ends_with(&format!(": {message}")),
        "{found:#?}\nis not {message}"
    );
}

fn team() -> Value {
    json!({"matchLabels": {"kubernetes.io/metadata.name": "team-a"}})
}

#[test]
fn a_grant_names_its_namespaces_and_what_they_may_do() {
    let id = [SUBSCRIPTION];
    for admitted in [
        json!([]),
        json!([{"namespaceSelector": team(), "subscriptions": id}]),
        json!([{"namespaceSelector": team(), "managementGroups": ["Corp(EU)_1.a-b"]}]),
        json!([{"namespaceSelector": team(), "subscriptions": id, "referencedSubscriptions": id},
            {"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "Exists"}]}, "subscriptions": id}]),
    ] {
        assert_eq!(messages(with(&admitted).validate_cel()), [""; 0], "{admitted}");
    }
    for empty in [
        json!({"subscriptions": id}),
        json!({"namespaceSelector": {}, "subscriptions": id}),
        json!({"namespaceSelector": {"matchLabels": {}, "matchExpressions": []}, "subscriptions": id}),
    ] {
        refused(&with(&json!([empty])), SELECTOR);
    }
    for nothing in [
        json!({"namespaceSelector": team()}),
        json!({"namespaceSelector": team(), "subscriptions": [], "managementGroups": []}),
        json!({"namespaceSelector": team(), "referencedSubscriptions": id}),
    ] {
        refused(&with(&json!([nothing])), NOTHING);
    }
    for (operator, values) in [
        ("In", json!([])),
        ("NotIn", json!([])),
        ("Exists", json!(["a"])),
        ("DoesNotExist", json!(["a"])),
    ] {
        let selector = json!({"matchExpressions": [{"key": "team", "operator": operator, "values": values}]});
        refused(
            &with(&json!([{"namespaceSelector": selector, "subscriptions": id}])),
            VALUES,
        );
    }
}

#[test]
fn grants_contain_ids() {
    let grant = |field: &'static str| {
        move |value: &str| {
            let mut grant = json!({"namespaceSelector": team(), "subscriptions": [SUBSCRIPTION]});
            grant[field] = json!([value]);
            messages(with(&json!([grant])).validate_cel())
        }
    };
    let upper = SUBSCRIPTION.to_uppercase();
    let bad = [
        "",
        "*",
        "prod",
        &upper,
        "a/../b",
        "/subscriptions/6f1c0d7e-0000-4000-8000-000000000001",
    ];
    for field in ["subscriptions", "referencedSubscriptions"] {
        check(grant(field), field, SUBSCRIPTION, &bad, &[SUBSCRIPTION]);
    }
    let bad = [
        "",
        "*",
        "Contoso Production",
        "/providers/Microsoft.Management/managementGroups/corp",
        "a?b",
    ];
    let good = ["corp", "6f1c0d7e-0000-4000-8000-000000000001", "size_(1).x"];
    check(
        grant("managementGroups"),
        "managementGroups",
        "contoso-production",
        &bad,
        &good,
    );
}

#[test]
fn a_credential_of_the_platform_has_the_members_of_its_type() {
    let workload = ("workloadIdentity", json!({"serviceAccountName": "azure"}));
    let secret = ("clientSecret", json!({"secretRef": {"name": "s", "key": "k"}}));
    let certificate = ("clientCertificate", json!({"secretRef": {"name": "s"}}));
    let client = ("clientId", json!(SUBSCRIPTION));
    let with = |type_: &str, members: &[&(&str, Value)]| {
        let mut spec = json!({"tenantId": SUBSCRIPTION, "type": type_});
        for (name, value) in members {
            spec[*name] = value.clone();
        }
        messages(of(&spec).validate_cel())
    };
    assert_eq!(with("WorkloadIdentity", &[&client, &workload]), [""; 0]);
    assert_eq!(with("ClientSecret", &[&client, &secret]), [""; 0]);
    assert_eq!(with("ClientCertificate", &[&client, &certificate]), [""; 0]);
    assert_eq!(with("ManagedIdentity", &[]), [""; 0]);
    assert_eq!(with("ManagedIdentity", &[&client]), [""; 0]);
    for (type_, members, message) in [
        (
            "WorkloadIdentity",
            vec![&workload],
            "clientId is required unless type is ManagedIdentity",
        ),
        (
            "ClientSecret",
            vec![&secret],
            "clientId is required unless type is ManagedIdentity",
        ),
        (
            "WorkloadIdentity",
            vec![&client],
            "workloadIdentity must be set when type is WorkloadIdentity",
        ),
        (
            "ClientSecret",
            vec![&client],
            "clientSecret must be set when type is ClientSecret",
        ),
        (
            "ClientCertificate",
            vec![&client],
            "clientCertificate must be set when type is ClientCertificate",
        ),
        (
            "ManagedIdentity",
            vec![&certificate],
            "clientCertificate must be set when type is ClientCertificate",
        ),
        (
            "ManagedIdentity",
            vec![&secret],
            "clientSecret must be set when type is ClientSecret",
        ),
        (
            "ManagedIdentity",
            vec![&workload],
            "workloadIdentity must be set when type is WorkloadIdentity",
        ),
    ] {
        let found = with(type_, &members);
        assert!(
            found.len() == 1 && found[0].contains(message),
            "{type_}: {found:#?}"
        );
    }
}

fn guids(begin: usize, count: usize) -> Vec<String> {
    let numbers = begin..begin + count;
    numbers
        .map(|number| format!("6f1c0d7e-0000-4000-8000-{number:012}"))
        .collect()
}

/// So many ids in as many grants as there may be.
fn spread(subscriptions: usize, groups: usize, references: usize) -> Value {
    let text =
        |begin: &str, number: usize, length: usize| format!("{begin}{number:0width$}", width = length - 1);
    let label = |number: usize| (text("k", number, 317), json!(text("v", number, 63)));
    let labels: serde_json::Map<_, _> = (0..4).map(label).collect();
    let values: Vec<_> = (0..16).map(|number| text("v", number, 63)).collect();
    let one = |number| json!({"key": text("k", number, 317), "operator": "In", "values": values});
    let selector = json!({"matchLabels": labels, "matchExpressions": [one(0), one(1)]});
    let share = |whole: usize, grant: usize| whole / 64 + usize::from(grant < whole % 64);
    let grants = (0..64).map(|grant| {
        let groups: Vec<_> = (0..share(groups, grant))
            .map(|number| text("g", number, 90))
            .collect();
        json!({"namespaceSelector": selector, "managementGroups": groups,
            "subscriptions": guids(0, share(subscriptions, grant)),
            "referencedSubscriptions": guids(0, share(references, grant))})
    });
    grants.collect()
}

fn bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(bytes).sum(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| name.len() + bytes(value))
            .sum(),
        _ => 0,
    }
}

#[test]
fn the_most_grants_are_admitted_and_the_controller_keeps_them() {
    let largest = with(&spread(1024, 256, 512));
    assert_eq!(messages(largest.validate_cel()), [""; 0]);
    let size = bytes(&serde_json::to_value(&largest.spec).unwrap());
    assert!(
        size <= MOST_SPEC_BYTES && size > MOST_SPEC_BYTES * 3 / 4,
        "{size}"
    );
    for (subscriptions, groups, references) in [(1025, 0, 0), (64, 257, 0), (64, 0, 513)] {
        refused(&with(&spread(subscriptions, groups, references)), SUMS);
    }
}
