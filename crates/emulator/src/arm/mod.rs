//! Azure Resource Manager: an authenticated request passes the checks, then its handler answers it.

mod assessments;
mod authentication;
mod call;
mod catalogue;
mod checks;
mod connectors;
mod extension_upgrades;
mod extensions;
mod health_reports;
mod machines;
mod management_groups;
mod pricings;
mod providers;
mod refusals;
mod regions;
mod reply;
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
    resource_graph::Distortion,
    route::{Resource, Route, Typed},
    throttle::Throttle,
};
pub(crate) use self::{
    call::Call,
    reply::Reply,
    resource_graph::{Evaluation, Graph},
};
use crate::{
    answer::{Answer, ArmError},
    state::machines::Kind,
};

/// Answers the call of an authenticated caller.
pub(crate) fn process(call: &mut Call<'_>, throttle: &mut Throttle) -> Reply {
    let budget = match checks::admit(call, throttle) {
        Ok(budget) => budget,
        Err(refused) => return refused.into(),
    };
    let mut reply = handle(call).unwrap_or_else(Reply::from);
    let now = call.now;
    // Any write may be a reason to deploy or withdraw the sensor's extension.
    if route::verb(&call.request.method) != "read"
        && let Ok(subscription) = call.subscription_mut()
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

fn handle(call: &mut Call<'_>) -> Result<Reply, ArmError> {
    let (method, route) = (&call.request.method, call.route);
    let get = *method == Method::GET;
    let answer = match &route.resource {
        Resource::Subscriptions if get => Ok(subscriptions::list(call)),
        Resource::Subscription if get => subscriptions::get(call),
        Resource::Tenants if get => Ok(subscriptions::tenants(call)),
        Resource::Locations if get => Ok(subscriptions::locations(call)),
        Resource::Providers if get => providers::list(call),
        Resource::Provider(namespace) if get => providers::get(call, namespace),
        Resource::Register(namespace) => providers::register(call, namespace),
        Resource::Unregister(namespace) => providers::unregister(call, namespace),
        Resource::ResourceGroups if get => resource_groups::list(call),
        Resource::ResourceGroup(name) => resource_groups::one(call, name),
        Resource::Typed(typed) => return typed_resource(call, typed),
        _ => Err(refusals::no_route(method.as_str(), &call.request.path())),
    };
    answer.map(Reply::from)
}

fn typed_resource(call: &mut Call<'_>, typed: &Typed) -> Result<Reply, ArmError> {
    let full = format!("{}/{}", typed.namespace, typed.kind).to_ascii_lowercase();
    let answer = match full.as_str() {
        "microsoft.resourcegraph/resources" if typed.is_query() => return resource_graph::answer(call),
        "microsoft.security/pricings" => return pricings::answer(call, typed),
        "microsoft.security/securityconnectors" => return Ok(connectors::answer(call, typed)),
        "microsoft.security/settings" => settings::answer(call, typed),
        "microsoft.security/servervulnerabilityassessmentssettings" => assessments::answer(call, typed),
        "microsoft.security/autoprovisioningsettings" => subscription_reads::auto_provisioning(call, typed),
        "microsoft.security/healthreports" => health_reports::answer(call, typed),
        "microsoft.authorization/permissions" => subscription_reads::permissions(call),
        "microsoft.authorization/provideroperations" if typed.depth == 0 => providers::operations(typed),
        "microsoft.management/managementgroups/descendants" if typed.depth == 0 => {
            management_groups::descendants(call)
        }
        "microsoft.operationsmanagement/solutions" => workspaces::solution(call, typed),
        "microsoft.operationalinsights/workspaces" => workspaces::workspace(call, typed),
        "microsoft.compute/virtualmachines" => machines::answer(call, typed, Kind::Vm),
        "microsoft.compute/virtualmachines/instanceview" => machines::instance_view(call, typed),
        "microsoft.compute/virtualmachines/extensions" => extensions::answer(call, typed, Kind::Vm),
        "microsoft.compute/virtualmachinescalesets" => machines::answer(call, typed, Kind::ScaleSet),
        "microsoft.hybridcompute/machines" => machines::answer(call, typed, Kind::Arc),
        "microsoft.hybridcompute/machines/extensions" => extensions::answer(call, typed, Kind::Arc),
        "microsoft.hybridcompute/machines/upgradeextensions" => extension_upgrades::answer(call, typed),
        _ if typed.is_operation() => extensions::operation(call, typed),
        _ => Err(refusals::unknown_type(&typed.namespace, &call.version())),
    };
    answer.map(Reply::from)
}
