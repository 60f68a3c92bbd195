//! The `serverprotection` command as users run it: exit code, standard output and standard error.

use crate::{binaries, error::Error};
use serde_json::Value;
use std::{ffi::OsStr, process::Stdio};
use tokio::{io::AsyncWriteExt as _, process::Command};

/// What a command did.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ran {
    /// Standard output as JSON.
    pub fn json(&self) -> Result<Value, Error> {
        let parsed = serde_json::from_str(&self.out);
        parsed.map_err(|error| Error::Other(format!("{error}: {}\n{}", self.out, self.err)))
    }
}

/// Runs `serverprotection` with these arguments, environment and standard input. No other variable of the environment is
/// passed on.
pub async fn serverprotection<S: AsRef<OsStr>>(
    arguments: &[S],
    environment: &[(&str, &str)],
    input: Option<&str>,
) -> Result<Ran, Error> {
    let mut command = Command::new(binaries::ours("serverprotection")?);
    command.args(arguments);
    run(command, environment, input).await
}

/// Runs a command with this environment and standard input.
pub async fn run(
    mut command: Command,
    environment: &[(&str, &str)],
    input: Option<&str>,
) -> Result<Ran, Error> {
    let failed = |error: std::io::Error| Error::Other(error.to_string());
    command
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(failed)?;
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin.write_all(input.as_bytes()).await.map_err(failed)?;
    }
    let output = child.wait_with_output().await.map_err(failed)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ran {
        code: output.status.code(),
        out: text(&output.stdout),
        err: text(&output.stderr),
    })
}

/// Fails unless `serverprotection validate` says about an object what the API server said. The object must be new:
/// `validate` cannot check rules about changes.
pub async fn validate_agrees(object: &Value, admitted: bool) -> Result<(), Error> {
    let ran = serverprotection(&["validate", "-f", "-"], &[], Some(&object.to_string())).await?;
    let expected = if admitted { Some(0) } else { Some(1) };
    if ran.code == expected {
        return Ok(());
    }
    Err(Error::Other(format!(
        "the API server {} {object}, and validate ended with {:?}: {}{}",
        if admitted { "admitted" } else { "refused" },
        ran.code,
        ran.out,
        ran.err
    )))
}
