//! Reads from a cluster. Objects are read without their types, so that one that this version cannot parse does not hide
//! the others.

use std::{future::Future, path::PathBuf, process::ExitCode, time::Duration};

use clap::Args as ClapArgs;
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::Namespace},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Config, Resource,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::Value;
use serverprotection_api::GROUP;
use serverprotection_controller::kubeconfig;

use crate::{error::CliError, exit};

/// Label of everything in deploy/base.
pub(crate) const PART_OF: &str = "app.kubernetes.io/part-of=serverprotection";
/// Objects in a page of a list.
const PAGE: u32 = 250;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// The kinds of this operator with their plural names, in the order in which they are deleted.
pub(crate) const KINDS: [(&str, &str); 4] = [
    ("SecurityConnector", "securityconnectors"),
    ("ServerProtection", "serverprotections"),
    ("AzureCredential", "azurecredentials"),
    (CLUSTER_CREDENTIAL, "clusterazurecredentials"),
];

/// The kind whose objects are in no namespace.
pub(crate) const CLUSTER_CREDENTIAL: &str = "ClusterAzureCredential";

/// Runs a command that reads a cluster, until it ends or Ctrl-C.
pub(crate) fn block_on(work: impl Future<Output = Result<ExitCode, CliError>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::failed(&CliError::new("cannot start the async runtime").because(error)),
    };
    runtime
        .block_on(work)
        .unwrap_or_else(|error| exit::failed(&error))
}

// No doc comment: this struct is flattened, and its comment would replace the description of the command.
#[derive(ClapArgs, Clone, Debug)]
pub(crate) struct Connection {
    /// Kubeconfig file [default: KUBECONFIG, ~/.kube/config or the service account of the pod]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig file [default: the current context]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

impl Connection {
    /// A client for the cluster.
    ///
    /// # Errors
    ///
    /// Fails if no cluster is configured, or if the configuration cannot be used.
    pub(crate) async fn open(&self) -> Result<Client, CliError> {
        let mut config = self.config().await?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.read_timeout = Some(READ_TIMEOUT);
        Client::try_from(config).map_err(|error| {
            CliError::new("cannot use the configuration of the cluster").because(root(&error))
        })
    }

    async fn config(&self) -> Result<Config, CliError> {
        let failed = |problem: String| {
            CliError::new(problem).action(
                "name a kubeconfig file with --kubeconfig or KUBECONFIG, and a context with --context",
            )
        };
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        if let Some(path) = &self.kubeconfig {
            let config = match Kubeconfig::read_from(path) {
                Ok(file) => Config::from_custom_kubeconfig(file, &options).await,
                Err(error) => Err(error),
            };
            let file = path.display().to_string();
            return config.map_err(|error| failed(kubeconfig::described(&error, &file)));
        }
        if self.context.is_some() {
            let config = Config::from_kubeconfig(&options).await;
            return config.map_err(|error| failed(kubeconfig::described(&error, &kubeconfig::files())));
        }
        let config = Config::infer().await;
        config.map_err(|error| failed(kubeconfig::not_found(&error)))
    }
}

/// Fails if the namespace does not exist. An identity that may not read it gets no error: it may still read its objects.
///
/// # Errors
///
/// Fails if there is no such namespace.
pub(crate) async fn check_namespace(client: &Client, namespace: Option<&str>) -> Result<(), CliError> {
    let Some(name) = namespace else { return Ok(()) };
    match Api::<Namespace>::all(client.clone()).get_opt(name).await {
        Ok(None) => Err(CliError::new(format!("namespace {name} does not exist"))
            .action("correct --namespace, or omit it to read all namespaces")),
        _ => Ok(()),
    }
}

/// All objects of a kind as JSON; `None` if the cluster does not have the kind.
///
/// # Errors
///
/// Fails if the API server cannot be reached or refuses the list.
pub(crate) async fn list(
    client: &Client,
    (kind, plural): (&str, &str),
    namespace: Option<&str>,
) -> Result<Option<Vec<Value>>, CliError> {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, "v1alpha1", kind), plural);
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let mut objects = Vec::new();
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = match api.list(&params).await {
            Ok(page) => page,
            // The answer to a path that the API server does not have has no reason.
            Err(kube::Error::Api(answer)) if answer.code == 404 => return Ok(None),
            Err(error) => return Err(refused(&format!("cannot list {plural}"), &error)),
        };
        for object in page.items {
            let object = serde_json::to_value(&object);
            objects
                .push(object.map_err(|error| CliError::new(format!("cannot read {plural}")).because(error))?);
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(Some(objects)),
        }
    }
}

/// The Deployments of the controller, in all namespaces or in one.
///
/// # Errors
///
/// Fails if the API server cannot be reached or refuses the list.
pub(crate) async fn controllers(
    client: &Client,
    namespace: Option<&str>,
) -> Result<Vec<Deployment>, CliError> {
    let api: Api<Deployment> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let list = api.list(&ListParams::default().labels(PART_OF)).await;
    let list = list.map_err(|error| refused("cannot list the Deployments of the controller", &error))?;
    Ok(list.items)
}

/// The custom resource definitions of this operator that exist.
///
/// # Errors
///
/// Fails if the API server cannot be reached or refuses a request.
pub(crate) async fn definitions(client: &Client) -> Result<Vec<CustomResourceDefinition>, CliError> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut found = Vec::new();
    for (_, plural) in KINDS {
        let name = format!("{plural}.{GROUP}");
        let definition = api.get_opt(&name).await;
        found.extend(
            definition.map_err(|error| refused(&format!("cannot read the definition {name}"), &error))?,
        );
    }
    Ok(found)
}

/// Whether the object is being deleted.
pub(crate) fn is_deleting<K: Resource>(object: &K) -> bool {
    object.meta().deletion_timestamp.is_some()
}

/// An error of the API server, for people. The `Display` of `kube::Error` contains debug output.
pub(crate) fn refused(problem: &str, error: &kube::Error) -> CliError {
    let failure = CliError::new(problem);
    match error {
        kube::Error::Api(answer) if answer.is_forbidden() => failure
            .because(&answer.message)
            .action("use an identity with the rights get and list for it, such as a cluster administrator"),
        kube::Error::Api(answer) if answer.code == 401 => failure
            .because("the API server does not accept the credentials")
            .action("log in to the cluster again, and check it with kubectl get namespaces"),
        kube::Error::Api(answer) => failure.because(&answer.message),
        error => failure
            .because(root(error))
            .action("check the connection with kubectl cluster-info"),
    }
}

/// The innermost cause, which is the one that a user can act on.
pub(crate) fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        cause = error.to_string();
        next = error.source();
    }
    cause
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn answer(code: u16, reason: &str) -> kube::Error {
        let status = Status {
            code,
            reason: reason.into(),
            message: "securityconnectors is forbidden".into(),
            ..Status::default()
        };
        kube::Error::Api(Box::new(status))
    }

    #[test]
    fn errors_of_the_api_server_are_for_people() {
        let error = refused("cannot list it", &answer(403, "Forbidden"));
        assert_eq!(error.cause.as_deref(), Some("securityconnectors is forbidden"));
        assert!(error.action.is_some_and(|action| action.contains("get and list")));
        let error = refused("cannot list it", &answer(401, "Unauthorized"));
        assert!(error.action.is_some_and(|action| action.contains("log in")));
        for code in [401, 403, 500] {
            let text = refused("x", &answer(code, "Any")).to_string();
            assert!(!text.contains("Status {"), "{text}");
        }
    }

    #[test]
    fn the_innermost_cause_is_named() {
        let inner = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "connection refused");
        let error = kube::Error::ReadEvents(inner);
        assert_eq!(root(&error), "connection refused");
    }
}
