//! `/subscriptions`, `/tenants` and locations.

use serde_json::{Value, json};

use super::{Context, catalogue::LOCATIONS};
use crate::{
    answer::{Answer, ArmError},
    state::Subscription,
};

/// Subscriptions of the token's tenant on which the caller has any role.
pub(super) fn list(context: &Context<'_>) -> Answer {
    let Some(principal) = context.world.principals.get(&context.caller.client_id) else {
        return Answer::list(Vec::new());
    };
    let visible: Vec<Value> = context
        .world
        .subscriptions
        .values()
        .filter(|subscription| subscription.tenant == context.caller.tenant)
        .filter(|subscription| principal.assignments(&subscription.id).next().is_some())
        .map(described)
        .collect();
    let count = visible.len();
    Answer::ok(json!({"value": visible, "count": {"type": "Total", "value": count}}))
}

pub(super) fn get(context: &Context<'_>) -> Result<Answer, ArmError> {
    Ok(Answer::ok(described(context.subscription()?)))
}

pub(super) fn tenants(context: &Context<'_>) -> Answer {
    let own = context.world.tenants.get_key_value(&context.caller.tenant);
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

pub(super) fn locations(context: &Context<'_>) -> Answer {
    Answer::list(
        LOCATIONS
            .iter()
            .map(|(name, display)| {
                json!({
                    "id": format!("/subscriptions/{}/locations/{name}", context.subscription_id()), "name": name,
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
