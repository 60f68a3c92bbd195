//! A child process that never outlives the test: stopped with SIGTERM, killed on drop, and killed by a guard if the
//! test itself is killed.

use crate::error::{Error, io};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    ffi::OsStr,
    fs::OpenOptions,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

/// A running child process with its log.
#[derive(Debug)]
pub struct Process {
    program: String,
    child: Child,
    pid: Pid,
    log: PathBuf,
    guard: Option<Child>,
}

impl Process {
    /// Starts `command`. Both outputs are appended to `log`, unless `keep_stdout` has set the standard output.
    pub fn spawn(program: &str, mut command: Command, log: &Path, keep_stdout: bool) -> Result<Self, Error> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .map_err(io(log.display().to_string()))?;
        let copy = file.try_clone().map_err(io(log.display().to_string()))?;
        command.stdin(Stdio::null()).stderr(file);
        if !keep_stdout {
            command.stdout(copy);
        }
        // A process group of its own: Ctrl-C reaches only the test, which then stops everything in the right order.
        let child = command
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(io(format!("start {program}")))?;
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw)
            .ok_or_else(|| Error::Other(format!("{program} ended at once")))?;
        let guard = guard(pid).map_err(io(format!("start the guard of {program}")))?;
        Ok(Self {
            program: program.to_owned(),
            child,
            pid,
            log: log.to_owned(),
            guard: Some(guard),
        })
    }

    /// The process id.
    pub fn id(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// The log file.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The log so far.
    pub fn log_text(&self) -> String {
        std::fs::read(&self.log)
            .map(|b| String::from_utf8_lossy(&b).into_owned())
            .unwrap_or_default()
    }

    /// Takes the output pipe of a process that was started with `keep_stdout`.
    pub(crate) fn take_stdout(&mut self) -> Option<tokio::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// The exit status, if the process has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Freezes the process (SIGSTOP): it keeps its connections and answers nothing.
    pub fn pause(&self) -> Result<(), Error> {
        self.signal(Signal::STOP)
    }

    /// Resumes a frozen process (SIGCONT).
    pub fn resume(&self) -> Result<(), Error> {
        self.signal(Signal::CONT)
    }

    /// Waits for the end of the process.
    pub async fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        timeout(limit, self.child.wait()).await.ok().and_then(Result::ok)
    }

    /// Sends SIGTERM, then SIGKILL if the process has not ended within `timeout`. Returns the exit status, or `None`
    /// if it was killed.
    pub async fn stop(&mut self, timeout: Duration) -> Option<ExitStatus> {
        let mut status = self.exited();
        if status.is_none() {
            // A frozen process does not handle SIGTERM.
            let _ = self.signal(Signal::CONT);
            let _ = self.signal(Signal::TERM);
            status = self.wait(timeout).await;
        }
        if status.is_none() {
            self.kill().await;
        }
        self.dismiss_guard().await;
        status
    }

    /// Kills the process (SIGKILL), like a power failure of the node, and waits until it is gone.
    pub async fn kill(&mut self) {
        let _ = self.child.kill().await;
        self.dismiss_guard().await;
    }

    /// An error with the end of the log.
    pub fn failure(&self, reason: impl Into<String>) -> Error {
        let text = self.log_text();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines
            .get(lines.len().saturating_sub(25)..)
            .unwrap_or_default()
            .join("\n");
        Error::Start {
            program: self.program.clone(),
            reason: reason.into(),
            log: self.log.clone(),
            tail,
        }
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        // The id cannot belong to another process before the child has been waited for.
        if self.child.id().is_none() {
            return Err(Error::Other(format!("{} has ended", self.program)));
        }
        kill_process(self.pid, signal).map_err(|e| Error::Io {
            what: format!("signal {}", self.program),
            source: e.into(),
        })
    }

    async fn dismiss_guard(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            let _ = guard.kill().await;
        }
    }
}

/// Copies logs to a folder that is kept, because their own folder is temporary. Returns the paths of the copies.
pub fn keep(logs: &[PathBuf]) -> Vec<PathBuf> {
    let Ok(folder) = tempfile::Builder::new()
        .prefix("serverprotection-logs-")
        .disable_cleanup(true)
        .tempdir()
    else {
        return Vec::new();
    };
    let copy = |log: &PathBuf| {
        let kept = folder.path().join(log.file_name()?);
        std::fs::copy(log, &kept).ok().map(|_| kept)
    };
    logs.iter().filter_map(copy).collect()
}

/// Removes a folder if this process is killed, because its `TempDir` then cannot. Does nothing on drop.
#[derive(Debug)]
pub(crate) struct Sweeper {
    _shell: Child,
}

impl Sweeper {
    pub(crate) fn of(folder: &Path) -> Result<Self, Error> {
        // The processes that write to the folder are killed at the same time.
        let script = r#"read -r _; sleep 1; rm -rf "$1""#;
        let shell = shell_at_our_end(script, folder).map_err(io("start a shell"))?;
        Ok(Self { _shell: shell })
    }
}

fn guard(pid: Pid) -> std::io::Result<Child> {
    shell_at_our_end(r#"read -r _; kill -9 "$1""#, pid.as_raw_nonzero().to_string())
}

/// A shell that waits for the end of its standard input, which comes only when this process is gone, even by SIGKILL.
fn shell_at_our_end(script: &str, argument: impl AsRef<OsStr>) -> std::io::Result<Child> {
    Command::new("sh")
        .args(["-c", script, "guard"])
        .arg(argument)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn one_that_ignores_sigterm_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let script = "trap '' TERM; echo trapped; while :; do sleep 0.05; done";
        let mut process = Process::spawn("deaf", shell(script), &log, false).unwrap();
        while !process.log_text().contains("trapped") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(process.stop(Duration::from_millis(300)).await, None);
        assert!(process.exited().is_some());
    }

    #[tokio::test]
    async fn one_that_ends_says_how_and_shows_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut process = Process::spawn("brief", shell("echo why >&2; exit 3"), &log, false).unwrap();
        assert_eq!(
            process.wait(Duration::from_secs(5)).await.and_then(|s| s.code()),
            Some(3)
        );
        assert!(process.failure("ended").to_string().contains("why"));
        assert!(
            process.pause().is_err(),
            "its id may belong to another process by now"
        );
    }

    #[tokio::test]
    async fn a_frozen_one_can_still_be_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Process::spawn(
            "sleeper",
            shell("exec sleep 60"),
            &folder.path().join("log"),
            false,
        )
        .unwrap();
        process.pause().unwrap();
        assert!(process.stop(Duration::from_secs(5)).await.is_some());
    }
}
