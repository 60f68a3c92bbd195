//! Reads and writes of one security connector (docs/azure-api.md 4). Each write checks first that its permit still
//! holds.

pub(crate) mod cache;
pub(crate) mod id;
mod merge;
pub(crate) mod parse;
pub(crate) mod place;
mod single_flight;
#[cfg(test)]
mod tests;
mod visible;

use futures::future::OptionFuture;
use serverprotection_core::{
    azure_error::{AzureError, ErrorClass},
    gate::WritePermit,
    reading::ReadResult,
    security_connector::{
        arc_providers::ArcProvider,
        changes::{Action, Change},
        decide::Outcome,
        desired::Target,
        observed::{Connector, Observed},
        reads::Reads,
    },
    server_protection::observed::RegistrationState,
};

use self::{id::ConnectorId, single_flight::MaxAge};
use crate::{body::unreadable, principal::Session};

impl Session {
    /// Reads the connector and what `reads` selects. If the connector does not exist, also reads the resource group and
    /// the other connectors, which its creation depends on.
    pub(crate) async fn observe_connector(&self, target: &Target, reads: &Reads) -> Observed {
        let id = match ConnectorId::of(target) {
            Ok(id) => id,
            Err(failure) => {
                return Observed {
                    connector: Some(Err(failure)),
                    ..Observed::nothing()
                };
            }
        };
        let age = if reads.fresh { MaxAge::Fresh } else { MaxAge::Any };
        let (connector, resource_group, others, health, permissions, arc_providers) = tokio::join!(
            self.arm.connector(&id),
            OptionFuture::from(reads.resource_group.then(|| self.group_of(&id))),
            OptionFuture::from(reads.others.then(|| self.other_connectors(&id.subscription, age))),
            OptionFuture::from(reads.health.then(|| self.arm.connector_health(&id))),
            OptionFuture::from(
                reads
                    .permissions
                    .then(|| self.permissions_on(&id.subscription, age))
            ),
            OptionFuture::from(
                reads
                    .arc_providers
                    .then(|| self.arc_providers_of(&id.subscription, age))
            ),
        );
        let absent = matches!(connector, Ok(None));
        let observed = Observed {
            credential: Ok(()),
            connector: Some(connector),
            resource_group,
            others,
            // A connector that does not exist has no health.
            health: health.filter(|_| !absent),
            permissions,
            arc_providers,
        };
        if absent {
            self.complete(&id, observed, age).await
        } else {
            observed
        }
    }

    /// Reads what creating the connector depends on, unless it was read already.
    async fn complete(&self, id: &ConnectorId, observed: Observed, age: MaxAge) -> Observed {
        let missing = (observed.resource_group.is_none(), observed.others.is_none());
        let (resource_group, others) = tokio::join!(
            OptionFuture::from(missing.0.then(|| self.group_of(id))),
            OptionFuture::from(missing.1.then(|| self.other_connectors(&id.subscription, age))),
        );
        Observed {
            resource_group: observed.resource_group.or(resource_group),
            others: observed.others.or(others),
            ..observed
        }
    }

    /// Reads the connector with a resource id; `Ok(None)` if it does not exist. For deletions, which have only the id.
    pub(crate) async fn read_connector(&self, id: &str) -> ReadResult<Option<Connector>> {
        self.arm.connector(&ConnectorId::read(id)?).await
    }

    /// Makes the changes in order, and stops at the first error or when the permit ends. Writes of one connector are
    /// serialized. The outcome contains the changes that were made, and the one that failed with its error.
    pub(crate) async fn apply_connector(
        &self,
        target: &Target,
        changes: &[Change],
        permit: &WritePermit,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        if changes.is_empty() {
            return outcome;
        }
        let _lock = self.locks.connector(&target.id()).await;
        for change in changes {
            // The permit may have ended while this waited for the lock or for the previous write.
            if !permit.holds() {
                break;
            }
            match self.write_connector(target, &change.action, permit).await {
                Ok(Written::Done(answer)) => {
                    outcome.response = answer.map(|answer| *answer).or(outcome.response);
                    outcome.done.push(change.clone());
                }
                Ok(Written::PermitEnded) => break,
                Err(failure) => {
                    outcome.failed = Some((change.clone(), failure));
                    break;
                }
            }
        }
        outcome
    }

    async fn write_connector(
        &self,
        target: &Target,
        action: &Action,
        permit: &WritePermit,
    ) -> Result<Written, AzureError> {
        let id = ConnectorId::of(target)?;
        match action {
            Action::CreateResourceGroup { name, location } => {
                self.create_resource_group(&id.subscription, name, location, permit)
                    .await
            }
            Action::PutConnector(write) => {
                let body = merge::body(target, write).ok_or_else(not_read)?;
                let answer = self.arm.put_connector(&id, &body, permit).await?;
                if let Some(connector) = &answer {
                    self.amend_list(&id, Some(connector)).await;
                }
                Ok(Written::Done(answer.map(Box::new)))
            }
            Action::RegisterProvider(provider) => {
                self.register_provider(&id.subscription, *provider, permit).await
            }
        }
    }

    /// Creates a resource group unless it exists: a PUT of an existing group would remove its tags. The lock lets one
    /// of several connectors create their common group.
    async fn create_resource_group(
        &self,
        subscription: &str,
        name: &str,
        location: &str,
        permit: &WritePermit,
    ) -> Result<Written, AzureError> {
        let _lock = self.locks.resource_group(subscription, name).await;
        if self.arm.resource_group(subscription, name).await? {
            return Ok(Written::Done(None));
        }
        if !permit.holds() {
            return Ok(Written::PermitEnded);
        }
        self.arm
            .put_resource_group(subscription, name, location, permit)
            .await?;
        Ok(Written::Done(None))
    }

    /// Registers a resource provider, unless another connector of the subscription just did.
    async fn register_provider(
        &self,
        subscription: &str,
        provider: ArcProvider,
        permit: &WritePermit,
    ) -> Result<Written, AzureError> {
        let _lock = self.locks.registration(subscription, provider.namespace()).await;
        let known = self.arc_providers_of(subscription, MaxAge::Any).await?;
        if known.get(&provider) != Some(&RegistrationState::NotRegistered) {
            return Ok(Written::Done(None));
        }
        if !permit.holds() {
            return Ok(Written::PermitEnded);
        }
        self.arm
            .register_arc_provider(subscription, provider, permit)
            .await?;
        self.amend_arc_provider(subscription, provider).await;
        Ok(Written::Done(None))
    }

    /// Deletes the connector with a resource id. Succeeds if it does not exist.
    pub(crate) async fn delete_connector(&self, id: &str, permit: &WritePermit) -> Result<(), AzureError> {
        let id = ConnectorId::read(id)?;
        let _lock = self.locks.connector(&id.text()).await;
        if !permit.holds() {
            return Err(permit_ended());
        }
        self.arm.remove_connector(&id, permit).await?;
        // Otherwise a new connector of the account would still find this one.
        self.amend_list(&id, None).await;
        Ok(())
    }
}

/// The result of a write.
enum Written {
    /// It was made. The connector in Azure's response, if there is one.
    Done(Option<Box<Connector>>),
    PermitEnded,
}

/// The connector that a write changes does not come from Azure's response.
fn not_read() -> AzureError {
    let message = "the connector was not read before it was written";
    unreadable("PUT securityConnectors", message.into())
}

/// The process is about to end. The next process continues.
fn permit_ended() -> AzureError {
    AzureError {
        class: ErrorClass::Transient,
        code: "PermitEnded".into(),
        message: "this process is stopping and makes no further writes".into(),
        operation: "DELETE securityConnectors".into(),
        request_id: None,
        effect_unknown: false,
    }
}
