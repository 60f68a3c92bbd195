//! What a deletion would do, from what the cluster has. The decision about connectors is the controller's own.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use serverprotection_api::{FINALIZER, Mode, SecurityConnector, annotations};
use serverprotection_core::{
    Timestamp,
    security_connector::deletion::{Deletion, Input, deletion},
};

use crate::cluster::CLUSTER_CREDENTIAL;

/// After this time of failures, the controller gives up a deletion in Azure (docs/architecture.md 3.3).
const DEADLINE: Duration = Duration::from_secs(15 * 60);

/// What was read from the cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// `None`: all namespaces.
    pub(super) namespace: Option<String>,
    /// Kind and JSON.
    pub(super) objects: Vec<(String, Value)>,
    pub(super) controllers: Vec<Controller>,
    /// Name, and whether it is being deleted.
    pub(super) definitions: Vec<(String, bool)>,
    /// Why controllers and definitions could not be read.
    pub(super) unread: Option<String>,
}

/// A Deployment of the controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Controller {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) ready: bool,
}

/// The result of the check.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    /// Whether deleting everything changes nothing in Azure, and nothing would wait.
    pub(super) safe: bool,
    /// Why controllers and definitions are not known; a controller is then assumed to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unread: Option<String>,
    pub(super) controllers: Vec<Controller>,
    pub(super) definitions: Vec<Definition>,
    pub(super) objects: Vec<Outcome>,
    pub(super) steps: Vec<Step>,
}

/// A custom resource definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) deleting: bool,
}

/// What the deletion of one object would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Outcome {
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
    /// Whether it is being deleted now.
    pub(super) deleting: bool,
    pub(super) finalizers: Vec<String>,
    pub(super) azure: Effect,
    /// What happens, in a sentence.
    pub(super) explanation: String,
    /// What the deletion would wait for, if it would not end by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) waits_for: Option<String>,
}

/// The effect of a deletion in Azure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Effect {
    /// Nothing changes.
    Unchanged,
    /// The connector is deleted, which ends the protection of the account's machines.
    ConnectorDeleted,
    /// This version cannot know.
    Unknown,
}

/// A step of the uninstallation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Step {
    pub(super) title: String,
    pub(super) commands: Vec<String>,
}

impl Step {
    fn new(title: impl Into<String>, commands: impl IntoIterator<Item = String>) -> Self {
        Self {
            title: title.into(),
            commands: commands.into_iter().collect(),
        }
    }
}

/// Decides what the deletion of everything would do.
pub(super) fn plan(facts: &Facts, now: Timestamp) -> Report {
    let is_running = facts.unread.is_some() || facts.controllers.iter().any(|controller| controller.ready);
    let objects: Vec<_> = facts
        .objects
        .iter()
        .map(|(kind, object)| outcome(kind, object, facts, is_running, now))
        .collect();
    let is_harmless = |object: &Outcome| object.azure == Effect::Unchanged && object.waits_for.is_none();
    let deleting = facts.definitions.iter().any(|(_, deleting)| *deleting);
    Report {
        safe: objects.iter().all(is_harmless) && !deleting,
        steps: steps(&objects, facts, is_running, deleting),
        unread: facts.unread.clone(),
        controllers: facts.controllers.clone(),
        definitions: facts
            .definitions
            .iter()
            .map(|(name, deleting)| Definition {
                name: name.clone(),
                deleting: *deleting,
            })
            .collect(),
        objects,
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn outcome(kind: &str, object: &Value, facts: &Facts, is_running: bool, now: Timestamp) -> Outcome {
    let finalizers = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    let finalizers: Vec<_> = finalizers
        .into_iter()
        .flatten()
        .filter_map(|finalizer| finalizer.as_str().map(str::to_owned))
        .collect();
    let (azure, explanation) = match kind {
        "SecurityConnector" => of_connector(object, facts, now),
        "ServerProtection" => of_protection(object),
        _ => (Effect::Unchanged, of_credential(kind, object, facts)),
    };
    Outcome {
        kind: kind.to_owned(),
        namespace: text(object, "/metadata/namespace").to_owned(),
        name: text(object, "/metadata/name").to_owned(),
        deleting: object
            .pointer("/metadata/deletionTimestamp")
            .is_some_and(Value::is_string),
        waits_for: waits_for(&finalizers, is_running),
        finalizers,
        azure,
        explanation,
    }
}

/// The controller's decision about the connector, before it reads Azure. Claims of other objects are left out: they
/// could only keep the connector.
fn of_connector(object: &Value, facts: &Facts, now: Timestamp) -> (Effect, String) {
    let connector: SecurityConnector = match serde_json::from_value(object.clone()) {
        Ok(connector) => connector,
        Err(error) => {
            let what =
                format!("this version cannot read the object ({error}); use the version that wrote it");
            return (Effect::Unknown, what);
        }
    };
    let namespace = text(object, "/metadata/namespace");
    let mode = mode_of(&connector.spec.protection_ref.name, namespace, facts);
    let annotations = connector.metadata.annotations.unwrap_or_default();
    let decision = deletion(&Input {
        uid: text(object, "/metadata/uid"),
        spec: &connector.spec,
        previous: &connector.status.unwrap_or_default(),
        force: annotations.get(annotations::FORCE_REMOVE).map(String::as_str),
        other: None,
        observes: mode.map(|mode| mode == Mode::Observe),
        connector: None,
        tried: false,
        requested: now,
        deadline: DEADLINE,
        now,
    });
    match decision {
        Deletion::RemoveFinalizer(why) => (Effect::Unchanged, why.describe().to_string()),
        Deletion::Read { id } | Deletion::Delete { id } => (
            Effect::ConnectorDeleted,
            format!(
                "deletionPolicy is Delete: the connector {id} is deleted, which ends the protection of the account's machines"
            ),
        ),
    }
}

/// The mode of a ServerProtection; `None` if it does not exist.
fn mode_of(name: &str, namespace: &str, facts: &Facts) -> Option<Mode> {
    let mut protections = facts
        .objects
        .iter()
        .filter(|(kind, _)| kind == "ServerProtection");
    let (_, found) = protections.find(|(_, object)| {
        text(object, "/metadata/name") == name && text(object, "/metadata/namespace") == namespace
    })?;
    let mode = found.pointer("/spec/mode").cloned().unwrap_or_default();
    // A mode that this version does not know counts as Enforce, so that no deletion is missed.
    Some(serde_json::from_value(mode).unwrap_or(Mode::Enforce))
}

fn of_protection(object: &Value) -> (Effect, String) {
    match text(object, "/spec/deletionPolicy") {
        "" | "Retain" => {
            let what =
                "the plan and the settings of the subscription stay as they are; drift is no longer repaired";
            (Effect::Unchanged, what.into())
        }
        policy => {
            let what =
                format!("this version does not know deletionPolicy {policy}; use the version that wrote it");
            (Effect::Unknown, what)
        }
    }
}

fn of_credential(kind: &str, object: &Value, facts: &Facts) -> String {
    let (namespace, name) = (
        text(object, "/metadata/namespace"),
        text(object, "/metadata/name"),
    );
    let is_user = |user: &Value| match kind {
        CLUSTER_CREDENTIAL => text(user, "/spec/credentialRef/kind") == kind,
        _ => {
            text(user, "/metadata/namespace") == namespace
                && text(user, "/spec/credentialRef/kind") != CLUSTER_CREDENTIAL
        }
    };
    let users = facts.objects.iter().filter(|(kind, user)| {
        is_user(user) && text(user, "/spec/credentialRef/name") == name && kind == "ServerProtection"
    });
    match users.count() {
        0 => "no ServerProtection uses it".into(),
        1 => "1 ServerProtection uses it: delete it last, because deletions in Azure need it".into(),
        count => {
            format!("{count} ServerProtections use it: delete it last, because deletions in Azure need it")
        }
    }
}

fn waits_for(finalizers: &[String], is_running: bool) -> Option<String> {
    let foreign: Vec<_> = finalizers
        .iter()
        .filter(|finalizer| *finalizer != FINALIZER)
        .map(String::as_str)
        .collect();
    let ours = finalizers.iter().any(|finalizer| finalizer == FINALIZER) && !is_running;
    match (ours, foreign.is_empty()) {
        (false, true) => None,
        (true, true) => Some(format!("a running controller, which removes {FINALIZER}")),
        (false, false) => Some(format!("whoever set {}", foreign.join(", "))),
        (true, false) => Some(format!(
            "a running controller, which removes {FINALIZER}, and whoever set {}",
            foreign.join(", ")
        )),
    }
}

fn steps(objects: &[Outcome], facts: &Facts, is_running: bool, deleting: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    let named = |object: &Outcome| format!("{} -n {}", object.name, object.namespace);
    let retained: Vec<_> = objects
        .iter()
        .filter(|object| object.azure == Effect::ConnectorDeleted && !object.deleting)
        .map(|object| {
            let patch = r#"'{"spec":{"deletionPolicy":"Retain"}}'"#;
            format!(
                "kubectl patch securityconnector {} --type=merge -p {patch}",
                named(object)
            )
        })
        .collect();
    if !retained.is_empty() {
        let title =
            "Keep the connectors in Azure. If Git or Helm manages them, change deletionPolicy there instead";
        steps.push(Step::new(title, retained));
    }
    let stuck: Vec<_> = objects.iter().filter(|object| object.deleting).collect();
    if !stuck.is_empty() && is_running {
        let force = |object: &&Outcome| {
            format!(
                "kubectl annotate securityconnector {} {}=true --overwrite",
                named(object),
                annotations::FORCE_REMOVE
            )
        };
        let title = "Wait for the deletions that are in progress: the controller ends each one within 15 minutes. To end one at once and keep its connector in Azure";
        let ours = stuck
            .iter()
            .filter(|object| object.finalizers.iter().any(|one| one == FINALIZER));
        steps.push(Step::new(title, ours.map(force)));
    } else if !stuck.is_empty() || (!is_running && objects.iter().any(|object| object.waits_for.is_some())) {
        let title = "No controller is running: start it, so that it removes the finalizers. Or remove them yourself; the connectors then stay in Azure";
        let waiting = objects
            .iter()
            .filter(|object| object.finalizers.iter().any(|one| one == FINALIZER));
        let remove = |object: &Outcome| {
            let kept: Vec<_> = object.finalizers.iter().filter(|one| *one != FINALIZER).collect();
            let patch = serde_json::json!({"metadata": {"finalizers": kept}});
            format!(
                "kubectl patch securityconnector {} --type=merge -p '{patch}'",
                named(object)
            )
        };
        steps.push(Step::new(title, waiting.map(remove)));
    }
    if !steps.is_empty() {
        let again = match &facts.namespace {
            Some(namespace) => format!("serverprotection uninstall --check --namespace {namespace}"),
            None => "serverprotection uninstall --check".to_owned(),
        };
        steps.push(Step::new(
            "Check again; continue when the exit code is 0",
            [again],
        ));
    }
    steps.extend(in_order(objects, facts, deleting));
    steps
}

/// The deletions, each kind before what it needs.
fn in_order(objects: &[Outcome], facts: &Facts, deleting: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    let place = facts
        .namespace
        .as_ref()
        .map_or("--all-namespaces".to_owned(), |name| format!("-n {name}"));
    let kinds = crate::cluster::KINDS
        .iter()
        .filter(|(kind, _)| objects.iter().any(|object| object.kind == *kind));
    let commands: Vec<_> = kinds
        .map(|(kind, plural)| match *kind {
            CLUSTER_CREDENTIAL => format!("kubectl delete {plural} --all"),
            _ => format!("kubectl delete {plural} --all {place}"),
        })
        .collect();
    if !commands.is_empty() {
        let title = "Delete the objects in this order, while the controller runs";
        steps.push(Step::new(title, commands));
    }
    if facts.namespace.is_some() {
        return steps;
    }
    if !facts.definitions.is_empty() || !facts.controllers.is_empty() {
        let title =
            "When no object is left, delete the controller, its roles and policies, and the definitions";
        steps.push(Step::new(title, ["kubectl delete -k deploy/base".to_owned()]));
    }
    if deleting {
        let wait = facts.definitions.iter().filter(|(_, deleting)| *deleting);
        let wait = wait.map(|(name, _)| format!("kubectl wait --for=delete crd/{name} --timeout=15m"));
        let title = "Definitions are being deleted. Do not install again before they are gone: the new ones would be deleted, too";
        steps.push(Step::new(title, wait));
    }
    steps
}
