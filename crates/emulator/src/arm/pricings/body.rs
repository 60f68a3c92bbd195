//! The body of a plan PUT. Unknown members are ignored, as in the service.

use serde_json::{Map, Value};

use crate::{answer::ArmError, arm::refusals, state::Tier};

/// The plan that a caller requests.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Body {
    pub(super) tier: Tier,
    pub(super) sub_plan: Option<String>,
    pub(super) enforce: Option<bool>,
    pub(super) extensions: Option<Vec<Sent>>,
}

/// One extension of the body.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sent {
    pub(super) name: String,
    pub(super) enabled: bool,
    pub(super) properties: Option<Map<String, Value>>,
}

pub(super) fn parse(body: &Value) -> Result<Body, ArmError> {
    let properties = body
        .get("properties")
        .and_then(Value::as_object)
        .ok_or_else(|| refusals::invalid_content("Required property 'properties' not found in JSON"))?;
    let tier = properties
        .get("pricingTier")
        .and_then(Value::as_str)
        .ok_or_else(|| invalid("The property \"pricingTier\" is required"))?;
    let tier = Tier::parse(tier).ok_or_else(|| {
        invalid(&format!(
            "The pricing tier \"{tier}\" is not valid.\r\nPossible values: Free, Standard"
        ))
    })?;
    let extensions = match properties.get("extensions") {
        None | Some(Value::Null) => None,
        Some(Value::Array(items)) => Some(items.iter().map(sent).collect::<Result<Vec<_>, _>>()?),
        Some(_) => {
            return Err(refusals::invalid_content(
                "'properties.extensions' must be an array",
            ));
        }
    };
    Ok(Body {
        tier,
        sub_plan: optional_text(properties, "subPlan")?,
        enforce: properties
            .get("enforce")
            .filter(|value| !value.is_null())
            .map(|value| truth(value, "enforce"))
            .transpose()?,
        extensions,
    })
}

fn sent(item: &Value) -> Result<Sent, ArmError> {
    let name = item
        .get("name")
        .and_then(Value::as_str)
        .ok_or_else(|| invalid("Every extension needs the property \"name\""))?;
    let enabled = item
        .get("isEnabled")
        .ok_or_else(|| invalid(&format!("Extension '{name}' needs the property \"isEnabled\"")))?;
    let properties = match item.get("additionalExtensionProperties") {
        None | Some(Value::Null) => None,
        Some(Value::Object(properties)) => Some(properties.clone()),
        Some(_) => {
            return Err(refusals::invalid_content(
                "'additionalExtensionProperties' must be an object",
            ));
        }
    };
    Ok(Sent {
        name: name.into(),
        enabled: truth(enabled, "isEnabled")?,
        properties,
    })
}

/// Booleans are strings here; JSON booleans do not deserialize.
fn truth(value: &Value, member: &str) -> Result<bool, ArmError> {
    match value.as_str() {
        Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(invalid(&format!(
            "The value {value} of \"{member}\" is not valid.\r\nPossible values: True, False"
        ))),
    }
}

fn optional_text(properties: &Map<String, Value>, member: &str) -> Result<Option<String>, ArmError> {
    match properties.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(refusals::invalid_content(&format!(
            "'properties.{member}' must be a string"
        ))),
    }
}

/// The provider's common error for invalid input.
pub(super) fn invalid(message: &str) -> ArmError {
    ArmError::bad_request("InvalidInputJson", message)
}
