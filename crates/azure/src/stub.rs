//! Clients for unit tests: of a stub of Azure Resource Manager, with an Entra in this process.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use azure_core::http::{AsyncRawResponse, HttpClient, Request, StatusCode, headers::Headers};
use url::Url;

use crate::{
    Client, Identity, RequestObserver,
    arm::{Arm, Connection},
    cloud::Cloud,
    fleet::Settings,
    principal::Principals,
    tokens::Tokens,
};

/// The secret that Entra refuses.
pub(crate) const WRONG_SECRET: &str = "wrong";

#[derive(Debug)]
struct Unmetered;

impl RequestObserver for Unmetered {
    fn request(&self, _: &'static str, _: u16, _: Duration) {}
}

/// Issues tokens that name the secret, and refuses [`WRONG_SECRET`].
#[derive(Debug, Default)]
pub(crate) struct Entra {
    /// The number of token requests.
    pub(crate) asked: Mutex<u32>,
}

#[async_trait::async_trait]
impl HttpClient for Entra {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        *self.asked.lock().unwrap() += 1;
        let azure_core::http::Body::Bytes(form) = request.body() else {
            panic!("not a form: {request:?}")
        };
        let secret = url::form_urlencoded::parse(form)
            .find(|(name, _)| name == "client_secret")
            .unwrap()
            .1;
        let (status, body) = if secret == WRONG_SECRET {
            let refusal =
                r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret"}"#;
            (StatusCode::Unauthorized, refusal.to_owned())
        } else {
            let token =
                format!(r#"{{"token_type":"Bearer","expires_in":3599,"access_token":"token-of-{secret}"}}"#);
            (StatusCode::Ok, token)
        };
        Ok(AsyncRawResponse::from_bytes(status, Headers::new(), body))
    }
}

/// One process. Its clients send requests to this Azure Resource Manager.
pub(crate) fn principals(resource_manager: Url, http: reqwest::Client) -> Arc<Principals> {
    let cloud = cloud(resource_manager);
    let mut principals = Principals::new(cloud, http, Arc::new(Unmetered), Settings::default());
    principals.entra = Arc::new(Entra::default());
    Arc::new(principals)
}

/// An application with a client secret.
pub(crate) fn identity(client: &str, secret: &str) -> Identity {
    Identity::ClientSecret {
        tenant_id: "tenant".into(),
        client_id: client.into(),
        secret: secret.to_owned().into(),
    }
}

/// The only client of a process.
pub(crate) fn client(resource_manager: Url) -> Client {
    Client::new(
        identity("client", "right"),
        &principals(resource_manager, reqwest::Client::new()),
    )
}

/// The transport alone.
pub(crate) fn arm(resource_manager: Url) -> Arm {
    let connection = Connection {
        http: reqwest::Client::new(),
        cloud: Arc::new(cloud(resource_manager)),
        request_observer: Arc::new(Unmetered),
        pricings_version: Arc::default(),
    };
    let tokens = Tokens::new(
        identity("client", "right"),
        Arc::clone(&connection.cloud),
        Arc::new(Entra::default()),
    );
    Arm::new(connection, Arc::new(tokens), Arc::default())
}

fn cloud(resource_manager: Url) -> Cloud {
    let mut cloud = Cloud::public().unwrap();
    cloud.resource_manager = resource_manager;
    cloud
}
