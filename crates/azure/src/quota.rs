//! The quota of Resource Graph: 15 queries in 5 s for one identity, told by every answer (docs/azure-api.md 7.2).

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use reqwest::header::HeaderMap;
use serverprotection_core::retry::LONGEST_RETRY_AFTER;

use crate::retry_after;

/// Wait after a refusal that told no time.
const DEFAULT_WAIT: Duration = Duration::from_secs(5);
/// Azure tells whole seconds: a refusal with "0" is not asked again at once.
const AT_LEAST: Duration = Duration::from_secs(1);
/// The time to the reset is told in these steps.
const ROUNDED: Duration = Duration::from_secs(1);
/// What a new window is taken to hold until its first answer, unless more was seen.
const USUAL: u32 = 15;
/// A window is seconds long: a header that makes no sense must not stop the scans of an identity.
const LONGEST_RESET: Duration = Duration::from_secs(600);
/// The same for what is left in it.
const MOST_LEFT: u32 = 10_000;
/// For the log.
const OPERATION: &str = "POST resources";

/// What is left, shared by all queries of one identity.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    window: Option<Window>,
    /// Queries on their way: an answer may or may not have counted them.
    flying: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    left: u32,
    /// Our own queries in it, those on their way too.
    sent: u32,
    /// Not later than this, by all of its answers.
    until: Instant,
    /// When the first query was sent that may belong to it.
    began: Instant,
    /// No answer has told anything about it yet.
    assumed: bool,
    /// The most that a window was seen to hold, at least [`USUAL`].
    most: u32,
}

/// What an answer tells.
#[derive(Clone, Copy, Debug)]
struct QuotaHeaders {
    left: u32,
    after: Duration,
    refused: bool,
}

/// One query's share of the quota; given back when its answer was read, or the query was given up.
#[derive(Debug)]
pub(crate) struct Reservation<'a> {
    quota: &'a Quota,
    sent: Instant,
}

impl Quota {
    /// Waits until a query may go. The time waited is the caller's to measure.
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

    /// Queries that may go now; `None` before the first answer.
    pub(crate) fn left(&self) -> Option<u32> {
        self.lock().left(Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation<'_> {
    /// Takes what the answer tells. `refused`: it was a 429.
    pub(crate) fn answered(self, headers: &HeaderMap, refused: bool) {
        if let Some(headers_of) = read(headers, refused) {
            self.quota.lock().answered(headers_of, self.sent, Instant::now());
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
        // Not before either of them.
        let after = resets().max(retry_after::of(headers, OPERATION));
        (0, after.unwrap_or(DEFAULT_WAIT).max(AT_LEAST))
    } else {
        let left: u32 = text("x-ms-user-quota-remaining")?.trim().parse().ok()?;
        (left.min(MOST_LEFT), resets().unwrap_or(DEFAULT_WAIT))
    };
    Some(QuotaHeaders { left, after, refused })
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let mut state = self.quota.lock();
        state.flying = state.flying.saturating_sub(1);
    }
}

impl State {
    /// Takes one from the quota, or tells how long to wait. Before the first answer everything may go.
    fn reserve(&mut self, now: Instant) -> Option<Duration> {
        if let Some(window) = &mut self.window {
            if now >= window.until {
                // The next answer tells the new window; until then it is as large as the last one.
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
        self.flying = self.flying.saturating_add(1);
        None
    }

    fn answered(&mut self, headers_of: QuotaHeaders, sent: Instant, now: Instant) {
        let others = self.flying.saturating_sub(1);
        let most = self.window.map_or(USUAL, |window| window.most);
        let most = most.max(headers_of.left.saturating_add(1));
        // Capped where it was read, and here once more: `+` of a longer one would panic.
        let Some(reset) = now.checked_add(headers_of.after.min(LONGEST_RETRY_AFTER)) else {
            return;
        };
        let (began, until, ours) = match self.window {
            // About the window before: this one may be full again already.
            Some(window) if sent < window.began && !headers_of.refused => return,
            // The first word about this window, or a refusal, which shows that what was known of it is wrong.
            Some(window) if window.assumed || headers_of.refused => (window.began, reset, window.sent),
            // Whole seconds, rounded up: the earliest of a window's answers is the closest.
            Some(window) if reset <= window.until + ROUNDED + now.saturating_duration_since(sent) => {
                (window.began, window.until.min(reset), window.sent)
            }
            // Further off than rounding and the way explain: a new window.
            _ => (sent, reset, others.saturating_add(1)),
        };
        // While no more was counted than we have sent, nobody else takes part, and our own count is exact. Else those on
        // their way may not be counted yet. Answers come in any order: none gives back what was taken since.
        let left = if most.saturating_sub(headers_of.left) <= ours && !headers_of.refused {
            most.saturating_sub(ours)
        } else {
            headers_of.left.saturating_sub(others)
        };
        let left = match self.window {
            Some(window) if window.began == began && !window.assumed && !headers_of.refused => {
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

/// `hh:mm:ss`, seconds perhaps with a fraction.
fn duration(text: &str) -> Option<Duration> {
    let mut seconds = 0.0;
    for part in text.trim().split(':') {
        let part: f64 = part.parse().ok().filter(|part: &f64| part.is_finite())?;
        seconds = seconds * 60.0 + part;
    }
    // More than a duration holds is a long time, and not none.
    let duration = Duration::try_from_secs_f64(seconds);
    duration.ok().or((seconds > 0.0).then_some(Duration::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    /// As a broken gateway may write it.
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
                if let Some(headers_of) = read(&headers, refused) {
                    // Also one that was sent after it was answered, as far as the clock tells.
                    state.answered(headers_of, if early { now } else { sent }, if early { sent } else { now });
                }
                if reserved.is_none() {
                    state.flying -= 1;
                }
            }
            // After the longest wait a query may go, whatever came before.
            prop_assert_eq!(state.reserve(now + LONGEST_RETRY_AFTER + ROUNDED), None);
        }
    }

    #[test]
    fn nonsensical_headers_are_bounded_or_ignored() {
        let headers_of = |pairs: &[(&'static str, &'static str)], refused| {
            read(&headers(pairs), refused).map(|headers_of| (headers_of.left, headers_of.after.as_secs()))
        };
        for (remaining, left) in [
            ("14", Some(14)),
            ("4294967295", Some(MOST_LEFT)),
            ("4294967296", None),
            ("-1", None),
            ("1.5", None),
            ("", None),
        ] {
            let found = headers_of(&[("x-ms-user-quota-remaining", remaining)], false);
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
            assert_eq!(headers_of(&pairs, false), Some((3, seconds)), "{after}");
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
                headers_of(&[("retry-after", after)], true),
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
        state.answered(headers_of(u32::MAX, 5), now, now);
        assert!(state.left(now) >= Some(u32::MAX - 1));
        assert_eq!(state.reserve(now), None);
    }

    fn headers_of(left: u32, seconds: u64) -> QuotaHeaders {
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
        let headers_of = headers(&[
            ("x-ms-user-quota-remaining", "2"),
            ("x-ms-user-quota-resets-after", "00:00:05"),
        ]);
        first.answered(&headers_of, false);
        assert_eq!(quota.left(), Some(1), "the second may not have been counted");
        let third = quota.reserve().await;
        assert_eq!(quota.left(), Some(0));
        assert!(quota.lock().reserve(Instant::now()).is_some());
        drop((second, third));
        assert_eq!(quota.lock().flying, 0);
    }

    #[test]
    fn two_at_a_time_use_up_a_window() {
        let now = Instant::now();
        let mut state = State::default();
        let mut counted = 0;
        assert_eq!((state.reserve(now), state.reserve(now)), (None, None));
        // The service counts both before the first answer is read, and so on.
        counted += 2;
        let mut sent = 2;
        for _ in 0..100 {
            state.answered(headers_of(15 - counted, 5), now, now);
            state.flying -= 1;
            if state.reserve(now).is_none() {
                counted += 1;
                sent += 1;
            }
            if state.flying == 0 {
                break;
            }
        }
        assert_eq!((sent, counted), (15, 15));
    }

    #[test]
    fn nothing_left_waits_for_the_reset_and_then_goes_on_as_before() {
        let now = Instant::now();
        let mut state = State::default();
        assert_eq!(state.reserve(now), None);
        state.answered(headers_of(14, 5), now, now);
        state.answered(headers_of(0, 3), now, now);
        assert_eq!(state.reserve(now), Some(Duration::from_secs(3)));
        let later = now + Duration::from_secs(3);
        assert_eq!(state.left(later), Some(15));
        assert_eq!(state.reserve(later), None);
    }

    #[test]
    fn of_a_windows_answers_the_earliest_reset_is_the_closest() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut state = State::default();
        assert_eq!(state.reserve(start), None);
        state.answered(headers_of(14, 5), start, at(50));
        // 3.6 s are left, told as 4.
        state.answered(headers_of(3, 4), at(1350), at(1400));
        assert_eq!(state.window.map(|window| window.until), Some(at(5050)));
        // The next window: assumed, then told.
        assert_eq!(state.reserve(at(5100)), None);
        state.answered(headers_of(14, 5), at(5100), at(5200));
        assert_eq!(state.window.map(|window| window.until), Some(at(10_200)));
        // A late answer of the window before says nothing about it.
        state.answered(headers_of(2, 1), at(5000), at(5300));
        assert_eq!(state.window.map(|window| window.until), Some(at(10_200)));
        // Somebody else used up a window that began unseen.
        state.answered(headers_of(9, 5), at(8000), at(8100));
        assert_eq!(state.window.map(|window| window.until), Some(at(13_100)));
    }

    #[test]
    fn answers_out_of_order_give_nothing_back_and_a_refusal_counts_most() {
        let now = Instant::now();
        let mut state = State::default();
        for _ in 0..3 {
            assert_eq!(state.reserve(now), None);
        }
        state.answered(headers_of(2, 5), now, now);
        state.flying = 2;
        assert_eq!(state.left(now), Some(0), "both others may not have been counted");
        state.answered(headers_of(9, 5), now, now);
        assert_eq!(state.left(now), Some(0));
        let error_response = QuotaHeaders {
            refused: true,
            ..headers_of(0, 7)
        };
        state.answered(error_response, now, now);
        state.answered(headers_of(9, 5), now, now);
        assert_eq!(state.left(now), Some(0));
    }

    #[tokio::test]
    async fn a_refusal_without_headers_waits_five_seconds() {
        for (headers_of, seconds) in [
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
            quota.reserve().await.answered(&headers_of, true);
            let wait = quota.lock().reserve(Instant::now()).unwrap();
            assert!(
                wait.as_secs_f64() > f64::from(seconds) - 0.5 && wait.as_secs_f64() <= f64::from(seconds)
            );
        }
    }
}
