//! Logs, as text or as JSON.

mod human;
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
    let colored = colored(std::io::stderr().is_terminal(), no_color.as_deref());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colored)
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Human => builder.event_format(human::Lines::new(colored)).try_init(),
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
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use proptest::prelude::*;
    use serverprotection_core::printable;
    use tracing::Subscriber;
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    pub(super) struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Buffer {
        type Writer = Self;
        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    /// What a subscriber that writes to the buffer logs.
    pub(super) fn logged<S>(subscriber: impl FnOnce(Buffer) -> S, log: impl FnOnce()) -> String
    where
        S: Subscriber + Send + Sync + 'static,
    {
        let buffer = Buffer::default();
        tracing::subscriber::with_default(subscriber(buffer.clone()), log);
        String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap()
    }

    proptest! {
        #[test]
        fn a_line_stays_a_line_in_every_format(text in any::<String>(), unsafe_ in "[\\n\\r\\x1b\\u{85}\\u{9b}\\u{202e}\\u{2028}]{0,3}") {
            let text = text + &unsafe_;
            let log = || tracing::warn!(field = text, error = %text, "{text}");
            let human = logged(
                |buffer| tracing_subscriber::fmt().with_ansi(false).event_format(human::Lines::new(false)).with_writer(buffer).finish(),
                log,
            );
            let json = logged(
                |buffer| tracing_subscriber::fmt().fmt_fields(JsonFields::new()).event_format(json::Lines).with_writer(buffer).finish(),
                log,
            );
            for (format, lines) in [("human", &human), ("json", &json)] {
                let line = lines.strip_suffix('\n').unwrap();
                prop_assert!(!line.contains(printable::is_unsafe), "{format}: {line:?}");
            }
            let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(&parsed["message"], &text);
            prop_assert_eq!(&parsed["error"], &text);
        }
    }

    #[test]
    fn pipes_and_files_get_no_escape_codes() {
        assert!(colored(true, None));
        assert!(colored(true, Some("")));
        assert!(!colored(true, Some("1")));
        assert!(!colored(false, None));
    }
}
