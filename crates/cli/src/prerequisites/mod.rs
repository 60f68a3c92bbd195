//! `serverprotection prerequisites`: what an AWS account or GCP project needs for a connector, and Entra for a client
//! certificate.
//!
//! ```text
//! -f ─▶ Input (admission, plan, tenant) ─▶ Selected ─▶ core: Prerequisites ─▶ text | cloudformation | terraform | gcloud
//! ```

mod admission;
mod args;
mod certificates;
mod cloudformation;
mod gcloud;
mod hcl;
mod input;
mod terraform;
mod text;
mod words;
mod yaml;

#[cfg(test)]
mod tests;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

pub(crate) use args::Args;
use args::Format;
use input::{Input, Selected};
use serverprotection_api::Cloud;
use serverprotection_core::security_connector::prerequisites::{Account, Prerequisites};

use crate::{
    documents::{Text, Texts},
    error::CliError,
    printable,
};

/// Invalid flags or input.
const REFUSED: u8 = 2;
/// The exit code that a shell reports for SIGPIPE.
const PIPE_CLOSED: u8 = 141;

/// Prints the prerequisites, or all errors and nothing else.
pub(crate) fn run(args: &Args) -> ExitCode {
    let texts = Texts::read(&args.files, args.recursive);
    if let Some(note) = texts.note() {
        eprintln!("serverprotection: {}", printable::one_line(&note));
    }
    let output = if texts.failures.is_empty() {
        rendered(args, &texts.read)
    } else {
        Err(texts.failures)
    };
    let output = match output {
        Ok(output) => output,
        Err(errors) => {
            for error in errors {
                // Errors quote the input, and may go to a terminal.
                let text = printable::lines(&error.to_string()).join("\n");
                eprintln!("serverprotection: {text}");
            }
            return ExitCode::from(REFUSED);
        }
    };
    match io::stdout().write_all(output.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(PIPE_CLOSED),
        Err(error) => {
            eprintln!("serverprotection: cannot write to standard output: {error}");
            ExitCode::from(REFUSED)
        }
    }
}

fn rendered(args: &Args, texts: &[Text]) -> Result<String, Vec<CliError>> {
    let input = Input::parse(texts)?;
    let selected = input.selected(args)?;
    if args.output != Format::Text && selected.len() > 1 {
        let names: Vec<_> = selected.iter().map(|one| one.shown.as_str()).collect();
        let problem = format!(
            "--output {} prints one connector, but the input has {}",
            args.output,
            names.join(", ")
        );
        return Err(vec![
            CliError::new(problem).action("choose one with --name, or use --output text"),
        ]);
    }
    if args.existing_identity_provider && selected.iter().all(|one| one.spec.type_ != Cloud::AWS) {
        let error = CliError::new("--existing-identity-provider is only for AWS").action("omit the flag");
        return Err(vec![error]);
    }
    if args.output != Format::Text && selected.is_empty() {
        return Err(vec![input::no_connector()]);
    }
    let all: Result<Vec<_>, _> = selected.iter().map(|one| render(args, one)).collect();
    let mut all = all.map_err(|error| vec![error])?;
    if args.output == Format::Text && args.name.is_none() {
        // Each ends with a line break, as the lists of connectors do.
        all.extend(input.certificates.values().map(|text| format!("{text}\n")));
    }
    Ok(all.join("\n\n"))
}

fn render(args: &Args, selected: &Selected) -> Result<String, CliError> {
    let fitting = Format::of(selected.spec.type_);
    if !fitting.contains(&args.output) {
        let problem = format!(
            "--output {} is not available for the SecurityConnector {}, which has type {}",
            args.output,
            selected.shown,
            words::cloud(selected.spec.type_)
        );
        let fitting = fitting.map(|format| format.to_string()).join(", ");
        return Err(CliError::new(problem).action(format!("use one of {fitting}")));
    }
    let found = Prerequisites::of(
        &selected.name,
        &selected.spec,
        &selected.protection,
        &selected.tenant,
    )
    .map_err(|invalid| CliError::new(format!("SecurityConnector {}: spec.{invalid}", selected.shown)))?;
    let provider = if args.existing_identity_provider {
        IdentityProvider::Existing
    } else {
        IdentityProvider::New
    };
    match (args.output, &found.account) {
        (Format::Text, _) => Ok(text::render(&selected.shown, &found, provider)),
        (Format::Cloudformation, Account::Aws(aws)) => {
            cloudformation::render(&selected.shown, &found, aws, provider)
        }
        (Format::Terraform, Account::Aws(aws)) => {
            terraform::aws::render(&selected.shown, &found, aws, provider)
        }
        (Format::Terraform, Account::Gcp(gcp)) => Ok(terraform::gcp::render(&selected.shown, &found, gcp)),
        (Format::Gcloud, Account::Gcp(gcp)) => Ok(gcloud::render(&selected.shown, &found, gcp)),
        // Not reached: `Format::of` was checked above.
        (format, _) => Err(format!("--output {format} is not available for {}", words::place(&found)).into()),
    }
}

/// Whether the identity provider of an AWS account exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IdentityProvider {
    /// The output creates it.
    New,
    /// It exists and has another owner.
    Existing,
}
