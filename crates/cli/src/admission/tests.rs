//! Each kind of refusal, and that the definitions use no keyword that is not checked here.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;

const SUBSCRIPTION: &str = "6f1c0d7e-0000-4000-8000-000000000001";

thread_local! {
    /// Compiled once for each test: that takes longer than the checks.
    static DEFINITIONS: Definitions = Definitions::load().unwrap();
}

fn object(kind: &str, spec: &Value) -> Object {
    let value = json!({
        "apiVersion": "serverprotection.dev/v1alpha1", "kind": kind,
        "metadata": {"name": "prod", "namespace": "team"}, "spec": spec
    });
    of(value)
}

fn of(value: Value) -> Object {
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    Object {
        version: text("apiVersion"),
        kind: text("kind"),
        source: value.to_string().into(),
        value,
        place: String::new(),
    }
}

/// A valid ServerProtection, with one member replaced. `null` is set, too.
fn protection(path: &str, value: Value) -> Object {
    let mut object = object(
        "ServerProtection",
        &json!({"subscriptionId": SUBSCRIPTION, "credentialRef": {"name": "platform"}, "plan": {"tier": "P2"}}),
    );
    set(&mut object.value, path, value);
    object
}

fn connector(path: &str, value: Value) -> Object {
    let mut object = object(
        "SecurityConnector",
        &json!({
            "protectionRef": {"name": "prod"}, "resourceGroup": "rg", "location": "westeurope",
            "type": "AWS", "aws": {"accountId": "123456789012"}
        }),
    );
    set(&mut object.value, path, value);
    object
}

fn set(object: &mut Value, path: &str, value: Value) {
    let mut place = object;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        place = &mut place[name];
    }
    if !path.is_empty() {
        *place = value;
    }
}

fn check(object: &Object) -> Vec<Problem> {
    DEFINITIONS.with(|definitions| definitions.check(object))
}

fn refused(object: &Object, field: &str, expected_text: &str) {
    let problems = check(object);
    let found = problems.iter().any(|problem| {
        let whole = format!(
            "{} {}",
            problem.message,
            problem.action.as_deref().unwrap_or_default()
        );
        problem.field == field && whole.contains(expected_text)
    });
    assert!(found, "{field}: {expected_text} is not in {problems:#?}");
}

#[test]
fn valid_objects_have_no_problem() {
    let credential = object(
        "AzureCredential",
        &json!({
            "tenantId": SUBSCRIPTION, "clientId": SUBSCRIPTION, "type": "WorkloadIdentity",
            "workloadIdentity": {"serviceAccountName": "azure"}
        }),
    );
    for object in [
        protection("", Value::Null),
        // The API server removes nulls of fields that are not nullable.
        protection("spec/mode", Value::Null),
        protection("spec/suspend", json!(true)),
        protection("spec/machines", json!({"minimumProtectedPercent": 95.0})),
        protection("status", json!({"of": "a newer version"})),
        protection("metadata/creationTimestamp", Value::Null),
        protection(
            "metadata/labels",
            json!({"app.kubernetes.io/part-of": "a_b.C", "empty": ""}),
        ),
        protection("metadata/namespace", json!("")),
        connector("", Value::Null),
        connector("spec/tags", json!({})),
        credential,
    ] {
        assert_eq!(check(&object), [], "{}", object.value);
    }
}

#[test]
fn types_are_checked_and_texts_without_quotes_explained() {
    refused(
        &connector("spec/aws/accountId", json!(123_456_789_012_u64)),
        "spec.aws.accountId",
        "put it in quotes: \"123456789012\"",
    );
    let mut written = connector("spec/aws/accountId", json!(12_345_678_901.0));
    written.source = "accountId: 012345678901".into();
    refused(&written, "spec.aws.accountId", "the number 012345678901");
    refused(
        &written,
        "spec.aws.accountId",
        "put it in quotes: \"012345678901\"",
    );
    // Quotes alone would not help.
    refused(
        &protection("spec/interval", json!(10)),
        "spec.interval",
        "for example 10m",
    );
    refused(
        &protection("spec/machines", json!({"gracePeriod": 24})),
        "spec.machines.gracePeriod",
        "for example",
    );
    refused(
        &protection("metadata/labels", json!({"a": true})),
        "metadata.labels.a",
        "put it in quotes",
    );
    refused(
        &protection("metadata/annotations", json!({"a": 1})),
        "metadata.annotations.a",
        "put it in quotes",
    );
    refused(
        &protection("metadata/name", json!(5)),
        "metadata.name",
        "put it in quotes",
    );
    refused(
        &protection("spec/suspend", json!("true")),
        "spec.suspend",
        "must be a boolean",
    );
    refused(
        &protection("spec/plan", json!([])),
        "spec.plan",
        "must be an object, but it is an array",
    );
    refused(
        &protection("spec/machines", json!({"minimumProtectedPercent": 9.5})),
        "spec.machines.minimumProtectedPercent",
        "must be an integer",
    );
    refused(
        &connector("spec/aws/regions", json!([null])),
        "spec.aws.regions[0]",
        "must be a string, but it is null",
    );
    refused(&protection("spec", Value::Null), "spec", "is required");
}

#[test]
fn bounds_enumerations_and_patterns_are_checked() {
    refused(
        &protection("spec/plan/tier", json!("P3")),
        "spec.plan.tier",
        "use one of P1, P2, Free",
    );
    refused(
        &protection("spec/machines", json!({"minimumProtectedPercent": 101})),
        "spec.machines.minimumProtectedPercent",
        "too large",
    );
    refused(
        &connector("spec/aws/organization", json!({"stackSetName": ""})),
        "spec.aws.organization.stackSetName",
        "must be the name of a StackSet",
    );
    refused(
        &connector("spec/aws/regions", json!(vec!["eu-central-1"; 65])),
        "spec.aws.regions",
        "the limit is 64",
    );
}

/// The definitions use rules instead of patterns, but a later one may have both.
#[test]
fn a_pattern_is_explained_by_the_description() {
    let text =
        json!({"type": "string", "pattern": "^[a-z]+$", "minLength": 2, "description": "A word. More."});
    let schema = json!({"type": "object", "properties": {"a": text}});
    let found = schema::check_root(&json!({"a": "B"}), &schema);
    assert!(!found.blocks_rules);
    let [short, pattern] = found.problems.as_slice() else {
        panic!("{found:?}")
    };
    assert!(short.message.contains("needs at least 2"), "{short:?}");
    assert!(
        pattern.message.contains("does not match the pattern ^[a-z]+$"),
        "{pattern:?}"
    );
    assert_eq!(pattern.action.as_deref(), Some("the field is: A word."));
    assert!(
        schema::check_root(&json!({"a": "word"}), &schema)
            .problems
            .is_empty()
    );
}

#[test]
fn lists_have_each_item_once() {
    refused(
        &connector(
            "spec/aws/regions",
            json!(["eu-central-1", "eu-west-1", "eu-central-1"]),
        ),
        "spec.aws.regions[2]",
        "duplicate",
    );
}

#[test]
fn unknown_fields_are_refused_and_the_known_one_is_named() {
    refused(
        &protection("spec/Mode", json!("Enforce")),
        "spec.Mode",
        "use mode",
    );
    refused(
        &protection("spec/plan/agentless_scanning", json!({})),
        "spec.plan.agentless_scanning",
        "use agentlessScanning",
    );
    refused(
        &protection("spec/plan/teir", json!("P2")),
        "spec.plan.teir",
        "did you mean tier?",
    );
    refused(
        &protection("spec/intervall", json!("10m")),
        "spec.intervall",
        "did you mean interval?",
    );
    refused(
        &protection("spec/other", Value::Null),
        "spec.other",
        "unknown field",
    );
    refused(&protection("other", json!({})), "other", "unknown field");
    refused(
        &protection("metadata/label", json!({})),
        "metadata.label",
        "did you mean labels?",
    );
}

#[test]
fn rules_are_evaluated_with_the_defaults() {
    // The integration is Enabled by default, and agentless scanning needs P2.
    let mut object = protection(
        "spec/plan",
        json!({"tier": "P1", "agentlessScanning": {"state": "Enabled"}}),
    );
    let problems = check(&object);
    assert!(
        problems.len() == 1 && problems[0].message.contains("needs plan.tier P2"),
        "{problems:#?}"
    );
    set(&mut object.value, "spec/plan", json!({"tier": "P1"}));
    assert_eq!(check(&object), []);
    refused(
        &protection("spec/interval", json!("10s")),
        "spec.interval",
        "interval must be from 1m to 24h",
    );
}

#[test]
fn rules_are_left_out_where_the_server_leaves_them_out() {
    let mut object = protection("spec/interval", json!("10s"));
    set(&mut object.value, "spec/suspend", json!("true"));
    let problems = check(&object);
    assert!(
        problems.iter().all(|problem| problem.field == "spec.suspend"),
        "{problems:#?}"
    );
}

#[test]
fn names_and_versions_are_checked() {
    for name in [
        json!(""),
        json!("A"),
        json!("a..b"),
        json!("a".repeat(254)),
        json!("a\nb"),
    ] {
        assert!(
            !check(&protection("metadata/name", name.clone())).is_empty(),
            "{name}"
        );
    }
    refused(
        &protection("metadata/namespace", json!("a.b")),
        "metadata.namespace",
        "not a valid namespace",
    );
    refused(
        &protection("metadata/labels", json!({"a/b/c": ""})),
        "metadata.labels.a/b/c",
        "not a valid key",
    );
    refused(
        &protection("metadata/labels", json!({"a": "-"})),
        "metadata.labels.a",
        "not a valid label value",
    );
    refused(
        &protection("metadata/finalizers", json!(["a b"])),
        "metadata.finalizers[0]",
        "not a valid key",
    );
    refused(
        &protection("metadata/annotations", json!({"a": "x".repeat(262_144)})),
        "metadata.annotations",
        "the limit is 262144",
    );
    let mut other = protection("", Value::Null);
    other.version = "serverprotection.dev/v2".into();
    refused(&other, "apiVersion", "use serverprotection.dev/v1alpha1");
    other.kind = "ServerProtections".into();
    refused(&other, "kind", "use one of ServerProtection");
}

/// A new keyword in a definition must be checked here, too.
#[test]
fn every_keyword_of_the_definitions_is_known() {
    let mut keywords = BTreeSet::new();
    for definition in &Definitions::load().unwrap().0 {
        collect(&definition.schema, &mut keywords);
    }
    let known = [
        "additionalProperties",
        "default",
        "description",
        "enum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "nullable",
        "pattern",
        "properties",
        "required",
        "title",
        "type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-map-type",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-validations",
    ];
    let unknown: Vec<_> = keywords
        .iter()
        .filter(|keyword| !known.contains(&keyword.as_str()))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(keywords.contains("maxLength") && keywords.contains("x-kubernetes-list-type"));
}

fn collect(schema: &Value, keywords: &mut BTreeSet<String>) {
    let Some(members) = schema.as_object() else { return };
    for (keyword, value) in members {
        keywords.insert(keyword.clone());
        match keyword.as_str() {
            "properties" => value
                .as_object()
                .unwrap()
                .values()
                .for_each(|part| collect(part, keywords)),
            "items" | "additionalProperties" => collect(value, keywords),
            _ => {}
        }
    }
}

#[test]
fn rules_about_changes_are_listed() {
    let rules = Definitions::load().unwrap().transition_rules();
    for field in ["spec.subscriptionId", "spec.aws.accountId", "spec.gcp.projectId"] {
        let rule = rules.iter().find(|rule| rule.field == field);
        assert!(
            rule.is_some_and(|rule| rule.message.contains("cannot be changed")),
            "{field}: {rules:#?}"
        );
    }
}

#[test]
fn a_swapped_pair_of_letters_is_one_difference() {
    for (one, other, expected) in [
        ("tier", "teir", 1),
        ("tier", "tier", 0),
        ("tier", "", 4),
        ("", "tier", 4),
        ("interval", "intervall", 1),
        ("kitten", "sitting", 3),
    ] {
        assert_eq!(schema::distance(one, other), expected, "{one} {other}");
    }
}
