//! `serverprotection version`, `crds` and `completion`: what the program says about itself.
#![allow(clippy::doc_markdown)]

use std::process::ExitCode;

use clap::{Args as ClapArgs, ValueEnum};
use clap_complete::Shell;
use serde_json::{Value, json};
use serverprotection_api::GROUP;

use crate::{error::CliError, exit};

/// The version of this program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit that it was built from, or `unknown`.
pub(crate) const COMMIT: &str = env!("SERVERPROTECTION_COMMIT");
/// Version and commit, for `--version`.
pub(crate) const LONG: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("SERVERPROTECTION_COMMIT"),
    ")"
);

/// Print the version, the commit that the program was built from, and the API version of the objects
#[derive(ClapArgs, Clone, Debug)]
pub(crate) struct Args {
    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// Output formats.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// One line
    Text,
    /// One JSON document
    Json,
}

/// Print the custom resource definitions
///
/// To install or update them: serverprotection crds | kubectl apply --server-side -f -
#[derive(ClapArgs, Clone, Debug)]
pub(crate) struct CrdsArgs {
    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = CrdsFormat::Yaml)]
    output: CrdsFormat,
}

/// Output formats.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum CrdsFormat {
    /// One YAML document for each definition
    Yaml,
    /// One JSON document, a List
    Json,
}

const EXAMPLES: &str = "\
Examples:
  bash, for all sessions (needs the package bash-completion):
    mkdir -p ~/.local/share/bash-completion/completions
    serverprotection completion bash > ~/.local/share/bash-completion/completions/serverprotection
  zsh, in a folder of $fpath:
    mkdir -p ~/.zfunc
    serverprotection completion zsh > ~/.zfunc/_serverprotection
  fish:
    mkdir -p ~/.config/fish/completions
    serverprotection completion fish > ~/.config/fish/completions/serverprotection.fish";

/// Print a script for the completion of commands, flags and values in a shell
#[derive(ClapArgs, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompletionArgs {
    /// Shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Version, commit and API version as JSON.
pub(crate) fn document() -> Value {
    json!({"version": VERSION, "commit": COMMIT, "apiVersion": format!("{GROUP}/v1alpha1")})
}

/// Prints the version.
pub(crate) fn run(args: &Args) -> ExitCode {
    match args.output {
        Format::Text => exit::print(&format!("serverprotection {LONG}\n"), 0),
        Format::Json => exit::print(&format!("{:#}\n", document()), 0),
    }
}

/// Prints the custom resource definitions.
pub(crate) fn crds(args: &CrdsArgs) -> ExitCode {
    match definitions(args.output) {
        Ok(text) => exit::print(&text, 0),
        Err(error) => exit::failed(&error),
    }
}

fn definitions(format: CrdsFormat) -> Result<String, CliError> {
    let crds = serverprotection_api::crds();
    let failed = |error: &dyn std::fmt::Display| CliError::new("cannot write the definitions").because(error);
    match format {
        CrdsFormat::Yaml => {
            let documents: Result<Vec<_>, _> = crds.iter().map(serde_saphyr::to_string).collect();
            Ok(documents.map_err(|error| failed(&error))?.join("---\n"))
        }
        CrdsFormat::Json => {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": crds});
            Ok(format!("{list:#}\n"))
        }
    }
}

/// Prints the completion script of a shell for a command.
pub(crate) fn completion(args: &CompletionArgs, mut command: clap::Command) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "serverprotection", &mut script);
    exit::print(&String::from_utf8_lossy(&script), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commit_is_hexadecimal_or_unknown() {
        let is_commit = COMMIT.len() >= 7 && COMMIT.bytes().all(|c| c.is_ascii_hexdigit());
        assert!(is_commit || COMMIT == "unknown", "{COMMIT}");
        assert_eq!(document()["commit"], COMMIT);
        assert!(LONG.starts_with(VERSION) && LONG.contains(COMMIT));
    }

    #[test]
    fn both_forms_of_the_definitions_have_every_kind() {
        let yaml = definitions(CrdsFormat::Yaml).unwrap();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&yaml).unwrap();
        let list: Value = serde_json::from_str(&definitions(CrdsFormat::Json).unwrap()).unwrap();
        assert_eq!(list["items"].as_array().unwrap(), &documents);
        assert_eq!(documents.len(), 4);
    }
}
