//! The tables and the JSON of all runs of a part.

use crate::table::{self, Row, Rows};
use serde::Serialize;
use serde_json::{Value, json};

/// Breaches and differences of each run that are printed one by one.
const MOST_PROBLEMS: usize = 10;

/// The figures of one run.
pub(crate) trait Figures: Serialize + Sized {
    /// Heading of the names in the table.
    const PART: &'static str;

    /// Heading of the run's column.
    fn column(&self) -> String;

    /// Adds all rows of the table.
    fn rows(rows: &mut Rows<'_, Self>);

    /// Breaches of the safety monitor.
    fn breaches(&self) -> &[Value];

    /// Objects that are not as they should be, to be printed below the table.
    fn differences(&self) -> &[Value] {
        &[]
    }
}

/// The results of a part.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// The table; empty if the part did not run.
    pub(crate) table: String,
    /// Breaches and differences, one in a line.
    pub(crate) problems: Vec<String>,
    /// The figures of each run.
    pub(crate) runs: Value,
    /// Each figure that has a limit.
    pub(crate) bars: Vec<Value>,
    /// Whether all counts are within their limits.
    pub(crate) holds: bool,
}

/// Reports the runs of a part.
pub(crate) fn report<F: Figures>(runs: &[F]) -> Report {
    let mut rows = Rows::new(runs);
    F::rows(&mut rows);
    let rows = rows.done;
    let columns: Vec<String> = runs.iter().map(F::column).collect();
    let mut problems = Vec::new();
    for run in runs {
        let breaches = run.breaches().iter().take(MOST_PROBLEMS);
        problems.extend(breaches.map(|breach| format!("breach: {breach}")));
        let differences = run.differences().iter().take(MOST_PROBLEMS);
        problems
            .extend(differences.map(|object| format!("differs (subscription, status, recount): {object}")));
    }
    Report {
        table: if runs.is_empty() {
            String::new()
        } else {
            table::table(F::PART, &columns, &rows)
        },
        problems,
        runs: json!(runs),
        bars: table::bars(&rows),
        holds: rows.iter().all(Row::holds),
    }
}
