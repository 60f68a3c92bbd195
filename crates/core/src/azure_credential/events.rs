//! The events of an `AzureCredential`.

use serverprotection_api::AzureCredentialStatus;

use crate::{
    conditions::{ConditionType, get, is_true},
    events::{Event, of_reconcile},
};

/// An event when Entra refuses the credential, and when it works again. The first token is no event: every object that
/// uses the credential reports that it is Ready.
pub fn events(before: &AzureCredentialStatus, after: &AzureCredentialStatus) -> Vec<Event> {
    let first = get(&before.conditions, ConditionType::Ready).is_none();
    if first && is_true(&after.conditions, ConditionType::Ready) {
        return Vec::new();
    }
    of_reconcile(&[], &before.conditions, &after.conditions)
}
