//! A mutex that ignores poisoning, so that the emulator of a test run keeps working after a panic.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A value behind a mutex. Never hold the guard across an await.
#[derive(Debug, Default)]
pub struct Shared<T>(Mutex<T>);

impl<T> Shared<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Locks it, even after a panic of another holder.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
