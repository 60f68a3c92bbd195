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
use super::{Context, Reply, Typed, refusals};
use crate::{
    answer::{Answer, ArmError},
    state::{PLAN_NAMES, Tier, canonical_plan, rbac},
    switches::Switch,
};

pub(super) fn answer(context: &mut Context<'_>, typed: &Typed) -> Result<Reply, ArmError> {
    match typed.depth {
        2 => of_subscription(context, typed),
        8.. => resource::answer(context, typed).map(Reply::from),
        _ => Err(refusals::no_route(
            context.request.method.as_str(),
            &context.request.path(),
        )),
    }
}

fn of_subscription(context: &mut Context<'_>, typed: &Typed) -> Result<Reply, ArmError> {
    let method = context.request.method.clone();
    let Some(name) = &typed.name else {
        if method != Method::GET {
            return Err(refusals::no_method(method.as_str(), "pricings"));
        }
        return list(context).map(Reply::from);
    };
    let plan = canonical_plan(name).ok_or_else(|| unknown_plan(name))?;
    match method {
        Method::GET => {
            let view = View::of(context);
            let shown = view.plan(context.subscription()?, plan, &BTreeMap::new());
            Ok(Answer::ok(shown).into())
        }
        Method::PUT => put(context, plan),
        Method::DELETE => Err(ArmError::bad_request(
            "InvalidUrlConfiguration",
            "Delete operation is supported only for single resources scope (not subscriptions). Use PUT to \
             Enabled or Disable specific pricing bundles on a subscription.",
        )),
        _ => Err(refusals::no_method(method.as_str(), "pricings")),
    }
}

fn list(context: &Context<'_>) -> Result<Answer, ArmError> {
    let expected = context
        .request
        .query("$filter")
        .map(|filter| filtered(&filter))
        .transpose()?;
    let view = View::of(context);
    let subscription = context.subscription()?;
    Ok(Answer::list(
        PLAN_NAMES
            .into_iter()
            .filter(|name| {
                expected
                    .as_ref()
                    .is_none_or(|expected| expected.contains(&name.to_ascii_lowercase()))
            })
            .map(|name| view.plan(subscription, name, &BTreeMap::new()))
            .collect(),
    ))
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

fn put(context: &mut Context<'_>, plan: &'static str) -> Result<Reply, ArmError> {
    let body = body::parse(&context.body()?)?;
    let now = context.epoch_milliseconds();
    if context.subscription()?.pricing_lock_until > now {
        return Err(ArmError::new(
            StatusCode::CONFLICT,
            "Conflict",
            "Another update operation is in progress. Please retry in a few minutes",
        ));
    }
    let put_context = PutContext {
        plan,
        subscription: context.subscription()?,
        switches: &context.world.switches,
        may_assign_roles: may_assign_roles(context),
        onboarding_elsewhere: context
            .world
            .direct_onboarding_elsewhere(context.subscription_id())
            .is_some(),
        now: context.now,
    };
    let decision = put::decide(&put_context, &body)?;
    let hold = context.world.knobs.pricing_lock_time;
    let statuses = commit(context, plan, decision)?;
    context.subscription_mut()?.pricing_lock_until =
        now.saturating_add(i64::try_from(hold.as_millis()).unwrap_or_default());
    let view = View::of(context);
    let shown = view.plan(context.subscription()?, plan, &statuses);
    Ok(Reply::after(hold, Answer::ok(shown)))
}

fn commit(
    context: &mut Context<'_>,
    name: &'static str,
    decision: Decision,
) -> Result<BTreeMap<String, put::Status>, ArmError> {
    let integrate = !context.world.switches.flipped(Switch::PlanEnablesIntegration);
    let subscription = context.subscription_mut()?;
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
        let id = context.subscription_id().to_owned();
        context.world.take_direct_onboarding(&id);
    }
    Ok(decision.statuses)
}

/// Whether the caller may enable extensions that assign roles.
fn may_assign_roles(context: &Context<'_>) -> bool {
    let Some(principal) = context.principal() else {
        return false;
    };
    if context
        .world
        .switches
        .flipped(Switch::AccessAdministratorAssignsRoles)
    {
        // One role must grant both rights, as Owner does.
        principal
            .assignments(context.subscription_id())
            .any(|assignment| {
                rbac::grants(assignment, rbac::ASSIGN_ROLES)
                    && rbac::grants(assignment, "Microsoft.Security/pricings/write")
            })
    } else {
        context.may(rbac::ASSIGN_ROLES)
    }
}

fn unknown_plan(name: &str) -> ArmError {
    ArmError::bad_request(
        "InvalidInputJson",
        format!(
            "The name '{name}' is not a valid name. Possible pricing bundle names: {}",
            PLAN_NAMES.join(", ")
        ),
    )
}
