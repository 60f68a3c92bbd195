//! Azure Resource Graph: queries over all resources that a caller may see.
//!
//! The language is in [`crate::query`]; here are the service's requests, scopes, pages and the lag of its index.

mod distortion;
mod evaluation;
mod history;
mod pages;
mod quota;
mod refusals;
mod request;
mod rows;
#[cfg(test)]
mod tests;

use axum::http::{Method, StatusCode};

pub use self::distortion::Distortion;
pub(crate) use self::evaluation::Evaluation;
pub(super) use self::quota::{Quota, exceeded};
use self::{
    evaluation::Paging,
    history::{History, before},
    pages::{Binding, Pages},
    refusals::refused,
    request::Request,
};
use super::{Context, Reply};
use crate::{
    answer::{Answer, ArmError},
    instant, query,
    state::{Subscription, World},
};

/// What the service keeps: results by token, former states.
#[derive(Debug, Default)]
pub struct Graph {
    pages: Pages,
    history: History,
}

impl Graph {
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

/// Handles `POST /providers/Microsoft.ResourceGraph/resources`: the first page is evaluated later, the pages of a
/// token are there.
pub(super) fn answer(context: &mut Context<'_>) -> Result<Reply, ArmError> {
    if context.request.method != Method::POST {
        let method = context.request.method.as_str();
        return Err(super::refusals::no_method(method, "resources"));
    }
    let now = instant::epoch_milliseconds(context.now);
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
        distortion: context.distortion.clone(),
    };
    if let Some(token) = &request.token {
        let (result, from) = context.graph.pages.find(token, &binding, now)?;
        paging.from = from;
        return Ok(context.graph.page(&result, &paging, now).into());
    }
    let plan = query::compile(&request.query)?;
    let principal = context.principal().cloned().ok_or_else(|| {
        let text = "The caller sees no subscription.";
        refused("NoValidSubscriptionsInQueryRequest", text)
    })?;
    let (subscriptions, limit_hit) = request.scope(context)?;
    let mut reply = Reply::from(Answer::empty(StatusCode::OK));
    if limit_hit {
        let header = ("x-ms-tenant-subscription-limit-hit".into(), "true".into());
        reply.answer.headers.push(header);
    }
    reply.query = Some(Evaluation {
        plan,
        principal,
        subscriptions,
        at: before(context.now, context.world.knobs.graph_lag),
        binding,
        paging,
    });
    Ok(reply)
}
