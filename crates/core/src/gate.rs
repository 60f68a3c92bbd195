//! The gate decides whether this process may write at all. Only this module creates a `WritePermit`; every write to
//! Azure needs one and checks it again right before the request.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use serverprotection_api::Mode;

/// Whether this process may write at all. Once closed (on shutdown or a lost lease), it stays closed. Clones share it.
#[derive(Clone, Debug)]
pub struct Gate {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    closed: AtomicBool,
    /// When the lease of this process ends unless it is renewed; `None` before the first renewal.
    leased_until: Mutex<Option<Instant>>,
    /// A monotonic clock; `None` if the process needs no lease.
    clock: Option<fn() -> Instant>,
}

impl Shared {
    fn is_open(&self) -> bool {
        if self.closed.load(Ordering::SeqCst) {
            return false;
        }
        let Some(clock) = self.clock else { return true };
        let until = *self.leased_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| clock() < until)
    }
}

/// The right to make the changes of one decision. It cannot be constructed outside this module.
#[derive(Clone, Debug)]
pub struct WritePermit {
    shared: Arc<Shared>,
    correlation_id: String,
}

impl Gate {
    /// A gate that is open until it is closed, for a process that needs no lease.
    pub fn open() -> Self {
        Self::new(None)
    }

    /// A gate that is open only while the lease of the process holds by this monotonic clock. The clock is read again
    /// for each question, so that a process that was stopped for a while finds its lease expired.
    pub fn leased(clock: fn() -> Instant) -> Self {
        Self::new(Some(clock))
    }

    fn new(clock: Option<fn() -> Instant>) -> Self {
        Self {
            shared: Arc::new(Shared {
                closed: AtomicBool::new(false),
                leased_until: Mutex::default(),
                clock,
            }),
        }
    }

    /// The lease was renewed and holds until then.
    pub fn renewed(&self, until: Instant) {
        *self
            .shared
            .leased_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// Whether this process may write now.
    pub fn is_open(&self) -> bool {
        self.shared.is_open()
    }

    /// Closes the gate, which revokes every permit.
    pub fn close(&self) {
        self.shared.closed.store(true, Ordering::SeqCst);
    }

    /// Returns a permit if the object holds its claim, its mode and `suspend` allow writes, and the process may write.
    /// The correlation id is that of `status.pendingOperation`.
    pub fn permit(
        &self,
        holds_claim: bool,
        mode: Mode,
        suspended: bool,
        correlation_id: &str,
    ) -> Option<WritePermit> {
        let object = holds_claim && mode == Mode::Enforce && !suspended;
        (object && self.is_open()).then(|| WritePermit {
            shared: Arc::clone(&self.shared),
            correlation_id: correlation_id.to_owned(),
        })
    }
}

impl WritePermit {
    /// Whether the permit is still valid; checked right before each write.
    pub fn holds(&self) -> bool {
        self.shared.is_open()
    }

    /// The id that is sent to Azure with each write.
    pub fn correlation_id(&self) -> &str {
        &self.correlation_id
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, time::Duration};

    use super::*;

    thread_local! {
        static NOW: Cell<Option<Instant>> = const { Cell::new(None) };
    }

    fn clock() -> Instant {
        NOW.get().unwrap()
    }

    #[test]
    fn only_enforce_with_a_claim_and_without_suspend_may_write() {
        let gate = Gate::open();
        assert!(gate.permit(true, Mode::Enforce, false, "c").is_some());
        assert!(gate.permit(false, Mode::Enforce, false, "c").is_none());
        assert!(gate.permit(true, Mode::Observe, false, "c").is_none());
        assert!(gate.permit(true, Mode::Enforce, true, "c").is_none());
    }

    #[test]
    fn closing_revokes_permits() {
        let gate = Gate::open();
        let permit = gate.permit(true, Mode::Enforce, false, "c").unwrap();
        gate.close();
        assert!(!permit.holds());
        assert!(gate.permit(true, Mode::Enforce, false, "c").is_none());
    }

    #[test]
    fn a_permit_ends_with_the_lease_by_the_clock_alone() {
        let start = Instant::now();
        NOW.set(Some(start));
        let gate = Gate::leased(clock);
        assert!(
            gate.permit(true, Mode::Enforce, false, "c").is_none(),
            "no lease yet"
        );
        gate.renewed(start + Duration::from_secs(10));
        let permit = gate.permit(true, Mode::Enforce, false, "c").unwrap();
        NOW.set(Some(start + Duration::from_secs(9)));
        assert!(permit.holds());
        // Nothing told the gate: the process was stopped.
        NOW.set(Some(start + Duration::from_secs(10)));
        assert!(!permit.holds());
        assert!(!gate.is_open());
        gate.renewed(start + Duration::from_secs(20));
        assert!(permit.holds());
        gate.close();
        gate.renewed(start + Duration::from_secs(30));
        assert!(!permit.holds(), "closed for good");
    }
}
