//! Folds sorted rows into machines and subscriptions. Pure. Holds one machine, and hashes of all rows.

use std::collections::{HashMap, HashSet};

use serverprotection_core::machines::Machine;

use super::{
    listed::{Listed, Row},
    rows::hash,
};

/// A result of the rows so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A machine of the open subscription with all its extensions.
    Machine(Box<Machine>),
    /// The subscription with this index in the group has no further machines.
    Closed(usize),
}

/// Folds the rows of one group.
#[derive(Debug)]
pub(super) struct Fold {
    /// Subscriptions of the group, with index and state.
    subscriptions: HashMap<String, (usize, State)>,
    open: Option<String>,
    current: Option<Machine>,
    /// Machines whose rows cannot be read, until their subscription is closed.
    odd: Vec<Machine>,
    /// Numbers of equal rows without an id, since the first page.
    equal: HashMap<u64, u32>,
    /// Hashes of rows and of machines.
    seen: HashSet<u64>,
    restarted: bool,
    /// The number of different rows.
    pub(super) distinct: u64,
    pub(super) duplicates: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Open,
    Closed,
    /// A row of the subscription followed after it was closed.
    Broken,
}

impl Fold {
    pub(super) fn new<'a>(subscriptions: impl Iterator<Item = &'a str>) -> Self {
        let waiting = |(at, id): (usize, &str)| (id.to_owned(), (at, State::Waiting));
        Self {
            subscriptions: subscriptions.enumerate().map(waiting).collect(),
            open: None,
            current: None,
            odd: Vec::new(),
            equal: HashMap::new(),
            seen: HashSet::new(),
            restarted: false,
            distinct: 0,
            duplicates: 0,
        }
    }

    /// The pages start again with the first one. Known rows are recognized. New rows of closed subscriptions are
    /// ignored, because they appeared after the subscription was read.
    pub(super) fn restart(&mut self) {
        self.restarted = true;
        self.equal.clear();
    }

    /// Adds a row, which is a machine with at most one extension.
    pub(super) fn row(&mut self, mut listed: Listed, steps: &mut Vec<Step>) {
        if let Row::Nameless(print) = listed.row {
            let which = self.equal.entry(print).or_default();
            *which += 1;
            listed.name_it(*which);
        }
        if !self.seen.insert(listed.key()) {
            self.duplicates += 1;
            return;
        }
        self.distinct += 1;
        let row = listed.machine;
        match &mut self.current {
            Some(current) if current.id.eq_ignore_ascii_case(&row.id) => return current.merge(row),
            _ => {}
        }
        if listed.row == Row::Good {
            self.good(row, steps);
        } else {
            self.odd(row);
        }
    }

    fn good(&mut self, mut row: Machine, steps: &mut Vec<Step>) {
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
            self.close(steps);
            self.open = Some(row.subscription_id.clone());
        }
        let of_this = |odd: &Machine| odd.id.eq_ignore_ascii_case(&row.id);
        if self.odd.iter().any(of_this) {
            let (same, others): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.odd).into_iter().partition(of_this);
            self.odd = others;
            for odd in same {
                row.merge(odd);
            }
        }
        self.current = Some(row);
    }

    /// A row that cannot be read may be out of order, so it waits until its subscription is closed. A row without a
    /// subscription, or with one that is already closed, counts for the open subscription.
    fn odd(&mut self, mut row: Machine) {
        let state = self.subscriptions.get(&row.subscription_id);
        let waits = state.is_some_and(|(_, state)| matches!(state, State::Waiting | State::Open));
        if !waits {
            row.subscription_id = self.open.clone().unwrap_or_default();
        }
        self.odd.push(row);
    }

    /// Ends the group: the open subscription, and those without machines.
    pub(super) fn end(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        steps.extend(self.finished());
        self.close(&mut steps);
        let all = self.subscriptions.iter();
        let waiting = all.filter(|(_, (_, state))| *state == State::Waiting);
        let mut waiting: Vec<_> = waiting.map(|(id, (at, _))| (*at, id.clone())).collect();
        waiting.sort_unstable();
        for (_, id) in waiting {
            self.open = Some(id);
            self.close(&mut steps);
        }
        steps
    }

    /// Indexes of the subscriptions whose rows were out of order, so that some of their machines may not be counted.
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

    /// Closes the open subscription, with its unreadable rows and those without a subscription.
    fn close(&mut self, steps: &mut Vec<Step>) {
        let Some(id) = self.open.take() else { return };
        for mut row in std::mem::take(&mut self.odd) {
            if !row.subscription_id.is_empty() && row.subscription_id != id {
                self.odd.push(row);
            } else if self.seen.insert(hash(&row.id, "")) {
                row.subscription_id.clone_from(&id);
                steps.push(Step::Machine(Box::new(row)));
            }
        }
        if let Some((at, state)) = self.subscriptions.get_mut(&id) {
            if matches!(state, State::Open | State::Waiting) {
                *state = State::Closed;
            }
            steps.push(Step::Closed(*at));
        }
    }
}

#[cfg(test)]
mod tests {
    use serverprotection_core::machines::{Listing, MdeExtension};

    use super::*;

    fn row(id: &str, extension: &str) -> Listed {
        let extension = MdeExtension {
            name: extension.into(),
            ..MdeExtension::default()
        };
        let machine = Machine {
            id: id.into(),
            subscription_id: id.split('/').next().unwrap().into(),
            extensions: if extension.name.is_empty() {
                vec![]
            } else {
                vec![extension]
            },
            ..Machine::default()
        };
        Listed {
            machine,
            row: Row::Good,
        }
    }

    /// `?` before the id: the row cannot be read completely. `!`: it has no id, only a subscription or nothing.
    fn listed(id: &str, extension: &str) -> Listed {
        let odd = |id: &str, row: Row| {
            let mut listed = self::row(id, extension);
            listed.machine.listing = Listing::Unreadable;
            listed.row = row;
            listed
        };
        let print = |text: &str| hash(text, extension);
        match (id.strip_prefix('?'), id.strip_prefix('!')) {
            (Some(id), _) => odd(id, Row::Odd(print(id))),
            (_, Some(subscription)) => odd(subscription, Row::Nameless(print(subscription))),
            _ => row(id, extension),
        }
    }

    /// Machines as `id(number of extensions)`, closed subscriptions as their index.
    fn read(fold: &mut Fold, rows: &[(&str, &str)]) -> String {
        let mut steps = Vec::new();
        for (id, extension) in rows {
            fold.row(listed(id, extension), &mut steps);
        }
        summary_of(&steps)
    }

    fn summary_of(steps: &[Step]) -> String {
        let text = |step: &Step| match step {
            Step::Machine(machine) if machine.id.starts_with("row-without-id") => {
                format!("{}/nameless", machine.subscription_id)
            }
            Step::Machine(machine) => {
                let odd = if machine.listing == Listing::Read { "" } else { "?" };
                format!("{odd}{}({})", machine.id, machine.extensions.len())
            }
            Step::Closed(at) => at.to_string(),
        };
        steps.iter().map(text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn machines_are_merged_and_subscriptions_closed_when_the_next_begins() {
        let mut fold = Fold::new(["a", "b", "c"].into_iter());
        let rows = [("a/1", "x"), ("A/1", "y"), ("a/2", ""), ("c/1", "x"), ("z/1", "")];
        assert_eq!(read(&mut fold, &rows), "a/1(2) a/2(0) 0");
        assert_eq!(summary_of(&fold.end()), "c/1(1) 2 1");
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
        assert_eq!(summary_of(&fold.end()), "b/1(0) 1");
        assert!(fold.broken().is_empty());
    }

    #[test]
    fn rows_out_of_order_break_their_subscription_only() {
        let mut fold = Fold::new(["a", "b"].into_iter());
        read(&mut fold, &[("a/1", ""), ("b/1", ""), ("a/2", ""), ("b/2", "")]);
        assert_eq!(summary_of(&fold.end()), "b/2(0) 1");
        assert_eq!(fold.broken(), [0]);
        let mut fold = Fold::new(["a"].into_iter());
        read(&mut fold, &[("a/1", ""), ("a/2", ""), ("a/1", "late")]);
        assert_eq!(summary_of(&fold.end()), "a/2(0) 0", "broken while open");
        assert_eq!(fold.broken(), [0]);
    }

    #[test]
    fn a_restart_continues_after_the_known_rows() {
        let mut fold = Fold::new(["a", "b"].into_iter());
        assert_eq!(read(&mut fold, &[("a/1", ""), ("b/1", "")]), "a/1(0) 0");
        fold.restart();
        let again = [("a/0", "new"), ("a/1", "new"), ("b/1", ""), ("b/2", "x")];
        assert_eq!(read(&mut fold, &again), "b/1(0)");
        assert_eq!(summary_of(&fold.end()), "b/2(1) 1");
        assert!(fold.broken().is_empty());
    }

    #[test]
    fn unreadable_rows_affect_their_machine_only_in_any_order() {
        for (rows, machines, end) in [
            // In order, and as rows of a machine with other rows.
            (
                vec![("a/1", ""), ("?a/2", ""), ("a/3", "")],
                "a/1(0)",
                "a/3(0) ?a/2(0) 0 1",
            ),
            (
                vec![("a/1", "x"), ("?a/1", "y"), ("a/2", "")],
                "?a/1(2)",
                "a/2(0) 0 1",
            ),
            (
                vec![("?a/1", "x"), ("a/1", "y"), ("a/2", "")],
                "?a/1(2)",
                "a/2(0) 0 1",
            ),
            // Before and after the rows of their subscription.
            (
                vec![("?b/1", ""), ("a/1", ""), ("b/2", "")],
                "a/1(0) 0",
                "b/2(0) ?b/1(0) 1",
            ),
            (
                vec![("a/1", ""), ("b/2", ""), ("?a/2", "")],
                "a/1(0) 0",
                "b/2(0) ?a/2(0) 1",
            ),
            // The only rows.
            (vec![("?b/1", "")], "", "0 ?b/1(0) 1"),
            (
                vec![("?b/1", "x"), ("?b/1", "x"), ("?b/1", "y")],
                "",
                "0 ?b/1(1) 1",
            ),
        ] {
            let mut fold = Fold::new(["a", "b"].into_iter());
            assert_eq!(read(&mut fold, &rows), machines, "{rows:?}");
            assert_eq!(summary_of(&fold.end()), end, "{rows:?}");
            assert!(fold.broken().is_empty(), "{rows:?}");
        }
    }

    #[test]
    fn rows_without_an_id_belong_to_the_open_subscription() {
        for (rows, machines, end) in [
            (
                vec![("a/1", ""), ("!", ""), ("b/1", "")],
                "a/1(0) a/nameless 0",
                "b/1(0) 1",
            ),
            (vec![("!", ""), ("b/1", "")], "", "b/1(0) b/nameless 1 0"),
            (vec![("!b", ""), ("a/1", "")], "", "a/1(0) 0 b/nameless 1"),
            // Also without a subscription: it counts for the first one.
            (vec![("!", "")], "", "a/nameless 0 1"),
            // Equal rows are different machines.
            (
                vec![("a/1", ""), ("!", ""), ("!", "")],
                "",
                "a/1(0) a/nameless a/nameless 0 1",
            ),
        ] {
            let mut fold = Fold::new(["a", "b"].into_iter());
            assert_eq!(read(&mut fold, &rows), machines, "{rows:?}");
            assert_eq!(summary_of(&fold.end()), end, "{rows:?}");
            assert_eq!(fold.distinct, u64::try_from(rows.len()).unwrap(), "{rows:?}");
            assert!(fold.broken().is_empty(), "{rows:?}");
        }
    }

    #[test]
    fn a_restart_recognizes_rows_without_an_id() {
        let mut fold = Fold::new(["a"].into_iter());
        let rows = [("a/1", ""), ("!", ""), ("!", "")];
        read(&mut fold, &rows);
        fold.restart();
        read(&mut fold, &rows);
        assert_eq!((fold.distinct, fold.duplicates), (3, 3));
        assert_eq!(summary_of(&fold.end()), "a/1(0) a/nameless a/nameless 0");
    }
}
