//! `serverprotection prerequisites`: what a cloud account must have for a connector.
//!
//! ```text
//! -f ─▶ Input (admission, plan, tenant) ─▶ Asked ─▶ core: Prerequisites ─▶ text | cloudformation | terraform | gcloud
//! ```

mod admission;
mod args;
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
use input::{Asked, Input};
use serverprotection_api::Cloud;
use serverprotection_core::security_connector::prerequisites::{Account, Prerequisites};

use crate::{documents, printable};

/// Wrong usage or input.
const REFUSED: u8 = 2;
/// As a shell tells of a program that SIGPIPE ended.
const NOT_READ: u8 = 141;

/// Prints everything, or nothing and why.
pub(crate) fn run(args: &Args) -> ExitCode {
    let output = documents::read(&args.files).and_then(|texts| rendered(args, &texts));
    let output = match output {
        Ok(output) => output,
        Err(error) => {
            // It quotes the input, and goes to a terminal.
            eprintln!("serverprotection: {}", printable::lines(&error).join("\n"));
            return ExitCode::from(REFUSED);
        }
    };
    match io::stdout().write_all(output.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(NOT_READ),
        Err(error) => {
            eprintln!("serverprotection: standard output: {error}");
            ExitCode::from(REFUSED)
        }
    }
}

fn rendered(args: &Args, texts: &[(String, String)]) -> Result<String, String> {
    let asked = Input::parse(texts)?.asked(args)?;
    if args.output != Format::Text && asked.len() > 1 {
        let names: Vec<_> = asked.iter().map(|one| one.shown.as_str()).collect();
        return Err(format!(
            "--output {} prints one connector, and the input has {}: choose with --name",
            args.output,
            names.join(", ")
        ));
    }
    if args.existing_identity_provider && asked.iter().all(|one| one.spec.type_ != Cloud::AWS) {
        return Err(
            "--existing-identity-provider is for AWS: in GCP, every tenant has a pool of its own".into(),
        );
    }
    let all: Result<Vec<_>, _> = asked.iter().map(|one| render(args, one)).collect();
    Ok(all?.join("\n\n"))
}

fn render(args: &Args, asked: &Asked) -> Result<String, String> {
    let fitting = Format::of(asked.spec.type_);
    if !fitting.contains(&args.output) {
        return Err(format!(
            "--output {} does not fit the SecurityConnector {}, whose type is {:?}: use {}",
            args.output,
            asked.shown,
            asked.spec.type_,
            fitting.map(|format| format.to_string()).join(", ")
        ));
    }
    let found = Prerequisites::of(&asked.name, &asked.spec, &asked.protection, &asked.tenant)
        .map_err(|error| format!("SecurityConnector {}: spec.{error}", asked.shown))?;
    let provider = if args.existing_identity_provider {
        IdentityProvider::Existing
    } else {
        IdentityProvider::New
    };
    match (args.output, &found.account) {
        (Format::Text, _) => Ok(text::render(&asked.shown, &found, provider)),
        (Format::Cloudformation, Account::Aws(aws)) => {
            cloudformation::render(&asked.shown, &found, aws, provider)
        }
        (Format::Terraform, Account::Aws(aws)) => terraform::aws::render(&asked.shown, &found, aws, provider),
        (Format::Terraform, Account::Gcp(gcp)) => Ok(terraform::gcp::render(&asked.shown, &found, gcp)),
        (Format::Gcloud, Account::Gcp(gcp)) => Ok(gcloud::render(&asked.shown, &found, gcp)),
        // The formats of a cloud are its own.
        (format, _) => Err(format!("--output {format} does not fit {}", words::place(&found))),
    }
}

/// Who makes the identity provider of an AWS account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IdentityProvider {
    /// The output.
    New,
    /// It is there already.
    Existing,
}
