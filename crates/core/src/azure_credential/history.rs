//! What a process keeps in memory about an `AzureCredential`.

use crate::azure_error::AzureError;

/// Lost in a restart, which costs one token request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReconcileHistory {
    /// Consecutive transient errors.
    pub failures: u32,
    /// Consecutive errors that need user action.
    pub refusals: u32,
}

impl ReconcileHistory {
    /// After another attempt to get a token.
    #[must_use]
    pub fn after(self, token: &Result<(), AzureError>) -> Self {
        match token {
            Ok(()) => Self::default(),
            Err(failure) if failure.class.is_transient() => Self {
                failures: self.failures.saturating_add(1),
                refusals: 0,
            },
            Err(_) => Self {
                failures: 0,
                refusals: self.refusals.saturating_add(1),
            },
        }
    }
}
