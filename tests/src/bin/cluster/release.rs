//! The Helm release of the operator, as an administrator installs it.

use crate::node::{Node, run};
use serde_json::{Value, json};
use serverprotection_tests::{
    Error,
    apply::Kubectl,
    binaries,
    emulator::Emulator,
    error::io,
    team::merge,
    users::{CONTROLLER_ACCOUNT, CONTROLLER_NAMESPACE},
};
use std::path::{Path, PathBuf};

/// Name of the release. With it, objects have the names of `deploy/base`.
const RELEASE: &str = "serverprotection";
/// `ConfigMap` with the certificate authority of the emulator.
const CA: &str = "azure-ca";

/// The release.
pub(crate) struct Release {
    kubectl: Kubectl,
    endpoint: String,
    ca: PathBuf,
    image: String,
    previous: Previous,
}

/// The previous version.
pub(crate) struct Previous {
    /// Folder of its chart.
    pub(crate) chart: PathBuf,
    /// Its image on the node.
    pub(crate) image: String,
}

impl Previous {
    /// The version in a folder that `tests/cluster/previous.sh` filled.
    pub(crate) async fn import(node: &Node, folder: &Path) -> Result<Self, Error> {
        Ok(Self {
            chart: folder.join("chart"),
            image: node.import(&folder.join("image.tar"), "previous").await?,
        })
    }
}

impl Release {
    /// A release that is not installed yet, of an image on the node.
    pub(crate) fn new(kubectl: Kubectl, emulator: &Emulator, image: String, previous: Previous) -> Self {
        Self {
            kubectl,
            endpoint: emulator.endpoint().to_owned(),
            ca: emulator.ca().to_owned(),
            image,
            previous,
        }
    }

    /// Installs or upgrades the chart of this work tree, and waits until the pods are ready.
    pub(crate) async fn install(&self, replicas: u32, more: Value) -> Result<(), Error> {
        let chart = binaries::root().join("charts/serverprotection-operator");
        let mut values = self.values(&self.image);
        merge(&mut values, json!({"replicas": replicas}));
        merge(&mut values, more);
        self.upgrade(&chart, &values).await
    }

    /// Installs the chart and the image of the previous version, which has one replica.
    pub(crate) async fn install_previous(&self) -> Result<(), Error> {
        let previous = &self.previous;
        self.upgrade(&previous.chart, &self.values(&previous.image)).await
    }

    /// Back to the first revision since the release was installed.
    pub(crate) async fn rollback(&self) -> Result<(), Error> {
        let arguments = ["rollback", RELEASE, "1", "--namespace", CONTROLLER_NAMESPACE];
        run("helm".as_ref(), &arguments).await?;
        self.rolled_out().await
    }

    /// Uninstalls the release, if there is one.
    pub(crate) async fn uninstall(&self) -> Result<(), Error> {
        let arguments = [
            "uninstall",
            RELEASE,
            "--namespace",
            CONTROLLER_NAMESPACE,
            "--ignore-not-found",
            "--wait",
        ];
        run("helm".as_ref(), &arguments).await.map(drop)
    }

    /// Waits until all pods of the current version are ready.
    pub(crate) async fn rolled_out(&self) -> Result<(), Error> {
        let deployment = format!("deployment/{CONTROLLER_ACCOUNT}");
        let arguments = [
            "rollout",
            "status",
            "-n",
            CONTROLLER_NAMESPACE,
            &deployment,
            "--timeout=90s",
        ];
        self.kubectl.run(&arguments).await.map(drop)
    }

    async fn upgrade(&self, chart: &Path, values: &Value) -> Result<(), Error> {
        self.prepare_namespace().await?;
        let file = tempfile::NamedTempFile::with_suffix(".json").map_err(io("create a values file"))?;
        std::fs::write(file.path(), values.to_string()).map_err(io("write the values file"))?;
        let (chart, values) = (chart.to_string_lossy(), file.path().to_string_lossy());
        let arguments = [
            "upgrade",
            "--install",
            RELEASE,
            &chart,
            "--namespace",
            CONTROLLER_NAMESPACE,
            "--values",
            &values,
        ];
        run("helm".as_ref(), &arguments).await?;
        self.rolled_out().await
    }

    fn values(&self, image: &str) -> Value {
        let (repository, tag) = image.rsplit_once(':').unwrap_or((image, "latest"));
        json!({
            "image": {"repository": repository, "tag": tag, "pullPolicy": "Never"},
            "azure": {"resourceManagerEndpoint": self.endpoint, "authorityHost": self.endpoint,
                "audience": self.endpoint, "extraCA": {"configMap": CA, "key": "ca.pem"}},
            "controller": {"logFormat": "json"},
        })
    }

    /// The namespace accepts only pods that follow the restricted Pod Security Standard.
    async fn prepare_namespace(&self) -> Result<(), Error> {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": CONTROLLER_NAMESPACE,
            "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
        let pem = std::fs::read_to_string(&self.ca).map_err(io("read the CA of the emulator"))?;
        let ca = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"ca.pem": pem},
            "metadata": {"name": CA, "namespace": CONTROLLER_NAMESPACE}});
        for object in [namespace, ca] {
            let file = tempfile::NamedTempFile::with_suffix(".json").map_err(io("create a manifest"))?;
            std::fs::write(file.path(), object.to_string()).map_err(io("write a manifest"))?;
            let path = file.path().to_string_lossy();
            self.kubectl.run(&["apply", "-f", &path]).await?;
        }
        Ok(())
    }
}
