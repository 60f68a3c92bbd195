//! Resource groups.

use axum::http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{Call, refusals};
use crate::{
    answer::{Answer, ArmError},
    state::ResourceGroup,
};

pub(super) fn list(call: &Call<'_>) -> Result<Answer, ArmError> {
    let subscription = call.subscription()?;
    Ok(Answer::list(
        subscription
            .resource_groups
            .values()
            .map(|group| described(&subscription.id, group))
            .collect(),
    ))
}

pub(super) fn one(call: &mut Call<'_>, name: &str) -> Result<Answer, ArmError> {
    let key = name.to_ascii_lowercase();
    match call.request.method {
        Method::HEAD => {
            let there = call.subscription()?.resource_groups.contains_key(&key);
            Ok(Answer::empty(if there {
                StatusCode::NO_CONTENT
            } else {
                StatusCode::NOT_FOUND
            }))
        }
        Method::GET => {
            let subscription = call.subscription()?;
            let group = subscription
                .resource_groups
                .get(&key)
                .ok_or_else(|| refusals::group_not_found(name))?;
            Ok(Answer::ok(described(&subscription.id, group)))
        }
        Method::PUT => put(call, name, &key),
        _ => Err(refusals::no_method(
            call.request.method.as_str(),
            "resourceGroups",
        )),
    }
}

fn put(call: &mut Call<'_>, name: &str, key: &str) -> Result<Answer, ArmError> {
    let body = call.body()?;
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
    let subscription = call.subscription_mut()?;
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
