//! `status.machines` and the condition `MachinesProtected`: the results of the scans for the subscription.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serverprotection_api::{
    EnvironmentStatus, ExcludedStatus, MachineStatus, MachinesStatus, ScanFailure, ServerProtectionSpec,
    ServerProtectionStatus, Tier,
};

use crate::{
    Timestamp,
    azure_error::AzureError,
    conditions::{ConditionStatus, ConditionType, Conditions, Reason},
    drift::HEARTBEAT,
    machines::{
        Environment, Exclusions, Tally, Verdict,
        reading::{Access, Failing, STALE_AFTER, Scans, SubscriptionReading},
        summary::{Summary, Worst},
    },
    message::{Message, share},
    printable,
    server_protection::field::ExtensionName,
    switch::ENABLED,
};

const TYPE: ConditionType = ConditionType::MachinesProtected;
/// Maximum length of Azure's texts in the list of machines.
const LONGEST_MESSAGE: usize = 300;
/// Longest resource id that Azure Resource Manager accepts, and more.
const LONGEST_ID: usize = 2048;

/// What the numbers are computed from.
pub(super) struct Input<'a> {
    pub(super) spec: &'a ServerProtectionSpec,
    /// The current status.
    pub(super) previous: &'a ServerProtectionStatus,
    pub(super) scans: &'a Scans,
    pub(super) now: Timestamp,
}

/// Sets both. The previous numbers are kept until a scan succeeds in this process.
pub(super) fn set(conditions: &mut Conditions, status: &mut ServerProtectionStatus, input: &Input<'_>) {
    let scans = input.scans;
    let previous = input.previous.machines.as_ref();
    let numbers = match &scans.reading {
        Some(reading) => Some(numbers(input, reading, previous)),
        None => previous.cloned(),
    };
    let Some(mut numbers) = numbers else {
        if let Some(failing) = &scans.failing {
            let message = Message::new("No scan has succeeded yet").caused_by(&error(failing));
            conditions.set(TYPE, ConditionStatus::Unknown, Reason::ScanFailed, &message);
        }
        return;
    };
    numbers.scan_failure = scans.failing.as_ref().map(|failing| ScanFailure {
        start_time: Time(failing.since),
        message: error(failing).to_string(),
    });
    if let Some(previous) = previous {
        keep_unless_changed(&mut numbers, previous, input.now);
    }
    let at = numbers.last_scan_time.as_ref().map(|at| at.0);
    answer(conditions, input, scans, at);
    status.machines = Some(numbers);
}

/// `lastScanTime` is updated with another change, or hourly; it never moves backwards.
fn keep_unless_changed(numbers: &mut MachinesStatus, previous: &MachinesStatus, now: Timestamp) {
    let refresh = {
        let same_time = MachinesStatus {
            last_scan_time: previous.last_scan_time.clone(),
            ..numbers.clone()
        };
        same_time != *previous
    };
    let old = |last: &Time| now.duration_since(last.0) >= HEARTBEAT;
    if !refresh && !previous.last_scan_time.as_ref().is_none_or(old) {
        numbers.last_scan_time.clone_from(&previous.last_scan_time);
    }
}

/// The error of a failed scan without its request id, which would change the object with every scan.
fn error(failing: &Failing) -> Message {
    let failure = AzureError {
        request_id: None,
        ..failing.failure.clone()
    };
    failure.to_message()
}

fn numbers(
    input: &Input<'_>,
    reading: &SubscriptionReading,
    previous: Option<&MachinesStatus>,
) -> MachinesStatus {
    let summary = &reading.summary;
    let tally = &summary.tally;
    let verdicts = Verdict::ALL
        .into_iter()
        .map(|verdict| (verdict.as_str().to_owned(), count(tally.verdict(verdict))))
        .filter(|(_, machines)| *machines > 0);
    let environments = Environment::ALL
        .into_iter()
        .filter(|environment| tally.total(&[*environment]) > 0)
        .map(|environment| {
            (
                environment.as_str().to_owned(),
                environment_status(tally, environment),
            )
        });
    let rules = Exclusions::of(&input.spec.machines);
    MachinesStatus {
        total: count(tally.total(&Environment::ALL)),
        eligible: count(tally.eligible(&Environment::ALL)),
        verdicts: verdicts.collect(),
        environments: environments.collect::<BTreeMap<_, _>>(),
        worst: summary
            .worst
            .iter()
            .map(|worst| machine_status(worst, previous, input.now))
            .collect(),
        // A rule added after the scan has no count yet.
        excluded: rules
            .names()
            .zip(&summary.excluded)
            .map(|(name, machines)| ExcludedStatus {
                name: name.to_owned(),
                machines: count(*machines),
            })
            .collect(),
        direct_onboarding: onboards_directly(input).then(|| "NotVerifiable".into()),
        scan_failure: None,
        last_scan_time: Timestamp::from_second(reading.at.as_second()).ok().map(Time),
    }
}

fn environment_status(tally: &Tally, environment: Environment) -> EnvironmentStatus {
    let protected = tally.count(environment, Verdict::Protected);
    let eligible = tally.eligible(&[environment]);
    EnvironmentStatus {
        total: count(tally.total(&[environment])),
        eligible: count(eligible),
        protected: count(protected),
    }
}

fn machine_status(worst: &Worst, previous: Option<&MachinesStatus>, now: Timestamp) -> MachineStatus {
    let (id, verdict) = (
        printable::limited(&worst.id, LONGEST_ID),
        worst.finding.verdict.as_str(),
    );
    let known = previous
        .into_iter()
        .flat_map(|previous| &previous.worst)
        .find(|known| known.id == id && known.verdict == verdict);
    // Ignore timestamps in the future (clock skew); they would change on every scan.
    let reported = worst.finding.since.filter(|since| *since <= now);
    MachineStatus {
        id,
        name: printable::short(&worst.name),
        environment: worst.environment.as_str().into(),
        verdict: verdict.into(),
        reason: printable::short(&worst.finding.reason),
        message: printable::limited(&worst.finding.message, LONGEST_MESSAGE),
        start_time: reported
            .map(Time)
            .or_else(|| known.map(|known| known.start_time.clone()))
            .unwrap_or(Time(now)),
        remedy: printable::limited(&worst.finding.remedy, LONGEST_MESSAGE),
    }
}

fn onboards_directly(input: &Input<'_>) -> bool {
    let plan = input.previous.plan.as_ref();
    let mut extensions = plan.into_iter().flat_map(|plan| &plan.extensions);
    extensions.any(|extension| {
        ExtensionName::DirectOnboarding.is_named(&extension.name) && extension.state == ENABLED
    })
}

fn answer(conditions: &mut Conditions, input: &Input<'_>, scans: &Scans, at: Option<Timestamp>) {
    let age = |failing: &Failing| {
        let at = at.map_or_else(|| "an earlier scan".to_owned(), |at| at.to_string());
        format!(
            "The numbers are from {at}; scans have failed since {}",
            failing.since
        )
    };
    if let Some(failing) = scans
        .failing
        .as_ref()
        .filter(|failing| failing.times >= STALE_AFTER)
    {
        let message = Message::new(age(failing)).caused_by(&error(failing));
        conditions.set(TYPE, ConditionStatus::Unknown, Reason::ScanStale, &message);
        return;
    }
    let Some(reading) = &scans.reading else { return };
    if input.spec.plan.tier == Tier::Free {
        let message = Message::new("No machine is to be protected, because the spec demands plan Free");
        conditions.set(TYPE, ConditionStatus::Unknown, Reason::PlanFree, &message);
        return;
    }
    let (status, reason, mut message) = judge(input.spec.machines.minimum_protected_percent, reading);
    if let Some(failing) = &scans.failing {
        let age = Message::new(age(failing)).cause(error(failing).problem_text());
        message = message.and(&age.to_string());
    }
    conditions.set(TYPE, status, reason, &message);
}

/// Honest denominators (I-9): without machines, or if machines may not be read, the result is Unknown.
fn judge(minimum: i32, reading: &SubscriptionReading) -> (ConditionStatus, Reason, Message) {
    let tally = &reading.summary.tally;
    if let Access::Missing(actions) = &reading.access {
        let message = Message::new("The identity may not read all machines of the subscription").action(
            format!("Grant it {} (Reader has these actions)", actions.join(", ")),
        );
        return (ConditionStatus::Unknown, Reason::NoReadAccess, message);
    }
    let (total, eligible) = (tally.total(&Environment::ALL), tally.eligible(&Environment::ALL));
    if eligible == 0 {
        let message = match (total, &reading.access) {
            (0, Access::NotReadable) => Message::new(
                "No machine is visible, and it is unknown whether the identity may read machines",
            )
            .action("Grant the identity Reader if there are machines"),
            (0, _) => Message::new("The subscription has no machine"),
            (1, _) => Message::new("The only machine is not to be protected")
                .cause(others(tally, |verdict| !verdict.is_eligible())),
            _ => Message::new(format!("None of the {total} machines is to be protected"))
                .cause(others(tally, |verdict| !verdict.is_eligible())),
        };
        return (ConditionStatus::Unknown, Reason::NoMachines, message);
    }
    let minimum = u64::try_from(minimum).unwrap_or(100);
    let (protected, waiting) = (
        tally.verdict(Verdict::Protected),
        tally.verdict(Verdict::Provisioning),
    );
    let enough = |machines: u64| u128::from(machines) * 100 >= u128::from(minimum) * u128::from(eligible);
    let rest = others(tally, |verdict| {
        verdict.is_eligible() && verdict != Verdict::Protected
    });
    let mut message = Message::new(format!(
        "{} protected, the minimum is {minimum} %",
        share(protected, eligible, "machine")
    ));
    if !rest.is_empty() {
        message = message.cause(rest);
    }
    for sentence in uncertain_machines(&reading.summary) {
        message = message.and(&sentence);
    }
    match () {
        () if enough(protected) => (ConditionStatus::True, Reason::Protected, message),
        () if enough(protected + waiting) => (ConditionStatus::False, Reason::Provisioning, message),
        () => (ConditionStatus::False, Reason::BelowMinimum, message),
    }
}

/// Sentences about what Resource Graph leaves open.
fn uncertain_machines(summary: &Summary) -> Vec<String> {
    let mut sentences = Vec::new();
    if summary.unreadable > 0 {
        sentences.push(format!(
            "The rows of {} cannot be read (RowUnreadable).",
            machines(summary.unreadable)
        ));
    }
    if summary.not_listed > 0 {
        sentences.push(format!(
            "Resource Graph no longer lists {} (NotListed), which count until direct requests confirm their deletion.",
            machines(summary.not_listed)
        ));
    }
    sentences
}

fn machines(count: u64) -> String {
    match count {
        1 => "1 machine".into(),
        _ => format!("{count} machines"),
    }
}

fn others(tally: &Tally, expected: impl Fn(Verdict) -> bool) -> String {
    let counts: Vec<_> = Verdict::ALL
        .into_iter()
        .filter(|verdict| expected(*verdict) && tally.verdict(*verdict) > 0)
        .map(|verdict| format!("{} {verdict}", tally.verdict(verdict)))
        .collect();
    counts.join(", ")
}

fn count(machines: u64) -> i64 {
    i64::try_from(machines).unwrap_or(i64::MAX)
}
