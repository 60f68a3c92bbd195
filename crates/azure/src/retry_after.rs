//! Reads the header `Retry-After` (RFC 9110, 10.2.3). A wait is never longer than an hour, because a broken gateway may
//! send anything.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use reqwest::header::HeaderMap;
use serverprotection_core::retry::LONGEST_RETRY_AFTER;

/// The wait that these headers ask for; `None` without a valid header.
pub(crate) fn of(headers: &HeaderMap, operation: &str) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    of_texts(text("retry-after"), text("date"), operation)
}

/// The same, from the values of the headers `Retry-After` and `Date`.
pub(crate) fn of_texts(value: Option<&str>, sent: Option<&str>, operation: &str) -> Option<Duration> {
    let value = value?;
    let asked = asked(value, sent, SystemTime::now())?;
    Some(capped(
        asked,
        LONGEST_RETRY_AFTER,
        "Retry-After",
        value,
        operation,
    ))
}

/// The wait, or the longest one allowed. A longer one is logged.
pub(crate) fn capped(
    asked: Duration,
    longest: Duration,
    header: &str,
    value: &str,
    operation: &str,
) -> Duration {
    if asked > longest {
        tracing::warn!(operation, header, value = %Short(value), wait_seconds = longest.as_secs(), "Retry-After is longer than the limit; waiting for the limit");
    }
    asked.min(longest)
}

/// The value of a header, truncated for the log.
struct Short<'a>(&'a str);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .chars()
            .take(64)
            .try_for_each(|letter| write!(f, "{letter}"))
    }
}

/// Parses seconds or an HTTP date, without a cap. A date is relative to the sender's clock (`sent`), or else to `now`.
/// A date in the past is a wait of zero.
fn asked(value: &str, sent: Option<&str>, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Some(seconds) = seconds(value) {
        return Some(seconds);
    }
    let until = httpdate::parse_http_date(value).ok()?;
    let from = sent.and_then(|sent| httpdate::parse_http_date(sent.trim()).ok());
    Some(until.duration_since(from.unwrap_or(now)).unwrap_or_default())
}

/// Parses digits with an optional fraction, which is rounded up: some senders use one although HTTP does not allow it.
fn seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    // A number that is too large is a long wait, not an error.
    let whole: u64 = whole.parse().unwrap_or(u64::MAX);
    let more = fraction.bytes().any(|digit| digit != b'0');
    Some(Duration::from_secs(whole.saturating_add(u64::from(more))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Duration = Duration::from_secs(1_767_225_600);

    fn at(offset: i64) -> String {
        let at = SystemTime::UNIX_EPOCH + NOW;
        let by = Duration::from_secs(offset.unsigned_abs());
        httpdate::fmt_http_date(if offset < 0 { at - by } else { at + by })
    }

    #[test]
    fn seconds_and_dates_are_read_and_everything_else_is_ignored() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let now = SystemTime::UNIX_EPOCH + NOW;
        for (value, expected) in [
            ("17", seconds(17)),
            (" 17 ", seconds(17)),
            ("0", seconds(0)),
            ("1.5", seconds(2)),
            ("2.0", seconds(2)),
            ("9223372036854775807", seconds(9_223_372_036_854_775_807)),
            ("18446744073709551615.9", seconds(u64::MAX)),
            ("99999999999999999999999999", seconds(u64::MAX)),
            (at(90).as_str(), seconds(90)),
            (at(-90).as_str(), seconds(0)),
            // The two older forms of an HTTP date.
            ("Thursday, 01-Jan-26 00:00:30 GMT", seconds(30)),
            ("Thu Jan  1 00:00:30 2026", seconds(30)),
            ("", None),
            ("-5", None),
            ("+5", None),
            ("1e9", None),
            ("inf", None),
            ("NaN", None),
            ("soon", None),
            ("5, 7", None),
            ("00:00:05", None),
            ("Thu, 32 Jan 2026 00:00:00 GMT", None),
            ("2026-01-01T00:00:30Z", None),
        ] {
            assert_eq!(asked(value, None, now), expected, "{value}");
        }
    }

    #[test]
    fn a_date_counts_from_the_senders_clock() {
        let now = SystemTime::UNIX_EPOCH + NOW;
        // By our clock, which is five minutes ahead, the date is in the past.
        let found = asked(&at(-240), Some(&at(-300)), now);
        assert_eq!(found, Some(Duration::from_secs(60)));
        assert_eq!(
            asked(&at(60), Some("yesterday"), now),
            Some(Duration::from_secs(60))
        );
    }

    #[test]
    fn a_wait_is_capped_at_an_hour() {
        for value in ["3601", "9223372036854775807", "Fri, 31 Dec 9999 23:59:59 GMT"] {
            assert_eq!(
                of_texts(Some(value), None, "GET x"),
                Some(LONGEST_RETRY_AFTER),
                "{value}"
            );
        }
        assert_eq!(
            of_texts(Some("3599"), None, "GET x"),
            Some(Duration::from_secs(3599))
        );
        assert_eq!(of_texts(None, None, "GET x"), None);
    }

    proptest! {
        #[test]
        fn no_value_panics_or_exceeds_the_cap(
            value in prop_oneof![".*", "[0-9.:+-]{0,40}", "[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT"],
            sent in proptest::option::of(".*"),
        ) {
            let wait = of_texts(Some(&value), sent.as_deref(), "GET x");
            prop_assert!(wait.is_none_or(|wait| wait <= LONGEST_RETRY_AFTER));
        }
    }
}
