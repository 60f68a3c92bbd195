//! Helm, as users run it, with the chart of this repository.

use crate::{apply, binaries, error::Error};
use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};
use tokio::process::Command;

/// The folder of the chart.
pub fn chart() -> PathBuf {
    binaries::root().join("charts/serverprotection-operator")
}

/// A helm for one user of one cluster.
#[derive(Clone, Debug)]
pub struct Helm {
    program: PathBuf,
    kubeconfig: PathBuf,
    folder: PathBuf,
}

impl Helm {
    /// A helm that stores what it downloads and configures in `folder`. `$KUBECONFIG` is ignored.
    pub fn new(kubeconfig: PathBuf, folder: &Path) -> Result<Self, Error> {
        Ok(Self {
            program: binaries::helm()?,
            kubeconfig,
            folder: folder.join("helm"),
        })
    }

    /// Runs helm. Returns its standard output, or an error with both outputs.
    pub async fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<String, Error> {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KUBECACHEDIR", self.folder.join("kube"));
        for name in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(name, self.folder.join(name));
        }
        apply::output(command).await
    }

    /// `helm COMMAND RELEASE CHART -n NAMESPACE FLAGS`, for install, upgrade and template.
    pub async fn with_chart(
        &self,
        command: &str,
        release: &Release,
        flags: &[&str],
    ) -> Result<String, Error> {
        let chart = chart().display().to_string();
        let first = [command, &release.name, &chart, "--namespace", &release.namespace];
        self.run(&[&first, flags].concat()).await
    }
}

/// A release of the chart.
#[derive(Clone, Debug)]
pub struct Release {
    /// Name of the release.
    pub name: String,
    /// Namespace of the release, and of the controller.
    pub namespace: String,
}

impl Release {
    /// A release with this name and namespace.
    pub fn new(name: &str, namespace: &str) -> Self {
        Self {
            name: name.into(),
            namespace: namespace.into(),
        }
    }

    /// The begin of the names of its objects.
    pub fn prefix(&self) -> String {
        if self.name.contains("serverprotection") {
            self.name.clone()
        } else {
            format!("{}-serverprotection", self.name)
        }
    }

    /// Name of its Deployment, service account and role.
    pub fn controller(&self) -> String {
        format!("{}-controller", self.prefix())
    }
}
