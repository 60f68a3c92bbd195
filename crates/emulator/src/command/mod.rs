//! The command line.

mod ctl;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// An emulator of Entra, Azure Resource Manager and Defender for Cloud, with faults and a safety monitor.
#[derive(Debug, Parser)]
#[command(name = "azure-emulator", version)]
pub struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Run the emulator until SIGTERM or SIGINT.
    Serve(serve::Serve),
    /// Inspect and change a running emulator.
    Ctl(ctl::Ctl),
}

/// Runs the command line.
pub async fn run(command: Command) -> ExitCode {
    let result = match command.what {
        What::Serve(serve) => serve.run().await,
        What::Ctl(ctl) => ctl.run().await,
    };
    result.unwrap_or_else(|problem| {
        eprintln!("azure-emulator: {problem}");
        ExitCode::from(2)
    })
}
