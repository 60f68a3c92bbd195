//! What the identity may do on the subscription.

use reqwest::Method;
use serde_json::Value;
use serverprotection_core::server_protection::observed::{Permissions, Reading};

use crate::arm::{Arm, Call};

impl Arm {
    pub(crate) async fn permissions(&self, subscription: &str) -> Reading<Permissions> {
        let grants = self
            .list(&Call {
                method: Method::GET,
                operation: "GET permissions",
                subscription,
                path: &[
                    "subscriptions",
                    subscription,
                    "providers",
                    "Microsoft.Authorization",
                    "permissions",
                ],
                api_version: "2022-04-01",
                body: None,
            })
            .await?;
        let texts = |grant: &Value, name: &str| {
            let list = grant.get(name).and_then(Value::as_array);
            list.into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let grants = grants
            .iter()
            .map(|grant| (texts(grant, "actions"), texts(grant, "notActions")));
        Ok(Permissions {
            grants: grants.collect(),
        })
    }
}
