//! Resource groups.

use axum::http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{Context, refusals};
use crate::{
    answer::{Answer, ArmError},
    state::ResourceGroup,
};

pub(super) fn list(context: &Context<'_>) -> Result<Answer, ArmError> {
    let subscription = context.subscription()?;
    Ok(Answer::list(
        subscription
            .resource_groups
            .values()
            .map(|group| described(&subscription.id, group))
            .collect(),
    ))
}

pub(super) fn one(context: &mut Context<'_>, name: &str) -> Result<Answer, ArmError> {
    let key = name.to_ascii_lowercase();
    match context.request.method {
        Method::HEAD => {
            let there = context.subscription()?.resource_groups.contains_key(&key);
            Ok(Answer::empty(if there {
                StatusCode::NO_CONTENT
            } else {
                StatusCode::NOT_FOUND
            }))
        }
        Method::GET => {
            let subscription = context.subscription()?;
            let group = subscription
                .resource_groups
                .get(&key)
                .ok_or_else(|| refusals::group_not_found(name))?;
            Ok(Answer::ok(described(&subscription.id, group)))
        }
        Method::PUT => put(context, name, &key),
        _ => Err(refusals::no_method(
            context.request.method.as_str(),
            "resourceGroups",
        )),
    }
}

fn put(context: &mut Context<'_>, name: &str, key: &str) -> Result<Answer, ArmError> {
    let body = context.body()?;
    let location = body.get("location").and_then(Value::as_str).ok_or_else(|| {
        ArmError::bad_request(
            "LocationRequired",
            "The location property is required for this definition.",
        )
    })?;
    let tags = body
        .get("tags")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_else(Map::new);
    let subscription = context.subscription_mut()?;
    let name = subscription
        .resource_groups
        .get(key)
        .map_or(name, |group| group.name.as_str())
        .to_owned();
    let group = ResourceGroup {
        name,
        location: location.to_ascii_lowercase().replace(' ', ""),
        tags,
    };
    let body = described(&subscription.id, &group);
    let old = subscription.resource_groups.insert(key.into(), group);
    Ok(Answer::json(
        if old.is_none() {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        },
        body,
    ))
}

fn described(subscription: &str, group: &ResourceGroup) -> Value {
    json!({
        "id": format!("/subscriptions/{subscription}/resourceGroups/{}", group.name), "name": group.name,
        "type": "Microsoft.Resources/resourceGroups", "location": group.location, "tags": group.tags,
        "properties": {"provisioningState": "Succeeded"},
    })
}
