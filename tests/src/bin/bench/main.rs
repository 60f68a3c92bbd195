//! `make bench`: what the controller costs in requests, time and memory, on a real kube-apiserver with an emulated
//! Azure. docs/benchmarks.md explains each figure.
#![allow(clippy::print_stdout, reason = "this program talks to a person")]

mod arguments;
mod connectors;
mod connectors_report;
mod cores;
mod expected_writes;
mod facts;
mod fleet;
mod fleet_report;
mod measure;
mod progress;
mod reconciles;
mod recount;
mod report;
mod scans;
mod setup;
mod table;
mod traffic;
mod watching;
mod world;

use arguments::{Arguments, Fleet};
use serde_json::json;
use serverprotection_tests::{Error, binaries, harness::interrupted};
use std::{path::PathBuf, process::ExitCode};

/// Exit code if a count exceeds its limit.
const BROKEN: u8 = 1;
/// Exit code if the benchmark could not run.
const NOT_RUN: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    // Prints the help or the problem; exit code 2 for a problem.
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

/// Runs every size and every fleet. Returns whether all counts are within their limits.
async fn run(arguments: &Arguments) -> Result<bool, Error> {
    let facts = facts::collect(arguments);
    print!("{}", facts.text());
    let mut sizes: Vec<measure::Figures> = Vec::new();
    for objects in arguments.objects() {
        sizes.push(measure::measure(objects, arguments).await?);
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
    let rows = [
        report::rows(&sizes),
        fleet_report::rows(&fleets),
        connectors_report::rows(&connected),
    ];
    print!("\n{}", facts.text());
    let columns = [
        sizes.iter().map(|f| f.objects.to_string()).collect::<Vec<_>>(),
        fleets.iter().map(fleet::Figures::name).collect(),
        connected.iter().map(|f| f.connectors.to_string()).collect(),
    ];
    for ((what, columns), rows) in ["objects", "machines/subscriptions", "connectors"]
        .iter()
        .zip(&columns)
        .zip(&rows)
    {
        if !columns.is_empty() {
            print!("\n{}", table::table(what, columns, rows));
        }
    }
    let breaches = sizes
        .iter()
        .map(|f| &f.breaches)
        .chain(fleets.iter().map(|f| &f.breaches))
        .chain(connected.iter().map(|f| &f.breaches));
    for breach in breaches.flat_map(|breaches| breaches.iter().take(10)) {
        println!("breach: {breach}");
    }
    for object in fleets.iter().flat_map(|f| f.objects_that_differ.iter().take(10)) {
        println!("differs (subscription, status, recount): {object}");
    }
    let held = rows.iter().flatten().all(table::Row::holds);
    let bars: Vec<_> = rows.iter().flat_map(|rows| table::bars(rows)).collect();
    let document = json!({"facts": facts, "countBarsHold": held, "sizes": sizes, "fleets": fleets,
        "connectors": connected, "bars": bars});
    let path = write(arguments, &document)?;
    println!("\nwrote {}", path.display());
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
