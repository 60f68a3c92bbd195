//! What is printed for manifests.

use serde_json::Value;

use super::*;
use crate::documents::Text;

const VALID: &str = "
apiVersion: serverprotection.dev/v1alpha1
kind: ServerProtection
metadata: {name: prod, namespace: team}
spec:
  subscriptionId: 6f1c0d7e-0000-4000-8000-000000000001
  credentialRef: {name: platform}
  plan: {tier: P2}
";
const UNQUOTED: &str = "
apiVersion: serverprotection.dev/v1alpha1
kind: SecurityConnector
metadata: {name: aws, namespace: team}
spec:
  protectionRef: {name: prod}
  resourceGroup: rg
  location: westeurope
  type: AWS
  aws: {accountId: 012345678901}
";
const SECRET: &str = "{apiVersion: v1, kind: Secret, metadata: {name: s}}";

fn named(name: &str, text: &str) -> Texts {
    Texts {
        read: vec![Text::new(name, text)],
        ..Texts::default()
    }
}

fn report(texts: &[&str]) -> Report {
    checked(named("all.yaml", &texts.join("\n---\n"))).unwrap()
}

#[test]
fn an_account_id_without_quotes_is_explained() {
    let report = report(&[VALID, UNQUOTED, SECRET]);
    assert_eq!(
        report.summary,
        Summary {
            valid: 1,
            invalid: 1,
            other: 1
        }
    );
    let text = rendered(&report, Format::Text).unwrap();
    assert!(text.contains("all.yaml, document 2: SecurityConnector team/aws is invalid:\n  spec.aws.accountId: must be a string, but it is the number"), "{text}");
    assert!(text.contains("the number 012345678901"), "{text}");
    assert!(text.contains("put it in quotes: \"012345678901\""), "{text}");
    assert!(
        text.contains("1 valid, 1 invalid; objects of other kinds, not checked: 1"),
        "{text}"
    );
    assert!(text.contains("kubectl apply --dry-run=server"), "{text}");
}

#[test]
fn json_has_the_fields_and_what_was_not_checked() {
    let text = rendered(&report(&[VALID, UNQUOTED]), Format::Json).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["summary"]["invalid"], 1);
    assert_eq!(document["objects"][0]["valid"], true);
    assert_eq!(document["objects"][1]["source"], "all.yaml, document 2");
    assert_eq!(
        document["objects"][1]["problems"][0]["field"],
        "spec.aws.accountId"
    );
    let rules = document["notChecked"].as_array().unwrap();
    let immutable = |field: &str| rules.iter().any(|rule| rule["field"] == field);
    assert!(
        immutable("spec.subscriptionId") && immutable("spec.aws.accountId"),
        "{rules:#?}"
    );
}

#[test]
fn a_list_of_kubectl_names_the_item() {
    let list = format!(
        "{{apiVersion: v1, kind: List, items: [{SECRET}, {{apiVersion: serverprotection.dev/v1alpha1, kind: AzureCredential}}]}}"
    );
    let report = report(&[&list]);
    assert_eq!(report.objects[0].source, "all.yaml, document 1, item 2");
    assert_eq!(report.objects[0].problems[0].field, "metadata.name");
}

#[test]
fn an_input_without_our_objects_is_an_error() {
    let error = checked(named("a.yaml", SECRET)).unwrap_err();
    assert!(error.problem.contains("serverprotection.dev"), "{error}");
    let error = checked(named("a.yaml", "kind: [")).unwrap_err();
    assert!(error.problem.contains("not valid YAML"), "{error}");
}

#[test]
fn hostile_names_stay_on_their_line() {
    let hostile = VALID.replace("name: prod", "name: \"a\\nb\\e[2J\"");
    let text = rendered(&report(&[&hostile]), Format::Text).unwrap();
    assert!(text.lines().next().unwrap().ends_with("is invalid:"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn a_bad_document_does_not_hide_the_others() {
    let mut texts = named("a.yaml", VALID);
    texts.read.push(Text::new("b.yaml", "kind: ["));
    texts.read.push(Text::new("c.yaml", UNQUOTED));
    texts.failures.push("-f d.yaml: cannot read it".into());
    let report = checked(texts).unwrap();
    assert_eq!((report.summary.valid, report.summary.invalid), (1, 1));
    assert_eq!(report.errors.len(), 2, "{:?}", report.errors);
    let text = rendered(&report, Format::Text).unwrap();
    assert!(text.contains("2 files or documents could not be read"), "{text}");
}

#[test]
fn our_kinds_with_another_api_version_are_invalid() {
    let with = |version: &str| VALID.replace("apiVersion: serverprotection.dev/v1alpha1", version);
    for version in [
        "",
        "apiVersion: v1alpha1",
        "apiVersion: serverprotections.dev/v1alpha1",
        "apiVersion: serverprotection.io/v1alpha1",
        "apiVersion: serverprotection.dev/v1",
    ] {
        let report = report(&[&with(version)]);
        let problem = &report.objects[0].problems[0];
        assert_eq!(problem.field, "apiVersion", "{version}");
        assert_eq!(
            problem.action.as_deref(),
            Some("use serverprotection.dev/v1alpha1")
        );
    }
    // Other products have connectors, too.
    let other = with("apiVersion: security.azure.upbound.io/v1beta1");
    assert_eq!(report(&[VALID, &other]).summary.other, 1);
}
