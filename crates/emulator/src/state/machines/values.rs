//! Values of a seed: texts, times, exit codes.

use jiff::Timestamp;
use serde_json::Value;

use super::{machine::Moment, milliseconds};

pub(super) fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| "expected a string".into())
}

pub(super) fn boolean(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "expected true or false".into())
}

pub(super) fn code(value: &Value) -> Result<Option<u16>, String> {
    match value {
        Value::Null => Ok(None),
        other => other
            .as_u64()
            .and_then(|code| u16::try_from(code).ok())
            .map(Some)
            .ok_or_else(|| "expected an exit code or null".into()),
    }
}

/// A time, or how long ago it was: `3d`.
pub(super) fn moment(value: &Value, now: Moment) -> Result<Moment, String> {
    match text(value)?.parse::<Timestamp>() {
        Ok(time) => Ok(time.as_millisecond()),
        Err(_) => Ok(now - duration(value)?),
    }
}

/// A duration: `3d`, `2h`.
pub(super) fn duration(value: &Value) -> Result<Moment, String> {
    let duration = humantime::parse_duration(text(value)?).map_err(|error| error.to_string())?;
    Ok(milliseconds(duration))
}
