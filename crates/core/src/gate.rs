//! The one door to writes. A `WritePermit` is made here and nowhere else; everything that writes to Azure asks for one
//! and checks it again before each write.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serverprotection_api::Mode;

/// Whether this process may write at all. Closed once (shutdown, later a lost lease), it stays closed.
#[derive(Clone, Debug)]
pub struct Gate {
    open: Arc<AtomicBool>,
}

/// The right to make the changes of one decision. Cannot be built outside this module.
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

    /// Ends every permit that was given out.
    pub fn close(&self) {
        self.open.store(false, Ordering::SeqCst);
    }

    /// A permit, when the object's own wish (mode, suspend) and the process allow writes.
    pub fn permit(&self, mode: Mode, suspended: bool) -> Option<WritePermit> {
        (mode == Mode::Enforce && !suspended && self.open.load(Ordering::SeqCst)).then(|| WritePermit {
            open: Arc::clone(&self.open),
        })
    }
}

impl WritePermit {
    /// Whether it still holds; asked right before each write.
    pub fn holds(&self) -> bool {
        self.open.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_enforce_and_awake_may_write() {
        let gate = Gate::open();
        assert!(gate.permit(Mode::Enforce, false).is_some());
        assert!(gate.permit(Mode::Observe, false).is_none());
        assert!(gate.permit(Mode::Enforce, true).is_none());
    }

    #[test]
    fn closing_ends_permits_that_are_out() {
        let gate = Gate::open();
        let permit = gate.permit(Mode::Enforce, false).unwrap();
        gate.close();
        assert!(!permit.holds());
        assert!(gate.permit(Mode::Enforce, false).is_none());
    }
}
