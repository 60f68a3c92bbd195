//! `status.display`: text for the columns of kubectl get, which can neither join nor count. No decision reads it.

use serverprotection_api::{DisplayStatus, Mode, ServerProtectionSpec, ServerProtectionStatus};

use crate::{machines::verdict::Verdict, printable};

/// All columns, for a status about this spec.
pub(super) fn set(status: &mut ServerProtectionStatus, spec: &ServerProtectionSpec) {
    let name = status
        .subscription_name
        .as_deref()
        .unwrap_or(&spec.subscription_id);
    let mode = match spec.mode {
        _ if spec.suspend => "Suspended",
        Mode::Enforce => "Enforce",
        Mode::Observe => "Observe",
    };
    status.display = Some(DisplayStatus {
        subscription: Some(printable::one_line(name).into_owned()),
        mode: Some(mode.into()),
        ..DisplayStatus::default()
    });
    set_counts(status);
}

/// The columns that change between reconciles.
pub(super) fn set_counts(status: &mut ServerProtectionStatus) {
    let machines = status.machines.as_ref().map(|machines| {
        let protected = machines.verdicts.get(Verdict::Protected.as_str());
        format!("{}/{}", protected.unwrap_or(&0), machines.eligible)
    });
    let connectors = status.connectors.as_ref();
    let connectors = connectors.map(|connectors| format!("{}/{}", connectors.ready, connectors.total));
    status.display = Some(DisplayStatus {
        machines,
        connectors,
        ..status.display.take().unwrap_or_default()
    });
}
