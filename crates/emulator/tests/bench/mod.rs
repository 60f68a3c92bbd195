//! A running emulator with a signed-in client.
#![allow(dead_code, reason = "every test uses its own part")]

pub(crate) mod connector;
pub(crate) mod graph;
pub(crate) mod official;

use serde_json::{Value, json};
use serverprotection_emulator::{
    server::{Options, Server},
    state::{DEFAULT_CLIENT, DEFAULT_SECRET, DEFAULT_SUBSCRIPTION, DEFAULT_TENANT},
};
use tempfile::TempDir;

pub(crate) const PLAN: &str = "providers/Microsoft.Security/pricings/VirtualMachines?api-version=2024-01-01";
pub(crate) const VA: &str = "providers/Microsoft.Security/serverVulnerabilityAssessmentsSettings/azureServersSetting?api-version=2023-05-01";

pub(crate) fn setting(name: &str) -> String {
    format!("providers/Microsoft.Security/settings/{name}?api-version=2022-05-01")
}

pub(crate) struct Bench {
    pub(crate) http: reqwest::Client,
    pub(crate) url: String,
    pub(crate) token: String,
    pub(crate) user_agent: String,
    pub(crate) server: Server,
    _directory: TempDir,
}

/// A complete response.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Got {
    pub(crate) fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    pub(crate) fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or_default()
    }

    pub(crate) fn properties(&self) -> &Value {
        &self.body["properties"]
    }

    pub(crate) fn extension(&self, name: &str) -> &Value {
        let all = self.body["properties"]["extensions"].as_array();
        all.and_then(|all| all.iter().find(|item| item["name"] == name))
            .unwrap_or(&Value::Null)
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::seeded("{}").await
    }

    pub(crate) async fn seeded(seed: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut options = Options::new(directory.path().to_owned());
        options.seed = Some(seed.into());
        let server = Server::start(options).await.unwrap();
        let ca = reqwest::Certificate::from_pem(server.ca.as_bytes()).unwrap();
        let http = reqwest::Client::builder().tls_certs_only([ca]).build().unwrap();
        let url = format!("https://localhost:{}", server.address.port());
        let mut bench = Self {
            http,
            url,
            token: String::new(),
            user_agent: "a-test".into(),
            server,
            _directory: directory,
        };
        bench.token = bench
            .sign_in(DEFAULT_TENANT, DEFAULT_CLIENT, DEFAULT_SECRET)
            .await;
        bench
    }

    pub(crate) async fn sign_in(&self, tenant: &str, client: &str, secret: &str) -> String {
        let got = self
            .token_request(tenant, &[("client_id", client), ("client_secret", secret)])
            .await;
        got.body["access_token"]
            .as_str()
            .unwrap_or_else(|| panic!("{got:?}"))
            .to_owned()
    }

    pub(crate) async fn token_request(&self, tenant: &str, form: &[(&str, &str)]) -> Got {
        let mut all = url::form_urlencoded::Serializer::new(String::new());
        all.append_pair("grant_type", "client_credentials")
            .append_pair("scope", "https://management.azure.com/.default")
            .extend_pairs(form);
        let request = self
            .http
            .post(format!("{}/{tenant}/oauth2/v2.0/token", self.url))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(all.finish());
        read(request).await.unwrap()
    }

    /// A request on the default subscription.
    pub(crate) async fn ask(&self, method: &str, rest: &str, body: Option<Value>) -> Got {
        self.at(DEFAULT_SUBSCRIPTION, method, rest, body).await
    }

    pub(crate) async fn at(&self, subscription: &str, method: &str, rest: &str, body: Option<Value>) -> Got {
        self.path(method, &format!("/subscriptions/{subscription}/{rest}"), body)
            .await
    }

    pub(crate) async fn path(&self, method: &str, path: &str, body: Option<Value>) -> Got {
        self.try_path(method, path, body).await.unwrap()
    }

    pub(crate) async fn try_path(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> reqwest::Result<Got> {
        let mut request = self
            .http
            .request(method.parse().unwrap(), format!("{}{path}", self.url))
            .bearer_auth(&self.token)
            .header("user-agent", &self.user_agent);
        if let Some(body) = body {
            request = request.json(&body);
        }
        read(request).await
    }

    pub(crate) async fn put_plan(&self, properties: Value) -> Got {
        self.ask("PUT", PLAN, Some(json!({"properties": properties})))
            .await
    }

    pub(crate) async fn control(&self, method: &str, path: &str, body: Value) -> Got {
        let request = self
            .http
            .request(method.parse().unwrap(), format!("{}/_emulator/{path}", self.url))
            .body(if body.is_null() {
                String::new()
            } else {
                body.to_string()
            });
        let got = read(request).await.unwrap();
        assert!(got.status < 300, "{method} {path}: {got:?}");
        got
    }

    pub(crate) async fn set(&self, set: Value) {
        self.control(
            "PATCH",
            &format!("subscriptions/{DEFAULT_SUBSCRIPTION}"),
            json!({"set": set}),
        )
        .await;
    }

    pub(crate) async fn switch(&self, name: &str, answer: &str) {
        self.control("PUT", "switches", json!({name: answer})).await;
    }

    pub(crate) async fn breaches(&self) -> Vec<String> {
        let got = self.control("GET", "breaches", Value::Null).await;
        let invariants = got.body["breaches"].as_array().unwrap().iter();
        invariants
            .map(|breach| breach["invariant"].as_str().unwrap().to_owned())
            .collect()
    }
}

async fn read(request: reqwest::RequestBuilder) -> reqwest::Result<Got> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await?;
    Ok(Got {
        status,
        headers,
        body: serde_json::from_str(&text).unwrap_or(Value::Null),
    })
}
