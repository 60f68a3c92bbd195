//! What can go wrong in the test environment itself, in words that say what to do.

use std::{path::PathBuf, time::Duration};

/// A failure of the test environment, not of what is tested.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program is not there.
    #[error("{what} cannot be found: {why}\n  build it with: {command}")]
    Missing {
        /// The program or folder.
        what: String,
        /// Where it was looked for.
        why: String,
        /// The command that makes it.
        command: String,
    },
    /// A process ended or never became ready.
    #[error("{program} {reason}\n--- end of {} ---\n{tail}", log.display())]
    Start {
        /// Which one.
        program: String,
        /// What it did.
        reason: String,
        /// Its log file.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// A command answered with another exit code than 0.
    #[error("`{command}` failed ({status}):\n{output}")]
    Command {
        /// The command line.
        command: String,
        /// Exit status.
        status: String,
        /// Both outputs.
        output: String,
    },
    /// Something that had to happen did not.
    #[error("waited {after:?} for {what}; last seen: {last}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
        /// The last state or error.
        last: String,
    },
    /// The emulator's control endpoint refused.
    #[error("emulator: {method} {path} answered {status}: {body}")]
    Emulator {
        /// HTTP method.
        method: String,
        /// Path and query.
        path: String,
        /// HTTP status.
        status: u16,
        /// Body of the answer.
        body: String,
    },
    /// File, process or socket.
    #[error("{what}: {source}")]
    Io {
        /// What was done.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The API server or its client.
    #[error("Kubernetes: {0}")]
    Kube(Box<kube::Error>),
    /// An HTTP call.
    #[error("HTTP: {0}")]
    Http(#[from] reqwest::Error),
    /// JSON that cannot be read.
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Kube(Box::new(error))
    }
}

/// Gives an I/O error the name of what was done.
pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
    let what = what.into();
    move |source| Error::Io { what, source }
}
