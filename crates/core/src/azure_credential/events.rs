//! The events of an `AzureCredential`.

use serverprotection_api::AzureCredentialStatus;

use crate::{
    conditions::{ConditionType, Reason, get, is_true},
    events::{Event, of_reconcile, turned},
    message::Message,
    permissions::is_certificate,
};

/// An event when Entra refuses the credential, when the certificate of Entra is refused, when the client certificate
/// expires soon, and when it works again. The first token is no event: every object that uses the credential reports
/// that it is Ready.
pub fn events(before: &AzureCredentialStatus, after: &AzureCredentialStatus) -> Vec<Event> {
    let ready = turned(&before.conditions, &after.conditions, ConditionType::Ready);
    if let Some(ready) = ready.filter(|ready| ready.reason == Reason::ClientCertificateExpiresSoon.as_str()) {
        let note = Message::stored(&ready.message);
        return vec![Event::warning(&ready.reason, "Reconcile", &note)];
    }
    let first = get(&before.conditions, ConditionType::Ready).is_none();
    if first && is_true(&after.conditions, ConditionType::Ready) {
        return Vec::new();
    }
    let mut all = of_reconcile(&[], &before.conditions, &after.conditions);
    let certificate = ready.filter(|ready| is_certificate(&ready.reason));
    all.extend(certificate.map(|ready| {
        let note = Message::stored(&ready.message);
        Event::warning(&ready.reason, "Reconcile", &note)
    }));
    all
}
