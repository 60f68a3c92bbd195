//! Progress on standard error: one line that is redrawn on a terminal, otherwise a new line every few seconds.

use std::{
    io::{IsTerminal as _, Write as _},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use serverprotection_azure::fleet;

use crate::printable;

/// Interval between lines without a terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows progress and writes other lines to standard error.
pub(crate) struct Progress {
    show: Show,
    notes: bool,
    /// Whether standard output is a terminal too.
    shared: bool,
}

enum Show {
    Nothing,
    Bar(ProgressBar),
    Lines(Mutex<Instant>),
}

impl Progress {
    pub(crate) fn new(progress: bool, notes: bool) -> Self {
        let show = match () {
            () if !progress => Show::Nothing,
            () if std::io::stderr().is_terminal() => {
                let bar = ProgressBar::new_spinner();
                if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} [{elapsed}]") {
                    bar.set_style(style);
                }
                bar.set_message("listing subscriptions");
                bar.enable_steady_tick(Duration::from_millis(120));
                Show::Bar(bar)
            }
            () => Show::Lines(Mutex::new(Instant::now())),
        };
        Self {
            show,
            notes,
            shared: std::io::stdout().is_terminal(),
        }
    }

    /// Shows the progress of the scan.
    pub(crate) fn update(&self, progress: &fleet::Progress) {
        let words = || {
            let (done, all) = progress.subscriptions;
            format!(
                "{done} of {all} subscriptions, {} machines, {} pages",
                progress.machines, progress.pages
            )
        };
        match &self.show {
            Show::Nothing => {}
            Show::Bar(bar) => bar.set_message(words()),
            Show::Lines(last) => {
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                if last.elapsed() >= LINE_EVERY {
                    *last = Instant::now();
                    self.line(&words());
                }
            }
        }
    }

    /// Writes a note, unless `--quiet` is set.
    pub(crate) fn note(&self, text: &str) {
        if self.notes {
            self.line(&format!("note: {text}"));
        }
    }

    /// Writes a line, even with `--quiet`.
    pub(crate) fn line(&self, text: &str) {
        self.lines(&format!("serverprotection: {text}\n"));
    }

    /// Writes lines. Ignores errors: there is no other place to report them.
    pub(crate) fn lines(&self, text: &str) {
        let text = printable::text(text);
        let write = || {
            let _ = std::io::stderr().write_all(text.as_bytes());
        };
        match &self.show {
            Show::Bar(bar) => bar.suspend(write),
            _ => write(),
        }
    }

    /// Writes to standard output without disturbing the progress line.
    pub(crate) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.show {
            // Only if they share a terminal: otherwise a pager that does not read would freeze the progress line.
            Show::Bar(bar) if self.shared => bar.suspend(write),
            _ => write(),
        }
    }

    /// Removes the progress line.
    pub(crate) fn end(&self) {
        if let Show::Bar(bar) = &self.show {
            bar.finish_and_clear();
        }
    }
}
