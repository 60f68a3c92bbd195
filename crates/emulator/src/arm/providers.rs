//! Resource providers of a subscription: description and registration.

use serde_json::{Value, json};

use super::{
    Context,
    catalogue::{self, Provider},
    refusals,
};
use crate::{
    answer::{Answer, ArmError},
    state::RegistrationState,
};

pub(super) fn list(context: &Context<'_>) -> Result<Answer, ArmError> {
    let all: Result<Vec<Value>, ArmError> = catalogue::providers()
        .iter()
        .map(|provider| described(context, provider))
        .collect();
    Ok(Answer::list(all?))
}

pub(super) fn get(context: &Context<'_>, namespace: &str) -> Result<Answer, ArmError> {
    Ok(Answer::ok(described(context, known(namespace)?)?))
}

/// Begins a registration. A registered provider does not change.
pub(super) fn register(context: &mut Context<'_>, namespace: &str) -> Result<Answer, ArmError> {
    change(
        context,
        namespace,
        RegistrationState::Registering,
        RegistrationState::Registered,
    )
}

pub(super) fn unregister(context: &mut Context<'_>, namespace: &str) -> Result<Answer, ArmError> {
    change(
        context,
        namespace,
        RegistrationState::Unregistering,
        RegistrationState::NotRegistered,
    )
}

fn change(
    context: &mut Context<'_>,
    namespace: &str,
    underway: RegistrationState,
    done: RegistrationState,
) -> Result<Answer, ArmError> {
    let provider = known(namespace)?;
    let (now, takes) = (context.epoch_milliseconds(), context.registration_time());
    let state = context
        .subscription()?
        .registration(provider.namespace, now, takes);
    if !provider.free && state != done && state != underway {
        context
            .subscription_mut()?
            .register(provider.namespace, underway, now);
    }
    Ok(Answer::ok(described(context, provider)?))
}

fn known(namespace: &str) -> Result<&'static Provider, ArmError> {
    catalogue::provider(namespace).ok_or_else(|| refusals::unknown_namespace(namespace))
}

fn described(context: &Context<'_>, provider: &Provider) -> Result<Value, ArmError> {
    let subscription = context.subscription()?;
    let state = if provider.free {
        RegistrationState::Registered
    } else {
        subscription.registration(
            provider.namespace,
            context.epoch_milliseconds(),
            context.registration_time(),
        )
    };
    Ok(json!({
        "id": format!("/subscriptions/{}/providers/{}", subscription.id, provider.namespace),
        "namespace": provider.namespace, "registrationState": state.name(),
        "registrationPolicy": if provider.free { "RegistrationFree" } else { "RegistrationRequired" },
        "resourceTypes": provider.resource_types(),
    }))
}
