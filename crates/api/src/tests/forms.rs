//! The forms of text fields: what is refused, with the field and an example of what is right, and what is admitted.

use serde_json::{Value, json};

use super::{
    SUBSCRIPTION, WORKSPACE,
    admission::messages,
    connectors::{aws, gcp},
    credential,
    definitions::{schema, walk},
    protection,
};
use crate::crds;

/// Checks that each value is refused at this field with the name of the field and the example, or admitted.
pub(super) fn check(
    object: impl Fn(&str) -> Vec<String>,
    field: &str,
    example: &str,
    bad: &[&str],
    good: &[&str],
) {
    for value in bad {
        let found = object(value);
        let [message] = found.as_slice() else {
            panic!("{field}: {value:?} broke {} rules: {found:#?}", found.len());
        };
        let (path, text) = message.split_once(": ").unwrap();
        assert!(
            path.starts_with("spec.") && path.contains(field),
            "{field}: {message}"
        );
        let last = field.rsplit('.').next().unwrap_or_default();
        assert!(
            text.contains(last) && text.contains(example) && text.contains(" must "),
            "{field}: {value:?}: {message}"
        );
    }
    for value in good {
        assert_eq!(object(value), [""; 0], "{field}: {value:?}");
    }
}

/// An object of the value as the last member of the path.
fn at(path: &str, value: &str) -> Value {
    let mut parts = path.rsplit('.');
    let last = json!({ parts.next().unwrap(): value });
    parts.fold(last, |inner, name| json!({ name: inner }))
}

fn protected(path: &'static str) -> impl Fn(&str) -> Vec<String> {
    move |value| messages(protection(at(path, value)).validate_cel())
}

fn in_aws(path: &'static str) -> impl Fn(&str) -> Vec<String> {
    move |value| messages(aws(at(path, value)).validate_cel())
}

fn in_gcp(path: &'static str) -> impl Fn(&str) -> Vec<String> {
    move |value| messages(gcp(at(path, value)).validate_cel())
}

/// Characters that leave a path, a line or a terminal.
const HOSTILE: [&str; 8] = [
    "a\nb",
    "a\tb",
    "\u{1b}[2J",
    "\u{202e}a",
    "a/../b",
    "..",
    "a?b",
    "a%2fb",
];

/// The values that are wrong for this field, and those that are wrong for every name.
fn and_hostile<'a>(bad: &[&'a str]) -> Vec<&'a str> {
    bad.iter().copied().chain(HOSTILE).collect()
}

#[test]
fn ids_are_guids_in_lower_case() {
    let upper = SUBSCRIPTION.to_uppercase();
    let path = format!("/subscriptions/{SUBSCRIPTION}");
    let resource = WORKSPACE;
    let bad = and_hostile(&[
        "",
        "prod",
        &upper,
        &path,
        resource,
        "6f1c0d7e000040008000000000000001",
    ]);
    let good = [SUBSCRIPTION];
    check(
        protected("subscriptionId"),
        "subscriptionId",
        SUBSCRIPTION,
        &bad,
        &good,
    );
    for id in ["tenantId", "clientId"] {
        let with = |value: &str| {
            let mut spec = json!({"tenantId": SUBSCRIPTION, "clientId": SUBSCRIPTION, "type": "WorkloadIdentity", "workloadIdentity": {"serviceAccountName": "sa"}});
            spec[id] = json!(value);
            messages(credential(spec).validate_cel())
        };
        check(with, id, SUBSCRIPTION, &bad, &good);
    }
}

#[test]
fn durations_have_a_form_and_bounds() {
    let bad = [
        "",
        "soon",
        "-5m",
        "+5m",
        "60d",
        "10",
        "1.5h",
        "10 m",
        "10M",
        "5m1h",
        "10m\n",
        "99999999999999999999h",
    ];
    check(
        protected("interval"),
        "interval",
        "for example 10m",
        &bad,
        &["1m", "60s", "1h30m", "24h", "1440m"],
    );
    check(
        protected("machines.gracePeriod"),
        "machines.gracePeriod",
        "for example 24h",
        &bad,
        &["1m", "720h", "24h0m0s"],
    );
}

#[test]
fn references_are_names_of_objects() {
    let bad = and_hostile(&["", "A", "a_b", "-a", "a.", "a..b", "../secrets", "a b"]);
    let good = ["a", "azure-prod", "a.b-c.0"];
    check(
        protected("credentialRef.name"),
        "credentialRef.name",
        "azure-prod",
        &bad,
        &good,
    );
    check(
        in_aws("protectionRef.name"),
        "protectionRef.name",
        "contoso-prod",
        &bad,
        &good,
    );
    let with = |type_: &str, member: &str, value: Value| {
        let mut spec = json!({"tenantId": SUBSCRIPTION, "clientId": SUBSCRIPTION, "type": type_});
        spec[member] = value;
        messages(credential(spec).validate_cel())
    };
    let tls = |name: &str| json!({"secretRef": {"name": name}});
    let secret = |name: &str, key: &str| json!({"secretRef": {"name": name, "key": key}});
    let secret = |name: &str, key: &str| with("ClientSecret", "clientSecret", secret(name, key));
    let account = |name: &str| json!({"serviceAccountName": name});
    check(
        |name| with("WorkloadIdentity", "workloadIdentity", account(name)),
        "workloadIdentity.serviceAccountName",
        "serverprotection-azure",
        &bad,
        &good,
    );
    check(
        |name| secret(name, "k"),
        "clientSecret.secretRef.name",
        "azure-prod",
        &bad,
        &good,
    );
    check(
        |name| with("ClientCertificate", "clientCertificate", tls(name)),
        "clientCertificate.secretRef.name",
        "azure-prod-tls",
        &bad,
        &good,
    );
    let good = ["client-secret", "AZURE_CLIENT_SECRET", "a.b"];
    check(
        |key| secret("s", key),
        "clientSecret.secretRef.key",
        "client-secret",
        &["", "a b", "a/b", "ä", "a\n"],
        &good,
    );
}

#[test]
fn workspaces_are_resource_ids_without_a_way_out_of_the_path() {
    let id = |group: &str, name: &str| {
        format!(
            "/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}/providers/Microsoft.OperationalInsights/workspaces/{name}"
        )
    };
    let mut bad: Vec<_> = HOSTILE
        .iter()
        .flat_map(|part| [id(part, "law"), id("rg", part)])
        .collect();
    bad.extend(
        ["", ".", ".\t.", "a."]
            .iter()
            .flat_map(|part| [id(part, "law"), id("rg", part)]),
    );
    bad.extend([
        id("rg", "law/"),
        id("rg", "law")[1..].to_owned(),
        "law".into(),
        SUBSCRIPTION.into(),
    ]);
    bad.push(WORKSPACE.replace("OperationalInsights", "Compute"));
    bad.push(WORKSPACE.replace(SUBSCRIPTION, &"-".repeat(36)));
    let bad: Vec<_> = bad.iter().map(String::as_str).collect();
    let other = id("Rg_(1).é", "law-1").replace("resourceGroups", "resourcegroups");
    let lower = WORKSPACE.replace("Microsoft.OperationalInsights", "microsoft.operationalinsights");
    let good = [WORKSPACE, &other, &lower];
    let form =
        "/subscriptions/ID/resourceGroups/NAME/providers/Microsoft.OperationalInsights/workspaces/NAME";
    check(
        protected("plan.fileIntegrityMonitoring.workspaceId"),
        "plan.fileIntegrityMonitoring.workspaceId",
        form,
        &bad,
        &good,
    );
    let listed =
        |value: &str| messages(protection(json!({"workspaces": [{"resourceId": value}]})).validate_cel());
    check(listed, "workspaces", form, &bad, &good);
}

#[test]
fn private_link_scopes_have_no_way_out_of_the_path() {
    let id = |group: &str, name: &str| {
        format!(
            "/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}/providers/Microsoft.HybridCompute/privateLinkScopes/{name}"
        )
    };
    let bad: Vec<_> = HOSTILE
        .iter()
        .flat_map(|part| [id(part, "pls"), id("rg", part)])
        .collect();
    let bad: Vec<_> = bad.iter().map(String::as_str).collect();
    let field = "autoProvisioning.arcAgent.privateLinkScope";
    check(
        in_gcp(field),
        field,
        "privateLinkScopes/NAME",
        &bad,
        &[&id("rg", "pls"), ""],
    );
}

#[test]
fn exclusions_have_names_groups_and_ids() {
    let rule = |member: &'static str| {
        move |value: &str| {
            let mut rule = json!({"name": "lab", "resourceGroups": ["rg"]});
            rule[member] = if member == "name" {
                json!(value)
            } else {
                json!([value])
            };
            messages(protection(json!({"machines": {"exclude": [rule]}})).validate_cel())
        }
    };
    let bad = and_hostile(&["", "Lab", "-lab", "lab_1", "a.b"]);
    check(rule("name"), "exclude", "lab-machines", &bad, &["lab", "lab-1"]);
    let bad = ["", "rg-*", "rg lab", "rg/lab", "a\nb", "rg."];
    check(
        rule("resourceGroups"),
        "machines.exclude",
        "rg-lab",
        &bad,
        &["rg-lab", "Rg_(1).é"],
    );
    let id = |type_: &str| format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/{type_}/web");
    let good = [
        id("Microsoft.Compute/virtualMachines"),
        id("microsoft.compute/virtualmachines"),
        id("Microsoft.Compute/virtualMachineScaleSets"),
        id("Microsoft.HybridCompute/machines"),
    ];
    let good: Vec<_> = good.iter().map(String::as_str).collect();
    let (disk, whole) = (id("Microsoft.Compute/disks"), good[0]);
    let (trailing, below) = (format!("{whole}/"), format!("{whole}/extensions/MDE.Linux"));
    let bad = [
        "",
        "web",
        &whole[1..],
        &disk,
        &trailing,
        &below,
        "/subscriptions/x",
    ];
    check(
        rule("ids"),
        "machines.exclude",
        "Microsoft.HybridCompute/machines/NAME",
        &bad,
        &good,
    );
}

#[test]
fn paths_of_file_integrity_monitoring_have_the_form_of_their_system() {
    let custom = |list: &'static str| {
        move |value: &str| {
            let rules = json!({"custom": {list: [value]}});
            messages(
                protection(json!({"plan": {"fileIntegrityMonitoring": {"rules": rules}}})).validate_cel(),
            )
        }
    };
    check(
        custom("windowsFiles"),
        "windowsFiles",
        r"\Windows\win.ini",
        &["", "C:/Windows/win.ini", "a\nb", "a|b", "a\"b", "<a>"],
        &[
            r"\Windows\system.ini",
            r"C:\Windows\*.exe",
            "autoexec.bat",
            r"%windir%\a",
        ],
    );
    check(
        custom("linuxFiles"),
        "linuxFiles",
        "/etc/*.conf",
        &["", "etc/passwd", "/etc\n", "/a\tb"],
        &["/etc/*.conf", "/srv/ü", "/"],
    );
    check(
        custom("registryKeys"),
        "registryKeys",
        r"hklm\SOFTWARE\Microsoft",
        &["", r"SOFTWARE\Microsoft\", "hklm", "hklm/SOFTWARE", "hklm\\a\nb"],
        &[
            r"hklm\SECURITY\POLICY\SECRETS\",
            r"HKEY_LOCAL_MACHINE\SOFTWARE\a/b",
        ],
    );
}

#[test]
fn other_extensions_have_names_of_azure() {
    let with = |name: &str| {
        let extension = json!({"name": name, "state": "Disabled"});
        messages(protection(json!({"plan": {"otherExtensions": [extension]}})).validate_cel())
    };
    let bad = and_hostile(&["", "1a", "Container Sensor", "container-sensor"]);
    check(
        with,
        "otherExtensions",
        "ContainerSensor",
        &bad,
        &["ContainerSensor", "X1"],
    );
}

#[test]
fn the_place_of_a_connector_has_names_of_azure() {
    let long = "a".repeat(91);
    let resource = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/rg");
    let bad = and_hostile(&["", "ends.with.", "a b", &long, &resource]);
    check(
        in_aws("resourceGroup"),
        "resourceGroup",
        "rg-defender",
        &bad,
        &["rg", "Rg_(1).é", &long[1..]],
    );
    let bad = and_hostile(&["", "West Europe", "westEurope", "west-europe"]);
    check(
        in_aws("location"),
        "location",
        "westeurope",
        &bad,
        &["westeurope", "eastus2"],
    );
    let bad = and_hostile(&["", "with space", "-a", "a.", &long]);
    check(
        in_aws("connectorName"),
        "connectorName",
        "aws-prod",
        &bad,
        &["aws-prod", "Aws_1.b", "a"],
    );
}

#[test]
fn accounts_and_identities_of_other_clouds_have_their_forms() {
    let bad = and_hostile(&["", "my set", "1a", "-a"]);
    check(
        in_aws("aws.organization.stackSetName"),
        "aws.organization.stackSetName",
        "defender-for-cloud",
        &bad,
        &["defender-1"],
    );
    let region = |value: &str| messages(aws(json!({"aws": {"regions": [value]}})).validate_cel());
    let bad = and_hostile(&["", "Frankfurt", "eu", "EU-central-1", "eu-central"]);
    check(
        region,
        "aws.regions",
        "eu-central-1",
        &bad,
        &["eu-central-1", "ap-southeast-2"],
    );
    let excluded = |value: &str| {
        let organization = json!({"stackSetName": "s", "excludedAccountIds": [value]});
        messages(aws(json!({"aws": {"organization": organization}})).validate_cel())
    };
    let bad = ["", "1234-5678-9012", "12345678901", "a", "123456789012\n"];
    check(
        excluded,
        "aws.organization.excludedAccountIds",
        "123456789012",
        &bad,
        &["210987654321"],
    );

    let account = "defender@my-project.iam.gserviceaccount.com";
    let mut bad = and_hostile(&[
        "",
        "somebody",
        "me@example.com",
        "Me@my-project.iam.gserviceaccount.com",
    ]);
    let forged = format!("{account}\n");
    bad.push(&forged);
    let organization = |member: &'static str| {
        move |value: &str| {
            let mut organization =
                json!({"serviceAccount": account, "workloadIdentityProvider": "auto-provisioner"});
            organization[member] = if member == "excludedProjectNumbers" {
                json!([value])
            } else {
                json!(value)
            };
            messages(gcp(json!({"gcp": {"organization": organization}})).validate_cel())
        }
    };
    check(
        organization("serviceAccount"),
        "gcp.organization.serviceAccount",
        account,
        &bad,
        &[account],
    );
    for field in ["gcp.serviceAccounts.cspm", "gcp.serviceAccounts.servers"] {
        check(in_gcp(field), field, account, &bad, &[account]);
    }
    let bad = and_hostile(&["", "abc", "Provider", "a_b_c", "a b c"]);
    let good = ["cspm", "defender-for-servers"];
    let field = "gcp.organization.workloadIdentityProvider";
    check(
        organization("workloadIdentityProvider"),
        field,
        "defender-for-servers",
        &bad,
        &good,
    );
    for field in [
        "gcp.workloadIdentityProviders.cspm",
        "gcp.workloadIdentityProviders.servers",
    ] {
        check(in_gcp(field), field, "defender-for-servers", &bad, &good);
    }
    let field = "gcp.organization.excludedProjectNumbers";
    check(
        organization("excludedProjectNumbers"),
        field,
        "843025268399",
        &["", "my-project", "1\n"],
        &["843025268400"],
    );
}

/// The API server would show it instead of a message.
#[test]
fn no_field_of_a_spec_has_a_bare_pattern() {
    for crd in crds() {
        walk("", schema(&crd), &mut |path, part| {
            assert_eq!(part.pattern, None, "{} {path}", crd.spec.names.kind);
            for rule in part.x_kubernetes_validations.iter().flatten() {
                assert!(rule.message.is_some(), "{path}: {}", rule.rule);
            }
        });
    }
}
