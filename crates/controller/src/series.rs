//! How metrics are registered, and the label that most of them share.

use prometheus_client::{
    encoding::EncodeLabelSet,
    registry::{Metric, Registry, Unit},
};
use serverprotection_core::metrics;

/// The kind of an object.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct KindLabel {
    pub(crate) kind: &'static str,
}

/// Registers a metric with the name and the HELP text of the table.
pub(crate) fn register(registry: &mut Registry, entry: &metrics::Metric, metric: impl Metric) {
    let family = entry.family();
    match family.strip_suffix("_seconds") {
        Some(name) => registry.register_with_unit(name, entry.help, Unit::Seconds, metric),
        None => registry.register(family, entry.help, metric),
    }
}
