//! The gate decides whether this process may write at all. Only this module creates a `WritePermit`; every write to
//! Azure needs one and checks it again right before the request.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serverprotection_api::Mode;

/// Whether this process may write at all. Once closed (on shutdown or a lost lease), it stays closed.
#[derive(Clone, Debug)]
pub struct Gate {
    open: Arc<AtomicBool>,
}

/// The right to make the changes of one decision. It cannot be constructed outside this module.
#[derive(Clone, Debug)]
pub struct WritePermit {
    open: Arc<AtomicBool>,
    correlation_id: String,
}

impl Gate {
    /// An open gate.
    pub fn open() -> Self {
        Self {
            open: Arc::new(AtomicBool::new(true)),
        }
    }

    /// Closes the gate, which revokes every permit.
    pub fn close(&self) {
        self.open.store(false, Ordering::SeqCst);
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
        (object && self.open.load(Ordering::SeqCst)).then(|| WritePermit {
            open: Arc::clone(&self.open),
            correlation_id: correlation_id.to_owned(),
        })
    }
}

impl WritePermit {
    /// Whether the permit is still valid; checked right before each write.
    pub fn holds(&self) -> bool {
        self.open.load(Ordering::SeqCst)
    }

    /// The id that is sent to Azure with each write.
    pub fn correlation_id(&self) -> &str {
        &self.correlation_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
