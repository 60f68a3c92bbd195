//! Azure Resource Graph: a query language over everything that a caller may see.
//!
//! A subset of the language, evaluated over rows of the world; whatever is outside it is refused
//! with its place in the query, never guessed. `docs/emulator.md` lists the subset.

mod ast;
mod bind;
mod expression;
mod functions;
mod groups;
mod history;
mod lexer;
mod pages;
mod parser;
mod plan;
mod problem;
mod quota;
mod request;
mod tables;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use axum::http::Method;
use serde::Deserialize;

pub(crate) use self::groups::descendants;
use self::{
    history::{History, before},
    pages::{Binding, Finished, Pages},
    problem::refused,
    quota::Quota,
    request::Request,
    tables::Visible,
};
use crate::{
    answer::{Answer, ArmError},
    arm::{Context, refusals},
    instant,
    state::{Subscription, World},
};

/// The ways in which a fault spoils an answer of this service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Distortion {
    /// Half a page, with a token for the rest.
    PartialPages,
    /// The last row of the page comes again as the first of the next one.
    DuplicateRows,
    /// `resultTruncated` is true, half of the rows are cut, there is no token.
    Truncated,
}

/// What the service remembers: quotas, results under their tokens, former states.
#[derive(Debug, Default)]
pub struct Graph {
    quota: Quota,
    pages: Pages,
    history: History,
}

/// The service for one request.
pub(crate) struct Desk<'a> {
    pub(crate) graph: &'a mut Graph,
    /// What an ordered fault does to the answer.
    pub(crate) distortion: Option<Distortion>,
}

impl Graph {
    /// Forgets what everybody used of the quota.
    pub fn refill(&mut self) {
        self.quota = Quota::default();
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Notes that a subscription changed, for an index that lags.
    pub(crate) fn changed(&mut self, world: &World, former: Subscription) {
        let lag = world.knobs.graph_lag;
        if !lag.is_zero() {
            self.history.keep(former, jiff::Timestamp::now(), lag);
        }
    }
}

/// Answers `POST /providers/Microsoft.ResourceGraph/resources`. `admit` asks the buckets of ARM.
pub(crate) fn answer(
    context: &mut Context<'_>,
    desk: &mut Desk<'_>,
    admit: impl FnOnce(&Context<'_>) -> Result<Vec<(String, String)>, ArmError>,
) -> Answer {
    let (knobs, now) = (&context.world.knobs, instant::epoch_milliseconds(context.now));
    let allowance = desk.graph.quota.take(
        &context.caller.client_id,
        knobs.graph_quota,
        knobs.graph_quota_window,
        now,
    );
    let mut answer = if allowance.as_ref().is_some_and(|allowance| !allowance.granted) {
        Answer::from(quota::exceeded())
    } else {
        let admitted = admit(context).and_then(|budget| {
            let mut answer = queried(context, desk, now)?;
            answer.headers.extend(budget);
            Ok(answer)
        });
        admitted.unwrap_or_else(Answer::from)
    };
    answer
        .headers
        .extend(allowance.iter().flat_map(quota::Allowance::headers));
    answer
}

fn queried(context: &Context<'_>, desk: &mut Desk<'_>, now: i64) -> Result<Answer, ArmError> {
    if context.request.method != Method::POST {
        return Err(refusals::no_method(context.request.method.as_str(), "resources"));
    }
    let request = Request::parse(&context.body()?)?;
    let binding = Binding {
        principal: context.caller.client_id.clone(),
        query: request.query.clone(),
        scope: request.scope_text(),
        table: request.table,
    };
    let (result, from, limit_hit) = if let Some(token) = &request.token {
        let (result, from) = desk.graph.pages.find(token, &binding, now)?;
        (result, from, false)
    } else {
        let (result, limit_hit) = evaluated(context, &request, binding, &desk.graph.history)?;
        (Arc::new(result), request.skip, limit_hit)
    };
    let lifetime = context.world.knobs.graph_token_lifetime;
    let mut answer = page(desk, &result, from, request.top, lifetime, now);
    if limit_hit {
        answer = answer.header("x-ms-tenant-subscription-limit-hit", "true");
    }
    Ok(answer)
}

fn evaluated(
    context: &Context<'_>,
    request: &Request,
    binding: Binding,
    history: &History,
) -> Result<(Finished, bool), ArmError> {
    let plan = parser::parse(&request.query).and_then(|query| bind::bind(&query))?;
    let principal = context
        .world
        .principals
        .get(&context.caller.client_id)
        .ok_or_else(|| {
            refused(
                "NoValidSubscriptionsInQueryRequest",
                "The caller sees no subscription.",
            )
        })?;
    let (subscriptions, limit_hit) = request.scope(context, principal)?;
    let source = Visible {
        world: context.world,
        history,
        principal,
        subscriptions: &subscriptions,
        at: before(context.now, context.world.knobs.graph_lag),
    };
    let rows = plan.run(&source);
    Ok((
        Finished::new(binding, &plan.columns, &rows, plan.ordered),
        limit_hit,
    ))
}

/// One page, spelled out without taking the rows apart again.
fn page(
    desk: &mut Desk<'_>,
    result: &Arc<Finished>,
    from: usize,
    top: usize,
    lifetime: Duration,
    now: i64,
) -> Answer {
    let total = result.total();
    let from = from.min(total);
    let full = total.min(from.saturating_add(top));
    let half = from + (full - from).div_ceil(2);
    let (to, next) = match desk.distortion {
        Some(Distortion::PartialPages | Distortion::Truncated) => (half, half),
        // A page of one row has to go on, or the caller would never end.
        Some(Distortion::DuplicateRows) if full - from > 1 => (full, full - 1),
        _ => (full, full),
    };
    let cut = desk.distortion == Some(Distortion::Truncated);
    let more = to < total;
    let token = (more && result.pageable && !cut)
        .then(|| desk.graph.pages.give(result, next, lifetime, now))
        .map_or_else(String::new, |token| format!("\"$skipToken\":\"{token}\","));
    let truncated = cut || (more && !result.pageable);
    Answer::spelled(format!(
        "{{\"totalRecords\":{total},\"count\":{},\"resultTruncated\":\"{truncated}\",{token}\"facets\":[],\"data\":{}}}",
        to - from,
        result.data(from, to)
    ))
}
