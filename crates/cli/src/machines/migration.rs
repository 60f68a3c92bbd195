//! `--migration`: progress of the migration by environment, with the next step of each stage.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;
use serverprotection_core::machines::{
    Environment, Finding, Machine, Migration, Stage, migration::NOT_VISIBLE,
};

use super::{
    rows::record,
    summary::Summary,
    totals::{End, Totals},
};

/// Counts machines. Subscriptions that are still being read are separate, because one that fails does not count.
#[derive(Debug, Default)]
pub(crate) struct Counting {
    under_way: BTreeMap<String, Migration>,
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
            self.total.merge(migration);
        }
    }

    pub(crate) fn total(&self) -> &Migration {
        &self.total
    }
}

/// The environments of the report: those of `--environment`, or those with machines.
fn environments(migration: &Migration, selected: &[Environment]) -> Vec<Environment> {
    let expected = |environment: &Environment| {
        if selected.is_empty() {
            migration.total(*environment) > 0
        } else {
            selected.contains(environment)
        }
    };
    Environment::ALL.into_iter().filter(expected).collect()
}

fn stages(migration: &Migration, environment: Environment) -> impl Iterator<Item = (Stage, u64)> {
    Stage::ALL
        .into_iter()
        .map(move |stage| (stage, migration.count(environment, stage)))
        .filter(|(_, machines)| *machines > 0)
}

/// The report as text.
pub(crate) fn text(migration: &Migration, selected: &[Environment]) -> String {
    let mut text = String::new();
    for environment in environments(migration, selected) {
        let _ = writeln!(
            text,
            "{}: {} machines, {} onboarded\n",
            environment.as_str(),
            migration.total(environment),
            migration.count(environment, Stage::Onboarded)
        );
        let _ = writeln!(text, "  {:<34}{:>9}  NEXT STEP", "STAGE", "MACHINES");
        for (stage, machines) in stages(migration, environment) {
            let _ = writeln!(text, "  {stage:<34}{machines:>9}  {}", stage.next_step());
            for (system, machines) in migration.systems(environment, stage) {
                let _ = writeln!(text, "    {:<32}{machines:>9}", printable(system));
            }
        }
        text.push('\n');
    }
    text.push_str("Not visible in Azure:\n");
    for line in NOT_VISIBLE {
        let _ = writeln!(text, "  - {line}");
    }
    text.push('\n');
    text
}

/// Replaces control characters: the names of systems come from machines and must not control the terminal.
fn printable(text: &str) -> String {
    let clean = |letter: char| if letter.is_control() { ' ' } else { letter };
    text.chars().map(clean).collect()
}

/// The report as CSV: a record per environment and stage, and per system if the stage depends on it.
pub(crate) fn csv(out: &mut Vec<u8>, migration: &Migration, selected: &[Environment]) {
    record(out, ["environment", "stage", "system", "machines", "next_step"]);
    for environment in environments(migration, selected) {
        for (stage, machines) in stages(migration, environment) {
            let systems = migration.systems(environment, stage);
            let lines = if systems.is_empty() {
                vec![("", machines)]
            } else {
                systems
            };
            for (system, machines) in lines {
                let machines = machines.to_string();
                record(
                    out,
                    [
                        environment.as_str(),
                        stage.as_str(),
                        system,
                        &machines,
                        stage.next_step(),
                    ],
                );
            }
        }
    }
}

/// The report as JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report<'a> {
    kind: &'static str,
    environments: Vec<InEnvironment<'a>>,
    not_visible: [&'static str; NOT_VISIBLE.len()],
    summary: Summary<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InEnvironment<'a> {
    environment: &'static str,
    total: u64,
    onboarded: u64,
    stages: Vec<InStage<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InStage<'a> {
    stage: &'static str,
    machines: u64,
    next_step: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    systems: Vec<System<'a>>,
}

#[derive(Serialize)]
struct System<'a> {
    name: &'a str,
    machines: u64,
}

impl<'a> Report<'a> {
    pub(crate) fn new(
        migration: &'a Migration,
        selected: &[Environment],
        totals: &'a Totals,
        end: &'a End,
    ) -> Self {
        let in_environment = |environment| InEnvironment {
            environment: Environment::as_str(environment),
            total: migration.total(environment),
            onboarded: migration.count(environment, Stage::Onboarded),
            stages: stages(migration, environment)
                .map(|(stage, machines)| InStage {
                    stage: stage.as_str(),
                    machines,
                    next_step: stage.next_step(),
                    systems: migration
                        .systems(environment, stage)
                        .into_iter()
                        .map(|(name, machines)| System { name, machines })
                        .collect(),
                })
                .collect(),
        };
        Self {
            kind: "MigrationReport",
            environments: environments(migration, selected)
                .into_iter()
                .map(in_environment)
                .collect(),
            not_visible: NOT_VISIBLE,
            summary: Summary::new(totals, end),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use serverprotection_core::machines::{Kind, Verdict};

    use super::{
        super::rows::tests::{finding, machine},
        *,
    };

    fn counted() -> Counting {
        let mut counting = Counting::default();
        counting.machine(&machine("web"), &finding(Verdict::Protected));
        let mut old = machine("old");
        old.os_sku = "Ubuntu 16.04".into();
        old.cloud.clear();
        for _ in 0..3 {
            counting.machine(&old, &finding(Verdict::Missing));
        }
        let mut azure = machine("azure");
        azure.kind = Kind::VirtualMachine;
        counting.machine(&azure, &finding(Verdict::Failed));
        counting
    }

    fn read() -> Counting {
        let mut counting = counted();
        counting.subscription(&machine("web").subscription_id, true);
        counting
    }

    #[test]
    fn a_failed_subscription_does_not_count() {
        let mut counting = counted();
        counting.subscription(&machine("web").subscription_id, false);
        assert_eq!(*counting.total(), Migration::default());
        assert_eq!(read().total().total(Environment::OnPremises), 3);
    }

    #[test]
    fn the_text_has_a_table_for_each_environment() {
        let counting = read();
        let text = text(counting.total(), &[]);
        for words in [
            "OnPremises: 3 machines, 0 onboarded",
            "  DirectOnboardingOnly                      3  Onboard these machines directly",
            "    Ubuntu 16.04                            3\n",
            "AWS: 1 machines, 1 onboarded",
            "Azure: 1 machines, 0 onboarded",
            "antivirus policies and exclusions",
        ] {
            assert!(text.contains(words), "{words}\n---\n{text}");
        }
        assert!(!text.contains("GCP:"));
        let text = super::text(counting.total(), &[Environment::Aws]);
        assert!(text.contains("AWS:") && !text.contains("OnPremises:"));
    }

    #[test]
    fn csv_and_json_add_up() {
        let counting = read();
        let mut out = Vec::new();
        csv(&mut out, counting.total(), &[]);
        let mut reader = csv::Reader::from_reader(out.as_slice());
        let sum: u64 = reader
            .records()
            .map(|record| record.unwrap()[3].parse::<u64>().unwrap())
            .sum();
        assert_eq!(sum, 5);
        let (totals, end) = (Totals::default(), Totals::default().end());
        let report: Value = serde_json::to_value(Report::new(counting.total(), &[], &totals, &end)).unwrap();
        let sum: u64 = report["environments"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|environment| environment["stages"].as_array().unwrap())
            .map(|stage| stage["machines"].as_u64().unwrap())
            .sum();
        assert_eq!(sum, 5);
        assert_eq!(
            report["environments"][1]["stages"][0]["systems"],
            json!([{"name": "Ubuntu 16.04", "machines": 3}])
        );
    }
}
