//! Throttling: ARM's token buckets, the budget of Microsoft.Security, and the quota of Resource Graph.
//!
//! A caller who retries before `Retry-After` ends is refused again, with a new value.

use std::collections::HashMap;

use axum::http::StatusCode;

use super::{
    Call, Resource,
    resource_graph::{Quota, exceeded},
    route::verb,
};
use crate::{answer::ArmError, switches::Switch};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Reads,
    Writes,
    Deletes,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Reads => "reads",
            Self::Writes => "writes",
            Self::Deletes => "deletes",
        }
    }

    /// Capacity, and refill per second.
    const fn limits(self) -> (f64, f64) {
        match self {
            Self::Reads => (250.0, 25.0),
            Self::Writes | Self::Deletes => (200.0, 10.0),
        }
    }
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: i64,
    closed_until: i64,
}

#[derive(Debug)]
struct Budget {
    left: u32,
    began: i64,
    closed_until: i64,
}

/// All buckets.
#[derive(Debug, Default)]
pub struct Throttle {
    buckets: HashMap<(String, String, Kind), Bucket>,
    budgets: HashMap<(String, String, bool), Budget>,
    queries: Quota,
}

/// The limit of a subscription over all principals, as a multiple of one principal's limit.
const GLOBAL: f64 = 15.0;

impl Throttle {
    /// Refills all buckets.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Takes one token; returns the headers with the remaining tokens.
    pub(super) fn take(&mut self, call: &Call<'_>) -> Result<Vec<(String, String)>, ArmError> {
        // The quota of Resource Graph comes first: a query that it refuses takes no token.
        let quota = self.query(call)?;
        match self.tokens(call) {
            Ok(mut headers) => {
                headers.extend(quota);
                Ok(headers)
            }
            Err(refused) => Err(with_headers(refused, &quota)),
        }
    }

    fn query(&mut self, call: &Call<'_>) -> Result<Vec<(String, String)>, ArmError> {
        if !matches!(&call.route.resource, Resource::Typed(typed) if typed.is_query()) {
            return Ok(Vec::new());
        }
        let (caller, knobs) = (&call.caller.client_id, &call.world.knobs);
        let (most, window) = (knobs.graph_quota, knobs.graph_quota_window);
        let allowance = self.queries.take(caller, most, window, call.epoch_milliseconds());
        let Some(allowance) = allowance else {
            return Ok(Vec::new());
        };
        let headers = allowance.headers();
        if allowance.granted {
            return Ok(headers);
        }
        Err(with_headers(exceeded(), &headers))
    }

    fn tokens(&mut self, call: &Call<'_>) -> Result<Vec<(String, String)>, ArmError> {
        let route = call.route;
        let kind = match verb(&call.request.method) {
            "read" => Kind::Reads,
            "delete" => Kind::Deletes,
            _ => Kind::Writes,
        };
        let now = call.epoch_milliseconds();
        let strict = call.world.knobs.throttling;
        let (place, scope) = match &route.subscription {
            Some(subscription) => (subscription.clone(), "subscription"),
            None => (call.caller.tenant.clone(), "tenant"),
        };
        let (capacity, refill) = kind.limits();
        let own = self.bucket(
            &place,
            &call.caller.client_id,
            kind,
            capacity,
            refill,
            now,
            strict,
        );
        let left = own.map_err(|wait| too_many(&place, wait))?;
        let global = self.bucket(&place, "", kind, capacity * GLOBAL, refill * GLOBAL, now, strict);
        let global_left = global.map_err(|wait| too_many(&place, wait))?;
        let header = |infix: &str| format!("x-ms-ratelimit-remaining-{scope}-{infix}{}", kind.name());
        let mut headers = vec![(header(""), left.to_string())];
        if scope == "subscription" {
            headers.push((header("global-"), global_left.to_string()));
        }
        if let Resource::Typed(typed) = &route.resource
            && typed.namespace.eq_ignore_ascii_case("Microsoft.Security")
        {
            // Connectors have a budget of their own.
            let connectors = typed.kind.eq_ignore_ascii_case("securityConnectors");
            let (place, full) = match (connectors, kind == Kind::Reads) {
                (true, true) => (format!("{place}/connectors"), 100),
                (true, false) => (format!("{place}/connectors"), 250),
                (false, true) => (place.clone(), 750),
                (false, false) => (place.clone(), 250),
            };
            let left = self
                .budget(call, &place, (kind == Kind::Reads, full), now, strict)
                .map_err(|wait| spent(&route.action(&call.request.method), full, call, wait))?;
            headers.push((
                "x-ms-ratelimit-remaining-subscription-resource-requests".into(),
                left.to_string(),
            ));
            headers.extend(if connectors {
                let edge = format!("Ref A: {} Ref B: EMU", uuid::Uuid::new_v4().simple());
                [
                    ("x-cache".into(), "CONFIG_NOCACHE".into()),
                    ("x-msedge-ref".into(), edge),
                ]
            } else {
                [
                    ("api-supported-versions".into(), "1.0".into()),
                    ("server".into(), "Kestrel".into()),
                ]
            });
        }
        Ok(headers)
    }

    #[expect(clippy::too_many_arguments, reason = "one bucket, spelled out twice above")]
    fn bucket(
        &mut self,
        place: &str,
        principal: &str,
        kind: Kind,
        capacity: f64,
        refill: f64,
        now: i64,
        strict: bool,
    ) -> Result<u32, i64> {
        let bucket = self
            .buckets
            .entry((place.into(), principal.into(), kind))
            .or_insert(Bucket {
                tokens: capacity,
                filled: now,
                closed_until: 0,
            });
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of a test run")]
        let elapsed = now.saturating_sub(bucket.filled).max(0) as f64 / 1000.0;
        bucket.tokens = (bucket.tokens + elapsed * refill).min(capacity);
        bucket.filled = now;
        if strict && now < bucket.closed_until {
            bucket.closed_until += 1000;
            return Err(bucket.closed_until - now);
        }
        if strict && bucket.tokens < 1.0 {
            // Real waits are several seconds: long enough to refill a useful number of tokens.
            bucket.closed_until = now + 2000;
            return Err(2000);
        }
        bucket.tokens = (bucket.tokens - 1.0).max(0.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and 3750"
        )]
        Ok(bucket.tokens.floor() as u32)
    }

    fn budget(
        &mut self,
        call: &Call<'_>,
        place: &str,
        (reads, full): (bool, u32),
        now: i64,
        strict: bool,
    ) -> Result<u32, i64> {
        let window = window(call);
        let budget = self
            .budgets
            .entry((place.into(), call.caller.client_id.clone(), reads))
            .or_insert(Budget {
                left: full,
                began: now,
                closed_until: 0,
            });
        if now - budget.began >= window {
            *budget = Budget {
                left: full,
                began: now,
                closed_until: 0,
            };
        }
        if strict && budget.left == 0 {
            budget.closed_until = (budget.began + window).max(budget.closed_until + 1000);
            return Err(budget.closed_until - now);
        }
        budget.left = budget.left.saturating_sub(1);
        Ok(budget.left)
    }
}

fn window(call: &Call<'_>) -> i64 {
    if call.world.switches.flipped(Switch::BudgetWindow) {
        3_600_000
    } else {
        300_000
    }
}

fn with_headers(refused: ArmError, headers: &[(String, String)]) -> ArmError {
    headers
        .iter()
        .fold(refused, |refused, (name, value)| refused.header(name, value))
}

fn seconds(wait: i64) -> i64 {
    (wait.max(1) + 999) / 1000
}

fn too_many(place: &str, wait: i64) -> ArmError {
    let seconds = seconds(wait);
    ArmError::gateway(
        StatusCode::TOO_MANY_REQUESTS,
        "SubscriptionRequestsThrottled",
        format!(
            "Number of requests for subscription '{place}' exceeded the limit. Please try again after \
             '{seconds}' seconds."
        ),
    )
    .header("Retry-After", seconds.to_string())
}

fn spent(action: &str, full: u32, call: &Call<'_>, wait: i64) -> ArmError {
    let seconds = seconds(wait);
    let interval = if window(call) == 300_000 {
        "00:05:00"
    } else {
        "01:00:00"
    };
    ArmError::new(
        StatusCode::TOO_MANY_REQUESTS,
        "ResourceRequestsThrottled",
        format!(
            "Number of requests for action '{action}' exceeded the limit of '{full}' for time interval \
             '{interval}'. Please try again after '{seconds}' seconds."
        ),
    )
    .header("Retry-After", seconds.to_string())
}
