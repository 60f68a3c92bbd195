//! Catches panics, so that a bug ends one reconcile or one task and nothing else. Shared state stays usable: its locks
//! ignore poisoning, and permits and reservations are released when they are dropped.

use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
};

use futures::FutureExt;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use serverprotection_core::{azure_error::ErrorClass, metrics, retry};
use tracing::Span;

use crate::series::{KindLabel, register};

#[cfg(not(panic = "unwind"))]
compile_error!("the controller catches panics of single objects: build it with panic = \"unwind\"");

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TaskLabel {
    task: &'static str,
}

/// Counts the panics that were caught. Clones share their counters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Panics {
    reconciles: Family<KindLabel, Counter>,
    tasks: Family<TaskLabel, Counter>,
}

/// A background task.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Task {
    /// One scan of the machines.
    MachineScan,
    /// The schedule of the scans.
    ScanSchedule,
    /// The handler of watch events.
    WatchEvent,
    /// The checks of the admission policies.
    PolicyCheck,
}

impl Task {
    const ALL: [Self; 4] = [
        Self::MachineScan,
        Self::ScanSchedule,
        Self::WatchEvent,
        Self::PolicyCheck,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::MachineScan => "machine_scan",
            Self::ScanSchedule => "scan_schedule",
            Self::WatchEvent => "watch_event",
            Self::PolicyCheck => "policy_check",
        }
    }

    const fn label(self) -> TaskLabel {
        TaskLabel { task: self.as_str() }
    }
}

impl Panics {
    /// Creates every series at the start, so that an alert on an increase does not miss the first panic.
    pub(crate) fn register(&self, registry: &mut Registry) {
        for kind in [
            "ServerProtection",
            "SecurityConnector",
            "AzureCredential",
            "ClusterAzureCredential",
        ] {
            drop(self.reconciles.get_or_create(&KindLabel { kind }));
        }
        for task in Task::ALL {
            drop(self.tasks.get_or_create(&task.label()));
        }
        register(registry, &metrics::RECONCILE_PANICS, self.reconciles.clone());
        register(registry, &metrics::TASK_PANICS, self.tasks.clone());
    }

    /// Counts a panic of a reconcile of this kind.
    pub(crate) fn count_reconcile(&self, kind: &'static str) {
        self.reconciles.get_or_create(&KindLabel { kind }).inc();
    }

    /// Counts a panic of a task.
    pub(crate) fn count_task(&self, task: Task) {
        self.tasks.get_or_create(&task.label()).inc();
    }

    /// Handles a watch event in this span. A panic is logged and counted, and does not affect the next event.
    pub(crate) fn event(&self, span: &Span, handle: impl FnOnce()) {
        let _entered = span.enter();
        if let Err(panic) = caught_now(handle) {
            self.count_task(Task::WatchEvent);
            tracing::error!(
                panic,
                "internal error: watch event handler panicked; please report"
            );
        }
    }

    /// Runs a task until it ends, and restarts it with backoff if it panics.
    pub(crate) async fn restarted<F: Future<Output = ()>>(&self, task: Task, start: impl Fn() -> F) {
        let mut attempts = 0_u32;
        while let Err(panic) = caught(start()).await {
            self.count_task(task);
            attempts = attempts.saturating_add(1);
            let wait = retry::after(
                &ErrorClass::Transient,
                attempts,
                retry::LONGEST_RETRY_AFTER,
                fastrand::f64(),
            );
            tracing::error!(
                task = task.as_str(),
                panic,
                retry_in_seconds = wait.as_secs_f64(),
                "internal error: task panicked; restarting; please report"
            );
            tokio::time::sleep(wait).await;
        }
    }
}

/// Returns the result of a future.
///
/// # Errors
///
/// Returns the panic message if the future panics.
pub(crate) async fn caught<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let ended = AssertUnwindSafe(work).catch_unwind().await;
    ended.map_err(|payload| message(payload.as_ref()))
}

fn caught_now<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| message(payload.as_ref()))
}

/// Returns the message of a panic.
pub(crate) fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into())
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU32, Ordering},
        time::Duration,
    };

    use prometheus_client::encoding::text::encode;

    use super::*;

    #[tokio::test]
    async fn a_panic_before_or_after_an_await_is_caught_with_its_message() {
        assert_eq!(caught(async { 7 }).await, Ok(7));
        let before: Result<(), _> = caught(async { panic!("at once") }).await;
        assert_eq!(before, Err("at once".into()));
        let after: Result<(), _> = caught(async {
            tokio::task::yield_now().await;
            let numbers = [1_u64, 2];
            let at = numbers.len();
            assert_eq!(numbers.iter().sum::<u64>(), 4, "of {at}");
        })
        .await;
        assert!(after.unwrap_err().contains("of 2"));
        let odd: Result<(), _> = caught(async { std::panic::panic_any(7) }).await;
        assert_eq!(odd, Err("no message".into()));
    }

    #[tokio::test]
    async fn a_task_that_panics_is_restarted_after_a_delay() {
        let (panics, starts) = (Panics::default(), AtomicU32::new(0));
        let began = tokio::time::Instant::now();
        let start = || async {
            assert!(starts.fetch_add(1, Ordering::Relaxed) >= 1, "not yet");
        };
        panics.restarted(Task::ScanSchedule, start).await;
        assert_eq!(starts.load(Ordering::Relaxed), 2);
        assert!(
            began.elapsed() > Duration::from_millis(850),
            "{:?}",
            began.elapsed()
        );
    }

    #[test]
    fn an_event_handler_that_panics_is_counted_and_the_next_event_is_handled() {
        let mut registry = Registry::default();
        let (panics, mut handled) = (Panics::default(), 0);
        panics.register(&mut registry);
        let span = Span::none();
        panics.event(&span, || panic!("cannot be handled"));
        panics.event(&span, || handled += 1);
        panics.count_reconcile("SecurityConnector");
        assert_eq!(handled, 1);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            r#"serverprotection_task_panics_total{task="watch_event"} 1"#,
            r#"serverprotection_task_panics_total{task="machine_scan"} 0"#,
            r#"serverprotection_reconcile_panics_total{kind="SecurityConnector"} 1"#,
            r#"serverprotection_reconcile_panics_total{kind="ServerProtection"} 0"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
