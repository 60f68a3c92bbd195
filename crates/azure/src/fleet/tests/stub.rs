//! A stub of Azure for scans: subscriptions, pages of rows, permissions, and injected faults.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    body::Bytes,
    extract::State,
    http::{Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

pub(super) type Answer = (u16, Vec<(&'static str, &'static str)>, Value);
type Fault = dyn FnMut(&Request) -> Option<Answer> + Send;

/// A request that the stub received.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) path: String,
    pub(super) body: Value,
}

impl Request {
    pub(super) fn is(&self, what: &str) -> bool {
        match what {
            "connectors" => self.query().contains("securityconnectors"),
            "machines" => self.query().starts_with("resources") && !self.is("connectors"),
            "management groups" => self.query().starts_with("resourcecontainers"),
            "plans" => self.query().starts_with("securityresources"),
            path => self.path.contains(path),
        }
    }

    pub(super) fn query(&self) -> &str {
        self.body["query"].as_str().unwrap_or_default()
    }

    /// Whether it names subscriptions. A query without any is about all that the identity can see.
    pub(super) fn names_subscriptions(&self) -> bool {
        self.body.get("subscriptions").is_some()
    }

    pub(super) fn asks_for(&self, subscription: &str) -> bool {
        let asked = self.body["subscriptions"].as_array();
        asked.is_some_and(|all| all.iter().any(|one| one == subscription))
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.body["options"]["$skipToken"].as_str()
    }
}

/// A stub of Azure for scans.
pub(super) struct Stub {
    pub(super) subscriptions: Vec<&'static str>,
    pub(super) rows: Vec<Value>,
    pub(super) plans: Vec<Value>,
    pub(super) connectors: Vec<Value>,
    /// Rows of subscriptions with their management groups.
    pub(super) containers: Vec<Value>,
    /// Other responses, by path.
    pub(super) resources: BTreeMap<String, Answer>,
    pub(super) fault: Box<Fault>,
    /// A text in bodies and its replacement, for bodies that no JSON value represents.
    pub(super) text: Option<(&'static str, &'static str)>,
    pub(super) requests: Vec<Request>,
}

pub(super) type Shared = Arc<Mutex<Stub>>;

impl Stub {
    pub(super) fn new(subscriptions: &[&'static str]) -> Self {
        Self {
            subscriptions: subscriptions.to_vec(),
            rows: Vec::new(),
            plans: Vec::new(),
            connectors: Vec::new(),
            containers: Vec::new(),
            resources: BTreeMap::new(),
            fault: Box::new(|_| None),
            text: None,
            requests: Vec::new(),
        }
    }

    /// Adds a virtual machine with an extension in this state, or without one if the state is empty.
    pub(super) fn vm(mut self, subscription: &str, name: &str, state: &str) -> Self {
        let name_of_extension = if state.is_empty() {
            Value::Null
        } else {
            "MDE.Linux".into()
        };
        self.rows.push(json!({
            "id": id(subscription, name), "name": name, "type": "microsoft.compute/virtualmachines", "subscriptionId": subscription,
            "osType": "Linux", "osName": "ubuntu", "osVersion": "22.04", "power": "PowerState/running", "created": "2020-01-01T00:00:00Z",
            "extName": name_of_extension, "extType": name_of_extension, "extState": state, "tags": {}
        }));
        self
    }

    pub(super) fn plan(mut self, subscription: &str, sub_plan: &str) -> Self {
        self.plans.push(json!({
            "id": format!("/subscriptions/{subscription}/providers/Microsoft.Security/pricings/VirtualMachines"),
            "name": "VirtualMachines", "subscriptionId": subscription, "tier": "Standard", "subPlan": sub_plan
        }));
        self
    }

    pub(super) fn connector(mut self, subscription: &str, name: &str, account: &str) -> Self {
        self.connectors.push(json!({
            "id": format!("/subscriptions/{subscription}/resourcegroups/rg/providers/Microsoft.Security/securityConnectors/{name}"),
            "subscriptionId": subscription, "environment": "AWS", "account": account, "membership": ""
        }));
        self
    }

    pub(super) fn resource(mut self, path: &str, status: u16, body: Value) -> Self {
        self.resources.insert(path.to_lowercase(), (status, vec![], body));
        self
    }

    pub(super) fn fault(mut self, fault: impl FnMut(&Request) -> Option<Answer> + Send + 'static) -> Self {
        self.fault = Box::new(fault);
        self
    }

    pub(super) fn answer(&mut self, request: &Request) -> Answer {
        self.requests.push(request.clone());
        if let Some(answer) = (self.fault)(request) {
            return answer;
        }
        if request.path == "/subscriptions" {
            let all = self.subscriptions.iter();
            let all: Vec<_> = all
                .map(|id| json!({ "subscriptionId": id, "displayName": id, "state": "Enabled" }))
                .collect();
            return (200, vec![], json!({ "value": all }));
        }
        if let Some(answer) = self.resources.get(&request.path.to_lowercase()) {
            let mut answer = answer.clone();
            // A resource has its own id.
            if answer.2.get("properties").is_some() && answer.2.get("id").is_none() {
                answer.2["id"] = request.path.as_str().into();
            }
            return answer;
        }
        if request.path.ends_with("/permissions") {
            return (
                200,
                vec![],
                json!({ "value": [{ "actions": ["*/read"], "notActions": [] }] }),
            );
        }
        if !request.path.ends_with("/resources") {
            return (404, vec![], error("ResourceNotFound"));
        }
        let rows = match () {
            () if request.is("plans") => &self.plans,
            () if request.is("connectors") => &self.connectors,
            () if request.is("management groups") => &self.containers,
            () => &self.rows,
        };
        let asked = |row: &&Value| {
            let id = row["subscriptionId"].as_str();
            !request.names_subscriptions() || id.is_none_or(|id| request.asks_for(id))
        };
        let rows: Vec<_> = rows.iter().filter(asked).cloned().collect();
        let top = usize::try_from(request.body["options"]["$top"].as_u64().unwrap()).unwrap();
        let from: usize = request.token().map_or(0, |token| token.parse().unwrap());
        let page: Vec<_> = rows.iter().skip(from).take(top).cloned().collect();
        let mut body = json!({ "totalRecords": rows.len(), "count": page.len(), "resultTruncated": "false", "data": page });
        if from + top < rows.len() {
            body["$skipToken"] = (from + top).to_string().into();
        }
        (200, vec![], body)
    }
}

/// The GET of a virtual machine whose extension succeeded.
pub(super) fn well() -> Value {
    json!({ "properties": {}, "resources": [{ "name": "MDE.Linux", "properties": {
        "publisher": "Microsoft.Azure.AzureDefenderForServers", "type": "MDE.Linux", "provisioningState": "Succeeded" } }] })
}

pub(super) fn id(subscription: &str, name: &str) -> String {
    format!(
        "/subscriptions/{subscription}/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/{name}"
    )
}

pub(super) fn error(code: &str) -> Value {
    json!({ "error": { "code": code, "message": "no" } })
}

pub(super) async fn handle(State(stub): State<Shared>, _: Method, uri: Uri, body: Bytes) -> Response {
    let request = Request {
        path: uri.path().to_owned(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    let (status, headers, body) = {
        let mut stub = stub.lock().unwrap();
        let (status, headers, body) = stub.answer(&request);
        let (text, sent) = stub.text.unwrap_or_default();
        let body = body.to_string();
        let body = if text.is_empty() {
            body
        } else {
            body.replace(text, sent)
        };
        (status, headers, body)
    };
    let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}
