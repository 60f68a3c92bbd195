//! The events of an `AzureCredential`.

use serverprotection_api::AzureCredentialStatus;

use crate::{
    conditions::{ConditionType, get, is_true},
    events::{Event, of_reconcile, turned},
    message::Message,
    permissions::is_certificate,
};

/// An event when Entra refuses the credential, when the certificate of Entra is refused, and when it works again. The first token is no event: every object that
/// uses the credential reports that it is Ready.
pub fn events(before: &AzureCredentialStatus, after: &AzureCredentialStatus) -> Vec<Event> {
    let first = get(&before.conditions, ConditionType::Ready).is_none();
    if first && is_true(&after.conditions, ConditionType::Ready) {
        return Vec::new();
    }
    let mut all = of_reconcile(&[], &before.conditions, &after.conditions);
    let certificate = turned(&before.conditions, &after.conditions, ConditionType::Ready)
        .filter(|ready| is_certificate(&ready.reason));
    all.extend(certificate.map(|ready| {
        let note = Message::stored(&ready.message);
        Event::warning(&ready.reason, "Reconcile", &note)
    }));
    all
}
