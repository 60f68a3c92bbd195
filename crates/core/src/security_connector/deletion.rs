//! Deletion (I-8): it always ends, and it deletes only a connector that this object had in sync or was creating.

use std::time::Duration;

use serverprotection_api::{
    ConnectorDeletionPolicy, Mode, OperationType, SecurityConnectorSpec, SecurityConnectorStatus,
};

use super::{desired::account, observed::Connector};
use crate::{
    Timestamp,
    claims::{State, belongs_to},
    jiff::SignedDuration,
    message::Message,
    mode::mode_name,
    reading::ReadResult,
};

/// Everything that the deletion of an object depends on.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Uid of the object.
    pub uid: &'a str,
    /// The object's spec.
    pub spec: &'a SecurityConnectorSpec,
    /// The current status; it names the target even if the `ServerProtection` is gone.
    pub previous: &'a SecurityConnectorStatus,
    /// The annotation `serverprotection.dev/force-remove`.
    pub force: Option<&'a str>,
    /// Another object that proved its access and waits for the connector (R16), for users.
    pub other: Option<&'a str>,
    /// Whether the `ServerProtection` is in mode Observe now; `None` if it is gone.
    pub observes: Option<bool>,
    /// The result of reading the connector; `None` if it was not read yet.
    pub connector: Option<&'a ReadResult<Option<Connector>>>,
    /// Whether an attempt of this process has already failed. A controller that was down when the deadline passed
    /// still makes one attempt.
    pub tried: bool,
    /// The deletion's timestamp.
    pub requested: Timestamp,
    /// The deadline: the finalizer is removed if Azure has not deleted the connector within this time.
    pub deadline: Duration,
    /// The current time.
    pub now: Timestamp,
}

/// The next step of a deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// Remove the finalizer.
    RemoveFinalizer(RemovalReason),
    /// Read the connector, then decide again.
    Read {
        /// Its resource id.
        id: String,
    },
    /// DELETE the connector, then remove the finalizer.
    Delete {
        /// Its resource id.
        id: String,
    },
}

/// Why the finalizer is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemovalReason {
    /// `deletionPolicy: Retain`.
    Retained,
    /// The annotation `serverprotection.dev/force-remove` is set.
    Forced,
    /// Suspended objects and those in mode Observe never write.
    Withheld,
    /// This object never had the connector in sync, or it lost its claim.
    NeverHeld,
    /// Another object, as users see it, waits for it.
    OtherOwner(String),
    /// There is no connector.
    Gone,
    /// The connector of this name connects another account now.
    NotOurs,
    /// Azure did not delete the connector within this time: the connector stays.
    DeadlinePassed(Duration),
}

impl RemovalReason {
    /// Whether a connector stays although the deletion policy is Delete, which deserves a Warning.
    pub const fn leaves_behind(&self) -> bool {
        !matches!(self, Self::Retained | Self::Gone)
    }

    /// The text for the event and the status.
    pub fn describe(&self) -> Message {
        match self {
            Self::Retained => Message::new("The connector stays in Azure, because deletionPolicy is Retain"),
            Self::Forced => {
                Message::new("The connector stays in Azure, because the annotation serverprotection.dev/force-remove is set")
            }
            Self::Withheld => {
                Message::new("The connector stays in Azure, because the object is suspended or in mode Observe")
            }
            Self::NeverHeld => Message::new(
                "The connector stays in Azure as it is, because this object never had it in sync",
            ),
            Self::OtherOwner(holder) => {
                Message::new(format!("The connector stays in Azure, because {holder} waits for it"))
            }
            Self::Gone => Message::new("The connector is deleted"),
            Self::NotOurs => Message::new(
                "The connector stays in Azure, because the connector of this name connects another account now",
            ),
            Self::DeadlinePassed(deadline) => Message::new(format!(
                "The connector stays in Azure and the account stays connected, because Azure did not delete it within {}",
                words(*deadline)
            ))
            .action("Delete the connector in Azure"),
        }
    }
}

/// Whether the object needs the finalizer.
pub fn needs_finalizer(spec: &SecurityConnectorSpec) -> bool {
    spec.deletion_policy == ConnectorDeletionPolicy::Delete
}

/// Decides the next step for an object that is being deleted. Pure, and defined for every input; called again until
/// the finalizer is removed.
pub fn deletion(input: &Input<'_>) -> Deletion {
    match ready_to_delete(input) {
        Err(why) => Deletion::RemoveFinalizer(why),
        Ok(id) => about_connector(input, id),
    }
}

/// Whether the deadline of a deletion has passed.
pub fn is_overdue(requested: Timestamp, deadline: Duration, now: Timestamp) -> bool {
    let deadline = SignedDuration::try_from(deadline).unwrap_or(SignedDuration::MAX);
    now.duration_since(requested) >= deadline
}

/// A deadline for users: `15 minutes`.
pub(super) fn words(deadline: Duration) -> String {
    match deadline.as_secs() {
        seconds if seconds % 60 == 0 => format!("{} minutes", seconds / 60),
        seconds => format!("{seconds} seconds"),
    }
}

fn ready_to_delete(input: &Input<'_>) -> Result<String, RemovalReason> {
    let claim = input.previous.claim.as_ref();
    let claim = claim.filter(|claim| belongs_to(claim, input.uid));
    let holds = State::of(claim).occupies();
    let established = claim.is_some_and(|claim| claim.established_since.is_some());
    let held = holds && (established || is_creating(input.previous));
    let target = input.previous.target.as_ref();
    let observes = input
        .observes
        .unwrap_or_else(|| target.is_some_and(|target| target.mode == mode_name(Mode::Observe)));
    let id = target.map(|target| target.id.clone());
    match id {
        _ if input.force.is_some_and(|force| force.trim() == "true") => Err(RemovalReason::Forced),
        _ if !needs_finalizer(input.spec) => Err(RemovalReason::Retained),
        _ if input.spec.suspend || observes => Err(RemovalReason::Withheld),
        Some(id) if held => match input.other {
            Some(other) => Err(RemovalReason::OtherOwner(other.into())),
            None => Ok(id),
        },
        _ => Err(RemovalReason::NeverHeld),
    }
}

fn about_connector(input: &Input<'_>, id: String) -> Deletion {
    let overdue = input.tried && is_overdue(input.requested, input.deadline, input.now);
    match input.connector {
        Some(Ok(None)) => Deletion::RemoveFinalizer(RemovalReason::Gone),
        Some(Ok(Some(connector)))
            if connector.cloud != Some(input.spec.type_) || connector.account != account(input.spec) =>
        {
            Deletion::RemoveFinalizer(RemovalReason::NotOurs)
        }
        _ if overdue => Deletion::RemoveFinalizer(RemovalReason::DeadlinePassed(input.deadline)),
        Some(Ok(Some(_))) => Deletion::Delete { id },
        _ => Deletion::Read { id },
    }
}

/// Whether status records a creation of the connector with an unknown result (I-6): an existing connector may then be
/// this object's own. A DELETE was recorded only after this was decided before.
fn is_creating(status: &SecurityConnectorStatus) -> bool {
    let ours = [OperationType::CreateConnector, OperationType::DeleteConnector];
    let pending = status.pending_operation.as_ref();
    pending.is_some_and(|operation| ours.iter().any(|type_| operation.is(*type_)))
}
