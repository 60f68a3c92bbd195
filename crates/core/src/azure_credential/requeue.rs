//! When a token is requested again.

use std::time::Duration;

use super::history::ReconcileHistory;
use crate::{azure_error::AzureError, retry};

/// The interval of a credential that works. Tokens are valid for an hour or longer and are shared with the objects that
/// use the credential, so only one that no object uses costs a request in each interval.
const INTERVAL: Duration = Duration::from_secs(3600);

/// The first retry of a refused credential; later ones double. What it needs often appears moments after it: a Secret that
/// another operator writes, or a federated credential that Entra distributes.
const FIRST_RETRY: Duration = Duration::from_secs(20);

/// The delay until the next attempt. `slow` is the retry interval for errors that need user action; `jitter` is between
/// 0 and 1.
pub fn requeue_after(
    token: &Result<(), AzureError>,
    history: ReconcileHistory,
    slow: Duration,
    jitter: f64,
) -> Duration {
    match token {
        Ok(()) => retry::spread(INTERVAL, jitter),
        Err(failure) if failure.class.is_transient() => {
            retry::after(&failure.class, history.failures.max(1), slow, jitter)
        }
        Err(_) => retry::spread(retry::doubled(FIRST_RETRY, history.refusals, slow), jitter),
    }
}
