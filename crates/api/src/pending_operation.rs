//! A write to Azure whose result is not recorded yet. Both kinds.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A write to Azure that was started and whose result is not recorded yet.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PendingOperation {
    /// PutPlan, CreateConnector, PutConnector or DeleteConnector.
    #[serde(rename = "type")]
    pub type_: String,
    /// Generation of the spec that the write is for.
    pub generation: i64,
    /// When the write was started.
    pub start_time: Time,
    /// Correlation id that was sent to Azure with the write. Azure's activity log shows it.
    pub correlation_id: String,
}

/// The types of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationType {
    /// Write the plan of a subscription.
    PutPlan,
    /// Write a connector that did not exist before.
    CreateConnector,
    /// Write an existing connector.
    PutConnector,
    /// Delete a connector.
    DeleteConnector,
}

impl OperationType {
    /// The text in status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PutPlan => "PutPlan",
            Self::CreateConnector => "CreateConnector",
            Self::PutConnector => "PutConnector",
            Self::DeleteConnector => "DeleteConnector",
        }
    }
}

impl PendingOperation {
    /// Whether this is an operation of the type.
    pub fn is(&self, type_: OperationType) -> bool {
        self.type_ == type_.as_str()
    }
}
