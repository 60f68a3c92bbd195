//! Formats a machine as a line, a record or an object. One at a time, so memory does not grow with the fleet.

use std::borrow::Cow;

use serde::Serialize;
use serverprotection_core::{
    Timestamp,
    machines::{Finding, Kind, Machine, MdeExtension, operating_systems::system_name},
};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{
    args::Format,
    cells::{self, record},
};
use crate::printable::is_unsafe;

/// The row of a machine. The names of the fields are those of the JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    id: &'a str,
    name: &'a str,
    kind: &'static str,
    instances: u32,
    environment: &'static str,
    verdict: &'static str,
    reason: &'a str,
    message: &'a str,
    remedy: &'a str,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    subscription_id: &'a str,
    resource_group: &'a str,
    location: &'a str,
    os: String,
    extension: Option<Extension<'a>>,
}

#[derive(Debug, Serialize)]
struct Extension<'a> {
    #[serde(rename = "type")]
    type_: &'a str,
    version: &'a str,
    state: &'a str,
}

impl<'a> Row<'a> {
    fn new(machine: &'a Machine, finding: &'a Finding) -> Self {
        Self {
            id: &machine.id,
            name: &machine.name,
            kind: match machine.kind {
                Kind::VirtualMachine => "VirtualMachine",
                Kind::ArcMachine => "ArcMachine",
                Kind::UniformScaleSet => "UniformScaleSet",
            },
            instances: machine.instances,
            environment: machine.environment().as_str(),
            verdict: finding.verdict.as_str(),
            reason: &finding.reason,
            message: &finding.message,
            remedy: &finding.remedy,
            since: finding.since,
            until: finding.until,
            subscription_id: &machine.subscription_id,
            resource_group: &machine.resource_group,
            location: &machine.location,
            os: system_name(machine),
            extension: extension(machine).map(|extension| Extension {
                type_: &extension.type_,
                version: &extension.version,
                state: &extension.state,
            }),
        }
    }

    fn version(&self) -> &'a str {
        self.extension.as_ref().map_or("", |extension| extension.version)
    }
}

/// The extension that the verdict is about: the one for the machine's operating system. Of several, one that succeeded.
fn extension(machine: &Machine) -> Option<&MdeExtension> {
    let expected = machine.expected_extension();
    machine
        .extensions
        .iter()
        .filter(|extension| expected.is_none_or(|expected| extension.type_.eq_ignore_ascii_case(expected)))
        .min_by_key(|extension| !extension.state.eq_ignore_ascii_case("Succeeded"))
}

/// Titles and widths. The widths are fixed, because rows are written before later machines are known.
const COLUMNS: [(&str, usize); 7] = [
    ("NAME", 28),
    ("ENVIRONMENT", 11),
    ("VERDICT", 15),
    ("REASON", 28),
    ("SINCE", 5),
    ("SUBSCRIPTION", 24),
    ("RESOURCE-GROUP", 24),
];
const WIDE_COLUMNS: [(&str, usize); 12] = [
    ("NAME", 28),
    ("ENVIRONMENT", 11),
    ("VERDICT", 15),
    ("REASON", 28),
    ("SINCE", 5),
    ("SUBSCRIPTION", 36),
    ("RESOURCE-GROUP", 24),
    ("OS", 28),
    ("EXTENSION-VERSION", 17),
    ("MESSAGE", 60),
    ("REMEDY", 60),
    ("ID", 0),
];
const RECORD: [&str; 18] = [
    "name",
    "environment",
    "verdict",
    "reason",
    "since",
    "until",
    "subscription_id",
    "resource_group",
    "location",
    "kind",
    "instances",
    "os",
    "extension_type",
    "extension_version",
    "extension_state",
    "message",
    "remedy",
    "id",
];

/// Writes rows into a buffer.
#[derive(Debug)]
pub(crate) struct Rows {
    format: Format,
    now: Timestamp,
    /// Whether a row was written.
    started: bool,
}

impl Rows {
    pub(crate) fn new(format: Format, now: Timestamp) -> Self {
        Self {
            format,
            now,
            started: false,
        }
    }

    /// Writes the header.
    pub(crate) fn start(&self, out: &mut Vec<u8>) {
        match self.format {
            Format::Table => line(out, &COLUMNS, COLUMNS.iter().map(|(title, _)| *title), true),
            Format::Wide => line(
                out,
                &WIDE_COLUMNS,
                WIDE_COLUMNS.iter().map(|(title, _)| *title),
                false,
            ),
            Format::Json => out.extend_from_slice(b"{\"kind\":\"MachineList\",\"items\":["),
            Format::Csv => record(out, RECORD),
        }
    }

    /// Writes one machine. `subscription` is the name of its subscription; empty if it is not known.
    pub(crate) fn machine(
        &mut self,
        out: &mut Vec<u8>,
        machine: &Machine,
        finding: &Finding,
        subscription: &str,
    ) {
        let row = Row::new(machine, finding);
        match self.format {
            Format::Table => {
                let id = row.subscription_id.get(..8).unwrap_or(row.subscription_id);
                let shown = if subscription.is_empty() { id } else { subscription };
                line(out, &COLUMNS, self.cells(&row, shown), true);
            }
            Format::Wide => {
                let cells = self.cells(&row, row.subscription_id).into_iter();
                let more = [&row.os, row.version(), row.message, row.remedy, row.id].map(Cow::from);
                line(out, &WIDE_COLUMNS, cells.chain(more), false);
            }
            Format::Json => {
                out.extend_from_slice(if self.started { b",\n" } else { b"\n" });
                cells::json(out, &row);
            }
            Format::Csv => csv(out, &row),
        }
        self.started = true;
    }

    fn cells<'r>(&self, row: &'r Row<'_>, subscription: &'r str) -> [Cow<'r, str>; 7] {
        [
            row.name.into(),
            row.environment.into(),
            row.verdict.into(),
            row.reason.into(),
            row.since
                .map_or_else(|| "-".into(), |since| age(since, self.now).into()),
            subscription.into(),
            row.resource_group.into(),
        ]
    }
}

fn csv(out: &mut Vec<u8>, row: &Row<'_>) {
    let time = |time: Option<Timestamp>| time.map_or_else(String::new, |time| time.to_string());
    let extension = row.extension.as_ref();
    record(
        out,
        [
            row.name,
            row.environment,
            row.verdict,
            row.reason,
            &time(row.since),
            &time(row.until),
            row.subscription_id,
            row.resource_group,
            row.location,
            row.kind,
            &row.instances.to_string(),
            &row.os,
            extension.map_or("", |extension| extension.type_),
            extension.map_or("", |extension| extension.version),
            extension.map_or("", |extension| extension.state),
            row.message,
            row.remedy,
            row.id,
        ],
    );
}

/// Writes a line of cells; the last one is not padded.
pub(super) fn line<C: AsRef<str>>(
    out: &mut Vec<u8>,
    columns: &[(&str, usize)],
    cells: impl IntoIterator<Item = C>,
    cut: bool,
) {
    let mut text = String::with_capacity(160);
    for ((_, width), cell) in columns.iter().zip(cells) {
        if !text.is_empty() {
            text.push_str("  ");
        }
        push_cell(&mut text, cell.as_ref(), *width, cut);
    }
    out.extend_from_slice(text.trim_end().as_bytes());
    out.push(b'\n');
}

/// Appends a cell, padded to the width, and truncated to it if `cut`. Characters that could control the terminal become
/// blanks.
fn push_cell(text: &mut String, cell: &str, width: usize, cut: bool) {
    let clean = |letter: char| if is_unsafe(letter) { ' ' } else { letter };
    if cut && cell.width() > width {
        let mut left = width.saturating_sub(1);
        for letter in cell.chars() {
            let Some(rest) = left.checked_sub(letter.width().unwrap_or(1)) else {
                break;
            };
            text.push(clean(letter));
            left = rest;
        }
        text.push('…');
        text.extend(std::iter::repeat_n(' ', left));
        return;
    }
    text.extend(cell.chars().map(clean));
    text.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.width())));
}

/// An age in the style of kubectl, with one unit: 12m, 5h, 30d.
fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

#[cfg(test)]
pub(crate) mod tests;
