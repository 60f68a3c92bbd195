//! `status.connectors` and the condition `ConnectorsReady`.

use serverprotection_api::{ConnectorsStatus, ServerProtectionStatus};

use crate::{
    conditions::{ConditionStatus, Conditions},
    server_protection::connectors::Connectors,
};

const TYPE: &str = "ConnectorsReady";
/// Connectors that the message names.
const MOST_NAMES: usize = 5;

/// Sets both. Connectors do not decide about Ready: each has one of its own.
pub(super) fn set(conditions: &mut Conditions, status: &mut ServerProtectionStatus, connectors: &Connectors) {
    let total = connectors.total;
    let ready = total.saturating_sub(connectors.not_ready.len());
    let count = |connectors: usize| i32::try_from(connectors).unwrap_or(i32::MAX);
    status.connectors = Some(ConnectorsStatus {
        summary: format!("{ready}/{total}"),
        total: count(total),
        ready: count(ready),
    });
    match (total, connectors.not_ready.as_slice()) {
        (0, _) => conditions.set(
            TYPE,
            ConditionStatus::True,
            "NoConnectors",
            "no SecurityConnector refers to this object",
        ),
        (_, []) => conditions.set(
            TYPE,
            ConditionStatus::True,
            "AllReady",
            format!("{total} of {total} SecurityConnectors are Ready"),
        ),
        (_, not_ready) => {
            let first = not_ready.iter().take(MOST_NAMES);
            let mut names: Vec<_> = first
                .map(|connector| format!("{} ({})", connector.name, connector.reason))
                .collect();
            if let Some(more) = not_ready.len().checked_sub(MOST_NAMES).filter(|more| *more > 0) {
                names.push(format!("{more} more"));
            }
            let message = format!(
                "{ready} of {total} SecurityConnectors are Ready; not Ready: {}",
                names.join(", ")
            );
            conditions.set(TYPE, ConditionStatus::False, "NotReady", message);
        }
    }
}
