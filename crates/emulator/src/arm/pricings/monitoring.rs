//! `FileIntegrityMonitoring` needs a workspace and rules; without them the service refuses the plan.

use serde_json::{Map, Value};

use super::body::Sent;
use crate::{
    answer::ArmError,
    state::Subscription,
    switches::{Switch, Switches},
};

const NAME: &str = "FileIntegrityMonitoring";

/// The workspace that a body enables the extension with.
pub(super) fn workspace(sent: &[Sent]) -> Option<&str> {
    let sent = sent.iter().find(|sent| sent.name.eq_ignore_ascii_case(NAME))?;
    sent.properties.as_ref()?.get("DefinedWorkspaceId")?.as_str()
}

/// Refuses the extension without its properties. The service reports the missing workspace first.
pub(super) fn check(
    subscription: &Subscription,
    plan: &str,
    switches: &Switches,
    sent: &[Sent],
) -> Result<(), ArmError> {
    let Some(sent) = sent.iter().find(|sent| sent.name.eq_ignore_ascii_case(NAME)) else {
        return Ok(());
    };
    let stored = subscription.properties_of(plan, NAME);
    let stored_suffice = missing(&stored).is_none()
        && (!sent.enabled || !switches.flipped(Switch::MonitoringWithoutProperties));
    let checked = sent.enabled || switches.flipped(Switch::DisabledMonitoring);
    if stored_suffice || !checked {
        return Ok(());
    }
    let none = Map::new();
    missing(sent.properties.as_ref().unwrap_or(&none)).map_or(Ok(()), |property| {
        Err(ArmError::bad_request(
            "InvalidInputError",
            format!("Missing required property '{property}' of extension '{NAME}'"),
        ))
    })
}

fn missing(properties: &Map<String, Value>) -> Option<&'static str> {
    let text = |name: &str| properties.get(name).and_then(Value::as_str);
    if text("DefinedWorkspaceId").is_none_or(str::is_empty) {
        Some("DefinedWorkspaceId")
    } else if !text("Rules").is_some_and(are_rules) {
        Some("Rules")
    } else {
        None
    }
}

/// Whether the text is a JSON list of at least one rule, each with the entities that it monitors.
fn are_rules(text: &str) -> bool {
    let Ok(Value::Array(rules)) = serde_json::from_str(text) else {
        return false;
    };
    let monitors = |rule: &Value| rule.get("MonitoredEntities").is_some_and(Value::is_object);
    !rules.is_empty() && rules.iter().all(monitors)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_missing_workspace_is_reported_first() {
        let lacks = |properties: Value| missing(properties.as_object().unwrap());
        assert_eq!(lacks(json!({})), Some("DefinedWorkspaceId"));
        assert_eq!(lacks(json!({"WorkspaceId": "/w"})), Some("DefinedWorkspaceId"));
        for rules in [
            json!(null),
            json!(""),
            json!("[]"),
            json!("text"),
            json!("[1]"),
            json!([]),
        ] {
            let properties = json!({"DefinedWorkspaceId": "/w", "Rules": rules});
            assert_eq!(lacks(properties), Some("Rules"), "{rules}");
        }
        let rules = r#"[{"RuleId":"1","MonitoredEntities":{}}]"#;
        assert_eq!(lacks(json!({"DefinedWorkspaceId": "/w", "Rules": rules})), None);
    }
}
