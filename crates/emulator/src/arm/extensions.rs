//! Extensions of machines, and the long-running operations that change them.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Call, Typed, machines, refusals};
use crate::{
    answer::{Answer, ArmError},
    state::machines::{
        Ext, Kind, Machine, Moment, Operation, PUBLISHER, Power, State, Status, VNext, What, Work, spelled,
    },
};

/// How long an extension may run before Compute times out.
const LONGEST: Moment = 90 * 60_000;

const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Arc => "Microsoft.HybridCompute/machines/extensions",
        _ => "Microsoft.Compute/virtualMachines/extensions",
    }
}

pub(super) fn answer(call: &mut Call<'_>, typed: &Typed, kind: Kind) -> Result<Answer, ArmError> {
    let at = call.subscription()?.fleet_now(call.now);
    machines::check_group(call, typed)?;
    let owner = call.request.segment(7).to_owned();
    let method = call.request.method.clone();
    let found = machines::machine(call, typed, kind, &owner, at);
    if (method == Method::PUT || method == Method::PATCH) && found.is_err() {
        return Err(ArmError::new(
            StatusCode::NOT_FOUND,
            "ParentResourceNotFound",
            format!(
                "Failed to perform '{method}' on a nested resource. The parent resource \"{owner}\" was not found."
            ),
        ));
    }
    let machine = found?;
    let Some(name) = &typed.name else {
        if method != Method::GET {
            return Err(refusals::no_method(method.as_str(), kind_name(kind)));
        }
        let all = machine
            .extensions(at)
            .map(|ext| described(call, machine, ext, at));
        return Ok(Answer::list(all.collect::<Result<_, _>>()?));
    };
    match method {
        Method::GET => {
            let ext = machine.extension(name, at).ok_or_else(|| {
                refusals::resource_not_found(
                    kind_name(kind),
                    &format!("{owner}/{name}"),
                    typed.resource_group(),
                )
            })?;
            Ok(Answer::ok(described(call, machine, ext, at)?))
        }
        Method::PUT | Method::PATCH => write(call, &machine.clone(), name, at),
        Method::DELETE => delete(call, &machine.key(), name, at),
        _ => Err(refusals::no_method(method.as_str(), kind_name(kind))),
    }
}

fn described(call: &Call<'_>, machine: &Machine, ext: &Ext, at: Moment) -> Result<Value, ArmError> {
    let id = &call.subscription()?.id;
    let expand = call
        .request
        .query("$expand")
        .is_some_and(|expected| expected.eq_ignore_ascii_case("instanceView"));
    Ok(if machine.kind == Kind::Arc {
        machines::arc_extension(id, machine, ext, at)
    } else {
        machines::vm_extension(id, machine, ext, at, expand)
    })
}

fn write(call: &mut Call<'_>, machine: &Machine, name: &str, at: Moment) -> Result<Answer, ArmError> {
    let body = call.body()?;
    let old = machine.extension(name, at);
    let patch = call.request.method == Method::PATCH;
    if patch && old.is_none() {
        return Err(refusals::resource_not_found(
            kind_name(machine.kind),
            name,
            Some(&machine.group),
        ));
    }
    if machine.kind == Kind::Vm && machine.power != Power::Running {
        return Err(not_running(machine));
    }
    if old.is_some_and(|old| matches!(old.state(at), State::Creating | State::Updating | State::Deleting)) {
        return Err(ArmError::new(
            StatusCode::CONFLICT,
            "Conflict",
            format!("Another operation on extension '{name}' is in progress. Please retry later."),
        ));
    }
    let taking = call.subscription()?.fleet.timing.taking;
    let ext = run(machine, name, &body, old, at, taking)?;
    let operation = Operation {
        kind: machine.kind,
        work: if old.is_some() { Work::Update } else { Work::Create },
        machine: machine.key(),
        extension: name.to_owned(),
        begin: at,
        end: ext.done,
        error: error(machine, &ext),
    };
    let (created, now, hybrid) = (old.is_none(), call.now, machine.kind == Kind::Arc);
    let key = machine.key();
    let subscription = call.subscription_mut()?;
    if let Some(machine) = subscription.fleet.machines.change().get_mut(key.as_str()) {
        machine.replace_extension(ext, at);
    }
    let operation = subscription.begin_operation(operation);
    subscription.settle(now);
    let location = machine.location.to_string();
    if hybrid {
        // Recorded: an empty 202 without Retry-After.
        return Ok(links(
            call,
            Answer::empty(StatusCode::ACCEPTED),
            &location,
            &operation,
            true,
        ));
    }
    let subscription = call.subscription()?;
    let shown = subscription
        .fleet
        .machines
        .get(&key)
        .and_then(|machine| {
            Some(machines::vm_extension(
                &subscription.id,
                machine,
                machine.extension(name, at)?,
                at,
                false,
            ))
        })
        .unwrap_or_default();
    let status = if created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let answer = links(call, Answer::json(status, shown), &location, &operation, false);
    Ok(answer.header("Retry-After", retry(taking)))
}

/// The run that a PUT or PATCH starts.
fn run(
    machine: &Machine,
    name: &str,
    body: &Value,
    old: Option<&Ext>,
    at: Moment,
    taking: Moment,
) -> Result<Ext, ArmError> {
    let given = |member: &str| body.pointer(&format!("/properties/{member}"));
    let word = |member: &str| given(member).and_then(Value::as_str);
    let (publisher, kind) = match (word("publisher"), word("type"), old) {
        (Some(publisher), Some(kind), _) => (publisher.to_owned(), kind.to_owned()),
        (_, _, Some(old)) => (old.publisher().to_owned(), machine.ext_type(old).to_owned()),
        _ => {
            return Err(refusals::invalid_content(
                "'properties.publisher' and 'properties.type' are required",
            ));
        }
    };
    let sensor = publisher.eq_ignore_ascii_case(PUBLISHER) && kind.eq_ignore_ascii_case(machine.mde_type());
    let mut ext = if sensor {
        machine.attempt(at, taking)
    } else {
        let own = Box::new((publisher.into_boxed_str(), kind.into_boxed_str()));
        Ext::new(What::Own(own), at, at.saturating_add(taking))
    };
    ext.name = Some(name.into());
    ext.vnext = VNext::Absent;
    ext.version = word("typeHandlerVersion")
        .map(Into::into)
        .or_else(|| old?.version.clone());
    ext.settings = match given("settings") {
        Some(settings) => Some(settings.to_string().into()),
        None => old.map_or(Some("{}".into()), |old| old.settings.clone()),
    };
    let script = given("protectedSettings/defenderForEndpointOnboardingScript").is_some();
    if sensor && !script && old.is_none() {
        (ext.outcome, ext.code) = (State::Failed, 30);
        ext.message = Some(
            "Failed to configure Microsoft Defender for Endpoint: the protected setting \
             defenderForEndpointOnboardingScript is absent; the mdeOnboardings API has it. Error code: 30"
                .into(),
        );
    }
    // The agent does not answer, so the run waits until it times out.
    if machine
        .agent
        .as_ref()
        .is_some_and(|agent| agent.status != Status::Connected)
    {
        ext.done = at + LONGEST;
        (ext.outcome, ext.code) = (State::Failed, 1);
        ext.message = Some("The agent did not answer in time".into());
    }
    Ok(ext)
}

fn error(machine: &Machine, ext: &Ext) -> Option<(String, String)> {
    if ext.outcome != State::Failed {
        return None;
    }
    let (kind, name) = (machine.ext_type(ext), machine.ext_name(ext));
    let code = match machine.kind {
        Kind::Arc => "HCRP400",
        _ => "VMExtensionProvisioningError",
    };
    let message = format!(
        "VM has reported a failure when processing extension '{name}' (publisher '{}' and type '{kind}'). Error message: \"{}\".",
        ext.publisher(),
        machines::message(machine, ext, &State::Failed)
    );
    Some((code.into(), message))
}

fn delete(call: &mut Call<'_>, key: &str, name: &str, at: Moment) -> Result<Answer, ArmError> {
    let now = call.now;
    let subscription = call.subscription_mut()?;
    let found = subscription
        .fleet
        .machines
        .get(key)
        .filter(|machine| machine.extension(name, at).is_some());
    let Some(machine) = found else {
        return Ok(Answer::empty(StatusCode::NO_CONTENT));
    };
    if machine.kind == Kind::Vm && machine.power != Power::Running {
        return Err(not_running(machine));
    }
    let (kind, location) = (machine.kind, machine.location.to_string());
    let taking = subscription.fleet.timing.taking / 5;
    let end = subscription
        .fleet
        .machines
        .change()
        .get_mut(key)
        .and_then(|machine| machine.delete_extension(name, at, taking));
    let operation = subscription.begin_operation(Operation {
        kind,
        work: Work::Delete,
        machine: key.to_owned(),
        extension: name.to_owned(),
        begin: at,
        end: end.unwrap_or(at),
        error: None,
    });
    subscription.settle(now);
    let answer = links(
        call,
        Answer::empty(StatusCode::ACCEPTED),
        &location,
        &operation,
        true,
    );
    Ok(answer.header("Retry-After", retry(taking)))
}

fn not_running(machine: &Machine) -> ArmError {
    ArmError::new(
        StatusCode::CONFLICT,
        "OperationNotAllowed",
        format!(
            "Cannot modify extensions in the VM when the VM is not running. VM: '{}'.",
            machine.name
        ),
    )
}

fn retry(taking: Moment) -> &'static str {
    if taking < 20_000 { "1" } else { "10" }
}

/// The headers of a long-running operation; always on the emulator's own host.
pub(super) fn links(
    call: &Call<'_>,
    answer: Answer,
    location: &str,
    id: &str,
    with_location: bool,
) -> Answer {
    let hybrid = call
        .request
        .segment(5)
        .eq_ignore_ascii_case("Microsoft.HybridCompute");
    let (namespace, status, result) = if hybrid {
        ("Microsoft.HybridCompute", "operationstatus", "operationresults")
    } else {
        ("Microsoft.Compute", "operations", "operations")
    };
    let base = format!(
        "{}/subscriptions/{}/providers/{namespace}/locations/{location}",
        call.host,
        call.subscription_id()
    );
    let query = format!("api-version={}", call.version());
    let monitor = if hybrid { "" } else { "&monitor=true" };
    let answer = answer.header("Azure-AsyncOperation", format!("{base}/{status}/{id}?{query}"));
    if with_location || answer.status == StatusCode::CREATED {
        answer.header("Location", format!("{base}/{result}/{id}?{query}{monitor}"))
    } else {
        answer
    }
}

/// `…/locations/{location}/operations/{id}` and its variants.
pub(super) fn operation(call: &Call<'_>, typed: &Typed) -> Result<Answer, ArmError> {
    let id = typed.name.as_deref().unwrap_or_default();
    let subscription = call.subscription()?;
    let operation = subscription
        .fleet
        .operations
        .get(&id.to_ascii_lowercase())
        .ok_or_else(|| refusals::resource_not_found("operations", id, None))?;
    let at = subscription.fleet_now(call.now);
    let resource = (operation.work != Work::Delete)
        .then(|| {
            let machine = subscription.fleet.machines.get(&operation.machine)?;
            let ext = machine.extension(&operation.extension, at)?;
            Some(if operation.kind == Kind::Arc {
                machines::arc_extension(&subscription.id, machine, ext, at)
            } else {
                machines::vm_extension(&subscription.id, machine, ext, at, false)
            })
        })
        .flatten();
    let monitor =
        call.request.query("monitor").is_some() || typed.kind.to_ascii_lowercase().ends_with("results");
    if !monitor {
        // Only HybridCompute embeds the resource.
        let embedded = resource.filter(|_| operation.kind == Kind::Arc);
        let path = call.request.path();
        return Ok(Answer::ok(status(operation, &path, id, at, embedded)));
    }
    if at < operation.end {
        let again = format!(
            "{}{}?{}",
            call.host, call.request.raw_path, call.request.raw_query
        );
        let answer = Answer::empty(StatusCode::ACCEPTED).header("Location", again);
        return Ok(answer.header("Retry-After", retry(operation.end - at)));
    }
    match (&operation.error, resource) {
        (Some((code, message)), _) => Err(ArmError::new(StatusCode::CONFLICT, code, message.as_str())),
        (None, Some(resource)) => Ok(Answer::ok(resource)),
        (None, None) => Ok(Answer::empty(StatusCode::NO_CONTENT)),
    }
}

/// The document at the `Azure-AsyncOperation` URL.
fn status(operation: &Operation, path: &str, name: &str, at: Moment, resource: Option<Value>) -> Value {
    let over = at >= operation.end;
    let status = match (&operation.error, over) {
        (_, false) => "InProgress",
        (Some(_), true) => "Failed",
        (None, true) => "Succeeded",
    };
    let begin = spelled(operation.begin);
    let mut body = json!({"id": path, "name": name, "status": status, "startTime": begin});
    if let (Some(body), true) = (body.as_object_mut(), over) {
        body.insert("endTime".into(), json!(spelled(operation.end)));
        if let Some((code, message)) = &operation.error {
            body.insert("error".into(), json!({"code": code, "message": message}));
        } else if let Some(resource) = resource {
            body.insert("properties".into(), resource);
        }
    }
    body
}
