//! The pods of the operator: their logs, and what the kernel and the API server say about them.

use crate::{
    node::{Node, Running},
    setting::Cluster,
};
use k8s_openapi::api::core::v1::{Pod, Volume};
use kube::{Api, ResourceExt, api::ListParams, api::LogParams};
use serde_json::Value;
use serverprotection_tests::{Error, users::CONTROLLER_NAMESPACE, wait::eventually};
use std::time::Duration;

/// Label of the pods.
pub(crate) const SELECTOR: &str = "app.kubernetes.io/name=serverprotection-controller";
/// User of the image.
const USER: &str = "65532";

impl Cluster {
    /// The client of the operator's namespace.
    pub(crate) fn pods_api(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), CONTROLLER_NAMESPACE)
    }

    /// The pods of the operator that are not ending.
    pub(crate) async fn pods(&self) -> Result<Vec<Pod>, Error> {
        let list = self
            .pods_api()
            .list(&ListParams::default().labels(SELECTOR))
            .await?;
        let stays = |pod: &Pod| pod.metadata.deletion_timestamp.is_none();
        Ok(list.items.into_iter().filter(stays).collect())
    }

    /// Waits until the operator has no process.
    pub(crate) async fn gone(&self) -> Result<(), Error> {
        eventually("the end of the pods", Duration::from_secs(60), || async {
            match Node::controllers() {
                Ok(left) if left.is_empty() => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }

    /// The lines of a pod's log with the level WARN or ERROR, and lines that are no JSON.
    pub(crate) async fn warnings(&self, pod: &Pod) -> Result<Vec<String>, Error> {
        let log = self
            .pods_api()
            .logs(&pod.name_any(), &LogParams::default())
            .await?;
        let bad = |line: &&str| {
            let parsed: Option<Value> = serde_json::from_str(line).ok();
            let level = parsed.as_ref().and_then(|line| line.get("level")?.as_str());
            !matches!(level, Some("INFO" | "DEBUG" | "TRACE"))
        };
        Ok(log.lines().filter(bad).map(str::to_owned).collect())
    }
}

/// Seconds from the start of a pod's container until the pod was ready. Kubernetes records whole seconds.
pub(crate) fn ready_after(pod: &Pod) -> Option<i64> {
    let status = pod.status.as_ref()?;
    let running = status
        .container_statuses
        .as_ref()?
        .first()?
        .state
        .as_ref()?
        .running
        .as_ref()?;
    let ready = status
        .conditions
        .as_ref()?
        .iter()
        .find(|condition| condition.type_ == "Ready")?;
    let (started, ready) = (running.started_at.as_ref()?, ready.last_transition_time.as_ref()?);
    Some(ready.0.duration_since(started.0).as_secs())
}

/// What differs from a restricted process: user, rights, system calls, root file system.
pub(crate) fn unrestricted(process: &Running) -> Vec<String> {
    let mut found = Vec::new();
    let mut expect = |name: &str, fine: &dyn Fn(&str) -> bool| {
        let value = process.field(name).unwrap_or("absent");
        if !fine(value) {
            found.push(format!("{name} is {value}"));
        }
    };
    expect("Uid", &|ids| ids.split_whitespace().all(|id| id == USER));
    expect("Gid", &|ids| ids.split_whitespace().all(|id| id == USER));
    expect("CapEff", &|mask| mask.chars().all(|digit| digit == '0'));
    expect("CapBnd", &|mask| mask.chars().all(|digit| digit == '0'));
    expect("NoNewPrivs", &|flag| flag == "1");
    // 2: with a filter.
    expect("Seccomp", &|mode| mode == "2");
    let root = process.mounts.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(4);
        (words.next()? == "/").then(|| words.next().unwrap_or_default().to_owned())
    });
    if !root
        .as_ref()
        .is_some_and(|options| options.split(',').any(|option| option == "ro"))
    {
        found.push(format!("the root file system is mounted with {root:?}"));
    }
    found
}

/// The volumes of a pod other than the token of its service account.
pub(crate) fn volumes_except_the_token(pod: &Pod) -> Vec<String> {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
    let other =
        |volume: &&Volume| !(volume.projected.is_some() && volume.name.starts_with("kube-api-access-"));
    volumes
        .into_iter()
        .flatten()
        .filter(other)
        .map(|volume| volume.name.clone())
        .collect()
}

/// The environment variables of a pod that come from a Secret.
pub(crate) fn secret_variables(pod: &Pod) -> Vec<String> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let variables = containers.flat_map(|container| container.env.iter().flatten());
    let secret = |variable: &&k8s_openapi::api::core::v1::EnvVar| {
        variable
            .value_from
            .as_ref()
            .is_some_and(|source| source.secret_key_ref.is_some())
    };
    variables
        .filter(secret)
        .map(|variable| variable.name.clone())
        .collect()
}
