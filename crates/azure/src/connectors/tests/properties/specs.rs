//! Generators for specs that pass admission.

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};
use serverprotection_api::{Cloud, SecurityConnectorSpec};

use super::super::samples::{aws, gcp};

const ARNS: &[&str] = &[
    "arn:aws:iam::123456789012:role/a",
    "arn:aws:iam::123456789012:role/A",
];
const EMAILS: &[&str] = &["a@my-project.iam.gserviceaccount.com"];

fn state() -> impl Strategy<Value = Value> {
    select(vec!["Enabled", "Disabled", "Unmanaged"]).prop_map(Value::from)
}

/// An object in which each member is present or absent.
pub(super) fn some(members: Vec<(&'static str, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
    let members: Vec<_> = members
        .into_iter()
        .map(|(name, value)| option::of(value).prop_map(move |value| (name, value)))
        .collect();
    members
        .prop_map(|members| {
            let present = members
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?)));
            Value::Object(present.collect())
        })
        .boxed()
}

pub(super) fn words(words: &'static [&'static str]) -> BoxedStrategy<Value> {
    select(words).prop_map(Value::from).boxed()
}

fn lists(entries: &'static [&'static str]) -> BoxedStrategy<Value> {
    proptest::sample::subsequence(entries, 0..=entries.len())
        .prop_map(|entries| json!(entries))
        .boxed()
}

pub(super) fn specs(cloud: Cloud) -> BoxedStrategy<SecurityConnectorSpec> {
    let tags = vec(
        (select(vec!["env", "Env", "team"]), select(vec!["a", "b"]))
            .prop_map(|(key, value)| json!({"key": key, "value": value})),
        0..3,
    );
    let agentless = some(vec![("exclusionTags", tags.prop_map(Value::Array).boxed())]);
    let arc = some(vec![
        ("state", state().boxed()),
        ("proxy", words(&["", "http://p:1", "http://q:2"])),
        (
            "privateLinkScope",
            words(&["", "/subscriptions/s/p/A", "/subscriptions/s/p/B"]),
        ),
    ]);
    let provisioned = || some(vec![("state", state().boxed())]);
    let common = some(vec![
        (
            "tags",
            some(vec![("ours", words(&["1", "2"])), ("Team", words(&["1"]))]),
        ),
        ("scanInterval", words(&["1h", "4h", "24h"])),
        (
            "autoProvisioning",
            some(vec![
                ("arcAgent", arc),
                ("defenderForEndpoint", provisioned()),
                ("vulnerabilityAssessment", provisioned()),
            ]),
        ),
    ]);
    let plan = (select(vec!["P1", "P2", "Free"]), option::of((state(), agentless)));
    let account = match cloud {
        Cloud::AWS => aws_accounts(),
        Cloud::GCP => gcp_projects(),
    };
    (common, plan, account)
        .prop_map(move |(mut over, (tier, agentless), account)| {
            over["plan"] = json!({"tier": tier});
            if let Some((state, mut scanning)) = agentless {
                // Admission refuses P1 with agentless scanning.
                let fits = tier == "P2" || state != "Enabled";
                scanning["state"] = if fits { state } else { json!("Disabled") };
                over["agentlessScanning"] = scanning;
            }
            match cloud {
                Cloud::AWS => {
                    over["aws"] = account;
                    aws(over)
                }
                Cloud::GCP => {
                    over["gcp"] = account;
                    gcp(over)
                }
            }
        })
        .boxed()
}

fn aws_accounts() -> BoxedStrategy<Value> {
    let arn = || words(ARNS);
    some(vec![
        ("regions", lists(&["eu-central-1", "us-east-1", "us-west-2"])),
        (
            "organization",
            some(vec![("excludedAccountIds", lists(&["1", "2", "3"]))])
                .prop_map(|mut organization| {
                    organization["stackSetName"] = json!("defender");
                    organization
                })
                .boxed(),
        ),
        (
            "roleArns",
            some(vec![
                ("cspm", arn()),
                ("servers", arn()),
                ("arcProvisioning", arn()),
                ("agentlessScanner", arn()),
            ]),
        ),
    ])
}

fn gcp_projects() -> BoxedStrategy<Value> {
    some(vec![
        (
            "organization",
            some(vec![("excludedProjectNumbers", lists(&["1", "2"]))])
                .prop_map(|mut organization| {
                    organization["serviceAccount"] = json!(EMAILS[0]);
                    organization["workloadIdentityProvider"] = json!("auto-provisioner");
                    organization
                })
                .boxed(),
        ),
        (
            "serviceAccounts",
            some(vec![("cspm", words(EMAILS)), ("servers", words(EMAILS))]),
        ),
        (
            "workloadIdentityProviders",
            some(vec![("cspm", words(&["other"]))]),
        ),
    ])
}
