//! Printed machines, counts and exit codes.

use clap::Parser;
use serde_json::Value;
use serverprotection_azure::fleet::Access;
use serverprotection_core::{azure_error::ErrorClass, machines::Summary as Fold};

use super::{
    super::{
        identity::Auth,
        rows::tests::{finding, machine},
    },
    *,
};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: Args,
}

const SUBSCRIPTION: &str = "6f1c0d7e-0000-0000-0000-000000000001";

fn collector(words: &str) -> Collector<Vec<u8>> {
    let words = std::iter::once("machines").chain(words.split_whitespace());
    let args = Command::parse_from(words).args;
    let requested = Requested {
        name: "Contoso".into(),
        minimum: 50,
        origin: Origin::Auth(Auth::AzureCli),
    };
    let requested = HashMap::from([(SUBSCRIPTION.to_owned(), requested)]);
    let now = "2026-11-23T12:00:00Z".parse().unwrap();
    Collector::new(
        &args,
        requested,
        Vec::new(),
        Arc::new(Progress::new(false, false)),
        now,
    )
}

fn target(id: &str) -> Target {
    Target {
        object: String::new(),
        subscription: id.to_owned(),
        exclusions: Arc::default(),
        grace: serverprotection_core::jiff::SignedDuration::from_hours(24),
        plan_enabled: None,
        fresh: true,
        unprotected: Arc::default(),
        had_machines: false,
    }
}

/// Scans one protected and one failed machine; `ends` is the result of the subscription.
fn scan(collector: &Collector<Vec<u8>>, ends: Result<(), AzureError>) -> (End, String) {
    let mut summary = Fold::default();
    for (name, verdict) in [("good", Verdict::Protected), ("bad", Verdict::Failed)] {
        let (mut machine, finding) = (machine(name), finding(verdict));
        if name == "bad" {
            machine.by_connector = true;
            machine.tags.insert("AccountId".into(), "123".into());
        }
        summary.add(&machine, &finding);
        collector.machine(&machine, &finding);
    }
    let reading = ends.map(|()| SubscriptionReading {
        summary,
        access: Access::Sufficient,
        tier: Some("P2".into()),
        at: "2026-11-23T12:00:00Z".parse().unwrap(),
    });
    collector.subscription(&target(SUBSCRIPTION), reading);
    collector.progress(&fleet::Progress::default());
    let Finished {
        end, error, stderr, ..
    } = collector.finish();
    assert!(error.is_none());
    assert_eq!(
        collector.format == Format::Csv,
        stderr.contains("machines that should be")
    );
    let text = String::from_utf8(collector.state().output.written().clone()).unwrap();
    (end, text)
}

fn failure() -> AzureError {
    AzureError {
        class: ErrorClass::Transient,
        code: "ServerTimeout".into(),
        message: "slow".into(),
        operation: "POST resources (connectors)".into(),
        request_id: Some("1".into()),
        effect_unknown: false,
    }
}

#[test]
fn filters_change_the_rows_and_not_the_counts() {
    for (words, good, bad) in [
        ("-o json", true, true),
        ("-o json --verdict failed", false, true),
        ("-o json --environment aws --verdict protected", true, false),
        ("-o json --environment azure", false, false),
        ("-o json --account 123", false, true),
        ("-o json --account 124,123 --environment aws", false, true),
        ("-o json --account 123 --verdict protected", false, false),
    ] {
        let (end, text) = scan(&collector(words), Ok(()));
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["kind"], "MachineList");
        let names: Vec<_> = document["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["name"].as_str().unwrap())
            .collect();
        assert_eq!(
            (names.contains(&"good"), names.contains(&"bad")),
            (good, bad),
            "{words}"
        );
        assert_eq!(document["summary"]["total"], 2);
        assert_eq!(document["summary"]["accounts"][0]["total"], 1);
        assert_eq!(document["summary"]["accounts"][0]["account"], "123");
        assert_eq!(
            document["summary"]["connectorsNotListed"]
                .as_array()
                .map(Vec::len),
            Some(0)
        );
        assert_eq!((end.code, &document["summary"]["exitCode"]), (0, &0.into()));
    }
}

#[test]
fn a_table_ends_with_the_summary_and_csv_without() {
    let (_, text) = scan(&collector(""), Ok(()));
    assert!(text.starts_with("NAME ") && text.contains("\ngood ") && text.contains("1 of 2 machines that"));
    let (_, text) = scan(&collector("-o csv"), Ok(()));
    assert_eq!(
        csv::Reader::from_reader(text.as_bytes())
            .records()
            .flatten()
            .count(),
        2
    );
}

#[test]
fn connectors_are_listed_only_for_subscriptions_that_were_read() {
    let targets = [target(SUBSCRIPTION), target("other")];
    for (ends, read) in [(Ok(()), vec![SUBSCRIPTION]), (Err(failure()), vec![])] {
        let collector = collector("");
        scan(&collector, ends);
        assert_eq!(collector.read_of(&targets), read);
    }
    let collector = collector("");
    collector.connectors(Err(failure()));
    let (end, text) = scan(&collector, Ok(()));
    let expected_text = "\nNot all connectors could be listed: The request to list the connectors failed: ServerTimeout: slow\n";
    assert!(text.contains(expected_text), "{text}");
    assert_eq!(end.code, 0, "the machines are known nevertheless");
}

#[test]
fn a_failed_subscription_is_reported_and_not_counted() {
    for words in ["-o json", "-o json --migration"] {
        let (end, text) = scan(&collector(words), Err(failure()));
        assert_eq!(end.code, 2);
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["summary"]["total"], 0);
        let not_read = &document["summary"]["subscriptions"]["notRead"][0];
        assert_eq!(
            not_read["reason"],
            "The request to list the connectors failed: ServerTimeout: slow"
        );
        let expected_remedy = super::hint(&Origin::Auth(Auth::AzureCli), &failure());
        assert_eq!(not_read["remedy"], expected_remedy);
    }
}

#[test]
fn the_migration_report_replaces_the_machines() {
    let (_, text) = scan(&collector("--migration"), Ok(()));
    assert!(
        text.starts_with("AWS: 2 machines, 1 onboarded") && !text.contains("RESOURCE-GROUP"),
        "{text}"
    );
    let (_, text) = scan(&collector("--migration -o csv"), Ok(()));
    assert!(
        text.starts_with(
            "subscription_id,subscription_name,plan,environment,stage,system,machines,next_step\n"
        )
    );
    assert!(text.contains(",AWS,Onboarded,,1,"), "{text}");
}

#[test]
fn a_closed_reader_stops_the_scan() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let args = Command::parse_from(["machines"]).args;
    let progress = Arc::new(Progress::new(false, false));
    let collector = Collector::new(&args, HashMap::new(), Closed, progress, Timestamp::UNIX_EPOCH);
    assert!(!collector.closed.is_cancelled());
    collector.progress(&fleet::Progress::default());
    assert!(collector.closed.is_cancelled());
    assert_eq!(
        collector.finish().error.map(|error| error.kind()),
        Some(io::ErrorKind::BrokenPipe)
    );
}

#[test]
fn an_account_without_machines_is_named_with_the_known_ones() {
    let collector = self::collector("--account 999,123");
    scan(&collector, Ok(()));
    let note = collector.unknown_accounts(&collector.state().totals).unwrap();
    assert_eq!(note, "no machine of account 999; accounts with machines: 123");
    let collector = self::collector("--account 123");
    scan(&collector, Ok(()));
    assert_eq!(collector.unknown_accounts(&collector.state().totals), None);
}
