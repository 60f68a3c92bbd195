//! Formats each log line as one JSON object. Fields of spans and of the event are at the top level, so that
//! `namespace`, `name`, `kind` and `subscription_id` are always in the same place.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
};

use serde::Serialize;
use serde_json::{Map, Value};
use serverprotection_core::{Timestamp, printable};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, format::Writer},
    registry::{LookupSpan, Scope},
};

/// The members that every line has.
const RESERVED: [&str; 4] = ["timestamp", "level", "message", "target"];

/// The format.
pub(super) struct Lines;

#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'a str,
    message: String,
    #[serde(flatten)]
    fields: Map<String, Value>,
    target: String,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Map::new();
        // From the outermost span to the event: an inner field replaces an outer one.
        for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
            let extensions = span.extensions();
            let formatted = extensions.get::<FormattedFields<N>>();
            let parsed = formatted.and_then(|formatted| serde_json::from_str::<Map<_, _>>(formatted).ok());
            fields.extend(parsed.into_iter().flatten());
        }
        let mut own = Fields(Map::new());
        event.record(&mut own);
        fields.extend(own.0);
        let message = match fields.remove("message") {
            Some(Value::String(message)) => message,
            other => other.unwrap_or_default().to_string(),
        };
        // Events of the crate `log` have their origin in fields.
        let from_log = fields.remove("log.target");
        fields.retain(|name, _| !name.starts_with("log.") && !RESERVED.contains(&name.as_str()));
        let line = Line {
            timestamp: format!("{:.6}", Timestamp::now()),
            level: event.metadata().level().as_str(),
            message,
            fields,
            target: match &from_log {
                Some(Value::String(target)) => target.clone(),
                _ => event.metadata().target().to_owned(),
            },
        };
        let line = serde_json::to_string(&line).map_err(|_| fmt::Error)?;
        writeln!(writer, "{}", with_escaped_controls(&line))
    }
}

/// JSON without characters that control a terminal or break a line. JSON itself escapes only those below U+0020; the
/// others can only stand in strings.
fn with_escaped_controls(json: &str) -> Cow<'_, str> {
    if !json.contains(printable::is_unsafe) {
        return Cow::from(json);
    }
    let mut escaped = String::with_capacity(json.len() + 8);
    for character in json.chars() {
        if printable::is_unsafe(character) {
            let _ = write!(escaped, "\\u{:04x}", u32::from(character));
        } else {
            escaped.push(character);
        }
    }
    Cow::from(escaped)
}

/// The fields of an event.
struct Fields(Map<String, Value>);

impl Fields {
    fn set(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value);
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value);
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tracing_subscriber::fmt::format::JsonFields;

    use super::{super::tests::logged, *};

    /// Returns the logged lines, parsed.
    fn lines(log: impl FnOnce()) -> Vec<Value> {
        let builder = tracing_subscriber::fmt()
            .fmt_fields(JsonFields::new())
            .event_format(Lines);
        let text = logged(|buffer| builder.with_writer(buffer).finish(), log);
        assert!(text.starts_with("{\"timestamp\":\""), "{text}");
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn the_object_is_in_the_same_place_inside_and_outside_of_a_reconcile() {
        let (namespace, name) = (Some("team-a"), Some("prod"));
        let unknown: Option<&str> = None;
        let logged = lines(|| {
            let outer = tracing::info_span!("outer", name = "kube", reason = "object updated");
            let _outer = outer.enter();
            let kind = "ServerProtection";
            let span = tracing::error_span!("reconcile", kind, namespace, name, subscription_id = unknown);
            let _entered = span.enter();
            tracing::warn!(error = %"a \"quoted\" text", retry_in_seconds = 1.5, "reconcile failed; retrying");
            span.record("subscription_id", "s");
            tracing::info!(
                name = "other",
                queries = 3_u64,
                target = "mine",
                "fleet scan complete"
            );
        });
        let [first, second] = &logged[..] else {
            panic!("{logged:?}")
        };
        assert_eq!(first["message"], "reconcile failed; retrying");
        assert_eq!(first["level"], "WARN");
        assert_eq!(first["namespace"], "team-a");
        assert_eq!(first["name"], "prod");
        assert_eq!(first["kind"], "ServerProtection");
        assert_eq!(first["reason"], "object updated");
        assert_eq!(first["error"], "a \"quoted\" text");
        assert_eq!(first["retry_in_seconds"], json!(1.5));
        assert!(first.get("subscription_id").is_none(), "{first}");
        assert!(first["timestamp"].as_str().unwrap().parse::<Timestamp>().is_ok());
        assert!(
            first["target"]
                .as_str()
                .unwrap()
                .ends_with("telemetry::json::tests")
        );
        assert_eq!(
            (&second["name"], &second["queries"]),
            (&json!("other"), &json!(3))
        );
        assert_eq!(second["subscription_id"], "s");
        assert_eq!(second["target"], first["target"]);
    }
}
