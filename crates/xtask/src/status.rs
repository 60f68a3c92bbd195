//! `docs/status.md`: the prose of `pages/status.md` with the tables of `serverprotection_core::status_reference`.

use std::fmt::Write as _;

use serverprotection_core::{
    reason::ConditionType,
    status_reference::{CODES, CONDITIONS, CodeEntry, EVENTS, Kind, TRANSIENT_CODES},
    token_cause::TokenCause,
};

use crate::reference::list_item;

const PAGE: &str = include_str!("pages/status.md");

/// The whole page.
pub(crate) fn markdown() -> String {
    let mut page = String::new();
    for line in PAGE.lines() {
        let generated = line
            .strip_prefix("<!-- ")
            .and_then(|line| line.strip_suffix(" -->"));
        match generated {
            None => {
                page.push_str(line);
                page.push('\n');
            }
            Some("codes") => codes(&mut page, CODES),
            Some("transient codes") => codes(&mut page, TRANSIENT_CODES),
            Some("entra codes") => entra_codes(&mut page),
            Some("events") => events(&mut page),
            Some(name) => {
                for kind in Kind::ALL {
                    if name == format!("conditions {}", kind.as_str()) {
                        conditions(&mut page, kind);
                    }
                }
            }
        }
    }
    page
}

fn conditions(page: &mut String, kind: Kind) {
    for type_ in ConditionType::ALL {
        let mut entries = CONDITIONS
            .iter()
            .filter(|entry| entry.condition == *type_ && entry.kinds.contains(&kind))
            .peekable();
        if entries.peek().is_none() {
            continue;
        }
        let _ = write!(page, "### {}: {}\n\n", kind.as_str(), type_.as_str());
        for entry in entries {
            let state = format!("{} / `{}`", entry.status.as_str(), entry.reason.as_str());
            let text = format!("{state}: {} {}", entry.meaning, entry.action);
            page.push_str(&list_item("* ", text.trim_end()));
        }
        page.push('\n');
    }
}

fn codes(page: &mut String, codes: &[CodeEntry]) {
    for code in codes {
        page.push_str(&list_item("* ", &format!("`{}`: {}", code.code, code.action)));
    }
    page.push('\n');
}

fn entra_codes(page: &mut String) {
    for cause in TokenCause::ALL {
        let codes: Vec<_> = cause.codes().map(|code| format!("`{code}`")).collect();
        let action = cause.action().unwrap_or("The controller retries by itself");
        page.push_str(&list_item("* ", &format!("{}: {action}.", codes.join(", "))));
    }
    page.push('\n');
}

fn events(page: &mut String) {
    for event in EVENTS {
        let kinds: Vec<_> = event.kinds.iter().map(|kind| kind.as_str()).collect();
        let text = format!(
            "`{}` ({}): {}",
            event.reason.as_str(),
            kinds.join(", "),
            event.meaning
        );
        page.push_str(&list_item("* ", &text));
    }
    page.push('\n');
}
