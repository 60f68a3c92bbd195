//! The API versions of plans (docs/azure-api.md 1.8).

use std::sync::atomic::{AtomicBool, Ordering};

use serverprotection_core::azure_error::AzureError;

/// The version with which plans are written.
pub(super) const WRITTEN: &str = "2024-01-01";
/// Shows who manages a plan. It is only read with, because no write with it was ever recorded.
const NEWER: &str = "2026-07-01";

/// The version with which plans are read. A process that was refused the newer one stays with the older one
/// (docs/azure-api.md 1.8).
#[derive(Debug, Default)]
pub(crate) struct PricingsVersion {
    is_older: AtomicBool,
}

impl PricingsVersion {
    pub(crate) fn get(&self) -> &'static str {
        if self.is_older.load(Ordering::Relaxed) {
            WRITTEN
        } else {
            NEWER
        }
    }

    /// Whether the read must be repeated with the older version, because Azure does not know the one it was sent with.
    pub(crate) fn falls_back<T>(&self, version: &str, answer: &Result<T, AzureError>) -> bool {
        let refused = answer.as_ref().err().is_some_and(refuses_version);
        if version == WRITTEN || !refused {
            return false;
        }
        if !self.is_older.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                refused = version,
                used = WRITTEN,
                "Azure does not know the API version of plans; who manages a plan stays unknown"
            );
        }
        true
    }
}

/// Whether Azure Resource Manager or the provider refused the API version.
fn refuses_version(failure: &AzureError) -> bool {
    [
        "NoRegisteredProviderFound",
        "InvalidApiVersionParameter",
        "InvalidResourceType",
        "UnsupportedApiVersion",
    ]
    .iter()
    .any(|code| failure.code.eq_ignore_ascii_case(code))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::{
        Router,
        http::{StatusCode, Uri},
        response::IntoResponse,
    };
    use serverprotection_api::Tier;
    use serverprotection_core::{
        azure_error::ErrorClass,
        server_protection::{observed::OtherPlans, reads::Reads},
    };

    use super::*;
    use crate::stub;

    #[test]
    fn a_refused_version_is_not_sent_again() {
        let failure = |code: &str| AzureError {
            class: ErrorClass::Refused,
            code: code.into(),
            message: String::new(),
            operation: "GET pricings".into(),
            request_id: None,
            effect_unknown: false,
        };
        let version = PricingsVersion::default();
        assert_eq!(version.get(), "2026-07-01");
        assert!(!version.falls_back(version.get(), &Ok(())));
        assert!(!version.falls_back::<()>(version.get(), &Err(failure("InvalidInputJson"))));
        assert_eq!(version.get(), "2026-07-01");
        assert!(version.falls_back::<()>(version.get(), &Err(failure("noRegisteredProviderFound"))));
        assert_eq!(version.get(), "2024-01-01");
        // A request that was sent before repeats, too; the older version does not.
        assert!(version.falls_back::<()>("2026-07-01", &Err(failure("NoRegisteredProviderFound"))));
        assert!(!version.falls_back::<()>(version.get(), &Err(failure("NoRegisteredProviderFound"))));
    }

    /// A service that knows only the older version: what it is asked for, in order.
    #[tokio::test]
    async fn a_process_asks_an_old_service_once_with_the_newer_version() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let answer = move |uri: Uri| {
            let list = uri.path().ends_with("/pricings");
            let of_plans = list || uri.path().ends_with("/VirtualMachines");
            let newer = uri.query() == Some("api-version=2026-07-01");
            if of_plans {
                log.lock().unwrap().push((list, newer));
            }
            let plan = r#"{"name":"VirtualMachines","properties":{"pricingTier":"Standard","subPlan":"P1"}}"#;
            let (status, body) = match (of_plans, newer, list) {
                (true, true, _) => (
                    400,
                    r#"{"error":{"code":"NoRegisteredProviderFound","message":"m"}}"#.to_owned(),
                ),
                (true, false, true) => (200, format!(r#"{{"value":[{plan}]}}"#)),
                (true, false, false) => (200, plan.to_owned()),
                _ => (
                    404,
                    r#"{"error":{"code":"ResourceNotFound","message":"m"}}"#.to_owned(),
                ),
            };
            async move { (StatusCode::from_u16(status).unwrap(), body).into_response() }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        let client = stub::client(url.parse().unwrap());
        let others = Reads {
            other_plans: true,
            ..Reads::default()
        };
        for reads in [Reads::default(), Reads::default(), others] {
            let observed = client
                .observe("6f1c0d7e-0000-4000-8000-000000000001", &reads)
                .await;
            assert_eq!(observed.plan.unwrap().unwrap().tier, Tier::P1);
            assert!(
                observed
                    .other_plans
                    .is_none_or(|plans| plans == Ok(OtherPlans::default()))
            );
        }
        let asked = asked.lock().unwrap().clone();
        assert_eq!(asked[..3], [(false, true), (false, false), (false, false)]);
        assert_eq!(asked.len(), 5);
        assert!(asked[3..].iter().all(|(_, newer)| !newer), "{asked:?}");
    }
}
