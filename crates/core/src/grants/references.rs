//! The subscriptions that a spec names in resource ids. The credential of the object reads them, or Azure does on its
//! behalf, so that each must be granted.

use serde_json::Value;
use serverprotection_api::{SecurityConnectorSpec, ServerProtectionSpec};

/// A subscription that a spec names beside the one that it protects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// The field, as users write it.
    pub field: &'static str,
    /// The id of the subscription in lower case; the whole text if it is no resource id, which nothing grants.
    pub subscription: String,
}

/// What the spec of a `ServerProtection` names.
pub fn of_protection(spec: &ServerProtectionSpec) -> Vec<Reference> {
    let mut found = Found::default();
    let monitoring = spec.plan.file_integrity_monitoring.as_ref();
    if let Some(id) = monitoring.and_then(|monitoring| monitoring.workspace_id.as_ref()) {
        found.id("plan.fileIntegrityMonitoring.workspaceId", id);
    }
    for workspace in &spec.workspaces {
        found.id("workspaces[].resourceId", &workspace.resource_id);
    }
    for id in spec.machines.exclude.iter().flat_map(|rule| &rule.ids) {
        found.id("machines.exclude[].ids", id);
    }
    // Azure's names for what this version does not know: any of them may be a resource id, or contain some.
    let properties = spec.plan.other_extensions.iter().flat_map(|one| &one.properties);
    for text in properties.flat_map(|(name, value)| [name, value]) {
        found.text("plan.otherExtensions[].properties", text);
    }
    found.0
}

/// What the spec of a `SecurityConnector` names.
pub fn of_connector(spec: &SecurityConnectorSpec) -> Vec<Reference> {
    let mut found = Found::default();
    let scope = spec.auto_provisioning.arc_agent.private_link_scope.as_ref();
    // An empty text removes the scope.
    if let Some(id) = scope.filter(|scope| !scope.is_empty()) {
        found.id("autoProvisioning.arcAgent.privateLinkScope", id);
    }
    found.0
}

/// What any spec may name, for one that this build cannot parse: every text counts.
pub fn of_any(spec: &Value) -> Vec<Reference> {
    fn walk(value: &Value, found: &mut Found) {
        match value {
            Value::String(text) => found.text("spec", text),
            Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
            Value::Object(members) => {
                for (name, value) in members {
                    found.text("spec", name);
                    walk(value, found);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let mut found = Found::default();
    walk(spec, &mut found);
    found.0
}

/// The subscription of a resource id, in lower case; the whole text if it is none, which nothing grants.
pub fn subscription_of(id: &str) -> String {
    let mut parts = id.trim_start_matches('/').split('/');
    match (parts.next(), parts.next()) {
        (Some(first), Some(subscription)) if first.eq_ignore_ascii_case(SEGMENT) => {
            subscription.to_lowercase()
        }
        _ => id.to_lowercase(),
    }
}

/// Each field and subscription once: a spec can have hundreds of ids of one subscription.
#[derive(Default)]
struct Found(Vec<Reference>);

impl Found {
    fn add(&mut self, field: &'static str, subscription: String) {
        let reference = Reference { field, subscription };
        if !self.0.contains(&reference) {
            self.0.push(reference);
        }
    }

    /// A text that must be a resource id.
    fn id(&mut self, field: &'static str, id: &str) {
        self.add(field, subscription_of(id));
    }

    /// A text that may contain resource ids.
    fn text(&mut self, field: &'static str, text: &str) {
        let text = text.to_lowercase();
        for rest in text.split(SEGMENT).skip(1) {
            let Some(id) = SEPARATORS.into_iter().find_map(|slash| rest.strip_prefix(slash)) else {
                continue;
            };
            let end = id.find(|c: char| !c.is_ascii_hexdigit() && c != '-');
            let id = end.map_or(id, |end| id.get(..end).unwrap_or_default());
            self.add(field, if id.is_empty() { rest } else { id }.to_owned());
        }
    }
}

/// The segment of a resource id before the subscription.
const SEGMENT: &str = "subscriptions";

/// What follows it: also as JSON and URLs may write it.
const SEPARATORS: [&str; 3] = ["/", "\\/", "%2f"];
