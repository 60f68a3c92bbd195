//! `serverVulnerabilityAssessmentsSettings`: the vulnerability scanner of the machines. 404 until it is set.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Call, Typed, refusals};
use crate::{
    answer::{Answer, ArmError},
    instant,
    state::{Assessment, Subscription},
};

const TYPE: &str = "Microsoft.Security/serverVulnerabilityAssessmentsSettings";
const NAME: &str = "azureServersSetting";

pub(super) fn answer(call: &mut Call<'_>, typed: &Typed) -> Result<Answer, ArmError> {
    let method = call.request.method.clone();
    let Some(name) = &typed.name else {
        if method != Method::GET {
            return Err(refusals::no_method(method.as_str(), TYPE));
        }
        let subscription = call.subscription()?;
        let setting = subscription.vulnerability_assessment.as_ref();
        return Ok(Answer::list(
            setting
                .map(|setting| described(subscription, setting))
                .into_iter()
                .collect(),
        ));
    };
    if !name.eq_ignore_ascii_case(NAME) {
        return Err(ArmError::bad_request(
            "BadRequest",
            format!("The setting kind \"{name}\" is not valid. Possible setting kinds: azureServersSetting."),
        ));
    }
    match method {
        Method::GET => {
            let subscription = call.subscription()?;
            let setting = subscription
                .vulnerability_assessment
                .as_ref()
                .ok_or_else(|| refusals::resource_not_found(TYPE, NAME, None))?;
            Ok(Answer::ok(described(subscription, setting)))
        }
        Method::PUT => put(call),
        Method::DELETE => {
            let old = call.subscription_mut()?.vulnerability_assessment.take();
            Ok(Answer::empty(if old.is_some() {
                StatusCode::OK
            } else {
                StatusCode::NO_CONTENT
            }))
        }
        _ => Err(refusals::no_method(method.as_str(), TYPE)),
    }
}

fn put(call: &mut Call<'_>) -> Result<Answer, ArmError> {
    let body = call.body()?;
    let kind = body.get("kind").and_then(Value::as_str).unwrap_or_default();
    if !kind.eq_ignore_ascii_case("AzureServersSetting") {
        return Err(refusals::invalid_content(&format!(
            "the discriminator 'kind' must be 'AzureServersSetting', not '{kind}'"
        )));
    }
    let provider = body
        .pointer("/properties/selectedProvider")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !provider.eq_ignore_ascii_case("MdeTvm") {
        return Err(refusals::invalid_content(&format!(
            "'{provider}' is no value of 'selectedProvider'"
        )));
    }
    let (by, at) = (call.caller.client_id.clone(), instant::milliseconds(call.now));
    let subscription = call.subscription_mut()?;
    let old = subscription.vulnerability_assessment.take();
    let status = if old.is_none() {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let (created_by, created_at) = old.map_or_else(
        || (by.clone(), at.clone()),
        |old| (old.created_by, old.created_at),
    );
    let setting = Assessment {
        selected_provider: "MdeTvm".into(),
        created_by,
        created_at,
        last_modified_by: by,
        last_modified_at: at,
    };
    let mut body = described(subscription, &setting);
    // The service's own examples answer a PUT with an id without its leading slash.
    if let Some(id) = body.get_mut("id")
        && let Some(text) = id.as_str()
    {
        *id = json!(text.trim_start_matches('/'));
    }
    subscription.vulnerability_assessment = Some(setting);
    Ok(Answer::json(status, body))
}

fn described(subscription: &Subscription, setting: &Assessment) -> Value {
    json!({
        "id": format!("/subscriptions/{}/providers/{TYPE}/{NAME}", subscription.id), "name": NAME, "type": TYPE,
        "kind": "AzureServersSetting", "properties": {"selectedProvider": setting.selected_provider},
        "systemData": {
            "createdBy": setting.created_by, "createdByType": "Application", "createdAt": setting.created_at,
            "lastModifiedBy": setting.last_modified_by, "lastModifiedByType": "Application",
            "lastModifiedAt": setting.last_modified_at,
        },
    })
}
