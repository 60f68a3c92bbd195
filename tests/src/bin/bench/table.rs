//! Tables of figures, with one column for each run and a limit for each figure.

use crate::{parts::Phase, requests::Calls};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fmt::Write as _};

/// The memory that the controller may use, in bytes.
const MOST_MEMORY: u64 = 64_000_000;

/// A row of a table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    section: &'static str,
    name: String,
    cells: Vec<String>,
    bar: Option<Bar>,
}

/// The limit of a figure.
#[derive(Clone, Debug)]
struct Bar {
    text: &'static str,
    met: Vec<bool>,
    /// Whether exceeding the limit fails the run. Counts do; times and memory do not.
    counts: bool,
}

impl Row {
    /// Whether the figure does not fail the run.
    pub(crate) fn holds(&self) -> bool {
        let broken = |bar: &Bar| bar.counts && bar.met.contains(&false);
        !self.bar.as_ref().is_some_and(broken)
    }
}

/// Collects rows about runs.
pub(crate) struct Rows<'f, F> {
    pub(crate) all: &'f [F],
    pub(crate) section: &'static str,
    pub(crate) done: Vec<Row>,
}

impl<'f, F> Rows<'f, F> {
    pub(crate) const fn new(all: &'f [F]) -> Self {
        Self {
            all,
            section: "",
            done: Vec::new(),
        }
    }

    /// Adds a figure without a limit.
    pub(crate) fn plain(&mut self, name: impl Into<String>, cell: impl Fn(&F) -> String) {
        self.push(name.into(), cell, None);
    }

    /// Adds a count. Exceeding its limit fails the run.
    pub(crate) fn count(
        &mut self,
        name: &str,
        bar: &'static str,
        cell: impl Fn(&F) -> String,
        met: impl Fn(&F) -> bool,
    ) {
        self.judged(name, bar, true, cell, met);
    }

    /// Adds a count that must be 0.
    pub(crate) fn zero(&mut self, name: &str, of: impl Fn(&F) -> u64) {
        self.count(name, "0", |f| of(f).to_string(), |f| of(f) == 0);
    }

    /// Adds the breaches of the safety monitor.
    pub(crate) fn breaches(&mut self, of: impl Fn(&F) -> &[Value]) {
        self.zero("breaches of the safety monitor", |f| count(of(f).len()));
    }

    /// Adds a row for each operation that any of the runs requested.
    pub(crate) fn operations(&mut self, of: impl Fn(&F) -> &Calls) {
        let operations: BTreeSet<&String> = self.all.iter().flat_map(|f| of(f).by_operation.keys()).collect();
        for operation in operations {
            self.plain(format!("  {operation}"), |f| of(f).count(operation).to_string());
        }
    }

    /// Adds the processor time of a program in a phase.
    pub(crate) fn program(&mut self, name: impl Into<String>, program: &str, of: impl Fn(&F) -> &Phase) {
        self.plain(name, |f| seconds(of(f).cores.of(program)));
    }

    /// Adds the cores that all other processes of the machine used in a phase.
    pub(crate) fn noise(&mut self, phase: &str, of: impl Fn(&F) -> &Phase) {
        self.plain(format!("noise: cores used by others, {phase}"), |f| {
            format!("{:.2}", of(f).cores.everybody_else / of(f).seconds.max(0.01))
        });
    }

    /// Adds the peak memory of a phase, with its limit for the runs to which it applies.
    pub(crate) fn peak(&mut self, name: &str, of: impl Fn(&F) -> &Phase, applies: impl Fn(&F) -> bool) {
        self.measure(
            name,
            "< 64 MB",
            |f| megabytes(of(f).peak),
            |f| !applies(f) || of(f).peak < MOST_MEMORY,
        );
    }

    /// Adds a time, processor time or memory. Its limit is informative.
    pub(crate) fn measure(
        &mut self,
        name: &str,
        bar: &'static str,
        cell: impl Fn(&F) -> String,
        met: impl Fn(&F) -> bool,
    ) {
        self.judged(name, bar, false, cell, met);
    }

    fn judged(
        &mut self,
        name: &str,
        text: &'static str,
        counts: bool,
        cell: impl Fn(&F) -> String,
        met: impl Fn(&F) -> bool,
    ) {
        let met = self.all.iter().map(met).collect();
        self.push(name.into(), cell, Some(Bar { text, met, counts }));
    }

    fn push(&mut self, name: String, cell: impl Fn(&F) -> String, bar: Option<Bar>) {
        self.done.push(Row {
            section: self.section,
            name,
            cells: self.all.iter().map(cell).collect(),
            bar,
        });
    }
}

/// The table as text. `what` names the columns, `columns` are their headings.
pub(crate) fn table(what: &str, columns: &[String], rows: &[Row]) -> String {
    let width = rows
        .iter()
        .map(|row| row.name.chars().count())
        .max()
        .unwrap_or_default();
    let mut text = format!("{what:0$}", width + 2);
    for column in columns {
        let _ = write!(text, "{column:>11}");
    }
    text.push_str("   limit\n");
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
            let _ = write!(text, "   {:10} {}", bar.text, verdict(columns, bar));
        }
        text.push('\n');
    }
    text
}

fn verdict(columns: &[String], bar: &Bar) -> String {
    let missed: Vec<&str> = columns
        .iter()
        .zip(&bar.met)
        .filter(|(_, met)| !**met)
        .map(|(column, _)| column.as_str())
        .collect();
    match (missed.is_empty(), bar.counts) {
        (true, _) => "met".into(),
        (false, true) => format!("EXCEEDED at {}", missed.join(", ")),
        (false, false) => format!("exceeded at {}", missed.join(", ")),
    }
}

/// The table as JSON.
pub(crate) fn bars(rows: &[Row]) -> Vec<Value> {
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
pub(crate) fn ratio(of: u64, by: u64) -> f64 {
    of as f64 / by.max(1) as f64
}

/// A number of things as the type of all counts.
pub(crate) fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

pub(crate) fn seconds(seconds: f64) -> String {
    format!("{seconds:.2} s")
}

/// Milliseconds for each of some things, from seconds for all of them.
pub(crate) fn milliseconds_each(seconds: f64, things: u64) -> f64 {
    1000.0 * seconds / ratio(things.max(1), 1)
}

pub(crate) fn milliseconds(milliseconds: f64) -> String {
    format!("{milliseconds:.2} ms")
}

pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", ratio(bytes, 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requests::tests::request;

    #[test]
    fn every_operation_of_any_run_has_a_row() {
        let run = |operation| Calls::of(&[request(1, operation, 200, "a")]);
        let runs = [run("GET b"), run("GET a")];
        let mut rows = Rows::new(&runs);
        rows.operations(|run| run);
        let cells: Vec<_> = rows
            .done
            .iter()
            .map(|row| (row.name.trim(), &row.cells))
            .collect();
        let expected = [["0".to_owned(), "1".to_owned()], ["1".to_owned(), "0".to_owned()]];
        assert_eq!(
            cells,
            [("GET a", &expected[0].to_vec()), ("GET b", &expected[1].to_vec())]
        );
    }

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

    #[test]
    fn an_exceeded_limit_names_its_column() {
        let columns = ["1".to_owned(), "100".to_owned()];
        let text = table(
            "objects",
            &columns,
            &[row(true, &[true, false]), row(false, &[false, true])],
        );
        assert!(
            text.contains("EXCEEDED at 100") && text.contains("exceeded at 1\n"),
            "{text}"
        );
    }
}
