//! `serverprotection check-azure`: what Azure answers to everything that the operator would read, as a report that can
//! be attached to an issue.
//!
//! ```text
//! identity ─▶ azure: check (reads, points) and one scan of the machines ─▶ Report ─▶ Scrubber ─▶ text | JSON
//! ```
#![allow(clippy::doc_markdown)]

mod machines;
mod report;

#[cfg(test)]
mod tests;

use std::{process::ExitCode, sync::Arc, time::Duration};

use clap::{Args as ClapArgs, ValueEnum};
use report::Report;
use serverprotection_azure::{Client, Principals, RequestObserver, fleet::Settings};
use serverprotection_core::azure_error::AzureError;

use crate::{
    cluster,
    endpoints::Endpoints,
    error::CliError,
    exit,
    machines::{
        args::subscription,
        identity::{Auth, Origin, hint, problem},
    },
    scrub::Scrubber,
};

const EXAMPLES: &str = "\
Examples:
  With the login of the Azure CLI:
    serverprotection check-azure --subscription 00000000-0000-0000-0000-00000000000a
  With the application that an AzureCredential names, as a report to attach to an issue:
    serverprotection check-azure --subscription 00000000-0000-0000-0000-00000000000a --auth environment \\
      -o json > azure-report.json

Exit codes:
  0    The operator could read everything that it needs.
  1    A read that the operator needs failed, or the identity lacks an action that mode Enforce needs; the output says
       which one, why, and what to do.
  2    The command failed: invalid flags or no token.
  141  The output pipe was closed (SIGPIPE).";

/// Check with a real identity that the operator could manage a subscription, and report how Azure answers. Read-only
///
/// Sends the requests that the operator would send to read the subscription, and a few more that answer points of
/// docs/azure-api.md that could not be confirmed without a real subscription. It writes nothing, in Azure or in a
/// cluster.
///
/// The report of -o json has the form of the answers, not their content: names of members, types and values of closed
/// sets such as the plan. Ids, names, tags and addresses are not in it. Read it before you share it. The text output is
/// for you: its errors name your ids.
#[derive(ClapArgs, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Read this subscription
    #[arg(long = "subscription", value_name = "ID", value_parser = subscription, required = true)]
    subscription: String,

    /// How to authenticate to Azure
    #[arg(long, value_enum, default_value_t = Auth::AzureCli)]
    auth: Auth,

    /// ID of the Entra tenant to sign in to with --auth azure-cli [default: the current tenant of the Azure CLI]
    #[arg(long, value_name = "ID")]
    tenant_id: Option<String>,

    #[command(flatten)]
    endpoints: Endpoints,

    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// Output formats. Only the one that is meant for others is scrubbed.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// What could be read, and what the answers show
    Text,
    /// One JSON document with version, reads, missingActions, machines and points, without ids
    Json,
}

/// Reads and prints the report.
pub(crate) fn run(args: &Args) -> ExitCode {
    cluster::block_on(async {
        let report = read(args).await?;
        let code = if report.is_complete() { 0 } else { exit::NO };
        let text = match args.output {
            Format::Text => report.text(),
            Format::Json => format!("{:#}\n", report.document()),
        };
        Ok(exit::print(&text, code))
    })
}

async fn read(args: &Args) -> Result<Report, CliError> {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let identity = args.auth.identity(args.tenant_id.clone(), is_set)?;
    let (cloud, http) = args.endpoints.open().map_err(|error| error.to_string())?;
    let settings = Settings {
        keep_unprotected: false,
        ..Settings::default()
    };
    let principals = Arc::new(Principals::new(cloud, http, Arc::new(Unmetered), settings));
    let client = Client::new(identity, &principals);
    let check = client.check(&args.subscription).await.map_err(|failure| {
        let hint = hint(&Origin::Auth(args.auth), &failure);
        CliError::new("cannot sign in to Azure")
            .because(problem(&failure))
            .action(hint)
    })?;
    let machines = machines::scan(&client, &args.subscription).await;
    let scrubber = match args.output {
        Format::Text => None,
        Format::Json => Some(Scrubber::new()?),
    };
    let remedy = |failure: &AzureError| hint(&Origin::Auth(args.auth), failure);
    Ok(Report::new(&check, machines, scrubber, remedy))
}

#[derive(Debug)]
struct Unmetered;

impl RequestObserver for Unmetered {
    fn request(&self, _: &'static str, _: u16, _: Duration) {}
}
