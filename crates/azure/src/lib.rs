//! The only place that knows REST: tokens, the ARM client, one file per resource.
