//! The claims of a kind.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serverprotection_core::claims::ClaimIndex;

/// The claim index behind its lock, which is never held across an await.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    index: Mutex<ClaimIndex>,
}

impl Claims {
    pub(crate) fn index(&self) -> MutexGuard<'_, ClaimIndex> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
