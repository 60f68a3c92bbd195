//! Counts equal a simple recount over generated machines.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use crate::machines::{Account, ArcAgent, Image, Kind, MachineCounts, MdeExtension, RuleContext, finding};

fn words(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::sample::select(words).prop_map(str::to_owned)
}

fn time() -> impl Strategy<Value = Option<Timestamp>> {
    proptest::option::of((0_i64..200).prop_map(|hours| {
        let seconds = 1_700_000_000 - hours * 3600;
        Timestamp::from_second(seconds).unwrap()
    }))
}

fn extension() -> impl Strategy<Value = MdeExtension> {
    (
        words(&["MDE.Linux", "MDE.Windows", "mde.linux"]),
        words(&[
            "Succeeded",
            "Failed",
            "Creating",
            "Updating",
            "Deleting",
            "Canceled",
            "Odd",
            "",
        ]),
        words(&["", "0", "24", "ProvisioningState/failed/51", "transitioning"]),
        words(&["", "Info", "Information", "Warning", "Error"]),
        (time(), time()),
        any::<Option<bool>>(),
    )
        .prop_map(
            |(type_, state, code, level, (at, modified), unified)| MdeExtension {
                type_,
                state,
                unified,
                code,
                level,
                at,
                modified,
                ..MdeExtension::default()
            },
        )
}

fn tags() -> impl Strategy<Value = BTreeMap<String, String>> {
    let name = words(&[
        "AccountId",
        "accountid",
        "ProjectNumber",
        "ProjectId",
        "Cloud",
        "env",
    ]);
    proptest::collection::btree_map(name, words(&["1", "2", "AWS", "gcp", ""]), 0..4)
}

fn machine() -> impl Strategy<Value = Machine> {
    let agent = (
        words(&["Connected", "Disconnected", "Expired", "Error", "Odd", ""]),
        time(),
        words(&["1.64", ""]),
        words(&["true", "false", ""]),
    )
        .prop_map(
            |(status, last_status_change, agent_version, extensions_enabled)| ArcAgent {
                status,
                last_status_change,
                agent_version,
                extensions_enabled,
                ..ArcAgent::default()
            },
        );
    let image = words(&["2016-Datacenter", "22_04-lts", "odd"]).prop_map(|sku| Image {
        publisher: "canonical".into(),
        offer: "ubuntu WindowsServer".into(),
        sku,
    });
    (
        (0_u8..3, 1_u32..5, "[a-z]{1,4}"),
        (
            words(&["Windows", "linux", ""]),
            words(&["Windows Server 2022", "Ubuntu 20.04", "CentOS 7", ""]),
        ),
        proptest::option::of(image),
        words(&["", "PowerState/running", "PowerState/deallocated", "odd"]),
        proptest::option::of(agent),
        words(&["AWS", "gcp", "Azure", "N/A", ""]),
        (any::<bool>(), time()),
        proptest::collection::vec(extension(), 0..3),
        (any::<bool>(), tags()),
    )
        .prop_map(
            |(
                (kind, instances, id),
                (os_type, os_sku),
                image,
                power,
                arc,
                cloud,
                (other_connector, created),
                extensions,
                (by_connector, tags),
            )| {
                Machine {
                    name: id.clone(),
                    resource_group: id.chars().take(1).collect(),
                    id,
                    kind: [Kind::VirtualMachine, Kind::ArcMachine, Kind::UniformScaleSet][usize::from(kind)],
                    instances,
                    os_type,
                    os_sku,
                    image,
                    power,
                    arc,
                    cloud,
                    by_connector,
                    other_connector,
                    tags,
                    created,
                    extensions,
                    ..Machine::default()
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_numbers_add_up(machines in proptest::collection::vec(machine(), 0..60)) {
        let mut exclusions = Exclusions::default();
        exclusions.rule("a", [], &["a".to_owned(), "b".to_owned()], &[]);
        let rule_context = RuleContext {
            now: Timestamp::from_second(1_700_000_000).unwrap(),
            grace: SignedDuration::from_hours(24),
            plan_enabled_since: None,
            exclusions: &exclusions,
            plan_off: None,
            plan_unreadable: false,
            health: None,
            transition_seen: None,
            health_unreadable: false,
        };
        let mut summary = Summary::new(&exclusions);
        let found: Vec<_> = machines.iter().map(|machine| finding(machine, &rule_context)).collect();
        for (machine, found) in machines.iter().zip(&found) {
            summary.add(machine, found);
        }
        let recount = |expected: &dyn Fn(&Machine, &Finding) -> bool| -> u64 {
            machines.iter().zip(&found).filter(|(machine, found)| expected(machine, found)).map(|(machine, _)| u64::from(machine.instances)).sum()
        };
        let all = &Environment::ALL;
        prop_assert_eq!(summary.tally.total(all), recount(&|_, _| true));
        prop_assert_eq!(summary.tally.eligible(all), recount(&|_, found| found.verdict.is_eligible()));
        prop_assert_eq!(Verdict::ALL.iter().map(|verdict| summary.tally.verdict(*verdict)).sum::<u64>(), summary.tally.total(all));
        for environment in Environment::ALL {
            for verdict in Verdict::ALL {
                let same = |machine: &Machine, found: &Finding| machine.environment() == environment && found.verdict == verdict;
                prop_assert_eq!(summary.tally.count(environment, verdict), recount(&same));
            }
        }
        prop_assert_eq!(summary.excluded.iter().sum::<u64>(), summary.tally.verdict(Verdict::Excluded));
        // Every machine has at most one account, and counts there with the same finding as in the tally.
        let of_account = |account: Option<&Account>| {
            let of = |machine: &Machine| machine.account().as_ref() == account;
            MachineCounts {
                total: recount(&|machine, _| of(machine)),
                eligible: recount(&|machine, found| of(machine) && found.verdict.is_eligible()),
                protected: recount(&|machine, found| of(machine) && found.verdict == Verdict::Protected),
            }
        };
        let accounts: BTreeSet<_> = machines.iter().filter_map(Machine::account).collect();
        let expected: Accounts = accounts.iter().map(|account| (account.clone(), of_account(Some(account)))).collect();
        prop_assert_eq!(&summary.accounts, &expected);
        let mut sum = of_account(None);
        for environment in Environment::ALL {
            let ids = accounts.iter().filter(|account| account.environment == environment);
            let counts = summary.of_accounts(environment, ids.map(|account| account.id.as_str()));
            prop_assert!(counts.total <= summary.tally.total(&[environment]));
            sum.merge(&counts);
        }
        let all_of_it = MachineCounts { total: summary.tally.total(all), eligible: summary.tally.eligible(all), protected: summary.tally.verdict(Verdict::Protected) };
        prop_assert_eq!(sum, all_of_it);
        // The worst are the worst.
        let mut bad: Vec<_> = machines.iter().zip(&found).filter(|(_, found)| found.verdict.is_bad()).map(|(machine, found)| (order(found), machine.id.clone())).collect();
        bad.sort();
        bad.truncate(MOST_WORST);
        let worst: Vec<_> = summary.worst.iter().map(|worst| (order(&worst.finding), worst.id.clone())).collect();
        prop_assert_eq!(worst, bad);
    }

    #[test]
    fn only_an_extension_that_succeeded_makes_a_machine_protected(machine in machine()) {
        let rule_context = RuleContext {
            now: Timestamp::from_second(1_700_000_000).unwrap(),
            grace: SignedDuration::from_hours(24),
            plan_enabled_since: None,
            exclusions: &Exclusions::default(),
            plan_off: None,
            plan_unreadable: false,
            health: None,
            transition_seen: None,
            health_unreadable: false,
        };
        let found = finding(&machine, &rule_context);
        let proven = machine.extensions.iter().any(|extension| {
            extension.state == "Succeeded" && matches!(extension.level.as_str(), "" | "Info" | "Information")
        });
        prop_assert!(found.verdict != Verdict::Protected || proven, "{found:?}");
    }
}
