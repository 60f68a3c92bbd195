//! The time formats that Azure uses on the wire.

use jiff::Timestamp;

/// RFC 3339 with milliseconds, as in the request log and `systemData`.
pub fn milliseconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// Seven fractional digits, as .NET services write `enablementTime`.
pub fn ticks(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.7fZ").to_string()
}

/// The compact form of `x-ms-routing-request-id`.
pub fn compact(at: Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// The format of Entra's errors.
pub fn spaced(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// The American format in ARM's message about expired tokens.
pub fn american(at: Timestamp) -> String {
    at.strftime("%-m/%-d/%Y %-I:%M:%S %p").to_string()
}

/// Seconds as `hh:mm:ss`, the format of the wait time in Resource Graph's headers.
pub fn clock_seconds(text: &str) -> Option<u64> {
    text.split(':').try_fold(0_u64, |sum, part| {
        Some(sum.checked_mul(60)? + part.parse::<u64>().ok()?)
    })
}

/// The seconds of a `Retry-After`, which may be an HTTP date.
pub fn retry_after(value: &str, now: Timestamp) -> Option<u64> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(seconds);
    }
    let until = jiff::fmt::rfc2822::parse(value.trim()).ok()?.timestamp();
    Some(u64::try_from(until.as_second().saturating_sub(now.as_second())).unwrap_or(0))
}

/// Milliseconds since the epoch, for arithmetic and the state file.
pub fn epoch_milliseconds(at: Timestamp) -> i64 {
    at.as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_after_is_a_number_or_a_date() {
        let now: Timestamp = "2026-11-24T23:31:00.9Z".parse().unwrap();
        for (value, seconds) in [
            ("90", Some(90)),
            ("9223372036854775807", Some(9_223_372_036_854_775_807)),
            ("Tue, 24 Nov 2026 23:32:30 GMT", Some(90)),
            ("Tue, 24 Nov 2026 23:30:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
        ] {
            assert_eq!(retry_after(value, now), seconds, "{value}");
        }
    }

    #[test]
    fn times_are_spelled_as_the_services_do() {
        let at: Timestamp = "2026-11-24T23:31:00.1234567Z".parse().unwrap();
        assert_eq!(ticks(at), "2026-11-24T23:31:00.1234567Z");
        assert_eq!(milliseconds(at), "2026-11-24T23:31:00.123Z");
        assert_eq!(american(at), "11/24/2026 11:31:00 PM");
        assert_eq!(compact(at), "20261124T233100Z");
    }
}
