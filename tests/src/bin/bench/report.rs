//! The table: counts first, each figure beside its bar.

use crate::measure::Figures;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// One line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    section: &'static str,
    name: String,
    cells: Vec<String>,
    bar: Option<Bar>,
}

/// What a figure is held against.
#[derive(Clone, Debug)]
struct Bar {
    text: &'static str,
    met: Vec<bool>,
    /// Counts fail the run, times and memory do not.
    counts: bool,
}

impl Row {
    /// Whether it does not fail the run.
    pub(crate) fn holds(&self) -> bool {
        let broken = |bar: &Bar| bar.counts && bar.met.contains(&false);
        !self.bar.as_ref().is_some_and(broken)
    }
}

/// Collects rows.
struct Rows<'f> {
    all: &'f [Figures],
    section: &'static str,
    done: Vec<Row>,
}

impl Rows<'_> {
    fn plain(&mut self, name: impl Into<String>, cell: impl Fn(&Figures) -> String) {
        self.push(name.into(), cell, None);
    }

    fn count(
        &mut self,
        name: &str,
        bar: &'static str,
        cell: impl Fn(&Figures) -> String,
        met: impl Fn(&Figures) -> bool,
    ) {
        let met = self.all.iter().map(met).collect();
        self.push(
            name.into(),
            cell,
            Some(Bar {
                text: bar,
                met,
                counts: true,
            }),
        );
    }

    fn measure(
        &mut self,
        name: &str,
        bar: &'static str,
        cell: impl Fn(&Figures) -> String,
        met: impl Fn(&Figures) -> bool,
    ) {
        let met = self.all.iter().map(met).collect();
        self.push(
            name.into(),
            cell,
            Some(Bar {
                text: bar,
                met,
                counts: false,
            }),
        );
    }

    fn push(&mut self, name: String, cell: impl Fn(&Figures) -> String, bar: Option<Bar>) {
        self.done.push(Row {
            section: self.section,
            name,
            cells: self.all.iter().map(cell).collect(),
            bar,
        });
    }
}

/// All rows of the table.
pub(crate) fn rows(all: &[Figures]) -> Vec<Row> {
    let mut rows = Rows {
        all,
        section: "COUNTS",
        done: Vec::new(),
    };
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

fn judged_counts(rows: &mut Rows<'_>) {
    rows.plain("changes that the start state needs", |f| {
        f.needed_changes.to_string()
    });
    rows.count(
        "ARM writes per needed change",
        "exactly 1",
        |f| format!("{:.3}", ratio(f.traffic.converge.writes(), f.needed_changes)),
        |f| f.traffic.converge.writes() == f.needed_changes,
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
        "ARM reads of a quiet visit, at most",
        "<= 4",
        |f| f.traffic.most_reads_in_a_quiet_visit.to_string(),
        |f| f.traffic.most_reads_in_a_quiet_visit <= 4,
    );
    rows.plain("ARM reads of a quiet visit, mean", |f| {
        let reads = f.traffic.quiet.total - f.traffic.quiet.writes();
        format!("{:.2}", ratio(reads, f.traffic.quiet_visits))
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
        "quiet visits of the object visited least",
        ">= 3",
        |f| f.traffic.fewest_quiet_visits.to_string(),
        |f| f.traffic.fewest_quiet_visits >= 3,
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

fn other_counts(rows: &mut Rows<'_>) {
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
    rows.plain("ARM answers other than 2xx and 404", |f| {
        let statuses = f.traffic.converge.by_status.iter();
        let odd = statuses.filter(|(status, _)| !(200..300).contains(*status) && **status != 404);
        odd.map(|(_, calls)| calls).sum::<u64>().to_string()
    });
    rows.plain("visits per object", |f| {
        format!("{:.2}", per_object(f.converge.visits, f))
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

fn times(rows: &mut Rows<'_>) {
    rows.measure(
        "start of the process to first request to Azure",
        "< 1 s",
        |f| format!("{:.2} s", f.first_request_seconds),
        |f| f.first_request_seconds < 1.0,
    );
    rows.measure(
        "start of the process to all Ready",
        "< 30 s",
        |f| format!("{:.2} s", f.converge_seconds),
        |f| f.converge_seconds < 30.0,
    );
    rows.plain("for comparison: creating the objects", |f| {
        format!("{:.2} s", f.create_seconds)
    });
    rows.plain("quiet phase", |f| format!("{:.0} s", f.quiet.seconds));
}

fn processor(rows: &mut Rows<'_>) {
    rows.plain("controller until all are Ready", |f| {
        format!("{:.2} s", f.converge.cpu_seconds)
    });
    rows.plain("  per object", |f| {
        format!("{:.2} ms", 1000.0 * f.converge.cpu_seconds / float(f.objects))
    });
    rows.plain("controller in the quiet phase, per visit", |f| {
        format!(
            "{:.2} ms",
            1000.0 * f.quiet.cpu_seconds / ratio(f.quiet.visits.max(1), 1)
        )
    });
    for name in ["kube-apiserver", "etcd", "emulator", "bench"] {
        rows.plain(format!("meanwhile (until Ready): {name}"), |f| {
            let seconds = f.converge.cores.seconds.get(name);
            format!("{:.2} s", seconds.copied().unwrap_or_default())
        });
    }
    rows.plain("noise: all other processes, until Ready", |f| {
        format!("{:.2} s", f.converge.cores.everybody_else)
    });
}

fn memory(rows: &mut Rows<'_>) {
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

/// For people.
pub(crate) fn table(all: &[Figures], rows: &[Row]) -> String {
    let width = rows
        .iter()
        .map(|row| row.name.chars().count())
        .max()
        .unwrap_or_default();
    let mut text = format!("{:1$}", "objects", width + 2);
    for figures in all {
        let _ = write!(text, "{:>11}", figures.objects);
    }
    text.push_str("   bar\n");
    let mut section = "";
    for row in rows {
        if row.section != section {
            section = row.section;
            let _ = writeln!(text, "{section}");
        }
        let _ = write!(text, "  {:width$}", row.name);
        for cell in &row.cells {
            let _ = write!(text, "{cell:>11}");
        }
        if let Some(bar) = &row.bar {
            let _ = write!(text, "   {:10} {}", bar.text, verdict(all, bar));
        }
        text.push('\n');
    }
    for breach in all.iter().flat_map(|figures| figures.breaches.iter().take(10)) {
        let _ = writeln!(text, "breach: {breach}");
    }
    text
}

fn verdict(all: &[Figures], bar: &Bar) -> String {
    let missed: Vec<String> = all
        .iter()
        .zip(&bar.met)
        .filter(|(_, met)| !**met)
        .map(|(figures, _)| figures.objects.to_string())
        .collect();
    match (missed.is_empty(), bar.counts) {
        (true, _) => "met".into(),
        (false, true) => format!("BROKEN at {}", missed.join(", ")),
        (false, false) => format!("missed at {}", missed.join(", ")),
    }
}

/// The bars for machines.
pub(crate) fn bars(rows: &[Row]) -> Value {
    let judged = rows
        .iter()
        .filter_map(|row| row.bar.as_ref().map(|bar| (row, bar)));
    judged
        .map(|(row, bar)| {
            json!({"name": row.name, "bar": bar.text, "figures": row.cells, "met": bar.met, "failsTheRun": bar.counts})
        })
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run")]
fn ratio(of: u64, by: u64) -> f64 {
    of as f64 / by.max(1) as f64
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run")]
fn float(number: usize) -> f64 {
    number as f64
}

fn per_object(of: u64, figures: &Figures) -> f64 {
    ratio(of, u64::try_from(figures.objects).unwrap_or(1))
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", ratio(bytes, 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(counts: bool, met: &[bool]) -> Row {
        Row {
            section: "COUNTS",
            name: "a figure".into(),
            cells: met.iter().map(ToString::to_string).collect(),
            bar: Some(Bar {
                text: "0",
                met: met.to_vec(),
                counts,
            }),
        }
    }

    #[test]
    fn only_counts_fail_the_run() {
        assert!(row(true, &[true, true]).holds());
        assert!(!row(true, &[true, false]).holds());
        assert!(row(false, &[false]).holds());
        let bars = bars(&[row(true, &[true, false])]);
        assert_eq!(bars[0]["met"], json!([true, false]));
    }
}
