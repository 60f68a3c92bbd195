//! `Microsoft.Security/settings`: the Defender for Endpoint integration and its opt-ins.

use axum::http::Method;
use serde_json::{Value, json};

use super::{Call, Typed, refusals};
use crate::{
    answer::{Answer, ArmError},
    state::{SETTINGS, Subscription},
    switches::Switch,
};

pub(super) fn answer(call: &mut Call<'_>, typed: &Typed) -> Result<Answer, ArmError> {
    let method = call.request.method.clone();
    let Some(name) = &typed.name else {
        if method != Method::GET {
            return Err(refusals::no_method(method.as_str(), "settings"));
        }
        let subscription = call.subscription()?;
        return Ok(Answer::list(
            SETTINGS
                .iter()
                .map(|(name, kind)| described(subscription, name, kind))
                .collect(),
        ));
    };
    let (name, kind) = SETTINGS
        .into_iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .ok_or_else(|| refusals::resource_not_found("Microsoft.Security/settings", name, None))?;
    match method {
        Method::GET => {}
        Method::PUT => put(call, name, kind)?,
        _ => return Err(refusals::no_method(method.as_str(), "settings")),
    }
    Ok(Answer::ok(described(call.subscription()?, name, kind)))
}

fn put(call: &mut Call<'_>, name: &str, kind: &str) -> Result<(), ArmError> {
    let body = call.body()?;
    let sent = body.get("kind").and_then(Value::as_str).unwrap_or_default();
    if !sent.eq_ignore_ascii_case(kind) {
        let code = call.world.switches.answer(Switch::SettingsKindMismatch);
        return Err(ArmError::bad_request(
            code,
            format!("The kind \"{sent}\" does not fit the setting '{name}':\r\nexpected \"{kind}\"."),
        ));
    }
    let enabled = body
        .pointer("/properties/enabled")
        .and_then(Value::as_bool)
        .ok_or_else(|| {
            refusals::invalid_content("Required property 'properties.enabled' not found in JSON")
        })?;
    call.subscription_mut()?.set_setting(name, enabled);
    Ok(())
}

fn described(subscription: &Subscription, name: &str, kind: &str) -> Value {
    json!({
        "id": format!("/subscriptions/{}/providers/Microsoft.Security/settings/{name}", subscription.id),
        "name": name, "type": "Microsoft.Security/settings", "kind": kind,
        "properties": {"enabled": subscription.setting(name)},
    })
}
