//! Schema, columns, names, defaults.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::json;

use super::{SUBSCRIPTION, spec};
use crate::{
    DeletionPolicy, Inheritance, Mode, Registration, State, VulnerabilityAssessmentProvider, crds, file_name,
};

pub(super) fn schema(crd: &CustomResourceDefinition) -> &JSONSchemaProps {
    let schema = crd.spec.versions[0].schema.as_ref().unwrap();
    schema.open_api_v3_schema.as_ref().unwrap()
}

pub(super) fn at<'a>(schema: &'a JSONSchemaProps, path: &str) -> &'a JSONSchemaProps {
    path.split('.')
        .fold(schema, |schema, name| &schema.properties.as_ref().unwrap()[name])
}

fn parts(schema: &JSONSchemaProps) -> Vec<(String, &JSONSchemaProps)> {
    let mut all: Vec<_> = schema
        .properties
        .iter()
        .flatten()
        .map(|(name, part)| (format!(".{name}"), part))
        .collect();
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        all.push(("[]".into(), items));
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
        all.push(("{}".into(), values));
    }
    all
}

pub(super) fn walk(path: &str, schema: &JSONSchemaProps, check: &mut impl FnMut(&str, &JSONSchemaProps)) {
    for (name, part) in parts(schema) {
        let path = format!("{path}{name}");
        check(&path, part);
        walk(&path, part, check);
    }
}

#[test]
fn every_definition_builds() {
    let names: Vec<_> = crds().iter().map(file_name).collect();
    assert_eq!(
        names,
        [
            "serverprotection.dev_serverprotections.yaml",
            "serverprotection.dev_securityconnectors.yaml",
            "serverprotection.dev_azurecredentials.yaml",
            "serverprotection.dev_clusterazurecredentials.yaml"
        ]
    );
}

#[test]
fn names_are_short_and_grouped() {
    for (crd, (short, scope)) in crds().iter().zip([
        ("sprot", "Namespaced"),
        ("secconn", "Namespaced"),
        ("azcred", "Namespaced"),
        ("cazcred", "Cluster"),
    ]) {
        assert_eq!(crd.spec.scope, scope);
        assert_eq!(crd.spec.names.short_names.as_deref().unwrap(), [short]);
        assert_eq!(crd.spec.names.categories.as_deref().unwrap(), ["defender"]);
        let [version] = crd.spec.versions.as_slice() else {
            panic!()
        };
        assert!(version.name == "v1alpha1" && version.served && version.storage);
    }
    let protection = &crds()[0].spec.versions[0];
    assert!(protection.subresources.as_ref().unwrap().status.is_some());
    let selectable: Vec<_> = protection
        .selectable_fields
        .iter()
        .flatten()
        .map(|field| field.json_path.as_str())
        .collect();
    assert_eq!(selectable, [".spec.subscriptionId", ".spec.mode"]);
}

/// kstatus reports a new object as InProgress, not Current.
#[test]
fn a_fresh_object_is_not_observed() {
    for crd in &crds() {
        let status = at(schema(crd), "status");
        assert_eq!(
            status.default.as_ref().unwrap().0,
            json!({"observedGeneration": -1})
        );
        assert_eq!(status.nullable, None);
        let conditions = at(status, "conditions");
        assert_eq!(conditions.x_kubernetes_list_type.as_deref(), Some("map"));
        assert_eq!(
            conditions.x_kubernetes_list_map_keys.as_deref().unwrap(),
            ["type"]
        );
    }
}

#[test]
fn every_field_is_explained() {
    for crd in crds() {
        walk("", schema(&crd), &mut |path, part| {
            let outside = [".apiVersion", ".kind", ".metadata", ".spec", ".status"].contains(&path);
            let element = path.ends_with("[]") || path.ends_with("{}");
            let described = part.description.as_deref().is_some_and(|text| text.len() > 5);
            assert!(
                described || outside || element,
                "{} {path} has no description",
                crd.spec.names.kind
            );
        });
        assert!(schema(&crd).description.is_some());
    }
}

/// Kubernetes' YAML reader parses such words as booleans, and Azure's own APIs use many of them.
#[test]
fn no_value_reads_as_a_boolean() {
    for crd in crds() {
        walk("", schema(&crd), &mut |path, part| {
            for value in part.enum_.iter().flatten() {
                let word = value.0.as_str().unwrap_or_default().to_lowercase();
                assert!(
                    !["on", "off", "yes", "no", "true", "false"].contains(&word.as_str()),
                    "{path}: {word}"
                );
            }
        });
    }
}

/// The API server estimates CEL costs from the bounds and rejects a rule over a list without bounds.
#[test]
fn every_list_map_and_text_of_a_spec_is_bounded() {
    for crd in crds() {
        walk("spec", at(schema(&crd), "spec"), &mut |path, part| {
            if part.type_.as_deref() == Some("array") {
                assert!(part.max_items.is_some(), "{path}");
            }
            if part.additional_properties.is_some() {
                assert!(part.max_properties.is_some(), "{path}");
            }
            // A page of a list is in memory as a whole.
            if part.type_.as_deref() == Some("string") && part.enum_.is_none() {
                assert!(part.max_length.is_some(), "{path}");
            }
        });
    }
}

#[test]
fn columns_are_those_of_the_design() {
    let expected = [
        (
            "Subscription Plan Mode Ready Reason Drift Protected Age",
            "Connectors Observed-Plan Subscription-ID Message",
        ),
        (
            "Cloud Account Tier Ready Reason Health Machines Age",
            "Protection Drift Members Message",
        ),
        (
            "Type Client Ready Reason Age",
            "Used-By Tenant Certificate-Expires Message",
        ),
        (
            "Type Client Ready Reason Age",
            "Used-By Tenant Certificate-Expires Message",
        ),
    ];
    for (crd, (narrow, wide)) in crds().iter().zip(expected) {
        let columns = crd.spec.versions[0].additional_printer_columns.as_ref();
        let named = |priority: Option<i32>| {
            let shown = columns
                .unwrap()
                .iter()
                .filter(|column| column.priority == priority);
            shown
                .map(|column| column.name.as_str())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(named(None), narrow);
        assert_eq!(named(Some(1)), wide);
    }
}

#[test]
fn every_column_shows_a_field() {
    for crd in crds() {
        for column in crd.spec.versions[0].additional_printer_columns.iter().flatten() {
            let path = column.json_path.trim_start_matches('.');
            // `at` panics if the schema lacks the field.
            let shown = path.split_once("[?").map_or(path, |(list, _)| list);
            if !path.starts_with("metadata.") {
                at(schema(&crd), shown);
            }
        }
    }
}

#[test]
fn the_smallest_spec_gets_the_guides_defaults() {
    let spec = spec(json!({}));
    assert_eq!(spec.subscription_id, SUBSCRIPTION);
    assert_eq!(
        (spec.mode, spec.suspend, spec.interval.as_str()),
        (Mode::Enforce, false, "10m")
    );
    assert_eq!(spec.plan.inheritance, Inheritance::Unmanaged);
    assert!(spec.plan.agentless_scanning.is_none() && spec.plan.other_extensions.is_empty());
    assert_eq!(spec.endpoint_integration.state, State::Enabled);
    assert_eq!(spec.vulnerability_assessment.state, State::Enabled);
    assert_eq!(
        spec.vulnerability_assessment.provider,
        VulnerabilityAssessmentProvider::DefenderVulnerabilityManagement
    );
    assert_eq!(spec.resource_providers.registration, Registration::Register);
    assert_eq!(spec.deletion_policy, DeletionPolicy::Retain);
}

/// Objects with the server's defaults are equal to objects that this program reads without them.
#[test]
fn the_servers_defaults_are_ours() {
    let all = crds();
    let mut filled = json!({"subscriptionId": SUBSCRIPTION, "credentialRef": {"name": "platform"}, "plan": {"tier": "P2"}});
    fill(at(schema(&all[0]), "spec"), &mut filled);
    let ours: crate::ServerProtectionSpec = serde_json::from_value(filled.clone()).unwrap();
    assert_eq!(ours, spec(json!({})));
    assert_eq!(filled["endpointIntegration"], json!({"state": "Enabled"}));
    assert_eq!(filled["interval"], "10m");
    assert!(filled["plan"].get("tier").is_some());
    assert!(
        at(schema(&all[0]), "spec.plan.tier").default.is_none(),
        "it costs money"
    );
}

fn fill(schema: &JSONSchemaProps, value: &mut serde_json::Value) {
    let Some(members) = value.as_object_mut() else {
        return;
    };
    for (name, part) in schema.properties.iter().flatten() {
        if !members.contains_key(name)
            && let Some(default) = &part.default
        {
            members.insert(name.clone(), default.0.clone());
        }
        if let Some(member) = members.get_mut(name) {
            fill(part, member);
        }
    }
}

#[test]
fn a_spec_survives_the_way_out_and_in() {
    let full = spec(json!({
        "credentialRef": {"name": "platform"},
        "plan": {
            "agentlessScanning": {"state": "Enabled", "exclusionTags": []},
            "fileIntegrityMonitoring": {"rules": {"custom": {"linuxFiles": ["/etc/"]}}},
            "otherExtensions": [{"name": "New", "state": "Enabled", "properties": {"a": "b"}}],
        },
        "endpointIntegration": {"linux": "Unmanaged"},
    }));
    let out = serde_json::to_value(&full).unwrap();
    assert!(
        !out.to_string().contains("null"),
        "an explicit null is refused by the API server"
    );
    assert_eq!(
        out["plan"]["fileIntegrityMonitoring"]["rules"],
        json!({"custom": {"linuxFiles": ["/etc/"]}})
    );
    // An empty list and an absent list have different meanings.
    assert_eq!(out["plan"]["agentlessScanning"]["exclusionTags"], json!([]));
    assert_eq!(
        serde_json::from_value::<crate::ServerProtectionSpec>(out).unwrap(),
        full
    );
}

#[test]
fn subscription_credential_and_plan_are_required() {
    let all = crds();
    let spec = at(schema(&all[0]), "spec");
    for path in ["subscriptionId", "credentialRef", "plan"] {
        assert!(
            spec.required.as_ref().unwrap().iter().any(|name| name == path),
            "{path}"
        );
    }
}

#[test]
fn an_object_names_its_own_credential() {
    let all = crds();
    let reference = at(schema(&all[0]), "spec.credentialRef");
    assert_eq!(reference.nullable, None, "null is no credential");
    assert_eq!(reference.required.as_deref(), Some(&["name".to_owned()][..]));
    let kind = at(reference, "kind");
    assert_eq!(kind.default.as_ref().unwrap().0, "AzureCredential");
    let kinds: Vec<_> = kind.enum_.iter().flatten().map(|kind| &kind.0).collect();
    assert_eq!(
        kinds,
        ["AzureCredential", "ClusterAzureCredential"],
        "the namespace's own, or one with grants"
    );
    // An object stored before the field was required can still be read.
    let old = json!({"subscriptionId": SUBSCRIPTION, "plan": {"tier": "P2"}});
    let old: crate::ServerProtectionSpec = serde_json::from_value(old).unwrap();
    assert!(old.credential_ref.is_none());
}
