//! What the cases share: the node, the emulated Azure, and the release of the operator.

use crate::{
    node::Node,
    release::{Previous, Release},
};
use kube::Client;
use serde_json::Value;
use serverprotection_tests::{
    Error, apply::Kubectl, control_plane::client_of, emulator::Emulator, harness::Setting, kstatus,
    recorder::Recorder,
};
use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};
use tokio::sync::OnceCell;

/// Address of the emulator: that of the node, which pods reach.
const AZURE: &str = "10.99.0.1:8443";

/// Address of the instance metadata service, where managed identities get tokens.
const METADATA: &str = "169.254.169.254:80";

/// Rules that two controllers of the same objects break together, although each of them obeys.
const OVERLAP: [&str; 2] = ["UselessWrite", "RetryAfterIgnored"];

/// The running cluster.
pub(crate) struct Cluster {
    /// A client with all permissions.
    pub(crate) client: Client,
    pub(crate) kubectl: Kubectl,
    /// The emulated Azure.
    pub(crate) emulator: Emulator,
    /// The operator.
    pub(crate) release: Release,
    /// Applications of objects that a version without a Lease reconciled beside this one.
    overlaps: Mutex<BTreeSet<String>>,
    logs: PathBuf,
    recorder: OnceCell<Recorder>,
}

impl Cluster {
    pub(crate) async fn start() -> Result<Self, Error> {
        let node = Node::of_environment()?;
        let kubeconfig = PathBuf::from(variable("KUBECONFIG")?);
        let logs = PathBuf::from(variable("CLUSTER_LOGS")?);
        let client = client_of(&kubeconfig).await?;
        let kubectl = Kubectl::new(
            "kubectl".into(),
            kubeconfig.clone(),
            kubeconfig.parent().unwrap_or(&logs),
        );
        let address = AZURE.split(':').next().unwrap_or_default();
        let emulator = Emulator::start_on([AZURE, METADATA], None, &["--san", address]).await?;
        let image = node
            .import(variable("CLUSTER_IMAGE")?.as_ref(), "current")
            .await?;
        let previous = Previous::import(&node, variable("CLUSTER_PREVIOUS")?.as_ref()).await?;
        let release = Release::new(kubectl.clone(), &emulator, image, previous);
        Ok(Self {
            client,
            kubectl,
            emulator,
            release,
            overlaps: Mutex::default(),
            logs,
            recorder: OnceCell::new(),
        })
    }

    /// Records every version of every object from now on. The CRDs must be installed.
    pub(crate) async fn record(&self) -> Result<&Recorder, Error> {
        self.recorder
            .get_or_try_init(|| Recorder::start(self.client.clone()))
            .await
    }

    /// Accepts from now on that two controllers write the same for these applications, and throttle themselves apart.
    pub(crate) fn accept_overlaps_of(&self, principals: &[String]) {
        let overlaps = self.overlaps.lock();
        let mut overlaps = overlaps.unwrap_or_else(PoisonError::into_inner);
        overlaps.extend(principals.iter().cloned());
    }

    /// Whether a breach only says that two controllers did the same work.
    fn is_overlap(&self, breach: &Value) -> bool {
        let text = |name: &str| breach.get(name).and_then(Value::as_str).unwrap_or_default();
        let overlaps = self.overlaps.lock().unwrap_or_else(PoisonError::into_inner);
        OVERLAP.contains(&text("invariant")) && overlaps.contains(text("principal"))
    }

    /// Fails if the emulator or a status reports a breach of the rules.
    async fn verdict(&self) -> Result<(), Error> {
        let breaches = self.emulator.breaches().await?;
        let breaches = breaches.iter().filter(|breach| !self.is_overlap(breach));
        let mut all: Vec<String> = breaches.map(Value::to_string).collect();
        if let Some(recorder) = self.recorder.get() {
            let versions = recorder.all();
            all.extend(kstatus::judge(&versions).iter().map(ToString::to_string));
        }
        if all.is_empty() {
            return Ok(());
        }
        Err(Error::Other(format!(
            "the run violated rules:\n{}",
            all.join("\n")
        )))
    }
}

impl Setting for Cluster {
    async fn stop(&self, _failed: bool) -> Result<(), Error> {
        let verdict = self.verdict().await;
        self.emulator.stop().await;
        let log = "azure-emulator.log";
        let _ = std::fs::copy(self.emulator.folder().join(log), self.logs.join(log));
        verdict
    }
}

/// A variable that `tests/cluster/run.sh` sets.
pub(crate) fn variable(name: &str) -> Result<String, Error> {
    std::env::var(name).map_err(|_| Error::Missing {
        what: format!("the variable {name}"),
        why: "this program runs on the node of tests/cluster".into(),
        command: "make test-cluster".into(),
    })
}
