//! Control of the cloud itself: seeds, direct changes, switches, options.

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Reply, Shared, good, parsed, problem};
use crate::{
    instant,
    knobs::SomeKnobs,
    state::{self, Plan, SETTINGS, Seed, Subscription, Tier, World},
};

pub(super) async fn seed(State(emulator): Shared, body: String) -> Result<Reply, Reply> {
    let seed = Seed::parse(&body).map_err(bad)?;
    let mut world = emulator.world.lock();
    let mut populated = world.clone();
    seed.populate(&mut populated, Timestamp::now()).map_err(bad)?;
    *world = populated;
    emulator.changed();
    Ok(good(
        json!({"subscriptions": world.subscriptions.len(), "principals": world.principals.len()}),
    ))
}

/// Resets to the default cloud, with an empty log, no faults and no breaches. Switches and options are kept.
pub(super) async fn reset(State(emulator): Shared) -> StatusCode {
    {
        let mut world = emulator.world.lock();
        let fresh = World {
            switches: world.switches.clone(),
            knobs: world.knobs.clone(),
            ..World::with_defaults()
        };
        *world = fresh;
        world.retime(Timestamp::now());
    }
    emulator.graph.lock().reset();
    emulator.throttle.lock().reset();
    emulator.foreign.lock().clear();
    emulator.faults.lock().clear();
    emulator.monitor.lock().reset();
    emulator.log.lock().clear();
    emulator.changed();
    StatusCode::NO_CONTENT
}

pub(super) async fn subscriptions(State(emulator): Shared) -> Reply {
    let world = emulator.world.lock();
    let ids: Vec<_> = world.subscriptions.keys().collect();
    good(json!({"count": ids.len(), "subscriptions": ids}))
}

pub(super) async fn subscription(State(emulator): Shared, Path(id): Path<String>) -> Result<Reply, Reply> {
    let world = emulator.world.lock();
    let found = world
        .subscriptions
        .get(&id.to_ascii_lowercase())
        .ok_or_else(missing)?;
    Ok(good(shown(&world, found)))
}

pub(super) async fn change_subscription(
    State(emulator): Shared,
    Path(id): Path<String>,
    body: String,
) -> Result<Reply, Reply> {
    let body: Value = parsed(&body)?;
    let set = body
        .get("set")
        .and_then(Value::as_object)
        .ok_or_else(|| bad("expected {\"set\": {path: value}}".into()))?;
    let mut world = emulator.world.lock();
    let index_lags = !world.knobs.graph_lag.is_zero();
    let found = world
        .subscriptions
        .get_mut(&id.to_ascii_lowercase())
        .ok_or_else(missing)?;
    let former = index_lags.then(|| found.clone());
    state::apply(found, set, Timestamp::now()).map_err(bad)?;
    let found = found.clone();
    if let Some(former) = former {
        emulator.graph.lock().changed(&world, former);
    }
    emulator.changed();
    Ok(good(shown(&world, &found)))
}

pub(super) async fn change_principal(
    State(emulator): Shared,
    Path(id): Path<String>,
    body: String,
) -> Result<StatusCode, Reply> {
    let change = parsed(&body)?;
    state::change_principal(&mut emulator.world.lock(), &id, change).map_err(bad)?;
    emulator.changed();
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn management_groups(State(emulator): Shared) -> Reply {
    good(json!(emulator.world.lock().management_groups))
}

pub(super) async fn cloud_accounts(State(emulator): Shared) -> Reply {
    good(json!(emulator.world.lock().cloud_accounts))
}

/// A merge patch: `{"aws": {"123456789012": {"identityProvider": "ok"}}}`; null removes.
pub(super) async fn change_cloud_accounts(State(emulator): Shared, body: String) -> Result<Reply, Reply> {
    let patch = parsed(&body)?;
    let mut world = emulator.world.lock();
    world.patch_clouds(&patch, Timestamp::now()).map_err(bad)?;
    emulator.changed();
    Ok(good(json!(world.cloud_accounts)))
}

/// `{"name": [subscription, …]}`, also as comma-separated text; null removes.
pub(super) async fn set_management_groups(State(emulator): Shared, body: String) -> Result<Reply, Reply> {
    let given = parsed(&body)?;
    let given = given
        .as_object()
        .ok_or_else(|| bad("expected {name: [subscription]}".into()))?;
    let mut groups = Vec::new();
    for (name, members) in given {
        let members: Option<Vec<String>> = match members {
            Value::Null => None,
            Value::String(text) => Some(text.split(',').map(|id| id.trim().to_owned()).collect()),
            list => Some(serde_json::from_value(list.clone()).map_err(|error| bad(error.to_string()))?),
        };
        groups.push((name, members));
    }
    let mut world = emulator.world.lock();
    for (name, members) in groups {
        world.set_management_group(name, members.as_deref());
    }
    emulator.changed();
    Ok(good(json!(world.management_groups)))
}

pub(super) async fn switches(State(emulator): Shared) -> Reply {
    good(json!(emulator.world.lock().switches))
}

/// `{"name": "answer", …}`, or `{"all": "alternate"}`.
pub(super) async fn set_switches(State(emulator): Shared, body: String) -> Result<Reply, Reply> {
    let given = parsed(&body)?;
    let given = given
        .as_object()
        .ok_or_else(|| bad("expected {name: answer}".into()))?;
    let mut world = emulator.world.lock();
    let mut switches = world.switches.clone();
    for (name, answer) in given {
        switches
            .set(name, answer.as_str().unwrap_or_default())
            .map_err(bad)?;
    }
    world.switches = switches;
    world.retime(Timestamp::now());
    emulator.changed();
    Ok(good(json!(world.switches)))
}

pub(super) async fn knobs(State(emulator): Shared) -> Reply {
    good(json!(emulator.world.lock().knobs))
}

pub(super) async fn set_knobs(State(emulator): Shared, body: String) -> Result<Reply, Reply> {
    let some: SomeKnobs = serde_json::from_value(parsed(&body)?).map_err(|error| bad(error.to_string()))?;
    let mut world = emulator.world.lock();
    world.knobs = some.over(&world.knobs).map_err(bad)?;
    world.retime(Timestamp::now());
    emulator.throttle.lock().reset();
    emulator.changed();
    Ok(good(json!(world.knobs)))
}

fn bad(message: String) -> Reply {
    problem(StatusCode::BAD_REQUEST, message)
}

fn missing() -> Reply {
    problem(StatusCode::NOT_FOUND, "unknown subscription")
}

/// A subscription with the members of seeds and patches.
fn shown(world: &World, subscription: &Subscription) -> Value {
    let now = instant::epoch_milliseconds(Timestamp::now());
    let takes = i64::try_from(world.knobs.registration_time.as_millis()).unwrap_or(i64::MAX);
    let providers: Map<String, Value> = subscription
        .providers
        .keys()
        .map(|name| {
            (
                name.clone(),
                json!(subscription.registration(name, now, takes).name()),
            )
        })
        .collect();
    let settings: Map<String, Value> = SETTINGS
        .iter()
        .map(|(name, _)| ((*name).to_owned(), json!(subscription.setting(name))))
        .collect();
    let mut pricings: Map<String, Value> = subscription
        .plans
        .iter()
        .map(|(name, plan)| (name.clone(), plan_shown(subscription, name, plan)))
        .collect();
    for name in ["VirtualMachines", "CloudPosture"] {
        let untouched = || plan_shown(subscription, name, &Plan::default());
        pricings.entry(name).or_insert_with(untouched);
    }
    let resource_pricings: Map<String, Value> = subscription
        .resource_plans
        .iter()
        .map(|(id, own)| {
            let plan = if own.tier == Tier::Free {
                Some("Free")
            } else {
                own.sub_plan.as_deref()
            };
            (id.clone(), json!(plan))
        })
        .collect();
    json!({
        "subscriptionId": subscription.id, "tenantId": subscription.tenant, "displayName": subscription.display_name,
        "state": subscription.state, "integrationProfile": if subscription.legacy { "legacy" } else { "new" },
        "providers": providers, "registrationStuck": subscription.registration_stuck,
        "pricings": pricings, "settings": settings,
        "serverVulnerabilityAssessmentsSettings": {"azureServersSetting":
            subscription.vulnerability_assessment.as_ref().map(|setting| &setting.selected_provider)},
        "resourcePricings": resource_pricings, "resourceGroups": subscription.resource_groups,
        "securityConnectors": state::connectors_shown(subscription, Timestamp::now()),
        "machineCount": subscription.fleet.machines.iter().count(),
        "workspaces": subscription.workspaces, "solutions": subscription.solutions.values().map(|solution| &solution.id).collect::<Vec<_>>(),
        "lockLevel": subscription.lock, "denyPolicyAssignment": subscription.deny_policy,
    })
}

fn plan_shown(subscription: &Subscription, name: &str, plan: &Plan) -> Value {
    let extensions: Map<String, Value> = plan
        .extensions
        .iter()
        .map(|extension| {
            let properties = subscription.properties_of(name, &extension.name);
            let shown = json!({
                "isEnabled": if extension.enabled { "True" } else { "False" },
                "operationStatus": {"code": if extension.failed { "Failed" } else { "Succeeded" }},
                "additionalExtensionProperties": (!properties.is_empty()).then_some(properties),
            });
            (extension.name.clone(), shown)
        })
        .collect();
    json!({
        "pricingTier": plan.tier.name(), "subPlan": plan.sub_plan, "enforce": if plan.enforce { "True" } else { "False" },
        "enablementTime": plan.enablement_time, "freeTrialRemainingTime": plan.free_trial_remaining_time,
        "resourcesCoverageStatus": plan.resources_coverage_status, "managedBy": plan.managed_by,
        "extensions": extensions,
    })
}
