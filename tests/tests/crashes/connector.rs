//! A crash at every request of the creation, edit and deletion of a connector, before and after its effect. After a
//! restart the controller compares before it writes: a write with an effect is not repeated, and no account gets a
//! second connector.
//!
//! The `ServerProtection` holds its subscription and is suspended: it supplies subscription, identity and plan, and sends
//! no request to Azure. So every request belongs to the connector, and its number identifies it.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use serde_json::{Value, json};
use serverprotection_tests::{
    Error, cases,
    controller_process::ControllerProcess,
    env::Environment,
    harness::Case,
    objects::{Objects, condition},
};

use super::{
    TIMEOUT,
    fixture::{Fixture, NAME, condition_values, ended, is_write, operation, p2},
};

/// Crashes at the same time. They mostly wait for processes to start, so there may be more than cores.
const AT_ONCE: usize = 6;
/// Time limit of a case: it crashes the controller many times.
const LIMIT: Duration = Duration::from_secs(400);
/// Name of the connector.
const ACCOUNT: &str = "aws";

pub(crate) fn cases() -> Vec<Case<Environment>> {
    let cases = cases![
        a_crash_at_every_request_of_a_new_connector_ends_the_same,
        a_crash_at_every_request_of_a_connectors_edit_ends_the_same,
        a_crash_at_every_request_of_a_connectors_deletion_ends_the_same,
        deleted_while_the_answer_of_its_creation_is_lost,
    ];
    cases.into_iter().map(|case| case.limit(LIMIT)).collect()
}

async fn a_crash_at_every_request_of_a_new_connector_ends_the_same(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    every(Act::Create, &environment).await
}

async fn a_crash_at_every_request_of_a_connectors_edit_ends_the_same(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    every(Act::Edit, &environment).await
}

async fn a_crash_at_every_request_of_a_connectors_deletion_ends_the_same(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    every(Act::Delete, &environment).await
}

/// The operation during which the crash happens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Create,
    /// From P2 to P1.
    Edit,
    Delete,
}

impl Act {
    const fn name(self) -> &'static str {
        match self {
            Self::Create => "connector-create",
            Self::Edit => "connector-edit",
            Self::Delete => "connector-delete",
        }
    }

    /// Starts a controller. Creates a `ServerProtection` that holds its subscription and is suspended, and a connector in
    /// sync, except for `Create`.
    async fn prepare(self, fixture: &Fixture<'_>) -> Result<ControllerProcess, Error> {
        let controller = fixture.controller()?;
        fixture.team.protect(NAME, p2()).await?;
        fixture.ready().await?;
        fixture.team.scanned(NAME, TIMEOUT).await?;
        fixture
            .team
            .patch(NAME, json!({"spec": {"suspend": true}}))
            .await?;
        fixture.team.until(NAME, "Suspended", "True", TIMEOUT).await?;
        if self != Self::Create {
            connect(fixture).await?;
            ready(fixture).await?;
        }
        Ok(controller)
    }

    async fn begin(self, fixture: &Fixture<'_>) -> Result<(), Error> {
        match self {
            Self::Create => connect(fixture).await,
            Self::Edit => {
                let p1 =
                    json!({"spec": {"plan": {"tier": "P1"}, "agentlessScanning": {"state": "Disabled"}}});
                objects(fixture).patch(ACCOUNT, p1).await.map(drop)
            }
            Self::Delete => objects(fixture).start_deletion(ACCOUNT).await,
        }
    }

    /// The requests until the operation is complete.
    async fn finish(self, fixture: &Fixture<'_>) -> Result<Vec<Value>, Error> {
        if self == Self::Delete {
            objects(fixture).until_gone(ACCOUNT, TIMEOUT).await?;
        } else {
            ready(fixture).await?;
        }
        // The requests of the following reconcile are not part of the operation.
        let requests = fixture.requests().await?;
        if self != Self::Delete {
            objects(fixture).reconcile(ACCOUNT, TIMEOUT).await?;
        }
        Ok(requests)
    }
}

fn objects(fixture: &Fixture<'_>) -> Objects {
    fixture.team.connectors()
}

/// A connector that is deleted together with its object.
async fn connect(fixture: &Fixture<'_>) -> Result<(), Error> {
    let spec = json!({"deletionPolicy": "Delete", "plan": {"tier": "P2"}});
    fixture.team.connect(ACCOUNT, spec).await.map(drop)
}

async fn ready(fixture: &Fixture<'_>) -> Result<Value, Error> {
    objects(fixture).until(ACCOUNT, "Ready", "True", TIMEOUT).await
}

/// The end state of a run without a crash.
struct Reference {
    end: Value,
    requests: Vec<Value>,
    writes: Vec<String>,
}

/// A point to crash at.
#[derive(Clone)]
struct Point {
    at: At,
    phase: &'static str,
}

/// The request to crash at. Reads of one reconcile run at the same time and arrive in any order, so only their number
/// is known. Writes arrive in one order, so no crash at a write depends on the reads before it.
#[derive(Clone)]
enum At {
    /// The request with this number, whatever it is; 1 is the first one.
    Request(usize),
    /// The write with this number among those with the same method.
    Write { method: String, number: usize },
}

impl At {
    fn all(requests: &[Value]) -> Vec<Self> {
        let point = |(index, request): (usize, &Value)| {
            if !is_write(request) {
                return Self::Request(index + 1);
            }
            let method = &request["method"];
            let same = requests
                .iter()
                .take(index + 1)
                .filter(|earlier| earlier["method"] == *method);
            Self::Write {
                method: method.as_str().unwrap_or_default().to_owned(),
                number: same.count(),
            }
        };
        requests.iter().enumerate().map(point).collect()
    }

    async fn hang(&self, fixture: &Fixture<'_>, phase: &str) -> Result<String, Error> {
        match self {
            Self::Request(number) => fixture.hang_request(*number, phase).await,
            Self::Write { method, number } => {
                let subscription = &fixture.team.subscription;
                let matching = json!({
                    "method": method, "subscription": subscription, "skip": number - 1, "times": 1,
                });
                fixture.hang(matching, phase).await
            }
        }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(number) => write!(f, "request-{number}"),
            Self::Write { method, number } => write!(f, "{}-{number}", method.to_lowercase()),
        }
    }
}

async fn every(act: Act, environment: &Environment) -> Result<(), Error> {
    let began = Instant::now();
    let reference = undisturbed(act, environment).await?;
    let count = reference.requests.len();
    let points = At::all(&reference.requests).into_iter().flat_map(|at| {
        ["before", "after"].map(|phase| Point {
            at: at.clone(),
            phase,
        })
    });
    let reference = &reference;
    let runs = points.map(|point| async move {
        let result = crash(act, environment, &point, reference).await;
        (point, result)
    });
    let results: Vec<_> = stream::iter(runs).buffer_unordered(AT_ONCE).collect().await;

    let mut met: BTreeMap<(String, &str), usize> = BTreeMap::new();
    let mut failures = String::new();
    for (Point { at, phase }, result) in results {
        match result {
            Ok(operation) => *met.entry((operation, phase)).or_default() += 1,
            Err(error) => {
                let _ = writeln!(failures, "\n-- {}: {phase} {at}: {error}", act.name());
            }
        }
    }
    let table: Vec<_> = met
        .iter()
        .map(|((operation, phase), times)| format!("{phase} {operation} x{times}"))
        .collect();
    eprintln!(
        "{}: {count} requests undisturbed, {} crashes in {:.0?}: {}",
        act.name(),
        2 * count,
        began.elapsed(),
        table.join(", ")
    );
    // A read may be missed, because reads arrive in any order; no write may be.
    for write in &reference.writes {
        for phase in ["before", "after"] {
            let crashed = met.contains_key(&(write.clone(), phase));
            if !crashed && failures.is_empty() {
                let _ = writeln!(failures, "no crash {phase} {write}");
            }
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(Error::Other(failures))
}

async fn undisturbed(act: Act, environment: &Environment) -> Result<Reference, Error> {
    let fixture = Fixture::create(environment, &format!("{}-undisturbed", act.name()), json!({})).await?;
    let mut controller = act.prepare(&fixture).await?;
    let earlier = (fixture.requests().await?.len(), fixture.writes().await?.len());
    act.begin(&fixture).await?;
    let requests = act.finish(&fixture).await?.split_off(earlier.0);
    let end = end(&fixture, act).await?;
    assert_eq!(controller.terminate().await?, Some(0));
    let writes = fixture.writes().await?.split_off(earlier.1);
    let (tier, connectors, written) = match act {
        Act::Create => ("P2", 1, 2),
        Act::Edit => ("P1", 1, 1),
        Act::Delete => ("", 0, 1),
    };
    assert_eq!(writes.len(), written, "{writes:?}");
    assert_eq!(number_of_connectors(&end), connectors, "{end:#}");
    assert_eq!(end["object"]["tier"].as_str().unwrap_or_default(), tier);
    Ok(Reference {
        end,
        requests,
        writes,
    })
}

/// Crashes and restarts once. Returns the request of the crash.
async fn crash(
    act: Act,
    environment: &Environment,
    Point { at, phase }: &Point,
    reference: &Reference,
) -> Result<String, Error> {
    let name = format!("{}-{phase}-{at}", act.name());
    let fixture = Fixture::create(environment, &name, json!({})).await?;
    let mut first = act.prepare(&fixture).await?;
    let earlier = fixture.writes().await?.len();
    let fault = at.hang(&fixture, phase).await?;
    act.begin(&fixture).await?;
    let struck = operation(&fixture.kill_when_it_hangs(&mut first, &fault).await?);
    let noted = intent_is_recorded(&fixture, act, &struck).await;
    let second = fixture.controller();
    let verdict = async {
        noted?;
        act.finish(&fixture).await?;
        let writes = fixture.writes().await?.split_off(earlier);
        compare(&fixture, act, reference, &struck, phase, writes).await
    };
    ended(second, &struck, verdict.await).await?;
    Ok(struck)
}

/// What must be in the cluster before a write has its effect: a user who deletes the object can see it, and the
/// connector is not orphaned.
async fn intent_is_recorded(fixture: &Fixture<'_>, act: Act, struck: &str) -> Result<(), Error> {
    if struck.starts_with("GET ") || struck.starts_with("POST ") {
        return Ok(());
    }
    let object = objects(fixture).get(ACCOUNT).await?;
    let reason = if act == Act::Delete { "Deleting" } else { "Writing" };
    let announced = condition(&object, "Reconciling")
        .is_some_and(|condition_values| condition_values["reason"] == reason);
    let finalizers = object["metadata"]["finalizers"].as_array().map(Vec::len);
    if announced && finalizers == Some(1) {
        return Ok(());
    }
    Err(Error::Other(format!("the write was not announced: {object:#}")))
}

async fn compare(
    fixture: &Fixture<'_>,
    act: Act,
    reference: &Reference,
    struck: &str,
    phase: &str,
    mut writes: Vec<String>,
) -> Result<(), Error> {
    let mut wrong = Vec::new();
    let end = end(fixture, act).await?;
    if end != reference.end {
        wrong.push(format!("another end: {end:#}\ninstead of {:#}", reference.end));
    }
    // Each write once, and a write that was interrupted before its effect a second time.
    let mut expected = reference.writes.clone();
    if phase == "before" && reference.writes.iter().any(|write| write == struck) {
        expected.push(struck.to_owned());
    }
    let in_order = format!("{writes:?}");
    writes.sort();
    expected.sort();
    if writes != expected {
        wrong.push(format!("writes: {in_order} instead of {expected:?}"));
    }
    fixture.check_monitor().await?;
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Error::Other(wrong.join("\n")))
}

/// The end state of a run without names and times. It must not depend on a crash.
async fn end(fixture: &Fixture<'_>, act: Act) -> Result<Value, Error> {
    let emulator = &fixture.team.environment.emulator;
    let azure = emulator.get(&fixture.team.subscription).await?;
    let object = match act {
        Act::Delete => Value::Null,
        Act::Create | Act::Edit => conditions_of(&objects(fixture).get(ACCOUNT).await?),
    };
    let end = json!({"securityConnectors": azure["securityConnectors"], "groups": azure["resourceGroups"], "object": object});
    let text = end.to_string();
    let text = text.replace(&fixture.team.account, "000000000000");
    Ok(serde_json::from_str(
        &text.replace(&fixture.team.subscription, "subscription"),
    )?)
}

fn number_of_connectors(azure: &Value) -> usize {
    azure["securityConnectors"]
        .as_object()
        .map_or(0, serde_json::Map::len)
}

fn conditions_of(object: &Value) -> Value {
    let status = &object["status"];
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let conditions: BTreeMap<_, _> = conditions
        .map(|condition| {
            let [type_, status, reason] =
                ["type", "status", "reason"].map(|member| condition[member].as_str().unwrap_or_default());
            (type_, (status, reason))
        })
        .collect();
    json!({
        "conditions": conditions,
        "observedGeneration": status["observedGeneration"],
        "target": status["target"]["id"],
        "tier": status["tier"],
        "account": status["account"],
        "accountName": status["accountName"],
        "health": status["health"],
        "drift": [status["driftCount"], status["drift"]],
        "contested": status["contested"],
        "claim": status["claim"]["state"],
        "established": status["claim"]["establishedSince"].is_string(),
        "lastObservedTime": status["lastObservedTime"].is_string(),
        "finalizers": object["metadata"]["finalizers"],
    })
}

/// The intent records that a connector was being created, so the connector belongs to the object and is deleted with
/// it.
async fn deleted_while_the_answer_of_its_creation_is_lost(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    for phase in ["before", "after"] {
        let name = format!("connector-answer-lost-{phase}");
        let fixture = Fixture::create(&environment, &name, json!({})).await?;
        let mut first = Act::Create.prepare(&fixture).await?;
        let earlier = fixture.writes().await?.len();
        let put = json!({"method": "PUT", "path": "/securityConnectors/", "subscription": fixture.team.subscription, "times": 1});
        let fault = fixture.hang(put, phase).await?;
        connect(&fixture).await?;
        fixture.kill_when_it_hangs(&mut first, &fault).await?;
        let object = objects(&fixture).get(ACCOUNT).await?;
        assert_eq!(
            condition_values(&object, "Reconciling"),
            ("True", "Writing"),
            "{object:#}"
        );
        assert_eq!(
            condition_values(&object, "ConnectorConfigured"),
            ("Unknown", "Creating")
        );
        objects(&fixture).start_deletion(ACCOUNT).await?;

        let mut second = fixture.controller()?;
        objects(&fixture).until_gone(ACCOUNT, TIMEOUT).await?;
        let azure = environment.emulator.get(&fixture.team.subscription).await?;
        assert_eq!(number_of_connectors(&azure), 0, "{azure:#}");
        let writes = fixture.writes().await?.split_off(earlier);
        let deletes = writes.iter().filter(|write| write.starts_with("DELETE ")).count();
        assert_eq!(deletes, usize::from(phase == "after"), "{writes:?}");
        assert_eq!(writes.len(), 2 + deletes, "group and connector: {writes:?}");
        fixture.team.until_events(&["ConnectorDeleted"], TIMEOUT).await?;
        fixture.check_monitor().await?;
        second.terminate().await?;
    }
    Ok(())
}
