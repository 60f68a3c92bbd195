//! Tokens of one identity: one request at a time, even after errors (docs/azure-api.md 9.2).

use std::{sync::Arc, time::Duration};

use azure_core::{
    credentials::{AccessToken, TokenCredential},
    http::HttpClient,
    time::{Duration as TokenDuration, OffsetDateTime},
};
use serverprotection_core::{
    Timestamp,
    azure_error::{AzureError, ErrorClass, IDENTITY_ENDPOINT_UNREACHABLE, MANAGED_IDENTITY_NOT_ASSIGNED},
    retry::LONGEST_RETRY_AFTER,
};
use tokio::{sync::Mutex, time::Instant};

use crate::{
    cloud::Cloud,
    error_response::unreachable,
    identity::Identity,
    transport::{EntraError, EntraTransport, node_client},
};

/// After an error no token is requested for this long, or for Entra's Retry-After if that is longer: a thousand objects
/// with one invalid secret send one request.
const REFUSED_FOR: Duration = Duration::from_secs(15);
/// A token is renewed this long before it expires.
const RENEW_BEFORE: TokenDuration = TokenDuration::minutes(5);

/// The tokens of one identity.
#[derive(Debug)]
pub(crate) struct Tokens {
    identity: Identity,
    cloud: Arc<Cloud>,
    transport: Arc<EntraTransport>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    credential: Option<Arc<dyn TokenCredential>>,
    token: Option<AccessToken>,
    /// The last error, and until when it is returned.
    refused: Option<(Instant, AzureError)>,
}

impl Tokens {
    pub(crate) fn new(identity: Identity, cloud: Arc<Cloud>, http: Arc<dyn HttpClient>) -> Self {
        let client = match identity {
            // Without this client, the first token request fails and reports the cause.
            Identity::ManagedIdentity { .. } => {
                node_client().map_or(http, |client| Arc::new(client) as Arc<dyn HttpClient>)
            }
            _ => http,
        };
        Self::over(identity, cloud, client)
    }

    /// Tokens that are requested over this connection.
    pub(crate) fn over(identity: Identity, cloud: Arc<Cloud>, client: Arc<dyn HttpClient>) -> Self {
        let transport = Arc::new(EntraTransport::new(client, identity.token_operation()));
        Self {
            identity,
            cloud,
            transport,
            state: Mutex::default(),
        }
    }

    /// Who gets the tokens.
    pub(crate) const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// A valid token. `renew`: Azure refused the cached one. Then the credential is rebuilt too, because a credential
    /// of `azure_identity` would return its cached token again.
    pub(crate) async fn get(&self, renew: bool) -> Result<String, AzureError> {
        if let Some(certificate) = self.identity.certificate() {
            certificate.check(Timestamp::now())?;
        }
        let mut state = self.state.lock().await;
        let now = OffsetDateTime::now_utc();
        if renew {
            state.credential = None;
            state.token = None;
        }
        if let Some(token) = state
            .token
            .as_ref()
            .filter(|token| token.expires_on > now + RENEW_BEFORE)
        {
            return Ok(token.token.secret().to_owned());
        }
        if let Some(failure) = still_refused(&state, Instant::now()) {
            return still_good(&state, now).ok_or(failure);
        }
        match self.ask(&mut state).await {
            Ok(token) => {
                let secret = token.token.secret().to_owned();
                state.token = Some(token);
                state.refused = None;
                Ok(secret)
            }
            Err(failure) => {
                state.refused = refused_until(Instant::now(), &failure).map(|until| (until, failure.clone()));
                still_good(&state, now).ok_or(failure)
            }
        }
    }

    async fn ask(&self, state: &mut State) -> Result<AccessToken, AzureError> {
        let credential = if let Some(credential) = &state.credential {
            Arc::clone(credential)
        } else {
            let built = self.identity.credential(&self.cloud, &self.transport);
            let credential = built.map_err(|error| self.failure(&error))?;
            state.credential = Some(Arc::clone(&credential));
            credential
        };
        self.transport.take_refusal();
        self.transport.take_assertion_failure();
        let scope = self.cloud.scope();
        let token = credential
            .get_token(&[scope.as_str()], None)
            .await
            .map_err(|error| self.failure(&error))?;
        match self.transport.take_refusal() {
            None => Ok(token),
            // `azure_identity` takes a response without a token for an empty token, and caches it.
            Some(refusal) => {
                state.credential = None;
                Err(self.refused(refusal))
            }
        }
    }

    fn failure(&self, error: &azure_core::Error) -> AzureError {
        if let Some(failure) = self.transport.take_assertion_failure() {
            return failure;
        }
        let (class, code, message) = match self.transport.take_refusal() {
            Some(refusal) => return self.refused(refusal),
            None => match (unreachable::cause(error), is_connection(error)) {
                (Ok((code, message)), _) => (ErrorClass::Transient, code.into(), message),
                (Err(message), true) => (ErrorClass::Transient, "EntraUnreachable".into(), message),
                (Err(message), false) => (ErrorClass::Credential, "TokenUnavailable".into(), message),
            },
        };
        self.refused(EntraError {
            class,
            code,
            description: message,
        })
    }

    fn refused(&self, refusal: EntraError) -> AzureError {
        let of_machine = matches!(self.identity, Identity::ManagedIdentity { .. });
        let code = match (&refusal.class, refusal.code.as_str()) {
            // Status 400 (docs/azure-api.md 9.1). Without a body of Entra, which refuses for reasons of its own.
            (ErrorClass::Credential, "invalid_request" | "Http400") if of_machine => {
                MANAGED_IDENTITY_NOT_ASSIGNED.into()
            }
            (_, "EntraUnreachable") if of_machine => IDENTITY_ENDPOINT_UNREACHABLE.into(),
            _ => refusal.code,
        };
        AzureError {
            class: refusal.class,
            code,
            message: refusal.description,
            operation: self.identity.token_operation().into(),
            request_id: None,
            effect_unknown: false,
        }
    }
}

/// Until when no token is requested after an error.
fn refused_until(now: Instant, failure: &AzureError) -> Option<Instant> {
    let asked = failure.class.retry_after().unwrap_or_default();
    now.checked_add(asked.clamp(REFUSED_FOR, LONGEST_RETRY_AFTER))
}

/// The last error while it applies, with the rest of the wait that Entra asked for.
fn still_refused(state: &State, now: Instant) -> Option<AzureError> {
    let (until, failure) = state.refused.as_ref().filter(|(until, _)| *until > now)?;
    let left = until.saturating_duration_since(now);
    let mut failure = failure.clone();
    match &mut failure.class {
        ErrorClass::Throttled(Some(wait)) | ErrorClass::Unavailable(wait) => *wait = left.min(*wait),
        _ => {}
    }
    Some(failure)
}

fn still_good(state: &State, now: OffsetDateTime) -> Option<String> {
    let token = state.token.as_ref().filter(|token| token.expires_on > now)?;
    Some(token.token.secret().to_owned())
}

fn is_connection(error: &azure_core::Error) -> bool {
    use azure_core::error::ErrorKind;
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(current) = cause {
        let kind = current
            .downcast_ref::<azure_core::Error>()
            .map(azure_core::Error::kind);
        if matches!(kind, Some(ErrorKind::Connection | ErrorKind::Io)) || current.is::<reqwest::Error>() {
            return true;
        }
        cause = current.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refusal(class: ErrorClass) -> AzureError {
        AzureError {
            class,
            code: "AADSTS90055".into(),
            message: String::new(),
            operation: String::new(),
            request_id: None,
            effect_unknown: false,
        }
    }

    proptest! {
        #[test]
        fn the_wait_that_entra_asks_for_has_a_minimum_and_a_cap(
            asked in prop_oneof![any::<Duration>(), Just(Duration::MAX), (0_u64..5000).prop_map(Duration::from_secs)],
        ) {
            let now = Instant::now();
            for class in [ErrorClass::Throttled(Some(asked)), ErrorClass::Unavailable(asked), ErrorClass::Throttled(None)] {
                let failure = refusal(class.clone());
                let until = refused_until(now, &failure).unwrap();
                let state = State { refused: Some((until, failure)), ..State::default() };
                let longest = class.retry_after().map_or(REFUSED_FOR, |asked| asked.clamp(REFUSED_FOR, LONGEST_RETRY_AFTER));
                let just_before = now + longest - Duration::from_millis(1);
                let held = still_refused(&state, just_before).unwrap();
                prop_assert!(held.class.retry_after().is_none_or(|left| left <= Duration::from_millis(1)));
                prop_assert_eq!(still_refused(&state, now + longest), None);
            }
        }
    }

    #[test]
    fn an_invalid_secret_is_not_tried_again_at_once() {
        let now = Instant::now();
        let until = refused_until(now, &refusal(ErrorClass::Credential)).unwrap();
        assert_eq!(until - now, REFUSED_FOR);
    }
}
