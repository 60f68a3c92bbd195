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
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KUBECACHEDIR", &self.cache);
        output(command).await
    }

    /// Applies `deploy/base` with server-side apply and waits until the API server serves our kinds.
    pub async fn install(&self) -> Result<(), Error> {
        let base = binaries::root().join("deploy/base");
        let base = base.to_string_lossy();
        let manager = format!("--field-manager={FIELD_MANAGER}");
        self.run(&["apply", "--server-side", &manager, "-k", &base])
            .await?;
        self.wait_for_kinds().await
    }

    /// Waits until the API server serves our kinds.
    pub async fn wait_for_kinds(&self) -> Result<(), Error> {
        let crds = binaries::root().join("deploy/base/crds").display().to_string();
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

/// Runs a command to its end. Returns its standard output, or an error with both outputs.
pub(crate) async fn output(mut command: Command) -> Result<String, Error> {
    let words = {
        let command = command.as_std();
        let program = Path::new(command.get_program()).file_name().unwrap_or_default();
        let words = std::iter::once(program).chain(command.get_args());
        words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
    };
    let output = command
        .stdin(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .output()
        .await
        .map_err(io(format!("run {words}")))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    Err(Error::Command {
        command: words,
        status: output.status.to_string(),
        output: format!("{stdout}{}", String::from_utf8_lossy(&output.stderr)),
    })
}
