//! Prints a line every few seconds, so that a long step is visible.

use std::{
    future::Future,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

const EVERY: Duration = Duration::from_secs(10);

/// The progress of a step.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) done: AtomicUsize,
    of: usize,
}

impl Progress {
    pub(crate) const fn of(of: usize) -> Self {
        Self {
            done: AtomicUsize::new(0),
            of,
        }
    }
}

/// Prints a line of the benchmark.
pub(crate) fn say(line: &str) {
    println!("bench: {line}");
}

/// Prints the start of a step, its progress, and its duration.
pub(crate) async fn step<T, E>(
    what: &str,
    progress: &Progress,
    work: impl Future<Output = Result<T, E>>,
) -> Result<(T, Duration), E> {
    let began = Instant::now();
    say(what);
    let mut work = std::pin::pin!(work);
    let result = loop {
        tokio::select! {
            result = &mut work => break result?,
            () = tokio::time::sleep(EVERY) => {
                let done = progress.done.load(Ordering::Relaxed);
                let far = if progress.of > 0 { format!(", {done} of {}", progress.of) } else { String::new() };
                say(&format!("  {} s{far}", began.elapsed().as_secs()));
            }
        }
    };
    let took = began.elapsed();
    say(&format!("  done in {:.1} s", took.as_secs_f64()));
    Ok((result, took))
}
