//! `--migration`: progress of the migration by environment and by subscription, with the next step of each stage, and
//! what Defender for Servers bills.

mod report;

use std::{cmp::Reverse, collections::BTreeMap, fmt::Write as _};

use serverprotection_core::machines::{
    Billing, Environment, Finding, Machine, Migration, Stage, migration::NOT_VISIBLE,
};

pub(crate) use self::report::Report;
use super::{
    args::Format,
    cells::record,
    rows::line,
    totals::{Subscription, Totals},
};
use crate::printable;

/// Maximum number of subscriptions below the stage `PlanOff` of a table.
const MAX_NAMED: usize = 20;
/// Maximum number of subscriptions in the table of subscriptions, except with `-o wide`.
const MAX_SUBSCRIPTIONS: usize = 50;

const COLUMNS: [(&str, usize); 7] = [
    ("SUBSCRIPTION", 36),
    ("NAME", 24),
    ("PLAN", 4),
    ("MACHINES", 8),
    ("BILLED", 6),
    ("ONBOARDED", 9),
    ("OTHER STAGES", 0),
];

/// Counts machines by subscription. Subscriptions that are still being read are separate, because one that fails does
/// not count.
#[derive(Debug, Default)]
pub(crate) struct Counting {
    under_way: BTreeMap<String, Migration>,
    read: BTreeMap<String, Migration>,
    total: Migration,
}

impl Counting {
    pub(crate) fn machine(&mut self, machine: &Machine, finding: &Finding) {
        let id = machine.subscription_id.as_str();
        if !self.under_way.contains_key(id) {
            self.under_way.insert(id.to_owned(), Migration::default());
        }
        if let Some(migration) = self.under_way.get_mut(id) {
            migration.add(machine, finding);
        }
    }

    pub(crate) fn subscription(&mut self, id: &str, is_read: bool) {
        if let Some(migration) = self.under_way.remove(id).filter(|_| is_read) {
            self.total.merge(&migration);
            self.read.insert(id.to_owned(), migration);
        }
    }
}

/// The counts of one report: those of the selected environments.
struct Selected<'a> {
    counting: &'a Counting,
    totals: &'a Totals,
    environments: Vec<Environment>,
}

/// The counts of one subscription.
struct InSubscription<'a> {
    id: &'a str,
    name: &'a str,
    /// `Free`, `P1` or `P2`; empty if it is not visible.
    plan: &'a str,
    migration: &'a Migration,
}

impl<'a> Selected<'a> {
    /// The environments are those of `--environment`, or those with machines.
    fn new(counting: &'a Counting, totals: &'a Totals, selected: &[Environment]) -> Self {
        let expected = |environment: &Environment| {
            if selected.is_empty() {
                counting.total.total(*environment) > 0
            } else {
                selected.contains(environment)
            }
        };
        Self {
            counting,
            totals,
            environments: Environment::ALL.into_iter().filter(expected).collect(),
        }
    }

    /// The sum over the environments.
    fn sum(&self, count: impl Fn(Environment) -> u64) -> u64 {
        self.environments
            .iter()
            .map(|environment| count(*environment))
            .sum()
    }

    /// The stages of one environment that have machines.
    fn stages(migration: &Migration, environment: Environment) -> impl Iterator<Item = (Stage, u64)> {
        Stage::ALL
            .into_iter()
            .map(move |stage| (stage, migration.count(environment, stage)))
            .filter(|(_, machines)| *machines > 0)
    }

    /// The stages of a subscription that have machines.
    fn stages_of(&self, migration: &Migration) -> impl Iterator<Item = (Stage, u64)> {
        let count = |stage| self.sum(|environment| migration.count(environment, stage));
        let stages = Stage::ALL.map(|stage| (stage, count(stage)));
        stages.into_iter().filter(|(_, machines)| *machines > 0)
    }

    fn total(&self, migration: &Migration) -> u64 {
        self.sum(|environment| migration.total(environment))
    }

    fn onboarded(&self, migration: &Migration) -> u64 {
        self.sum(|environment| migration.count(environment, Stage::Onboarded))
    }

    fn billed(&self, migration: &Migration) -> u64 {
        self.sum(|environment| migration.billed(environment))
    }

    /// The subscriptions with machines, those with most machines that are not onboarded first.
    fn subscriptions(&self) -> Vec<InSubscription<'a>> {
        let mut all: Vec<_> = self
            .counting
            .read
            .iter()
            .filter(|(_, migration)| self.total(migration) > 0)
            .map(|(id, migration)| {
                let known = self.totals.subscriptions.get(id);
                InSubscription {
                    id,
                    name: known.map_or("", |known| known.name.as_str()),
                    plan: known.and_then(Subscription::tier).unwrap_or_default(),
                    migration,
                }
            })
            .collect();
        all.sort_by_key(|one| Reverse(self.total(one.migration) - self.onboarded(one.migration)));
        all
    }
}

/// The report as text.
pub(crate) fn text(
    counting: &Counting,
    totals: &Totals,
    environments: &[Environment],
    format: Format,
) -> String {
    let selected = Selected::new(counting, totals, environments);
    let subscriptions = selected.subscriptions();
    let total = &counting.total;
    let mut text = String::new();
    for environment in selected.environments.iter().copied() {
        let _ = writeln!(
            text,
            "{}: {} machines, {} onboarded\n",
            environment.as_str(),
            total.total(environment),
            total.count(environment, Stage::Onboarded)
        );
        let _ = writeln!(text, "  {:<34}{:>9}  NEXT STEP", "STAGE", "MACHINES");
        for (stage, machines) in Selected::stages(total, environment) {
            let _ = writeln!(text, "  {stage:<34}{machines:>9}  {}", stage.next_step());
            for (system, machines) in total.systems(environment, stage) {
                let _ = writeln!(text, "    {:<32}{machines:>9}", printable::one_line(system));
            }
            if stage == Stage::PlanOff {
                plan_off(&mut text, &subscriptions, environment);
            }
        }
        text.push('\n');
    }
    text.push_str(&billing(&selected));
    text.push_str(&table(&selected, &subscriptions, format));
    text.push_str("Not visible in Azure:\n");
    for line in NOT_VISIBLE {
        let _ = writeln!(text, "  - {line}");
    }
    text.push('\n');
    text
}

/// The subscriptions whose plan is to be switched on.
fn plan_off(text: &mut String, subscriptions: &[InSubscription<'_>], environment: Environment) {
    let off = |one: &&InSubscription<'_>| one.migration.count(environment, Stage::PlanOff) > 0;
    let all = subscriptions.iter().filter(off);
    for one in all.clone().take(MAX_NAMED) {
        let machines = one.migration.count(environment, Stage::PlanOff);
        let name = if one.name.is_empty() {
            String::new()
        } else {
            format!("  {}", printable::one_line(one.name))
        };
        let _ = writeln!(text, "    {:<32}{machines:>9}{name}", printable::one_line(one.id));
    }
    if let Some(more @ 1..) = all.count().checked_sub(MAX_NAMED) {
        let _ = writeln!(text, "    and {more} more subscriptions (-o json lists all)");
    }
}

/// What P1 and P2 bill, by environment.
fn billing(selected: &Selected<'_>) -> String {
    let total = &selected.counting.total;
    let mut text = "What P1 and P2 bill (the same machines, at different prices):\n".to_owned();
    let mut row = |title: &str, count: &dyn Fn(Environment) -> String, sum: String| {
        let _ = write!(text, "  {title:<34}");
        for environment in &selected.environments {
            let _ = write!(text, "{:>12}", count(*environment));
        }
        let _ = writeln!(text, "{sum:>12}");
    };
    row("", &|environment| environment.as_str().to_owned(), "Total".into());
    let mut counts = |title: &str, is_printed: bool, count: &dyn Fn(Environment) -> u64| {
        let sum = selected.sum(count);
        if is_printed || sum > 0 {
            row(
                title,
                &|environment| count(environment).to_string(),
                sum.to_string(),
            );
        }
    };
    let of = |billing| move |environment| total.billing(environment, billing);
    counts("Billed", true, &|environment| total.billed(environment));
    counts("  of them stopped, still allocated", false, &of(Billing::Stopped));
    counts("Not billed: deallocated", false, &of(Billing::Deallocated));
    counts("Not billed: Arc not connected", false, &of(Billing::NotConnected));
    counts("Not billed: own plan is Free", false, &of(Billing::OwnPlanFree));
    counts("Unknown", false, &of(Billing::Unknown));
    text.push('\n');
    text
}

/// The stages by subscription.
fn table(selected: &Selected<'_>, subscriptions: &[InSubscription<'_>], format: Format) -> String {
    let limit = if format == Format::Wide {
        usize::MAX
    } else {
        MAX_SUBSCRIPTIONS
    };
    let mut out = b"Subscriptions, those with most machines that are not onboarded first:\n".to_vec();
    line(&mut out, &COLUMNS, COLUMNS.map(|(title, _)| title), false);
    for one in subscriptions.iter().take(limit) {
        let others = selected
            .stages_of(one.migration)
            .filter(|(stage, _)| *stage != Stage::Onboarded)
            .map(|(stage, machines)| format!("{machines} {stage}"));
        let others: Vec<_> = others.collect();
        let cells = [
            one.id.to_owned(),
            one.name.to_owned(),
            if one.plan.is_empty() { "-" } else { one.plan }.to_owned(),
            selected.total(one.migration).to_string(),
            selected.billed(one.migration).to_string(),
            selected.onboarded(one.migration).to_string(),
            others.join(", "),
        ];
        line(&mut out, &COLUMNS, cells, false);
    }
    let mut text = String::from_utf8_lossy(&out).into_owned();
    if let Some(more @ 1..) = subscriptions.len().checked_sub(limit) {
        let _ = writeln!(text, "and {more} more (-o wide lists all)");
    }
    text.push('\n');
    text
}

/// The report as CSV: a record per subscription, environment and stage, and per system if the stage depends on it.
pub(crate) fn csv(out: &mut Vec<u8>, counting: &Counting, totals: &Totals, environments: &[Environment]) {
    record(
        out,
        [
            "subscription_id",
            "subscription_name",
            "plan",
            "environment",
            "stage",
            "system",
            "machines",
            "next_step",
        ],
    );
    let selected = Selected::new(counting, totals, environments);
    for one in selected.subscriptions() {
        for environment in selected.environments.iter().copied() {
            for (stage, machines) in Selected::stages(one.migration, environment) {
                let systems = one.migration.systems(environment, stage);
                let lines = if systems.is_empty() {
                    vec![("", machines)]
                } else {
                    systems
                };
                for (system, machines) in lines {
                    record(
                        out,
                        [
                            one.id,
                            one.name,
                            one.plan,
                            environment.as_str(),
                            stage.as_str(),
                            system,
                            &machines.to_string(),
                            stage.next_step(),
                        ],
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
