//! The plan `VirtualMachines` at subscription scope (contract.md 1).

use std::{collections::BTreeMap, time::Duration};

use reqwest::Method;
use serde_json::{Map, Value, json};
use serverprotection_api::Tier;
use serverprotection_core::{
    Timestamp,
    failure::{Class, Failure},
    jiff::Span,
    server_protection::{
        changes::PlanWrite,
        decide::PlanAnswer,
        observed::{Extension, OperationStatus, Plan, Reading},
    },
};

use crate::arm::{Arm, Call};

const API_VERSION: &str = "2024-01-01";
const GET: &str = "GET pricings/VirtualMachines";
const PUT: &str = "PUT pricings/VirtualMachines";

impl Arm {
    pub(crate) async fn plan(&self, subscription: &str) -> Reading<Plan> {
        let body = self.pricing_call(Method::GET, GET, subscription, None).await?;
        read_plan(GET, &body)
    }

    /// Writes the plan. The caller holds the subscription's lock.
    pub(crate) async fn put_plan(
        &self,
        subscription: &str,
        write: &PlanWrite,
    ) -> Result<PlanAnswer, Failure> {
        let body = self
            .pricing_call(Method::PUT, PUT, subscription, Some(&request(write)))
            .await?;
        let plan = read_plan(PUT, &body).map_err(|failure| Failure {
            effect_unknown: true,
            ..failure
        })?;
        Ok(PlanAnswer {
            plan,
            results: read_results(&body),
        })
    }

    async fn pricing_call(
        &self,
        method: Method,
        operation: &'static str,
        subscription: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        self.call(&Call {
            method,
            operation,
            subscription,
            path: &[
                "subscriptions",
                subscription,
                "providers",
                "Microsoft.Security",
                "pricings",
                "VirtualMachines",
            ],
            api_version: API_VERSION,
            body,
        })
        .await
    }
}

/// The body of a plan write. Booleans are strings; nothing is sent that is not meant (contract.md 1.2, 1.4).
fn request(write: &PlanWrite) -> Value {
    let sub_plan = match write.tier {
        Tier::Free => return json!({ "properties": { "pricingTier": "Free" } }),
        Tier::P1 => "P1",
        Tier::P2 => "P2",
    };
    let extensions: Vec<_> = write
        .extensions
        .iter()
        .map(|extension| {
            let mut item = json!({ "name": extension.name, "isEnabled": boolean(extension.enabled) });
            if !extension.properties.is_empty()
                && let Some(item) = item.as_object_mut()
            {
                item.insert(
                    "additionalExtensionProperties".into(),
                    json!(extension.properties),
                );
            }
            item
        })
        .collect();
    let mut properties = Map::new();
    properties.insert("pricingTier".into(), "Standard".into());
    properties.insert("subPlan".into(), sub_plan.into());
    if let Some(enforce) = write.enforce {
        properties.insert("enforce".into(), boolean(enforce).into());
    }
    properties.insert("extensions".into(), Value::Array(extensions));
    json!({ "properties": properties })
}

const fn boolean(on: bool) -> &'static str {
    if on { "True" } else { "False" }
}

/// `"True"`, `"true"` or `true` (contract.md 11.1).
fn truth(value: Option<&Value>) -> Option<bool> {
    match value? {
        Value::Bool(on) => Some(*on),
        Value::String(text) => Some(text.eq_ignore_ascii_case("true")),
        _ => None,
    }
}

fn read_plan(operation: &str, body: &Value) -> Reading<Plan> {
    let properties = body.get("properties").unwrap_or(&Value::Null);
    let text = |name: &str| properties.get(name).and_then(Value::as_str);
    let tier = match (text("pricingTier").unwrap_or_default(), text("subPlan")) {
        (tier, _) if tier.eq_ignore_ascii_case("Free") => Tier::Free,
        (tier, sub_plan) if tier.eq_ignore_ascii_case("Standard") => match sub_plan {
            // Absent means the full plan.
            None => Tier::P2,
            Some(sub_plan) if sub_plan.eq_ignore_ascii_case("P1") => Tier::P1,
            Some(sub_plan) if sub_plan.eq_ignore_ascii_case("P2") => Tier::P2,
            Some(other) => return Err(unknown(operation, "sub-plan", other)),
        },
        (other, _) => return Err(unknown(operation, "tier", other)),
    };
    Ok(Plan {
        tier,
        enforce: truth(properties.get("enforce")),
        extensions: extensions(properties).filter_map(read_extension).collect(),
        coverage: text("resourcesCoverageStatus").map(str::to_owned),
        free_trial_remaining: text("freeTrialRemainingTime").and_then(read_duration),
        enabled_since: text("enablementTime").and_then(|time| time.parse::<Timestamp>().ok()),
    })
}

fn unknown(operation: &str, what: &str, value: &str) -> Failure {
    Failure {
        class: Class::Refused,
        code: "UnknownPlan".into(),
        message: format!(
            "Azure answered the {what} \"{value}\", which this version does not know; upgrade the controller"
        ),
        operation: operation.to_owned(),
        request_id: None,
        effect_unknown: false,
    }
}

fn extensions(properties: &Value) -> impl Iterator<Item = &Value> {
    properties
        .get("extensions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn read_extension(item: &Value) -> Option<Extension> {
    let name = item.get("name")?.as_str()?.to_owned();
    let properties = item
        .get("additionalExtensionProperties")
        .and_then(Value::as_object);
    let properties: BTreeMap<_, _> = properties
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Some(Extension {
        name,
        enabled: truth(item.get("isEnabled")).unwrap_or(false),
        properties,
    })
}

fn read_results(body: &Value) -> Vec<OperationStatus> {
    let read = |item: &Value| {
        let status = item.get("operationStatus")?;
        let text = |name: &str| {
            status
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let extension = item.get("name")?.as_str()?.to_owned();
        Some(OperationStatus {
            extension,
            code: text("code"),
            message: crate::refusal::one_line(&text("message")),
        })
    };
    extensions(body.get("properties").unwrap_or(&Value::Null))
        .filter_map(read)
        .collect()
}

/// ISO 8601, e.g. `PT0S`, `P30D`, `P29DT5H`.
fn read_duration(text: &str) -> Option<Duration> {
    let span: Span = text.parse().ok()?;
    let hours =
        i64::from(span.get_days()) * 24 + i64::from(span.get_weeks()) * 168 + i64::from(span.get_hours());
    let seconds = hours * 3600 + span.get_minutes() * 60 + span.get_seconds();
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use serverprotection_core::server_protection::changes::ExtensionWrite;

    use super::*;

    #[test]
    fn a_write_carries_strings_for_booleans_and_no_properties_on_disabled_extensions() {
        let write = PlanWrite {
            tier: Tier::P2,
            enforce: None,
            extensions: vec![
                ExtensionWrite {
                    name: "AgentlessVmScanning".into(),
                    enabled: true,
                    properties: BTreeMap::from([("ExclusionTags".into(), "[]".into())]),
                },
                ExtensionWrite {
                    name: "MdeDesignatedSubscription".into(),
                    enabled: false,
                    properties: BTreeMap::new(),
                },
            ],
        };
        assert_eq!(
            request(&write),
            json!({"properties": {"pricingTier": "Standard", "subPlan": "P2", "extensions": [
                {"name": "AgentlessVmScanning", "isEnabled": "True", "additionalExtensionProperties": {"ExclusionTags": "[]"}},
                {"name": "MdeDesignatedSubscription", "isEnabled": "False"},
            ]}})
        );
    }

    #[test]
    fn free_is_nothing_but_free() {
        let write = PlanWrite {
            tier: Tier::Free,
            enforce: Some(true),
            extensions: Vec::new(),
        };
        assert_eq!(request(&write), json!({"properties": {"pricingTier": "Free"}}));
    }

    #[test]
    fn standard_without_a_sub_plan_is_p2() {
        let plan = read_plan(GET, &json!({"properties": {"pricingTier": "standard"}})).unwrap();
        assert_eq!(plan.tier, Tier::P2);
    }

    #[test]
    fn an_unknown_sub_plan_is_told_and_not_guessed() {
        let failure = read_plan(
            GET,
            &json!({"properties": {"pricingTier": "Standard", "subPlan": "P9"}}),
        )
        .unwrap_err();
        assert!(failure.message.contains("P9"));
    }

    #[test]
    fn results_are_read_from_the_answer() {
        let body = json!({"properties": {"pricingTier": "Standard", "subPlan": "P2", "enforce": "False",
            "freeTrialRemainingTime": "P29DT1H", "enablementTime": "2023-03-01T12:42:42.1921106Z",
            "extensions": [{"name": "AgentlessVmScanning", "isEnabled": "True",
                "operationStatus": {"code": "Failed", "message": "Failed assigning roles"}}]}});
        let plan = read_plan(PUT, &body).unwrap();
        assert_eq!(plan.enforce, Some(false));
        assert_eq!(
            plan.free_trial_remaining,
            Some(Duration::from_secs((29 * 24 + 1) * 3600))
        );
        assert!(plan.enabled_since.is_some());
        assert_eq!(read_results(&body)[0].code, "Failed");
    }
}
