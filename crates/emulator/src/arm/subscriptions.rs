//! `/subscriptions`, `/tenants` and locations.

use serde_json::{Value, json};

use super::{Call, catalogue::LOCATIONS};
use crate::{
    answer::{Answer, ArmError},
    state::Subscription,
};

/// Subscriptions of the token's tenant on which the caller has any role.
pub(super) fn list(call: &Call<'_>) -> Answer {
    let Some(principal) = call.world.principals.get(&call.caller.client_id) else {
        return Answer::list(Vec::new());
    };
    let visible: Vec<Value> = call
        .world
        .subscriptions
        .values()
        .filter(|subscription| subscription.tenant == call.caller.tenant)
        .filter(|subscription| principal.assignments(&subscription.id).next().is_some())
        .map(described)
        .collect();
    let count = visible.len();
    Answer::ok(json!({"value": visible, "count": {"type": "Total", "value": count}}))
}

pub(super) fn get(call: &Call<'_>) -> Result<Answer, ArmError> {
    Ok(Answer::ok(described(call.subscription()?)))
}

pub(super) fn tenants(call: &Call<'_>) -> Answer {
    let own = call.world.tenants.get_key_value(&call.caller.tenant);
    Answer::list(
        own.into_iter()
            .map(|(id, tenant)| {
                json!({
                    "id": format!("/tenants/{id}"), "tenantId": id, "displayName": tenant.display_name,
                    "defaultDomain": tenant.default_domain, "tenantType": "AAD",
                })
            })
            .collect(),
    )
}

pub(super) fn locations(call: &Call<'_>) -> Answer {
    Answer::list(
        LOCATIONS
            .iter()
            .map(|(name, display)| {
                json!({
                    "id": format!("/subscriptions/{}/locations/{name}", call.subscription_id()), "name": name,
                    "type": "Region", "displayName": display, "regionalDisplayName": display,
                    "metadata": {"regionType": "Physical", "regionCategory": "Recommended"},
                })
            })
            .collect(),
    )
}

fn described(subscription: &Subscription) -> Value {
    json!({
        "id": format!("/subscriptions/{}", subscription.id), "authorizationSource": "RoleBased",
        "managedByTenants": [], "subscriptionId": subscription.id, "tenantId": subscription.tenant,
        "displayName": subscription.display_name, "state": subscription.state,
        "subscriptionPolicies": {"locationPlacementId": "Public_2014-09-01",
                                 "quotaId": "PayAsYouGo_2014-09-01", "spendingLimit": "Off"},
    })
}
