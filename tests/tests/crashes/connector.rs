//! A crash at every request of a connector's creation, edit and deletion, once before and once after its effect. A
//! restart compares before it writes: what had its effect is not written again, and no account gets a second connector.
//!
//! The `ServerProtection` is suspended: it gives subscription, identity and plan, and asks nothing of Azure itself. So every
//! request is the connector's, and its number says which one it is.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use serde_json::{Value, json};
use serverprotection_tests::{
    Error,
    controller_process::ControllerProcess,
    env::Environment,
    harness::{Case, case},
    objects::{Objects, condition},
    wait::eventually,
};

use super::{
    SOON,
    lonely::{Lonely, NAME, ended, operation, p2, told},
};

/// Crashes at the same time: they wait for starts of processes more than they compute.
const AT_ONCE: usize = 6;
/// Name of the connector.
const ACCOUNT: &str = "aws";

pub(crate) fn cases() -> Vec<Case<Environment>> {
    let limit = Duration::from_secs(230);
    vec![
        case(
            "a_crash_at_every_request_of_a_new_connector_ends_the_same",
            created,
        )
        .limit(limit),
        case(
            "a_crash_at_every_request_of_a_connectors_edit_ends_the_same",
            edited,
        )
        .limit(limit),
        case(
            "a_crash_at_every_request_of_a_connectors_deletion_ends_the_same",
            deleted,
        )
        .limit(limit),
        case("deleted_while_the_answer_of_its_creation_is_lost", answer_lost),
    ]
}

async fn created(environment: Arc<Environment>) -> Result<(), Error> {
    every(Act::Create, &environment).await
}

async fn edited(environment: Arc<Environment>) -> Result<(), Error> {
    every(Act::Edit, &environment).await
}

async fn deleted(environment: Arc<Environment>) -> Result<(), Error> {
    every(Act::Delete, &environment).await
}

/// What is under way at the crash.
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

    /// The account's connector stands in sync, and its controller runs; for a creation neither.
    async fn prepare(self, lonely: &Lonely<'_>) -> Result<Option<ControllerProcess>, Error> {
        let suspended = json!({"suspend": true, "plan": p2()["plan"]});
        lonely.team.protect(NAME, suspended).await?;
        if self == Self::Create {
            return Ok(None);
        }
        connect(lonely).await?;
        let controller = lonely.controller()?;
        ready(lonely).await?;
        Ok(Some(controller))
    }

    async fn begin(self, lonely: &Lonely<'_>) -> Result<(), Error> {
        match self {
            Self::Create => connect(lonely).await,
            Self::Edit => {
                let p1 =
                    json!({"spec": {"plan": {"tier": "P1"}, "agentlessScanning": {"state": "Disabled"}}});
                objects(lonely).patch(ACCOUNT, p1).await.map(drop)
            }
            Self::Delete => objects(lonely).start_deletion(ACCOUNT).await,
        }
    }

    /// The requests until the act is over.
    async fn finish(self, lonely: &Lonely<'_>) -> Result<Vec<Value>, Error> {
        if self == Self::Delete {
            objects(lonely).until_gone(ACCOUNT, SOON).await?;
        } else {
            ready(lonely).await?;
        }
        // Those of the visit that follows are no part of it.
        let requests = lonely.requests().await?;
        if self != Self::Delete {
            objects(lonely).visit(ACCOUNT, SOON).await?;
        }
        Ok(requests)
    }
}

fn objects(lonely: &Lonely<'_>) -> Objects {
    lonely.team.connectors()
}

/// Whose deletion deletes the connector.
async fn connect(lonely: &Lonely<'_>) -> Result<(), Error> {
    let spec = json!({"deletionPolicy": "Delete", "plan": {"tier": "P2"}});
    lonely.team.connect(ACCOUNT, spec).await.map(drop)
}

async fn ready(lonely: &Lonely<'_>) -> Result<Value, Error> {
    objects(lonely).until(ACCOUNT, "Ready", "True", SOON).await
}

/// Where an undisturbed run ends.
struct Reference {
    end: Value,
    requests: Vec<Value>,
    writes: Vec<String>,
}

/// A place to crash at.
#[derive(Clone, Copy)]
struct Point {
    number: usize,
    phase: &'static str,
}

async fn every(act: Act, environment: &Environment) -> Result<(), Error> {
    let began = Instant::now();
    let reference = undisturbed(act, environment).await?;
    let count = reference.requests.len();
    let points = (1..=count).flat_map(|number| ["before", "after"].map(|phase| Point { number, phase }));
    let reference = &reference;
    let runs = points.map(|point| async move { (point, crash(act, environment, point, reference).await) });
    let results: Vec<_> = stream::iter(runs).buffer_unordered(AT_ONCE).collect().await;

    let mut met: BTreeMap<(String, &str), usize> = BTreeMap::new();
    let mut failures = String::new();
    for (Point { number, phase }, result) in results {
        match result {
            Ok(operation) => *met.entry((operation, phase)).or_default() += 1,
            Err(error) => {
                let _ = writeln!(failures, "\n-- {}: {phase} request {number}: {error}", act.name());
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
    // Reads may come in another order, and a write must not be missed for that.
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
    let lonely = Lonely::found(environment, &format!("{}-undisturbed", act.name()), json!({})).await?;
    let running = act.prepare(&lonely).await?;
    let earlier = (lonely.requests().await?.len(), lonely.writes().await?.len());
    act.begin(&lonely).await?;
    let mut controller = match running {
        Some(running) => running,
        None => lonely.controller()?,
    };
    let requests = act.finish(&lonely).await?.split_off(earlier.0);
    let end = end(&lonely, act).await?;
    assert_eq!(controller.terminate().await?, Some(0));
    let writes = lonely.writes().await?.split_off(earlier.1);
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

/// One crash and one restart; which request it met.
async fn crash(
    act: Act,
    environment: &Environment,
    point: Point,
    reference: &Reference,
) -> Result<String, Error> {
    let Point { number, phase } = point;
    let name = format!("{}-{phase}-{number}", act.name());
    let lonely = Lonely::found(environment, &name, json!({})).await?;
    let running = act.prepare(&lonely).await?;
    let earlier = lonely.writes().await?.len();
    let fault = lonely.hang_request(number, phase).await?;
    act.begin(&lonely).await?;
    let mut first = match running {
        Some(running) => running,
        None => lonely.controller()?,
    };
    let struck = operation(&lonely.kill_when_it_hangs(&mut first, &fault).await?);
    let noted = note_stands(&lonely, act, &struck).await;
    let second = lonely.controller();
    let verdict = async {
        noted?;
        act.finish(&lonely).await?;
        let writes = lonely.writes().await?.split_off(earlier);
        compare(&lonely, act, reference, &struck, phase, writes).await
    };
    ended(second, &struck, verdict.await).await?;
    Ok(struck)
}

/// What stands before a write may have its effect: who deletes the object can see it, and the connector is not orphaned.
async fn note_stands(lonely: &Lonely<'_>, act: Act, struck: &str) -> Result<(), Error> {
    if struck.starts_with("GET ") || struck.starts_with("POST ") {
        return Ok(());
    }
    let object = objects(lonely).get(ACCOUNT).await?;
    let reason = if act == Act::Delete { "Deleting" } else { "Writing" };
    let announced = condition(&object, "Reconciling").is_some_and(|told| told["reason"] == reason);
    let finalizers = object["metadata"]["finalizers"].as_array().map(Vec::len);
    if announced && finalizers == Some(1) {
        return Ok(());
    }
    Err(Error::Other(format!("the write was not announced: {object:#}")))
}

async fn compare(
    lonely: &Lonely<'_>,
    act: Act,
    reference: &Reference,
    struck: &str,
    phase: &str,
    mut writes: Vec<String>,
) -> Result<(), Error> {
    let mut wrong = Vec::new();
    let end = end(lonely, act).await?;
    if end != reference.end {
        wrong.push(format!("another end: {end:#}\ninstead of {:#}", reference.end));
    }
    // Each write once, and the one that was cut off before its effect once more.
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
    lonely.check_monitor().await?;
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Error::Other(wrong.join("\n")))
}

/// Where a run ends: everything that must not depend on a crash, without names and times.
async fn end(lonely: &Lonely<'_>, act: Act) -> Result<Value, Error> {
    let emulator = &lonely.team.environment.emulator;
    let azure = emulator.get(&lonely.team.subscription).await?;
    let object = match act {
        Act::Delete => Value::Null,
        Act::Create | Act::Edit => told_of(&objects(lonely).get(ACCOUNT).await?),
    };
    let end = json!({"connectors": azure["connectors"], "groups": azure["resourceGroups"], "object": object});
    let text = end.to_string();
    let text = text.replace(&lonely.team.account, "000000000000");
    Ok(serde_json::from_str(
        &text.replace(&lonely.team.subscription, "subscription"),
    )?)
}

fn number_of_connectors(azure: &Value) -> usize {
    azure["connectors"].as_object().map_or(0, serde_json::Map::len)
}

fn told_of(object: &Value) -> Value {
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
        "lastObserved": status["lastObserved"].is_string(),
        "finalizers": object["metadata"]["finalizers"],
    })
}

/// The note says that a connector was being created: what came of it is the object's own, and goes with it.
async fn answer_lost(environment: Arc<Environment>) -> Result<(), Error> {
    for phase in ["before", "after"] {
        let name = format!("connector-answer-lost-{phase}");
        let lonely = Lonely::found(&environment, &name, json!({})).await?;
        Act::Create.prepare(&lonely).await?;
        let put = json!({"method": "PUT", "path": "/securityConnectors/", "subscription": lonely.team.subscription, "times": 1});
        let fault = lonely.hang(put, phase).await?;
        connect(&lonely).await?;
        let mut first = lonely.controller()?;
        lonely.kill_when_it_hangs(&mut first, &fault).await?;
        let object = objects(&lonely).get(ACCOUNT).await?;
        assert_eq!(told(&object, "Reconciling"), ("True", "Writing"), "{object:#}");
        assert_eq!(told(&object, "ConnectorConfigured"), ("Unknown", "Creating"));
        objects(&lonely).start_deletion(ACCOUNT).await?;

        let mut second = lonely.controller()?;
        objects(&lonely).until_gone(ACCOUNT, SOON).await?;
        let azure = environment.emulator.get(&lonely.team.subscription).await?;
        assert_eq!(number_of_connectors(&azure), 0, "{azure:#}");
        let writes = lonely.writes().await?;
        let deletes = writes.iter().filter(|write| write.starts_with("DELETE ")).count();
        assert_eq!(deletes, usize::from(phase == "after"), "{writes:?}");
        assert_eq!(writes.len(), 2 + deletes, "group and connector: {writes:?}");
        told_as_deleted(&lonely).await?;
        lonely.check_monitor().await?;
        second.terminate().await?;
    }
    Ok(())
}

async fn told_as_deleted(lonely: &Lonely<'_>) -> Result<(), Error> {
    let namespace = &lonely.team.namespace;
    let plane = &lonely.team.environment.plane;
    eventually("the event ConnectorDeleted", SOON, || async {
        let arguments = ["get", "events.events.k8s.io", "-n", namespace, "-o", "json"];
        let events = plane.kubectl(&arguments).await.map_err(|e| e.to_string())?;
        if events.contains("ConnectorDeleted") {
            Ok(())
        } else {
            Err(events)
        }
    })
    .await
}
