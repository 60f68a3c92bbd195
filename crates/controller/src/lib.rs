//! The only place that knows a cluster: watch, reconcile, events, metrics.
