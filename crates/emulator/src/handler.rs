//! The entry point of every request that is not for the control endpoint.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::{Response, StatusCode},
};
use jiff::Timestamp;
use serde_json::json;

use crate::{
    answer::Answer,
    arm::{self, Call, Caller, Distortion, Evaluation, Reply, Resource, Route},
    emulator::Emulator,
    entra,
    faults::{Action, Phase, Strike},
    incoming::Incoming,
    instant,
    log::Kind,
    monitor::stored,
    record::Record,
    state::World,
    wire::{self, Delivery},
};

const LARGEST: usize = 8 * 1024 * 1024;

/// Handles a request of an Azure client.
pub async fn serve(State(emulator): State<Arc<Emulator>>, request: Request) -> Response<Body> {
    receive(&emulator, request, false).await
}

/// Handles a request to the machine's own endpoint for managed identities.
pub async fn serve_machine(State(emulator): State<Arc<Emulator>>, request: Request) -> Response<Body> {
    receive(&emulator, request, true).await
}

async fn receive(emulator: &Arc<Emulator>, request: Request, of_machine: bool) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, LARGEST)
        .await
        .unwrap_or_else(|_| Bytes::new());
    // HTTP/2 has the authority in the URI, HTTP/1 has a Host header.
    let authority = parts.uri.authority().map(ToString::to_string);
    let mut headers = parts.headers;
    if let Some(value) = authority.as_deref().and_then(|authority| authority.parse().ok()) {
        headers.entry("host").or_insert(value);
    }
    let query = parts.uri.query().unwrap_or_default();
    let request = Arc::new(Incoming {
        of_machine,
        ..Incoming::new(parts.method, parts.uri.path(), query, headers, bytes)
    });
    let host = emulator.url_for(request.header("host"));
    answer(emulator, &request, &host).await
}

async fn answer(emulator: &Arc<Emulator>, request: &Arc<Incoming>, host: &str) -> Response<Body> {
    let kind = kind(emulator, request, host);
    let route = Route::parse(&request.method, &request.segments);
    let caller = (kind == Kind::Arm).then(|| authenticate(emulator, request, &route, host));
    let principal = match &caller {
        Some(caller) => caller.as_ref().ok().map(|caller| caller.client_id.clone()),
        None if request.of_machine => request.query("client_id"),
        None => request.form("client_id").filter(|_| kind == Kind::Token),
    };
    let authenticated = matches!(caller, Some(Ok(_)));
    let mut record = Record::begin(emulator, request, kind, route, principal, authenticated);

    let latency = emulator.world.lock().knobs.latency;
    pause(latency).await;
    let mut strike = emulator.faults.lock().strike(
        kind.name(),
        request.method.as_str(),
        &request.path(),
        record.route().subscription.as_deref(),
    );
    if let Some(strike) = &mut strike {
        record.fault = Some(strike.id.clone());
        if strike.phase == Phase::Before {
            wait(strike).await;
            if let Some(response) = instead(&strike.action, request, &mut record, None) {
                return response;
            }
        }
    }
    let distortion = strike.as_ref().and_then(|strike| strike.action.graph.clone());
    record.disturbed |= distortion.is_some();
    let reply = effect(emulator, request, host, caller, &mut record, distortion);
    let answer = match reply.query {
        Some(query) => evaluated(emulator, query, reply.answer).await,
        None => reply.answer,
    };
    pause(reply.delay).await;
    if let Some(strike) = &mut strike
        && strike.phase == Phase::After
    {
        wait(strike).await;
        if let Some(response) = instead(&strike.action, request, &mut record, Some(&answer)) {
            return response;
        }
    }
    finish(&mut record, &answer);
    wire::response(&answer, request, Delivery::Whole)
}

fn kind(emulator: &Emulator, request: &Incoming, host: &str) -> Kind {
    if request.of_machine || entra::token_tenant(&request.segments).is_some() {
        Kind::Token
    } else if entra::document(request, &emulator.signer, host).is_some() {
        Kind::Metadata
    } else {
        Kind::Arm
    }
}

fn authenticate(
    emulator: &Emulator,
    request: &Incoming,
    route: &Route,
    host: &str,
) -> Result<Caller, Box<Answer>> {
    let tenant = {
        let world = emulator.world.lock();
        let of_subscription = route
            .subscription
            .as_ref()
            .and_then(|id| world.subscriptions.get(id));
        of_subscription.map_or_else(|| "common".into(), |subscription| subscription.tenant.clone())
    };
    arm::authenticate(&emulator.signer, request, [host, &emulator.own_url], &tenant)
        .map_err(|error| Box::new(Answer::from(error)))
}

/// The normal response, with its effect on the world.
fn effect(
    emulator: &Emulator,
    request: &Incoming,
    host: &str,
    caller: Option<Result<Caller, Box<Answer>>>,
    record: &mut Record,
    distortion: Option<Distortion>,
) -> Reply {
    if request.of_machine {
        let world = emulator.world.lock();
        let secret = &emulator.identity_header;
        return entra::issue_to_machine(&world, &emulator.signer, request, secret).into();
    }
    if let Some(tenant) = entra::token_tenant(&request.segments) {
        return entra::issue(
            &mut emulator.world.lock(),
            &emulator.signer,
            tenant,
            request,
            host,
        )
        .into();
    }
    let caller = match caller {
        Some(Ok(caller)) => caller,
        Some(Err(refusal)) => return (*refusal).into(),
        None => {
            let document = entra::document(request, &emulator.signer, host);
            return document
                .unwrap_or_else(|| Answer::empty(StatusCode::NOT_FOUND))
                .into();
        }
    };
    let route = record.route().clone();
    let mut world = emulator.world.lock();
    let snapshot = |world: &World| {
        let subscription = route
            .subscription
            .as_ref()
            .and_then(|id| world.subscriptions.get(id));
        subscription
            .map(|subscription| stored(subscription, &route))
            .unwrap_or_default()
    };
    record.capture_before(snapshot(&world));
    let query = matches!(&route.resource, Resource::Typed(typed) if typed.is_query());
    let former = (!world.knobs.graph_lag.is_zero() && request.method != "GET")
        .then(|| world.subscriptions.get(route.subscription.as_ref()?).cloned())
        .flatten();
    let mut graph = emulator.graph.lock();
    let mut call = Call {
        request,
        route: &route,
        caller: &caller,
        host,
        now: Timestamp::now(),
        world: &mut world,
        graph: &mut graph,
        distortion,
    };
    let reply = arm::process(&mut call, &mut emulator.throttle.lock());
    let changed = record.capture_after(snapshot(&world));
    if let Some(former) = former {
        graph.changed(&world, former);
    }
    drop(graph);
    record.unknown = arm::is_unknown(&reply.answer);
    // A query is a POST that changes nothing, so it does not save the state file.
    if request.method != "GET" && !query {
        emulator.changed();
    }
    if let (true, Some(subscription)) = (changed, &route.subscription) {
        emulator.foreign.lock().answer_change(&mut world, subscription);
    }
    reply
}

/// Runs a query concurrently with other requests, and adds the page to the headers of the response.
async fn evaluated(emulator: &Arc<Emulator>, query: Box<Evaluation>, so_far: Answer) -> Answer {
    let emulator = Arc::clone(emulator);
    let page = tokio::task::spawn_blocking(move || query.finish(&emulator.world, &emulator.graph)).await;
    let mut answer = page.unwrap_or_else(|_| Answer::empty(StatusCode::INTERNAL_SERVER_ERROR));
    answer.headers.extend(so_far.headers);
    answer
}

async fn pause(duration: Duration) {
    if !duration.is_zero() {
        tokio::time::sleep(duration).await;
    }
}

async fn wait(strike: &mut Strike) {
    pause(strike.action.pause()).await;
    if strike.action.hang {
        strike.released().await;
    }
}

/// The response of a fault that replaces the normal one.
fn instead(
    action: &Action,
    request: &Incoming,
    record: &mut Record,
    right: Option<&Answer>,
) -> Option<Response<Body>> {
    if action.reset {
        record.disturbed = true;
        record.finish(0, Some("Reset".into()), None);
        let nothing = Answer::empty(StatusCode::OK);
        return Some(wire::response(&nothing, request, Delivery::Reset));
    }
    if action.truncate {
        record.disturbed = true;
        let answer = right
            .cloned()
            .unwrap_or_else(|| Answer::ok(json!({"value": [], "nextLink": "truncated"})));
        record.finish(answer.status.as_u16(), Some("Truncated".into()), None);
        return Some(wire::response(&answer, request, Delivery::Truncated));
    }
    if action.byte_order_mark
        && let Some(right) = right
    {
        let mut answer = right.clone();
        let text = answer.spelled.take();
        let text = text.or_else(|| answer.body.as_ref().map(ToString::to_string));
        answer.spelled = text.map(|text| format!("\u{feff}{text}"));
        finish(record, &answer);
        return Some(wire::response(&answer, request, Delivery::Whole));
    }
    let respond = action.respond.as_ref()?;
    record.disturbed = true;
    let status = StatusCode::from_u16(respond.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let page = respond.text.iter().map(|_| ("content-type", "text/html"));
    let own = respond.headers.iter();
    let own = own.map(|(name, value)| (name.as_str(), value.as_str()));
    let headers = page
        .chain(own)
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let answer = Answer {
        status,
        headers,
        body: respond.body.clone(),
        spelled: respond.text.clone(),
    };
    finish(record, &answer);
    Some(wire::response(&answer, request, Delivery::Whole))
}

fn finish(record: &mut Record, answer: &Answer) {
    let header = |expected: &str| {
        let mut headers = answer.headers.iter();
        headers
            .find(|(name, _)| name.eq_ignore_ascii_case(expected))
            .map(|(_, value)| value.as_str())
    };
    let retry_after = header("retry-after")
        .and_then(|value| instant::retry_after(value, jiff::Timestamp::now()))
        .or_else(|| header("x-ms-user-quota-resets-after").and_then(instant::clock_seconds));
    record.finish(answer.status.as_u16(), answer.error_code(), retry_after);
}
