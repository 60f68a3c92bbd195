//! The metrics of the controller: names, types, labels and texts, as plain data. The controller registers its metrics
//! from this table, and `docs/metrics.md` is generated from it. The table is in this crate because its labels take their
//! values from here (verdicts, environments, reasons), and because `xtask` depends on this crate and not on the controller.

mod reasons;
mod table;

pub use reasons::{OTHER, bounded_reason, reasons};
pub use table::*;

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A number that only rises.
    Counter,
    /// A number that rises and falls.
    Gauge,
    /// Observations in buckets.
    Histogram,
    /// A constant 1 with labels: a gauge in the Prometheus text format.
    Info,
}

impl Type {
    /// As the Prometheus text format spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge | Self::Info => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A label of a metric.
#[derive(Clone, Copy, Debug)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// Its values.
    pub values: &'static str,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The name in the Prometheus text format and in queries: with unit and, for a counter, with `_total`.
    pub name: &'static str,
    /// Its type.
    pub type_: Type,
    /// The HELP text, without a full stop: the encoder adds one.
    pub help: &'static str,
    /// Its labels.
    pub labels: &'static [Label],
    /// What else to know about it, for the documentation; may be empty.
    pub notes: &'static str,
}

impl Metric {
    /// The name of the metric family in `OpenMetrics`, where `_total` and `_info` belong to the samples.
    pub fn family(&self) -> &'static str {
        let suffix = match self.type_ {
            Type::Counter => "_total",
            Type::Info => "_info",
            Type::Gauge | Type::Histogram => "",
        };
        self.name.strip_suffix(suffix).unwrap_or(self.name)
    }
}

/// Metrics that belong together.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Its title.
    pub title: &'static str,
    /// Its metrics.
    pub metrics: &'static [Metric],
}

/// Every metric.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    SECTIONS.iter().flat_map(|section| section.metrics)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_follow_the_rules_of_prometheus() {
        let mut seen = BTreeSet::new();
        for metric in all() {
            let name = metric.name;
            assert!(seen.insert(name), "{name} is there twice");
            assert!(name.starts_with("serverprotection_"), "{name}");
            assert!(
                name.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
                "{name} is not in snake case"
            );
            assert_eq!(metric.type_ == Type::Counter, name.ends_with("_total"), "{name}");
            assert_eq!(metric.type_ == Type::Info, name.ends_with("_info"), "{name}");
            for reserved in ["_count", "_sum", "_bucket", "_created"] {
                assert!(!name.ends_with(reserved), "{name}");
            }
            for unit in ["_percent", "_milliseconds", "_ms", "_minutes"] {
                assert!(!metric.family().ends_with(unit), "{name} has no base unit");
            }
            assert!(!metric.help.is_empty() && !metric.help.ends_with('.'), "{name}");
            assert!(!metric.help.contains(['\n', '\\', '"']), "{name}");
        }
    }
}
