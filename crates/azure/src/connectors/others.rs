//! All connectors that the identity can see: those of the subscription from ARM, those of other subscriptions from
//! Resource Graph.

use std::{sync::Arc, time::Duration};

use serverprotection_core::{security_connector::account::Known, server_protection::observed::Reading};

use super::kept::{KeepFor, Kept};
use crate::arm::Arm;

/// Hundreds of connectors of a subscription converge at once: their first visits share one list. It may be older than a
/// connector that was just created; whether that is one of ours, the claims tell.
const KEEP_LIST: KeepFor = KeepFor {
    success: Duration::from_secs(30),
    failure: Duration::ZERO,
};

/// Lists of a moment ago, by subscription.
#[derive(Debug, Default)]
pub(crate) struct Others {
    here: Kept<Vec<Known>>,
}

impl Others {
    /// A connector of the subscription is gone, and must not stand in the way of its successor.
    pub(crate) fn forget(&self, subscription: &str) {
        self.here.forget(subscription);
    }
}

impl Arm {
    /// Every connector that the identity can see. `subscription` is in lower case.
    pub(crate) async fn other_connectors(&self, subscription: &str) -> Reading<Vec<Known>> {
        let list = async {
            let found = self.list_connectors(subscription).await?;
            Ok(found.iter().map(Known::from).collect())
        };
        let here = self.others.here.get(subscription, KEEP_LIST, list).await?;
        Ok(Arc::unwrap_or_clone(here))
    }
}
