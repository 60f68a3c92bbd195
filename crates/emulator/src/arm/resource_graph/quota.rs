//! The quota of Resource Graph: a number of requests per application in a fixed window,
//! which begins with the first request. Refused requests do not count.

use std::{collections::HashMap, time::Duration};

use axum::http::StatusCode;
use serde_json::json;

use super::refusals::support;
use crate::answer::ArmError;

/// The windows of the callers: start in milliseconds, and requests used.
#[derive(Debug, Default)]
pub(crate) struct Quota(HashMap<String, (i64, u32)>);

/// The quota headers of a response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Allowance {
    pub(crate) granted: bool,
    remaining: u32,
    /// Seconds, rounded up.
    resets_after: i64,
}

impl Quota {
    /// Takes one request from a caller's window; `None` if there is no quota.
    pub(crate) fn take(&mut self, caller: &str, most: u32, window: Duration, now: i64) -> Option<Allowance> {
        if most == 0 || window.is_zero() {
            return None;
        }
        let length = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
        let (began, used) = self.0.entry(caller.into()).or_insert((now, 0));
        if now.saturating_sub(*began) >= length {
            (*began, *used) = (now, 0);
        }
        let granted = *used < most;
        *used += u32::from(granted);
        let left = began.saturating_add(length).saturating_sub(now);
        Some(Allowance {
            granted,
            remaining: most.saturating_sub(*used),
            resets_after: left.saturating_add(999) / 1000,
        })
    }
}

impl Allowance {
    pub(crate) fn headers(&self) -> Vec<(String, String)> {
        let (seconds, remaining) = (self.resets_after, self.remaining.to_string());
        let clock = format!(
            "{:02}:{:02}:{:02}",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        );
        vec![
            ("x-ms-user-quota-remaining".into(), remaining.clone()),
            ("x-ms-user-quota-resets-after".into(), clock),
            (
                "x-ms-ratelimit-remaining-tenant-resource-requests".into(),
                remaining,
            ),
        ]
    }
}

/// 429: the quota headers contain the wait; there is no `Retry-After`.
pub(crate) fn exceeded() -> ArmError {
    let text = "Client application has been throttled and should not attempt to repeat the request until an amount \
                of time has elapsed. Please see https://aka.ms/resourcegraph-throttling for help.";
    ArmError::new(StatusCode::TOO_MANY_REQUESTS, "RateLimiting", support())
        .with("details", json!([{"code": "RateLimiting", "message": text}]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_grants_its_number_of_queries() {
        let mut quota = Quota::default();
        let window = Duration::from_secs(5);
        let first = quota.take("a", 2, window, 0).unwrap();
        assert_eq!(
            first.headers()[..2],
            [
                ("x-ms-user-quota-remaining".into(), "1".into()),
                ("x-ms-user-quota-resets-after".into(), "00:00:05".into())
            ]
        );
        assert!(quota.take("a", 2, window, 10).unwrap().granted);
        let third = quota.take("a", 2, window, 1500).unwrap();
        assert_eq!(
            (third.granted, third.remaining, third.resets_after),
            (false, 0, 4)
        );
        assert!(quota.take("b", 2, window, 1500).unwrap().granted);
        assert!(quota.take("a", 2, window, 5000).unwrap().granted);
        assert_eq!(quota.take("a", 0, window, 5000), None);
    }
}
