//! Plans on the wire. Unset properties are omitted; older api-versions have fewer properties.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::put::{Status, effective};
use crate::{
    arm::Call,
    state::{Plan, Subscription, Tier, World, replaced_by},
    switches::Switch,
};

/// How an api-version represents plans.
pub(super) struct View {
    version: String,
    failed_reads_enabled: bool,
}

impl View {
    pub(super) fn of(call: &Call<'_>) -> Self {
        Self {
            version: call.version(),
            failed_reads_enabled: !call.world.switches.flipped(Switch::FailedExtensionIsEnabled),
        }
    }

    /// As Resource Graph returns it.
    pub(super) fn indexed(world: &World) -> Self {
        Self {
            version: "2024-01-01".into(),
            failed_reads_enabled: !world.switches.flipped(Switch::FailedExtensionIsEnabled),
        }
    }

    fn since(&self, version: &str) -> bool {
        self.version.as_str() >= version
    }

    /// A plan of a subscription; `statuses` only after a PUT.
    pub(super) fn plan(
        &self,
        subscription: &Subscription,
        name: &str,
        statuses: &BTreeMap<String, Status>,
    ) -> Value {
        let plan = subscription.plan(name);
        let mut properties = self.common(subscription, name, &plan, statuses);
        if plan.tier == Tier::Free && self.since("2024-01-01") {
            properties.insert("resourcesCoverageStatus".into(), json!("NotCovered"));
        }
        if plan.tier == Tier::Standard && self.since("2024-01-01") {
            properties.insert("enforce".into(), json!(truth(plan.enforce)));
            properties.insert(
                "resourcesCoverageStatus".into(),
                json!(coverage(subscription, name, &plan)),
            );
        }
        if let Some(managed_by) = plan.managed_by.as_ref().filter(|_| self.since("2026-07-01")) {
            properties.insert("managedBy".into(), json!(managed_by));
            properties.insert("originatedFrom".into(), json!("M365"));
        }
        if let Some(successor) = replaced_by(name).filter(|_| self.since("2022-03-01")) {
            properties.insert("deprecated".into(), json!(true));
            properties.insert("replacedBy".into(), json!([successor]));
        }
        json!({
            "id": format!("/subscriptions/{}/providers/Microsoft.Security/pricings/{name}", subscription.id),
            "name": name, "type": "Microsoft.Security/pricings", "properties": properties,
        })
    }

    /// The common part of a subscription's plan and a machine's.
    pub(super) fn common(
        &self,
        subscription: &Subscription,
        name: &str,
        plan: &Plan,
        statuses: &BTreeMap<String, Status>,
    ) -> Map<String, Value> {
        let mut properties = Map::new();
        // A plan that was never used has its whole trial left.
        let rest = if subscription.plans.contains_key(name) {
            "PT0S"
        } else {
            "P30D"
        };
        let trial = plan.free_trial_remaining_time.as_deref().unwrap_or(rest);
        properties.insert("pricingTier".into(), json!(plan.tier.name()));
        properties.insert("freeTrialRemainingTime".into(), json!(trial));
        if plan.tier == Tier::Free {
            return properties;
        }
        if let Some(sub_plan) = plan.sub_plan.as_ref().filter(|_| self.since("2022-03-01")) {
            properties.insert("subPlan".into(), json!(sub_plan));
        }
        if self.since("2023-01-01") {
            if let Some(time) = &plan.enablement_time {
                properties.insert("enablementTime".into(), json!(time));
            }
            let extensions = self.extensions(subscription, name, plan, statuses);
            if !extensions.is_empty() {
                properties.insert("extensions".into(), json!(extensions));
            }
        }
        properties
    }

    fn extensions(
        &self,
        subscription: &Subscription,
        plan_name: &str,
        plan: &Plan,
        statuses: &BTreeMap<String, Status>,
    ) -> Vec<Value> {
        effective(subscription, plan_name, plan, self.failed_reads_enabled)
            .into_iter()
            .map(|(extension, on)| {
                let mut item = Map::new();
                item.insert("name".into(), json!(extension.name));
                item.insert("isEnabled".into(), json!(truth(on)));
                let properties = subscription.properties_of(plan_name, &extension.name);
                if on && !properties.is_empty() {
                    item.insert("additionalExtensionProperties".into(), json!(properties));
                }
                if let Some(status) = statuses.get(&extension.name) {
                    item.insert("operationStatus".into(), operation_status(*status));
                }
                Value::Object(item)
            })
            .collect()
    }
}

fn coverage(subscription: &Subscription, name: &str, plan: &Plan) -> String {
    if let Some(claimed) = &plan.resources_coverage_status {
        return claimed.clone();
    }
    let overridden = name == "VirtualMachines"
        && subscription
            .resource_plans
            .values()
            .any(|own| own.tier != plan.tier || own.sub_plan != plan.sub_plan);
    if overridden {
        "PartiallyCovered"
    } else {
        "FullyCovered"
    }
    .into()
}

fn operation_status(status: Status) -> Value {
    match status {
        Status::Enabled => json!({"code": "Succeeded", "message": "Successfully enabled extension"}),
        Status::Disabled => json!({"code": "Succeeded", "message": "Successfully disabled extension"}),
        Status::AssigningFailed => json!({
            "code": "Failed",
            "message": "Failed assigning roles {AssignRoles} to {identityName} for plan",
        }),
        Status::RightMissing => json!({
            "code": "Failed",
            "message": "The caller is not Owner of the resource that the extension uses",
        }),
    }
}

/// The service's spelling of a boolean.
pub(super) fn truth(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}
