//! Lists of subscriptions: all that the identity can see, or those below a management group.

use reqwest::Method;
use serde::Deserialize;
use serverprotection_core::azure_error::AzureError;

use crate::{
    arm::{Arm, Call, Limits},
    throttled::Budget,
};

/// A subscription that the identity can see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Its GUID, lower case.
    pub id: String,
    /// `displayName`.
    pub name: String,
    /// `Enabled`, `Warned`, `PastDue`, `Disabled`, `Deleted`.
    pub state: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    subscription_id: Option<String>,
    display_name: Option<String>,
    state: Option<String>,
}

#[derive(Deserialize)]
struct Descendant {
    name: Option<String>,
    #[serde(rename = "type")]
    type_: Option<String>,
}

impl Arm {
    /// Every subscription that the identity can see (docs/azure-api.md 9.5), with one request for each page.
    pub(crate) async fn subscriptions(&self) -> Result<Vec<Subscription>, AzureError> {
        let call = Call {
            method: Method::GET,
            operation: "GET subscriptions",
            budget: Budget::Tenant,
            path: &["subscriptions"],
            api_version: "2022-12-01",
            body: None,
            timeout: None,
            permit: None,
        };
        let mut found = Vec::new();
        self.pages(&call, Limits::LONG, |page: Vec<Item>| {
            found.extend(page.into_iter().filter_map(|item| {
                Some(Subscription {
                    id: item.subscription_id?.to_ascii_lowercase(),
                    name: item.display_name.unwrap_or_default(),
                    state: item.state.unwrap_or_default(),
                })
            }));
            Ok(())
        })
        .await?;
        Ok(found)
    }

    /// The GUIDs, in lower case, of the subscriptions below a management group, at any depth. `name` is the id of the
    /// group, not its display name.
    pub(crate) async fn management_group(&self, name: &str) -> Result<Vec<String>, AzureError> {
        let call = Call {
            method: Method::GET,
            operation: "GET managementGroups/descendants",
            budget: Budget::Tenant,
            path: &[
                "providers",
                "Microsoft.Management",
                "managementGroups",
                name,
                "descendants",
            ],
            api_version: "2020-05-01",
            body: None,
            timeout: None,
            permit: None,
        };
        let mut found = Vec::new();
        self.pages(&call, Limits::LONG, |page: Vec<Descendant>| {
            found.extend(page.into_iter().filter_map(subscription_below));
            Ok(())
        })
        .await?;
        Ok(found)
    }
}

/// A descendant is a subscription (`/subscriptions`) or another management group.
fn subscription_below(descendant: Descendant) -> Option<String> {
    let is_subscription = descendant
        .type_
        .is_some_and(|type_| type_.to_ascii_lowercase().ends_with("/subscriptions"));
    let name = descendant.name.filter(|_| is_subscription)?;
    Some(name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_subscriptions_below_a_management_group_are_taken() {
        let body = r#"[{"id": "/subscriptions/S1", "type": "/subscriptions", "name": "S1", "properties": {}},
            {"type": "Microsoft.Management/managementGroups/subscriptions", "name": "s2"},
            {"type": "Microsoft.Management/managementGroups", "name": "group"}, {"name": null, "type": null}]"#;
        let descendants: Vec<Descendant> = serde_json::from_str(body).unwrap();
        let found: Vec<_> = descendants.into_iter().filter_map(subscription_below).collect();
        assert_eq!(found, ["s1", "s2"]);
    }
}
