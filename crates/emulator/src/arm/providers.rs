//! Resource providers of a subscription: description and registration.

use serde_json::{Value, json};

use super::{
    Call,
    catalogue::{self, Provider},
    refusals,
    route::Typed,
};
use crate::{
    answer::{Answer, ArmError},
    state::RegistrationState,
};

pub(super) fn list(call: &Call<'_>) -> Result<Answer, ArmError> {
    let all: Result<Vec<Value>, ArmError> = catalogue::providers()
        .iter()
        .map(|provider| described(call, provider))
        .collect();
    Ok(Answer::list(all?))
}

pub(super) fn get(call: &Call<'_>, namespace: &str) -> Result<Answer, ArmError> {
    Ok(Answer::ok(described(call, known(namespace)?)?))
}

/// `GET /providers/Microsoft.Authorization/providerOperations/{namespace}`: the actions that roles may contain.
pub(super) fn operations(typed: &Typed) -> Result<Answer, ArmError> {
    let provider = known(typed.name.as_deref().unwrap_or_default())?;
    let of_type = |name: &str| {
        let operation = |verb: &str| json!({"name": format!("{}/{name}/{verb}", provider.namespace), "isDataAction": false});
        let operations = ["read", "write", "delete"].map(operation);
        json!({"name": name, "operations": operations})
    };
    let resource_types: Vec<Value> = provider.types.iter().map(|type_| of_type(type_.name)).collect();
    Ok(Answer::ok(json!({
        "id": format!("/providers/Microsoft.Authorization/providerOperations/{}", provider.namespace),
        "name": provider.namespace, "type": "Microsoft.Authorization/providerOperations",
        "resourceTypes": resource_types, "operations": [],
    })))
}

/// Begins a registration. A registered provider does not change.
pub(super) fn register(call: &mut Call<'_>, namespace: &str) -> Result<Answer, ArmError> {
    change(
        call,
        namespace,
        RegistrationState::Registering,
        RegistrationState::Registered,
    )
}

pub(super) fn unregister(call: &mut Call<'_>, namespace: &str) -> Result<Answer, ArmError> {
    change(
        call,
        namespace,
        RegistrationState::Unregistering,
        RegistrationState::NotRegistered,
    )
}

fn change(
    call: &mut Call<'_>,
    namespace: &str,
    underway: RegistrationState,
    done: RegistrationState,
) -> Result<Answer, ArmError> {
    let provider = known(namespace)?;
    let (now, takes) = (call.epoch_milliseconds(), call.registration_time());
    let state = call.subscription()?.registration(provider.namespace, now, takes);
    if !provider.free && state != done && state != underway {
        call.subscription_mut()?
            .register(provider.namespace, underway, now);
    }
    Ok(Answer::ok(described(call, provider)?))
}

fn known(namespace: &str) -> Result<&'static Provider, ArmError> {
    catalogue::provider(namespace).ok_or_else(|| refusals::unknown_namespace(namespace))
}

fn described(call: &Call<'_>, provider: &Provider) -> Result<Value, ArmError> {
    let subscription = call.subscription()?;
    let state = if provider.free {
        RegistrationState::Registered
    } else {
        subscription.registration(
            provider.namespace,
            call.epoch_milliseconds(),
            call.registration_time(),
        )
    };
    Ok(json!({
        "id": format!("/subscriptions/{}/providers/{}", subscription.id, provider.namespace),
        "namespace": provider.namespace, "registrationState": state.name(),
        "registrationPolicy": if provider.free { "RegistrationFree" } else { "RegistrationRequired" },
        "resourceTypes": provider.resource_types(),
    }))
}
