//! The reads of a `ServerProtection`, sent concurrently. An error is part of the result.

use futures::future::{OptionFuture, join_all};
use serverprotection_core::{
    azure_error::{AzureError, ErrorClass},
    reading::ReadResult,
    server_protection::{
        observed::{Observed, RegistrationState},
        reads::Reads,
    },
};

use crate::principal::Session;

impl Session {
    /// Reads plan, settings and assessment, and what `reads` selects.
    pub(crate) async fn observe(&self, subscription: &str, reads: &Reads) -> Observed {
        let arm = &self.arm;
        let workspaces = reads
            .workspaces
            .iter()
            .map(|id| async move { (id.clone(), arm.security_solution(id).await) });
        let (plan, settings, assessment, details, mut registration, permissions, other_plans, workspaces) = tokio::join!(
            arm.plan(subscription),
            arm.settings(subscription),
            arm.assessment(subscription),
            OptionFuture::from(reads.subscription.then(|| arm.subscription(subscription))),
            OptionFuture::from(reads.registration.then(|| arm.registration(subscription))),
            OptionFuture::from(reads.permissions.then(|| self.permissions(subscription))),
            // Boxed, because the future of every reconcile would otherwise reserve memory for this rare case.
            OptionFuture::from(reads.other_plans.then(|| Box::pin(arm.other_plans(subscription)))),
            join_all(workspaces),
        );
        let unregistered = |failure: Option<&AzureError>| {
            failure.is_some_and(|failure| failure.class == ErrorClass::NotRegistered)
        };
        let not_registered = unregistered(failure_of(&plan))
            || unregistered(failure_of(&settings))
            || unregistered(failure_of(&assessment));
        if not_registered {
            let read = match registration {
                Some(read) => read,
                None => arm.registration(subscription).await,
            };
            // An identity that may not read the registration still gets it from the provider's error.
            registration = Some(match read {
                Err(failure) if matches!(failure.class, ErrorClass::Permission(_)) => {
                    Ok(RegistrationState::NotRegistered)
                }
                read => read,
            });
        }
        Observed {
            credential: Ok(()),
            subscription: details,
            registration,
            plan: Some(plan),
            settings: Some(settings),
            assessment: Some(assessment),
            permissions,
            other_plans,
            workspaces,
        }
    }
}

fn failure_of<T>(result: &ReadResult<T>) -> Option<&AzureError> {
    result.as_ref().err()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::{
        Router,
        http::{StatusCode, Uri},
        response::IntoResponse,
    };

    use super::*;
    use crate::stub;

    const SUBSCRIPTION: &str = "6f1c0d7e-0000-4000-8000-000000000001";
    /// As quoted in public reports (Azure/azure-sdk-for-go issue 19900).
    const NOT_REGISTERED: &str = r#"{"error":{"code":"Subscription Not Registered","message":"Please register to Microsoft.Security in order to view your security status"}}"#;

    /// Observes a subscription without the provider, with this response about the registration. Also returns the paths
    /// of all requests.
    async fn observe(status: u16, registration: &'static str) -> (Observed, Vec<String>) {
        let paths = Arc::new(Mutex::new(Vec::new()));
        let asked = Arc::clone(&paths);
        let answer = move |uri: Uri| {
            let path = uri.path().to_owned();
            asked.lock().unwrap().push(path.clone());
            let (status, body) = match path.as_str() {
                path if path.ends_with("/providers/Microsoft.Security") => (status, registration),
                path if path.ends_with("/settings") => (401, NOT_REGISTERED),
                _ => (404, NOT_REGISTERED),
            };
            async move { (StatusCode::from_u16(status).unwrap(), body).into_response() }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        let client = stub::client(url.parse().unwrap());
        let observed = client.observe(SUBSCRIPTION, &Reads::default()).await;
        let paths = paths.lock().unwrap().clone();
        (observed, paths)
    }

    #[tokio::test]
    async fn errors_about_an_unregistered_provider_lead_to_a_read_of_the_registration() {
        for (status, registration, state) in [
            (
                200,
                r#"{"registrationState":"NotRegistered"}"#,
                RegistrationState::NotRegistered,
            ),
            (
                200,
                r#"{"registrationState":"Registering"}"#,
                RegistrationState::Registering,
            ),
            // Defender for Cloud lags behind Azure Resource Manager.
            (
                200,
                r#"{"registrationState":"Registered"}"#,
                RegistrationState::Registering,
            ),
            // The role Security Admin alone may not read it.
            (
                403,
                r#"{"error":{"code":"AuthorizationFailed","message":"m"}}"#,
                RegistrationState::NotRegistered,
            ),
        ] {
            let (observed, paths) = observe(status, registration).await;
            assert_eq!(observed.registration_state(), Some(state), "{registration}");
            let failures = [
                observed.plan.unwrap().unwrap_err(),
                observed.settings.unwrap().unwrap_err(),
                observed.assessment.unwrap().unwrap_err(),
            ];
            for failure in failures {
                assert_eq!(failure.class, ErrorClass::NotRegistered, "{failure}");
            }
            // This 401 is not about the token, so the client does not retry with another one.
            assert_eq!(paths.len(), 4, "{paths:?}");
        }
    }
}
