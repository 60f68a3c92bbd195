//! The plan of a single machine: inherited, or set on the machine itself.

use std::collections::BTreeMap;

use axum::http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{
    body::{self, invalid},
    render::{View, truth},
};
use crate::{
    answer::{Answer, ArmError},
    arm::{Call, Typed, refusals},
    instant,
    state::{Plan, ResourcePlan, Subscription, Tier},
    switches::Switch,
};

pub(super) const PLAN: &str = "VirtualMachines";
/// The plans that a machine lists.
const PLANS: [&str; 2] = [PLAN, "CloudPosture"];
const MACHINES: [&str; 3] = [
    "microsoft.compute/virtualmachines",
    "microsoft.compute/virtualmachinescalesets",
    "microsoft.hybridcompute/machines",
];

pub(super) fn answer(call: &mut Call<'_>, typed: &Typed) -> Result<Answer, ArmError> {
    let key = typed.scope.to_ascii_lowercase();
    let kind = machine_type(&key).unwrap_or_default();
    if !MACHINES.contains(&kind.as_str()) {
        return Err(invalid(&format!(
            "Pricing configuration is not supported for resource type \"{kind}\""
        )));
    }
    let method = call.request.method.clone();
    let Some(name) = &typed.name else {
        if method != Method::GET {
            return Err(refusals::no_method(method.as_str(), "pricings"));
        }
        let all: Result<Vec<Value>, ArmError> = PLANS
            .iter()
            .map(|plan| described(call, typed, &key, plan))
            .collect();
        return Ok(Answer::list(all?));
    };
    let plan = PLANS.into_iter().find(|plan| name.eq_ignore_ascii_case(plan));
    if plan.is_none_or(|plan| plan != PLAN && method != Method::GET) {
        return Err(invalid(&format!(
            "The plan \"{name}\" is not supported for resource type '{kind}'"
        )));
    }
    match method {
        Method::GET => {}
        Method::PUT => put(call, &key)?,
        Method::DELETE => {
            let old = call.subscription_mut()?.resource_plans.remove(&key);
            return Ok(Answer::empty(if old.is_some() {
                StatusCode::OK
            } else {
                StatusCode::NO_CONTENT
            }));
        }
        _ => return Err(refusals::no_method(method.as_str(), "pricings")),
    }
    Ok(Answer::ok(described(call, typed, &key, plan.unwrap_or(PLAN))?))
}

/// The resource type in a lower-case machine id.
fn machine_type(id: &str) -> Option<String> {
    let (_, after) = id.rsplit_once("/providers/")?;
    let mut parts = after.split('/');
    Some(format!("{}/{}", parts.next()?, parts.next()?))
}

fn put(call: &mut Call<'_>, key: &str) -> Result<(), ArmError> {
    let body = body::parse(&call.body()?)?;
    if call.subscription()?.plan(PLAN).enforce {
        let code = call.world.switches.answer(Switch::ResourcePutUnderEnforce);
        let status = if code == "Forbidden" {
            StatusCode::FORBIDDEN
        } else {
            StatusCode::CONFLICT
        };
        return Err(ArmError::new(
            status,
            code,
            "The pricing configuration is enforced by the \"subscription\" and cannot be overridden on a resource",
        ));
    }
    let sub_plan = match (body.tier, body.sub_plan.as_deref()) {
        (Tier::Free, _) => None,
        (Tier::Standard, Some(sub_plan)) if sub_plan.eq_ignore_ascii_case("P1") => Some("P1".to_owned()),
        (Tier::Standard, _) => {
            return Err(invalid(
                "Only SubPlan 'P1' can be enabled on resource level for 'VirtualMachines' plan",
            ));
        }
    };
    let time = instant::ticks(call.now);
    let plans = &mut call.subscription_mut()?.resource_plans;
    let enabled_before = plans
        .get(key)
        .filter(|old| old.tier == Tier::Standard)
        .and_then(|old| old.enablement_time.clone());
    let enablement_time = (body.tier == Tier::Standard).then(|| enabled_before.unwrap_or(time));
    plans.insert(
        key.into(),
        ResourcePlan {
            tier: body.tier,
            sub_plan,
            enablement_time,
        },
    );
    Ok(())
}

fn described(call: &Call<'_>, typed: &Typed, key: &str, name: &str) -> Result<Value, ArmError> {
    let properties = if name == PLAN {
        properties(&View::of(call), call.subscription()?, key)
    } else {
        inherited(&View::of(call), call.subscription()?, name)
    };
    Ok(json!({
        "id": format!("{}/providers/{}/{}/{name}", typed.scope, typed.namespace, typed.kind),
        "name": name, "type": "Microsoft.Security/pricings", "properties": properties,
    }))
}

/// A plan that a machine cannot override.
fn inherited(view: &View, subscription: &Subscription, name: &str) -> Map<String, Value> {
    let mut properties = view.common(subscription, name, &subscription.plan(name), &BTreeMap::new());
    properties.insert("inherited".into(), json!(truth(true)));
    let parent = format!("/subscriptions/{}", subscription.id);
    properties.insert("inheritedFrom".into(), json!(parent));
    properties
}

/// The plan in effect for a machine.
pub(super) fn properties(view: &View, subscription: &Subscription, key: &str) -> Map<String, Value> {
    let parent = subscription.plan(PLAN);
    let own = subscription.resource_plans.get(key);
    let shown = match own {
        // The extensions are the subscription's: a machine has none of its own.
        Some(own) => Plan {
            tier: own.tier,
            sub_plan: own.sub_plan.clone(),
            enablement_time: own.enablement_time.clone(),
            extensions: if parent.tier == Tier::Standard {
                parent.extensions
            } else {
                Plan::default_extensions(PLAN, own.sub_plan.as_deref())
            },
            ..Plan::default()
        },
        None => parent,
    };
    let mut properties = view.common(subscription, PLAN, &shown, &BTreeMap::new());
    let parent = own
        .is_none()
        .then(|| format!("/subscriptions/{}", subscription.id));
    properties.insert("inherited".into(), json!(truth(own.is_none())));
    properties.insert("inheritedFrom".into(), json!(parent));
    properties
}
