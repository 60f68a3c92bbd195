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

    /// Returns a permit if both the object (mode, suspend) and the process allow writes.
    pub fn permit(&self, mode: Mode, suspended: bool) -> Option<WritePermit> {
        (mode == Mode::Enforce && !suspended && self.open.load(Ordering::SeqCst)).then(|| WritePermit {
            open: Arc::clone(&self.open),
        })
    }
}

impl WritePermit {
    /// Whether the permit is still valid; checked right before each write.
    pub fn holds(&self) -> bool {
        self.open.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_enforce_without_suspend_may_write() {
        let gate = Gate::open();
        assert!(gate.permit(Mode::Enforce, false).is_some());
        assert!(gate.permit(Mode::Observe, false).is_none());
        assert!(gate.permit(Mode::Enforce, true).is_none());
    }

    #[test]
    fn closing_revokes_permits() {
        let gate = Gate::open();
        let permit = gate.permit(Mode::Enforce, false).unwrap();
        gate.close();
        assert!(!permit.holds());
        assert!(gate.permit(Mode::Enforce, false).is_none());
    }
}
