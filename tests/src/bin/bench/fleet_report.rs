//! The rows about fleets of machines.

use crate::{
    fleet::Figures,
    report,
    table::{Rows, count, megabytes, milliseconds, milliseconds_each, ratio, seconds},
};
use serde_json::Value;

/// Limits of docs/benchmarks.md.
const MOST_QUERIES: u64 = 25;
const MOST_GROWTH: u64 = 60_000_000;
const QUOTA_FACTOR: f64 = 1.1;
/// Where the quota sets no floor: 10,000 machines in this time.
const FEW_SECONDS: f64 = 10.0;

impl report::Figures for Figures {
    const PART: &'static str = "machines/subscriptions";

    /// `10k/100`.
    fn column(&self) -> String {
        match self.generated {
            number if number > 0 && number.is_multiple_of(1000) => {
                format!("{}k/{}", number / 1000, self.subscriptions)
            }
            number => format!("{number}/{}", self.subscriptions),
        }
    }

    fn breaches(&self) -> &[Value] {
        &self.breaches
    }

    fn differences(&self) -> &[Value] {
        &self.objects_that_differ
    }

    fn rows(rows: &mut Rows<'_, Self>) {
        rows.section = "FLEET";
        world(rows);
        rows.section = "COUNTS of the first scan: all machines are new";
        first(rows);
        rows.section = "COUNTS of a repeated scan: nothing changed";
        steady(rows);
        rows.section = "TIME";
        times(rows);
        rows.section = "PROCESSOR";
        processor(rows);
        rows.section = "MEMORY of the controller (MB = 1,000,000 bytes)";
        memory(rows);
    }
}

fn world(rows: &mut Rows<'_, Figures>) {
    rows.plain("machines, including instances of scale sets", |f| {
        f.machines.to_string()
    });
    rows.plain("rows of Resource Graph", |f| f.rows.to_string());
    rows.plain("queries needed (plans, pages of 1000 rows)", |f| {
        f.expected_queries.to_string()
    });
    rows.zero("objects whose status differs from the recount", |f| {
        count(f.objects_that_differ.len())
    });
    rows.zero("machines with a different verdict in the metrics", |f| {
        f.machines_that_differ
    });
    rows.zero("scans that failed for a subscription", |f| f.failed_scans);
    rows.zero("queries that the controller miscounted", |f| {
        f.reported_queries.abs_diff(f.seen_queries)
    });
    rows.breaches(|f| &f.breaches);
}

fn first(rows: &mut Rows<'_, Figures>) {
    rows.plain("scans until all subscriptions were scanned", |f| {
        f.first.scans.to_string()
    });
    rows.count(
        "queries",
        "<= 25 (10k)",
        |f| f.first.calls.queries().to_string(),
        |f| f.generated > 10_000 || f.first.calls.queries() <= MOST_QUERIES,
    );
    rows.plain("  rejected by the quota", |f| f.first.calls.refused().to_string());
    rows.plain("direct GETs that confirm machines", |f| {
        f.first.confirmations().to_string()
    });
    rows.plain("GETs of permissions and health reports", |f| {
        f.first.other().to_string()
    });
    rows.zero("unexpected ARM writes", |f| {
        f.first.calls.writes.abs_diff(f.expected_changes)
    });
    rows.plain("status writes per object", |f| {
        format!(
            "{:.2}",
            ratio(f.until_reported.status_writes, count(f.subscriptions))
        )
    });
}

fn steady(rows: &mut Rows<'_, Figures>) {
    rows.count(
        "queries",
        "as needed",
        |f| format!("{:.1}", ratio(f.steady.calls.queries(), f.steady.scans)),
        |f| f.steady.calls.queries() == f.expected_queries * f.steady.scans,
    );
    rows.count(
        "  at 10,000 machines",
        "<= 25 (10k)",
        |f| format!("{:.1}", ratio(f.steady.calls.queries(), f.steady.scans)),
        |f| f.generated > 10_000 || f.steady.calls.queries() <= MOST_QUERIES * f.steady.scans,
    );
    rows.plain("  rejected by the quota", |f| {
        f.steady.calls.refused().to_string()
    });
    rows.plain("direct GETs of machines", |f| {
        f.steady.confirmations().to_string()
    });
    rows.plain("all other requests", |f| {
        let calls = &f.steady.calls;
        let other = calls.total - calls.queries() - f.steady.confirmations();
        format!("{:.1}", ratio(other, f.steady.scans))
    });
    rows.zero("ARM writes", |f| f.steady.calls.writes);
    rows.count(
        "status writes",
        "0",
        |f| f.steady_phase.status_writes.to_string(),
        |f| f.steady_phase.status_writes == 0 && f.steady_phase.versions == 0,
    );
}

fn times(rows: &mut Rows<'_, Figures>) {
    rows.plain("floor: time that the quota needs for these queries", |f| {
        format!("{} s", f.quota_floor_seconds)
    });
    rows.measure(
        "first scan: first query to end",
        "<= 1.1 floors or 10 s",
        |f| seconds(f.first.all_seconds),
        |f| f.first.all_seconds <= allowed(f),
    );
    rows.measure(
        "repeated scan, maximum",
        "<= 1.1 floors or 10 s",
        |f| seconds(f.steady.longest_seconds),
        |f| f.steady.longest_seconds <= allowed(f),
    );
    rows.plain("first scan / floor", |f| floors(f.first.all_seconds, f));
    rows.plain("repeated scan / floor", |f| floors(f.steady.longest_seconds, f));
    rows.plain("a query's answer, mean (with latency)", |f| {
        let queries = ratio(f.first.calls.queries() + f.steady.calls.queries(), 1).max(1.0);
        let answers = f.first.answer_seconds + f.steady.answer_seconds;
        format!("{:.0} ms", 1000.0 * answers / queries)
    });
    rows.plain("process start to all reported", |f| seconds(f.reported_seconds));
    rows.plain("scan interval", |f| format!("{:.0} s", f.scan_every_seconds));
}

fn processor(rows: &mut Rows<'_, Figures>) {
    let scan = |f: &Figures, seconds: f64| seconds / ratio(f.steady.scans, 1).max(1.0);
    rows.plain("controller until all are reported", |f| {
        seconds(f.until_reported.cpu_seconds)
    });
    rows.plain("controller per repeated scan", |f| {
        seconds(scan(f, f.steady_phase.cpu_seconds))
    });
    rows.plain("  per 1000 machines", |f| match f.machines {
        0 => "-".into(),
        machines => {
            let each = milliseconds_each(scan(f, f.steady_phase.cpu_seconds), machines);
            format!("{:.1} ms", 1000.0 * each)
        }
    });
    rows.plain("kube-apiserver per object until all are reported", |f| {
        let used = f.until_reported.cores.of("kube-apiserver");
        milliseconds(milliseconds_each(used, count(f.subscriptions)))
    });
    rows.plain("emulator per repeated scan", |f| {
        seconds(scan(f, f.steady_phase.cores.of("emulator")))
    });
    rows.program("emulator until all are reported", "emulator", |f| {
        &f.until_reported
    });
    rows.noise("until all are reported", |f| &f.until_reported);
    rows.noise("repeated scans", |f| &f.steady_phase);
}

fn memory(rows: &mut Rows<'_, Figures>) {
    rows.peak(
        "peak (VmHWM), at 10,000 machines",
        |f| &f.steady_phase,
        |f| f.generated <= 10_000,
    );
    rows.plain("peak when all are reported", |f| megabytes(f.until_reported.peak));
    rows.plain("resident at the end", |f| megabytes(f.steady_phase.resident));
    let nothing: Vec<(usize, u64)> = rows
        .all
        .iter()
        .filter(|f| f.generated == 0)
        .map(|f| (f.subscriptions, f.steady_phase.peak))
        .collect();
    let growth = |f: &Figures| {
        let same = nothing
            .iter()
            .find(|(subscriptions, _)| *subscriptions == f.subscriptions);
        f.steady_phase
            .peak
            .saturating_sub(same.map_or(0, |(_, peak)| *peak))
    };
    rows.measure(
        "growth of the peak from no machines",
        "<= 60 MB",
        |f| megabytes(growth(f)),
        |f| growth(f) <= MOST_GROWTH,
    );
}

fn allowed(figures: &Figures) -> f64 {
    (QUOTA_FACTOR * ratio(figures.quota_floor_seconds, 1)).max(FEW_SECONDS)
}

fn floors(seconds: f64, figures: &Figures) -> String {
    match figures.quota_floor_seconds {
        0 => "-".into(),
        floor => format!("{:.3}", seconds / ratio(floor, 1)),
    }
}
