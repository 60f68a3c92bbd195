//! Converts `OpenMetrics` to the Prometheus text format 0.0.4, because `prometheus-client` encodes only `OpenMetrics`.
//!
//! The text format has no `# EOF`, no `# UNIT` and no `_created` series. HELP and TYPE name the series, so a counter is
//! `x_total`; an info metric is a gauge. It has no exemplars either, and the controller exports none.

use std::{collections::HashMap, fmt::Write as _};

/// Returns the page in the Prometheus text format.
pub(super) fn from_open_metrics(page: &str) -> String {
    let types: HashMap<&str, &str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .collect();
    let mut text = String::with_capacity(page.len());
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (family, help) = help.split_once(' ').unwrap_or((help, ""));
            let _ = writeln!(text, "# HELP {} {help}", series(family, &types));
        } else if let Some((family, type_)) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let _ = writeln!(text, "# TYPE {} {}", series(family, &types), type_of(type_));
        } else if !line.starts_with('#') && !is_created(line, &types) {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// The name in HELP and TYPE, which is the name of the samples.
fn series(family: &str, types: &HashMap<&str, &str>) -> String {
    let suffix = match types.get(family).copied() {
        Some("counter") => "_total",
        Some("info") => "_info",
        _ => "",
    };
    format!("{family}{suffix}")
}

fn type_of(open_metrics: &str) -> &str {
    match open_metrics {
        "info" | "stateset" => "gauge",
        "unknown" | "gaugehistogram" => "untyped",
        same => same,
    }
}

/// Whether the line is a sample of a `_created` series.
fn is_created(line: &str, types: &HashMap<&str, &str>) -> bool {
    let name = line.split(['{', ' ']).next().unwrap_or_default();
    let family = name.strip_suffix("_created").and_then(|family| types.get(family));
    matches!(family, Some(&("counter" | "histogram" | "summary")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_between_the_formats_is_translated() {
        let page = r##"# HELP a_b Things with a # sign.
# TYPE a_b counter
a_b_total{x="# EOF",y="a } 1"} 3
a_b_created{x="1"} 1.5e9
# HELP wait_seconds Waits.
# TYPE wait_seconds counter
# UNIT wait_seconds seconds
wait_seconds_total 0.5
# HELP took_seconds Times.
# TYPE took_seconds histogram
# UNIT took_seconds seconds
took_seconds_sum 2.0
took_seconds_count 1
took_seconds_bucket{le="0.5"} 0
took_seconds_bucket{le="+Inf"} 1
took_seconds_created 1.5e9
# HELP build Version.
# TYPE build info
build_info{version="1"} 1
# HELP was_created Objects.
# TYPE was_created gauge
was_created 7
# TYPE odd unknown
odd NaN
# EOF
"##;
        let expected = r##"# HELP a_b_total Things with a # sign.
# TYPE a_b_total counter
a_b_total{x="# EOF",y="a } 1"} 3
# HELP wait_seconds_total Waits.
# TYPE wait_seconds_total counter
wait_seconds_total 0.5
# HELP took_seconds Times.
# TYPE took_seconds histogram
took_seconds_sum 2.0
took_seconds_count 1
took_seconds_bucket{le="0.5"} 0
took_seconds_bucket{le="+Inf"} 1
# HELP build_info Version.
# TYPE build_info gauge
build_info{version="1"} 1
# HELP was_created Objects.
# TYPE was_created gauge
was_created 7
# TYPE odd untyped
odd NaN
"##;
        assert_eq!(from_open_metrics(page), expected);
        assert_eq!(from_open_metrics("# EOF\n"), "");
    }
}
