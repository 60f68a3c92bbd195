//! Logs, as text or as JSON.

use std::backtrace::{Backtrace, BacktraceStatus};

use tracing_subscriber::EnvFilter;

use crate::{args::LogFormat, panics};

/// Starts logging to stderr. A second call does nothing.
pub(crate) fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Human => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    drop(started);
    log_panics();
}

/// A panic is a line of the log like every other one, also for machines that read it; what became of it, whoever caught
/// it logs.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panics::message(panic.payload());
        let place = panic.location().map(ToString::to_string);
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        tracing::error!(panic = message, place, backtrace, "internal error: a panic");
    }));
}
