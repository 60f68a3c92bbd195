//! The plan `VirtualMachines` at subscription scope (docs/azure-api.md 1).

mod version;

use std::{collections::HashMap, time::Duration};

use reqwest::Method;
use serde_json::{Map, Value, json};
use serverprotection_api::Tier;
use serverprotection_core::{
    Timestamp,
    azure_error::{AzureError, ErrorClass},
    gate::WritePermit,
    jiff::{Span, SpanRelativeTo},
    reading::ReadResult,
    server_protection::{
        changes::{ExtensionWrite, PlanWrite},
        decide::PlanResponse,
        field::{ExtensionName, ProtectionField},
        observed::{Extension, OperationStatus, Plan},
    },
};

pub(crate) use self::version::PricingsVersion;
use self::version::WRITTEN;
use crate::{
    arm::{Arm, Call},
    body,
    resources::{
        extension_properties,
        protection_places::{self, azure_name},
    },
    throttled::Budget,
};

const GET: &str = "GET pricings/VirtualMachines";
const PUT: &str = "PUT pricings/VirtualMachines";
/// The member of an extension with its properties.
const PROPERTIES: &str = "additionalExtensionProperties";
/// Characters of `managedBy` that are kept.
const LONGEST_MANAGED_BY: usize = 256;

impl Arm {
    pub(crate) async fn plan(&self, subscription: &str) -> ReadResult<Plan> {
        loop {
            let version = self.pricings_version().get();
            let answer = self
                .pricing_call(Method::GET, GET, version, subscription, None, None)
                .await;
            if !self.pricings_version().falls_back(version, &answer) {
                return read_plan(GET, &answer?);
            }
        }
    }

    /// Writes the plan. The caller holds the subscription's lock.
    pub(crate) async fn put_plan(
        &self,
        subscription: &str,
        write: &PlanWrite,
        permit: &WritePermit,
    ) -> Result<PlanResponse, AzureError> {
        let body = request(write);
        let body = self
            .pricing_call(Method::PUT, PUT, WRITTEN, subscription, Some(&body), Some(permit))
            .await?;
        let plan = read_plan(PUT, &body).map_err(|failure| AzureError {
            effect_unknown: true,
            ..failure
        })?;
        Ok(PlanResponse {
            plan,
            results: read_results(&body),
        })
    }

    async fn pricing_call(
        &self,
        method: Method,
        operation: &'static str,
        api_version: &'static str,
        subscription: &str,
        body: Option<&Value>,
        permit: Option<&WritePermit>,
    ) -> Result<Value, AzureError> {
        self.call(&Call {
            method,
            operation,
            budget: Budget::Subscription(subscription),
            path: &[
                "subscriptions",
                subscription,
                "providers",
                "Microsoft.Security",
                "pricings",
                "VirtualMachines",
            ],
            api_version,
            body,
            timeout: None,
            permit,
        })
        .await
    }
}

/// The body of a plan write. Booleans are strings, and only intended fields are sent (docs/azure-api.md 1.2, 1.4).
pub(super) fn request(write: &PlanWrite) -> Value {
    let sub_plan = match write.tier {
        Tier::Free => return json!({ "properties": { "pricingTier": "Free" } }),
        Tier::P1 => "P1",
        Tier::P2 => "P2",
    };
    let mut properties = Map::new();
    properties.insert("pricingTier".into(), "Standard".into());
    properties.insert(azure_name(&ProtectionField::Tier).into(), sub_plan.into());
    if let Some(enforce) = write.enforce {
        let name = azure_name(&ProtectionField::Inheritance);
        properties.insert(name.into(), boolean(enforce).into());
    }
    let extensions = write.extensions.iter().map(extension).collect();
    properties.insert("extensions".into(), Value::Array(extensions));
    json!({ "properties": properties })
}

fn extension(write: &ExtensionWrite) -> Value {
    let name = &write.name;
    let mut item = Map::new();
    item.insert("name".into(), name.azure_name().into());
    let state = ProtectionField::ExtensionState(name.clone());
    item.insert(azure_name(&state).into(), boolean(write.enabled).into());
    let mut properties = Map::new();
    for (property, write) in &write.properties {
        let field = ProtectionField::ExtensionProperty(name.clone(), property.clone());
        properties.insert(azure_name(&field).into(), extension_properties::written(write));
    }
    if !properties.is_empty() {
        item.insert(PROPERTIES.into(), Value::Object(properties));
    }
    Value::Object(item)
}

const fn boolean(on: bool) -> &'static str {
    if on { "True" } else { "False" }
}

pub(crate) fn read_plan(operation: &str, body: &Value) -> ReadResult<Plan> {
    let text = |name: &str| body::optional_text(operation, body, &format!("/properties/{name}"));
    let shown = |name: &str| body::shown_text(body, &format!("/properties/{name}"));
    let tier = match (
        body::text(operation, body, "/properties/pricingTier")?,
        text(azure_name(&ProtectionField::Tier))?,
    ) {
        (tier, _) if tier.eq_ignore_ascii_case("Free") => Tier::Free,
        (tier, sub_plan) if tier.eq_ignore_ascii_case("Standard") => match sub_plan {
            // Absent means the full plan.
            None => Tier::P2,
            Some(sub_plan) if sub_plan.eq_ignore_ascii_case("P1") => Tier::P1,
            Some(sub_plan) if sub_plan.eq_ignore_ascii_case("P2") => Tier::P2,
            Some(other) => return Err(unknown(operation, "subplan", other)),
        },
        (other, _) => return Err(unknown(operation, "tier", other)),
    };
    let enforce = azure_name(&ProtectionField::Inheritance);
    Ok(Plan {
        tier,
        enforce: body::optional_boolean(operation, body, &format!("/properties/{enforce}"))?,
        extensions: read_extensions(operation, body)?,
        coverage: text("resourcesCoverageStatus")?.map(str::to_owned),
        free_trial_remaining: shown("freeTrialRemainingTime").and_then(read_duration),
        enabled_since: shown("enablementTime").and_then(|time| time.parse::<Timestamp>().ok()),
        managed_by: text("managedBy")?.map(managed_by),
    })
}

/// The extensions by name, whose case does not matter. Equal ones are one.
fn read_extensions(operation: &str, body: &Value) -> ReadResult<Vec<Extension>> {
    let mut found: Vec<Extension> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for item in extensions(operation, body)? {
        let extension = read_extension(operation, item)?;
        let name = extension.name.azure_name();
        let place = *places.entry(name.to_ascii_lowercase()).or_insert(found.len());
        match found.get(place) {
            Some(known) if known.enabled == extension.enabled && known.properties == extension.properties => {
            }
            Some(_) => return Err(body::contradiction(operation, name)),
            None => found.push(extension),
        }
    }
    Ok(found)
}

/// Azure's words, in one line and bounded, because they go into status.
fn managed_by(text: &str) -> String {
    let line = crate::error_response::one_line(text);
    line.chars().take(LONGEST_MANAGED_BY).collect()
}

fn unknown(operation: &str, what: &str, value: &str) -> AzureError {
    AzureError {
        class: ErrorClass::Refused,
        code: "UnknownPlan".into(),
        message: format!("Azure returned the {what} \"{value}\", which this version does not recognize"),
        operation: operation.to_owned(),
        request_id: None,
        effect_unknown: false,
    }
}

/// The extensions of a plan. A Free plan has none.
pub(super) fn extensions<'a>(operation: &str, body: &'a Value) -> ReadResult<&'a [Value]> {
    body::list(operation, body, "/properties/extensions")
}

fn read_extension(operation: &str, item: &Value) -> ReadResult<Extension> {
    let name = ExtensionName::from_azure(body::text(operation, item, "/name")?);
    let state = azure_name(&ProtectionField::ExtensionState(name.clone())).to_owned();
    let properties = body::map(operation, item, &format!("/{PROPERTIES}"))?;
    Ok(Extension {
        enabled: body::boolean(operation, item, &format!("/{state}"))?,
        properties: properties
            .into_iter()
            .map(|(property, found)| {
                let property = protection_places::property(&name, &property);
                let stored = extension_properties::read(&property, &found);
                (property, stored)
            })
            .collect(),
        name,
    })
}

fn read_results(body: &Value) -> Vec<OperationStatus> {
    let read = |item: &Value| {
        item.get("operationStatus").filter(|status| status.is_object())?;
        let text = |pointer: &str| body::shown_text(item, pointer).unwrap_or_default();
        Some(OperationStatus {
            extension: ExtensionName::from_azure(body::shown_text(item, "/name")?),
            code: text("/operationStatus/code").to_owned(),
            message: crate::error_response::one_line(text("/operationStatus/message")),
        })
    };
    let extensions = extensions(PUT, body).unwrap_or_default();
    extensions.iter().filter_map(read).collect()
}

/// An ISO 8601 duration such as `PT0S`, `P30D` or `P29DT5H`. `None` if it is negative or contains months or years,
/// whose length varies.
fn read_duration(text: &str) -> Option<Duration> {
    let span: Span = text.parse().ok()?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(duration).ok()
}

#[cfg(test)]
mod tests {
    mod extensions;

    use std::collections::BTreeMap;

    use serverprotection_core::server_protection::{
        field::Property,
        property::{PropertyValue, Tags},
    };

    use super::*;

    #[test]
    fn a_write_carries_strings_for_booleans_and_no_properties_on_disabled_extensions() {
        let no_tags = PropertyValue::Tags(Tags::new()).write(None);
        let write = PlanWrite {
            tier: Tier::P2,
            enforce: None,
            extensions: vec![
                ExtensionWrite {
                    name: ExtensionName::AgentlessScanning,
                    enabled: true,
                    properties: BTreeMap::from([(Property::ExclusionTags, no_tags)]),
                },
                ExtensionWrite {
                    name: ExtensionName::DirectOnboarding,
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
    fn a_free_plan_is_written_without_other_fields() {
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
    fn an_unknown_sub_plan_is_reported_and_not_guessed() {
        let failure = read_plan(
            GET,
            &json!({"properties": {"pricingTier": "Standard", "subPlan": "P9"}}),
        )
        .unwrap_err();
        assert!(failure.message.contains("P9"));
    }

    #[test]
    fn a_response_without_its_mandatory_members_is_unreadable_and_not_free_or_off() {
        let with =
            |extension: Value| json!({"properties": {"pricingTier": "Standard", "extensions": [extension]}});
        for body in [
            json!(null),
            json!({}),
            json!({"properties": null}),
            json!({"properties": {"subPlan": "P2"}}),
            json!({"properties": {"pricingTier": "Standard", "enforce": "perhaps"}}),
            json!({"properties": {"pricingTier": "Standard", "extensions": {"name": "x"}}}),
            with(json!({"name": "AgentlessVmScanning"})),
            with(json!({"name": "AgentlessVmScanning", "isEnabled": "perhaps"})),
            with(json!({"isEnabled": "True"})),
            with(json!({"name": "x", "isEnabled": "True", "additionalExtensionProperties": ["a"]})),
        ] {
            let failure = read_plan(GET, &body).unwrap_err();
            assert_eq!(
                (failure.class, failure.code.as_str()),
                (ErrorClass::Transient, "UnreadableAnswer"),
                "{body}"
            );
        }
    }

    #[test]
    fn the_remaining_time_of_a_trial_is_read_or_unknown() {
        for (text, seconds) in [
            ("PT0S", Some(0)),
            ("P30D", Some(30 * 86_400)),
            ("P1W", Some(7 * 86_400)),
            ("P29DT23H59M59.5S", Some(30 * 86_400 - 1)),
            ("P7304484D", Some(7_304_484 * 86_400)),
            ("PT631107417600S", Some(631_107_417_600)),
            // Without a fixed length, negative, too long for the type, and not a duration.
            ("P1M", None),
            ("P1Y", None),
            ("-P1D", None),
            ("P9223372036854775807D", None),
            ("PT9223372036854775807M", None),
            (
                "P1043497WT175307616H",
                Some((1_043_497 * 7 * 24 + 175_307_616) * 3600),
            ),
            ("30.00:00:00", None),
            ("", None),
        ] {
            let found = read_duration(text).map(|found| found.as_secs());
            assert_eq!(found, seconds, "{text}");
        }
    }

    #[test]
    fn absent_members_have_several_forms() {
        for absent in [json!(null), json!("")] {
            let plan = json!({"properties": {"pricingTier": "Standard", "subPlan": absent, "enforce": null,
                "extensions": [{"name": "x", "isEnabled": true, "additionalExtensionProperties": absent}]}});
            let plan = read_plan(GET, &plan).unwrap();
            assert_eq!((plan.tier, plan.enforce), (Tier::P2, None));
            assert!(plan.extensions[0].enabled && plan.extensions[0].properties.is_empty());
        }
        // A plan that was never used (recorded).
        let free = json!({"properties": {"resourcesCoverageStatus": "NotCovered", "pricingTier": "Free",
            "freeTrialRemainingTime": "P30D"}});
        let free = read_plan(GET, &free).unwrap();
        assert_eq!((free.tier, free.extensions.len()), (Tier::Free, 0));
    }

    /// The official example of a plan that a rule of the Defender portal manages.
    #[test]
    fn a_plan_that_is_managed_elsewhere_says_by_whom() {
        let plan = |managed: Value| {
            let body = json!({"properties": {"pricingTier": "Standard", "subPlan": "P2", "enforce": "False",
                "originatedFrom": "M365", "managedBy": managed}});
            read_plan(GET, &body).unwrap().managed_by
        };
        let rule = "M365 security rule: /management/rules/b6e2e7e2-2c7a-4e2e-9b7d-2e2e7e2b6e2e";
        assert_eq!(plan(json!(rule)).as_deref(), Some(rule));
        assert_eq!(plan(json!("two\r\nlines")).as_deref(), Some("two lines"));
        assert_eq!(
            plan(json!("x".repeat(5000))).map(|text| text.len()),
            Some(LONGEST_MANAGED_BY)
        );
        for absent in [json!(null), json!("")] {
            assert_eq!(plan(absent), None);
        }
    }

    #[test]
    fn members_of_another_form_are_unreadable_and_not_absent() {
        for (name, odd) in [
            ("subPlan", json!(1)),
            ("subPlan", json!(["P1"])),
            ("managedBy", json!({"id": "x"})),
            ("resourcesCoverageStatus", json!(false)),
        ] {
            let mut plan = json!({"properties": {"pricingTier": "Standard"}});
            plan["properties"][name] = odd;
            assert_eq!(
                read_plan(GET, &plan).unwrap_err().code,
                "UnreadableAnswer",
                "{plan}"
            );
        }
        // Only shown.
        let plan = json!({"properties": {"pricingTier": "Standard", "freeTrialRemainingTime": 5, "enablementTime": {}}});
        assert!(read_plan(GET, &plan).is_ok());
    }

    #[test]
    fn results_are_read_from_the_response() {
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
