//! Reads the cluster and the metrics. What cannot be read is recorded, and does not end the collection.

use std::time::Duration;

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{Event, Pod},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, LogParams},
    core::Request,
};
use serde_json::Value;
use url::Url;

use crate::{cluster, error::CliError};

/// Lines of each log.
const LOG_LINES: i64 = 2000;
/// Bytes of each log and of the metrics of each controller.
const MOST_BYTES: usize = 8 << 20;
/// Port of the controller's container.
const PORT: u16 = 8080;
const METRICS_TIMEOUT: Duration = Duration::from_secs(15);

/// What to read.
#[derive(Debug)]
pub(super) struct Sources<'a> {
    pub(super) namespace: Option<&'a str>,
    pub(super) logs: bool,
    pub(super) metrics_url: Option<&'a Url>,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) server_version: Option<String>,
    pub(super) definitions: Vec<CustomResourceDefinition>,
    /// Kind and JSON.
    pub(super) objects: Vec<(String, Value)>,
    pub(super) events: Vec<Event>,
    pub(super) deployments: Vec<Deployment>,
    pub(super) pods: Vec<Pod>,
    /// The source of the metrics, and the page.
    pub(super) metrics: Vec<(String, String)>,
    /// The pod, and its log.
    pub(super) logs: Vec<(String, String)>,
    pub(super) failures: Vec<CliError>,
}

/// Reads everything that can be read.
pub(super) async fn collect(client: &Client, sources: &Sources<'_>) -> Collected {
    let mut found = Collected::default();
    match client.apiserver_version().await {
        Ok(version) => found.server_version = Some(version.git_version),
        Err(error) => found.failures.push(cluster::refused(
            "cannot read the version of the API server",
            &error,
        )),
    }
    let definitions = cluster::definitions(client).await;
    found.definitions = found.keep(definitions).unwrap_or_default();
    for kind in cluster::KINDS {
        let objects = cluster::list(client, kind, sources.namespace).await;
        for object in found.keep(objects).flatten().into_iter().flatten() {
            found.objects.push((kind.0.to_owned(), object));
        }
    }
    let events = events(client, sources.namespace).await;
    found.events = found.keep(events).unwrap_or_default();
    let deployments = cluster::controllers(client, None).await;
    found.deployments = found.keep(deployments).unwrap_or_default();
    for deployment in found.deployments.clone() {
        let pods = pods(client, &deployment).await;
        let pods = found.keep(pods).unwrap_or_default();
        found.pods.extend(pods);
    }
    found.metrics(client, sources.metrics_url).await;
    if sources.logs {
        found.logs(client).await;
    }
    found
}

impl Collected {
    fn keep<T>(&mut self, result: Result<T, CliError>) -> Option<T> {
        result.map_err(|error| self.failures.push(error)).ok()
    }

    async fn metrics(&mut self, client: &Client, url: Option<&Url>) {
        if let Some(url) = url {
            let page = page(url).await;
            if let Some(page) = self.keep(page) {
                self.metrics.push(("metrics-url".into(), page));
            }
            return;
        }
        if self.pods.is_empty() {
            self.failures.push(
                CliError::new("no metrics: no pod of the controller was found")
                    .action("set --metrics-url if the controller runs elsewhere"),
            );
        }
        for pod in self.pods.clone() {
            let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
            let request = Request::new(format!("/api/v1/namespaces/{namespace}/pods"));
            let page = match request.get_subresource("proxy/metrics", &format!("{name}:{PORT}")) {
                Ok(request) => client.request_text(request).await,
                Err(error) => Err(kube::Error::BuildRequest(error)),
            };
            let page = page.map_err(|error| {
                let error = cluster::refused(&format!("cannot read the metrics of the pod {name}"), &error);
                let forward = format!("kubectl port-forward -n {namespace} {name} {PORT}");
                error.action(format!(
                    "run {forward}, and set --metrics-url http://127.0.0.1:{PORT}/metrics"
                ))
            });
            if let Some(page) = self.keep(page) {
                self.metrics.push((name, newest(page)));
            }
        }
    }

    async fn logs(&mut self, client: &Client) {
        for pod in self.pods.clone() {
            let name = pod.name_any();
            let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
            let params = LogParams {
                tail_lines: Some(LOG_LINES),
                ..LogParams::default()
            };
            let log = api.logs(&name, &params).await;
            let log = log
                .map_err(|error| cluster::refused(&format!("cannot read the log of the pod {name}"), &error));
            if let Some(log) = self.keep(log) {
                self.logs.push((name, newest(log)));
            }
        }
    }
}

/// The Warning events about our objects: the refusals of the last hour.
async fn events(client: &Client, namespace: Option<&str>) -> Result<Vec<Event>, CliError> {
    let api: Api<Event> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let fields = "type=Warning,involvedObject.apiVersion=serverprotection.dev/v1alpha1";
    let list = api.list(&ListParams::default().fields(fields)).await;
    let list = list.map_err(|error| cluster::refused("cannot list events", &error))?;
    Ok(list.items)
}

async fn pods(client: &Client, deployment: &Deployment) -> Result<Vec<Pod>, CliError> {
    let labels = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.match_labels.as_ref());
    let selector: Vec<_> = labels
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    if selector.is_empty() {
        return Ok(Vec::new());
    }
    let api: Api<Pod> = Api::namespaced(client.clone(), &deployment.namespace().unwrap_or_default());
    let list = api.list(&ListParams::default().labels(&selector.join(","))).await;
    let list = list.map_err(|error| cluster::refused("cannot list the pods of the controller", &error))?;
    Ok(list.items)
}

async fn page(url: &Url) -> Result<String, CliError> {
    let failed = |error: reqwest::Error| {
        let status = error
            .status()
            .map(|status| format!("the server answers {status}"));
        let cause = status.unwrap_or_else(|| cluster::root(&error.without_url()));
        CliError::new(format!("--metrics-url: cannot read {}", shown(url))).because(cause)
    };
    let client = reqwest::Client::builder()
        .timeout(METRICS_TIMEOUT)
        .build()
        .map_err(failed)?;
    let response = client.get(url.clone()).send().await.map_err(failed)?;
    let response = response.error_for_status().map_err(failed)?;
    Ok(newest(response.text().await.map_err(failed)?))
}

/// The address without user and password.
fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}

/// The end of a text that is too long, from the beginning of a line.
fn newest(text: String) -> String {
    if text.len() <= MOST_BYTES {
        return text;
    }
    let mut start = text.len() - MOST_BYTES;
    while !text.is_char_boundary(start) {
        start += 1;
    }
    let end = text.get(start..).unwrap_or_default();
    let line = end.split_once('\n').map_or(end, |(_, rest)| rest);
    line.to_owned()
}
