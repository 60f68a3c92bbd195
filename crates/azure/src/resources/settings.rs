//! The MDE settings (contract.md 2): one list instead of three reads.

use reqwest::Method;
use serde_json::{Value, json};
use serverprotection_core::{
    failure::Failure,
    server_protection::{
        laws::Setting,
        observed::{Reading, Settings},
    },
};

use crate::arm::{Arm, Call};

const API_VERSION: &str = "2022-05-01";

impl Arm {
    pub(crate) async fn settings(&self, subscription: &str) -> Reading<Settings> {
        let list = self
            .list(&Call {
                method: Method::GET,
                operation: "GET settings",
                subscription,
                path: &[
                    "subscriptions",
                    subscription,
                    "providers",
                    "Microsoft.Security",
                    "settings",
                ],
                api_version: API_VERSION,
                body: None,
            })
            .await?;
        let enabled = |setting: Setting| {
            let named = |item: &&Value| {
                let name = item.get("name").and_then(Value::as_str);
                name.is_some_and(|name| name.eq_ignore_ascii_case(setting.azure_name()))
            };
            list.iter().find(named)?.pointer("/properties/enabled")?.as_bool()
        };
        Ok(Settings {
            integration: enabled(Setting::Integration),
            unified_solution: enabled(Setting::UnifiedSolution),
            exclude_linux: enabled(Setting::Linux),
        })
    }

    pub(crate) async fn put_setting(
        &self,
        subscription: &str,
        setting: Setting,
        enabled: bool,
    ) -> Result<(), Failure> {
        let name = setting.azure_name();
        self.call(&Call {
            method: Method::PUT,
            operation: match setting {
                Setting::Integration => "PUT settings/WDATP",
                Setting::UnifiedSolution => "PUT settings/WDATP_UNIFIED_SOLUTION",
                Setting::Linux => "PUT settings/WDATP_EXCLUDE_LINUX_PUBLIC_PREVIEW",
            },
            subscription,
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
        })
        .await
        .map(drop)
    }
}
