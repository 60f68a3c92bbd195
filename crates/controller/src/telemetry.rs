//! Logs, as text or as JSON.

mod json;

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::IsTerminal,
};

use tracing_subscriber::{EnvFilter, fmt::format::JsonFields};

use crate::{args::LogFormat, panics};

/// Used without `RUST_LOG`. Hides the span of kube's controller, whose fields repeat the object under other names.
const DEFAULT_FILTER: &str = "info,kube_runtime::controller=warn";

/// Starts logging to stderr. A second call does nothing.
pub(crate) fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let no_color = std::env::var("NO_COLOR").ok();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colored(std::io::stderr().is_terminal(), no_color.as_deref()))
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Human => builder.try_init(),
        LogFormat::Json => builder
            .fmt_fields(JsonFields::new())
            .event_format(json::Lines)
            .try_init(),
    };
    drop(started);
    log_panics();
}

/// Escape codes are for terminals, unless `NO_COLOR` is set (no-color.org).
fn colored(terminal: bool, no_color: Option<&str>) -> bool {
    terminal && no_color.is_none_or(str::is_empty)
}

/// Logs a panic as a log line in the configured format. The caller that catches the panic logs what happens next.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panics::message(panic.payload());
        let location = panic.location().map(ToString::to_string);
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        tracing::error!(panic = message, location, backtrace, "internal error: panic");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_and_files_get_no_escape_codes() {
        assert!(colored(true, None));
        assert!(colored(true, Some("")));
        assert!(!colored(true, Some("1")));
        assert!(!colored(false, None));
    }
}
