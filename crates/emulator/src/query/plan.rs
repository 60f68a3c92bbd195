//! A bound query and its evaluation over the rows of a source.

use std::collections::HashMap;

use serde_json::Value;

use super::{
    expression::{Bound, Type, sorted, text},
    tables::{Column, RowSource, Table},
};

/// The values of a row in the order of the columns.
pub(crate) type Row = Vec<Value>;

/// A checked query.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) table: Table,
    /// Only rows of these types are needed (in lower case).
    pub(crate) types: Option<Vec<String>>,
    pub(crate) steps: Vec<Step>,
    /// Columns of the result.
    pub(crate) columns: Vec<Column>,
    /// The rows have a defined order.
    pub(crate) ordered: bool,
}

/// The source of a column of `project`.
#[derive(Clone, Debug)]
pub(crate) enum Output {
    /// An unchanged column that is not used again.
    Move(usize),
    Compute(Bound),
}

/// A checked operator.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Where(Bound),
    /// With the column indexes, which may be new columns at the end.
    Extend(Vec<(usize, Bound)>),
    Project(Vec<Output>),
    Order(Vec<(Bound, bool)>),
    Join(Box<Join>),
    Limit(usize),
    Group {
        keys: Vec<Bound>,
        counted: bool,
    },
}

/// A checked join.
#[derive(Clone, Debug)]
pub(crate) struct Join {
    pub(crate) outer: bool,
    pub(crate) right: Plan,
    pub(crate) left_keys: Vec<usize>,
    pub(crate) right_keys: Vec<usize>,
    /// The right side for a row without a match.
    pub(crate) blanks: Row,
}

impl Plan {
    /// Evaluates the query. Rows pass the first operators one by one, so that only the remaining rows
    /// are held in memory.
    pub(crate) fn run(&self, source: &dyn RowSource) -> Vec<Row> {
        let streaming = |step: &&Step| matches!(step, Step::Where(_) | Step::Extend(_) | Step::Project(_));
        let count = self.steps.iter().take_while(streaming).count();
        let (first, rest) = self.steps.split_at_checked(count).unwrap_or_default();
        let columns = self.table.columns();
        let mut rows = Vec::new();
        source.rows(self.table, self.types.as_deref(), &mut |resource| {
            let row = first
                .iter()
                .try_fold(row_of(&columns, resource), |row, step| step.one(row));
            rows.extend(row);
        });
        rest.iter().fold(rows, |rows, step| step.all(rows, source))
    }
}

/// The columns of a resource; missing ones are blank.
fn row_of(columns: &[Column], mut resource: Value) -> Row {
    columns
        .iter()
        .map(|column| match resource.get_mut(&column.name).map(Value::take) {
            None | Some(Value::Null) => column.kind.blank(),
            Some(value) if column.kind == Type::Text && !value.is_string() => {
                Value::String(text(&value).into_owned())
            }
            Some(value) => value,
        })
        .collect()
}

impl Step {
    /// Passes one row through an operator that does not depend on other rows.
    fn one(&self, mut row: Row) -> Option<Row> {
        match self {
            Self::Where(condition) => (condition.truth(&row) == Some(true)).then_some(row),
            Self::Extend(items) => {
                let values: Vec<Value> = items
                    .iter()
                    .map(|(_, bound)| bound.value(&row).into_owned())
                    .collect();
                for ((place, _), value) in items.iter().zip(values) {
                    match row.get_mut(*place) {
                        Some(slot) => *slot = value,
                        None => row.push(value),
                    }
                }
                Some(row)
            }
            Self::Project(outputs) => {
                let mut projected: Row = outputs
                    .iter()
                    .map(|output| match output {
                        Output::Compute(bound) => bound.value(&row).into_owned(),
                        Output::Move(_) => Value::Null,
                    })
                    .collect();
                for (slot, output) in projected.iter_mut().zip(outputs) {
                    if let Output::Move(place) = output {
                        *slot = row.get_mut(*place).map(Value::take).unwrap_or_default();
                    }
                }
                Some(projected)
            }
            _ => Some(row),
        }
    }

    fn all(&self, mut rows: Vec<Row>, source: &dyn RowSource) -> Vec<Row> {
        match self {
            Self::Where(_) | Self::Extend(_) | Self::Project(_) => {
                rows.into_iter().filter_map(|row| self.one(row)).collect()
            }
            Self::Order(keys) => {
                rows.sort_by(|left, right| {
                    keys.iter()
                        .map(|(key, ascending)| {
                            let order = sorted(&key.value(left), &key.value(right));
                            if *ascending { order } else { order.reverse() }
                        })
                        .find(|order| order.is_ne())
                        .unwrap_or(std::cmp::Ordering::Equal)
                });
                rows
            }
            Self::Limit(most) => {
                rows.truncate(*most);
                rows
            }
            Self::Join(join) => join.run(rows, source),
            Self::Group { keys, counted } => grouped(&rows, keys, *counted),
        }
    }
}

impl Join {
    fn run(&self, rows: Vec<Row>, source: &dyn RowSource) -> Vec<Row> {
        let right = self.right.run(source);
        let mut places: HashMap<Vec<&Value>, usize> = HashMap::new();
        let mut matches: Vec<Vec<&Row>> = Vec::new();
        for row in &right {
            let Some(key) = key(row, &self.right_keys) else {
                continue;
            };
            let place = *places.entry(key).or_insert(matches.len());
            match matches.get_mut(place) {
                Some(known) => known.push(row),
                None => matches.push(vec![row]),
            }
        }
        let mut joined = Vec::with_capacity(rows.len());
        for row in rows {
            let place = key(&row, &self.left_keys).and_then(|key| places.get(&key).copied());
            match place.and_then(|place| matches.get(place)).map(Vec::as_slice) {
                Some([others @ .., last]) => {
                    for other in others {
                        joined.push(joined_row(row.clone(), other));
                    }
                    joined.push(joined_row(row, last));
                }
                _ if self.outer => joined.push(joined_row(row, &self.blanks)),
                _ => {}
            }
        }
        joined
    }
}

fn joined_row(mut left: Row, right: &[Value]) -> Row {
    left.extend_from_slice(right);
    left
}

/// A null matches nothing.
fn key<'a>(row: &'a Row, places: &[usize]) -> Option<Vec<&'a Value>> {
    places
        .iter()
        .map(|place| row.get(*place).filter(|value| !value.is_null()))
        .collect()
}

/// One row for each distinct key, in the order of their first appearance.
fn grouped(rows: &[Row], keys: &[Bound], counted: bool) -> Vec<Row> {
    let mut places: HashMap<Row, usize> = HashMap::new();
    let mut groups: Vec<(Row, u64)> = Vec::new();
    if keys.is_empty() {
        groups.push((Vec::new(), 0));
        places.insert(Vec::new(), 0);
    }
    for row in rows {
        let key: Row = keys.iter().map(|key| key.value(row).into_owned()).collect();
        let place = *places.entry(key).or_insert_with_key(|key| {
            groups.push((key.clone(), 0));
            groups.len() - 1
        });
        if let Some((_, count)) = groups.get_mut(place) {
            *count += 1;
        }
    }
    let finished = groups.into_iter().map(|(mut key, count)| {
        if counted {
            key.push(Value::from(count));
        }
        key
    });
    finished.collect()
}
