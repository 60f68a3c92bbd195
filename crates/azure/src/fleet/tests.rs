//! Whole scans against a stub of Azure in this process.

mod ancestors;
mod connectors;
mod deadline;
mod empty;
mod missing;
mod odd;
mod plan_off;
mod recorded;
mod settings;
mod stub;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::Router;
use serde_json::json;
use serverprotection_core::{
    azure_error::{AzureError, ErrorClass},
    jiff::SignedDuration,
    machines::{Finding, Machine, Verdict},
};

use self::stub::{Shared, Stub, error, handle, id, well};
use super::*;

/// Records the results of a scan.
#[derive(Default)]
struct Recording {
    findings: Mutex<Vec<(Machine, Finding)>>,
    readings: Mutex<BTreeMap<String, Result<SubscriptionReading, AzureError>>>,
}

impl ScanObserver for Recording {
    fn machine(&self, machine: &Machine, finding: &Finding) {
        let mut findings = self.findings.lock().unwrap();
        findings.push((machine.clone(), finding.clone()));
    }

    fn subscription(&self, target: &Target, reading: Result<SubscriptionReading, AzureError>) {
        let name = format!("{}{}", target.subscription, target.object);
        let before = self.readings.lock().unwrap().insert(name.clone(), reading);
        assert!(before.is_none(), "{name} was reported twice");
    }
}

impl Recording {
    fn machines(&self) -> Vec<(String, Verdict)> {
        let found = self.reasons().into_iter();
        found.map(|(name, verdict, _)| (name, verdict)).collect()
    }

    /// Names, verdicts and reasons.
    fn reasons(&self) -> Vec<(String, Verdict, String)> {
        let findings = self.findings.lock().unwrap();
        let found = findings
            .iter()
            .map(|(machine, finding)| (machine.name.clone(), finding.verdict, finding.reason.to_string()));
        let mut found: Vec<_> = found.collect();
        found.sort();
        found
    }

    fn reading(&self, subscription: &str) -> SubscriptionReading {
        self.readings.lock().unwrap()[subscription].clone().unwrap()
    }

    fn failure(&self, subscription: &str) -> String {
        self.readings.lock().unwrap()[subscription]
            .clone()
            .unwrap_err()
            .code
    }

    fn total(&self, subscription: &str) -> u64 {
        self.reading(subscription)
            .summary
            .tally
            .total(&serverprotection_core::machines::Environment::ALL)
    }
}

struct Azure {
    stub: Shared,
    url: url::Url,
    arm: Arm,
    scanner: Scanner,
}

impl Azure {
    async fn of(stub: Stub) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let url: url::Url = url.parse().unwrap();
        let stub = Arc::new(Mutex::new(stub));
        let router = Router::new().fallback(handle).with_state(Arc::clone(&stub));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let settings = Settings {
            page_size: 2,
            back_off: Duration::from_millis(1),
            ..Settings::default()
        };
        Self {
            stub,
            arm: crate::stub::arm(url.clone()),
            url,
            scanner: Scanner::new(settings),
        }
    }

    async fn scan(&self, subscriptions: &[&str]) -> (Recording, Report) {
        let recording = Recording::default();
        let report = self
            .scanner
            .scan(&self.arm, &targets(subscriptions), &recording)
            .await;
        (recording, report)
    }

    fn asked(&self, what: &str) -> usize {
        let stub = self.stub.lock().unwrap();
        stub.requests.iter().filter(|request| request.is(what)).count()
    }
}

/// An entry of [`Recording::reasons`].
fn found(name: &str, verdict: Verdict, reason: &str) -> (String, Verdict, String) {
    (name.into(), verdict, reason.into())
}

fn targets(subscriptions: &[&str]) -> Vec<Target> {
    let target = |id: &&str| Target {
        object: String::new(),
        subscription: (*id).to_owned(),
        exclusions: Arc::default(),
        grace: SignedDuration::from_hours(1),
        plan_enabled: None,
        fresh: false,
        unprotected: Arc::default(),
        had_machines: false,
    };
    subscriptions.iter().map(target).collect()
}

/// Subscriptions a, b (empty) and c.
fn three() -> Stub {
    Stub::new(&["a", "b", "c"])
        .vm("a", "a1", "Succeeded")
        .vm("a", "a2", "Succeeded")
        .vm("a", "a3", "Succeeded")
        .vm("c", "c1", "Succeeded")
        .vm("c", "c2", "Succeeded")
        .plan("a", "P1")
}

#[tokio::test]
async fn machines_of_several_subscriptions_are_read_in_pages() {
    let azure = Azure::of(three()).await;
    let (recording, report) = azure.scan(&["c", "hidden", "a", "b"]).await;
    assert_eq!(
        (recording.total("a"), recording.total("b"), recording.total("c")),
        (3, 0, 2)
    );
    assert_eq!(recording.reading("a").tier.as_deref(), Some("P1"));
    assert_eq!(recording.reading("a").access, Access::Sufficient);
    assert_eq!(recording.reading("c").tier, None);
    assert_eq!(recording.failure("hidden"), "SubscriptionNotFound");
    assert_eq!((report.queries, report.pages, report.rows), (4, 3, 5));
    assert_eq!((report.duplicates, report.retries), (0, 0));
    azure.scan(&["a"]).await;
    assert_eq!(
        azure.asked("/permissions"),
        3,
        "sufficient permissions are cached"
    );
}

#[tokio::test]
async fn bad_findings_are_confirmed_once_with_a_get() {
    let stub = Stub::new(&["a"])
        .vm("a", "gone", "Failed")
        .vm("a", "late", "Failed")
        .vm("a", "odd", "Failed")
        .vm("a", "well", "Succeeded")
        .resource(&id("a", "late"), 200, well())
        .resource(&id("a", "odd"), 500, error("InternalServerError"));
    let azure = Azure::of(stub).await;
    let expected = [
        ("late", Verdict::Protected),
        ("odd", Verdict::Failed),
        ("well", Verdict::Protected),
    ];
    for confirmations in [3, 1] {
        let (recording, report) = azure.scan(&["a"]).await;
        assert_eq!(
            recording.machines(),
            expected.map(|(name, verdict)| (name.to_owned(), verdict))
        );
        assert_eq!(recording.total("a"), 3);
        assert_eq!(report.confirmations, confirmations);
    }
    azure.stub.lock().unwrap().rows[0]["power"] = "PowerState/unknown".into();
    let (_, report) = azure.scan(&["a"]).await;
    assert_eq!(report.confirmations, 2, "its row changed");
}

#[tokio::test]
async fn only_the_worst_findings_are_confirmed_and_the_others_by_the_next_scan() {
    let stub = ["1", "2", "3", "4", "5"]
        .iter()
        .fold(Stub::new(&["a"]), |stub, name| stub.vm("a", name, "Failed"));
    let mut azure = Azure::of(stub).await;
    azure.scanner.settings.confirmations_per_subscription = 2;
    for left in [3, 1, 0] {
        let (recording, _) = azure.scan(&["a"]).await;
        assert_eq!(recording.total("a"), left);
    }
}

#[tokio::test]
async fn a_page_that_fails_is_requested_again_with_its_token() {
    let mut failing = vec![(429, "x-ms-user-quota-resets-after"), (503, "x"), (200, "x")];
    let stub = three().fault(move |request| {
        let (status, header) = failing.last().copied().filter(|_| request.token() == Some("2"))?;
        failing.pop();
        match status {
            200 => Some((200, vec![], json!("not a page"))),
            status => Some((status, vec![(header, "00:00:01")], error("RateLimiting"))),
        }
    });
    let azure = Azure::of(stub).await;
    let (recording, report) = azure.scan(&["a", "b", "c"]).await;
    assert_eq!(
        (recording.total("a"), recording.total("b"), recording.total("c")),
        (3, 0, 2)
    );
    assert_eq!((report.retries, report.queries, report.pages), (3, 7, 3));
    assert!(report.waited >= Duration::from_millis(900), "{:?}", report.waited);
}

#[tokio::test]
async fn a_page_that_keeps_failing_does_not_affect_complete_subscriptions() {
    let stub = three()
        .fault(|request| (request.token() == Some("4")).then(|| (500, vec![], error("InternalServerError"))));
    let azure = Azure::of(stub).await;
    let (recording, report) = azure.scan(&["a", "b", "c"]).await;
    assert_eq!(recording.total("a"), 3);
    assert_eq!(
        (recording.failure("b"), recording.failure("c")),
        ("InternalServerError".into(), "InternalServerError".into())
    );
    assert_eq!(report.retries, 5);
}

#[tokio::test]
async fn a_refused_token_restarts_the_group_once() {
    let mut once = Some(());
    let stub = three().fault(move |request| {
        (request.token() == Some("4") && once.take().is_some()).then(|| (400, vec![], error("BadRequest")))
    });
    let azure = Azure::of(stub).await;
    let (recording, report) = azure.scan(&["a", "b", "c"]).await;
    assert_eq!((recording.total("a"), recording.total("c")), (3, 2));
    assert_eq!(recording.machines().len(), 5, "each machine is reported once");
    assert_eq!(report.duplicates, 4);

    let stub = three().fault(|request| request.token().map(|_| (400, vec![], error("BadRequest"))));
    let azure = Azure::of(stub).await;
    let (recording, report) = azure.scan(&["a", "b", "c"]).await;
    assert_eq!(
        (recording.failure("a"), recording.failure("c")),
        ("BadRequest".into(), "BadRequest".into())
    );
    assert_eq!(report.queries, 5);
}

#[tokio::test]
async fn one_refused_subscription_does_not_affect_its_group() {
    let ids = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"];
    let stub = ids
        .iter()
        .fold(Stub::new(&ids), |stub, id| stub.vm(id, "vm", "Succeeded"));
    let stub = stub.fault(|request| {
        request
            .asks_for("s5")
            .then(|| (403, vec![], error("AuthorizationFailed")))
    });
    let azure = Azure::of(stub).await;
    let (recording, _) = azure.scan(&ids).await;
    for id in ids {
        match id {
            "s5" => assert_eq!(recording.failure(id), "AuthorizationFailed"),
            id => assert_eq!(recording.total(id), 1),
        }
    }
}

#[tokio::test]
async fn splitting_a_group_that_is_refused_as_a_whole_ends() {
    let ids: Vec<String> = (0..200).map(|at| format!("s{at:03}")).collect();
    let ids: Vec<&'static str> = ids.into_iter().map(|id| &*id.leak()).collect();
    let stub =
        Stub::new(&ids).fault(|request| request.is("plans").then(|| (400, vec![], error("BadRequest"))));
    let azure = Azure::of(stub).await;
    let (recording, report) = azure.scan(&ids).await;
    assert!(ids.iter().all(|id| recording.failure(id) == "BadRequest"));
    assert!(report.queries < 100, "{}", report.queries);
}

#[tokio::test]
async fn missing_rows_are_an_error_and_never_smaller_numbers() {
    let stub = three().fault(|request| {
        let short = json!({ "totalRecords": 5, "data": [], "resultTruncated": "false" });
        (request.token() == Some("4")).then(|| (200, vec![], short))
    });
    let azure = Azure::of(stub).await;
    let (recording, _) = azure.scan(&["a", "b", "c"]).await;
    for id in ["a", "b", "c"] {
        assert_eq!(recording.failure(id), "IncompleteResult");
    }
}

#[tokio::test]
async fn rows_out_of_order_affect_their_subscription_only() {
    let azure = Azure::of(three().vm("a", "late", "Succeeded")).await;
    let (recording, _) = azure.scan(&["a", "b", "c"]).await;
    assert_eq!(recording.failure("a"), "RowsOutOfOrder");
    assert_eq!((recording.total("b"), recording.total("c")), (0, 2));
}

#[tokio::test]
async fn without_a_token_everything_fails_at_once() {
    let stub = three().fault(|request| {
        (!request.is("/subscriptions")).then(|| (401, vec![], error("InvalidAuthenticationToken")))
    });
    let mut azure = Azure::of(stub).await;
    azure.scanner.settings.group_size = 1;
    azure.scanner.settings.concurrent_groups = 1;
    let (recording, report) = azure.scan(&["a", "b", "c"]).await;
    for id in ["a", "b", "c"] {
        let failure = recording.readings.lock().unwrap()[id].clone().unwrap_err();
        assert_eq!(failure.class, ErrorClass::Credential);
    }
    assert_eq!((report.queries, report.retries), (1, 0));
}

#[tokio::test]
async fn health_reports_refine_verdicts_and_missing_permissions_are_named() {
    let report = json!({ "value": [{ "properties": { "resourceDetails": { "id": id("a", "a1") },
        "healthDataClassification": { "component": "MDE" }, "status": { "code": "Unhealthy" }, "issues": [] } }] });
    let reports = "/subscriptions/a/providers/Microsoft.Security/healthReports";
    let grants = json!({ "value": [{ "actions": ["Microsoft.Compute/*/read"], "notActions": [] }] });
    let stub = Stub::new(&["a", "b"])
        .vm("a", "a1", "Succeeded")
        .vm("b", "b1", "Succeeded")
        .plan("a", "P2")
        .plan("b", "P2")
        .resource(reports, 200, report)
        .resource(&id("a", "a1"), 429, error("TooManyRequests"))
        .resource(
            "/subscriptions/a/providers/Microsoft.Authorization/permissions",
            200,
            grants,
        )
        .resource(
            "/subscriptions/b/providers/Microsoft.Authorization/permissions",
            403,
            error("AuthorizationFailed"),
        );
    let azure = Azure::of(stub).await;
    for asked in [2, 2, 3] {
        let mut targets = targets(&["a", "b"]);
        targets[0].fresh = asked == 3;
        let recording = Recording::default();
        azure.scanner.scan(&azure.arm, &targets, &recording).await;
        assert_eq!(recording.reading("a").summary.tally.verdict(Verdict::Failed), 1);
        assert_eq!(
            recording.reading("b").summary.tally.verdict(Verdict::Protected),
            1
        );
        assert_eq!(azure.asked("healthReports"), asked);
        assert_eq!(
            recording.reading("a").access,
            Access::Missing(access::ACTIONS[2..].to_vec())
        );
        assert_eq!(recording.reading("b").access, Access::NotReadable);
    }
}

#[tokio::test]
async fn a_dropped_scan_leaves_the_scanner_usable_and_a_scan_can_be_spawned() {
    fn sendable<T: Send>(future: T) -> T {
        future
    }
    let azure = Azure::of(three()).await;
    for timeout in 0..8 {
        let recording = Recording::default();
        let all = targets(&["a", "b", "c"]);
        let scan = sendable(azure.scanner.scan(&azure.arm, &all, &recording));
        let _ = tokio::time::timeout(Duration::from_millis(timeout), scan).await;
    }
    let (recording, _) = azure.scan(&["a", "b", "c"]).await;
    assert_eq!(recording.total("a") + recording.total("c"), 5);
}
