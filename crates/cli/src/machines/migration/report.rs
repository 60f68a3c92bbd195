//! The report as JSON.

use serde::Serialize;
use serverprotection_core::machines::{Billing, Environment, Migration, Stage, migration::NOT_VISIBLE};

use super::{
    super::{
        summary::Summary,
        totals::{End, Totals},
    },
    Counting, InSubscription, Selected,
};

/// The document.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report<'a> {
    kind: &'static str,
    environments: Vec<OfEnvironment<'a>>,
    subscriptions: Vec<OfSubscription<'a>>,
    not_visible: [&'static str; NOT_VISIBLE.len()],
    summary: Summary<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfEnvironment<'a> {
    environment: &'static str,
    total: u64,
    onboarded: u64,
    stages: Vec<OfStage<'a>>,
    billing: Bill,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfStage<'a> {
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

#[derive(Serialize)]
struct OfSubscription<'a> {
    id: &'a str,
    name: &'a str,
    /// Null if it is not visible.
    plan: Option<&'a str>,
    total: u64,
    onboarded: u64,
    stages: Vec<Stages>,
    billing: Bill,
}

#[derive(Serialize)]
struct Stages {
    stage: &'static str,
    machines: u64,
}

/// Machines by billing; `stopped` is a part of `billed`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bill {
    billed: u64,
    stopped: u64,
    deallocated: u64,
    not_connected: u64,
    own_plan_free: u64,
    unknown: u64,
}

impl Bill {
    fn new(migration: &Migration, sum: impl Fn(&dyn Fn(Environment) -> u64) -> u64) -> Self {
        let of = |billing| sum(&|environment| migration.billing(environment, billing));
        Self {
            billed: sum(&|environment| migration.billed(environment)),
            stopped: of(Billing::Stopped),
            deallocated: of(Billing::Deallocated),
            not_connected: of(Billing::NotConnected),
            own_plan_free: of(Billing::OwnPlanFree),
            unknown: of(Billing::Unknown),
        }
    }
}

impl<'a> Report<'a> {
    pub(crate) fn new(
        counting: &'a Counting,
        totals: &'a Totals,
        environments: &[Environment],
        end: &'a End,
    ) -> Self {
        let selected = Selected::new(counting, totals, environments);
        let in_environment = |environment: &Environment| of_environment(&counting.total, *environment);
        let subscriptions = selected.subscriptions();
        Self {
            kind: "MigrationReport",
            environments: selected.environments.iter().map(in_environment).collect(),
            subscriptions: subscriptions
                .iter()
                .map(|one| of_subscription(&selected, one))
                .collect(),
            not_visible: NOT_VISIBLE,
            summary: Summary::new(totals, end),
        }
    }
}

fn of_environment(migration: &Migration, environment: Environment) -> OfEnvironment<'_> {
    let systems = |stage| {
        let systems = migration.systems(environment, stage).into_iter();
        systems
            .map(|(name, machines)| System { name, machines })
            .collect()
    };
    OfEnvironment {
        environment: environment.as_str(),
        total: migration.total(environment),
        onboarded: migration.count(environment, Stage::Onboarded),
        stages: Selected::stages(migration, environment)
            .map(|(stage, machines)| OfStage {
                stage: stage.as_str(),
                machines,
                next_step: stage.next_step(),
                systems: systems(stage),
            })
            .collect(),
        billing: Bill::new(migration, |count| count(environment)),
    }
}

fn of_subscription<'a>(selected: &Selected<'a>, one: &InSubscription<'a>) -> OfSubscription<'a> {
    OfSubscription {
        id: one.id,
        name: one.name,
        plan: Some(one.plan).filter(|plan| !plan.is_empty()),
        total: selected.total(one.migration),
        onboarded: selected.onboarded(one.migration),
        stages: selected
            .stages_of(one.migration)
            .map(|(stage, machines)| Stages {
                stage: stage.as_str(),
                machines,
            })
            .collect(),
        billing: Bill::new(one.migration, |count| selected.sum(count)),
    }
}
