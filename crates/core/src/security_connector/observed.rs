//! What was read from Azure.

use std::{any::Any, collections::BTreeMap, fmt, sync::Arc};

use serverprotection_api::{Cloud, ConnectorIssue, Tier};

use super::{
    account::{ListedConnector, Membership},
    arc_providers::ArcProviders,
    expected::ObservedValue,
    field::ConnectorField,
};
use crate::{
    Timestamp,
    azure_error::AzureError,
    reading::{Permissions, ReadResult},
};

/// Everything that one reconcile read. `None`: not read by this reconcile.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// Whether Entra issued a token; if not, nothing else was read.
    pub credential: Result<(), AzureError>,
    /// The connector; `Ok(None)` if there is none.
    pub connector: Option<ReadResult<Option<Connector>>>,
    /// Whether the resource group exists; needed only if there is no connector.
    pub resource_group: Option<ReadResult<bool>>,
    /// All connectors that the identity can see; needed if there is no connector, and otherwise read from time to
    /// time.
    pub others: Option<ReadResult<Vec<ListedConnector>>>,
    /// The connector's health reports.
    pub health: Option<ReadResult<Vec<HealthReport>>>,
    /// What the identity may do.
    pub permissions: Option<ReadResult<Permissions>>,
    /// The registrations of the resource providers that the Azure Arc agent needs.
    pub arc_providers: Option<ReadResult<ArcProviders>>,
}

impl Observed {
    /// Nothing was read.
    pub fn nothing() -> Self {
        Self {
            credential: Ok(()),
            connector: None,
            resource_group: None,
            others: None,
            health: None,
            permissions: None,
            arc_providers: None,
        }
    }

    /// Nothing was read, because Entra issued no token.
    pub fn without_credential(failure: AzureError) -> Self {
        Self {
            credential: Err(failure),
            ..Self::nothing()
        }
    }

    /// The most severe failure among the reads that decide about Ready: errors that need user action come first.
    /// Resource group and other connectors count only if there is no connector: creating one without knowing them
    /// could create a second one.
    pub fn failure(&self) -> Option<&AzureError> {
        let absent = matches!(self.connector, Some(Ok(None)));
        let group = self.resource_group.as_ref().and_then(|read| read.as_ref().err());
        let others = self.others.as_ref().and_then(|read| read.as_ref().err());
        let reads = [
            self.credential.as_ref().err(),
            self.connector.as_ref().and_then(|read| read.as_ref().err()),
            group.filter(|_| absent),
            others.filter(|_| absent),
        ];
        reads
            .into_iter()
            .flatten()
            .min_by_key(|failure| failure.class.is_transient())
    }

    /// The connector that was read, if there is one.
    pub fn found(&self) -> Option<&Connector> {
        self.connector.as_ref()?.as_ref().ok()?.as_ref()
    }
}

/// A health report of the connector (docs/azure-api.md 5.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthReport {
    /// `Connectivity`, …
    pub component: String,
    /// `Connectors`, …
    pub scope: String,
    /// `Healthy`, `NotHealthy`, `NotApplicable`.
    pub code: String,
    /// What is wrong.
    pub issues: Vec<ConnectorIssue>,
}

/// A connector.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Connector {
    /// Resource id.
    pub id: String,
    /// The region of its data, normalized as Azure compares it: `West Europe` is `westeurope`.
    pub location: Option<String>,
    /// Azure's `environmentName`.
    pub environment: String,
    /// The cloud, if it is AWS or GCP.
    pub cloud: Option<Cloud>,
    /// Azure's `hierarchyIdentifier`.
    pub account: String,
    /// Name of the account or project.
    pub account_name: Option<String>,
    /// How the account belongs to an organization.
    pub membership: Membership,
    /// End of the free trial.
    pub trial_end: Option<Timestamp>,
    /// The plan of the servers; `None` if Azure has an unknown plan.
    pub tier: Option<Tier>,
    /// The managed fields that have a value.
    pub values: BTreeMap<ConnectorField, ObservedValue>,
    /// The whole response.
    pub response: Response,
}

impl From<&Connector> for ListedConnector {
    fn from(connector: &Connector) -> Self {
        Self {
            id: connector.id.clone(),
            cloud: connector.cloud,
            account: connector.account.clone(),
            membership: connector.membership.clone(),
        }
    }
}

impl Connector {
    /// The value of a field. Keys of tags compare without case.
    pub fn value(&self, field: &ConnectorField) -> Option<&ObservedValue> {
        let ConnectorField::Tag(key) = field else {
            return self.values.get(field);
        };
        let mut values = self.values.iter();
        let found = values
            .find(|(found, _)| matches!(found, ConnectorField::Tag(name) if name.eq_ignore_ascii_case(key)));
        found.map(|(_, value)| value)
    }
}

/// The response that a connector was read from. Only the crate that read it knows its type: a write sends back the parts
/// that are not managed as they were read.
#[derive(Clone)]
pub struct Response(Arc<dyn Any + Send + Sync>);

impl Response {
    /// Keeps a response.
    pub fn new<T: Any + Send + Sync>(response: T) -> Self {
        Self(Arc::new(response))
    }

    /// The response, if it has this type.
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

impl Default for Response {
    /// No response.
    fn default() -> Self {
        Self::new(())
    }
}

impl PartialEq for Response {
    /// Whether both are the same response.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Response")
    }
}
