//! `serverprotection validate`: checks manifests as the API server would, without a cluster.
#![allow(clippy::doc_markdown)]

#[cfg(test)]
mod tests;

use std::{fmt::Write as _, path::PathBuf, process::ExitCode};

use clap::{Args as ClapArgs, ValueEnum};
use serde::Serialize;

use crate::{
    admission::{Definitions, Problem, TransitionRule},
    documents::{self, Texts},
    error::CliError,
    exit, printable,
};

const EXAMPLES: &str = "\
Examples:
  The manifests of a folder, in CI:
    serverprotection validate -f clusters/prod/
  A folder with all folders below it:
    serverprotection validate -R -f clusters/
  What Kustomize would apply:
    kubectl kustomize clusters/prod | serverprotection validate -f -
  The invalid fields as JSON:
    serverprotection validate -f prod.yaml -o json | jq '.objects[] | select(.valid | not)'

Exit codes:
  0    The API server would create every object.
  1    It would refuse at least one object; the output names the fields.
  2    The command failed: invalid flags, a file that cannot be read or is not YAML, or no object of this operator.
       The objects of the other files are checked all the same.
  141  The output pipe was closed (SIGPIPE).";

/// Check manifests as the API server does, without a cluster: schema, unknown fields and validation rules (CEL)
///
/// Checks ServerProtection, SecurityConnector, AzureCredential and ClusterAzureCredential objects by the custom resource
/// definitions of this version, which serverprotection crds prints. Other objects are counted and not checked. In a
/// folder, these are also files without a kind, such as values of Helm; kustomization.yaml is skipped.
///
/// Rules about changes, such as an immutable field, need the stored object. Only the API server can check them:
/// kubectl apply --dry-run=server -f FILE.
#[derive(ClapArgs, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// File or folder with manifests, or - for standard input. Repeatable
    #[arg(short = 'f', long = "filename", value_name = "FILE|-", required = true)]
    pub(crate) files: Vec<PathBuf>,

    /// Also read the sub-folders of the folders of -f
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,

    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    pub(crate) output: Format,
}

/// Output formats.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// The invalid fields and a summary
    Text,
    /// One JSON document with objects, summary and notChecked
    Json,
}

/// The checked objects.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    objects: Vec<Checked>,
    /// What could not be read.
    errors: Vec<String>,
    /// Sub-folders that were not read.
    folders_not_read: Vec<String>,
    #[serde(skip)]
    note: Option<String>,
    summary: Summary,
    not_checked: Vec<TransitionRule>,
}

#[derive(Debug, Serialize)]
struct Checked {
    /// `prod.yaml, document 2`.
    source: String,
    kind: String,
    namespace: String,
    name: String,
    valid: bool,
    problems: Vec<Problem>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Summary {
    valid: usize,
    invalid: usize,
    /// Objects of other API groups, and documents in files of a folder that are no objects.
    other: usize,
}

/// Prints what the API server would refuse.
pub(crate) fn run(args: &Args) -> ExitCode {
    let report = checked(Texts::read(&args.files, args.recursive));
    let report = match report {
        Ok(report) => report,
        Err(error) => return exit::failed(&error),
    };
    for error in &report.errors {
        exit::report(&CliError::new(error));
    }
    let code = match report.summary.invalid {
        _ if !report.errors.is_empty() => exit::FAILED,
        0 => 0,
        _ => exit::NO,
    };
    match rendered(&report, args.output) {
        Ok(text) => exit::print(&text, code),
        Err(error) => exit::failed(&error),
    }
}

fn checked(texts: Texts) -> Result<Report, CliError> {
    let definitions = Definitions::load()?;
    let mut report = Report {
        objects: Vec::new(),
        errors: texts.failures.iter().map(ToString::to_string).collect(),
        note: texts.note(),
        folders_not_read: texts.folders,
        summary: Summary::default(),
        not_checked: definitions.transition_rules(),
    };
    let read = documents::for_each(&texts.read, |object| {
        let problems = if object.is_ours() {
            definitions.check(&object)
        } else if let Some(problem) = definitions.check_foreign(&object) {
            vec![problem]
        } else {
            report.summary.other += 1;
            return Ok(());
        };
        if problems.is_empty() {
            report.summary.valid += 1;
        } else {
            report.summary.invalid += 1;
        }
        report.objects.push(Checked {
            namespace: object.metadata("namespace").to_owned(),
            name: object.metadata("name").to_owned(),
            valid: problems.is_empty(),
            source: object.place,
            kind: object.kind,
            problems,
        });
        Ok(())
    });
    let errors = read.err().into_iter().flatten();
    report.errors.extend(errors.map(|error| error.to_string()));
    if report.objects.is_empty() {
        let mut errors: Vec<_> = report.errors.into_iter().map(CliError::new).collect();
        if errors.is_empty() {
            errors.push(
                CliError::new("-f: the input has no object of serverprotection.dev")
                    .action("name a file with a ServerProtection, SecurityConnector or AzureCredential"),
            );
        }
        errors.extend(report.note.map(CliError::new));
        return Err(CliError::all(errors));
    }
    Ok(report)
}

fn rendered(report: &Report, format: Format) -> Result<String, CliError> {
    match format {
        Format::Json => {
            let text = serde_json::to_string_pretty(report);
            let text =
                text.map_err(|error| CliError::new("cannot write the result as JSON").because(error))?;
            Ok(text + "\n")
        }
        Format::Text => Ok(text(report)),
    }
}

fn text(report: &Report) -> String {
    let mut out = String::new();
    for object in report.objects.iter().filter(|object| !object.valid) {
        let name = match object.namespace.as_str() {
            "" => object.name.clone(),
            namespace => format!("{namespace}/{}", object.name),
        };
        let head = format!("{}: {} {name} is invalid:", object.source, object.kind);
        let _ = writeln!(out, "{}", printable::one_line(&head));
        for problem in &object.problems {
            let line = format!("{}: {}", problem.field, problem.message);
            let _ = writeln!(out, "  {}", printable::one_line(&line));
            if let Some(action) = &problem.action {
                let _ = writeln!(out, "    {}", printable::one_line(action));
            }
        }
    }
    let Summary {
        valid,
        invalid,
        other,
    } = report.summary;
    let _ = writeln!(
        out,
        "{valid} valid, {invalid} invalid; objects of other kinds, not checked: {other}"
    );
    match report.errors.len() {
        0 => {}
        1 => out.push_str("Incomplete: 1 file or document could not be read.\n"),
        count => {
            let _ = writeln!(out, "Incomplete: {count} files or documents could not be read.");
        }
    }
    if let Some(note) = &report.note {
        let _ = writeln!(out, "Note: {}", printable::one_line(note));
    }
    let _ = writeln!(
        out,
        "Not checked: {} rules about changes of stored objects, such as immutable fields. The API server checks them: kubectl apply --dry-run=server",
        report.not_checked.len()
    );
    out
}
