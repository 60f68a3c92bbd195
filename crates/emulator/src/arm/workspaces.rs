//! Log Analytics workspaces and the solutions on them.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Call, Typed, refusals};
use crate::{
    answer::{Answer, ArmError},
    instant,
    state::Solution,
};

const SOLUTIONS: &str = "Microsoft.OperationsManagement/solutions";
const WORKSPACES: &str = "Microsoft.OperationalInsights/workspaces";

pub(super) fn workspace(call: &Call<'_>, typed: &Typed) -> Result<Answer, ArmError> {
    if call.request.method != Method::GET {
        return Err(refusals::no_method(call.request.method.as_str(), WORKSPACES));
    }
    let subscription = call.subscription()?;
    let group = typed.resource_group();
    let described = |(id, location): (&String, &String)| {
        json!({
            "id": id, "name": id.rsplit('/').next(), "type": WORKSPACES, "location": location,
            "properties": {"provisioningState": "Succeeded", "sku": {"name": "PerGB2018"}, "retentionInDays": 30},
        })
    };
    let Some(name) = &typed.name else {
        let prefix = format!("{}/", typed.scope.to_ascii_lowercase());
        let within = subscription
            .workspaces
            .iter()
            .filter(|(id, _)| id.to_ascii_lowercase().starts_with(&prefix));
        return Ok(Answer::list(within.map(described).collect()));
    };
    let id = call.request.path();
    subscription
        .workspaces
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(&id))
        .map(|found| Answer::ok(described(found)))
        .ok_or_else(|| refusals::resource_not_found(WORKSPACES, name, group))
}

pub(super) fn solution(call: &mut Call<'_>, typed: &Typed) -> Result<Answer, ArmError> {
    let id = call.request.path();
    let Some(name) = &typed.name else {
        let prefix = format!("{}/", typed.scope.to_ascii_lowercase());
        let subscription = call.subscription()?;
        let within = subscription
            .solutions
            .iter()
            .filter(|(id, _)| id.starts_with(&prefix));
        return Ok(Answer::list(
            within.map(|(_, solution)| described(solution)).collect(),
        ));
    };
    match call.request.method {
        Method::GET => call
            .subscription()?
            .solutions
            .get(&id.to_ascii_lowercase())
            .map(|solution| Answer::ok(described(solution)))
            .ok_or_else(|| refusals::resource_not_found(SOLUTIONS, name, typed.resource_group())),
        Method::PUT => put(call, &id),
        _ => Err(refusals::no_method(call.request.method.as_str(), SOLUTIONS)),
    }
}

fn put(call: &mut Call<'_>, id: &str) -> Result<Answer, ArmError> {
    let mut body = call.body()?;
    let workspace = body
        .pointer("/properties/workspaceResourceId")
        .and_then(Value::as_str)
        .ok_or_else(|| refusals::invalid_content("'properties.workspaceResourceId' is required"))?
        .to_owned();
    if body.pointer("/plan/product").and_then(Value::as_str).is_none() {
        return Err(refusals::invalid_content("'plan.product' is required"));
    }
    let created = instant::milliseconds(call.now);
    let subscription = call.subscription_mut()?;
    if !subscription
        .workspaces
        .keys()
        .any(|known| known.eq_ignore_ascii_case(&workspace))
    {
        let name = workspace.rsplit('/').next().unwrap_or_default();
        return Err(refusals::resource_not_found(WORKSPACES, name, None));
    }
    if let Some(properties) = body.pointer_mut("/properties").and_then(Value::as_object_mut) {
        properties.insert("provisioningState".into(), json!("Succeeded"));
        properties.insert("creationTime".into(), json!(created));
        properties.insert("containedResources".into(), json!([]));
        properties.insert("referencedResources".into(), json!([]));
    }
    let solution = Solution { id: id.into(), body };
    let answer = described(&solution);
    let old = subscription.solutions.insert(id.to_ascii_lowercase(), solution);
    Ok(Answer::json(
        if old.is_none() {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        },
        answer,
    ))
}

fn described(solution: &Solution) -> Value {
    let mut body = solution.body.clone();
    if let Some(body) = body.as_object_mut() {
        body.insert("id".into(), json!(solution.id));
        body.insert("name".into(), json!(solution.id.rsplit('/').next()));
        body.insert("type".into(), json!(SOLUTIONS));
    }
    body
}
