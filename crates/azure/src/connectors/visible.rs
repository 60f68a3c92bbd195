//! All connectors that the identity can see: those of the subscription from Azure Resource Manager, which is
//! authoritative, and those of other subscriptions from Resource Graph, if it responds.

use std::{sync::Arc, time::Duration};

use serverprotection_core::{
    arm_id::same_id,
    azure_error::{AzureError, ErrorClass},
    reading::ReadResult,
    security_connector::{account::ListedConnector, observed::Connector},
};

use super::{
    id::ConnectorId,
    single_flight::{MaxAge, Ttl},
};
use crate::principal::Session;

/// The first reconciles of hundreds of connectors share one list. Our own writes amend it, because invalidating it
/// would cost one list for each write.
const KEEP_LIST: Ttl = Ttl {
    success: Duration::from_secs(30),
    failure: Duration::ZERO,
    fresh_for: Duration::from_secs(3),
};
/// A failure is cached too, so that not every reconcile waits for an unavailable Resource Graph.
const KEEP_ROWS: Ttl = Ttl {
    success: Duration::from_secs(30),
    failure: Duration::from_secs(30),
    fresh_for: Duration::from_secs(3),
};
/// How long a reconcile waits for Resource Graph, whose quota a scan may have used up.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Session {
    /// Every connector that the identity can see. `subscription` is in lower case. Without Resource Graph only those of
    /// the subscription; then Azure refuses a second connector of an account (docs/azure-api.md 4.2).
    pub(crate) async fn other_connectors(
        &self,
        subscription: &str,
        age: MaxAge,
    ) -> ReadResult<Vec<ListedConnector>> {
        let (lists, rows) = (&self.principal.connectors.lists, &self.principal.connectors.rows);
        // Boxed, because the future of every reconcile would otherwise reserve memory for this rare case.
        let list = Box::pin(lists.get(
            subscription,
            KEEP_LIST,
            age,
            self.list_in_subscription(subscription),
        ));
        let rows = Box::pin(rows.get("", KEEP_ROWS, age, self.list_in_tenant()));
        let (list, rows) = tokio::join!(list, rows);
        let mut known = Arc::unwrap_or_clone(list?);
        let here = format!("subscriptions/{subscription}/");
        let is_elsewhere = |row: &&ListedConnector| {
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

    /// Replaces the connector in the cached list, or removes it.
    pub(super) async fn amend_list(&self, id: &ConnectorId, written: Option<&Connector>) {
        let text = id.text();
        let amend = |list: &mut Vec<ListedConnector>| {
            list.retain(|known| !same_id(&known.id, &text));
            list.extend(written.map(|connector| ListedConnector {
                id: text.clone(),
                ..ListedConnector::from(connector)
            }));
        };
        self.principal
            .connectors
            .lists
            .amend(&id.subscription, amend)
            .await;
    }

    async fn list_in_subscription(&self, subscription: &str) -> ReadResult<Vec<ListedConnector>> {
        self.arm.list_connectors(subscription).await
    }

    async fn list_in_tenant(&self) -> ReadResult<Vec<ListedConnector>> {
        let rows = self.principal.scanner.known_connectors(&self.arm, None);
        let rows = tokio::time::timeout(TIMEOUT, rows).await;
        let rows = rows.unwrap_or_else(|_| Err(timed_out()));
        if let Err(failure) = &rows {
            tracing::warn!(error = %failure, "connectors of other subscriptions could not be listed");
        }
        rows
    }
}

fn timed_out() -> AzureError {
    AzureError {
        class: ErrorClass::Transient,
        code: "Timeout".into(),
        message: "Resource Graph did not respond in time".into(),
        operation: "POST resources (connectors)".into(),
        request_id: None,
        effect_unknown: false,
    }
}
