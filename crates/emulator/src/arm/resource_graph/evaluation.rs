//! Evaluates a query concurrently with other requests: the world is locked for one subscription at a
//! time, so that a large fleet does not block other requests.

use std::{slice, sync::Arc, thread, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use super::{
    Distortion, Graph,
    pages::{Binding, Finished},
    rows::Visible,
};
use crate::{
    answer::Answer,
    instant,
    query::{Plan, Row, RowSource, Table},
    shared::Shared,
    state::{Principal, World},
};

/// The requested page.
#[derive(Debug)]
pub(super) struct Paging {
    pub(super) from: usize,
    pub(super) top: usize,
    /// The position in the token of the page.
    pub(super) lifetime: Duration,
    pub(super) distortion: Option<Distortion>,
}

/// A checked query with everything that it needs except the rows.
#[derive(Debug)]
pub(crate) struct Evaluation {
    pub(super) plan: Plan,
    pub(super) principal: Principal,
    pub(super) subscriptions: Vec<String>,
    pub(super) at: Timestamp,
    pub(super) binding: Binding,
    pub(super) paging: Paging,
}

impl Evaluation {
    /// Evaluates the query and returns its first page. Takes seconds for a large fleet.
    pub(crate) fn finish(self, world: &Shared<World>, graph: &Shared<Graph>) -> Answer {
        let source = Locking {
            world,
            graph,
            principal: &self.principal,
            subscriptions: &self.subscriptions,
            at: self.at,
        };
        let mut rows = self.plan.run(&source);
        let (columns, distortion) = (&self.plan.columns, self.paging.distortion.as_ref());
        if let Some(distortion) = distortion {
            distortion.spoil(columns, &mut rows);
        }
        let instead = |row: &Row| distortion.and_then(|distortion| distortion.instead_of(columns, row));
        let result = Finished::new(self.binding, columns, &rows, self.plan.ordered, instead);
        let now = instant::epoch_milliseconds(Timestamp::now());
        graph.lock().page(&Arc::new(result), &self.paging, now)
    }
}

struct Locking<'a> {
    world: &'a Shared<World>,
    graph: &'a Shared<Graph>,
    principal: &'a Principal,
    subscriptions: &'a [String],
    at: Timestamp,
}

impl RowSource for Locking<'_> {
    fn rows(&self, table: Table, types: Option<&[String]>, each: &mut dyn FnMut(Value)) {
        for subscription in self.subscriptions {
            {
                let world = self.world.lock();
                let graph = self.graph.lock();
                let visible = Visible {
                    world: &world,
                    history: &graph.history,
                    principal: self.principal,
                    subscriptions: slice::from_ref(subscription),
                    at: self.at,
                };
                visible.rows(table, types, each);
            }
            thread::yield_now();
        }
    }
}

impl Graph {
    /// One page, assembled from serialized rows.
    pub(super) fn page(&mut self, result: &Arc<Finished>, paging: &Paging, now: i64) -> Answer {
        let total = result.total();
        let from = paging.from.min(total);
        let full = total.min(from.saturating_add(paging.top));
        let half = from + (full - from).div_ceil(2);
        let (to, next) = match &paging.distortion {
            Some(Distortion::PartialPages | Distortion::Truncated) => (half, half),
            // A page must have at least one row, or the caller would never reach the end.
            Some(Distortion::DuplicateRows) if full - from > 1 => (full, full - 1),
            _ => (full, full),
        };
        let cut = matches!(paging.distortion, Some(Distortion::Truncated));
        let more = to < total;
        let token = (more && result.pageable && !cut)
            .then(|| self.pages.give(result, next, paging.lifetime, now))
            .map_or_else(String::new, |token| format!("\"$skipToken\":\"{token}\","));
        let truncated = cut || (more && !result.pageable);
        Answer::spelled(format!(
            "{{\"totalRecords\":{total},\"count\":{},\"resultTruncated\":\"{truncated}\",{token}\"facets\":[],\"data\":{}}}",
            to - from,
            result.data(from, to)
        ))
    }
}
