//! All connectors that the identity can see: those of the subscription from ARM, whose word decides, and those of other
//! subscriptions from Resource Graph, as far as it answers.

use std::{sync::Arc, time::Duration};

use serverprotection_core::{
    failure::{Class, Failure},
    security_connector::{account::Known, observed::Connector},
    server_protection::{desired::same_id, observed::Reading},
};

use super::{
    id::ConnectorId,
    kept::{Age, KeepFor},
};
use crate::{
    arm::Arm,
    fleet::{Scanner, Settings},
};

/// Hundreds of connectors of a subscription converge at once: their first visits share one list, which our own writes
/// amend. To drop it with each of them would make a list for each.
const KEEP_LIST: KeepFor = KeepFor {
    success: Duration::from_secs(30),
    failure: Duration::ZERO,
    moment: Duration::from_secs(3),
};
/// A visit that waited for Resource Graph in vain need not be followed by others that do.
const KEEP_ROWS: KeepFor = KeepFor {
    success: Duration::from_secs(30),
    failure: Duration::from_secs(30),
    moment: Duration::from_secs(3),
};
/// A visit does not wait longer for Resource Graph, whose quota may be used up by a scan.
const PATIENCE: Duration = Duration::from_secs(10);

impl Arm {
    /// Every connector that the identity can see. `subscription` is in lower case. Without Resource Graph these are the
    /// subscription's: that another subscription connects the account already, Azure is then left to say (contract.md
    /// 4.2).
    pub(crate) async fn other_connectors(&self, subscription: &str, age: Age) -> Reading<Vec<Known>> {
        let (lists, rows) = (&self.shared.lists, &self.shared.rows);
        // Boxed: a visit seldom asks, and its future would hold room for all of this.
        let list = Box::pin(lists.get(subscription, KEEP_LIST, age, self.known_here(subscription)));
        let rows = Box::pin(rows.get("", KEEP_ROWS, age, self.known_everywhere()));
        let (list, rows) = tokio::join!(list, rows);
        let mut known = Arc::unwrap_or_clone(list?);
        let here = format!("subscriptions/{subscription}/");
        let is_elsewhere = |row: &&Known| {
            let id = row.id.trim_start_matches('/').to_lowercase();
            !id.starts_with(&here)
        };
        known.extend(
            rows.iter()
                .flat_map(|rows| rows.iter())
                .filter(is_elsewhere)
                .cloned(),
        );
        Ok(known)
    }

    /// The list without the connector of this id, and with it as it was written.
    pub(super) async fn amend_list(&self, id: &ConnectorId, written: Option<&Connector>) {
        let text = id.text();
        let amend = |list: &mut Vec<Known>| {
            list.retain(|known| !same_id(&known.id, &text));
            list.extend(written.map(|connector| Known {
                id: text.clone(),
                ..Known::from(connector)
            }));
        };
        self.shared.lists.amend(&id.subscription, amend).await;
    }

    async fn known_here(&self, subscription: &str) -> Reading<Vec<Known>> {
        let found = self.list_connectors(subscription).await?;
        Ok(found.iter().map(Known::from).collect())
    }

    async fn known_everywhere(&self) -> Reading<Vec<Known>> {
        let new = || Scanner::new(Arc::new(self.companion()), Settings::default());
        let scanner = self.shared.scanner.get_or_init(new);
        let rows = tokio::time::timeout(PATIENCE, scanner.known_connectors(None)).await;
        let rows = rows.unwrap_or_else(|_| Err(too_late()));
        if let Err(failure) = &rows {
            tracing::warn!(%failure, "connectors of other subscriptions are not known");
        }
        rows
    }
}

fn too_late() -> Failure {
    Failure {
        class: Class::Transient,
        code: "Timeout".into(),
        message: "Resource Graph did not answer in time".into(),
        operation: "POST resources (connectors)".into(),
        request_id: None,
        effect_unknown: false,
    }
}
