//! The times of a case: how long after a moment, such as a commit, something was seen.

use serverprotection_tests::{Error, wait::eventually};
use std::{
    fmt::Display,
    time::{Duration, Instant},
};

/// Collects the times of a case and prints them at its end, also when it fails.
pub(crate) struct Steps {
    case: &'static str,
    since: Instant,
    lines: Vec<String>,
}

impl Steps {
    pub(crate) fn of(case: &'static str) -> Self {
        Self {
            case,
            since: Instant::now(),
            lines: Vec::new(),
        }
    }

    /// Begins to measure from now on, with this event.
    pub(crate) fn begin(&mut self, what: &str) {
        self.since = Instant::now();
        self.lines.push(what.to_owned());
    }

    /// Notes that something was seen now.
    pub(crate) fn seen(&mut self, what: &str) {
        let line = format!("  {:6.1} s  {what}", self.since.elapsed().as_secs_f64());
        self.lines.push(line);
    }

    /// Notes a result that is no time.
    pub(crate) fn note(&mut self, what: &str) {
        self.lines.push(format!("            {what}"));
    }

    /// Waits until `attempt` returns `Ok`, and notes when.
    pub(crate) async fn until<T, E, F, A>(&mut self, what: &str, attempt: F) -> Result<T, Error>
    where
        E: Display,
        F: FnMut() -> A,
        A: Future<Output = Result<T, E>>,
    {
        self.until_within(crate::TIMEOUT, what, attempt).await
    }

    /// The same, for at most this long.
    pub(crate) async fn until_within<T, E, F, A>(
        &mut self,
        limit: Duration,
        what: &str,
        attempt: F,
    ) -> Result<T, Error>
    where
        E: Display,
        F: FnMut() -> A,
        A: Future<Output = Result<T, E>>,
    {
        let value = eventually(what, limit, attempt).await?;
        self.seen(what);
        Ok(value)
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        println!("\n{}:\n  {}", self.case, self.lines.join("\n  "));
    }
}

/// Fails with this text unless it holds.
pub(crate) fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Error> {
    if holds {
        Ok(())
    } else {
        Err(Error::Other(otherwise()))
    }
}
