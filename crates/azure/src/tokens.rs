//! Tokens of one identity: one request at a time, failures included (clients.md 1.3).

use std::{sync::Arc, time::Duration};

use azure_core::{
    credentials::{AccessToken, TokenCredential},
    time::{Duration as TokenDuration, OffsetDateTime},
};
use serverprotection_core::failure::{Class, Failure};
use tokio::{sync::Mutex, time::Instant};

use crate::{
    cloud::Cloud,
    identity::Identity,
    refusal::one_line,
    transport::{EntraTransport, node_client},
};

/// A refused identity is asked again after this long: a thousand objects with one bad secret make one request.
const REFUSED_FOR: Duration = Duration::from_secs(15);
/// A token is renewed this long before it ends.
const RENEW_BEFORE: TokenDuration = TokenDuration::minutes(5);

/// Hands out tokens of one identity.
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
    refused: Option<(Instant, Failure)>,
}

impl Tokens {
    pub(crate) fn new(identity: Identity, cloud: Arc<Cloud>, http: reqwest::Client) -> Self {
        let client = match identity {
            // A client that cannot be built fails with the first token, and says why.
            Identity::ManagedIdentity => node_client().unwrap_or(http),
            _ => http,
        };
        let transport = Arc::new(EntraTransport::new(client));
        Self {
            identity,
            cloud,
            transport,
            state: Mutex::default(),
        }
    }

    /// A token without Entra, and no way to another one: `azure_identity` refuses an authority without TLS.
    #[cfg(test)]
    pub(crate) fn with_token(cloud: Arc<Cloud>, http: reqwest::Client) -> Self {
        let identity = Identity::ClientSecret {
            tenant_id: "tenant".into(),
            client_id: "client".into(),
            secret: "secret".into(),
        };
        let ends = OffsetDateTime::now_utc() + TokenDuration::days(1);
        Self {
            state: Mutex::new(State {
                token: Some(AccessToken::new("token", ends)),
                ..State::default()
            }),
            ..Self::new(identity, cloud, http)
        }
    }

    /// A token that is good for a while. `renew`: Azure refused the one we had; a credential of `azure_identity` would
    /// hand it out again, so the credential is built anew.
    pub(crate) async fn get(&self, renew: bool) -> Result<String, Failure> {
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
        if let Some((_, failure)) = state
            .refused
            .as_ref()
            .filter(|(at, _)| at.elapsed() < REFUSED_FOR)
        {
            return still_good(&state, now).ok_or_else(|| failure.clone());
        }
        match self.ask(&mut state).await {
            Ok(token) => {
                let secret = token.token.secret().to_owned();
                state.token = Some(token);
                state.refused = None;
                Ok(secret)
            }
            Err(failure) => {
                state.refused = Some((Instant::now(), failure.clone()));
                still_good(&state, now).ok_or(failure)
            }
        }
    }

    async fn ask(&self, state: &mut State) -> Result<AccessToken, Failure> {
        let credential = if let Some(credential) = &state.credential {
            Arc::clone(credential)
        } else {
            let built = self.identity.credential(&self.cloud, &self.transport);
            let credential = built.map_err(|error| self.failure(&error))?;
            state.credential = Some(Arc::clone(&credential));
            credential
        };
        self.transport.take_refusal();
        let scope = self.cloud.scope();
        credential
            .get_token(&[scope.as_str()], None)
            .await
            .map_err(|error| self.failure(&error))
    }

    fn failure(&self, error: &azure_core::Error) -> Failure {
        let (class, code, message) = match self.transport.take_refusal() {
            Some(refusal) if refusal.status == 429 => {
                (Class::Throttled(None), refusal.code, refusal.description)
            }
            Some(refusal) if refusal.status >= 500 => (Class::Transient, refusal.code, refusal.description),
            Some(refusal) => (Class::Credential, refusal.code, refusal.description),
            None if is_connection(error) => (Class::Transient, "EntraUnreachable".into(), innermost(error)),
            None => (Class::Credential, "TokenUnavailable".into(), innermost(error)),
        };
        Failure {
            class,
            code,
            message,
            operation: "request a token from Entra".into(),
            request_id: None,
            effect_unknown: false,
        }
    }
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

fn innermost(error: &azure_core::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    one_line(&cause.to_string())
}
