//! From sorted rows to whole machines and whole subscriptions. Pure; holds one machine, and hashes of what was seen.

use std::collections::{HashMap, HashSet};

use serverprotection_core::machines::Machine;

use super::rows::hash;

/// What the rows up to now come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A machine with all its extensions, of the subscription that is open.
    Machine(Box<Machine>),
    /// The subscription has no further machine: its place in the group.
    Closed(usize),
}

/// Reads the rows of one group.
#[derive(Debug)]
pub(super) struct Fold {
    /// Subscriptions of the group: place and state.
    subscriptions: HashMap<String, (usize, State)>,
    open: Option<String>,
    current: Option<Machine>,
    /// Hashes of rows and of machines.
    seen: HashSet<u64>,
    restarted: bool,
    /// Rows without the repeated ones.
    pub(super) distinct: u64,
    pub(super) duplicates: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Open,
    Closed,
    /// A machine came after its subscription was closed.
    Broken,
}

impl Fold {
    pub(super) fn new<'a>(subscriptions: impl Iterator<Item = &'a str>) -> Self {
        let waiting = |(at, id): (usize, &str)| (id.to_owned(), (at, State::Waiting));
        Self {
            subscriptions: subscriptions.enumerate().map(waiting).collect(),
            open: None,
            current: None,
            seen: HashSet::new(),
            restarted: false,
            distinct: 0,
            duplicates: 0,
        }
    }

    /// The pages come again from the first one. What is known stays, and is recognised; what is new among it came after
    /// its subscription was read.
    pub(super) fn restart(&mut self) {
        self.restarted = true;
    }

    /// Takes a row: a machine with at most one extension.
    pub(super) fn row(&mut self, row: Machine, steps: &mut Vec<Step>) {
        let extension = row.extensions.first();
        let name = extension.map_or("", |extension| extension.name.as_str());
        if !self
            .seen
            .insert(hash(&row.id, &format!("/{}", name.to_ascii_lowercase())))
        {
            self.duplicates += 1;
            return;
        }
        self.distinct += 1;
        match &mut self.current {
            Some(current) if current.id.eq_ignore_ascii_case(&row.id) => return current.merge(row),
            _ => {}
        }
        let new = self.seen.insert(hash(&row.id, ""));
        let Some((_, state)) = self.subscriptions.get_mut(&row.subscription_id) else {
            return;
        };
        if !new || matches!(state, State::Closed | State::Broken) {
            if !self.restarted {
                *state = State::Broken;
            }
            return;
        }
        *state = State::Open;
        steps.extend(self.finished());
        if self.open.as_ref() != Some(&row.subscription_id) {
            let id = row.subscription_id.clone();
            steps.extend(self.close());
            self.open = Some(id);
        }
        self.current = Some(row);
    }

    /// No further row: what was still open, and subscriptions without machines.
    pub(super) fn end(&mut self) -> Vec<Step> {
        let mut steps: Vec<_> = self.finished().into_iter().chain(self.close()).collect();
        for (at, state) in self.subscriptions.values_mut() {
            if *state == State::Waiting {
                *state = State::Closed;
                steps.push(Step::Closed(*at));
            }
        }
        steps
    }

    /// Places of the subscriptions whose rows came in no order: some of their machines may not have been counted.
    pub(super) fn broken(&self) -> Vec<usize> {
        let broken = self
            .subscriptions
            .values()
            .filter(|(_, state)| *state == State::Broken);
        broken.map(|(at, _)| *at).collect()
    }

    fn finished(&mut self) -> Option<Step> {
        self.current
            .take()
            .map(|machine| Step::Machine(Box::new(machine)))
    }

    fn close(&mut self) -> Option<Step> {
        let id = self.open.take()?;
        let (at, state) = self.subscriptions.get_mut(&id)?;
        if *state == State::Open {
            *state = State::Closed;
        }
        Some(Step::Closed(*at))
    }
}

#[cfg(test)]
mod tests {
    use serverprotection_core::machines::MdeExtension;

    use super::*;

    fn row(id: &str, extension: &str) -> Machine {
        let extension = MdeExtension {
            name: extension.into(),
            ..MdeExtension::default()
        };
        Machine {
            id: id.into(),
            subscription_id: id.split('/').next().unwrap().into(),
            extensions: if extension.name.is_empty() {
                vec![]
            } else {
                vec![extension]
            },
            ..Machine::default()
        }
    }

    /// Machines as `id(extensions)`, closed subscriptions as their place.
    fn read(fold: &mut Fold, rows: &[(&str, &str)]) -> String {
        let mut steps = Vec::new();
        for (id, extension) in rows {
            fold.row(row(id, extension), &mut steps);
        }
        told(&steps)
    }

    fn told(steps: &[Step]) -> String {
        let text = |step: &Step| match step {
            Step::Machine(machine) => format!("{}({})", machine.id, machine.extensions.len()),
            Step::Closed(at) => at.to_string(),
        };
        steps.iter().map(text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn machines_are_merged_and_subscriptions_closed_when_the_next_begins() {
        let mut fold = Fold::new(["a", "b", "c"].into_iter());
        let rows = [("a/1", "x"), ("A/1", "y"), ("a/2", ""), ("c/1", "x"), ("z/1", "")];
        assert_eq!(read(&mut fold, &rows), "a/1(2) a/2(0) 0");
        assert_eq!(told(&fold.end()), "c/1(1) 2 1");
        assert!(fold.broken().is_empty());
    }

    #[test]
    fn repeated_rows_are_counted_once() {
        let mut fold = Fold::new(["a", "b"].into_iter());
        let rows = [
            ("a/1", "x"),
            ("a/1", "X"),
            ("a/2", ""),
            ("b/1", ""),
            ("a/1", "x"),
            ("a/2", ""),
        ];
        assert_eq!(read(&mut fold, &rows), "a/1(1) a/2(0) 0");
        assert_eq!((fold.distinct, fold.duplicates), (3, 3));
        assert_eq!(told(&fold.end()), "b/1(0) 1");
        assert!(fold.broken().is_empty());
    }

    #[test]
    fn rows_without_order_break_their_subscription_only() {
        let mut fold = Fold::new(["a", "b"].into_iter());
        read(&mut fold, &[("a/1", ""), ("b/1", ""), ("a/2", ""), ("b/2", "")]);
        assert_eq!(told(&fold.end()), "b/2(0) 1");
        assert_eq!(fold.broken(), [0]);
        let mut fold = Fold::new(["a"].into_iter());
        read(&mut fold, &[("a/1", ""), ("a/2", ""), ("a/1", "late")]);
        assert_eq!(told(&fold.end()), "a/2(0) 0", "it was broken while open");
        assert_eq!(fold.broken(), [0]);
    }

    #[test]
    fn a_restart_goes_on_where_it_was() {
        let mut fold = Fold::new(["a", "b"].into_iter());
        assert_eq!(read(&mut fold, &[("a/1", ""), ("b/1", "")]), "a/1(0) 0");
        fold.restart();
        let again = [("a/0", "new"), ("a/1", "new"), ("b/1", ""), ("b/2", "x")];
        assert_eq!(read(&mut fold, &again), "b/1(0)");
        assert_eq!(told(&fold.end()), "b/2(1) 1");
        assert!(fold.broken().is_empty());
    }
}
