//! The files of the archive: what is in them, and what must not be.

use std::io::Read as _;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Event};
use serde_json::{Value, json};

use super::{File, archive, collect::Collected, files::render};
use crate::{error::CliError, scrub::Scrubber};
use serverprotection_core::Timestamp;

const SUBSCRIPTION: &str = "6f1c0d7e-0000-4000-8000-000000000001";

fn collected() -> Collected {
    let object = json!({
        "metadata": {
            "name": "prod", "namespace": "team", "managedFields": [{"manager": "kubectl"}], "labels": {"owner": "jane"},
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "everything again",
                "serverprotection.dev/reconcile-requested-at": "1"
            }
        },
        "spec": {"subscriptionId": SUBSCRIPTION},
        "status": {
            "subscriptionName": "Contoso Production",
            "conditions": [
                {"type": "Ready", "status": "False", "reason": "AuthorizationFailed", "lastTransitionTime": "2026-01-02T00:00:00Z",
                    "message": format!("Contoso Production ({SUBSCRIPTION})\ndenied it")},
                {"type": "Claimed", "status": "True", "reason": "Held", "lastTransitionTime": "2026-01-03T00:00:00Z"},
                {"type": "Stalled", "status": "True", "reason": "AuthorizationFailed", "lastTransitionTime": "2026-01-01T00:00:00Z"}
            ]
        }
    });
    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "serverprotection-controller", "namespace": "serverprotection-system"},
        "spec": {
            "selector": {},
            "template": {"spec": {"containers": [{
                "name": "controller", "image": "registry/serverprotection:1", "args": ["controller", "--concurrency=8"],
                "env": [{"name": "HTTPS_PROXY", "value": "http://user:hunter2@proxy:3128"}]
            }]}}
        }
    }))
    .unwrap();
    let event: Event = serde_json::from_value(json!({
        "metadata": {"name": "e"}, "reason": "AuthorizationFailed", "message": "for Contoso Production",
        "involvedObject": {"kind": "ServerProtection", "name": "prod", "namespace": "team"}
    }))
    .unwrap();
    Collected {
        server_version: Some("v1.36.0".into()),
        objects: vec![("ServerProtection".into(), object)],
        deployments: vec![deployment],
        events: vec![event],
        metrics: vec![(
            "pod-1".into(),
            "serverprotection_resource_graph_quota_remaining{principal=\"x\"} 14\n".into(),
        )],
        logs: vec![("pod-1".into(), format!("INFO subscription_id={SUBSCRIPTION}\n"))],
        failures: vec![CliError::new(format!("cannot read {SUBSCRIPTION}"))],
        ..Collected::default()
    }
}

fn files() -> Vec<File> {
    render(&collected(), Scrubber::new().unwrap(), Timestamp::UNIX_EPOCH)
}

fn file<'a>(files: &'a [File], name: &str) -> &'a str {
    let found = files.iter().find(|file| file.name == name);
    &found.unwrap_or_else(|| panic!("no {name}")).content
}

#[test]
fn nothing_identifying_is_in_any_file() {
    for File { name, content } in files() {
        for private in [
            SUBSCRIPTION,
            "Contoso",
            "hunter2",
            "jane",
            "everything again",
            "managedFields",
        ] {
            assert!(!content.contains(private), "{private} in {name}: {content}");
        }
    }
}

#[test]
fn refusals_flags_quota_and_versions_are_there() {
    let files = files();
    let conditions = file(&files, "conditions.txt");
    let lines: Vec<_> = conditions.lines().collect();
    assert_eq!(lines.len(), 2, "{conditions}");
    assert!(
        lines[0].contains(
            "ServerProtection team/prod Ready=False AuthorizationFailed: <text-1> (<guid-1>) denied it"
        ),
        "{conditions}"
    );
    assert!(lines[1].contains("Stalled=True"), "{conditions}");
    assert!(file(&files, "controller.json").contains("--concurrency=8"));
    assert!(file(&files, "metrics/pod-1.txt").contains("quota_remaining"));
    assert_eq!(file(&files, "logs/pod-1.txt"), "INFO subscription_id=<guid-1>\n");
    assert_eq!(file(&files, "errors.txt"), "cannot read <guid-1>\n");
    let versions: Value = serde_json::from_str(file(&files, "versions.json")).unwrap();
    assert_eq!(versions["apiServer"], "v1.36.0");
    assert_eq!(versions["client"]["commit"], crate::version::COMMIT);
    let objects: Value = serde_json::from_str(file(&files, "objects/ServerProtection.json")).unwrap();
    assert_eq!(
        objects[0]["metadata"]["annotations"],
        json!({"serverprotection.dev/reconcile-requested-at": "1"})
    );
    assert_eq!(objects[0]["spec"]["subscriptionId"], "<guid-1>");
}

#[test]
fn the_archive_has_all_files() {
    let files = files();
    let bytes = archive::write_all(Vec::new(), &files, Timestamp::UNIX_EPOCH).unwrap();
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_slice()));
    let mut found = Vec::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        found.push((name, content));
    }
    let expected: Vec<_> = files
        .into_iter()
        .map(|file| (format!("serverprotection-debug/{}", file.name), file.content))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn an_existing_file_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tar.gz");
    std::fs::write(&path, "mine").unwrap();
    let error = archive::create(&path).unwrap_err();
    assert!(error.action.is_some_and(|action| action.contains("--archive")));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}
