//! What the credentials send, against a transport in this process.

use std::{
    collections::{HashMap, VecDeque},
    sync::Mutex,
};

use azure_core::{
    base64::decode_url_safe,
    http::{AsyncRawResponse, Body, HttpClient, Request, StatusCode, headers::Headers},
};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};
use serverprotection_core::azure_error::ErrorClass;

use super::*;
use crate::tokens::Tokens;

/// Gives each request the next answer, or fails the connection if there is none. Keeps the requests.
#[derive(Debug, Default)]
struct Wire {
    answers: Mutex<VecDeque<(StatusCode, Value)>>,
    requests: Mutex<Vec<Request>>,
}

impl Wire {
    fn answering(answers: impl IntoIterator<Item = (u16, Value)>) -> Arc<Self> {
        let answers = answers.into_iter().map(|(status, body)| (status.into(), body));
        Arc::new(Self {
            answers: Mutex::new(answers.collect()),
            requests: Mutex::default(),
        })
    }

    fn only(&self) -> Request {
        let requests = self.requests.lock().unwrap();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests[0].clone()
    }
}

#[async_trait::async_trait]
impl HttpClient for Wire {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        self.requests.lock().unwrap().push(request.clone());
        let answer = self.answers.lock().unwrap().pop_front();
        let (status, body) =
            answer.ok_or_else(|| azure_core::Error::with_message(ErrorKind::Connection, "no route"))?;
        Ok(AsyncRawResponse::from_bytes(
            status,
            Headers::new(),
            body.to_string(),
        ))
    }
}

fn issued() -> (u16, Value) {
    let body = json!({"token_type": "Bearer", "expires_in": 3599, "access_token": "issued"});
    (200, body)
}

/// As a machine issues it: all numbers are text.
fn issued_by_machine() -> (u16, Value) {
    let body = json!({"access_token": "issued", "expires_on": "4102444800", "expires_in": "86399",
        "resource": "https://management.azure.com", "token_type": "Bearer"});
    (200, body)
}

async fn token(identity: &Identity, cloud: &Cloud, wire: &Arc<Wire>) -> Result<String, AzureError> {
    let transport = Arc::clone(wire) as Arc<dyn HttpClient>;
    let tokens = Tokens::over(identity.clone(), Arc::new(cloud.clone()), transport);
    tokens.get(false).await
}

fn machine(client_id: Option<&str>) -> Identity {
    Identity::ManagedIdentity {
        client_id: client_id.map(Into::into),
    }
}

fn query(request: &Request) -> HashMap<String, String> {
    request.url().query_pairs().into_owned().collect()
}

#[tokio::test]
async fn a_managed_identity_asks_the_metadata_service_of_its_machine() {
    for (cloud, resource) in [
        (Cloud::public(), "https://management.azure.com"),
        (Cloud::us_government(), "https://management.usgovcloudapi.net"),
    ] {
        for client_id in [None, Some("user-assigned")] {
            let wire = Wire::answering([issued_by_machine()]);
            let found = token(&machine(client_id), cloud.as_ref().unwrap(), &wire).await;
            assert_eq!(found.as_deref(), Ok("issued"));
            let request = wire.only();
            let url = request.url();
            assert_eq!(
                (url.scheme(), url.host_str(), url.path()),
                ("http", Some("169.254.169.254"), "/metadata/identity/oauth2/token")
            );
            let metadata = request.headers().get_str(&"metadata".into());
            assert_eq!(metadata.ok(), Some("true"));
            let query = query(&request);
            assert_eq!(query.get("client_id").map(String::as_str), client_id);
            assert_eq!(
                (query["resource"].as_str(), query["api-version"].as_str()),
                (resource, "2019-08-01")
            );
        }
    }
}

/// The statuses that Microsoft documents as temporary: 404 while the service is updated, 410 for up to 70 seconds.
#[tokio::test(start_paused = true)]
async fn a_managed_identity_waits_for_its_machine() {
    for status in [404, 410, 429, 500, 503] {
        let busy = (status, json!({"error": "busy", "error_description": "try again"}));
        let wire = Wire::answering([busy.clone(), busy, issued_by_machine()]);
        let cloud = Cloud::public().unwrap();
        let found = token(&machine(None), &cloud, &wire).await;
        assert_eq!(found.as_deref(), Ok("issued"), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_without_the_identity_is_named() {
    let imds = json!({"error": "invalid_request", "error_description": "Identity not found"});
    let app_service = json!({"statusCode": 400, "message": "No User Assigned or Delegated Managed Identity found",
        "correlationId": "c"});
    for body in [imds, app_service] {
        let wire = Wire::answering([(400, body)]);
        let cloud = Cloud::public().unwrap();
        let failure = token(&machine(Some("gone")), &cloud, &wire).await.unwrap_err();
        assert_eq!(
            (failure.class.clone(), failure.code.as_str()),
            (ErrorClass::Credential, "ManagedIdentityNotAssigned")
        );
        let text = failure.to_message().to_string();
        assert!(
            text.contains("dentity ") && text.contains("Assign the managed identity"),
            "{text}"
        );
    }
    let nowhere = token(&machine(None), &Cloud::public().unwrap(), &Wire::answering([])).await;
    let failure = nowhere.unwrap_err();
    assert_eq!(
        (failure.class.clone(), failure.code.as_str()),
        (ErrorClass::Transient, "IdentityEndpointUnreachable")
    );
    assert!(
        failure.to_message().to_string().contains("169.254.169.254"),
        "{failure}"
    );
}

fn by_certificate() -> Identity {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap();
    let (certificate, key) = (certificate.pem(), key.serialize_pem());
    let certificate = ClientCertificate::from_pem("Secret a/b", certificate.as_bytes(), key.as_bytes());
    Identity::ClientCertificate {
        tenant_id: "tenant".into(),
        client_id: "client".into(),
        certificate: Arc::new(certificate.unwrap()),
    }
}

fn custom() -> Cloud {
    let mut cloud = Cloud::public().unwrap();
    cloud.authority_host = "https://login.azure.example:8443/".parse().unwrap();
    cloud.resource_manager = "https://management.azure.example/".parse().unwrap();
    cloud.audience = "https://management.azure.example".into();
    cloud
}

#[tokio::test]
async fn an_assertion_is_for_the_endpoint_to_which_it_is_sent_in_every_cloud() {
    let identity = by_certificate();
    for (cloud, authority, audience) in [
        (
            Cloud::public().unwrap(),
            "https://login.microsoftonline.com",
            "https://management.azure.com",
        ),
        (
            Cloud::us_government().unwrap(),
            "https://login.microsoftonline.us",
            "https://management.usgovcloudapi.net",
        ),
        (
            custom(),
            "https://login.azure.example:8443",
            "https://management.azure.example",
        ),
    ] {
        let wire = Wire::answering([issued()]);
        assert_eq!(token(&identity, &cloud, &wire).await.as_deref(), Ok("issued"));
        let request = wire.only();
        let endpoint = format!("{authority}/tenant/oauth2/v2.0/token");
        assert_eq!(request.url().as_str(), endpoint);
        let Body::Bytes(form) = request.body() else {
            panic!("{request:?}")
        };
        let form: HashMap<_, _> = url::form_urlencoded::parse(form).into_owned().collect();
        assert_eq!(form["scope"], format!("{audience}/.default"));
        assert_eq!(
            (form["client_id"].as_str(), form["grant_type"].as_str()),
            ("client", "client_credentials")
        );
        assert_eq!(
            form["client_assertion_type"],
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        );
        let claims = form["client_assertion"].split('.').nth(1).unwrap();
        let claims: Value = serde_json::from_slice(&decode_url_safe(claims).unwrap()).unwrap();
        assert_eq!(claims["aud"], endpoint);
    }
}

#[tokio::test]
async fn an_expired_certificate_sends_no_request() {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let mut params = CertificateParams::default();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let (certificate, key) = (params.self_signed(&key).unwrap().pem(), key.serialize_pem());
    let certificate = ClientCertificate::from_pem("Secret a/b", certificate.as_bytes(), key.as_bytes());
    let identity = Identity::ClientCertificate {
        tenant_id: "tenant".into(),
        client_id: "client".into(),
        certificate: Arc::new(certificate.unwrap()),
    };
    let wire = Wire::answering([issued()]);
    let failure = token(&identity, &Cloud::public().unwrap(), &wire)
        .await
        .unwrap_err();
    assert_eq!(failure.code, "ClientCertificateExpired");
    assert!(wire.requests.lock().unwrap().is_empty());
}

#[test]
fn identities_are_printed_without_their_secrets_and_named_by_tenant_and_application() {
    for (identity, shown, principal) in [
        (
            by_certificate(),
            "ClientCertificate(tenant, client)",
            "tenant/client",
        ),
        (
            machine(None),
            "ManagedIdentity(system-assigned)",
            "ManagedIdentity(system-assigned)",
        ),
        (machine(Some("a")), "ManagedIdentity(a)", "ManagedIdentity(a)"),
    ] {
        assert_eq!(
            (format!("{identity:?}").as_str(), identity.principal().as_str()),
            (shown, principal)
        );
    }
}
