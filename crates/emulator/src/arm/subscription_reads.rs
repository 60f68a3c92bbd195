//! Small read-only resources: the caller's permissions, and the auto-provisioning of the retired agent.

use axum::http::Method;
use serde_json::{Value, json};

use super::{Call, Typed, refusals};
use crate::{
    answer::{Answer, ArmError},
    state::rbac,
};

/// The caller's permissions in the subscription, one item for each role assignment.
pub(super) fn permissions(call: &Call<'_>) -> Result<Answer, ArmError> {
    if call.request.method != Method::GET {
        return Err(refusals::no_method(call.request.method.as_str(), "permissions"));
    }
    let principal = call.world.principals.get(&call.caller.client_id);
    Ok(Answer::list(
        principal
            .into_iter()
            .flat_map(|principal| principal.assignments(call.subscription_id()))
            .map(rbac::permission)
            .collect(),
    ))
}

/// The Log Analytics agent is retired: its auto-provisioning is off and cannot be turned on.
pub(super) fn auto_provisioning(call: &Call<'_>, typed: &Typed) -> Result<Answer, ArmError> {
    if call.request.method != Method::GET {
        return Err(refusals::no_method(
            call.request.method.as_str(),
            "autoProvisioningSettings",
        ));
    }
    let kind = "Microsoft.Security/autoProvisioningSettings";
    let default: Value = json!({
        "id": format!("/subscriptions/{}/providers/{kind}/default", call.subscription_id()), "name": "default",
        "type": kind, "properties": {"autoProvision": "Off"},
    });
    match typed.name.as_deref() {
        None => Ok(Answer::list(vec![default])),
        Some(name) if name.eq_ignore_ascii_case("default") => Ok(Answer::ok(default)),
        Some(name) => Err(refusals::resource_not_found(kind, name, None)),
    }
}
