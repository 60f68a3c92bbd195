//! The subscription itself.

use reqwest::Method;
use serde_json::Value;
use serverprotection_core::{reading::ReadResult, server_protection::observed::Subscription};

use crate::{
    arm::{Arm, Call},
    body,
    throttled::Budget,
};

const GET: &str = "GET subscription";

impl Arm {
    pub(crate) async fn subscription(&self, subscription: &str) -> ReadResult<Subscription> {
        let body = self
            .call(&Call {
                method: Method::GET,
                operation: GET,
                budget: Budget::Subscription(subscription),
                path: &["subscriptions", subscription],
                api_version: "2022-12-01",
                body: None,
                timeout: None,
                permit: None,
            })
            .await?;
        read(&body)
    }
}

pub(crate) fn read(body: &Value) -> ReadResult<Subscription> {
    Ok(Subscription {
        display_name: body::text(GET, body, "/displayName")?.to_owned(),
        state: body::text(GET, body, "/state")?.to_owned(),
    })
}
