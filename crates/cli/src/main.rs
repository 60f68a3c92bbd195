//! The `serverprotection` command.

mod admission;
mod check_azure;
mod cluster;
mod debug;
mod documents;
mod endpoints;
mod error;
mod exit;
mod machines;
mod prerequisites;
mod printable;
mod probe;
mod scrub;
mod uninstall;
mod unquoted;
mod validate;
mod version;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use endpoints::Endpoints;
use error::CliError;

/// Manage Microsoft Defender for Servers in Azure subscriptions through Kubernetes objects
#[derive(Parser)]
#[command(name = "serverprotection", version = version::LONG, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Controller(Box<ControllerArgs>),
    Machines(Box<machines::Args>),
    Prerequisites(Box<prerequisites::Args>),
    Validate(validate::Args),
    CheckAzure(Box<check_azure::Args>),
    Uninstall(uninstall::Args),
    Debug(debug::Args),
    Crds(version::CrdsArgs),
    Completion(version::CompletionArgs),
    Version(version::Args),
    #[command(hide = true)]
    Probe(probe::Args),
}

// No doc comment: the description of the command is that of `serverprotection_controller::Args`.
#[derive(clap::Args)]
struct ControllerArgs {
    #[command(flatten)]
    endpoints: Endpoints,

    #[command(flatten)]
    args: serverprotection_controller::Args,
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Controller(args) => controller(*args),
        Command::Machines(args) => with_tls(|| machines::run(*args)),
        Command::Prerequisites(args) => prerequisites::run(&args),
        Command::Validate(args) => validate::run(&args),
        Command::CheckAzure(args) => with_tls(|| check_azure::run(&args)),
        Command::Uninstall(args) => with_tls(|| uninstall::run(&args)),
        Command::Debug(args) => with_tls(|| debug::run(&args)),
        Command::Crds(args) => version::crds(&args),
        Command::Completion(args) => version::completion(&args, Cli::command()),
        Command::Version(args) => version::run(&args),
        Command::Probe(args) => with_tls(|| probe::run(&args)),
    }
}

fn controller(args: ControllerArgs) -> ExitCode {
    match run_controller(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            exit::report(&CliError::new(message));
            ExitCode::FAILURE
        }
    }
}

fn run_controller(ControllerArgs { endpoints, args }: ControllerArgs) -> Result<(), String> {
    install_tls()?;
    let (cloud, http) = endpoints.open().map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start the async runtime: {error}"))?;
    runtime
        .block_on(serverprotection_controller::run(args, cloud, http))
        .map_err(|error| error.to_string())
}

/// Runs a command that connects to a server.
fn with_tls(run: impl FnOnce() -> ExitCode) -> ExitCode {
    match install_tls() {
        Ok(()) => run(),
        Err(message) => exit::failed(&CliError::new(message)),
    }
}

/// Installs one TLS provider for kube and reqwest; without it, rustls panics at the first connection.
fn install_tls() -> Result<(), String> {
    let installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    installed.map_err(|_| "bug: a TLS provider is already installed".into())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// A flag that several commands have is spelled the same in all of them.
    #[test]
    fn flags_agree_between_commands() {
        let command = Cli::command();
        let mut flags = HashMap::new();
        for subcommand in command.get_subcommands() {
            for flag in subcommand.get_arguments() {
                let Some(long) = flag.get_long() else { continue };
                let spelling = (
                    flag.get_short(),
                    flag.get_value_names().map(<[_]>::to_vec),
                    flag.get_env().map(std::ffi::OsStr::to_owned),
                );
                let first = flags.entry(long).or_insert_with(|| spelling.clone());
                assert_eq!(*first, spelling, "--{long} of {}", subcommand.get_name());
            }
        }
        for long in ["output", "tenant-id", "filename", "cloud"] {
            assert!(flags.contains_key(long), "--{long}");
        }
        for old in ["format", "tenant"] {
            assert!(!flags.contains_key(old), "--{old}");
        }
    }
}
