//! Azure Resource Graph: queries over all resources that a caller may see.
//!
//! Supports a subset of the language, evaluated over rows of the world. Anything else is refused
//! with its position in the query, never guessed. `docs/emulator.md` lists the subset.

mod ast;
mod bind;
mod distortion;
mod evaluation;
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

use axum::http::{Method, StatusCode};

pub use self::distortion::Distortion;
pub(crate) use self::{evaluation::Evaluation, groups::descendants};
use self::{
    evaluation::Paging,
    history::{History, before},
    pages::{Binding, Pages},
    problem::refused,
    quota::Quota,
    request::Request,
};
use crate::{
    answer::{Answer, ArmError},
    arm::{Context, refusals},
    instant,
    state::{Subscription, World},
};

/// The state of the service: quotas, results by token, former states.
#[derive(Debug, Default)]
pub struct Graph {
    quota: Quota,
    pages: Pages,
    history: History,
}

/// The service for one request.
pub(crate) struct QueryContext<'a> {
    pub(crate) graph: &'a mut Graph,
    /// The distortion by a fault that applies to this request.
    pub(crate) distortion: Option<Distortion>,
    /// A query to evaluate without the lock on the world; the response so far has only headers.
    pub(crate) pending: Option<Evaluation>,
}

impl Graph {
    /// Resets the quota of all callers.
    pub fn refill(&mut self) {
        self.quota = Quota::default();
    }

    /// Resets everything.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Stores the state of a subscription before a change, for a lagging index.
    pub(crate) fn changed(&mut self, world: &World, former: Subscription) {
        let lag = world.knobs.graph_lag;
        if !lag.is_zero() {
            self.history.keep(former, jiff::Timestamp::now(), lag);
        }
    }
}

/// Handles `POST /providers/Microsoft.ResourceGraph/resources`. `admit` takes a token from ARM's buckets.
pub(crate) fn answer(
    context: &mut Context<'_>,
    query_context: &mut QueryContext<'_>,
    admit: impl FnOnce(&Context<'_>) -> Result<Vec<(String, String)>, ArmError>,
) -> Answer {
    let (knobs, now) = (&context.world.knobs, instant::epoch_milliseconds(context.now));
    let allowance = query_context.graph.quota.take(
        &context.caller.client_id,
        knobs.graph_quota,
        knobs.graph_quota_window,
        now,
    );
    let mut answer = if allowance.as_ref().is_some_and(|allowance| !allowance.granted) {
        Answer::from(quota::exceeded())
    } else {
        let admitted = admit(context).and_then(|budget| {
            let mut answer = queried(context, query_context, now)?;
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

fn queried(
    context: &Context<'_>,
    query_context: &mut QueryContext<'_>,
    now: i64,
) -> Result<Answer, ArmError> {
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
    let mut paging = Paging {
        from: request.skip,
        top: request.top,
        lifetime: context.world.knobs.graph_token_lifetime,
        distortion: query_context.distortion.clone(),
    };
    if let Some(token) = &request.token {
        let (result, from) = query_context.graph.pages.find(token, &binding, now)?;
        paging.from = from;
        return Ok(query_context.graph.page(&result, &paging, now));
    }
    let plan = parser::parse(&request.query).and_then(|query| bind::bind(&query))?;
    let principal = context.world.principals.get(&context.caller.client_id);
    let principal = principal.cloned().ok_or_else(|| {
        let text = "The caller sees no subscription.";
        refused("NoValidSubscriptionsInQueryRequest", text)
    })?;
    let (subscriptions, limit_hit) = request.scope(context, &principal)?;
    query_context.pending = Some(Evaluation {
        plan,
        principal,
        subscriptions,
        at: before(context.now, context.world.knobs.graph_lag),
        binding,
        paging,
    });
    let mut answer = Answer::empty(StatusCode::OK);
    if limit_hit {
        answer = answer.header("x-ms-tenant-subscription-limit-hit", "true");
    }
    Ok(answer)
}
