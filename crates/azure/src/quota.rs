//! The quota of Resource Graph: 15 queries in 5 s for one identity. Every response reports what is left
//! (docs/azure-api.md 7.2).

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use reqwest::header::HeaderMap;
use serverprotection_core::retry::LONGEST_RETRY_AFTER;

use crate::retry_after;

/// Wait after a refusal without a time.
const DEFAULT_WAIT: Duration = Duration::from_secs(5);
/// The shortest wait after a refusal: Azure reports whole seconds, so "0" may be almost one.
const MIN_WAIT: Duration = Duration::from_secs(1);
/// The precision of the time to the reset.
const ROUNDING: Duration = Duration::from_secs(1);
/// The assumed size of a new window until its first response, unless a larger one was seen.
const USUAL_SIZE: u32 = 15;
/// Windows are seconds long. A nonsensical header must not stop the scans of an identity.
const LONGEST_RESET: Duration = Duration::from_secs(600);
/// The largest number of queries that is believed to be left in a window.
const MOST_LEFT: u32 = 10_000;
/// For log lines.
const OPERATION: &str = "POST resources";

/// The quota that all queries of one identity share.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    window: Option<Window>,
    /// Queries without a response yet: the response to another query may or may not count them.
    in_flight: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    /// Queries that may still be sent.
    left: u32,
    /// Our own queries in the window, including those in flight.
    sent: u32,
    /// The earliest end according to all its responses.
    until: Instant,
    /// When the first query that may belong to the window was sent.
    began: Instant,
    /// No response has described the window yet.
    assumed: bool,
    /// The size of the largest window so far, at least [`USUAL_SIZE`].
    most: u32,
}

/// What a response says about the quota.
#[derive(Clone, Copy, Debug)]
struct QuotaHeaders {
    left: u32,
    /// The time to the reset.
    after: Duration,
    refused: bool,
}

/// The share of one query in the quota. It ends when the response is read or the query is cancelled.
#[derive(Debug)]
pub(crate) struct Reservation<'a> {
    quota: &'a Quota,
    sent: Instant,
}

impl Quota {
    /// Waits until the quota allows a query.
    pub(crate) async fn reserve(&self) -> Reservation<'_> {
        loop {
            let now = Instant::now();
            let wait = self.lock().reserve(now);
            match wait {
                None => {
                    return Reservation {
                        quota: self,
                        sent: now,
                    };
                }
                Some(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    /// The number of queries that the quota allows now; `None` before the first response.
    pub(crate) fn left(&self) -> Option<u32> {
        self.lock().left(Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation<'_> {
    /// Updates the quota with the headers of a response. `refused`: Azure refused the query and asked to wait.
    pub(crate) fn answered(self, headers: &HeaderMap, refused: bool) {
        if let Some(reported) = read(headers, refused) {
            self.quota.lock().answered(reported, self.sent, Instant::now());
        }
    }
}

fn read(headers: &HeaderMap, refused: bool) -> Option<QuotaHeaders> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let resets = || {
        let header = "x-ms-user-quota-resets-after";
        let value = text(header)?;
        let after = duration(value)?;
        Some(retry_after::capped(
            after,
            LONGEST_RESET,
            header,
            value,
            OPERATION,
        ))
    };
    let (left, after) = if refused {
        // The later of the two.
        let after = resets().max(retry_after::of(headers, OPERATION));
        (0, after.unwrap_or(DEFAULT_WAIT).max(MIN_WAIT))
    } else {
        let left: u32 = text("x-ms-user-quota-remaining")?.trim().parse().ok()?;
        (left.min(MOST_LEFT), resets().unwrap_or(DEFAULT_WAIT))
    };
    Some(QuotaHeaders { left, after, refused })
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let mut state = self.quota.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
    }
}

impl State {
    /// Counts one query, or returns how long to wait. There is no limit before the first response.
    fn reserve(&mut self, now: Instant) -> Option<Duration> {
        if let Some(window) = &mut self.window {
            if now >= window.until {
                // The next response describes the new window. Until then it is assumed to be as large as the last one.
                window.left = window.most;
                window.sent = 0;
                window.until = now + DEFAULT_WAIT;
                window.began = now;
                window.assumed = true;
            }
            if window.left == 0 {
                return Some(window.until.saturating_duration_since(now));
            }
            window.left -= 1;
            window.sent = window.sent.saturating_add(1);
        }
        self.in_flight = self.in_flight.saturating_add(1);
        None
    }

    fn answered(&mut self, reported: QuotaHeaders, sent: Instant, now: Instant) {
        let others = self.in_flight.saturating_sub(1);
        let most = self.window.map_or(USUAL_SIZE, |window| window.most);
        let most = most.max(reported.left.saturating_add(1));
        // Already capped when it was read; repeated here because `+` with a longer one would panic.
        let Some(reset) = now.checked_add(reported.after.min(LONGEST_RETRY_AFTER)) else {
            return;
        };
        let (began, until, ours) = match self.window {
            // A late response about the previous window.
            Some(window) if sent < window.began && !reported.refused => return,
            // The first response about this window, or a refusal, which proves that the assumptions were wrong.
            Some(window) if window.assumed || reported.refused => (window.began, reset, window.sent),
            // Azure rounds up to whole seconds: of all responses about a window, the earliest end is the most precise.
            Some(window) if reset <= window.until + ROUNDING + now.saturating_duration_since(sent) => {
                (window.began, window.until.min(reset), window.sent)
            }
            // Rounding and latency cannot explain the difference: a new window.
            _ => (sent, reset, others.saturating_add(1)),
        };
        // If Azure has counted no more queries than we sent, no other client uses the quota, and our own count is
        // exact. Otherwise queries in flight may not be counted yet. Responses arrive in any order, so `left` never
        // grows within a window.
        let left = if most.saturating_sub(reported.left) <= ours && !reported.refused {
            most.saturating_sub(ours)
        } else {
            reported.left.saturating_sub(others)
        };
        let left = match self.window {
            Some(window) if window.began == began && !window.assumed && !reported.refused => {
                left.min(window.left)
            }
            _ => left,
        };
        self.window = Some(Window {
            left,
            sent: ours,
            until,
            began,
            assumed: false,
            most,
        });
    }

    fn left(&self, now: Instant) -> Option<u32> {
        let window = self.window?;
        Some(if now < window.until {
            window.left
        } else {
            window.most
        })
    }
}

/// Parses `hh:mm:ss`, where the seconds may have a fraction.
fn duration(text: &str) -> Option<Duration> {
    let mut seconds = 0.0;
    for part in text.trim().split(':') {
        let part: f64 = part.parse().ok().filter(|part: &f64| part.is_finite())?;
        seconds = seconds * 60.0 + part;
    }
    // A value that is too large for a duration is a long wait, not an error.
    let duration = Duration::try_from_secs_f64(seconds);
    duration.ok().or((seconds > 0.0).then_some(Duration::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    /// Header values, including those of a broken gateway.
    fn any_value() -> impl Strategy<Value = String> {
        prop_oneof![
            ".{0,40}",
            "[0-9]{1,25}",
            "[0-9.:e+-]{0,30}",
            "[0-9]{2}:[0-9]{2}:[0-9]{2}",
            any::<u32>().prop_map(|left| left.to_string()),
            Just(u32::MAX.to_string()),
            Just("9223372036854775807".into()),
            Just("Fri, 31 Dec 9999 23:59:59 GMT".into()),
        ]
    }

    fn any_headers() -> impl Strategy<Value = HeaderMap> {
        let names = [
            "x-ms-user-quota-remaining",
            "x-ms-user-quota-resets-after",
            "retry-after",
        ];
        proptest::collection::vec((proptest::sample::select(names.to_vec()), any_value()), 0..4).prop_map(
            |pairs| {
                let pair = |(name, value): (&'static str, String)| {
                    let value = HeaderValue::from_str(&value).ok()?;
                    Some((HeaderName::from_static(name), value))
                };
                pairs.into_iter().filter_map(pair).collect()
            },
        )
    }

    proptest! {
        #[test]
        fn no_sequence_of_answers_panics_or_waits_beyond_the_cap(
            answers in proptest::collection::vec((any_headers(), any::<bool>(), 0_u64..700, any::<bool>()), 0..20),
        ) {
            let mut state = State::default();
            let mut now = Instant::now();
            for (headers, refused, seconds, early) in answers {
                let sent = now;
                let reserved = state.reserve(now);
                prop_assert!(reserved.is_none_or(|wait| wait <= LONGEST_RETRY_AFTER), "{reserved:?}");
                now += Duration::from_secs(seconds);
                if let Some(reported) = read(&headers, refused) {
                    // The clock may also say that the response came before the query.
                    state.answered(reported, if early { now } else { sent }, if early { sent } else { now });
                }
                if reserved.is_none() {
                    state.in_flight -= 1;
                }
            }
            // After the longest wait a query is always allowed.
            prop_assert_eq!(state.reserve(now + LONGEST_RETRY_AFTER + ROUNDING), None);
        }
    }

    #[test]
    fn nonsensical_headers_are_bounded_or_ignored() {
        let reported = |pairs: &[(&'static str, &'static str)], refused| {
            read(&headers(pairs), refused).map(|reported| (reported.left, reported.after.as_secs()))
        };
        for (remaining, left) in [
            ("14", Some(14)),
            ("4294967295", Some(MOST_LEFT)),
            ("4294967296", None),
            ("-1", None),
            ("1.5", None),
            ("", None),
        ] {
            let found = reported(&[("x-ms-user-quota-remaining", remaining)], false);
            assert_eq!(found.map(|found| found.0), left, "{remaining}");
        }
        for (after, seconds) in [
            ("99:99:99", 600),
            ("1e300", 600),
            ("inf", 5),
            ("", 5),
            ("-00:00:05", 5),
        ] {
            let pairs = [
                ("x-ms-user-quota-remaining", "3"),
                ("x-ms-user-quota-resets-after", after),
            ];
            assert_eq!(reported(&pairs, false), Some((3, seconds)), "{after}");
        }
        for (after, seconds) in [
            ("9223372036854775807", 3600),
            ("99999999999999", 3600),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 3600),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 1),
            ("0", 1),
            ("", 5),
            ("-5", 5),
        ] {
            assert_eq!(
                reported(&[("retry-after", after)], true),
                Some((0, seconds)),
                "{after}"
            );
        }
    }

    #[test]
    fn the_largest_number_left_is_taken_and_counted() {
        let now = Instant::now();
        let mut state = State::default();
        state.reserve(now);
        state.answered(reported(u32::MAX, 5), now, now);
        assert!(state.left(now) >= Some(u32::MAX - 1));
        assert_eq!(state.reserve(now), None);
    }

    fn reported(left: u32, seconds: u64) -> QuotaHeaders {
        QuotaHeaders {
            left,
            after: Duration::from_secs(seconds),
            refused: false,
        }
    }

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        all.iter().map(pair).collect()
    }

    #[test]
    fn the_time_to_the_reset_is_read() {
        for (text, seconds) in [
            ("00:00:05", Some(5.0)),
            ("00:01:02", Some(62.0)),
            ("01:00:00", Some(3600.0)),
            ("00:00:04.5", Some(4.5)),
            ("3", Some(3.0)),
            ("soon", None),
            ("-1:00:00", None),
        ] {
            assert_eq!(duration(text).map(|found| found.as_secs_f64()), seconds, "{text}");
        }
    }

    #[tokio::test]
    async fn concurrent_queries_take_from_one_counter() {
        let quota = Quota::default();
        let (first, second) = (quota.reserve().await, quota.reserve().await);
        assert_eq!(quota.left(), None);
        let reported = headers(&[
            ("x-ms-user-quota-remaining", "2"),
            ("x-ms-user-quota-resets-after", "00:00:05"),
        ]);
        first.answered(&reported, false);
        assert_eq!(quota.left(), Some(1), "the second may not have been counted");
        let third = quota.reserve().await;
        assert_eq!(quota.left(), Some(0));
        assert!(quota.lock().reserve(Instant::now()).is_some());
        drop((second, third));
        assert_eq!(quota.lock().in_flight, 0);
    }

    #[test]
    fn two_concurrent_queries_can_use_a_whole_window() {
        let now = Instant::now();
        let mut state = State::default();
        let mut counted = 0;
        assert_eq!((state.reserve(now), state.reserve(now)), (None, None));
        // The service counts both before the first response is read.
        counted += 2;
        let mut sent = 2;
        for _ in 0..100 {
            state.answered(reported(15 - counted, 5), now, now);
            state.in_flight -= 1;
            if state.reserve(now).is_none() {
                counted += 1;
                sent += 1;
            }
            if state.in_flight == 0 {
                break;
            }
        }
        assert_eq!((sent, counted), (15, 15));
    }

    #[test]
    fn an_exhausted_quota_waits_for_the_reset() {
        let now = Instant::now();
        let mut state = State::default();
        assert_eq!(state.reserve(now), None);
        state.answered(reported(14, 5), now, now);
        state.answered(reported(0, 3), now, now);
        assert_eq!(state.reserve(now), Some(Duration::from_secs(3)));
        let later = now + Duration::from_secs(3);
        assert_eq!(state.left(later), Some(15));
        assert_eq!(state.reserve(later), None);
    }

    #[test]
    fn the_earliest_reset_of_a_window_counts() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut state = State::default();
        assert_eq!(state.reserve(start), None);
        state.answered(reported(14, 5), start, at(50));
        // 3.6 s are left, reported as 4.
        state.answered(reported(3, 4), at(1350), at(1400));
        assert_eq!(state.window.map(|window| window.until), Some(at(5050)));
        // The next window: first assumed, then reported.
        assert_eq!(state.reserve(at(5100)), None);
        state.answered(reported(14, 5), at(5100), at(5200));
        assert_eq!(state.window.map(|window| window.until), Some(at(10_200)));
        // A late response about the previous window changes nothing.
        state.answered(reported(2, 1), at(5000), at(5300));
        assert_eq!(state.window.map(|window| window.until), Some(at(10_200)));
        // Another client used up a window that we did not see begin.
        state.answered(reported(9, 5), at(8000), at(8100));
        assert_eq!(state.window.map(|window| window.until), Some(at(13_100)));
    }

    #[test]
    fn late_responses_do_not_raise_the_quota_and_a_refusal_ends_it() {
        let now = Instant::now();
        let mut state = State::default();
        for _ in 0..3 {
            assert_eq!(state.reserve(now), None);
        }
        state.answered(reported(2, 5), now, now);
        state.in_flight = 2;
        assert_eq!(state.left(now), Some(0), "both others may not have been counted");
        state.answered(reported(9, 5), now, now);
        assert_eq!(state.left(now), Some(0));
        let refusal = QuotaHeaders {
            refused: true,
            ..reported(0, 7)
        };
        state.answered(refusal, now, now);
        state.answered(reported(9, 5), now, now);
        assert_eq!(state.left(now), Some(0));
    }

    #[tokio::test]
    async fn a_refusal_without_headers_waits_five_seconds() {
        for (reported, seconds) in [
            (headers(&[]), 5),
            (headers(&[("retry-after", "17")]), 17),
            (
                headers(&[
                    ("retry-after", "17"),
                    ("x-ms-user-quota-resets-after", "00:00:02"),
                ]),
                17,
            ),
            (headers(&[("x-ms-user-quota-resets-after", "00:00:00")]), 1),
        ] {
            let quota = Quota::default();
            quota.reserve().await.answered(&reported, true);
            let wait = quota.lock().reserve(Instant::now()).unwrap();
            assert!(
                wait.as_secs_f64() > f64::from(seconds) - 0.5 && wait.as_secs_f64() <= f64::from(seconds)
            );
        }
    }
}
