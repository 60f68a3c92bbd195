//! Errors of the test environment. The messages say what to do.

use std::{path::PathBuf, time::Duration};

/// An error of the test environment, not of what is tested.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program is missing.
    #[error("{what} cannot be found: {why}\n  build it with: {command}")]
    Missing {
        /// Program or folder.
        what: String,
        /// Where it was searched.
        why: String,
        /// The command that builds it.
        command: String,
    },
    /// A process ended or did not become ready.
    #[error("{program} {reason}\n--- end of {} ---\n{tail}", log.display())]
    Start {
        /// Name of the process.
        program: String,
        /// What happened.
        reason: String,
        /// Its log file.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// A command ended with an exit code other than 0.
    #[error("`{command}` failed ({status}):\n{output}")]
    Command {
        /// Command line.
        command: String,
        /// Exit status.
        status: String,
        /// Both outputs.
        output: String,
    },
    /// A condition was not met in time.
    #[error("waited {after:?} for {what}; last seen: {last}")]
    Timeout {
        /// The condition.
        what: String,
        /// Time limit.
        after: Duration,
        /// The last state or error.
        last: String,
    },
    /// The emulator's control endpoint returned an error.
    #[error("emulator: {method} {path} answered {status}: {body}")]
    Emulator {
        /// HTTP method.
        method: String,
        /// Path and query.
        path: String,
        /// HTTP status.
        status: u16,
        /// Body of the response.
        body: String,
    },
    /// An I/O error of a file, process or socket.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// Cause.
        source: std::io::Error,
    },
    /// An error of the API server or its client.
    #[error("Kubernetes: {0}")]
    Kube(Box<kube::Error>),
    /// An HTTP error.
    #[error("HTTP: {0}")]
    Http(#[from] reqwest::Error),
    /// Invalid JSON.
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Any other error.
    #[error("{0}")]
    Other(String),
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Kube(Box::new(error))
    }
}

/// Adds to an I/O error what was attempted.
pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
    let what = what.into();
    move |source| Error::Io { what, source }
}
