//! The resource providers that the Azure Arc agent needs.

use serde_json::json;
use serverprotection_api::Mode;

use super::super::{
    arc_providers::ArcProvider,
    changes::Action,
    decide::{Decision, Situation, needs_intent},
    expected::ObservedValue,
    field::ConnectorField,
    samples::{Object, aws, failure, shapes},
};
use crate::{azure_error::ErrorClass, server_protection::observed::RegistrationState};

fn without(spec: serverprotection_api::SecurityConnectorSpec, missing: &[ArcProvider]) -> Object {
    let mut object = Object::new(spec);
    for provider in missing {
        object
            .arc_providers
            .insert(*provider, RegistrationState::NotRegistered);
    }
    object
}

fn registers(decision: &Decision) -> Vec<ArcProvider> {
    let actions = decision.changes.iter().map(|change| &change.action);
    actions
        .filter_map(|action| match action {
            Action::RegisterProvider(provider) => Some(*provider),
            _ => None,
        })
        .collect()
}

#[test]
fn missing_providers_are_registered_after_the_connector_is_written() {
    let missing = [ArcProvider::GuestConfiguration, ArcProvider::HybridConnectivity];
    for (shape, spec) in shapes() {
        let mut object = without(spec, &missing);
        let decision = object.write();
        assert_eq!(decision.situation, Situation::Writing, "{shape}");
        assert_eq!(registers(&decision), []);
        object.reason("ProviderRegistered", "False", "NotRegistered");
        let decision = object.write();
        assert_eq!(registers(&decision), missing, "{shape}");
        assert!(!needs_intent(&decision), "{shape}: no status write before");
        object
            .expect("True", "InSync", "")
            .reason("ProviderRegistered", "False", "Registering");
        assert!(!object.wait.is_zero(), "{shape}: nothing to read back at once");
        assert_eq!(registers(&object.write()), []);
        object.reason("ProviderRegistered", "False", "Registering");
        object.arc_providers = Object::new(aws(json!({}))).arc_providers;
        object.write();
        object.reason("ProviderRegistered", "True", "Registered");
    }
}

#[test]
fn a_missing_right_is_a_condition_and_stalls_nothing() {
    let mut object = without(aws(json!({})), &[ArcProvider::HybridCompute]);
    object.write();
    let denied = failure(
        ErrorClass::Permission(Some("Microsoft.HybridCompute/register/action".into())),
        "AuthorizationFailed",
        "POST providers/Microsoft.HybridCompute/register",
    );
    let decision = object.fail(denied.clone());
    assert_eq!(registers(&decision), [ArcProvider::HybridCompute]);
    object
        .expect("True", "InSync", "")
        .secondary("")
        .reason("ProviderRegistered", "False", "MissingPermission")
        .reason("PermissionsSufficient", "True", "Sufficient")
        .reason("ConnectorConfigured", "True", "Configured");
    let message = object.condition("ProviderRegistered").2;
    assert!(
        message.contains("az provider register -n Microsoft.HybridCompute"),
        "{message}"
    );
    assert!(
        message.contains("Microsoft.HybridCompute/register/action"),
        "{message}"
    );
    // Drift is repaired as before, and the next attempt changes no status.
    let before = object.status.clone();
    object.fail(denied);
    assert_eq!(object.status, before);
    object.set_in_azure(ConnectorField::ScanInterval, ObservedValue::Hours(12));
    assert_eq!(object.write().situation, Situation::Writing);
}

#[test]
fn nothing_is_registered_in_mode_observe_or_if_the_protection_only_reports() {
    let mut object = without(aws(json!({})), &[ArcProvider::Compute]);
    object.write();
    object.protection.as_mut().unwrap().registers = false;
    assert_eq!(registers(&object.write()), []);
    object
        .expect("True", "InSync", "")
        .reason("ProviderRegistered", "False", "NotRegistered");
    let message = object.condition("ProviderRegistered").2;
    assert!(
        message.contains("az provider register -n Microsoft.Compute"),
        "{message}"
    );
    object.protection.as_mut().unwrap().mode = Mode::Observe;
    assert_eq!(object.write().changes, []);
    object.reason("ProviderRegistered", "False", "NotRegistered");
}

#[test]
fn without_the_agent_no_provider_is_needed() {
    for state in ["Disabled", "Unmanaged"] {
        let spec = aws(json!({"autoProvisioning": {"arcAgent": {"state": state}}}));
        let mut object = without(spec, &ArcProvider::ALL);
        object.write();
        assert_eq!(registers(&object.write()), [], "{state}");
        object.reason("ProviderRegistered", "True", "NotNeeded");
    }
}
