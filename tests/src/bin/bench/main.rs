//! `make bench`: what the controller costs, as counts, times and memory, on a real kube-apiserver and an emulated
//! Azure. What each figure means: docs/benchmarks.md.
#![allow(clippy::print_stdout, reason = "this program talks to a person")]

mod arguments;
mod cores;
mod facts;
mod measure;
mod needed;
mod progress;
mod report;
mod traffic;
mod watching;
mod world;

use arguments::{Arguments, Request};
use measure::Figures;
use serde_json::json;
use serverprotection_tests::{Error, binaries, harness::interrupted};
use std::{path::PathBuf, process::ExitCode};

/// A count bar is broken.
const BROKEN: u8 = 1;
/// The benchmark could not be run.
const NOT_RUN: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(Request::Help) => {
            print!("{}", arguments::HELP);
            return ExitCode::SUCCESS;
        }
        Ok(Request::Run(arguments)) => arguments,
        Err(problem) => {
            eprintln!("bench: {problem}\nbench: --help tells what there is");
            return ExitCode::from(NOT_RUN);
        }
    };
    let outcome = tokio::select! {
        outcome = Box::pin(run(&arguments)) => outcome,
        // Dropping the run kills its processes.
        signal = interrupted() => Err(Error::Other(format!("{signal}: not finished"))),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("bench: a count bar is broken; see the table");
            ExitCode::from(BROKEN)
        }
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::from(NOT_RUN)
        }
    }
}

/// Runs every size; whether all count bars held.
async fn run(arguments: &Arguments) -> Result<bool, Error> {
    let facts = facts::collect(arguments);
    print!("{}", facts.text());
    let mut all: Vec<Figures> = Vec::new();
    for &objects in &arguments.objects {
        all.push(measure::measure(objects, arguments).await?);
    }
    let rows = report::rows(&all);
    print!("\n{}\n{}", facts.text(), report::table(&all, &rows));
    let held = rows.iter().all(report::Row::holds);
    let document = json!({"facts": facts, "countBarsHold": held, "sizes": all, "bars": report::bars(&rows)});
    let path = write(arguments, &document)?;
    println!("\nwritten: {}", path.display());
    Ok(held)
}

fn write(arguments: &Arguments, document: &serde_json::Value) -> Result<PathBuf, Error> {
    let path = arguments
        .output
        .clone()
        .unwrap_or_else(|| binaries::root().join("target/bench.json"));
    let io = |source| Error::Io {
        what: format!("write {}", path.display()),
        source,
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(io)?;
    }
    std::fs::write(&path, format!("{document:#}\n")).map_err(io)?;
    Ok(path)
}
