//! The end of the output: counts, and the subscriptions that need attention.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde::Serialize;
use serverprotection_core::machines::{Environment, Tally, Verdict};

use super::{
    accounts,
    args::Format,
    totals::{End, Outcome, Subscription, Totals, percent, protected_of},
};
use crate::printable;

/// Maximum number of subscriptions that the text lists per reason; JSON lists all of them.
const MAX_NAMED: usize = 20;

/// The summary as text, safe for a terminal.
pub(crate) fn text(totals: &Totals, format: Format) -> String {
    let tally = totals.tally();
    let mut text = counts(&tally);
    let (protected, eligible) = protected_of(&tally);
    let share =
        percent((protected, eligible)).map_or_else(String::new, |percent| format!(" ({percent:.1} %)"));
    let _ = writeln!(
        text,
        "{protected} of {eligible} machines that should be protected are protected{share}; {} of {} subscriptions read",
        totals.read(),
        totals.subscriptions.len()
    );
    text.push_str(&accounts::text(totals, format));
    text.push_str(&remarks(totals));
    printable::text(&text)
}

/// The subscriptions that need attention.
fn remarks(totals: &Totals) -> String {
    let mut text = below(totals);
    let mut list = |title: &str, reported: &dyn Fn(&Subscription) -> Option<String>| {
        let mut by_reason: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (id, subscription) in &totals.subscriptions {
            if let Some(reason) = reported(subscription) {
                by_reason.entry(reason).or_default().push(label(id, subscription));
            }
        }
        if by_reason.is_empty() {
            return;
        }
        let _ = writeln!(text, "\n{title}:");
        for (reason, mut labels) in by_reason {
            let more = labels.len().saturating_sub(MAX_NAMED);
            labels.truncate(MAX_NAMED);
            if more > 0 {
                labels.push(format!("and {more} more (-o json lists all)"));
            }
            let _ = writeln!(text, "  {}", labels.join(", "));
            if !reason.is_empty() {
                let _ = writeln!(text, "    {reason}");
            }
        }
    };
    list(
        "Subscriptions that could not be read",
        &|one| match &one.outcome {
            Outcome::Failed { reason, hint } => Some(format!("{}\n    {hint}", printable::one_line(reason))),
            Outcome::Read { .. } => None,
        },
    );
    list("Subscriptions with machines that may not be visible", &|one| {
        one.uncertainty().map(|(reason, _)| reason)
    });
    list("Subscriptions where Defender for Servers is off (Free)", &|one| {
        one.is_free().then(String::new)
    });
    text
}

/// The subscriptions below their required percentage, lowest percentage first.
fn below(totals: &Totals) -> String {
    let mut below: Vec<_> = totals
        .subscriptions
        .iter()
        .filter_map(|(id, one)| {
            let (protected, eligible) = one.below_minimum()?;
            Some((percent((protected, eligible))?, protected, eligible, id, one))
        })
        .collect();
    if below.is_empty() {
        return String::new();
    }
    below.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut text = "\nSubscriptions below the required percentage:\n".to_owned();
    for (percent, protected, eligible, id, one) in below.iter().take(MAX_NAMED) {
        let _ = writeln!(
            text,
            "  {}: {protected} of {eligible} protected ({percent:.1} %), {} % required",
            label(id, one),
            one.minimum
        );
    }
    if let Some(more @ 1..) = below.len().checked_sub(MAX_NAMED) {
        let _ = writeln!(text, "  and {more} more (-o json lists all)");
    }
    text
}

fn label(id: &str, subscription: &Subscription) -> String {
    let name = printable::one_line(&subscription.name);
    if name.is_empty() {
        id.to_owned()
    } else {
        format!("{id} ({name})")
    }
}

/// Verdicts by environment; omits empty rows and columns.
fn counts(tally: &Tally) -> String {
    let environments: Vec<_> = Environment::ALL
        .into_iter()
        .filter(|environment| tally.total(&[*environment]) > 0)
        .collect();
    let mut text = format!("{:<16}", "");
    for environment in &environments {
        let _ = write!(text, "{:>12}", environment.as_str());
    }
    let _ = writeln!(text, "{:>12}", "Total");
    for verdict in Verdict::ALL
        .into_iter()
        .filter(|verdict| tally.verdict(*verdict) > 0)
    {
        let _ = write!(text, "{verdict:<16}");
        for environment in &environments {
            let _ = write!(text, "{:>12}", tally.count(*environment, verdict));
        }
        let _ = writeln!(text, "{:>12}", tally.verdict(verdict));
    }
    let _ = write!(text, "{:<16}", "Total");
    for environment in &environments {
        let _ = write!(text, "{:>12}", tally.total(&[*environment]));
    }
    let _ = writeln!(text, "{:>12}", tally.total(&Environment::ALL));
    text
}

/// The summary as the member `summary` of JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary<'a> {
    total: u64,
    eligible: u64,
    protected: u64,
    protected_percent: Option<f64>,
    verdicts: BTreeMap<&'static str, u64>,
    environments: BTreeMap<&'static str, InEnvironment>,
    accounts: Vec<accounts::Line<'a>>,
    connectors_not_listed: &'a BTreeSet<String>,
    subscriptions: Subscriptions<'a>,
    exit_code: u8,
    reasons: &'a [String],
}

#[derive(Serialize)]
struct InEnvironment {
    total: u64,
    eligible: u64,
    protected: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Subscriptions<'a> {
    total: usize,
    read: usize,
    not_read: Vec<Named<'a>>,
    not_visible: Vec<Named<'a>>,
    below_minimum: Vec<Named<'a>>,
    plan_free: Vec<Named<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Named<'a> {
    id: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protected: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eligible: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    minimum_protected_percent: Option<u8>,
}

impl<'a> Summary<'a> {
    pub(crate) fn new(totals: &'a Totals, end: &'a End) -> Self {
        let tally = totals.tally();
        let (protected, eligible) = protected_of(&tally);
        let verdicts = Verdict::ALL
            .into_iter()
            .map(|verdict| (verdict.as_str(), tally.verdict(verdict)));
        let environments = Environment::ALL.into_iter().map(|environment| {
            let counts = InEnvironment {
                total: tally.total(&[environment]),
                eligible: tally.eligible(&[environment]),
                protected: tally.count(environment, Verdict::Protected),
            };
            (environment.as_str(), counts)
        });
        Self {
            total: tally.total(&Environment::ALL),
            eligible,
            protected,
            protected_percent: percent((protected, eligible)),
            verdicts: verdicts.filter(|(_, machines)| *machines > 0).collect(),
            environments: environments.filter(|(_, counts)| counts.total > 0).collect(),
            accounts: accounts::lines(totals),
            connectors_not_listed: totals.connectors.failures(),
            subscriptions: Subscriptions::new(totals),
            exit_code: end.code,
            reasons: &end.reasons,
        }
    }
}

impl<'a> Subscriptions<'a> {
    fn new(totals: &'a Totals) -> Self {
        let all = || totals.subscriptions.iter().map(|(id, one)| (one, named(id, one)));
        Self {
            total: totals.subscriptions.len(),
            read: totals.read(),
            not_read: all()
                .filter_map(|(one, named)| match &one.outcome {
                    Outcome::Failed { reason, hint } => Some(Named {
                        reason: Some(reason.clone()),
                        remedy: Some(hint),
                        ..named
                    }),
                    Outcome::Read { .. } => None,
                })
                .collect(),
            not_visible: all()
                .filter_map(|(one, named)| {
                    let (reason, _) = one.uncertainty()?;
                    Some(Named {
                        reason: Some(reason),
                        ..named
                    })
                })
                .collect(),
            below_minimum: all()
                .filter_map(|(one, named)| {
                    let (protected, eligible) = one.below_minimum()?;
                    Some(Named {
                        protected: Some(protected),
                        eligible: Some(eligible),
                        minimum_protected_percent: Some(one.minimum),
                        ..named
                    })
                })
                .collect(),
            plan_free: all()
                .filter(|(one, _)| one.is_free())
                .map(|(_, named)| named)
                .collect(),
        }
    }
}

fn named<'a>(id: &'a str, one: &'a Subscription) -> Named<'a> {
    Named {
        id,
        name: &one.name,
        reason: None,
        remedy: None,
        protected: None,
        eligible: None,
        minimum_protected_percent: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use serverprotection_azure::fleet::Access;

    use super::{
        super::totals::tests::{failed, read},
        *,
    };

    fn totals() -> Totals {
        let bad = read(
            &[(Verdict::Protected, 90), (Verdict::Failed, 10)],
            Access::Sufficient,
        );
        let hidden = read(&[(Verdict::Protected, 5)], Access::Missing(vec!["x/read"]));
        let subscriptions = [("a", bad), ("b", hidden), ("c", failed()), ("d", failed())];
        Totals {
            subscriptions: subscriptions.map(|(id, one)| (id.to_owned(), one)).into(),
            ..Totals::default()
        }
    }

    #[test]
    fn the_summary_shows_counts_and_the_next_step() {
        let text = text(&totals(), Format::Table);
        for words in [
            "Protected                 95          95\n",
            "Failed                    10          10\n",
            "Total                    105         105\n",
            "95 of 105 machines that should be protected are protected (90.4 %); 2 of 4 subscriptions read",
            "  a (Contoso): 90 of 100 protected (90.0 %), 95 % required\n",
            "lacks x/read",
            "  c, d\n    POST resources: AuthorizationFailed: no\n    assign the role Reader to the identity there",
        ] {
            assert!(text.contains(words), "{words}\n---\n{text}");
        }
    }

    #[test]
    fn no_name_and_no_text_of_azure_controls_the_terminal() {
        let forged = "Prod\u{1b}[2J\u{202e}\n  forged line: all machines protected)";
        let mut named = failed();
        named.name = forged.into();
        named.outcome = Outcome::Failed {
            reason: format!("POST resources: X: {forged}"),
            hint: "assign the role Reader to the identity there".into(),
        };
        let mut totals = totals();
        totals.subscriptions.insert("c".into(), named);
        let text = text(&totals, Format::Table);
        assert!(!text.replace('\n', "").contains(printable::is_unsafe), "{text:?}");
        assert!(
            text.contains("c (Prod [2J    forged line: all machines protected))"),
            "{text}"
        );
        assert!(!text.lines().any(|line| line.starts_with("  forged")), "{text}");
    }

    #[test]
    fn json_has_the_same_numbers() {
        let (totals, end) = (totals(), totals().end());
        let summary: Value = serde_json::to_value(Summary::new(&totals, &end)).unwrap();
        assert_eq!(summary["verdicts"], json!({"Protected": 95, "Failed": 10}));
        assert_eq!(
            (&summary["exitCode"], &summary["protectedPercent"]),
            (&json!(2), &json!(90.4))
        );
        let subscriptions = &summary["subscriptions"];
        assert_eq!(subscriptions["notRead"][1]["id"], "d");
        assert_eq!(subscriptions["notVisible"][0]["id"], "b");
        assert_eq!(subscriptions["belowMinimum"][0]["protected"], 90);
    }
}
