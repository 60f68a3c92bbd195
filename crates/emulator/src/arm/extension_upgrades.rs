//! `POST …/machines/{machine}/upgradeExtensions`: upgrades extensions of an Arc machine to given versions.

use axum::http::{Method, StatusCode};

use super::{Call, Typed, extensions::links, machines, refusals};
use crate::{
    answer::{Answer, ArmError},
    state::machines::{Ext, Kind, Operation, State, Work},
};

/// Begins the upgrades. An extension that the machine does not have is ignored.
pub(super) fn answer(call: &mut Call<'_>, typed: &Typed) -> Result<Answer, ArmError> {
    if call.request.method != Method::POST {
        return Err(refusals::no_method(
            call.request.method.as_str(),
            "Microsoft.HybridCompute/machines/upgradeExtensions",
        ));
    }
    let at = call.subscription()?.fleet_now(call.now);
    machines::check_group(call, typed)?;
    let name = call.request.segment(7).to_owned();
    let machine = machines::machine(call, typed, Kind::Arc, &name, at)?.clone();
    let body = call.body()?;
    let targets = body
        .pointer("/extensionTargets")
        .and_then(|targets| targets.as_object())
        .ok_or_else(|| refusals::invalid_content("'extensionTargets' is required"))?;
    let taking = call.subscription()?.fleet.timing.taking;
    let mut runs = Vec::new();
    for (target, value) in targets {
        let is_target = |ext: &&Ext| {
            let full = format!("{}.{}", ext.publisher(), machine.ext_type(ext));
            full.eq_ignore_ascii_case(target)
        };
        let Some(old) = machine.extensions(at).find(is_target) else {
            continue;
        };
        let version = value
            .pointer("/targetVersion")
            .and_then(|version| version.as_str());
        runs.push(Ext {
            created: at,
            run: at,
            done: at.saturating_add(taking),
            outcome: State::Succeeded,
            code: 0,
            message: None,
            version: version.map(Into::into).or_else(|| old.version.clone()),
            automatic: false,
            name: Some(machine.ext_name(old).into()),
            ..old.clone()
        });
    }
    let (now, key, location) = (call.now, machine.key(), machine.location.to_string());
    let first = runs.first().map(|run| machine.ext_name(run).to_owned());
    let subscription = call.subscription_mut()?;
    if let Some(machine) = subscription.fleet.machines.change().get_mut(key.as_str()) {
        for run in runs {
            machine.replace_extension(run, at);
        }
    }
    let operation = subscription.begin_operation(Operation {
        kind: Kind::Arc,
        work: Work::Update,
        machine: key,
        extension: first.unwrap_or_default(),
        begin: at,
        end: at.saturating_add(taking),
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
    Ok(answer.header("Retry-After", "300"))
}
