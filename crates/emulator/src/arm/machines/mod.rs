//! Machines of Microsoft.Compute and Microsoft.HybridCompute, as ARM and Resource Graph show them.

mod compute;
mod failure;
mod hybrid;
mod rows;

use axum::http::Method;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use self::hybrid::Resources;
pub(crate) use self::rows::machine_rows;
pub(super) use self::{compute::vm_extension, failure::message, hybrid::arc_extension};
use super::{Call, Typed, refusals};
use crate::{
    answer::{Answer, ArmError},
    state::machines::{Kind, Machine, Moment},
    switches::Switch,
};

/// Items on one page of a list.
pub(super) const PAGE: usize = 100;

pub(super) fn answer(call: &mut Call<'_>, typed: &Typed, kind: Kind) -> Result<Answer, ArmError> {
    if call.request.method != Method::GET {
        return Err(refusals::no_method(
            call.request.method.as_str(),
            kind.full_type(),
        ));
    }
    let at = call.subscription()?.fleet_now(call.now);
    check_group(call, typed)?;
    match &typed.name {
        Some(name) => {
            let machine = machine(call, typed, kind, name, at)?;
            Ok(Answer::ok(described(call, machine, at, true)?))
        }
        None => list(call, typed, kind, at),
    }
}

/// `GET …/virtualMachines/{vm}/instanceView`
pub(super) fn instance_view(call: &Call<'_>, typed: &Typed) -> Result<Answer, ArmError> {
    let at = call.subscription()?.fleet_now(call.now);
    check_group(call, typed)?;
    let machine = machine(call, typed, Kind::Vm, call.request.segment(7), at)?;
    Ok(Answer::ok(compute::instance_view(machine, at)))
}

/// 404 for a resource group that does not exist.
pub(super) fn check_group(call: &Call<'_>, typed: &Typed) -> Result<(), ArmError> {
    let Some(group) = typed.resource_group() else {
        return Ok(());
    };
    if call
        .subscription()?
        .resource_groups
        .contains_key(&group.to_ascii_lowercase())
    {
        Ok(())
    } else {
        Err(refusals::group_not_found(group))
    }
}

/// The machine that a path names.
pub(super) fn machine<'a>(
    call: &'a Call<'_>,
    typed: &Typed,
    kind: Kind,
    name: &str,
    at: Moment,
) -> Result<&'a Machine, ArmError> {
    let group = typed.resource_group();
    call.subscription()?
        .fleet
        .machines
        .get(&kind.key(group.unwrap_or_default(), name))
        .filter(|machine| machine.exists(at))
        .ok_or_else(|| refusals::resource_not_found(kind.full_type(), name, group))
}

fn expands(call: &Call<'_>) -> bool {
    let expected = call.request.query("$expand").unwrap_or_default();
    expected.to_ascii_lowercase().contains("instanceview")
        || call
            .request
            .query("statusOnly")
            .is_some_and(|only| only.eq_ignore_ascii_case("true"))
}

/// `alone`: a GET of one machine, which includes the extensions of an Arc machine.
fn described(call: &Call<'_>, machine: &Machine, at: Moment, alone: bool) -> Result<Value, ArmError> {
    let subscription = call.subscription()?;
    let expand = expands(call);
    Ok(match machine.kind {
        Kind::Vm => compute::vm(&subscription.id, machine, at, expand),
        Kind::Arc => hybrid::arc_machine(
            &subscription.id,
            &subscription.tenant,
            machine,
            at,
            match alone || expand {
                false => Resources::Hidden,
                true if call.world.switches.flipped(Switch::ArcMachineWithoutExtensions) => {
                    Resources::ShownUnlessEmpty
                }
                true => Resources::Shown,
            },
        ),
        Kind::ScaleSet => compute::scale_set(&subscription.id, machine),
    })
}

fn list(call: &Call<'_>, typed: &Typed, kind: Kind, at: Moment) -> Result<Answer, ArmError> {
    let prefix = match typed.resource_group() {
        Some(group) => kind.key(group, ""),
        None => format!("{}/", kind.letter()),
    };
    let after = skipped(call)?;
    let subscription = call.subscription()?;
    let found = subscription
        .fleet
        .machines
        .of_kind(kind)
        .filter(|(key, machine)| key.starts_with(&prefix) && ***key > *after && machine.exists(at));
    let mut items = Vec::new();
    let mut last = None;
    for (key, machine) in found {
        if items.len() == PAGE {
            return Ok(page(call, items, last));
        }
        items.push(as_listed(described(call, machine, at, false)?));
        last = Some(key.to_string());
    }
    Ok(page(call, items, None))
}

/// A list names extensions by id only: the Azure CLI rejects full extensions there.
fn as_listed(mut machine: Value) -> Value {
    let children = machine.get_mut("resources").and_then(Value::as_array_mut);
    for child in children.into_iter().flatten() {
        *child = json!({"id": child.get("id")});
    }
    machine
}

/// The key after which a page begins.
pub(super) fn skipped(call: &Call<'_>) -> Result<String, ArmError> {
    let Some(token) = call.request.query("$skipToken") else {
        return Ok(String::new());
    };
    URL_SAFE_NO_PAD
        .decode(&token)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| {
            ArmError::bad_request("BadRequest", format!("The skip token \"{token}\" is not valid."))
        })
}

/// One page of a list; `last` is the last key on it if more pages follow.
pub(super) fn page(call: &Call<'_>, items: Vec<Value>, last: Option<String>) -> Answer {
    let Some(last) = last else {
        return Answer::list(items);
    };
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in url::form_urlencoded::parse(call.request.raw_query.as_bytes()) {
        if !name.eq_ignore_ascii_case("$skipToken") {
            query.append_pair(&name, &value);
        }
    }
    query.append_pair("$skipToken", &URL_SAFE_NO_PAD.encode(last));
    let next = format!("{}{}?{}", call.host, call.request.raw_path, query.finish());
    Answer::ok(json!({"value": items, "nextLink": next}))
}
