//! `Microsoft.Security/securityConnectors`: AWS accounts, GCP projects and the like.
//!
//! Synchronous, although a PUT logs in to the other cloud before it returns. Errors of the service itself have
//! their own envelope, see [`refusal`].

mod body;
mod offerings;
mod render;

use std::time::Duration;

use axum::http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use self::render::View;
pub(crate) use self::render::connector_rows;
use super::{Call, Reply, Typed, catalogue::LOCATIONS, machines, refusals, regions::AZURE_REGIONS};
use crate::{
    answer::{Answer, ArmError},
    instant,
    state::{Cloud, Connector, Subscription, problems, rbac},
    switches::Switch,
};

pub(super) const TYPE: &str = "Microsoft.Security/securityConnectors";

/// ARM's timeout for a provider.
const TIMEOUT: Duration = Duration::from_secs(60);

/// An error of the service, in its own envelope instead of ARM's.
fn refusal(status: StatusCode, message: &str) -> Answer {
    Answer::json(
        status,
        json!({"statusCode": status.as_u16(),
               "errorMessage": format!("error occured for security connector: {message}"),
               "errorCorrelation": Uuid::new_v4().to_string()}),
    )
}

fn bad(message: &str) -> Answer {
    refusal(StatusCode::BAD_REQUEST, message)
}

/// The status code that a switch selects.
fn status_of(call: &Call<'_>, switch: Switch) -> StatusCode {
    if call.world.switches.answer(switch) == "Conflict" {
        StatusCode::CONFLICT
    } else {
        StatusCode::BAD_REQUEST
    }
}

pub(super) fn answer(call: &mut Call<'_>, typed: &Typed) -> Reply {
    handled(call, typed).unwrap_or_else(Reply::from)
}

fn handled(call: &mut Call<'_>, typed: &Typed) -> Result<Reply, Answer> {
    let method = call.request.method.clone();
    machines::check_group(call, typed)?;
    let Some(name) = &typed.name else {
        if method == Method::GET {
            return list(call, typed);
        }
        return Err(refusals::no_method(method.as_str(), TYPE).into());
    };
    if typed.resource_group().is_none() {
        return Err(refusals::no_route(method.as_str(), &call.request.path()).into());
    }
    match method {
        Method::GET => {
            let connector = found(call, typed, name)?;
            Ok(Answer::ok(View::of(call)?.resource(connector)).into())
        }
        Method::PUT => put(call, typed, name),
        Method::PATCH => patch(call, typed, name),
        Method::DELETE => delete(call, typed, name),
        _ => Err(refusals::no_method(method.as_str(), TYPE).into()),
    }
}

/// The connector that a path names.
pub(super) fn found<'a>(call: &'a Call<'_>, typed: &Typed, name: &str) -> Result<&'a Connector, ArmError> {
    let subscription = call.subscription()?;
    let group = typed.resource_group();
    subscription
        .connector(group.unwrap_or_default(), name, subscription.fleet_now(call.now))
        .ok_or_else(|| refusals::resource_not_found(TYPE, name, group))
}

fn list(call: &Call<'_>, typed: &Typed) -> Result<Reply, Answer> {
    let after = machines::skipped(call)?;
    let prefix = typed
        .resource_group()
        .map(|group| Connector::key_of(group, ""))
        .unwrap_or_default();
    let view = View::of(call)?;
    let subscription = call.subscription()?;
    let at = subscription.fleet_now(call.now);
    let mut items = Vec::new();
    let mut last = None;
    for (key, connector) in subscription.connectors_at(at) {
        if !key.starts_with(&prefix) || *key <= after {
            continue;
        }
        if items.len() == machines::PAGE {
            return Ok(machines::page(call, items, last).into());
        }
        items.push(view.resource(connector));
        last = Some(key.clone());
    }
    Ok(machines::page(call, items, None).into())
}

/// Allows one write of a connector at a time; writes of other connectors are independent.
fn lock(call: &Call<'_>, key: &str) -> Result<(), Answer> {
    let until = call.subscription()?.connector_locks.get(key).copied();
    if until.unwrap_or_default() <= call.epoch_milliseconds() {
        return Ok(());
    }
    Err(refusal(
        StatusCode::CONFLICT,
        "Another update operation is in progress. Please retry in a few minutes",
    ))
}

/// Delays the response and holds the lock for as long. ARM times out after a minute; the effect remains.
fn hold(call: &mut Call<'_>, key: &str, takes: Duration, answer: Answer) -> Result<Reply, ArmError> {
    let until = call
        .epoch_milliseconds()
        .saturating_add(i64::try_from(takes.as_millis()).unwrap_or_default());
    let locks = &mut call.subscription_mut()?.connector_locks;
    if takes.is_zero() {
        locks.remove(key);
    } else {
        locks.insert(key.into(), until);
    }
    if takes <= TIMEOUT {
        return Ok(Reply::after(takes, answer));
    }
    let timeout = ArmError::gateway(
        StatusCode::GATEWAY_TIMEOUT,
        "GatewayTimeout",
        "The gateway did not receive a response from 'Microsoft.Security' within the specified time period.",
    );
    Ok(Reply::after(TIMEOUT, timeout.into()))
}

fn put(call: &mut Call<'_>, typed: &Typed, name: &str) -> Result<Reply, Answer> {
    let group = typed.resource_group().unwrap_or_default().to_ascii_lowercase();
    let key = Connector::key_of(&group, name);
    check_name(call, name)?;
    let sent = call.body()?;
    let location = location(call, &sent)?;
    lock(call, &key)?;
    let properties = body::parse(&call.version(), &sent, &call.world.switches)?;
    let tags = match sent.get("tags") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(tags)) => tags.clone(),
        Some(_) => return Err(refusals::invalid_content("'tags' must be an object").into()),
    };
    let old = found(call, typed, name).ok().cloned();
    if let Some(old) = &old
        && plain(&old.location) != plain(&location)
    {
        return Err(moved(name, &group, &old.location, &location).into());
    }
    write(
        call,
        &key,
        (name, &group),
        old.as_ref(),
        (location, tags, properties),
    )
}

fn patch(call: &mut Call<'_>, typed: &Typed, name: &str) -> Result<Reply, Answer> {
    let old = found(call, typed, name)?.clone();
    let key = old.key();
    lock(call, &key)?;
    let sent = call.body()?;
    let tags = match sent.get("tags") {
        None | Some(Value::Null) => old.tags.clone(),
        Some(Value::Object(tags)) => tags.clone(),
        Some(_) => return Err(refusals::invalid_content("'tags' must be an object").into()),
    };
    let Some(given) = sent.get("properties").and_then(Value::as_object) else {
        // A change of tags alone needs no login.
        let connector = Connector {
            tags,
            modified: stamp(call),
            ..old
        };
        let answer = View::of(call)?.resource(&connector);
        call.subscription_mut()?.connectors.insert(key, connector);
        return Ok(Answer::ok(answer).into());
    };
    let merges = call.world.switches.flipped(Switch::ConnectorPatchOfferings);
    let whole = body::over(&old.properties, given, &call.version(), merges);
    let properties = body::parse(
        &call.version(),
        &json!({"properties": whole}),
        &call.world.switches,
    )?;
    let location = old.location.clone();
    let (name, group) = (old.name.clone(), old.group.clone());
    write(
        call,
        &key,
        (&name, &group),
        Some(&old),
        (location, tags, properties),
    )
}

/// The common part of PUT and PATCH, once the new content is known.
fn write(
    call: &mut Call<'_>,
    key: &str,
    (name, group): (&str, &str),
    old: Option<&Connector>,
    (location, tags, properties): (String, Map<String, Value>, Map<String, Value>),
) -> Result<Reply, Answer> {
    let now = call.subscription()?.fleet_now(call.now);
    let created = old.is_none();
    let mut connector = Connector {
        name: old.map_or(name, |old| old.name.as_str()).to_owned(),
        group: group.into(),
        location,
        tags,
        properties,
        since: old.map_or(now, |old| old.since),
        parent: old.and_then(|old| old.parent.clone()),
        unassigned: false,
        trial_end: old.and_then(|old| old.trial_end.clone()),
        created: old
            .as_ref()
            .map_or_else(|| stamp(call), |old| old.created.clone()),
        modified: stamp(call),
    };
    if let Some(old) = old {
        same_account(call, old, &connector)?;
    }
    alone(call, key, &connector)?;
    contributes(call, group)?;
    assigns_roles(call, old, &mut connector)?;
    let knobs = &call.world.knobs;
    let mut takes = knobs.connector_put_time;
    if connector.cloud().is_some() {
        takes += knobs.connector_authentication_delay;
        if let Some(refused) = login(&connector, call.subscription()?) {
            return Ok(hold(call, key, takes, refused)?);
        }
    }
    if connector.pays() && connector.trial_end.is_none() {
        let end = call.now.checked_add(jiff::SignedDuration::from_hours(30 * 24));
        connector.trial_end = end.ok().map(instant::ticks);
    }
    let body = View::of(call)?.resource(&connector);
    call.subscription_mut()?.connectors.insert(key.into(), connector);
    let status = if created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok(hold(call, key, takes, Answer::json(status, body))?)
}

fn delete(call: &mut Call<'_>, typed: &Typed, name: &str) -> Result<Reply, Answer> {
    let group = typed.resource_group().unwrap_or_default();
    let key = Connector::key_of(group, name);
    lock(call, &key)?;
    contributes(call, group)?;
    let there = found(call, typed, name).is_ok();
    if there {
        let connectors = &mut call.subscription_mut()?.connectors;
        connectors.retain(|known, connector| *known != key && connector.parent.as_deref() != Some(&key));
    }
    // Recorded: 204 also when the connector existed.
    Ok(Answer::empty(StatusCode::NO_CONTENT).into())
}

fn stamp(call: &Call<'_>) -> (String, String) {
    (call.caller.client_id.clone(), instant::ticks(call.now))
}

fn check_name(call: &Call<'_>, name: &str) -> Result<(), Answer> {
    let fine = name.len() <= 63
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || "_.-".contains(letter));
    if fine || call.world.switches.flipped(Switch::ConnectorName) {
        return Ok(());
    }
    Err(bad(&format!(
        "The name '{name}' of the security connector is not valid."
    )))
}

/// A region name in lower case without blanks.
fn plain(location: &str) -> String {
    location.to_ascii_lowercase().replace(' ', "")
}

fn location(call: &Call<'_>, sent: &Value) -> Result<String, ArmError> {
    let location = sent
        .get("location")
        .and_then(Value::as_str)
        .filter(|location| !location.is_empty())
        .ok_or_else(|| {
            ArmError::bad_request(
                "LocationRequired",
                "The location property is required for this definition.",
            )
        })?;
    let known: Vec<&str> = if call.world.switches.flipped(Switch::ConnectorLocation) {
        LOCATIONS.iter().map(|(name, _)| *name).collect()
    } else {
        AZURE_REGIONS.to_vec()
    };
    if !known.contains(&plain(location).as_str()) {
        return Err(ArmError::gateway(
            StatusCode::BAD_REQUEST,
            "LocationNotAvailableForResourceType",
            format!(
                "The provided location '{location}' is not available for resource type '{TYPE}'. List of \
                 available regions for the resource type is '{}'.",
                known.join(",")
            ),
        ));
    }
    Ok(location.into())
}

fn moved(name: &str, group: &str, old: &str, new: &str) -> ArmError {
    ArmError::gateway(
        StatusCode::CONFLICT,
        "InvalidResourceLocation",
        format!(
            "The resource '{name}' already exists in location '{old}' in resource group '{group}'. A resource \
             with the same name cannot be created in location '{new}'. Please select a new resource name."
        ),
    )
}

/// A connector cannot change its account.
fn same_account(call: &Call<'_>, old: &Connector, new: &Connector) -> Result<(), Answer> {
    for (what, old, new) in [
        ("hierarchyIdentifier", old.account(), new.account()),
        ("environmentName", old.environment(), new.environment()),
    ] {
        if !old.eq_ignore_ascii_case(new) {
            let status = status_of(call, Switch::ConnectorIdentifierChange);
            let message =
                format!("The {what} of a security connector cannot be changed from '{old}' to '{new}'.");
            return Err(refusal(status, &message));
        }
    }
    Ok(())
}

/// An account has at most one connector in a tenant. Not checked for Azure `DevOps` and similar environments.
fn alone(call: &Call<'_>, key: &str, new: &Connector) -> Result<(), Answer> {
    if new.cloud().is_none() {
        return Ok(());
    }
    let own = call.subscription()?;
    let other = call
        .world
        .subscriptions
        .values()
        .filter(|subscription| subscription.tenant == own.tenant)
        .flat_map(|subscription| {
            let at = subscription.fleet_now(call.now);
            subscription
                .connectors_at(at)
                .map(move |(key, connector)| (subscription, key, connector))
        })
        .find(|(subscription, other, connector)| {
            (subscription.id != own.id || *other != key)
                && connector.parent.is_none()
                && connector.cloud() == new.cloud()
                && connector.account() == new.account()
        });
    let Some((subscription, _, connector)) = other else {
        return Ok(());
    };
    let message = format!(
        "The account '{}' is already connected by '{}'.",
        new.account(),
        connector.id(&subscription.id)
    );
    Err(refusal(status_of(call, Switch::DuplicateAccount), &message))
}

/// Microsoft's quickstarts ask for Contributor on the resource group of a connector.
fn contributes(call: &Call<'_>, group: &str) -> Result<(), ArmError> {
    const ACTION: &str = "Microsoft.Resources/subscriptions/resourceGroups/write";
    if !call.world.switches.flipped(Switch::ConnectorRole) || call.may(ACTION) {
        return Ok(());
    }
    Err(refusals::authorization_failed(
        &call.caller.client_id,
        &call.caller.object_id,
        ACTION,
        &format!("/subscriptions/{}/resourceGroups/{group}", call.subscription_id()),
    ))
}

/// Arc provisioning assigns a role, so the caller who enables it needs the right to do that.
fn assigns_roles(call: &Call<'_>, old: Option<&Connector>, new: &mut Connector) -> Result<(), ArmError> {
    let before = old.is_some_and(|old| old.provisions("arcAutoProvisioning") && !old.unassigned);
    if before || !new.provisions("arcAutoProvisioning") || call.may(rbac::ASSIGN_ROLES) {
        return Ok(());
    }
    if call.world.switches.flipped(Switch::ArcWithoutRoleAssignment) {
        new.unassigned = true;
        return Ok(());
    }
    Err(refusals::authorization_failed(
        &call.caller.client_id,
        &call.caller.object_id,
        rbac::ASSIGN_ROLES,
        &format!("/subscriptions/{}", call.subscription_id()),
    ))
}

/// The service's error text about a failed login.
fn login(connector: &Connector, subscription: &Subscription) -> Option<Answer> {
    let found = problems(connector, &subscription.clouds);
    let problem = found.iter().find(|problem| problem.login)?;
    Some(if connector.cloud() == Some(Cloud::Gcp) {
        bad(&format!(
            "There is a problem with authenticating to your GCP project. Please contact the support with given \
             tracing ID {}.",
            Uuid::new_v4()
        ))
    } else {
        bad(&problem.description)
    })
}
