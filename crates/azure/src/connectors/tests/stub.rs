//! A stub of Azure that stores connectors and resource groups, with injected faults.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::{Client, Principals};

/// A request that the stub received.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// `GET /subscriptions/…`
    pub(super) what: String,
    pub(super) api_version: String,
    pub(super) authorization: String,
    pub(super) body: Value,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, &'static str)>,
    pub(super) body: String,
}

type Fault = Box<dyn FnMut(&Request) -> Option<Answer> + Send>;

#[derive(Default)]
pub(super) struct Azure {
    /// By path in lower case.
    pub(super) connectors: BTreeMap<String, Value>,
    pub(super) groups: Vec<String>,
    /// Health reports of every connector.
    pub(super) reports: Vec<Value>,
    /// Rows of Resource Graph.
    pub(super) rows: Vec<Value>,
    pub(super) requests: Vec<Request>,
    /// How long a response takes.
    pub(super) takes: Duration,
    fault: Option<Fault>,
    running: HashMap<String, usize>,
    /// The largest numbers of concurrent writes, of one path and of all.
    pub(super) most: (usize, usize),
}

/// The stub, which creates clients of itself.
#[derive(Clone)]
pub(super) struct Stub {
    state: Arc<Mutex<Azure>>,
    url: String,
}

pub(super) fn error(status: u16, code: &str) -> Answer {
    answer(status, &json!({ "error": { "code": code, "message": "m" } }))
}

pub(super) fn answer(status: u16, body: &Value) -> Answer {
    Answer {
        status,
        headers: Vec::new(),
        body: if body.is_null() {
            String::new()
        } else {
            body.to_string()
        },
    }
}

impl Stub {
    pub(super) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stub = Self {
            url: format!("http://{}/", listener.local_addr().unwrap()),
            state: Arc::default(),
        };
        let router = Router::new().fallback(handle).with_state(stub.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        stub
    }

    pub(super) fn client(&self) -> Client {
        crate::stub::client(self.url.parse().unwrap())
    }

    /// A client with a default time-out.
    pub(super) fn client_with_timeout(&self, timeout: Duration) -> Client {
        let http = reqwest::Client::builder().timeout(timeout).build().unwrap();
        let principals = crate::stub::principals(self.url.parse().unwrap(), http);
        Client::new(crate::stub::identity("client", "right"), &principals)
    }

    /// A process that uses the stub.
    pub(super) fn principals(&self) -> Arc<Principals> {
        crate::stub::principals(self.url.parse().unwrap(), reqwest::Client::new())
    }

    pub(super) fn state(&self) -> MutexGuard<'_, Azure> {
        self.state.lock().unwrap()
    }

    pub(super) fn fault(&self, fault: impl FnMut(&Request) -> Option<Answer> + Send + 'static) {
        self.state().fault = Some(Box::new(fault));
    }

    /// The requests since the last call, as `GET …` without the common parts of the paths.
    pub(super) fn asked(&self) -> Vec<String> {
        let mut asked: Vec<_> = self
            .state()
            .requests
            .drain(..)
            .map(|request| short(&request.what))
            .collect();
        asked.sort();
        asked
    }
}

fn short(what: &str) -> String {
    what.replace("/providers/Microsoft.Security", "")
        .replace("/subscriptions", "")
}

async fn handle(
    State(stub): State<Stub>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path().to_owned();
    let request = Request {
        what: format!("{method} {path}"),
        api_version: uri.query().unwrap_or_default().replace("api-version=", ""),
        authorization: headers["authorization"].to_str().unwrap().to_owned(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    let writes = method == Method::PUT || method == Method::DELETE;
    let takes = stub.begin(&request, writes);
    tokio::time::sleep(takes).await;
    stub.end(&request, writes).into_response()
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = (StatusCode::from_u16(self.status).unwrap(), self.body).into_response();
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        response
    }
}

impl Stub {
    fn begin(&self, request: &Request, writes: bool) -> Duration {
        let mut state = self.state();
        state.requests.push(request.clone());
        if writes {
            let of_one = {
                let running = state.running.entry(request.what.to_lowercase()).or_default();
                *running += 1;
                *running
            };
            let of_all = state.running.values().sum();
            state.most = (state.most.0.max(of_one), state.most.1.max(of_all));
        }
        state.takes
    }

    fn end(&self, request: &Request, writes: bool) -> Answer {
        let mut state = self.state();
        if writes && let Some(running) = state.running.get_mut(&request.what.to_lowercase()) {
            *running -= 1;
        }
        let mut fault = state.fault.take();
        let struck = fault.as_mut().and_then(|fault| fault(request));
        state.fault = fault;
        struck.unwrap_or_else(|| state.answer(request))
    }
}

impl Azure {
    fn answer(&mut self, request: &Request) -> Answer {
        let (method, path) = request.what.split_once(' ').unwrap();
        let key = path.to_lowercase();
        let parts: Vec<_> = key.trim_start_matches('/').split('/').collect();
        match (method, parts.as_slice()) {
            ("POST", ["providers", "microsoft.resourcegraph", "resources"]) => answer(
                200,
                &json!({ "totalRecords": self.rows.len(), "data": self.rows }),
            ),
            (_, ["subscriptions", _, "resourcegroups", group]) => self.group(method, group),
            ("GET", [_, _, "providers", "microsoft.security", "securityconnectors"]) => {
                let within = format!("{}/", key.split("/providers/").next().unwrap());
                let all = self.connectors.iter();
                let found: Vec<_> = all
                    .filter(|(id, _)| id.starts_with(&within))
                    .map(|(_, one)| one)
                    .collect();
                answer(200, &json!({ "value": found }))
            }
            ("GET", [.., "microsoft.authorization", "permissions"]) => {
                answer(200, &json!({ "value": [{ "actions": ["*"], "notActions": [] }] }))
            }
            ("GET", [.., "healthreports"]) => answer(200, &json!({ "value": self.reports })),
            ("GET", [_, _, "providers", "microsoft.security", "pricings", _]) => {
                answer(200, &json!({ "properties": { "pricingTier": "Free" } }))
            }
            (
                _,
                [
                    _,
                    _,
                    "resourcegroups",
                    _,
                    "providers",
                    "microsoft.security",
                    "securityconnectors",
                    _,
                ],
            ) => self.connector(method, path, &key, &request.body),
            _ => error(400, "InvalidResourceType"),
        }
    }

    fn group(&mut self, method: &str, group: &str) -> Answer {
        match (method, self.groups.iter().any(|known| known == group)) {
            ("GET", false) => error(404, "ResourceGroupNotFound"),
            ("PUT", false) => {
                self.groups.push(group.to_owned());
                answer(201, &json!({ "name": group }))
            }
            _ => answer(200, &json!({ "name": group })),
        }
    }

    fn connector(&mut self, method: &str, path: &str, key: &str, body: &Value) -> Answer {
        match (method, self.connectors.get(key)) {
            ("GET", Some(found)) => answer(200, found),
            ("PUT", found) => {
                let status = if found.is_some() { 200 } else { 201 };
                let mut connector = body.clone();
                connector["id"] = path.into();
                connector["type"] = "Microsoft.Security/securityconnectors".into();
                self.connectors.insert(key.to_owned(), connector.clone());
                answer(status, &connector)
            }
            ("DELETE", Some(_)) => {
                self.connectors.remove(key);
                answer(204, &Value::Null)
            }
            _ => error(404, "ResourceNotFound"),
        }
    }
}
