//! The spellings of time that Azure uses on the wire.

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

/// The form in Entra's errors.
pub fn spaced(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// The American form in ARM's message about expired tokens.
pub fn american(at: Timestamp) -> String {
    at.strftime("%-m/%-d/%Y %-I:%M:%S %p").to_string()
}

/// The seconds of `hh:mm:ss`, as the query service tells how long to wait.
pub fn clock_seconds(text: &str) -> Option<u64> {
    text.split(':').try_fold(0_u64, |sum, part| {
        Some(sum.checked_mul(60)? + part.parse::<u64>().ok()?)
    })
}

/// Milliseconds since the epoch, for arithmetic and the state file.
pub fn epoch_milliseconds(at: Timestamp) -> i64 {
    at.as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_spellings() {
        let at: Timestamp = "2026-11-24T23:31:00.1234567Z".parse().unwrap();
        assert_eq!(ticks(at), "2026-11-24T23:31:00.1234567Z");
        assert_eq!(milliseconds(at), "2026-11-24T23:31:00.123Z");
        assert_eq!(american(at), "11/24/2026 11:31:00 PM");
        assert_eq!(compact(at), "20261124T233100Z");
    }
}
