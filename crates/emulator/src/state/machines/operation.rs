//! Long-running operations on extensions. Their end is known when they begin.

use serde::{Deserialize, Serialize};

use super::machine::{KEPT, Kind, Moment};
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
