//! The settings of the Defender for Endpoint integration (docs/azure-api.md 2), read as one list.

use reqwest::Method;
use serde_json::{Value, json};
use serverprotection_core::{
    azure_error::AzureError,
    gate::WritePermit,
    reading::ReadResult,
    server_protection::{field::Setting, observed::Settings},
};

use crate::{
    arm::{Arm, Call},
    body,
    resources::protection_places::setting_place,
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
                permit: None,
            })
            .await?;
        read(&list)
    }

    pub(crate) async fn put_setting(
        &self,
        subscription: &str,
        setting: Setting,
        on: bool,
        permit: &WritePermit,
    ) -> Result<(), AzureError> {
        let place = setting_place(setting);
        self.call(&Call {
            method: Method::PUT,
            operation: place.put,
            budget: Budget::Subscription(subscription),
            path: &[
                "subscriptions",
                subscription,
                "providers",
                "Microsoft.Security",
                "settings",
                place.name,
            ],
            api_version: API_VERSION,
            body: Some(&request(place.wire(on))),
            timeout: None,
            permit: Some(permit),
        })
        .await
        .map(drop)
    }
}

pub(super) fn request(enabled: bool) -> Value {
    json!({ "kind": "DataExportSettings", "properties": { "enabled": enabled } })
}

/// Azure always lists the integration, so a list without it is incomplete. Any other setting that is not listed does
/// not exist in the subscription and counts as not `enabled`; for Linux this means that nothing is excluded. A listed
/// setting must say whether it is enabled.
pub(crate) fn read(list: &[Value]) -> ReadResult<Settings> {
    let mut settings = Settings::default();
    for setting in Setting::ALL.iter().copied() {
        let place = setting_place(setting);
        let mut enabled = None;
        for item in list {
            if body::is_named(GET, item, place.name)? {
                let on = body::boolean(GET, item, "/properties/enabled")?;
                if enabled.is_some_and(|known| known != on) {
                    return Err(body::contradiction(GET, place.name));
                }
                enabled = Some(on);
            }
        }
        let enabled = match enabled {
            Some(enabled) => enabled,
            None if setting == Setting::Integration => {
                let name = place.name;
                return Err(body::unreadable(
                    GET,
                    format!("Azure's list of settings does not contain {name}"),
                ));
            }
            None => false,
        };
        settings.set(setting, place.wire(enabled));
    }
    Ok(settings)
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
        assert_eq!(
            read(&list),
            Ok(Settings::from_iter([Setting::Integration, Setting::Linux]))
        );
        let excluded = [
            listed("WDATP", &json!({"enabled": false})),
            listed("WDATP_EXCLUDE_LINUX_PUBLIC_PREVIEW", &json!({"enabled": "true"})),
            listed("WDATP_UNIFIED_SOLUTION", &json!({"enabled": true})),
        ];
        assert_eq!(
            read(&excluded),
            Ok(Settings::from_iter([Setting::UnifiedSolution]))
        );
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
        assert!(!read(&list).unwrap().is_on(Setting::Integration));
    }

    #[test]
    fn a_setting_that_is_listed_twice_is_one_or_unreadable() {
        let listed = |name: &str, on: bool| listed(name, &json!({"enabled": on}));
        let same = [listed("WDATP", true), listed("wdatp", true)];
        assert!(read(&same).unwrap().is_on(Setting::Integration));
        let failure = read(&[listed("WDATP", true), listed("wdatp", false)]).unwrap_err();
        assert_eq!(failure.code, "UnreadableAnswer");
        let nameless = json!({"name": 5, "properties": {"enabled": false}});
        assert!(read(&[listed("WDATP", true), nameless]).is_err());
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
