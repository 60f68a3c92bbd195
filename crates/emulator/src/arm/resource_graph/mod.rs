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
mod state;
#[cfg(test)]
mod tests;

use axum::http::{Method, StatusCode};

pub use self::distortion::Distortion;
pub(super) use self::quota::{Quota, exceeded};
pub(crate) use self::{evaluation::Evaluation, state::Graph};
use self::{evaluation::Paging, history::before, pages::Binding, refusals::refused, request::Request};
use super::{Call, Reply};
use crate::{
    answer::{Answer, ArmError},
    instant, query,
};

/// Handles `POST /providers/Microsoft.ResourceGraph/resources`: the first page is evaluated later, the pages of a
/// token are there.
pub(super) fn answer(call: &mut Call<'_>) -> Result<Reply, ArmError> {
    if call.request.method != Method::POST {
        let method = call.request.method.as_str();
        return Err(super::refusals::no_method(method, "resources"));
    }
    let now = instant::epoch_milliseconds(call.now);
    let request = Request::parse(&call.body()?)?;
    let binding = Binding {
        principal: call.caller.client_id.clone(),
        query: request.query.clone(),
        scope: request.scope_text(),
        table: request.table,
    };
    let mut paging = Paging {
        from: request.skip,
        top: request.top,
        lifetime: call.world.knobs.graph_token_lifetime,
        distortion: call.distortion.clone(),
    };
    if let Some(token) = &request.token {
        let (result, from) = call.graph.pages.find(token, &binding, now)?;
        paging.from = from;
        return Ok(call.graph.page(&result, &paging, now).into());
    }
    let plan = query::compile(&request.query)?;
    let principal = call.principal().cloned().ok_or_else(|| {
        let text = "The caller sees no subscription.";
        refused("NoValidSubscriptionsInQueryRequest", text)
    })?;
    let (subscriptions, limit_hit) = request.scope(call)?;
    let mut reply = Reply::from(Answer::empty(StatusCode::OK));
    if limit_hit {
        let header = ("x-ms-tenant-subscription-limit-hit".into(), "true".into());
        reply.answer.headers.push(header);
    }
    reply.query = Some(Box::new(Evaluation {
        plan,
        principal,
        subscriptions,
        at: before(call.now, call.world.knobs.graph_lag),
        binding,
        paging,
    }));
    Ok(reply)
}
