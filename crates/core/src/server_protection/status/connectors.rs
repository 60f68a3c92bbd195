//! `status.connectors` and the condition `ConnectorsReady`.

use serverprotection_api::{ConnectorsStatus, ServerProtectionStatus};

use crate::{
    conditions::{ConditionStatus, ConditionType, Conditions, Reason},
    message::{Message, share},
    server_protection::connectors::Connectors,
};

/// Maximum number of connectors in the message.
const MOST_NAMES: usize = 5;

/// Sets both. Connectors do not affect Ready, because each has a condition Ready of its own.
pub(super) fn set(conditions: &mut Conditions, object: &mut ServerProtectionStatus, connectors: &Connectors) {
    let total = connectors.total;
    let ready = total.saturating_sub(connectors.not_ready.len());
    let count = |connectors: usize| i32::try_from(connectors).unwrap_or(i32::MAX);
    object.connectors = Some(ConnectorsStatus {
        total: count(total),
        ready: count(ready),
    });
    let (status, reason, message) = match (total, connectors.not_ready.as_slice()) {
        (0, _) => (
            ConditionStatus::True,
            Reason::NoConnectors,
            Message::new("No SecurityConnector refers to this object"),
        ),
        (_, []) => (
            ConditionStatus::True,
            Reason::AllReady,
            Message::new(format!(
                "{} Ready",
                share(count(total), count(total), "SecurityConnector")
            )),
        ),
        (_, not_ready) => {
            let first = not_ready.iter().take(MOST_NAMES);
            let mut names: Vec<_> = first
                .map(|connector| format!("{} ({})", connector.name, connector.reason))
                .collect();
            if let Some(more) = not_ready.len().checked_sub(MOST_NAMES).filter(|more| *more > 0) {
                names.push(format!("{more} more"));
            }
            let message = Message::new(format!(
                "{} Ready; not Ready",
                share(count(ready), count(total), "SecurityConnector")
            ))
            .cause(names.join(", "));
            (ConditionStatus::False, Reason::NotReady, message)
        }
    };
    conditions.set(ConditionType::ConnectorsReady, status, reason, &message);
}
