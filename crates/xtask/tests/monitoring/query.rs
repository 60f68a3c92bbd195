//! Checks a query against the table of metrics: the names, labels and values that it uses exist. They are taken from the
//! syntax tree.

use std::collections::BTreeSet;

use promql_parser::{
    label::{MatchOp, Matcher},
    parser::{self, Expr, LabelModifier, VectorSelector},
};
use regex::Regex;
use serverprotection_core::{
    conditions::ConditionType,
    machines::Verdict,
    metrics::{self, Metric, Type},
};

/// Labels that a scrape adds.
const TARGET: [&str; 5] = ["cluster", "job", "namespace", "instance", "pod"];

/// What a query uses, and what is wrong with it.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) problems: Vec<String>,
    /// Names of metrics, as in the table.
    pub(crate) metrics: BTreeSet<String>,
    /// The labels by which the query groups.
    pub(crate) grouping: BTreeSet<String>,
    /// The labels of all its metrics.
    labels: BTreeSet<String>,
}

/// Checks one query.
pub(crate) fn check(query: &str) -> Findings {
    let mut findings = Findings::default();
    match parser::parse(query) {
        Ok(tree) => findings.walk(&tree),
        Err(error) => findings.problems.push(error),
    }
    findings
}

impl Findings {
    fn walk(&mut self, tree: &Expr) {
        match tree {
            Expr::Aggregate(aggregate) => {
                let before = std::mem::take(&mut self.labels);
                self.walk(&aggregate.expr);
                if let Some(modifier) = &aggregate.modifier {
                    self.known(modifier);
                    if let LabelModifier::Include(labels) = modifier {
                        self.grouping.extend(labels.labels.iter().cloned());
                    }
                }
                self.labels.extend(before);
                if let Some(param) = &aggregate.param {
                    self.walk(param);
                }
            }
            Expr::Binary(binary) => {
                self.walk(&binary.lhs);
                self.walk(&binary.rhs);
                let modifier = binary.modifier.as_ref();
                if let Some(matching) = modifier.and_then(|modifier| modifier.matching.as_ref()) {
                    self.known(matching);
                }
            }
            Expr::Unary(unary) => self.walk(&unary.expr),
            Expr::Paren(paren) => self.walk(&paren.expr),
            Expr::Subquery(subquery) => self.walk(&subquery.expr),
            Expr::Call(call) => call.args.args.iter().for_each(|argument| self.walk(argument)),
            Expr::VectorSelector(selector) => self.selector(selector),
            Expr::MatrixSelector(range) => self.selector(&range.vs),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) => {}
            Expr::Extension(_) => self.problems.push("an extension of the language".into()),
        }
    }

    /// The labels of a modifier are those of a metric or of a target.
    fn known(&mut self, modifier: &LabelModifier) {
        for label in &modifier.labels().labels {
            if !self.labels.contains(label) && !TARGET.contains(&label.as_str()) {
                self.problems.push(format!("no metric has the label {label}"));
            }
        }
    }

    fn selector(&mut self, selector: &VectorSelector) {
        let Some(name) = &selector.name else {
            self.problems.push("a selector without a name".into());
            return;
        };
        let Some(metric) = find(name) else {
            self.problems.push(format!("no metric is called {name}"));
            return;
        };
        let labels = labels(metric, name);
        self.metrics.insert(metric.name.to_owned());
        let alternatives = selector.matchers.or_matchers.iter().flatten();
        for matcher in selector.matchers.matchers.iter().chain(alternatives) {
            if !labels.contains(&matcher.name.as_str()) && !TARGET.contains(&matcher.name.as_str()) {
                self.problems
                    .push(format!("{name} has no label {}", matcher.name));
            } else {
                self.problems.extend(unknown_value(metric, matcher));
            }
        }
        self.labels.extend(labels.into_iter().map(str::to_owned));
    }
}

/// The metric of a series. A histogram has three kinds of series, none of which has its name.
fn find(series: &str) -> Option<&'static Metric> {
    metrics::all().find(|metric| match metric.type_ {
        Type::Histogram => ["_bucket", "_sum", "_count"]
            .iter()
            .any(|part| series.strip_suffix(part) == Some(metric.name)),
        Type::Counter | Type::Gauge | Type::Info => metric.name == series,
    })
}

fn labels(metric: &Metric, series: &str) -> Vec<&'static str> {
    let mut labels: Vec<_> = metric.labels.iter().map(|label| label.name).collect();
    if series.ends_with("_bucket") {
        labels.push("le");
    }
    if labels.contains(&"namespace") {
        // Prometheus renames it, because the target has a label of this name.
        labels.push("exported_namespace");
    }
    labels
}

/// A value, or an alternative of a pattern, that the label never has.
fn unknown_value(metric: &Metric, matcher: &Matcher) -> Option<String> {
    let values = values(metric, &matcher.name)?;
    let pattern = matches!(matcher.op, MatchOp::Re(_) | MatchOp::NotRe(_));
    let alternatives: Vec<_> = if pattern {
        matcher.value.split('|').collect()
    } else {
        vec![matcher.value.as_str()]
    };
    let never = alternatives.into_iter().find(|alternative| {
        let pattern = pattern.then(|| Regex::new(&format!("^(?:{alternative})$")).unwrap());
        !values.iter().any(|value| {
            pattern
                .as_ref()
                .map_or(value == alternative, |pattern| pattern.is_match(value))
        })
    })?;
    let label = &matcher.name;
    Some(format!("{} never has {label}=\"{never}\"", metric.name))
}

/// The values of a label, if they are a closed set.
fn values(metric: &Metric, label: &str) -> Option<Vec<String>> {
    let texts = |values: Vec<&str>| Some(values.into_iter().map(str::to_owned).collect());
    let reasons = |condition| {
        let known = metrics::reasons(condition).chain([metrics::OTHER]);
        Some(known.map(str::to_owned).collect())
    };
    match (metric.name, label) {
        (_, "verdict") => texts(Verdict::ALL.iter().map(|verdict| verdict.as_str()).collect()),
        ("serverprotection_stalled_objects", "reason") => reasons(ConditionType::Stalled),
        ("serverprotection_reconciling_objects", "reason") => reasons(ConditionType::Reconciling),
        ("serverprotection_machines_protected_objects", "reason") => {
            reasons(ConditionType::MachinesProtected)
        }
        ("serverprotection_machines_by_reason", "reason") | (_, "code" | "operation") => None,
        _ => {
            let label = metric.labels.iter().find(|known| known.name == label)?;
            let quoted: Vec<_> = label.values.split('`').skip(1).step_by(2).collect();
            (!quoted.is_empty()).then_some(quoted).and_then(texts)
        }
    }
}

#[test]
fn what_does_not_exist_is_found() {
    for (query, problem) in [
        ("sum(", "unclosed left parenthesis"),
        ("rate(serverprotection_objects)", "expected type"),
        (r#"{kind="ServerProtection"}"#, "without a name"),
        ("up", "no metric is called up"),
        ("serverprotection_reconciles", "no metric is called"),
        (
            "serverprotection_reconcile_duration_seconds",
            "no metric is called",
        ),
        (r#"serverprotection_objects{type="x"}"#, "has no label type"),
        (r#"serverprotection_objects{le="1"}"#, "has no label le"),
        (r#"serverprotection_objects{kind="Protection"}"#, "never has kind"),
        (
            r#"serverprotection_stalled_objects{reason="BelowMinimum"}"#,
            "never has reason",
        ),
        (
            r#"serverprotection_stalled_objects{reason!~"Contested|Approval"}"#,
            "never has reason=\"Approval\"",
        ),
        (
            r#"serverprotection_machines{verdict="Broken"}"#,
            "never has verdict",
        ),
        (
            "sum by (reason) (serverprotection_objects)",
            "no metric has the label reason",
        ),
        (
            "serverprotection_objects and on (cluster, name) serverprotection_objects",
            "no metric has the label name",
        ),
        (
            "sum by (kind) (serverprotection_objects) / sum by (kind) (serverprotection_machines)",
            "no metric has the label kind",
        ),
    ] {
        let problems = check(query).problems.join("; ");
        assert!(problems.contains(problem), "{query}: {problems:?}");
    }
}

#[test]
fn what_exists_may_be_used() {
    for query in [
        r#"sum by (namespace, kind) (serverprotection_stalled_objects{kind=~".*AzureCredential", reason="Other"})"#,
        "histogram_quantile(0.9, sum by (le, kind) (rate(serverprotection_reconcile_duration_seconds_bucket[5m])))",
        "sum by (exported_namespace, name) (serverprotection_object_machines)",
        "max_over_time(serverprotection_leader[1h:1m] offset 1h) == 0 # a comment",
    ] {
        let problems = check(query).problems;
        assert!(problems.is_empty(), "{query}: {problems:?}");
    }
}
