//! The settings of the Defender for Endpoint integration (docs/azure-api.md 2), read as one list.

use reqwest::Method;
use serde_json::{Value, json};
use serverprotection_core::{
    azure_error::AzureError,
    server_protection::{
        azure_rules::Setting,
        observed::{ReadResult, Settings},
    },
};

use crate::{
    arm::{Arm, Call},
    body,
    throttled::Budget,
};

const API_VERSION: &str = "2022-05-01";
const GET: &str = "GET settings";

impl Arm {
    pub(crate) async fn settings(&self, subscription: &str) -> ReadResult<Settings> {
        let list = self
            .list(&Call {
                method: Method::GET,
                operation: GET,
                budget: Budget::Subscription(subscription),
                path: &[
                    "subscriptions",
                    subscription,
                    "providers",
                    "Microsoft.Security",
                    "settings",
                ],
                api_version: API_VERSION,
                body: None,
                timeout: None,
            })
            .await?;
        read(&list)
    }

    pub(crate) async fn put_setting(
        &self,
        subscription: &str,
        setting: Setting,
        enabled: bool,
    ) -> Result<(), AzureError> {
        let name = setting.azure_name();
        self.call(&Call {
            method: Method::PUT,
            operation: match setting {
                Setting::Integration => "PUT settings/WDATP",
                Setting::UnifiedSolution => "PUT settings/WDATP_UNIFIED_SOLUTION",
                Setting::Linux => "PUT settings/WDATP_EXCLUDE_LINUX_PUBLIC_PREVIEW",
            },
            budget: Budget::Subscription(subscription),
            path: &[
                "subscriptions",
                subscription,
                "providers",
                "Microsoft.Security",
                "settings",
                name,
            ],
            api_version: API_VERSION,
            body: Some(&json!({ "kind": "DataExportSettings", "properties": { "enabled": enabled } })),
            timeout: None,
        })
        .await
        .map(drop)
    }
}

/// Azure always lists the integration, so a list without it is incomplete. An opt-in that is not listed does not exist
/// in the subscription. A listed setting must say whether it is enabled.
fn read(list: &[Value]) -> ReadResult<Settings> {
    let enabled = |setting: Setting| {
        let is_named = |item: &&Value| {
            let name = body::optional_text(item, "/name");
            name.is_some_and(|name| name.eq_ignore_ascii_case(setting.azure_name()))
        };
        let found = list.iter().find(is_named);
        found
            .map(|item| body::boolean(GET, item, "/properties/enabled"))
            .transpose()
    };
    let integration = enabled(Setting::Integration)?;
    if integration.is_none() {
        let name = Setting::Integration.azure_name();
        return Err(body::unreadable(
            GET,
            format!("Azure's list of settings does not contain {name}"),
        ));
    }
    Ok(Settings {
        integration,
        unified_solution: enabled(Setting::UnifiedSolution)?,
        exclude_linux: enabled(Setting::Linux)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(name: &str, properties: &Value) -> Value {
        json!({"id": format!("/subscriptions/s/providers/Microsoft.Security/settings/{name}"), "name": name,
            "kind": "DataExportSettings", "type": "Microsoft.Security/settings", "properties": properties})
    }

    #[test]
    fn a_list_is_read_with_booleans_of_either_form() {
        let list = [
            listed("MCAS", &json!({"enabled": true})),
            listed("wdatp", &json!({"enabled": "True"})),
            listed("WDATP_EXCLUDE_LINUX_PUBLIC_PREVIEW", &json!({"enabled": false})),
        ];
        let expected = Settings {
            integration: Some(true),
            unified_solution: None,
            exclude_linux: Some(false),
        };
        assert_eq!(read(&list), Ok(expected));
    }

    #[test]
    fn a_setting_that_does_not_say_whether_it_is_on_is_unreadable_and_not_off() {
        for properties in [
            json!({}),
            json!(null),
            json!({"enabled": null}),
            json!({"enabled": 1}),
        ] {
            let failure = read(&[listed("WDATP", &properties)]).unwrap_err();
            assert_eq!(failure.code, "UnreadableAnswer", "{properties}");
        }
        // Other settings are not read.
        let list = [
            listed("Sentinel", &json!({})),
            listed("WDATP", &json!({"enabled": false})),
        ];
        assert_eq!(read(&list).unwrap().integration, Some(false));
    }

    #[test]
    fn a_list_without_the_integration_is_unreadable_and_not_off() {
        for list in [vec![], vec![listed("MCAS", &json!({"enabled": true}))]] {
            let failure = read(&list).unwrap_err();
            assert_eq!(failure.code, "UnreadableAnswer");
            assert!(failure.message.contains("WDATP"), "{failure}");
        }
    }
}
