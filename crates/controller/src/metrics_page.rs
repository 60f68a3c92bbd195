//! The metrics page: sets the gauges from the state of all objects at each scrape.

use std::sync::Arc;

use serverprotection_api::{AzureCredential, SecurityConnector, ServerProtection};

use crate::{clock::now, context::Context, kind::Kind, metrics::Format};

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
        let objects = [
            (ServerProtection::NAME, context.protections.states.counts(now)),
            (SecurityConnector::NAME, context.connectors.states.counts(now)),
            (
                AzureCredential::NAME,
                context.azure_credentials.states.counts(now),
            ),
        ];
        context.metrics.page(format, &objects, &context.fleet.gauges())
    }
}
