//! Azure Resource Manager: an authenticated request passes the checks, then its handler answers it.

mod assessments;
mod authentication;
mod call;
mod catalogue;
mod checks;
mod connectors;
mod extensions;
mod health_reports;
mod machines;
mod management_groups;
mod pricings;
mod providers;
mod refusals;
mod resource_graph;
mod resource_groups;
mod route;
mod settings;
mod subscription_reads;
mod subscriptions;
mod throttle;
mod workspaces;

use axum::http::Method;

pub use self::{
    authentication::{Caller, authenticate},
    catalogue::{Provider as ProviderEntry, providers as provider_entries},
    resource_graph::Distortion,
    route::{Resource, Route, Typed},
    throttle::Throttle,
};
pub(crate) use self::{
    call::{Context, Reply},
    resource_graph::{Evaluation, Graph},
};
use crate::{
    answer::{Answer, ArmError},
    state::machines::Kind,
};

/// Answers the call of an authenticated caller.
pub(crate) fn process(context: &mut Context<'_>, throttle: &mut Throttle) -> Reply {
    let budget = match checks::admit(context, throttle) {
        Ok(budget) => budget,
        Err(refused) => return refused.into(),
    };
    let mut reply = handle(context).unwrap_or_else(Reply::from);
    let now = context.now;
    // Any write may be a reason to deploy or withdraw the sensor's extension.
    if route::verb(&context.request.method) != "read"
        && let Ok(subscription) = context.subscription_mut()
    {
        subscription.settle(now);
    }
    reply.answer.headers.extend(budget);
    reply
}

/// Whether a response says that the request named a route, a type or an api-version that does not exist.
pub(crate) fn is_unknown(answer: &Answer) -> bool {
    matches!(
        answer.error_code().as_deref(),
        Some(
            "InvalidRequestUri"
                | "InvalidResourceType"
                | "InvalidResourceNamespace"
                | "NoRegisteredProviderFound"
        )
    )
}

fn handle(context: &mut Context<'_>) -> Result<Reply, ArmError> {
    let (method, route) = (&context.request.method, context.route);
    let get = *method == Method::GET;
    let answer = match &route.resource {
        Resource::Subscriptions if get => Ok(subscriptions::list(context)),
        Resource::Subscription if get => subscriptions::get(context),
        Resource::Tenants if get => Ok(subscriptions::tenants(context)),
        Resource::Locations if get => Ok(subscriptions::locations(context)),
        Resource::Providers if get => providers::list(context),
        Resource::Provider(namespace) if get => providers::get(context, namespace),
        Resource::Register(namespace) => providers::register(context, namespace),
        Resource::Unregister(namespace) => providers::unregister(context, namespace),
        Resource::ResourceGroups if get => resource_groups::list(context),
        Resource::ResourceGroup(name) => resource_groups::one(context, name),
        Resource::Typed(typed) => return typed_resource(context, typed),
        _ => Err(refusals::no_route(method.as_str(), &context.request.path())),
    };
    answer.map(Reply::from)
}

fn typed_resource(context: &mut Context<'_>, typed: &Typed) -> Result<Reply, ArmError> {
    let full = format!("{}/{}", typed.namespace, typed.kind).to_ascii_lowercase();
    let answer = match full.as_str() {
        "microsoft.resourcegraph/resources" if typed.is_query() => return resource_graph::answer(context),
        "microsoft.security/pricings" => return pricings::answer(context, typed),
        "microsoft.security/securityconnectors" => return Ok(connectors::answer(context, typed)),
        "microsoft.security/settings" => settings::answer(context, typed),
        "microsoft.security/servervulnerabilityassessmentssettings" => assessments::answer(context, typed),
        "microsoft.security/autoprovisioningsettings" => {
            subscription_reads::auto_provisioning(context, typed)
        }
        "microsoft.security/healthreports" => health_reports::answer(context, typed),
        "microsoft.authorization/permissions" => subscription_reads::permissions(context),
        "microsoft.management/managementgroups/descendants" if typed.depth == 0 => {
            management_groups::descendants(context)
        }
        "microsoft.operationsmanagement/solutions" => workspaces::solution(context, typed),
        "microsoft.operationalinsights/workspaces" => workspaces::workspace(context, typed),
        "microsoft.compute/virtualmachines" => machines::answer(context, typed, Kind::Vm),
        "microsoft.compute/virtualmachines/instanceview" => machines::instance_view(context, typed),
        "microsoft.compute/virtualmachines/extensions" => extensions::answer(context, typed, Kind::Vm),
        "microsoft.compute/virtualmachinescalesets" => machines::answer(context, typed, Kind::ScaleSet),
        "microsoft.hybridcompute/machines" => machines::answer(context, typed, Kind::Arc),
        "microsoft.hybridcompute/machines/extensions" => extensions::answer(context, typed, Kind::Arc),
        _ if typed.is_operation() => extensions::operation(context, typed),
        _ => Err(refusals::unknown_type(&typed.namespace, &context.version())),
    };
    answer.map(Reply::from)
}
