//! Long-running operations on extensions. Their end is known when they begin.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    machine::{KEPT, Kind, Moment},
    spelled,
};
use crate::state::Subscription;

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Work {
    Create,
    Update,
    Delete,
}

/// An operation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Operation {
    pub(crate) kind: Kind,
    pub(crate) work: Work,
    /// Key of the machine.
    pub(crate) machine: String,
    /// Name of the extension.
    pub(crate) extension: String,
    pub(crate) begin: Moment,
    pub(crate) end: Moment,
    /// Code and message of a failure.
    pub(crate) error: Option<(String, String)>,
}

impl Operation {
    /// The document at the `Azure-AsyncOperation` URL.
    pub(crate) fn status(&self, path: &str, name: &str, at: Moment, resource: Option<Value>) -> Value {
        let over = at >= self.end;
        let status = match (&self.error, over) {
            (_, false) => "InProgress",
            (Some(_), true) => "Failed",
            (None, true) => "Succeeded",
        };
        let mut body = json!({"id": path, "name": name, "status": status, "startTime": spelled(self.begin)});
        if let (Some(body), true) = (body.as_object_mut(), over) {
            body.insert("endTime".into(), json!(spelled(self.end)));
            if let Some((code, message)) = &self.error {
                body.insert("error".into(), json!({"code": code, "message": message}));
            } else if let Some(resource) = resource {
                body.insert("properties".into(), resource);
            }
        }
        body
    }
}

impl Subscription {
    /// Begins an operation and returns its id.
    pub(crate) fn begin_operation(&mut self, operation: Operation) -> String {
        let id = uuid::Uuid::new_v4().to_string();
        let kept = operation.begin - KEPT;
        let operations = &mut self.fleet.operations;
        operations.retain(|_, old| old.end > kept);
        operations.insert(id.clone(), operation);
        id
    }
}
