//! The files of the archive, scrubbed.

use std::{collections::BTreeMap, fmt::Write as _};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Container, EnvVar, Event, Pod},
};
use kube::ResourceExt as _;
use serde_json::{Value, json};
use serverprotection_api::GROUP;
use serverprotection_core::Timestamp;

use super::{File, collect::Collected};
use crate::{cluster, scrub::Scrubber, version};

const README: &str = "\
Written by serverprotection debug for a bug report.

Read the files before you share them. Replaced by aliases: ids of tenants, subscriptions, applications and accounts;
names of subscriptions, resource groups, machines and tags; mail and IP addresses. The same value has the same alias in
all files. Not replaced: names of namespaces and objects, words of the API such as condition types and reasons (even if a
subscription or a tag has the same name), Azure's error codes, and texts that no rule recognizes.

versions.json     this program, the API server, and the custom resource definitions of the cluster
controller.json   Deployments and pods of the controller: image, flags, restarts
conditions.txt    every condition that is not as it should be, newest first: the last refusals
objects/          spec and status of each object
events.json       Warning events
metrics/          requests to Azure by code, quota, scans, reconciles
logs/             only with --logs
errors.txt        what could not be read
";

/// Renders the files. Learns all private names before the first text is scrubbed.
pub(super) fn render(collected: &Collected, mut scrubber: Scrubber, now: Timestamp) -> Vec<File> {
    let objects: Vec<_> = collected
        .objects
        .iter()
        .map(|(kind, object)| (kind, stripped(object)))
        .collect();
    for (_, object) in &objects {
        scrubber.learn(object);
    }
    let deployments = collected.deployments.iter().map(|one| &one.metadata);
    let pods = collected.pods.iter().map(|one| &one.metadata);
    for metadata in deployments.chain(pods) {
        for name in [&metadata.name, &metadata.namespace].into_iter().flatten() {
            scrubber.keep(name);
        }
    }
    let mut files = vec![
        File::new("README.txt", README),
        document("versions.json", &versions(collected, now), &mut scrubber),
        document("controller.json", &controller(collected), &mut scrubber),
        File::new("conditions.txt", scrubber.text(&conditions(&objects))),
    ];
    let mut by_kind: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for (kind, object) in objects {
        by_kind.entry(kind.as_str()).or_default().push(object);
    }
    for (kind, objects) in by_kind {
        files.push(document(
            &format!("objects/{kind}.json"),
            &Value::Array(objects),
            &mut scrubber,
        ));
    }
    let events = collected.events.iter().map(event).collect();
    files.push(document("events.json", &Value::Array(events), &mut scrubber));
    for (folder, pages) in [("metrics", &collected.metrics), ("logs", &collected.logs)] {
        for (name, page) in pages {
            files.push(File::new(format!("{folder}/{name}.txt"), scrubber.text(page)));
        }
    }
    if !collected.failures.is_empty() {
        let failures: Vec<_> = collected.failures.iter().map(ToString::to_string).collect();
        files.push(File::new(
            "errors.txt",
            scrubber.text(&(failures.join("\n") + "\n")),
        ));
    }
    files
}

fn document(name: &str, value: &Value, scrubber: &mut Scrubber) -> File {
    File::new(name, format!("{:#}\n", scrubber.document(value)))
}

/// The object without metadata that no reader needs: managed fields, labels, and annotations of others, which often
/// contain the whole object again.
fn stripped(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, _| !["managedFields", "labels", "ownerReferences"].contains(&name.as_str()));
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.retain(|name, _| {
                name.starts_with(&format!("{GROUP}/")) || name.starts_with("reconcile.fluxcd.io/")
            });
        }
    }
    object
}

fn versions(collected: &Collected, now: Timestamp) -> Value {
    let definitions: Vec<_> = collected
        .definitions
        .iter()
        .map(|definition| {
            let status = definition.status.as_ref();
            json!({
                "name": definition.name_any(),
                "versions": definition.spec.versions.iter().map(|version| &version.name).collect::<Vec<_>>(),
                "storedVersions": status.and_then(|status| status.stored_versions.clone()),
                "deleting": cluster::is_deleting(definition),
            })
        })
        .collect();
    json!({
        "collected": now.to_string(),
        "client": version::document(),
        "apiServer": collected.server_version,
        "definitions": definitions,
    })
}

fn controller(collected: &Collected) -> Value {
    json!({
        "deployments": collected.deployments.iter().map(deployment).collect::<Vec<_>>(),
        "pods": collected.pods.iter().map(pod).collect::<Vec<_>>(),
    })
}

fn deployment(deployment: &Deployment) -> Value {
    let spec = deployment.spec.as_ref();
    let containers = spec
        .and_then(|spec| spec.template.spec.as_ref())
        .map(|spec| &spec.containers);
    json!({
        "namespace": deployment.namespace(),
        "name": deployment.name_any(),
        "replicas": spec.and_then(|spec| spec.replicas),
        "status": deployment.status,
        "containers": containers.into_iter().flatten().map(container).collect::<Vec<_>>(),
    })
}

fn container(container: &Container) -> Value {
    json!({
        "name": container.name,
        "image": container.image,
        "args": container.args,
        "resources": container.resources,
        "env": container.env.iter().flatten().map(variable).collect::<Vec<_>>(),
    })
}

/// Values of variables may be secrets: only whether there is one.
fn variable(variable: &EnvVar) -> Value {
    let source = match (&variable.value, &variable.value_from) {
        (Some(_), _) => "value",
        (None, Some(_)) => "reference",
        (None, None) => "empty",
    };
    json!({"name": variable.name, "source": source})
}

fn pod(pod: &Pod) -> Value {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    let containers: Vec<_> = containers
        .into_iter()
        .flatten()
        .map(|container| {
            json!({
                "image": container.image_id,
                "ready": container.ready,
                "restarts": container.restart_count,
                "state": container.state,
                "lastState": container.last_state,
            })
        })
        .collect();
    json!({
        "namespace": pod.namespace(),
        "name": pod.name_any(),
        "phase": status.and_then(|status| status.phase.clone()),
        "containers": containers,
    })
}

fn event(event: &Event) -> Value {
    json!({
        "namespace": event.involved_object.namespace,
        "kind": event.involved_object.kind,
        "name": event.involved_object.name,
        "reason": event.reason,
        "message": event.message,
        "count": event.series.as_ref().and_then(|series| series.count).or(event.count),
        "firstTime": event.event_time.as_ref().map(|time| time.0.to_string()),
        "lastTime": event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0.to_string()),
    })
}

/// Conditions that need attention, newest first.
fn conditions(objects: &[(&String, Value)]) -> String {
    let mut lines = Vec::new();
    for (kind, object) in objects {
        let text = |value: &Value, pointer: &str| {
            value
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let name = format!(
            "{kind} {}/{}",
            text(object, "/metadata/namespace"),
            text(object, "/metadata/name")
        );
        let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
        for condition in conditions.into_iter().flatten() {
            let (type_, status) = (text(condition, "/type"), text(condition, "/status"));
            if needs_attention(&type_, &status) {
                let time = text(condition, "/lastTransitionTime");
                let (reason, message) = (text(condition, "/reason"), text(condition, "/message"));
                lines.push(format!("{time} {name} {type_}={status} {reason}: {message}"));
            }
        }
    }
    lines.sort_by(|one, other| other.cmp(one));
    let mut out = String::new();
    for line in &lines {
        let _ = writeln!(out, "{}", crate::printable::one_line(line));
    }
    out
}

/// Conditions that are True only while something is wrong, and those that should be True and are not.
fn needs_attention(type_: &str, status: &str) -> bool {
    match type_ {
        "Stalled" | "Contested" | "Drifted" | "Suspended" | "Reconciling" => status == "True",
        _ => status != "True",
    }
}
