//! All plans of a subscription as one list: what the others mean for its servers (docs/azure-api.md 1.4, 8.2).

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;
use serverprotection_core::{
    azure_error::AzureError,
    reading::ReadResult,
    server_protection::{
        field::ExtensionName,
        observed::{OtherPlans, ScanningPlan},
    },
};

use super::pricings::extensions;
use crate::{
    arm::{Arm, Call},
    body,
    throttled::Budget,
};

const LIST: &str = "GET pricings";

impl Arm {
    /// What the other plans of a subscription mean for its servers.
    pub(crate) async fn other_plans(&self, subscription: &str) -> ReadResult<OtherPlans> {
        loop {
            let version = self.pricings_version().get();
            let answer = self
                .list(&Call {
                    method: Method::GET,
                    operation: LIST,
                    budget: Budget::Subscription(subscription),
                    path: &[
                        "subscriptions",
                        subscription,
                        "providers",
                        "Microsoft.Security",
                        "pricings",
                    ],
                    api_version: version,
                    body: None,
                    timeout: None,
                    permit: None,
                })
                .await;
            if !self.pricings_version().falls_back(version, &answer) {
                return read(&answer?);
            }
        }
    }
}

/// Plans by name in a list. A list without the plan of the servers is incomplete.
fn read(list: &[Value]) -> ReadResult<OtherPlans> {
    let named = |name: &str| {
        let mut found: Option<&Value> = None;
        for item in list {
            if !body::is_named(LIST, item, name)? {
                continue;
            }
            if found.is_some_and(|known| known.get("properties") != item.get("properties")) {
                return Err(body::contradiction(LIST, name));
            }
            found = Some(item);
        }
        Ok(found)
    };
    let is_standard = |item: &Value| {
        let tier = body::text(LIST, item, "/properties/pricingTier")?;
        Ok::<bool, AzureError>(tier.eq_ignore_ascii_case("Standard"))
    };
    if named("VirtualMachines")?.is_none() {
        let message = "Azure's list of plans does not contain VirtualMachines";
        return Err(body::unreadable(LIST, message.into()));
    }
    let mut scanning = BTreeSet::new();
    for plan in ScanningPlan::ALL {
        let Some(item) = named(plan.azure_name())? else {
            continue;
        };
        let extensions = extensions(LIST, item)?;
        let mut scans = None;
        for extension in extensions {
            let name = body::optional_text(LIST, extension, "/name")?;
            if name.is_some_and(|name| ExtensionName::AgentlessScanning.is_named(name)) {
                let on = body::boolean(LIST, extension, "/isEnabled")?;
                if scans.is_some_and(|known| known != on) {
                    return Err(body::contradiction(LIST, plan.azure_name()));
                }
                scans = Some(on);
            }
        }
        if scans == Some(true) && is_standard(item)? {
            scanning.insert(plan);
        }
    }
    // Defender CSPM contains foundational CSPM.
    let whole = named(ScanningPlan::CloudPosture.azure_name())?
        .map(is_standard)
        .transpose()?;
    let foundational = named("FoundationalCspm")?.map(is_standard).transpose()?;
    Ok(OtherPlans {
        foundational_cspm: match whole {
            Some(true) => Some(true),
            _ => foundational,
        },
        scanning,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_other_plans_say_who_scans_and_whether_there_are_recommendations() {
        let plan = |name: &str, tier: &str, scans: Value| {
            json!({"name": name, "properties": {"pricingTier": tier,
                "extensions": [{"name": "agentlessvmscanning", "isEnabled": scans}]}})
        };
        let servers = || plan("VirtualMachines", "Standard", json!("True"));
        let read = |others: &[Value]| super::read(&[&[servers()], others].concat());
        let found = |foundational_cspm, scanning: &[ScanningPlan]| {
            let scanning = scanning.iter().copied().collect();
            Ok(OtherPlans {
                foundational_cspm,
                scanning,
            })
        };
        let foundational =
            |tier: &str| json!({"name": "FoundationalCspm", "properties": {"pricingTier": tier}});
        assert_eq!(read(&[]), found(None, &[]));
        assert_eq!(read(&[foundational("Free")]), found(Some(false), &[]));
        assert_eq!(read(&[foundational("Standard")]), found(Some(true), &[]));
        let both = [
            plan("cloudposture", "Standard", json!("True")),
            plan("Containers", "Standard", json!(true)),
            foundational("Free"),
        ];
        assert_eq!(read(&both), found(Some(true), &ScanningPlan::ALL));
        let off = [
            plan("CloudPosture", "Standard", json!("False")),
            plan("Containers", "Free", json!("True")),
        ];
        assert_eq!(read(&off), found(Some(true), &[]));
    }

    #[test]
    fn a_list_of_plans_that_is_incomplete_is_unreadable() {
        let servers = json!({"name": "VirtualMachines", "properties": {"pricingTier": "Free"}});
        for list in [
            vec![],
            vec![json!({"name": "CloudPosture", "properties": {"pricingTier": "Free"}})],
            vec![
                servers.clone(),
                json!({"name": "FoundationalCspm", "properties": {}}),
            ],
            vec![
                servers,
                json!({"name": "Containers", "properties": {"pricingTier": "Standard",
                "extensions": [{"name": "AgentlessVmScanning"}]}}),
            ],
        ] {
            let failure = read(&list).unwrap_err();
            assert_eq!(failure.code, "UnreadableAnswer", "{list:?}");
        }
    }
}
