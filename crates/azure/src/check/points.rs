//! What the answers say about the unconfirmed points of docs/azure-api.md. Only reading is judged: points about writes
//! are not in this list.

use std::collections::BTreeMap;

use serde_json::Value;
use serverprotection_core::reading::ReadResult;

use super::{Finding, Point, Raw};

/// The id of the recommended rules that public bodies carry (docs/azure-api.md 1.10).
const RULE_ID: &str = "1c18eca2-7d3b-4367-3397-097a1ef2edb1";

type Judge = fn(&Value) -> Finding;

/// Section, point, the read that shows it, and what the answer says.
const POINTS: [(&str, &str, &str, Judge); 16] = [
    ("1.4", "extensions with tier Free", "plan", extensions_with_free),
    (
        "1.8",
        "version 2026-07-01 and managedBy",
        "plan of 2026-07-01",
        managed_by,
    ),
    ("1.10", "RuleId of the recommended rules", "plan", rule_id),
    ("2", "names and kinds of settings", "settings", settings),
    ("4.1", "name of a connector", "connectors", connector_names),
    (
        "4.1",
        "location of a connector",
        "connectors",
        connector_locations,
    ),
    (
        "4.2",
        "second connector for an account",
        "connectors",
        duplicate_accounts,
    ),
    (
        "4.4",
        "connector without its CspmMonitor offering",
        "connectors",
        without_cspm,
    ),
    ("4.4", "scanners with P1", "connectors", scanners_with_p1),
    (
        "5.2",
        "scenario of a failed installation",
        "health reports",
        scenarios,
    ),
    ("6.1", "absent vNextEnabled", "extensions", unified),
    ("6.2", "states of MDE on machines", "extensions", states),
    (
        "6.3",
        "resources of an Arc machine without extensions",
        "Arc machine without extensions",
        resources,
    ),
    (
        "6.6",
        "Azure Linux 3 and Windows Server 2008 R2",
        "systems",
        systems,
    ),
    (
        "7.5",
        "rows of settings in Resource Graph",
        "settings in Resource Graph",
        setting_rows,
    ),
    ("8.7", "action name of health reports", "actions", health_action),
];

/// All points.
pub(super) fn all(raw: &Raw) -> Vec<Point> {
    let mut points: Vec<_> = POINTS
        .iter()
        .map(|(section, name, read, judge)| Point {
            section,
            name,
            finding: match raw.get(read) {
                Some(Ok(answer)) => judge(answer),
                Some(Err(failure)) => Finding::Failed(failure.code.clone()),
                None => Finding::NotSeen("a subscription with such a resource"),
            },
        })
        .collect();
    points.push(Point {
        section: "7.2",
        name: "subscriptions that the caller cannot see",
        finding: match raw.get("unknown subscription") {
            Some(Ok(_)) => Finding::Seen("ignored: the query is answered".into()),
            Some(Err(failure)) => Finding::Seen(format!("refused with {}", failure.code)),
            None => Finding::NotSeen("a query"),
        },
    });
    points.push(Point {
        section: "8.2",
        name: "answer of an unregistered provider",
        finding: unregistered(raw.get("registration"), raw.get("plan"), raw.get("settings")),
    });
    points
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn is(text: &str, expected: &str) -> bool {
    text.eq_ignore_ascii_case(expected)
}

fn unregistered(
    registration: Option<&ReadResult<Value>>,
    plan: Option<&ReadResult<Value>>,
    settings: Option<&ReadResult<Value>>,
) -> Finding {
    let Some(Ok(registration)) = registration else {
        return Finding::NotSeen("the right to read the registration");
    };
    if is(text(registration, "/registrationState"), "Registered") {
        return Finding::NotSeen("a subscription in which Microsoft.Security is not registered");
    }
    let code = |answer: Option<&ReadResult<Value>>| match answer {
        Some(Err(failure)) => failure.code.clone(),
        Some(Ok(_)) => "success".into(),
        None => "not read".into(),
    };
    Finding::Seen(format!("pricings: {}; settings: {}", code(plan), code(settings)))
}

fn extensions_with_free(plan: &Value) -> Finding {
    if !is(text(plan, "/properties/pricingTier"), "Free") {
        return Finding::NotSeen("a subscription with tier Free");
    }
    let extensions = plan.pointer("/properties/extensions");
    Finding::Seen(match extensions.and_then(Value::as_array) {
        Some(extensions) => format!("a Free plan lists {} extensions", extensions.len()),
        None => "a Free plan lists no extensions".into(),
    })
}

fn managed_by(plan: &Value) -> Finding {
    let member = |name: &str| match text(plan, &format!("/properties/{name}")) {
        "" => "absent".to_owned(),
        value => value
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .take(32)
            .collect(),
    };
    Finding::Seen(format!(
        "the version is answered; managedBy {}, originatedFrom {}",
        member("managedBy"),
        member("originatedFrom")
    ))
}

fn rule_id(plan: &Value) -> Finding {
    let monitoring = items(plan, "/properties/extensions")
        .iter()
        .find(|extension| is(text(extension, "/name"), "FileIntegrityMonitoring"));
    let rules = monitoring.map(|extension| text(extension, "/additionalExtensionProperties/Rules"));
    let rules: Option<Vec<Value>> = rules.and_then(|rules| serde_json::from_str(rules).ok());
    let Some(rules) = rules.filter(|rules| !rules.is_empty()) else {
        return Finding::NotSeen("a plan with file integrity monitoring");
    };
    let is_known = |rule: &&Value| is(text(rule, "/RuleId"), RULE_ID);
    Finding::Seen(match rules.iter().filter(is_known).count() {
        0 => "the stored rules have another RuleId".into(),
        _ => "the stored rules have the known RuleId".into(),
    })
}

fn settings(list: &Value) -> Finding {
    let name = |setting: &Value| {
        format!(
            "{} ({})",
            word(text(setting, "/name")),
            word(text(setting, "/kind"))
        )
    };
    match items(list, "") {
        [] => Finding::NotSeen("a list with settings"),
        settings => Finding::Seen(counted(settings.iter().map(name))),
    }
}

fn connector_names(list: &Value) -> Finding {
    let names: Vec<_> = items(list, "")
        .iter()
        .map(|connector| text(connector, "/name"))
        .collect();
    let Some(longest) = names.iter().map(|name| name.chars().count()).max() else {
        return Finding::NotSeen("a subscription with connectors");
    };
    let mut others: Vec<char> = names
        .iter()
        .flat_map(|name| name.chars())
        .filter(|c| !c.is_ascii_alphanumeric())
        .map(|c| if c.is_ascii() { c } else { '?' })
        .collect();
    others.sort_unstable();
    others.dedup();
    let others: String = others.into_iter().collect();
    Finding::Seen(format!(
        "{} names, the longest with {longest} characters; besides letters and digits: '{others}'",
        names.len()
    ))
}

fn connector_locations(list: &Value) -> Finding {
    let connectors = items(list, "");
    if connectors.is_empty() {
        return Finding::NotSeen("a subscription with connectors");
    }
    Finding::Seen(counted(
        connectors
            .iter()
            .map(|connector| word(text(connector, "/location"))),
    ))
}

fn duplicate_accounts(list: &Value) -> Finding {
    let mut accounts: BTreeMap<(String, String), usize> = BTreeMap::new();
    for connector in items(list, "") {
        let part = |name: &str| text(connector, &format!("/properties/{name}")).to_lowercase();
        *accounts
            .entry((part("environmentName"), part("hierarchyIdentifier")))
            .or_default() += 1;
    }
    match accounts.values().filter(|count| **count > 1).count() {
        0 => Finding::NotSeen("a subscription with two connectors of one account"),
        count => Finding::Seen(format!("{count} accounts have more than one connector")),
    }
}

fn offering<'a>(connector: &'a Value, prefix: &str) -> Option<&'a Value> {
    let offerings = items(connector, "/properties/offerings");
    offerings.iter().find(|offering| {
        let type_ = text(offering, "/offeringType").to_lowercase();
        type_.starts_with(prefix)
    })
}

fn without_cspm(list: &Value) -> Finding {
    let servers = items(list, "")
        .iter()
        .filter(|connector| offering(connector, "defenderforservers").is_some());
    match servers
        .filter(|connector| offering(connector, "cspmmonitor").is_none())
        .count()
    {
        0 => Finding::NotSeen("a connector with servers and without CspmMonitor"),
        count => Finding::Seen(format!(
            "{count} connectors have servers and no CspmMonitor offering"
        )),
    }
}

fn scanners_with_p1(list: &Value) -> Finding {
    let servers = items(list, "")
        .iter()
        .filter_map(|connector| offering(connector, "defenderforservers"));
    let is_p1 = |offering: &&Value| {
        is(text(offering, "/subPlan/type"), "P1")
            && offering.pointer("/vmScanners/enabled").and_then(Value::as_bool) == Some(true)
    };
    match servers.filter(is_p1).count() {
        0 => Finding::NotSeen("a connector with P1 and enabled scanners"),
        count => Finding::Seen(format!("{count} connectors have P1 and enabled scanners")),
    }
}

fn scenarios(list: &Value) -> Finding {
    let reports = items(list, "");
    let classified = |report: &Value| {
        let part = |name: &str| word(text(report, &format!("/properties/{name}")));
        format!(
            "{} {} {}",
            part("healthDataClassification/component"),
            part("healthDataClassification/scenario"),
            part("status/code")
        )
    };
    if reports.is_empty() {
        return Finding::NotSeen("a subscription with health reports");
    }
    Finding::Seen(counted(reports.iter().map(classified)))
}

fn rows(list: &Value, names: &[&str], missing: &'static str) -> Finding {
    let rows = items(list, "");
    if rows.is_empty() {
        return Finding::NotSeen(missing);
    }
    let row = |row: &Value| {
        let values: Vec<_> = names
            .iter()
            .map(|name| word(text(row, &format!("/{name}"))))
            .collect();
        let count = row.get("count_").and_then(Value::as_u64).unwrap_or(1);
        format!("{} x {}", count, values.join(" "))
    };
    Finding::Seen(rows.iter().map(row).collect::<Vec<_>>().join(", "))
}

fn unified(list: &Value) -> Finding {
    rows(list, &["mde", "unified"], "a subscription with MDE extensions")
}

fn states(list: &Value) -> Finding {
    rows(
        list,
        &["type", "mde", "state"],
        "a subscription with MDE extensions",
    )
}

fn systems(list: &Value) -> Finding {
    rows(list, &["os"], "a subscription with Azure Arc machines")
}

fn resources(machine: &Value) -> Finding {
    Finding::Seen(match machine.get("resources") {
        None => "the member resources is absent".into(),
        Some(Value::Array(list)) => format!("the member resources is a list of {}", list.len()),
        Some(_) => "the member resources is no list".into(),
    })
}

fn setting_rows(list: &Value) -> Finding {
    Finding::Seen(match items(list, "") {
        [] => "settings have no rows".into(),
        _ => "settings have rows".into(),
    })
}

fn health_action(metadata: &Value) -> Finding {
    let own = items(metadata, "/operations").iter();
    let of_types = items(metadata, "/resourceTypes")
        .iter()
        .flat_map(|type_| items(type_, "/operations"));
    let mut names = own.chain(of_types).map(|operation| text(operation, "/name"));
    let exists = names.any(|name| is(name, "Microsoft.Security/healthReports/read"));
    let answer = if exists {
        "Microsoft.Security/healthReports/read exists"
    } else {
        "there is no action Microsoft.Security/healthReports/read"
    };
    Finding::Seen(answer.into())
}

/// Distinct values with their number.
fn counted(values: impl Iterator<Item = String>) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    values.for_each(|value| *counts.entry(value).or_default() += 1);
    let counts = counts
        .into_iter()
        .map(|(value, count)| format!("{count} x {value}"));
    counts.collect::<Vec<_>>().join(", ")
}

/// A name that Azure gives, without what could identify anything.
fn word(text: &str) -> String {
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '.' | '_' | '/' | '-');
    let word: String = text.chars().filter(is_plain).take(64).collect();
    if word.is_empty() { "absent".into() } else { word }
}
