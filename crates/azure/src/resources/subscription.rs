//! The subscription itself.

use reqwest::Method;
use serde_json::Value;
use serverprotection_core::server_protection::observed::{Reading, Subscription};

use crate::arm::{Arm, Call};

impl Arm {
    pub(crate) async fn subscription(&self, subscription: &str) -> Reading<Subscription> {
        let body = self
            .call(&Call {
                method: Method::GET,
                operation: "GET subscription",
                subscription,
                path: &["subscriptions", subscription],
                api_version: "2022-12-01",
                body: None,
            })
            .await?;
        let text = |name: &str| {
            body.get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        Ok(Subscription {
            display_name: text("displayName"),
            state: text("state"),
        })
    }
}
