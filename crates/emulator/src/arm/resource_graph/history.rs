//! Former states of subscriptions: the index shows changes late (`graphLag`).

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;

use crate::state::Subscription;

/// Former states, each with the time until which it was current, oldest first.
#[derive(Debug, Default)]
pub(crate) struct History(HashMap<String, Vec<(Timestamp, Subscription)>>);

impl History {
    /// Stores the state before a change; drops states that the index can no longer show.
    pub(crate) fn keep(&mut self, former: Subscription, now: Timestamp, lag: Duration) {
        let past = self.0.entry(former.id.clone()).or_default();
        past.retain(|(until, _)| *until > before(now, lag));
        past.push((now, former));
    }

    /// The state at a time, unless it is the current one.
    pub(super) fn at(&self, subscription: &str, at: Timestamp) -> Option<&Subscription> {
        let past = self.0.get(subscription)?;
        past.iter()
            .find(|(until, _)| *until > at)
            .map(|(_, subscription)| subscription)
    }
}

/// The time that the index shows.
pub(crate) fn before(now: Timestamp, lag: Duration) -> Timestamp {
    now.checked_sub(lag).unwrap_or(Timestamp::UNIX_EPOCH)
}
