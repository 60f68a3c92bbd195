//! The azure-emulator command.

use std::process::ExitCode;

use clap::Parser;
use serverprotection_emulator::command::{Command, run};

#[tokio::main]
async fn main() -> ExitCode {
    run(Command::parse()).await
}
