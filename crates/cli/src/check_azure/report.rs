//! The report: what was read, how many machines have which finding, and what the answers show.

use std::fmt::Write as _;

use serde_json::{Value, json};
use serverprotection_azure::check::{Check, Finding};
use serverprotection_core::azure_error::AzureError;

use super::machines::Machines;
use crate::{printable, scrub::Scrubber, version};

/// Everything is scrubbed when the report is made.
#[derive(Debug)]
pub(super) struct Report {
    reads: Vec<Read>,
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
}

/// What the answers show about a point.
#[derive(Debug)]
enum Shown {
    Seen(String),
    NotSeen(String),
    Failed(String),
}

impl Failure {
    fn new(error: &AzureError, scrubber: &mut Scrubber) -> Self {
        Self {
            code: scrubber.text(&error.code),
            message: scrubber.text(&error.message),
        }
    }
}

impl Report {
    pub(super) fn new(check: &Check, machines: Machines, scrubber: &mut Scrubber) -> Self {
        let mut reads = Vec::new();
        for answer in &check.reads {
            reads.push(Read {
                name: answer.name,
                api_version: answer.api_version,
                needed: answer.needed,
                shape: match &answer.shape {
                    Ok(shape) => Ok(scrubber.document(shape)),
                    Err(error) => Err(Failure::new(error, scrubber)),
                },
            });
        }
        let mut points = Vec::new();
        for point in &check.points {
            let shown = match &point.finding {
                Finding::Seen(what) => Shown::Seen(scrubber.text(what)),
                Finding::NotSeen(needs) => Shown::NotSeen((*needs).to_owned()),
                Finding::Failed(code) => Shown::Failed(scrubber.text(code)),
            };
            points.push((point.section, point.name, shown));
        }
        Self {
            reads,
            machines: match machines {
                Ok(findings) => Ok(findings.into_iter().collect()),
                Err(error) => Err(Failure::new(&error, scrubber)),
            },
            points,
        }
    }

    /// Whether the operator could read everything that it needs.
    pub(super) fn is_complete(&self) -> bool {
        self.machines.is_ok() && self.reads.iter().all(|read| !read.needed || read.shape.is_ok())
    }

    /// The report for a program, and for an issue.
    pub(super) fn document(&self) -> Value {
        let failure = |failure: &Failure| json!({"code": failure.code, "message": failure.message});
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
            "machines": machines,
            "points": points,
        })
    }

    /// The report for people.
    pub(super) fn text(&self) -> String {
        let mut out = String::from("Reads that the operator needs:\n");
        for read in self.reads.iter().filter(|read| read.needed) {
            let result = match &read.shape {
                Ok(_) => "ok".to_owned(),
                Err(error) => format!("failed: {}: {}", error.code, error.message),
            };
            line(
                &mut out,
                &format!("{} ({}): {result}", read.name, read.api_version),
            );
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
            Err(error) => line(
                &mut out,
                &format!("machines: failed: {}: {}", error.code, error.message),
            ),
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
