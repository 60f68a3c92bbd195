//! The members of a machine that a seed sets and `ctl machine set` changes, as dotted paths.

use serde_json::{Map, Value};

use super::{
    Timing,
    machine::{Architecture, HealthReport, Kind, Machine, Moment, PUBLISHER},
    names::{Power, Status},
    os::OsId,
    sensor,
    values::{boolean, code, moment, text},
};

pub(super) type Members = Map<String, Value>;

/// The members as dotted paths, without those that only a new machine has.
pub(super) fn flat(members: &Members) -> Vec<(String, Value)> {
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

pub(super) fn set_one(
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
        return sensor::set(machine, rest, value, now);
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
        "architecture" => {
            machine.architecture =
                serde_json::from_value::<Architecture>(value.clone()).map_err(|_| "expected x64 or arm64")?;
        }
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
        "mde" => return sensor::replace(machine, value, now),
        "otherExtensions" => {
            for item in value.as_array().ok_or("expected a list")? {
                let ext = sensor::other_extension(item, now, timing)?;
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
