//! What users do with kubectl, done with kubectl: so that the manifests are tested as they are given out.

use crate::{
    binaries,
    error::{Error, io},
};
use std::{ffi::OsStr, path::Path, process::Stdio};
use tokio::{io::AsyncWriteExt, process::Command};

/// The field manager of everything that the tests apply; the controller's own is `serverprotection`.
pub const FIELD_MANAGER: &str = "a-tool";

/// Runs kubectl with a kubeconfig, optionally with something on its standard input.
pub async fn kubectl<S: AsRef<OsStr>>(
    program: &Path,
    kubeconfig: &Path,
    args: &[S],
    input: Option<&str>,
) -> Result<String, Error> {
    let mut child = Command::new(program)
        .args(args)
        .env("KUBECONFIG", kubeconfig)
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(io(format!("run {}", program.display())))?;
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
        stdin
            .write_all(input.as_bytes())
            .await
            .map_err(io("write to kubectl"))?;
    }
    let output = child.wait_with_output().await.map_err(io("wait for kubectl"))?;
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

/// Applies `deploy/base` by server-side apply and waits until the API server serves our kinds.
pub async fn install(program: &Path, kubeconfig: &Path) -> Result<(), Error> {
    let base = binaries::root().join("deploy/base");
    let base = base.to_string_lossy();
    let manager = format!("--field-manager={FIELD_MANAGER}");
    kubectl(
        program,
        kubeconfig,
        &["apply", "--server-side", &manager, "-k", &base],
        None,
    )
    .await?;
    let wait = ["wait", "--for=condition=Established", "--timeout=30s", "-f"];
    let crds = format!("{base}/crds");
    kubectl(program, kubeconfig, &[&wait[..], &[&crds]].concat(), None).await?;
    Ok(())
}
