//! The members of the extensions of a machine: `mde` and `otherExtensions`.

use serde_json::{Map, Value};

use super::{
    Timing,
    machine::{Ext, Machine, Moment, NEVER, VNext, What},
    names::State,
    values::{code, moment, text},
};

/// `none` removes every extension of the sensor; a list gives several.
pub(super) fn replace(machine: &mut Machine, value: &Value, now: Moment) -> Result<(), String> {
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
                set_all(&mut single, members, now)?;
                machine.extensions.append(&mut single.extensions);
            }
        }
        _ => return Err("expected none, an object or a list".into()),
    }
    Ok(())
}

/// All members of one extension; without members, the extension of a machine whose installation just succeeded.
fn set_all(machine: &mut Machine, members: &Map<String, Value>, now: Moment) -> Result<(), String> {
    forked(machine, now)?;
    let mut ordered: Vec<_> = members.iter().collect();
    // A state sets the code, so the finer members come after it, and the time last.
    ordered.sort_by_key(|(member, _)| match member.as_str() {
        "provisioningState" => 0,
        "lastModifiedAt" => 2,
        _ => 1,
    });
    for (member, value) in ordered {
        set(machine, member, value, now)?;
    }
    Ok(())
}

/// One member of the current extension, which is created if the machine has none.
pub(super) fn set(machine: &mut Machine, path: &str, value: &Value, now: Moment) -> Result<(), String> {
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
pub(super) fn other_extension(item: &Value, now: Moment, timing: Timing) -> Result<Ext, String> {
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
