//! Machines with the members of a seed: seeds, `ctl machine`, and direct changes.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    Timing, hybrid,
    machine::{Agent, Ext, HealthReport, Kind, Machine, Moment, NEVER, PUBLISHER, VNext, What},
    names::{Cloud, Power, State, Status},
    os::OsId,
    spelled,
};
use crate::state::{ResourceGroup, Subscription};

type Members = Map<String, Value>;

/// Adds a machine or replaces one; `seeded`: as if the integration had been on for a long time.
pub(crate) fn add(
    subscription: &mut Subscription,
    seed: &Value,
    seeded: bool,
    now: Timestamp,
) -> Result<String, String> {
    let members = seed.as_object().ok_or("expected an object with a name")?;
    let at = subscription.fleet_now(now);
    let mut machine = made(subscription, members, at)?;
    let timing = subscription.fleet.timing;
    for (path, value) in flat(members) {
        set_one(&mut machine, &path, &value, at, timing)
            .map_err(|problem| format!("{}: {path}: {problem}", machine.name))?;
    }
    // A seeded machine has always existed: a lagging index must not show an earlier moment.
    machine.past.clear();
    if seeded && !members.contains_key("mde") && subscription.wants(&machine, at) {
        machine.long_since(at, timing.taking);
    }
    let key = machine.key();
    make_group(subscription, &machine.group, &machine.location);
    subscription
        .fleet
        .machines
        .change()
        .insert(key.clone().into(), machine);
    Ok(key)
}

/// A machine that a connector finds; it appears at a moment that may be in the future.
pub(super) fn discovered(
    subscription: &Subscription,
    members: &Members,
    born: Moment,
) -> Result<Machine, String> {
    let mut machine = made(subscription, members, born)?;
    machine.born = born;
    if let Some(agent) = &mut machine.agent {
        agent.changed = born;
    }
    let timing = subscription.fleet.timing;
    for (path, value) in flat(members) {
        set_one(&mut machine, &path, &value, born, timing)
            .map_err(|problem| format!("{}: {path}: {problem}", machine.name))?;
    }
    machine.past.clear();
    Ok(machine)
}

/// Creates a machine's resource group if it does not exist.
pub(crate) fn make_group(subscription: &mut Subscription, name: &str, location: &str) {
    let key = name.to_ascii_lowercase();
    let groups = &mut subscription.resource_groups;
    groups.entry(key.clone()).or_insert_with(|| ResourceGroup {
        name: key,
        location: location.into(),
        tags: Map::new(),
    });
}

/// Changes a machine by dotted paths.
pub(crate) fn set(
    subscription: &mut Subscription,
    name: &str,
    set: &Members,
    now: Timestamp,
) -> Result<(), String> {
    let (at, timing) = (subscription.fleet_now(now), subscription.fleet.timing);
    let key = find(subscription, name, at).ok_or_else(|| format!("unknown machine '{name}'"))?;
    let mut machine = subscription
        .fleet
        .machines
        .get(&key)
        .cloned()
        .ok_or("unknown machine")?;
    for (path, value) in flat(set) {
        set_one(&mut machine, &path, &value, at, timing).map_err(|problem| format!("{path}: {problem}"))?;
    }
    subscription.fleet.machines.change().insert(key, machine);
    subscription.settle(now);
    Ok(())
}

/// Deletes a machine; a lagging index still shows it.
pub(crate) fn remove(subscription: &mut Subscription, name: &str, now: Timestamp) -> bool {
    let at = subscription.fleet_now(now);
    let Some(key) = find(subscription, name, at) else {
        return false;
    };
    if let Some(machine) = subscription.fleet.machines.change().get_mut(&key) {
        machine.gone = at;
    }
    true
}

/// The key of a machine by name, or by `resourceGroup/name` if the name is ambiguous.
fn find(subscription: &Subscription, name: &str, at: Moment) -> Option<Box<str>> {
    let tail = format!("/{}", name.to_ascii_lowercase());
    subscription
        .fleet
        .machines
        .iter()
        .find(|(key, machine)| key.ends_with(&tail) && machine.exists(at))
        .map(|(key, _)| key.clone())
}

/// A machine by name, with the members of the seed.
pub(crate) fn shown(subscription: &Subscription, name: Option<&str>, now: Timestamp) -> Option<Value> {
    let at = subscription.fleet_now(now);
    if let Some(name) = name {
        let machine = subscription.fleet.machines.get(&find(subscription, name, at)?)?;
        return Some(described(subscription, machine, at));
    }
    let all = subscription
        .fleet
        .machines
        .iter()
        .filter(|(_, machine)| machine.exists(at));
    Some(
        all.map(|(_, machine)| described(subscription, machine, at))
            .collect(),
    )
}

fn described(subscription: &Subscription, machine: &Machine, at: Moment) -> Value {
    let power_state = machine.power_state(at);
    let (mde, others): (Vec<&Ext>, Vec<&Ext>) = machine
        .extensions
        .iter()
        .filter(|ext| at < ext.gone)
        .partition(|ext| ext.is_mde());
    let extensions =
        |all: Vec<&Ext>| -> Value { all.into_iter().map(|ext| extension(machine, ext, at)).collect() };
    let tags: Members = machine
        .tags
        .iter()
        .map(|(name, value)| (name.to_string(), json!(value)))
        .collect();
    let set =
        (machine.kind == Kind::ScaleSet).then_some(if machine.flexible { "Flexible" } else { "Uniform" });
    let agent = machine.agent.as_deref();
    json!({
        "id": machine.id(&subscription.id), "type": machine.kind.full_type(), "name": machine.name,
        "resourceGroup": machine.group, "location": machine.location, "os": machine.os, "tags": tags,
        "customImage": machine.custom_image, "orchestrationMode": set, "capacity": set.map(|_| machine.capacity),
        "virtualMachineScaleSet": machine.scale_set,
        "powerState": agent.is_none().then(|| power_state.power.name()),
        "cloudProvider": agent.map(|agent| &agent.cloud),
        "hierarchyIdentifier": machine.tag("AccountId").or_else(|| machine.tag("ProjectNumber")),
        "createdByPublicCloudConnector": machine.is_shell(),
        "arc": agent.map(|agent| arc(machine, agent, at)),
        "provisioningFailureCode": machine.failure, "neverProvisioned": machine.never_provisioned,
        "provisioningWanted": subscription.wants(machine, at), "healthReport": machine.health_report,
        "mde": extensions(mde), "otherExtensions": extensions(others),
    })
}

fn extension(machine: &Machine, ext: &Ext, at: Moment) -> Value {
    let state = ext.state(at);
    let planned = ext.created > at;
    json!({
        "name": machine.ext_name(ext), "publisher": ext.publisher(), "type": machine.ext_type(ext),
        "provisioningState": if planned { "Planned" } else { state.name() },
        "code": ext.code, "message": ext.message, "typeHandlerVersion": ext.version, "vNextEnabled": ext.vnext.value(),
        "createdAt": spelled(ext.created), "lastModifiedAt": spelled(ext.modified()),
    })
}

fn arc(machine: &Machine, agent: &Agent, at: Moment) -> Value {
    let (status, changed) = machine
        .power_state(at)
        .status
        .unwrap_or((&agent.status, agent.changed));
    json!({
        "status": status.name(), "statusReason": agent.reason, "lastStatusChange": spelled(changed),
        "agentVersion": agent.version, "extensionsEnabled": !agent.extensions_disabled,
        "configMode": if agent.monitor_mode { "monitor" } else { "full" },
        "extensionService": hybrid::service_status(machine.os.get().windows, agent.service.as_deref()),
        "extensionsAllowList": agent.allow, "extensionsBlockList": agent.block,
    })
}

fn made(subscription: &Subscription, members: &Members, now: Moment) -> Result<Machine, String> {
    let word = |name: &str| members.get(name).and_then(Value::as_str);
    let name = word("name")
        .filter(|name| !name.is_empty())
        .ok_or("a machine without name")?;
    let cloud = word("cloudProvider").map(Cloud::parse);
    let kind = match word("type") {
        Some(full_type) => Kind::of_type(full_type).ok_or_else(|| {
            let known = Kind::ALL.map(Kind::full_type).join(", ");
            format!("{name}: unknown type of machine '{full_type}'; known types: {known}")
        })?,
        None if members.contains_key("capacity") => Kind::ScaleSet,
        None if members.contains_key("arc") || cloud.as_ref().is_some_and(|cloud| *cloud != Cloud::Azure) => {
            Kind::Arc
        }
        None => Kind::Vm,
    };
    let cloud = cloud.unwrap_or(Cloud::OnPremises);
    let os = OsId::named(word("os").unwrap_or("ubuntu-22.04"))?;
    let age = members.get("age").map_or(Ok(30 * 86_400_000), duration)?;
    let shell = members
        .get("createdByPublicCloudConnector")
        .map_or(Ok(false), boolean)?;
    let account = word("hierarchyIdentifier").unwrap_or("123456789012");
    let group = word("resourceGroup").map_or_else(
        || {
            if shell {
                format!("aws_{account}")
            } else {
                "rg-machines".to_owned()
            }
        },
        str::to_owned,
    );
    let mut machine = Machine::new(
        kind,
        name,
        &group,
        word("location").unwrap_or("westeurope"),
        os,
        now - age,
    );
    if kind == Kind::Arc {
        machine.tags = cloud_tags(subscription, &cloud, name, account, shell);
        machine.agent = Some(Box::new(new_agent(cloud, machine.born)));
    }
    Ok(machine)
}

pub(super) fn new_agent(cloud: Cloud, changed: Moment) -> Agent {
    Agent {
        status: Status::Connected,
        reason: None,
        changed,
        cloud,
        version: "1.64.03512.123".into(),
        extensions_disabled: false,
        monitor_mode: false,
        service: None,
        allow: Vec::new(),
        block: Vec::new(),
    }
}

/// The tags that connectors set on the machines that they find.
pub(super) fn cloud_tags(
    subscription: &Subscription,
    cloud: &Cloud,
    name: &str,
    account: &str,
    shell: bool,
) -> Box<[(Box<str>, Box<str>)]> {
    let tag = |name: &str, value: &str| (Box::from(name), Box::from(value));
    if shell {
        let connector = format!(
            "/subscriptions/{}/resourceGroups/multicloud/providers/Microsoft.HybridConnectivity/publicCloudConnectors/aws",
            subscription.id
        );
        return Box::from([tag("PublicCloudConnectorsResourceId", &connector)]);
    }
    match cloud {
        Cloud::Aws => Box::from([
            tag("AccountId", account),
            tag("Cloud", "AWS"),
            tag("InstanceId", name),
            tag("MDFCSecurityConnector", "true"),
        ]),
        Cloud::Gcp => Box::from([
            tag("Cloud", "GCP"),
            tag("InstanceName", name),
            tag("MDFCSecurityConnector", "true"),
            tag("MachineId", account),
            tag("ProjectId", "contoso-prod"),
            tag("ProjectNumber", account),
        ]),
        _ => Box::default(),
    }
}

/// The members as dotted paths, without those that `made` has read.
fn flat(members: &Members) -> Vec<(String, Value)> {
    let mut paths = Vec::new();
    for (member, value) in members {
        match (member.as_str(), value) {
            ("arc" | "tags" | "mde", Value::Object(inner)) if !inner.is_empty() => {
                paths.extend(
                    inner
                        .iter()
                        .map(|(name, value)| (format!("{member}.{name}"), value.clone())),
                );
            }
            (
                "name"
                | "type"
                | "cloudProvider"
                | "resourceGroup"
                | "location"
                | "age"
                | "createdByPublicCloudConnector"
                | "hierarchyIdentifier",
                _,
            )
            | ("arc" | "tags", Value::Object(_)) => {}
            _ => paths.push((member.clone(), value.clone())),
        }
    }
    // A state sets the code and a status sets the time, so the finer members come after them, and the time last.
    paths.sort_by_key(|(path, _)| match path.as_str() {
        "mde" | "mde.provisioningState" | "arc.status" => 0,
        "mde.lastModifiedAt" | "arc.lastStatusChange" => 2,
        _ => 1,
    });
    paths
}

fn set_one(
    machine: &mut Machine,
    path: &str,
    value: &Value,
    now: Moment,
    timing: Timing,
) -> Result<(), String> {
    if let Some(rest) = path.strip_prefix("arc.") {
        return set_agent(machine, rest, value, now);
    }
    if let Some(rest) = path.strip_prefix("mde.") {
        return set_mde(machine, rest, value, now);
    }
    if let Some(name) = path.strip_prefix("tags.") {
        return set_tag(machine, name, value);
    }
    match path {
        "powerState" => {
            if machine.kind != Kind::Vm {
                return Err("only a virtual machine has a power state".into());
            }
            machine.record(now);
            machine.power = Power::parse(text(value)?);
        }
        "os" => machine.os = OsId::named(text(value)?)?,
        "provisioningFailureCode" => machine.failure = code(value)?,
        "neverProvisioned" => machine.never_provisioned = boolean(value)?,
        "customImage" => machine.custom_image = boolean(value)?,
        "healthReport" => {
            machine.health_report = serde_json::from_value::<HealthReport>(value.clone())
                .map_err(|_| "expected Healthy or NotHealthy")?;
        }
        "capacity" => {
            machine.capacity = value
                .as_u64()
                .and_then(|n| u32::try_from(n).ok())
                .ok_or("expected a number")?;
        }
        "orchestrationMode" => machine.flexible = text(value)?.eq_ignore_ascii_case("flexible"),
        "virtualMachineScaleSet" => machine.scale_set = Some(text(value)?.into()),
        "mde" => return replace_mde(machine, value, now),
        "otherExtensions" => {
            for item in value.as_array().ok_or("expected a list")? {
                let ext = other_extension(item, now, timing)?;
                machine.extensions.push(ext);
            }
        }
        _ => return Err("unknown member of a machine; docs/emulator.md lists all members".into()),
    }
    Ok(())
}

fn set_tag(machine: &mut Machine, name: &str, value: &Value) -> Result<(), String> {
    let mut tags = std::mem::take(&mut machine.tags).into_vec();
    tags.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    if !value.is_null() {
        tags.push((name.into(), text(value)?.into()));
    }
    machine.tags = tags.into();
    Ok(())
}

fn set_agent(machine: &mut Machine, path: &str, value: &Value, now: Moment) -> Result<(), String> {
    machine.record(now);
    let agent = machine.agent.as_mut().ok_or("only an Arc machine has an agent")?;
    match path {
        "status" => {
            agent.status = Status::parse(text(value)?);
            agent.changed = now;
        }
        "lastStatusChange" => agent.changed = moment(value, now)?,
        "statusReason" => agent.reason = value.as_str().map(Into::into),
        "agentVersion" => agent.version = text(value)?.into(),
        "extensionsEnabled" => agent.extensions_disabled = !boolean(value)?,
        "configMode" => agent.monitor_mode = text(value)? == "monitor",
        "extensionService" => {
            let status = text(value)?;
            // Each system has its own word for a running service.
            let runs = status == "running" || status == "active";
            agent.service = (!runs).then(|| status.into());
        }
        "extensionsAllowList" => agent.allow = items(value)?,
        "extensionsBlockList" => agent.block = items(value)?,
        _ => return Err("unknown member of arc".into()),
    }
    Ok(())
}

/// `none` removes every extension of the sensor; a list gives several.
fn replace_mde(machine: &mut Machine, value: &Value, now: Moment) -> Result<(), String> {
    machine
        .extensions
        .retain(|ext| !ext.is_mde() || ext.created <= now);
    for ext in machine
        .extensions
        .iter_mut()
        .filter(|ext| ext.is_mde() && ext.exists(now))
    {
        ext.gone = now;
    }
    match value {
        Value::Null => {}
        Value::String(word) if word == "none" => {}
        Value::Object(_) => drop(forked(machine, now)?),
        Value::Array(all) => {
            for one in all {
                let members = one.as_object().ok_or("expected a list of objects")?;
                let mut single = Machine {
                    extensions: Vec::new(),
                    ..machine.clone()
                };
                for (path, value) in flat(&Map::from_iter([(
                    "mde".to_owned(),
                    Value::Object(members.clone()),
                )])) {
                    set_one(&mut single, &path, &value, now, Timing::default())?;
                }
                machine.extensions.append(&mut single.extensions);
            }
        }
        _ => return Err("expected none, an object or a list".into()),
    }
    Ok(())
}

fn set_mde(machine: &mut Machine, path: &str, value: &Value, now: Moment) -> Result<(), String> {
    let ext = forked(machine, now)?;
    match path {
        "provisioningState" => {
            let state = State::parse(text(value)?);
            match state {
                State::Creating => (ext.run, ext.done) = (now, NEVER),
                State::Updating => (ext.run, ext.done) = (now + 1, NEVER),
                State::Deleting => ext.deleting = now,
                _ => (ext.deleting, ext.done) = (NEVER, now),
            }
            if state == State::Failed && ext.code == 0 {
                ext.code = 1;
            } else if state != State::Failed {
                (ext.code, ext.message) = (0, None);
            }
            ext.outcome = state;
        }
        "code" => {
            ext.code = code(value)?.unwrap_or_default();
            if ext.code != 0 && ext.outcome == State::Succeeded {
                (ext.outcome, ext.done) = (State::Failed, now);
            }
        }
        "message" => ext.message = value.as_str().map(Into::into),
        "name" => ext.name = value.as_str().map(Into::into),
        "typeHandlerVersion" => ext.version = value.as_str().map(Into::into),
        "lastModifiedAt" => {
            let since = moment(value, now)?;
            // An update begins after the extension was created.
            let update = Moment::from(ext.run > ext.created);
            ext.created = ext.created.min(since - update);
            ext.run = ext.run.min(since);
            if ext.deleting != NEVER {
                ext.deleting = since;
            }
            if ext.done != NEVER {
                ext.done = since;
            }
        }
        "vNextEnabled" => {
            ext.vnext = match value {
                Value::Null => VNext::Absent,
                Value::Bool(true) => VNext::True,
                Value::Bool(false) => VNext::False,
                Value::String(text) if text == "true" => VNext::Text,
                _ => return Err("expected true, false, \"true\" or null".into()),
            };
        }
        _ => return Err("unknown member of mde".into()),
    }
    Ok(())
}

/// Replaces the current extension by a record that begins now, so that earlier moments keep the old one.
fn forked(machine: &mut Machine, now: Moment) -> Result<&mut Ext, String> {
    machine
        .extensions
        .retain(|ext| !ext.is_mde() || ext.created <= now);
    let present = machine
        .extensions
        .iter()
        .rposition(|ext| ext.is_mde() && ext.exists(now));
    let fresh = present
        .and_then(|at| machine.extensions.get(at))
        .is_some_and(|ext| ext.created == now || ext.done == now);
    if let (Some(at), true) = (present, fresh) {
        return machine
            .extensions
            .get_mut(at)
            .ok_or_else(|| "the machine has no sensor extension".into());
    }
    let new = match present.and_then(|at| machine.extensions.get_mut(at)) {
        Some(old) => {
            let copy = Ext {
                created: now,
                automatic: false,
                ..old.clone()
            };
            old.gone = now;
            copy
        }
        None => Ext {
            done: now,
            ..machine.attempt(now, 0)
        },
    };
    machine.extensions.push(new);
    machine
        .extensions
        .last_mut()
        .ok_or_else(|| "the machine has no sensor extension".into())
}

/// An extension other than the sensor's.
fn other_extension(item: &Value, now: Moment, timing: Timing) -> Result<Ext, String> {
    let word = |name: &str| item.get(name).and_then(Value::as_str);
    let (begin, end) = (now - 86_400_000, now - 86_400_000 + timing.taking.min(3_600_000));
    if item == "AzureMonitorAgent" {
        return Ok(Ext::new(What::Monitor, begin, end));
    }
    let (publisher, kind) = word("publisher")
        .zip(word("type"))
        .ok_or("expected AzureMonitorAgent, or an object with publisher and type")?;
    let mut ext = Ext::new(What::Own(Box::new((publisher.into(), kind.into()))), begin, end);
    ext.name = word("name").map(Into::into);
    if let Some(state) = word("provisioningState") {
        ext.outcome = State::parse(state);
    }
    Ok(ext)
}

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| "expected a string".into())
}

fn boolean(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "expected true or false".into())
}

fn code(value: &Value) -> Result<Option<u16>, String> {
    match value {
        Value::Null => Ok(None),
        other => other
            .as_u64()
            .and_then(|code| u16::try_from(code).ok())
            .map(Some)
            .ok_or_else(|| "expected an exit code or null".into()),
    }
}

/// A time, or how long ago it was: `3d`.
fn moment(value: &Value, now: Moment) -> Result<Moment, String> {
    match text(value)?.parse::<Timestamp>() {
        Ok(time) => Ok(time.as_millisecond()),
        Err(_) => Ok(now - duration(value)?),
    }
}

/// A duration: `3d`, `2h`.
fn duration(value: &Value) -> Result<Moment, String> {
    let duration = humantime::parse_duration(text(value)?).map_err(|error| error.to_string())?;
    Ok(super::milliseconds(duration))
}

/// `publisher/type`; without a slash, a type of the sensor's publisher.
fn items(value: &Value) -> Result<Vec<Box<str>>, String> {
    let list = value.as_array().ok_or("expected a list")?;
    list.iter()
        .map(|item| {
            let item = text(item)?;
            Ok(if item.contains('/') {
                item.into()
            } else {
                format!("{PUBLISHER}/{item}").into()
            })
        })
        .collect()
}
