//! The accounts of AWS and GCP, with their machines and connectors. Lists also connectors without machines and machines
//! without a visible connector, because both need attention.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;
use serverprotection_core::{
    machines::{Account, MachineCounts},
    security_connector::account::{ListedConnector, Membership},
};
use unicode_width::UnicodeWidthStr;

use super::{
    args::Format,
    rows,
    totals::{IN_ACCOUNTS, Totals},
};
use crate::printable;

/// Maximum number of accounts in the table; wide and JSON list all of them.
const MAX_LISTED: usize = 50;
/// Maximum column width of the table; longer cells are truncated.
const MAX_COLUMN_WIDTH: usize = 40;

/// The line of an account. The names of the fields are those of the JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Line<'a> {
    environment: &'static str,
    account: String,
    /// The connectors of the account, usually one.
    connectors: Vec<Connector<'a>>,
    total: u64,
    eligible: u64,
    protected: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Connector<'a> {
    id: &'a str,
    name: &'a str,
    membership: &'static str,
    /// How the account belongs to an organization, for the table.
    #[serde(skip)]
    organization: String,
    /// Azure's `parentHierarchyId` of a member.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<&'a str>,
    /// Azure's `managementProjectNumber` of a member.
    #[serde(skip_serializing_if = "Option::is_none")]
    management: Option<&'a str>,
}

impl<'a> Connector<'a> {
    fn new(known: &'a ListedConnector) -> Self {
        let (membership, parent, management) = match &known.membership {
            Membership::Single => ("Single", None, None),
            Membership::Organization => ("Organization", None, None),
            Membership::Member { parent, management } => ("Member", parent.as_deref(), management.as_deref()),
        };
        let organization = match (&known.membership, parent.or(management)) {
            (Membership::Single, _) => "-".into(),
            (Membership::Organization, _) => "management".into(),
            (Membership::Member { .. }, None) => "member".into(),
            (Membership::Member { .. }, Some(parent)) => format!("member of {parent}"),
        };
        Self {
            id: &known.id,
            name: known.id.rsplit('/').next().unwrap_or_default(),
            membership,
            organization,
            parent,
            management,
        }
    }
}

/// Every account that has a connector or machines.
pub(crate) fn lines(totals: &Totals) -> Vec<Line<'_>> {
    let mut lines: BTreeMap<Account, (MachineCounts, Vec<Connector<'_>>)> = BTreeMap::new();
    for known in totals.connectors.known() {
        // Connectors of source code and registries have no machines.
        let Some(cloud) = known.cloud else { continue };
        let account = Account {
            environment: cloud.into(),
            id: known.account.clone(),
        };
        lines.entry(account).or_default().1.push(Connector::new(known));
    }
    for (account, counts) in totals.accounts() {
        lines.entry(account).or_default().0 = counts;
    }
    let line = |(account, (counts, connectors)): (Account, (MachineCounts, Vec<_>))| Line {
        environment: account.environment.as_str(),
        account: account.id,
        connectors,
        total: counts.total,
        eligible: counts.eligible,
        protected: counts.protected,
    };
    lines.into_iter().map(line).collect()
}

/// Number of machines of AWS and GCP without an account: connected manually, or by the multicloud connector of Azure Arc,
/// or without the tags of a connector.
pub(crate) fn of_no_account(totals: &Totals) -> u64 {
    let of_accounts: u64 = totals.accounts().values().map(|counts| counts.total).sum();
    totals.tally().total(&IN_ACCOUNTS).saturating_sub(of_accounts)
}

/// The accounts as text; empty if there are none.
pub(crate) fn text(totals: &Totals, format: Format) -> String {
    let mut text = String::new();
    let lines = lines(totals);
    if !lines.is_empty() {
        text.push_str("\nAccounts of AWS and GCP:\n");
        text.push_str(&table(&lines, totals, format));
    }
    for failure in totals.connectors.failures() {
        let _ = writeln!(
            text,
            "\nNot all connectors could be listed: {}",
            printable::one_line(failure)
        );
    }
    text
}

fn table(lines: &[Line<'_>], totals: &Totals, format: Format) -> String {
    let is_wide = format == Format::Wide;
    let listed = if is_wide { lines.len() } else { MAX_LISTED };
    let titles = [
        "  ENVIRONMENT",
        "ACCOUNT",
        "CONNECTOR",
        "ORGANIZATION",
        "MACHINES",
        "PROTECTED",
        "CONNECTOR-ID",
    ];
    let titles = if is_wide {
        &titles[..]
    } else {
        titles.split_last().map_or(&[][..], |(_, rest)| rest)
    };
    let cells: Vec<_> = lines
        .iter()
        .take(listed)
        .map(|line| cells(line, totals))
        .collect();
    let width = |(at, title): (usize, &&'static str)| {
        let widest = cells
            .iter()
            .filter_map(|cells| Some(cells.get(at)?.width()))
            .max();
        let widest = widest.unwrap_or_default().max(title.width());
        (
            *title,
            if is_wide {
                widest
            } else {
                widest.min(MAX_COLUMN_WIDTH)
            },
        )
    };
    let columns: Vec<_> = titles.iter().enumerate().map(width).collect();
    let mut out = Vec::new();
    rows::line(&mut out, &columns, titles, false);
    for cells in &cells {
        rows::line(&mut out, &columns, cells, !is_wide);
    }
    let mut text = String::from_utf8_lossy(&out).into_owned();
    if let Some(more @ 1..) = lines.len().checked_sub(listed) {
        let _ = writeln!(text, "  and {more} more (-o wide or -o json lists all)");
    }
    let others = of_no_account(totals);
    if others > 0 {
        let _ = writeln!(
            text,
            "  Further machines of AWS and GCP, not created by a connector of Defender for Cloud or without its tags: {others}"
        );
    }
    text
}

fn cells(line: &Line<'_>, totals: &Totals) -> [String; 7] {
    let without = if totals.connectors.failures().is_empty() {
        "no connector visible"
    } else {
        "not known"
    };
    let all = |describe: fn(&Connector<'_>) -> String, without: &str| {
        let reported: Vec<_> = line.connectors.iter().map(describe).collect();
        if reported.is_empty() {
            without.to_owned()
        } else {
            reported.join(", ")
        }
    };
    [
        format!("  {}", line.environment),
        line.account.clone(),
        all(|one| one.name.to_owned(), without),
        all(|one| one.organization.clone(), "-"),
        line.total.to_string(),
        format!("{}/{}", line.protected, line.eligible),
        all(|one| one.id.to_owned(), "-"),
    ]
}

#[cfg(test)]
mod tests;
