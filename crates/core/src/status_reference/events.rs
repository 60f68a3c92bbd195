//! Events about what was done or found. A condition that turns emits an event with the condition's reason.

use super::{
    EventEntry,
    Kind::{self, AzureCredential, SecurityConnector, ServerProtection},
};
use crate::reason::EventReason;

const ALL: &[Kind] = &[ServerProtection, SecurityConnector, AzureCredential];
const BOTH: &[Kind] = &[ServerProtection, SecurityConnector];
const PROTECTION: &[Kind] = &[ServerProtection];
const CONNECTOR: &[Kind] = &[SecurityConnector];

const fn entry(kinds: &'static [Kind], reason: EventReason, meaning: &'static str) -> EventEntry {
    EventEntry {
        kinds,
        reason,
        meaning,
    }
}

/// Every event, in the order of the page.
#[rustfmt::skip]
pub const EVENTS: &[EventEntry] = &[
    entry(BOTH, EventReason::ProviderRegistrationRequested, "The controller asked Azure to register a resource provider: `Microsoft.Security`, or one that the Azure Arc agent needs."),
    entry(PROTECTION, EventReason::PlanWritten, "The plan was written."),
    entry(PROTECTION, EventReason::PlanRepaired, "Drift of the plan was repaired."),
    entry(PROTECTION, EventReason::EndpointIntegrationWritten, "A setting of the integration was written."),
    entry(PROTECTION, EventReason::EndpointIntegrationRepaired, "Drift of a setting was repaired."),
    entry(PROTECTION, EventReason::VulnerabilityAssessmentWritten, "The vulnerability assessment setting was written."),
    entry(PROTECTION, EventReason::VulnerabilityAssessmentRepaired, "Drift of that setting was repaired."),
    entry(PROTECTION, EventReason::ConnectorsReady, "All connectors are Ready."),
    entry(PROTECTION, EventReason::ConnectorsNotReady, "A connector is no longer Ready."),
    entry(PROTECTION, EventReason::MachinesProtected, "The minimum of protected machines is reached."),
    entry(PROTECTION, EventReason::MachinesBelowMinimum, "The minimum is no longer reached."),
    entry(PROTECTION, EventReason::MachinesNotReadable, "The identity may not read all machines."),
    entry(PROTECTION, EventReason::MachineScanFailed, "A scan failed. Later consecutive failures emit no event."),
    entry(CONNECTOR, EventReason::ResourceGroupCreated, "The resource group was created."),
    entry(CONNECTOR, EventReason::ConnectorCreated, "The connector was created."),
    entry(CONNECTOR, EventReason::ConnectorWritten, "The connector was written."),
    entry(CONNECTOR, EventReason::ConnectorRepaired, "Drift of the connector was repaired."),
    entry(CONNECTOR, EventReason::CloudAuthenticationFailed, "Azure could not sign in to the account."),
    entry(CONNECTOR, EventReason::ConnectionNotHealthy, "Azure reports the connection as not healthy."),
    entry(CONNECTOR, EventReason::ConnectionHealthy, "The connection is healthy again."),
    entry(CONNECTOR, EventReason::DeletionWaits, "Azure did not delete the connector; the controller retries."),
    entry(CONNECTOR, EventReason::ConnectorDeleted, "The connector is deleted."),
    entry(CONNECTOR, EventReason::ConnectorRetained, "The connector stays in Azure, because `deletionPolicy` is Retain."),
    entry(CONNECTOR, EventReason::ConnectorLeftBehind, "The connector stays in Azure, although the policy is Delete; the note says why, and has its resource id."),
    entry(BOTH, EventReason::ClaimTaken, "The object is the owner now; another object was the owner before."),
    entry(BOTH, EventReason::ClaimLost, "The object is no longer the owner: its access was denied for too long while another object waited, or another object held the claim first."),
    entry(BOTH, EventReason::Suspended, "`spec.suspend` became true."),
    entry(BOTH, EventReason::Resumed, "`spec.suspend` is no longer true, and Azure is read again."),
    entry(BOTH, EventReason::ObservationFailed, "A read failed with a transient error. Later consecutive failures emit no event."),
    entry(BOTH, EventReason::WriteFailed, "A write failed with a transient error. Later consecutive failures emit no event."),
    entry(ALL, EventReason::InternalError, "A reconcile panicked. Later consecutive panics emit no event."),
];
