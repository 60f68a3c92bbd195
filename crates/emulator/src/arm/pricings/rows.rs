//! The plans of subscriptions and single machines as rows of Resource Graph.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    render::View,
    resource::{self, PLAN},
};
use crate::state::{PLAN_NAMES, Subscription, World};

/// Calls back with a row for each plan.
pub(crate) fn pricing_rows(world: &World, subscription: &Subscription, each: &mut dyn FnMut(Value)) {
    let kind = json!("microsoft.security/pricings");
    let view = View::indexed(world);
    for name in PLAN_NAMES {
        let mut row = view.plan(subscription, name, &BTreeMap::new());
        if let Some(row) = row.as_object_mut() {
            row.insert("type".into(), kind.clone());
        }
        each(row);
    }
    for machine in subscription.resource_plans.keys() {
        let group = machine
            .split("/resourcegroups/")
            .nth(1)
            .and_then(|rest| rest.split('/').next());
        each(json!({
            "id": format!("{machine}/providers/Microsoft.Security/pricings/{PLAN}"), "name": PLAN, "type": kind,
            "resourceGroup": group, "properties": resource::properties(&view, subscription, machine),
        }));
    }
}
