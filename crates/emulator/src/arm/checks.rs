//! The checks that every request passes, in the order of the real service.

use super::{Call, Resource, Throttle, Typed, catalogue, refusals, route};
use crate::{
    answer::ArmError,
    state::{RegistrationState, SubscriptionState},
    switches::Switch,
};

/// Checks a request; returns the headers with what is left of the caller's limits. The token comes before, when the
/// caller becomes known, see [`super::authenticate`].
pub(super) fn admit(call: &Call<'_>, throttle: &mut Throttle) -> Result<Vec<(String, String)>, ArmError> {
    api_version(call)?;
    subscription(call)?;
    authorization(call)?;
    if let Resource::Typed(typed) = &call.route.resource {
        registration(call, typed)?;
        known_type(call, typed)?;
    }
    guards(call)?;
    throttle.take(call)
}

fn api_version(call: &Call<'_>) -> Result<(), ArmError> {
    let version = call.version();
    if version.is_empty() {
        return Err(refusals::missing_api_version());
    }
    if !catalogue::well_formed(&version) {
        return Err(refusals::invalid_api_version(&version));
    }
    Ok(())
}

fn subscription(call: &Call<'_>) -> Result<(), ArmError> {
    if call.route.subscription.is_none() {
        return Ok(());
    }
    let tenant = &call.subscription()?.tenant;
    if *tenant != call.caller.tenant {
        return Err(refusals::wrong_tenant(call.host, &call.caller.tenant, tenant));
    }
    Ok(())
}

fn authorization(call: &Call<'_>) -> Result<(), ArmError> {
    if call.route.subscription.is_none() || call.route.resource == Resource::Unknown {
        return Ok(());
    }
    // The URL of an operation is enough to read it: no role is checked.
    if matches!(&call.route.resource, Resource::Typed(typed) if typed.is_operation()) {
        return Ok(());
    }
    let action = call.route.action(&call.request.method);
    if call.may(&action) {
        return Ok(());
    }
    let scope = match &call.route.resource {
        Resource::Typed(Typed { name: Some(_), .. }) => call.request.path(),
        Resource::Typed(typed) => typed.scope.clone(),
        _ => format!("/subscriptions/{}", call.subscription_id()),
    };
    Err(refusals::authorization_failed(
        &call.caller.client_id,
        &call.caller.object_id,
        &action,
        &scope,
    ))
}

fn registration(call: &Call<'_>, typed: &Typed) -> Result<(), ArmError> {
    let Some(provider) = catalogue::provider(&typed.namespace) else {
        return Err(refusals::unknown_namespace(&typed.namespace));
    };
    if provider.free || call.route.subscription.is_none() {
        return Ok(());
    }
    let state = call.subscription()?.registration(
        provider.namespace,
        call.epoch_milliseconds(),
        call.registration_time(),
    );
    if state == RegistrationState::Registered {
        return Ok(());
    }
    let defender_answers = provider.namespace.eq_ignore_ascii_case("Microsoft.Security")
        && !call.world.switches.flipped(Switch::UnregisteredProvider);
    Err(if defender_answers {
        refusals::subscription_not_registered(&typed.kind)
    } else {
        refusals::not_registered(provider.namespace)
    })
}

fn known_type(call: &Call<'_>, typed: &Typed) -> Result<(), ArmError> {
    let version = call.version();
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
fn guards(call: &Call<'_>) -> Result<(), ArmError> {
    let verb = route::verb(&call.request.method);
    if verb == "read" || call.route.subscription.is_none() {
        return Ok(());
    }
    let subscription = call.subscription()?;
    let path = call.request.path();
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
