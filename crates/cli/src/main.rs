//! The `serverprotection` command.

mod documents;
mod endpoints;
mod error;
mod machines;
mod prerequisites;
mod printable;
mod unquoted;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use endpoints::Endpoints;

/// Manage Microsoft Defender for Servers in Azure subscriptions through Kubernetes objects
#[derive(Parser)]
#[command(name = "serverprotection", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Controller(Box<ControllerArgs>),
    Machines(Box<machines::Args>),
    Prerequisites(Box<prerequisites::Args>),
    /// Print the custom resource definitions as YAML
    ///
    /// To install or update them: serverprotection crds | kubectl apply --server-side -f -
    Crds,
    /// Print the version
    Version,
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
    let result = match Cli::parse().command {
        Command::Controller(args) => controller(*args),
        Command::Machines(args) => match install_tls() {
            Ok(()) => return machines::run(*args),
            error => error,
        },
        Command::Prerequisites(args) => return prerequisites::run(&args),
        Command::Crds => crds(),
        Command::Version => print(concat!("serverprotection ", env!("CARGO_PKG_VERSION"), "\n")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("serverprotection: {message}");
            ExitCode::FAILURE
        }
    }
}

fn controller(ControllerArgs { endpoints, args }: ControllerArgs) -> Result<(), String> {
    install_tls()?;
    let (cloud, http) = endpoints.open().map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start the async runtime: {error}"))?;
    runtime
        .block_on(serverprotection_controller::run(args, cloud, http))
        .map_err(|error| error.to_string())
}

/// Installs one TLS provider for kube and reqwest; without it, rustls panics at the first connection.
fn install_tls() -> Result<(), String> {
    let installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    installed.map_err(|_| "bug: a TLS provider is already installed".into())
}

fn crds() -> Result<(), String> {
    let mut documents = Vec::new();
    for crd in serverprotection_api::crds() {
        documents.push(serde_saphyr::to_string(&crd).map_err(|error| error.to_string())?);
    }
    print(&documents.join("---\n"))
}

/// Unlike `print!`, does not panic when the pipe is closed.
fn print(text: &str) -> Result<(), String> {
    use std::io::Write as _;
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| format!("cannot write to standard output: {error}"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use clap::CommandFactory as _;

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
