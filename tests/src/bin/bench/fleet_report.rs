//! The rows about fleets of machines.

use crate::{
    fleet::Figures,
    table::{Row, Rows, megabytes, ratio},
};

/// Limits of docs/benchmarks.md.
const MOST_QUERIES: u64 = 25;
const MOST_GROWTH: u64 = 60_000_000;
const MOST_MEMORY: u64 = 64_000_000;
const QUOTA_FACTOR: f64 = 1.1;
/// Where the quota sets no floor: 10,000 machines in this time.
const FEW_SECONDS: f64 = 10.0;

/// All rows of the table.
pub(crate) fn rows(all: &[Figures]) -> Vec<Row> {
    let mut rows = Rows::new(all);
    rows.section = "FLEET";
    world(&mut rows);
    rows.section = "COUNTS of the first scan: all machines are new";
    first(&mut rows);
    rows.section = "COUNTS of a repeated scan: nothing changed";
    steady(&mut rows);
    rows.section = "TIME";
    times(&mut rows);
    rows.section = "PROCESSOR";
    processor(&mut rows);
    rows.section = "MEMORY of the controller (MB = 1,000,000 bytes)";
    memory(&mut rows);
    rows.done
}

fn world(rows: &mut Rows<'_, Figures>) {
    rows.plain("machines, including instances of scale sets", |f| {
        f.machines.to_string()
    });
    rows.plain("rows of Resource Graph", |f| f.rows.to_string());
    rows.plain("queries needed (plans, pages of 1000 rows)", |f| {
        f.expected_queries.to_string()
    });
    rows.count(
        "objects whose status differs from the recount",
        "0",
        |f| f.objects_that_differ.len().to_string(),
        |f| f.objects_that_differ.is_empty(),
    );
    rows.count(
        "machines with a different verdict in the metrics",
        "0",
        |f| f.machines_that_differ.to_string(),
        |f| f.machines_that_differ == 0,
    );
    rows.count(
        "scans that failed for a subscription",
        "0",
        |f| f.failed_scans.to_string(),
        |f| f.failed_scans == 0,
    );
    rows.count(
        "queries that the controller miscounted",
        "0",
        |f| f.reported_queries.abs_diff(f.seen_queries).to_string(),
        |f| f.reported_queries == f.seen_queries,
    );
    rows.count(
        "breaches of the safety monitor",
        "0",
        |f| f.breaches.len().to_string(),
        |f| f.breaches.is_empty(),
    );
}

fn first(rows: &mut Rows<'_, Figures>) {
    rows.plain("scans until all subscriptions were scanned", |f| {
        f.first.scans.to_string()
    });
    rows.count(
        "queries",
        "<= 25 (10k)",
        |f| f.first.queries.to_string(),
        |f| f.generated > 10_000 || f.first.queries <= MOST_QUERIES,
    );
    rows.plain("  rejected by the quota", |f| f.first.refused.to_string());
    rows.plain("direct GETs that confirm machines", |f| {
        f.first.confirmations().to_string()
    });
    rows.plain("GETs of permissions and health reports", |f| {
        f.first.other().to_string()
    });
    rows.count(
        "unexpected ARM writes",
        "0",
        |f| f.first.writes.abs_diff(f.expected_changes).to_string(),
        |f| f.first.writes == f.expected_changes,
    );
    rows.plain("status patches per object", |f| {
        let objects = u64::try_from(f.subscriptions).unwrap_or(1);
        format!("{:.2}", ratio(f.until_reported.status_patches, objects))
    });
}

fn steady(rows: &mut Rows<'_, Figures>) {
    rows.count(
        "queries",
        "as needed",
        |f| format!("{:.1}", ratio(f.steady.queries, f.steady.scans)),
        |f| f.steady.queries == f.expected_queries * f.steady.scans,
    );
    rows.count(
        "  at 10,000 machines",
        "<= 25 (10k)",
        |f| format!("{:.1}", ratio(f.steady.queries, f.steady.scans)),
        |f| f.generated > 10_000 || f.steady.queries <= MOST_QUERIES * f.steady.scans,
    );
    rows.plain("  rejected by the quota", |f| f.steady.refused.to_string());
    rows.plain("direct GETs of machines", |f| {
        f.steady.confirmations().to_string()
    });
    rows.plain("all other requests", |f| {
        let all: u64 = f.steady.requests.values().sum();
        format!("{:.1}", ratio(all - f.steady.confirmations(), f.steady.scans))
    });
    rows.count(
        "ARM writes",
        "0",
        |f| f.steady.writes.to_string(),
        |f| f.steady.writes == 0,
    );
    rows.count(
        "status patches",
        "0",
        |f| f.steady_phase.status_patches.to_string(),
        |f| f.steady_phase.status_patches == 0 && f.steady_phase.versions == 0,
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
        let queries = ratio(f.first.queries + f.steady.queries, 1).max(1.0);
        let answers = f.first.answer_seconds + f.steady.answer_seconds;
        format!("{:.0} ms", 1000.0 * answers / queries)
    });
    rows.plain("process start to all reported", |f| seconds(f.reported_seconds));
    rows.plain("scan interval", |f| format!("{:.0} s", f.scan_every_seconds));
}

fn processor(rows: &mut Rows<'_, Figures>) {
    rows.plain("controller until all are reported", |f| {
        format!("{:.2} s", f.until_reported.cpu_seconds)
    });
    rows.plain("controller per repeated scan", |f| {
        format!(
            "{:.2} s",
            f.steady_phase.cpu_seconds / ratio(f.steady.scans, 1).max(1.0)
        )
    });
    rows.plain("  per 1000 machines", |f| match f.machines {
        0 => "-".into(),
        machines => {
            let scans = ratio(f.steady.scans, 1).max(1.0);
            let thousands = ratio(machines, 1000);
            format!(
                "{:.1} ms",
                1000.0 * f.steady_phase.cpu_seconds / scans / thousands
            )
        }
    });
    rows.plain("emulator per repeated scan", |f| {
        let seconds = f.steady_phase.cores.seconds.get("emulator").copied();
        let scans = ratio(f.steady.scans, 1).max(1.0);
        format!("{:.2} s", seconds.unwrap_or_default() / scans)
    });
    rows.plain("emulator until all are reported", |f| {
        let seconds = f.until_reported.cores.seconds.get("emulator").copied();
        format!("{:.2} s", seconds.unwrap_or_default())
    });
    rows.plain("noise: cores used by others, until all are reported", |f| {
        format!(
            "{:.2}",
            f.until_reported.cores.everybody_else / f.until_reported.seconds
        )
    });
    rows.plain("noise: cores used by others, repeated scans", |f| {
        format!(
            "{:.2}",
            f.steady_phase.cores.everybody_else / f.steady_phase.seconds
        )
    });
}

fn memory(rows: &mut Rows<'_, Figures>) {
    rows.measure(
        "peak (VmHWM), at 10,000 machines",
        "< 64 MB",
        |f| megabytes(f.steady_phase.peak),
        |f| f.generated > 10_000 || f.steady_phase.peak < MOST_MEMORY,
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

fn seconds(seconds: f64) -> String {
    format!("{seconds:.2} s")
}
