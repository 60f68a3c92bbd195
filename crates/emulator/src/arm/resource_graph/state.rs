//! What the service keeps besides the cloud.

use jiff::Timestamp;

use super::{history::History, pages::Pages};
use crate::state::{Subscription, World};

/// Results by token, and former states of subscriptions.
#[derive(Debug, Default)]
pub struct Graph {
    pub(super) pages: Pages,
    pub(super) history: History,
}

impl Graph {
    /// Resets everything.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Stores the state of a subscription before a change, for a lagging index.
    pub(crate) fn changed(&mut self, world: &World, former: Subscription) {
        let lag = world.knobs.graph_lag;
        if !lag.is_zero() {
            self.history.keep(former, Timestamp::now(), lag);
        }
    }
}
