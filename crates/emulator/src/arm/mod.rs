//! Azure Resource Manager: the checks that every request passes, in the order of the real service,
//! and the table of handlers behind them.

mod assessments;
mod authentication;
mod catalogue;
mod connectors;
mod extensions;
mod health_reports;
mod machines;
mod pricings;
mod providers;
pub(crate) mod refusals;
mod resource_groups;
mod route;
mod settings;
mod subscription_reads;
mod subscriptions;
mod throttle;
mod workspaces;

use std::time::Duration;

use axum::http::Method;
use jiff::Timestamp;

pub use self::{
    authentication::{Caller, authenticate},
    catalogue::{Provider as ProviderEntry, providers as provider_entries},
    route::{Resource, Route, Typed},
    throttle::Throttle,
};
pub(crate) use self::{connectors::connector_rows, machines::machine_rows, pricings::pricing_rows};
use crate::{
    answer::{Answer, ArmError},
    graph::{self, QueryContext},
    incoming::Incoming,
    instant,
    state::{RegistrationState, Subscription, SubscriptionState, World, machines::Kind},
    switches::Switch,
};

/// The context of a request for its handler.
pub struct Context<'a> {
    /// The cloud.
    pub world: &'a mut World,
    /// The caller.
    pub caller: &'a Caller,
    /// The request.
    pub request: &'a Incoming,
    /// The subscription of the path, in lower case; empty for tenant-wide requests.
    pub subscription: String,
    /// The api-version.
    pub version: String,
    /// The time of the request.
    pub now: Timestamp,
    /// The base URL by which the caller addresses this server: `https://host:port`.
    pub host: &'a str,
    /// Set by a handler to delay its response.
    pub hold: Duration,
}

impl Context<'_> {
    /// The subscription of the path; the checks have made sure that it exists.
    ///
    /// # Errors
    ///
    /// Returns 404 `SubscriptionNotFound` if the cloud has no such subscription.
    pub fn subscription(&self) -> Result<&Subscription, ArmError> {
        self.world
            .subscriptions
            .get(&self.subscription)
            .ok_or_else(|| refusals::subscription_not_found(&self.subscription))
    }

    /// The subscription of the path, mutable.
    ///
    /// # Errors
    ///
    /// Returns 404 `SubscriptionNotFound` if the cloud has no such subscription.
    pub fn subscription_mut(&mut self) -> Result<&mut Subscription, ArmError> {
        self.world
            .subscriptions
            .get_mut(&self.subscription)
            .ok_or_else(|| refusals::subscription_not_found(&self.subscription))
    }

    /// Whether the caller may perform an action in the subscription.
    pub fn may(&self, action: &str) -> bool {
        self.world
            .principals
            .get(&self.caller.client_id)
            .is_some_and(|principal| principal.may(&self.subscription, action))
    }

    /// The body as JSON.
    ///
    /// # Errors
    ///
    /// Returns 400 if the body is not JSON.
    pub fn body(&self) -> Result<serde_json::Value, ArmError> {
        serde_json::from_slice(&self.request.body)
            .map_err(|error| refusals::invalid_content(&error.to_string()))
    }

    fn epoch_milliseconds(&self) -> i64 {
        instant::epoch_milliseconds(self.now)
    }

    fn registration_time(&self) -> i64 {
        i64::try_from(self.world.knobs.registration_time.as_millis()).unwrap_or(i64::MAX)
    }
}

/// A response, and how long to delay it.
pub struct Processed {
    /// The response.
    pub answer: Answer,
    /// When to send it.
    pub hold: Duration,
    /// The request named a route, type or api-version that does not exist.
    pub unknown: bool,
}

/// Handles an authenticated request.
pub(crate) fn process(
    world: &mut World,
    throttle: &mut Throttle,
    query_context: &mut QueryContext<'_>,
    caller: &Caller,
    route: &Route,
    request: &Incoming,
    host: &str,
) -> Processed {
    let mut context = Context {
        world,
        caller,
        request,
        subscription: route.subscription.clone().unwrap_or_default(),
        version: request.query("api-version").unwrap_or_default(),
        now: Timestamp::now(),
        host,
        hold: Duration::ZERO,
    };
    let result = checked(&mut context, throttle, query_context, route);
    let answer = result.unwrap_or_else(Answer::from);
    let unknown = matches!(
        answer.error_code().as_deref(),
        Some(
            "InvalidRequestUri"
                | "InvalidResourceType"
                | "InvalidResourceNamespace"
                | "NoRegisteredProviderFound"
        )
    );
    Processed {
        answer,
        hold: context.hold,
        unknown,
    }
}

fn checked(
    context: &mut Context<'_>,
    throttle: &mut Throttle,
    query_context: &mut QueryContext<'_>,
    route: &Route,
) -> Result<Answer, ArmError> {
    api_version(context)?;
    subscription(context, route)?;
    authorization(context, route)?;
    if let Resource::Typed(typed) = &route.resource {
        registration(context, typed)?;
        known_type(context, typed)?;
    }
    guards(context, route)?;
    if matches!(&route.resource, Resource::Typed(typed) if typed.is_query()) {
        return Ok(graph::answer(context, query_context, |context| {
            throttle.take(context, route)
        }));
    }
    let budget = throttle.take(context, route)?;
    let mut answer = handle(context, &route.resource).unwrap_or_else(Answer::from);
    // Any write may be a reason to deploy or withdraw the sensor's extension.
    if route::verb(&context.request.method) != "read" && route.subscription.is_some() {
        let now = context.now;
        context.subscription_mut()?.settle(now);
    }
    answer.headers.extend(budget);
    Ok(answer)
}

fn api_version(context: &Context<'_>) -> Result<(), ArmError> {
    if context.version.is_empty() {
        return Err(refusals::missing_api_version());
    }
    if !catalogue::well_formed(&context.version) {
        return Err(refusals::invalid_api_version(&context.version));
    }
    Ok(())
}

fn subscription(context: &Context<'_>, route: &Route) -> Result<(), ArmError> {
    if route.subscription.is_none() {
        return Ok(());
    }
    let tenant = &context.subscription()?.tenant;
    if *tenant != context.caller.tenant {
        return Err(refusals::wrong_tenant(
            context.host,
            &context.caller.tenant,
            tenant,
        ));
    }
    Ok(())
}

fn authorization(context: &Context<'_>, route: &Route) -> Result<(), ArmError> {
    if route.subscription.is_none() || route.resource == Resource::Unknown {
        return Ok(());
    }
    // The URL of an operation is enough to read it: no role is checked.
    if matches!(&route.resource, Resource::Typed(typed) if typed.is_operation()) {
        return Ok(());
    }
    let action = route.action(&context.request.method);
    if context.may(&action) {
        return Ok(());
    }
    let scope = match &route.resource {
        Resource::Typed(Typed { name: Some(_), .. }) => context.request.path(),
        Resource::Typed(typed) => typed.scope.clone(),
        _ => format!("/subscriptions/{}", context.subscription),
    };
    Err(refusals::authorization_failed(
        &context.caller.client_id,
        &context.caller.object_id,
        &action,
        &scope,
    ))
}

fn registration(context: &Context<'_>, typed: &Typed) -> Result<(), ArmError> {
    let Some(provider) = catalogue::provider(&typed.namespace) else {
        return Err(refusals::unknown_namespace(&typed.namespace));
    };
    if provider.free || context.subscription.is_empty() {
        return Ok(());
    }
    let state = context.subscription()?.registration(
        provider.namespace,
        context.epoch_milliseconds(),
        context.registration_time(),
    );
    if state == RegistrationState::Registered {
        return Ok(());
    }
    let defender_answers = provider.namespace.eq_ignore_ascii_case("Microsoft.Security")
        && !context.world.switches.flipped(Switch::UnregisteredProvider);
    Err(if defender_answers {
        refusals::subscription_not_registered(&typed.kind)
    } else {
        refusals::not_registered(provider.namespace)
    })
}

fn known_type(context: &Context<'_>, typed: &Typed) -> Result<(), ArmError> {
    let kind = catalogue::provider(&typed.namespace)
        .and_then(|provider| provider.kind(&typed.kind))
        .ok_or_else(|| refusals::unknown_type(&typed.namespace, &context.version))?;
    if kind.versions.contains(&context.version.as_str()) {
        Ok(())
    } else {
        Err(refusals::unknown_version(
            kind.name,
            &context.version,
            kind.versions,
        ))
    }
}

/// Refuses writes because of a disabled subscription, management locks and deny policies.
fn guards(context: &Context<'_>, route: &Route) -> Result<(), ArmError> {
    let verb = route::verb(&context.request.method);
    if verb == "read" || route.subscription.is_none() {
        return Ok(());
    }
    let subscription = context.subscription()?;
    let path = context.request.path();
    if subscription.state == SubscriptionState::Disabled {
        return Err(refusals::read_only(&subscription.id));
    }
    let locked = match subscription.lock.as_deref() {
        Some("CanNotDelete") => verb == "delete",
        Some(_) => verb == "delete" || verb == "write",
        None => false,
    };
    if locked {
        return Err(refusals::locked(
            &path,
            verb,
            &format!("/subscriptions/{}", subscription.id),
        ));
    }
    match &subscription.deny_policy {
        Some(policy) if verb == "write" => {
            let name = path.rsplit('/').next().unwrap_or_default();
            Err(refusals::denied_by_policy(&subscription.id, name, policy))
        }
        _ => Ok(()),
    }
}

fn handle(context: &mut Context<'_>, resource: &Resource) -> Result<Answer, ArmError> {
    let method = context.request.method.clone();
    match resource {
        Resource::Subscriptions if method == Method::GET => Ok(subscriptions::list(context)),
        Resource::Subscription if method == Method::GET => subscriptions::get(context),
        Resource::Tenants if method == Method::GET => Ok(subscriptions::tenants(context)),
        Resource::Locations if method == Method::GET => Ok(subscriptions::locations(context)),
        Resource::Providers if method == Method::GET => providers::list(context),
        Resource::Provider(namespace) if method == Method::GET => providers::get(context, namespace),
        Resource::Register(namespace) => providers::register(context, namespace),
        Resource::Unregister(namespace) => providers::unregister(context, namespace),
        Resource::ResourceGroups if method == Method::GET => resource_groups::list(context),
        Resource::ResourceGroup(name) => resource_groups::one(context, name),
        Resource::Typed(typed) => typed_resource(context, typed),
        _ => Err(refusals::no_route(method.as_str(), &context.request.path())),
    }
}

fn typed_resource(context: &mut Context<'_>, typed: &Typed) -> Result<Answer, ArmError> {
    let is = |namespace, kind| typed.is(namespace, kind);
    if is("Microsoft.Security", "pricings") {
        pricings::answer(context, typed)
    } else if is("Microsoft.Security", "settings") {
        settings::answer(context, typed)
    } else if is("Microsoft.Security", "serverVulnerabilityAssessmentsSettings") {
        assessments::answer(context, typed)
    } else if is("Microsoft.Security", "securityConnectors") {
        Ok(connectors::answer(context, typed))
    } else if is("Microsoft.Security", "autoProvisioningSettings") {
        subscription_reads::auto_provisioning(context, typed)
    } else if is("Microsoft.Authorization", "permissions") {
        subscription_reads::permissions(context)
    } else if is("Microsoft.OperationsManagement", "solutions") {
        workspaces::solution(context, typed)
    } else if is("Microsoft.OperationalInsights", "workspaces") {
        workspaces::workspace(context, typed)
    } else if is("Microsoft.Management", "managementGroups/descendants") && typed.depth == 0 {
        graph::descendants(context)
    } else {
        machine_resource(context, typed)
    }
}

fn machine_resource(context: &mut Context<'_>, typed: &Typed) -> Result<Answer, ArmError> {
    let full = format!("{}/{}", typed.namespace, typed.kind).to_ascii_lowercase();
    match full.as_str() {
        "microsoft.compute/virtualmachines" => machines::answer(context, typed, Kind::Vm),
        "microsoft.compute/virtualmachines/instanceview" => machines::instance_view(context, typed),
        "microsoft.compute/virtualmachines/extensions" => extensions::answer(context, typed, Kind::Vm),
        "microsoft.compute/virtualmachinescalesets" => machines::answer(context, typed, Kind::ScaleSet),
        "microsoft.hybridcompute/machines" => machines::answer(context, typed, Kind::Arc),
        "microsoft.hybridcompute/machines/extensions" => extensions::answer(context, typed, Kind::Arc),
        "microsoft.security/healthreports" => health_reports::answer(context, typed),
        _ if typed.is_operation() => extensions::operation(context, typed),
        _ => Err(refusals::unknown_type(&typed.namespace, &context.version)),
    }
}
