//! The migration report in its formats.

use serde_json::{Value, json};
use serverprotection_azure::fleet::Access;
use serverprotection_core::machines::{ArcAgent, Kind, PlanOff, Verdict};

use super::{
    super::{
        rows::tests::{finding, machine},
        totals::Outcome,
        totals::tests::read as subscription,
    },
    *,
};

const FREE: &str = "6f1c0d7e-0000-0000-0000-00000000f4ee";

fn counted() -> Counting {
    let mut counting = Counting::default();
    let mut web = machine("web");
    web.arc = Some(ArcAgent {
        status: "Connected".into(),
        ..ArcAgent::default()
    });
    counting.machine(&web, &finding(Verdict::Protected));
    let mut old = machine("old");
    old.os_sku = "Ubuntu 16.04".into();
    old.cloud.clear();
    for _ in 0..3 {
        counting.machine(&old, &finding(Verdict::Missing));
    }
    let mut azure = machine("azure");
    azure.kind = Kind::VirtualMachine;
    azure.arc = None;
    azure.power = "PowerState/running".into();
    counting.machine(&azure, &finding(Verdict::Failed));
    azure.power = "PowerState/stopped".into();
    counting.machine(&azure, &finding(Verdict::PoweredOff));
    azure.power = "PowerState/deallocated".into();
    counting.machine(&azure, &finding(Verdict::PoweredOff));
    // Another subscription, whose plan is Free.
    azure.subscription_id = FREE.into();
    azure.power = "PowerState/running".into();
    let mut off = finding(Verdict::PlanOff);
    off.plan_off = Some(PlanOff::OfSubscription);
    for _ in 0..9 {
        counting.machine(&azure, &off);
    }
    counting
}

fn read() -> Counting {
    let mut counting = counted();
    counting.subscription(&machine("web").subscription_id, true);
    counting.subscription(FREE, true);
    counting
}

fn totals() -> Totals {
    let mut free = subscription(&[], Access::Sufficient);
    "Contoso\u{7} Lab".clone_into(&mut free.name);
    if let Outcome::Read { tier, .. } = &mut free.outcome {
        *tier = Some("Free".into());
    }
    let all: [(String, Subscription); 2] = [
        (
            machine("web").subscription_id,
            subscription(&[], Access::Sufficient),
        ),
        (FREE.into(), free),
    ];
    Totals {
        subscriptions: all.into(),
        ..Totals::default()
    }
}

#[test]
fn a_failed_subscription_does_not_count() {
    let mut counting = counted();
    counting.subscription(&machine("web").subscription_id, false);
    assert_eq!(counting.total, Migration::default());
    assert!(counting.read.is_empty());
    assert_eq!(read().total.total(Environment::OnPremises), 3);
}

#[test]
fn the_text_has_a_table_for_each_environment() {
    let (counting, totals) = (read(), totals());
    let text = super::text(&counting, &totals, &[], Format::Table);
    for words in [
        "OnPremises: 3 machines, 0 onboarded",
        "  DirectOnboardingOnly                      3  Onboard these machines directly",
        "    Ubuntu 16.04                            3\n",
        "AWS: 1 machines, 1 onboarded",
        "Azure: 12 machines, 0 onboarded",
        "antivirus policies and exclusions",
        "Linux machines that Defender for Servers onboards start with antivirus in passive mode",
    ] {
        assert!(text.contains(words), "{words}\n---\n{text}");
    }
    assert!(!text.contains("GCP"));
    let text = super::text(&counting, &totals, &[Environment::Aws], Format::Table);
    assert!(text.contains("AWS:") && !text.contains("OnPremises:"));
    assert!(!text.contains(FREE), "it has no machine in AWS:\n{text}");
}

#[test]
fn subscriptions_whose_plan_is_off_are_named_in_their_stage() {
    let text = super::text(&read(), &totals(), &[], Format::Table);
    let stage = text.find("  PlanOff                                   9  Switch on the plan");
    let rest = &text[stage.unwrap()..];
    let named = rest.lines().nth(1).unwrap();
    assert!(
        named.starts_with(&format!("    {FREE}")) && named.ends_with("Contoso  Lab"),
        "{named}"
    );
}

#[test]
fn the_text_has_what_is_billed_and_the_stages_of_each_subscription() {
    let text = super::text(&read(), &totals(), &[], Format::Table);
    let row = |title: &str| -> Vec<&str> {
        let line = text.lines().rfind(|line| line.trim_start().starts_with(title));
        let numbers = line.unwrap().trim_start().strip_prefix(title).unwrap();
        numbers.split_whitespace().collect()
    };
    // Azure, OnPremises, AWS and the total.
    assert_eq!(row("Billed "), ["11", "0", "1", "12"]);
    assert_eq!(row("of them stopped, still allocated"), ["1", "0", "0", "1"]);
    assert_eq!(row("Not billed: deallocated"), ["1", "0", "0", "1"]);
    assert!(!text.contains("Not billed: own plan"), "no such machine");
    let at = |id: &str| text.find(&format!("\n{id}")).unwrap();
    assert!(at(FREE) < at(&machine("web").subscription_id), "most to do first");
    assert_eq!(
        row(FREE),
        ["Contoso", "Lab", "Free", "9", "9", "0", "9", "PlanOff"]
    );
}

#[test]
fn csv_and_json_add_up() {
    let (counting, totals) = (read(), totals());
    let mut out = Vec::new();
    csv(&mut out, &counting, &totals, &[]);
    let mut reader = csv::Reader::from_reader(out.as_slice());
    let records: Vec<_> = reader.records().map(Result::unwrap).collect();
    let sum = |of: &dyn Fn(&csv::StringRecord) -> bool| -> u64 {
        let chosen = records.iter().filter(|record| of(record));
        chosen.map(|record| record[6].parse::<u64>().unwrap()).sum()
    };
    assert_eq!(sum(&|_| true), 16);
    assert_eq!(sum(&|record| &record[0] == FREE && &record[2] == "Free"), 9);
    let end = totals.end();
    let report: Value = serde_json::to_value(Report::new(&counting, &totals, &[], &end)).unwrap();
    let sums = |member: &str, count: &dyn Fn(&Value) -> u64| -> u64 {
        report[member].as_array().unwrap().iter().map(count).sum()
    };
    let stages = |one: &Value| -> u64 {
        let stages = one["stages"].as_array().unwrap().iter();
        stages.map(|stage| stage["machines"].as_u64().unwrap()).sum()
    };
    for member in ["environments", "subscriptions"] {
        assert_eq!(sums(member, &stages), 16, "{member}");
        assert_eq!(sums(member, &|one| one["total"].as_u64().unwrap()), 16);
        assert_eq!(
            sums(member, &|one| one["billing"]["billed"].as_u64().unwrap()),
            12
        );
        assert_eq!(
            sums(member, &|one| one["billing"]["stopped"].as_u64().unwrap()),
            1
        );
    }
    assert_eq!(
        report["environments"][1]["stages"][0]["systems"],
        json!([{"name": "Ubuntu 16.04", "machines": 3}])
    );
    let free = &report["subscriptions"][0];
    assert_eq!(
        (&free["id"], &free["plan"], &free["stages"]),
        (
            &json!(FREE),
            &json!("Free"),
            &json!([{"stage": "PlanOff", "machines": 9}])
        )
    );
}
