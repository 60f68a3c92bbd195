//! Formats each event as one line of text, whatever its fields contain: a tag or a text of Azure cannot begin a line that
//! looks like another event, and cannot control the terminal.

use std::fmt;

use serverprotection_core::printable;
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Writer},
    },
    registry::LookupSpan,
};

/// The format of `tracing_subscriber`, with unsafe characters escaped.
pub(super) struct Lines {
    format: Format,
    colored: bool,
}

impl Lines {
    /// `colored`: whether levels and names have escape codes of the terminal.
    pub(super) fn new(colored: bool) -> Self {
        Self {
            format: Format::default().with_ansi(colored),
            colored,
        }
    }
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
        let mut line = String::with_capacity(256);
        self.format.format_event(context, Writer::new(&mut line), event)?;
        let line = line.trim_end_matches('\n');
        if !self.colored {
            return writeln!(writer, "{}", printable::escaped(line));
        }
        // The codes are those of the format: it escapes the codes in fields itself.
        for (at, part) in line.split('\u{1b}').enumerate() {
            let code = if at > 0 { "\u{1b}" } else { "" };
            write!(writer, "{code}{}", printable::escaped(part))?;
        }
        writeln!(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::logged, *};

    fn lines(colored: bool, log: impl FnOnce()) -> String {
        let builder = tracing_subscriber::fmt()
            .with_ansi(colored)
            .event_format(Lines::new(colored));
        logged(|buffer| builder.with_writer(buffer).finish(), log)
    }

    const FORGED: &str =
        "tags.owner: none -> x\n2026-11-23T12:00:00Z  INFO approved by admin\r\u{1b}[2J\u{202e}\u{2028}y";

    #[test]
    fn an_event_is_one_line_with_the_object_and_without_escape_codes() {
        let text = lines(false, || {
            let span = tracing::error_span!(
                "reconcile",
                namespace = "team-a",
                name = "prod",
                subscription_id = "s"
            );
            let _entered = span.enter();
            tracing::info!(reason = "PlanChanged", "{FORGED}");
            tracing::warn!(error = %FORGED, text = FORGED, "failed");
        });
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(!text.replace('\n', "").contains(printable::is_unsafe), "{text:?}");
        for line in text.lines() {
            assert!(
                line.contains(r#"reconcile{namespace="team-a" name="prod" subscription_id="s"}"#),
                "{line}"
            );
            assert!(
                line.contains(r"x\n2026-11-23T12:00:00Z  INFO approved by admin"),
                "{line}"
            );
        }
        assert!(text.contains(r#"reason="PlanChanged""#), "{text}");
    }

    #[test]
    fn on_a_terminal_only_the_format_itself_has_escape_codes() {
        let plain = lines(true, || tracing::info!("plain"));
        let text = lines(true, || tracing::info!("{FORGED}"));
        assert_eq!(text.lines().count(), 1, "{text}");
        let codes = |text: &str| text.matches('\u{1b}').count();
        assert!(codes(&plain) > 0);
        assert_eq!(codes(&text), codes(&plain), "{text:?}");
        assert!(!text.contains(['\u{202e}', '\u{2028}', '\r']), "{text:?}");
    }
}
