//! The checks that every request passes, in the order of the real service.

use super::{Context, Resource, Throttle, Typed, catalogue, refusals, route};
use crate::{
    answer::ArmError,
    state::{RegistrationState, SubscriptionState},
    switches::Switch,
};

/// Checks a request; returns the headers with what is left of the caller's limits. The token comes before, when the
/// caller becomes known, see [`super::authenticate`].
pub(super) fn admit(
    context: &Context<'_>,
    throttle: &mut Throttle,
) -> Result<Vec<(String, String)>, ArmError> {
    api_version(context)?;
    subscription(context)?;
    authorization(context)?;
    if let Resource::Typed(typed) = &context.route.resource {
        registration(context, typed)?;
        known_type(context, typed)?;
    }
    guards(context)?;
    throttle.take(context)
}

fn api_version(context: &Context<'_>) -> Result<(), ArmError> {
    let version = context.version();
    if version.is_empty() {
        return Err(refusals::missing_api_version());
    }
    if !catalogue::well_formed(&version) {
        return Err(refusals::invalid_api_version(&version));
    }
    Ok(())
}

fn subscription(context: &Context<'_>) -> Result<(), ArmError> {
    if context.route.subscription.is_none() {
        return Ok(());
    }
    let tenant = &context.subscription()?.tenant;
    if *tenant != context.caller.tenant {
        return Err(refusals::wrong_tenant(
            context.host,
            &context.caller.tenant,
            tenant,
        ));
    }
    Ok(())
}

fn authorization(context: &Context<'_>) -> Result<(), ArmError> {
    if context.route.subscription.is_none() || context.route.resource == Resource::Unknown {
        return Ok(());
    }
    // The URL of an operation is enough to read it: no role is checked.
    if matches!(&context.route.resource, Resource::Typed(typed) if typed.is_operation()) {
        return Ok(());
    }
    let action = context.route.action(&context.request.method);
    if context.may(&action) {
        return Ok(());
    }
    let scope = match &context.route.resource {
        Resource::Typed(Typed { name: Some(_), .. }) => context.request.path(),
        Resource::Typed(typed) => typed.scope.clone(),
        _ => format!("/subscriptions/{}", context.subscription_id()),
    };
    Err(refusals::authorization_failed(
        &context.caller.client_id,
        &context.caller.object_id,
        &action,
        &scope,
    ))
}

fn registration(context: &Context<'_>, typed: &Typed) -> Result<(), ArmError> {
    let Some(provider) = catalogue::provider(&typed.namespace) else {
        return Err(refusals::unknown_namespace(&typed.namespace));
    };
    if provider.free || context.route.subscription.is_none() {
        return Ok(());
    }
    let state = context.subscription()?.registration(
        provider.namespace,
        context.epoch_milliseconds(),
        context.registration_time(),
    );
    if state == RegistrationState::Registered {
        return Ok(());
    }
    let defender_answers = provider.namespace.eq_ignore_ascii_case("Microsoft.Security")
        && !context.world.switches.flipped(Switch::UnregisteredProvider);
    Err(if defender_answers {
        refusals::subscription_not_registered(&typed.kind)
    } else {
        refusals::not_registered(provider.namespace)
    })
}

fn known_type(context: &Context<'_>, typed: &Typed) -> Result<(), ArmError> {
    let version = context.version();
    let kind = catalogue::provider(&typed.namespace)
        .and_then(|provider| provider.kind(&typed.kind))
        .ok_or_else(|| refusals::unknown_type(&typed.namespace, &version))?;
    if kind.versions.contains(&version.as_str()) {
        Ok(())
    } else {
        Err(refusals::unknown_version(kind.name, &version, kind.versions))
    }
}

/// Refuses writes because of a disabled subscription, management locks and deny policies.
fn guards(context: &Context<'_>) -> Result<(), ArmError> {
    let verb = route::verb(&context.request.method);
    if verb == "read" || context.route.subscription.is_none() {
        return Ok(());
    }
    let subscription = context.subscription()?;
    let path = context.request.path();
    if subscription.state == SubscriptionState::Disabled {
        return Err(refusals::read_only(&subscription.id));
    }
    let locked = match subscription.lock.as_deref() {
        Some("CanNotDelete") => verb == "delete",
        Some(_) => verb == "delete" || verb == "write",
        None => false,
    };
    if locked {
        return Err(refusals::locked(
            &path,
            verb,
            &format!("/subscriptions/{}", subscription.id),
        ));
    }
    match &subscription.deny_policy {
        Some(policy) if verb == "write" => {
            let name = path.rsplit('/').next().unwrap_or_default();
            Err(refusals::denied_by_policy(&subscription.id, name, policy))
        }
        _ => Ok(()),
    }
}
