//! Applies manifests with kubectl, as users do, so that the tests cover the manifests as published.

use crate::{
    binaries,
    error::{Error, io},
};
use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::process::Command;

/// Field manager of everything that the tests apply: kubectl's own, so that a test can go on with the commands of a page.
pub const FIELD_MANAGER: &str = "kubectl";

/// A kubectl for one user of one cluster.
#[derive(Clone, Debug)]
pub struct Kubectl {
    /// Path of the program.
    pub program: PathBuf,
    /// Path of the kubeconfig. `$KUBECONFIG` is ignored.
    pub kubeconfig: PathBuf,
    cache: PathBuf,
}

impl Kubectl {
    /// `folder` is the cache folder. The one in the home folder is keyed by address and port, and another test server
    /// may have used the same port before.
    pub fn new(program: PathBuf, kubeconfig: PathBuf, folder: &Path) -> Self {
        Self {
            program,
            kubeconfig,
            cache: folder.join("kubectl-cache"),
        }
    }

    /// Runs kubectl. Returns its standard output, or an error with both outputs.
    pub async fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<String, Error> {
        let output = Command::new(&self.program)
            .args(args)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KUBECACHEDIR", &self.cache)
            .stdin(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .output()
            .await
            .map_err(io(format!("run {}", self.program.display())))?;
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(stdout);
        }
        let words: Vec<_> = args.iter().map(|a| a.as_ref().to_string_lossy()).collect();
        Err(Error::Command {
            command: format!("kubectl {}", words.join(" ")),
            status: output.status.to_string(),
            output: format!("{stdout}{}", String::from_utf8_lossy(&output.stderr)),
        })
    }

    /// Applies `deploy/base` with server-side apply and waits until the API server serves our kinds.
    pub async fn install(&self) -> Result<(), Error> {
        let base = binaries::root().join("deploy/base");
        let base = base.to_string_lossy();
        let manager = format!("--field-manager={FIELD_MANAGER}");
        self.run(&["apply", "--server-side", &manager, "-k", &base])
            .await?;
        let crds = format!("{base}/crds");
        self.run(&[
            "wait",
            "--for=condition=Established",
            "--timeout=30s",
            "-f",
            &crds,
        ])
        .await?;
        Ok(())
    }
}
