//! `make bench`: what the controller costs in requests, time and memory, on a real kube-apiserver with an emulated
//! Azure. docs/benchmarks.md explains each figure.
#![allow(clippy::print_stdout, reason = "this program talks to a person")]

mod api_server;
mod arguments;
mod at_rest;
mod connectors;
mod connectors_report;
mod cores;
mod expected_writes;
mod facts;
mod fleet;
mod fleet_report;
mod largest;
mod objects;
mod objects_report;
mod parts;
mod progress;
mod reconciles;
mod recount;
mod report;
mod requests;
mod scans;
mod table;
mod takeover;
mod traffic;
mod watching;
mod world;

use arguments::{Arguments, Fleet};
use report::report;
use serde_json::json;
use serverprotection_tests::{Error, binaries, harness::interrupted};
use std::{path::PathBuf, process::ExitCode};

/// Exit code if a count exceeds its limit.
const BROKEN: u8 = 1;
/// Exit code if the benchmark could not run. clap uses the same for invalid arguments.
const NOT_RUN: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    let outcome = tokio::select! {
        outcome = Box::pin(run(&arguments)) => outcome,
        // Dropping the run kills its processes.
        signal = interrupted() => Err(Error::Other(format!("{signal}: not finished"))),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("bench: a count exceeds its limit; see the table");
            ExitCode::from(BROKEN)
        }
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::from(NOT_RUN)
        }
    }
}

/// Runs every size of every part. Returns whether all counts are within their limits.
async fn run(arguments: &Arguments) -> Result<bool, Error> {
    let facts = facts::collect(arguments);
    print!("{}", facts.text());
    let mut sizes: Vec<objects::Figures> = Vec::new();
    for objects in arguments.objects() {
        sizes.push(objects::measure(objects, arguments).await?);
    }
    let mut fleets: Vec<fleet::Figures> = Vec::new();
    for fleet in arguments.fleets() {
        let nothing = Fleet { machines: 0, ..fleet };
        if !fleets.iter().any(|known| known.is_of(nothing)) {
            fleets.push(fleet::measure(nothing, arguments).await?);
        }
        fleets.push(fleet::measure(fleet, arguments).await?);
    }
    let mut connected: Vec<connectors::Figures> = Vec::new();
    for connectors in arguments.connectors() {
        if connected.is_empty() {
            connected.push(connectors::measure(0, arguments).await?);
        }
        connected.push(connectors::measure(connectors, arguments).await?);
    }
    let mut takeovers: Vec<takeover::Figures> = Vec::new();
    for objects in arguments.takeovers() {
        takeovers.push(takeover::measure(objects, arguments).await?);
    }
    let mut at_rest: Vec<at_rest::Figures> = Vec::new();
    for objects in arguments.at_rest() {
        at_rest.push(at_rest::measure(objects, arguments).await?);
    }
    let mut largest: Vec<largest::Figures> = Vec::new();
    for objects in arguments.largest() {
        largest.push(largest::measure(objects, arguments).await?);
    }

    print!("\n{}", facts.text());
    let reports = [
        ("sizes", report(&sizes)),
        ("fleets", report(&fleets)),
        ("connectors", report(&connected)),
        ("takeovers", report(&takeovers)),
        ("atRest", report(&at_rest)),
        ("largest", report(&largest)),
    ];
    for (_, report) in reports.iter().filter(|(_, report)| !report.table.is_empty()) {
        print!("\n{}", report.table);
    }
    for problem in reports.iter().flat_map(|(_, report)| &report.problems) {
        println!("{problem}");
    }
    let holds = reports.iter().all(|(_, report)| report.holds);
    let bars: Vec<_> = reports.iter().flat_map(|(_, report)| &report.bars).collect();
    let mut document = json!({"facts": facts, "countBarsHold": holds, "bars": bars});
    if let Some(document) = document.as_object_mut() {
        document.extend(
            reports
                .iter()
                .map(|(name, report)| ((*name).to_owned(), report.runs.clone())),
        );
    }
    let path = write(arguments, &document)?;
    println!("\nwrote {}", path.display());
    Ok(holds)
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
