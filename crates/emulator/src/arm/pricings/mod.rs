//! `Microsoft.Security/pricings`: the plans of a subscription and of single machines.

mod body;
mod monitoring;
mod put;
mod render;
mod resource;
mod rows;

use std::collections::BTreeMap;

use axum::http::{Method, StatusCode};

pub(crate) use self::rows::pricing_rows;
use self::{
    put::{Decision, PutContext},
    render::View,
};
use super::{Call, Reply, Typed, refusals};
use crate::{
    answer::{Answer, ArmError},
    state::{FOUNDATIONAL_CSPM, PLAN_NAMES, Subscription, Tier, canonical_plan, rbac},
    switches::Switch,
};

pub(super) fn answer(call: &mut Call<'_>, typed: &Typed) -> Result<Reply, ArmError> {
    match typed.depth {
        2 => of_subscription(call, typed),
        8.. => resource::answer(call, typed).map(Reply::from),
        _ => Err(refusals::no_route(
            call.request.method.as_str(),
            &call.request.path(),
        )),
    }
}

fn of_subscription(call: &mut Call<'_>, typed: &Typed) -> Result<Reply, ArmError> {
    let method = call.request.method.clone();
    let Some(name) = &typed.name else {
        if method != Method::GET {
            return Err(refusals::no_method(method.as_str(), "pricings"));
        }
        return list(call).map(Reply::from);
    };
    let plan = canonical_plan(name)
        .filter(|plan| *plan != FOUNDATIONAL_CSPM || lists_foundational(call))
        .ok_or_else(|| unknown_plan(name))?;
    match method {
        Method::GET => {
            let view = View::of(call);
            let shown = view.plan(call.subscription()?, plan, &BTreeMap::new());
            Ok(Answer::ok(shown).into())
        }
        Method::PUT => put(call, plan),
        Method::DELETE => Err(ArmError::bad_request(
            "InvalidUrlConfiguration",
            "Delete operation is supported only for single resources scope (not subscriptions). Use PUT to \
             Enabled or Disable specific pricing bundles on a subscription.",
        )),
        _ => Err(refusals::no_method(method.as_str(), "pricings")),
    }
}

fn list(call: &Call<'_>) -> Result<Answer, ArmError> {
    let expected = call
        .request
        .query("$filter")
        .map(|filter| filtered(&filter))
        .transpose()?;
    let view = View::of(call);
    let subscription = call.subscription()?;
    Ok(Answer::list(
        PLAN_NAMES
            .into_iter()
            .chain(
                [FOUNDATIONAL_CSPM]
                    .into_iter()
                    .filter(|_| lists_foundational(call)),
            )
            .filter(|name| {
                expected
                    .as_ref()
                    .is_none_or(|expected| expected.contains(&name.to_ascii_lowercase()))
            })
            .map(|name| view.plan(subscription, name, &BTreeMap::new()))
            .collect(),
    ))
}

fn lists_foundational(call: &Call<'_>) -> bool {
    !call.world.switches.flipped(Switch::FoundationalCspm)
}

/// Parses `name in (A,B)`; the names have no quotes.
fn filtered(filter: &str) -> Result<Vec<String>, ArmError> {
    let lower = filter.trim().to_ascii_lowercase();
    lower
        .strip_prefix("name in")
        .map(str::trim)
        .and_then(|names| names.strip_prefix('(')?.strip_suffix(')'))
        .map(|names| {
            names
                .split(',')
                .map(|name| name.trim().trim_matches('\'').to_owned())
                .collect()
        })
        .ok_or_else(|| {
            ArmError::bad_request("BadRequest", format!("The filter \"{filter}\" is not supported."))
        })
}

fn put(call: &mut Call<'_>, plan: &'static str) -> Result<Reply, ArmError> {
    let body = body::parse(&call.body()?)?;
    let now = call.epoch_milliseconds();
    if call.subscription()?.pricing_lock_until > now {
        return Err(ArmError::new(
            StatusCode::CONFLICT,
            "Conflict",
            "Another update operation is in progress. Please retry in a few minutes",
        ));
    }
    let put_context = PutContext {
        plan,
        subscription: call.subscription()?,
        switches: &call.world.switches,
        may_assign_roles: may_assign_roles(call),
        is_owner: call.may(rbac::ASSIGN_ROLES),
        workspace: workspace(call, &body),
        onboarding_elsewhere: call
            .world
            .direct_onboarding_elsewhere(call.subscription_id())
            .is_some(),
        now: call.now,
    };
    let decision = put::decide(&put_context, &body)?;
    let hold = call.world.knobs.pricing_lock_time;
    let statuses = commit(call, plan, decision)?;
    call.subscription_mut()?.pricing_lock_until =
        now.saturating_add(i64::try_from(hold.as_millis()).unwrap_or_default());
    let view = View::of(call);
    let shown = view.plan(call.subscription()?, plan, &statuses);
    Ok(Reply::after(hold, Answer::ok(shown)))
}

/// The workspace of file integrity monitoring in a body: whether it can exist, and whether the caller owns it. `None`
/// if the body names none, or something that is no resource id.
fn workspace(call: &Call<'_>, body: &body::Body) -> Option<put::Workspace> {
    let id = monitoring::workspace(body.extensions.as_deref().unwrap_or_default())?.to_ascii_lowercase();
    let subscription = id.strip_prefix("/subscriptions/")?.split('/').next()?;
    let found = call.world.subscriptions.get(subscription);
    let of_tenant = |found: &Subscription| found.tenant == call.caller.tenant;
    let principal = call.principal();
    Some(put::Workspace {
        exists: found.is_some_and(of_tenant),
        is_owned: principal.is_some_and(|principal| {
            principal.may(subscription, rbac::ASSIGN_ROLES) || principal.may(&id, rbac::ASSIGN_ROLES)
        }),
    })
}

fn commit(
    call: &mut Call<'_>,
    name: &'static str,
    decision: Decision,
) -> Result<BTreeMap<String, put::Status>, ArmError> {
    let integrate = !call.world.switches.flipped(Switch::PlanEnablesIntegration);
    let subscription = call.subscription_mut()?;
    let was = subscription.plan(name).tier;
    if name == "VirtualMachines" {
        if integrate && was == Tier::Free && decision.plan.tier == Tier::Standard {
            subscription.enable_integration();
        }
        if decision.plan.enforce {
            subscription.resource_plans.clear();
        }
    }
    subscription.plans.insert(name.into(), decision.plan);
    for (key, properties) in decision.properties {
        match properties {
            Some(properties) => drop(subscription.extension_properties.insert(key, properties)),
            None => drop(subscription.extension_properties.remove(&key)),
        }
    }
    if decision.takes_direct_onboarding {
        let id = call.subscription_id().to_owned();
        call.world.take_direct_onboarding(&id);
    }
    Ok(decision.statuses)
}

/// Whether the caller may enable extensions that assign roles.
fn may_assign_roles(call: &Call<'_>) -> bool {
    let Some(principal) = call.principal() else {
        return false;
    };
    if call
        .world
        .switches
        .flipped(Switch::AccessAdministratorAssignsRoles)
    {
        // One role must grant both rights, as Owner does.
        principal.assignments(call.subscription_id()).any(|assignment| {
            rbac::grants(assignment, rbac::ASSIGN_ROLES)
                && rbac::grants(assignment, "Microsoft.Security/pricings/write")
        })
    } else {
        call.may(rbac::ASSIGN_ROLES)
    }
}

fn unknown_plan(name: &str) -> ArmError {
    let mut known = PLAN_NAMES.to_vec();
    known.extend(["Discovery", FOUNDATIONAL_CSPM]);
    ArmError::bad_request(
        "InvalidResourceName",
        format!(
            "The name '{name}' is not a valid name. Possible pricing bundle names: {}",
            known.join(", ")
        ),
    )
}
