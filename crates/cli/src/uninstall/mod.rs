//! `serverprotection uninstall --check`: what a deletion would do in Azure, what would wait, and the safe order.
//!
//! ```text
//! cluster ─▶ Facts ─▶ plan (pure: core's decision about deletions) ─▶ Report ─▶ text | JSON
//! ```
#![allow(clippy::doc_markdown)]

mod plan;
mod text;

#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::{Args as ClapArgs, ValueEnum};
use kube::{Client, ResourceExt as _};
use plan::{Controller, Facts};
use serverprotection_core::Timestamp;

use crate::{cluster, error::CliError, exit};

const EXAMPLES: &str = "\
Examples:
  Before you delete objects, namespaces, definitions or the controller:
    serverprotection uninstall --check
  One namespace:
    serverprotection uninstall --check --namespace team-a
  The connectors that would be deleted in Azure:
    serverprotection uninstall --check -o json | jq '.objects[] | select(.azure == \"ConnectorDeleted\")'

Exit codes:
  0    Deleting everything changes nothing in Azure, and nothing would wait.
  1    A deletion would delete a connector in Azure, its effect is unknown, or it would wait for something.
  2    The command failed: invalid flags, or the cluster cannot be read.
  141  The output pipe was closed (SIGPIPE).

docs/uninstall.md explains the order and the ways out.";

/// Check what an uninstallation would do: in Azure, and to objects that wait for their finalizers
///
/// Reads the objects, the definitions and the Deployment of the controller, and says which deletion would delete a
/// connector in Azure, which one would never end, and in which order to delete. It changes nothing, in the cluster or in
/// Azure. The cluster is found as kubectl does: by --kubeconfig, KUBECONFIG or the pod's service account.
#[derive(ClapArgs, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Only check. Required: this command deletes nothing, and prints the commands that do
    #[arg(long, required = true)]
    check: bool,

    /// Read only this namespace [default: all namespaces]
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,

    #[command(flatten)]
    connection: cluster::Connection,

    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// Output formats.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// What would happen, then the steps
    Text,
    /// One JSON document with safe, controllers, definitions, objects and steps
    Json,
}

/// Prints what an uninstallation would do.
pub(crate) fn run(args: &Args) -> ExitCode {
    debug_assert!(args.check);
    cluster::block_on(async {
        let facts = read(&args.connection, args.namespace.as_deref()).await?;
        let report = plan::plan(&facts, Timestamp::now());
        let code = if report.safe { 0 } else { exit::NO };
        let text = match args.output {
            Format::Text => text::render(&report),
            Format::Json => {
                let text = serde_json::to_string_pretty(&report);
                text.map_err(|error| CliError::new("cannot write the result as JSON").because(error))? + "\n"
            }
        };
        Ok(exit::print(&text, code))
    })
}

async fn read(connection: &cluster::Connection, namespace: Option<&str>) -> Result<Facts, CliError> {
    let client = connection.open().await?;
    cluster::check_namespace(&client, namespace).await?;
    let mut facts = Facts {
        namespace: namespace.map(str::to_owned),
        ..Facts::default()
    };
    for kind in cluster::KINDS {
        let objects = cluster::list(&client, kind, namespace).await?;
        for object in objects.into_iter().flatten() {
            facts.objects.push((kind.0.to_owned(), object));
        }
    }
    if let Err(error) = read_installation(&client, &mut facts).await {
        // The owner of a namespace may not see the installation.
        if namespace.is_none() {
            return Err(error);
        }
        facts.unread = Some(error.to_string());
    }
    Ok(facts)
}

async fn read_installation(client: &Client, facts: &mut Facts) -> Result<(), CliError> {
    // The controller may run in another namespace than the objects.
    for deployment in cluster::controllers(client, None).await? {
        let status = deployment.status.as_ref();
        facts.controllers.push(Controller {
            namespace: deployment.namespace().unwrap_or_default(),
            name: deployment.name_any(),
            ready: status
                .and_then(|status| status.ready_replicas)
                .unwrap_or_default()
                > 0,
        });
    }
    for definition in cluster::definitions(client).await? {
        let deleting = cluster::is_deleting(&definition);
        facts.definitions.push((definition.name_any(), deleting));
    }
    Ok(())
}
