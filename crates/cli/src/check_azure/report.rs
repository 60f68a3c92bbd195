//! The report: what was read, how many machines have which finding, and what the answers show.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Value, json};
use serverprotection_azure::check::{Check, Finding};
use serverprotection_core::{azure_error::AzureError, reading::Permissions};

use super::machines::Machines;
use crate::{printable, scrub::Scrubber, version};

/// What a `ServerProtection` in mode Enforce needs (docs/azure-api.md 8.7), beyond the right to assign roles of some
/// extensions.
const ACTIONS: [&str; 7] = [
    "Microsoft.Security/pricings/read",
    "Microsoft.Security/pricings/write",
    "Microsoft.Security/settings/read",
    "Microsoft.Security/settings/write",
    "Microsoft.Security/serverVulnerabilityAssessmentsSettings/read",
    "Microsoft.Security/serverVulnerabilityAssessmentsSettings/write",
    "Microsoft.Security/serverVulnerabilityAssessmentsSettings/delete",
];

/// Everything is scrubbed when the report is made, if it is meant for others.
#[derive(Debug)]
pub(super) struct Report {
    reads: Vec<Read>,
    /// Actions that the identity lacks; `None` if they cannot be read.
    missing_actions: Option<Vec<&'static str>>,
    machines: Result<Vec<(String, u64)>, Failure>,
    points: Vec<(&'static str, &'static str, Shown)>,
}

#[derive(Debug)]
struct Read {
    name: &'static str,
    api_version: &'static str,
    needed: bool,
    shape: Result<Value, Failure>,
}

/// An error of Azure.
#[derive(Debug)]
struct Failure {
    code: String,
    message: String,
    /// What to do.
    remedy: String,
}

/// What the answers show about a point.
#[derive(Debug)]
enum Shown {
    Seen(String),
    NotSeen(String),
    Failed(String),
}

/// Makes the texts of a report.
struct Texts<F> {
    scrubber: Option<Scrubber>,
    remedy: F,
}

impl<F: Fn(&AzureError) -> String> Texts<F> {
    fn text(&mut self, text: &str) -> String {
        match &mut self.scrubber {
            Some(scrubber) => scrubber.text(text),
            None => text.to_owned(),
        }
    }

    fn failure(&mut self, error: &AzureError) -> Failure {
        let remedy = (self.remedy)(error);
        Failure {
            code: self.text(&error.code),
            message: self.text(&error.message),
            remedy: self.text(&remedy),
        }
    }
}

impl Report {
    /// With a scrubber, nothing in the report identifies anything. `remedy` says what to do about a failure.
    pub(super) fn new(
        check: &Check,
        machines: Machines,
        scrubber: Option<Scrubber>,
        remedy: impl Fn(&AzureError) -> String,
    ) -> Self {
        let mut texts = Texts { scrubber, remedy };
        let mut reads = Vec::new();
        for answer in &check.reads {
            reads.push(Read {
                name: answer.name,
                api_version: answer.api_version,
                needed: answer.needed,
                shape: match (&answer.shape, &mut texts.scrubber) {
                    (Ok(shape), Some(scrubber)) => Ok(scrubber.document(shape)),
                    (Ok(shape), None) => Ok(shape.clone()),
                    (Err(error), _) => Err(texts.failure(error)),
                },
            });
        }
        let mut points = Vec::new();
        for point in &check.points {
            let shown = match &point.finding {
                Finding::Seen(what) => Shown::Seen(texts.text(what)),
                Finding::NotSeen(needs) => Shown::NotSeen((*needs).to_owned()),
                Finding::Failed(code) => Shown::Failed(texts.text(code)),
            };
            points.push((point.section, point.name, shown));
        }
        let missing = |permissions: &Permissions| {
            let actions = ACTIONS.into_iter();
            actions.filter(|action| !permissions.allow(action)).collect()
        };
        Self {
            reads,
            missing_actions: check.permissions.as_ref().ok().map(missing),
            machines: match machines {
                Ok(findings) => Ok(findings.into_iter().collect()),
                Err(error) => Err(texts.failure(&error)),
            },
            points,
        }
    }

    /// Whether the operator could read everything that it needs, and write it.
    pub(super) fn is_complete(&self) -> bool {
        let can_write = self.missing_actions.as_ref().is_some_and(Vec::is_empty);
        can_write && self.machines.is_ok() && self.reads.iter().all(|read| !read.needed || read.shape.is_ok())
    }

    /// The failures of what the operator needs, each once: what it concerns, and the first one in full.
    fn failures(&self) -> BTreeMap<(&str, &str), (Vec<&str>, &Failure)> {
        let reads = self.reads.iter().filter(|read| read.needed);
        let reads = reads.filter_map(|read| Some((read.name, read.shape.as_ref().err()?)));
        let machines = self.machines.as_ref().err().map(|failure| ("machines", failure));
        let mut failures = BTreeMap::new();
        for (name, failure) in reads.chain(machines) {
            let key = (failure.code.as_str(), failure.remedy.as_str());
            let (names, _) = failures.entry(key).or_insert_with(|| (Vec::new(), failure));
            names.push(name);
        }
        failures
    }

    /// The report for a program, and for an issue.
    pub(super) fn document(&self) -> Value {
        let failure = |failure: &Failure| json!({"code": failure.code, "message": failure.message, "action": failure.remedy});
        let reads: Vec<_> = self
            .reads
            .iter()
            .map(|read| {
                let (shape, error) = match &read.shape {
                    Ok(shape) => (shape.clone(), Value::Null),
                    Err(error) => (Value::Null, failure(error)),
                };
                json!({"name": read.name, "apiVersion": read.api_version, "needed": read.needed, "error": error, "shape": shape})
            })
            .collect();
        let points: Vec<_> = self
            .points
            .iter()
            .map(|(section, name, shown)| {
                let (result, text) = match shown {
                    Shown::Seen(what) => ("Seen", what),
                    Shown::NotSeen(needs) => ("NotSeen", needs),
                    Shown::Failed(code) => ("Failed", code),
                };
                json!({"section": section, "name": name, "result": result, "text": text})
            })
            .collect();
        let machines = match &self.machines {
            Ok(findings) => {
                let findings = findings.iter().map(|(name, count)| (name.clone(), json!(count)));
                json!({"findings": findings.collect::<serde_json::Map<_, _>>()})
            }
            Err(error) => json!({"error": failure(error)}),
        };
        json!({
            "version": version::document(),
            "complete": self.is_complete(),
            "reads": reads,
            "missingActions": self.missing_actions,
            "machines": machines,
            "points": points,
        })
    }

    /// The report for people.
    pub(super) fn text(&self) -> String {
        let mut out = String::from("Reads that the operator needs:\n");
        for read in self.reads.iter().filter(|read| read.needed && read.shape.is_ok()) {
            line(&mut out, &format!("{} ({}): ok", read.name, read.api_version));
        }
        match &self.machines {
            Ok(findings) if findings.is_empty() => line(&mut out, "machines: ok, none"),
            Ok(findings) => {
                let findings: Vec<_> = findings
                    .iter()
                    .map(|(name, count)| format!("{count} x {name}"))
                    .collect();
                line(&mut out, &format!("machines: ok, {}", findings.join(", ")));
            }
            Err(_) => {}
        }
        for (names, failure) in self.failures().values() {
            let names = names.join(", ");
            line(
                &mut out,
                &format!("{names}: failed: {}: {}", failure.code, failure.message),
            );
            line(&mut out, &format!("  {}", failure.remedy));
        }
        if let Some(missing) = self
            .missing_actions
            .as_ref()
            .filter(|missing| !missing.is_empty())
        {
            out.push_str("\nActions that the identity lacks; mode Enforce needs them:\n");
            for action in missing {
                line(&mut out, action);
            }
            out.push_str(
                "Assign the role Security Admin to it on the subscription. Mode Observe only reads.\n",
            );
        }
        // Without an answer, no point can be confirmed.
        if !self.reads.iter().any(|read| read.needed && read.shape.is_ok()) {
            return out;
        }
        out.push_str("\nUnconfirmed points of docs/azure-api.md:\n");
        for (section, name, shown) in &self.points {
            let result = match shown {
                Shown::Seen(what) => what.clone(),
                Shown::NotSeen(needs) => format!("not seen; needs {needs}"),
                Shown::Failed(code) => format!("cannot be read: {code}"),
            };
            line(&mut out, &format!("{section} {name}: {result}"));
        }
        out.push_str(
            "\nTo help the project, run it again with -o json, read the report, and attach it to an issue.\n",
        );
        out
    }
}

fn line(out: &mut String, text: &str) {
    let _ = writeln!(out, "  {}", printable::one_line(text));
}
