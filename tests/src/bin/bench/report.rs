//! The rows about objects: counts first, each figure with its limit.

use crate::{
    measure::Figures,
    table::{Row, Rows, megabytes, ratio},
};

/// All rows of the table.
pub(crate) fn rows(all: &[Figures]) -> Vec<Row> {
    let mut rows = Rows::new(all);
    rows.section = "COUNTS";
    judged_counts(&mut rows);
    rows.section = "COUNTS until all are Ready";
    other_counts(&mut rows);
    rows.section = "TIME";
    times(&mut rows);
    rows.section = "PROCESSOR";
    processor(&mut rows);
    rows.section = "MEMORY of the controller (MB = 1,000,000 bytes)";
    memory(&mut rows);
    rows.done
}

fn judged_counts(rows: &mut Rows<'_, Figures>) {
    rows.plain("changes needed from the initial state", |f| {
        f.expected_changes.to_string()
    });
    rows.count(
        "ARM writes per needed change",
        "exactly 1",
        |f| format!("{:.3}", ratio(f.traffic.converge.writes(), f.expected_changes)),
        |f| f.traffic.converge.writes() == f.expected_changes,
    );
    rows.count(
        "objects with other writes than needed",
        "0",
        |f| f.traffic.objects_with_other_writes.to_string(),
        |f| f.traffic.objects_with_other_writes == 0,
    );
    rows.count(
        "ARM writes in the quiet phase",
        "0",
        |f| f.traffic.quiet.writes().to_string(),
        |f| f.traffic.quiet.writes() == 0,
    );
    rows.count(
        "ARM reads per quiet reconcile, maximum",
        "<= 4",
        |f| f.traffic.most_reads_in_a_quiet_reconcile.to_string(),
        |f| f.traffic.most_reads_in_a_quiet_reconcile <= 4,
    );
    rows.plain("ARM reads per quiet reconcile, mean", |f| {
        let reads = f.traffic.quiet.total - f.traffic.quiet.writes();
        format!("{:.2}", ratio(reads, f.traffic.quiet_reconciles))
    });
    rows.count(
        "status patches in the quiet phase",
        "0",
        |f| f.quiet.status_patches.to_string(),
        |f| f.quiet.status_patches == 0 && f.quiet.versions == 0,
    );
    rows.count(
        "objects that stopped being Ready",
        "0",
        |f| f.lost.to_string(),
        |f| f.lost == 0,
    );
    rows.count(
        "quiet reconciles per object, minimum",
        ">= 3",
        |f| f.traffic.fewest_quiet_reconciles.to_string(),
        |f| f.traffic.fewest_quiet_reconciles >= 3,
    );
    rows.count(
        "token requests per credential",
        "exactly 1",
        |f| {
            let credentials = u64::try_from(f.namespaces).unwrap_or(1);
            format!("{:.2}", ratio(f.traffic.token_requests, credentials))
        },
        |f| usize::try_from(f.traffic.token_requests) == Ok(f.namespaces),
    );
    rows.count(
        "breaches of the safety monitor",
        "0",
        |f| f.breaches.len().to_string(),
        |f| f.breaches.is_empty(),
    );
}

fn other_counts(rows: &mut Rows<'_, Figures>) {
    rows.plain("ARM calls", |f| f.traffic.converge.total.to_string());
    rows.plain("ARM calls per object", |f| {
        format!("{:.2}", per_object(f.traffic.converge.total, f))
    });
    let mut operations: Vec<String> = rows
        .all
        .iter()
        .flat_map(|f| f.traffic.converge.by_operation.keys().cloned())
        .collect();
    operations.sort();
    operations.dedup();
    for operation in operations {
        rows.plain(format!("  {operation}"), |f| {
            let calls = f.traffic.converge.by_operation.get(&operation);
            calls.copied().unwrap_or_default().to_string()
        });
    }
    rows.plain("ARM responses other than 2xx and 404", |f| {
        let statuses = f.traffic.converge.by_status.iter();
        let odd = statuses.filter(|(status, _)| !(200..300).contains(*status) && **status != 404);
        odd.map(|(_, calls)| calls).sum::<u64>().to_string()
    });
    rows.plain("requests of machine scans (whole run)", |f| {
        f.traffic.scans.total.to_string()
    });
    rows.plain("reconciles per object", |f| {
        format!("{:.2}", per_object(f.converge.reconciles, f))
    });
    rows.plain("status patches per object", |f| {
        format!("{:.2}", per_object(f.converge.status_patches, f))
    });
    let mut kinds: Vec<String> = rows
        .all
        .iter()
        .flat_map(|f| f.kubernetes_requests.keys().cloned())
        .collect();
    kinds.sort();
    kinds.dedup();
    for kind in kinds {
        rows.plain(format!("Kubernetes: {kind}"), |f| {
            let requests = f.kubernetes_requests.get(&kind);
            requests.copied().unwrap_or_default().to_string()
        });
    }
}

fn times(rows: &mut Rows<'_, Figures>) {
    rows.measure(
        "process start to first request to Azure",
        "< 1 s",
        |f| format!("{:.2} s", f.first_request_seconds),
        |f| f.first_request_seconds < 1.0,
    );
    rows.measure(
        "process start to all Ready",
        "< 30 s",
        |f| format!("{:.2} s", f.converge_seconds),
        |f| f.converge_seconds < 30.0,
    );
    rows.plain("for comparison: creating the objects", |f| {
        format!("{:.2} s", f.create_seconds)
    });
    rows.plain("quiet phase", |f| format!("{:.0} s", f.quiet.seconds));
}

fn processor(rows: &mut Rows<'_, Figures>) {
    rows.plain("controller until all are Ready", |f| {
        format!("{:.2} s", f.converge.cpu_seconds)
    });
    rows.plain("  per object", |f| {
        format!("{:.2} ms", 1000.0 * f.converge.cpu_seconds / float(f.objects))
    });
    rows.plain("controller per quiet reconcile", |f| {
        format!(
            "{:.2} ms",
            1000.0 * f.quiet.cpu_seconds / ratio(f.quiet.reconciles.max(1), 1)
        )
    });
    for name in ["kube-apiserver", "etcd", "emulator", "bench"] {
        rows.plain(format!("until all are Ready: {name}"), |f| {
            let seconds = f.converge.cores.seconds.get(name);
            format!("{:.2} s", seconds.copied().unwrap_or_default())
        });
    }
    rows.plain("noise: all other processes, until all are Ready", |f| {
        format!("{:.2} s", f.converge.cores.everybody_else)
    });
}

fn memory(rows: &mut Rows<'_, Figures>) {
    rows.measure(
        "peak (VmHWM) when all are Ready",
        "< 64 MB",
        |f| megabytes(f.converge.peak),
        |f| f.converge.peak < 64_000_000,
    );
    rows.measure(
        "peak (VmHWM) after the quiet phase",
        "< 64 MB",
        |f| megabytes(f.quiet.peak),
        |f| f.quiet.peak < 64_000_000,
    );
    rows.plain("resident after the quiet phase", |f| megabytes(f.quiet.resident));
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run")]
fn float(number: usize) -> f64 {
    number as f64
}

fn per_object(of: u64, figures: &Figures) -> f64 {
    ratio(of, u64::try_from(figures.objects).unwrap_or(1))
}
