//! The metrics page: sets the gauges from the state of all objects at each scrape.

use std::sync::Arc;

use serverprotection_api::{AzureCredential, ClusterAzureCredential, SecurityConnector, ServerProtection};

use crate::{
    clock::now,
    context::Context,
    kind::Kind,
    metrics::{Format, ObjectCounts},
};

/// What `/metrics` serves.
#[derive(Clone)]
pub(crate) struct MetricsPage {
    context: Arc<Context>,
}

impl MetricsPage {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    /// The page in this format.
    pub(crate) fn text(&self, format: Format) -> String {
        let (context, now) = (&*self.context, now());
        let leads = context.gate.is_open();
        // The leader counts the objects. A standby knows their status only as it was when it listed them.
        let counts = |counts: &dyn Fn() -> ObjectCounts| {
            if leads { counts() } else { ObjectCounts::default() }
        };
        let objects = [
            (
                ServerProtection::NAME,
                counts(&|| context.protections.states.counts(now)),
            ),
            (
                SecurityConnector::NAME,
                counts(&|| context.connectors.states.counts(now)),
            ),
            (
                AzureCredential::NAME,
                counts(&|| context.azure_credentials.states.counts(now)),
            ),
            (
                ClusterAzureCredential::NAME,
                context.cluster_azure_credentials.states.counts(now),
            ),
        ];
        context
            .metrics
            .page(format, leads, &objects, &context.fleet.gauges())
    }
}
