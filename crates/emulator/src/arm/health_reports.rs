//! `Microsoft.Security/healthReports`: the health of sensors and connectors as Defender for Cloud reports it.

use axum::http::Method;
use serde_json::Value;

use super::{Context, Typed, machines, refusals};
use crate::{
    answer::{Answer, ArmError},
    fleet::{self, Kind},
};

const TYPE: &str = "Microsoft.Security/healthReports";

pub(super) fn answer(context: &Context<'_>, typed: &Typed) -> Result<Answer, ArmError> {
    if context.request.method != Method::GET {
        return Err(refusals::no_method(context.request.method.as_str(), TYPE));
    }
    let subscription = context.subscription()?;
    let at = subscription.fleet_now(context.now);
    let found: Box<dyn Iterator<Item = (Box<str>, Value)>> = if typed.depth > 4 {
        machines::check_group(context, typed)?;
        let (space, of, name) = (
            context.request.segment(5),
            context.request.segment(6),
            context.request.segment(7),
        );
        let report = if super::connectors::TYPE.eq_ignore_ascii_case(&format!("{space}/{of}")) {
            let connector = super::connectors::found(context, typed, name)?;
            Some((
                connector.key(),
                fleet::connector_health(subscription, connector, at),
            ))
        } else {
            let kind = Kind::ALL
                .into_iter()
                .find(|kind| kind.full_type().eq_ignore_ascii_case(&format!("{space}/{of}")))
                .ok_or_else(|| refusals::no_route("GET", &context.request.path()))?;
            let machine = machines::machine(context, typed, kind, name, at)?;
            fleet::health(subscription, machine, at).map(|report| (machine.key(), report))
        };
        Box::new(report.map(|(key, report)| (Box::from(key), report)).into_iter())
    } else {
        let after = machines::skipped(context)?;
        let group = typed
            .resource_group()
            .map(|group| format!("/{}/", group.to_ascii_lowercase()));
        Box::new(
            fleet::healths(subscription, after, at)
                .filter(move |(key, _)| group.as_ref().is_none_or(|group| key.contains(group.as_str()))),
        )
    };
    if let Some(name) = &typed.name {
        return found
            .map(|(_, report)| report)
            .find(|report| {
                report["name"]
                    .as_str()
                    .is_some_and(|known| known.eq_ignore_ascii_case(name))
            })
            .map(Answer::ok)
            .ok_or_else(|| refusals::resource_not_found(TYPE, name, typed.resource_group()));
    }
    let mut items = Vec::new();
    let mut last = None;
    for (key, report) in found {
        if items.len() == machines::PAGE {
            return Ok(machines::page(context, items, last));
        }
        items.push(report);
        last = Some(key.to_string());
    }
    Ok(machines::page(context, items, None))
}
