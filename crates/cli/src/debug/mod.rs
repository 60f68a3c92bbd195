//! `serverprotection debug`: what a maintainer needs to understand a problem, without what identifies a customer.
//!
//! ```text
//! cluster, metrics ─▶ Collected (+ what could not be read) ─▶ Scrubber ─▶ files ─▶ tar.gz
//! ```
#![allow(clippy::doc_markdown)]

mod archive;
mod collect;
mod files;

#[cfg(test)]
mod tests;

use std::{path::PathBuf, process::ExitCode};

use clap::Args as ClapArgs;
use serverprotection_core::Timestamp;
use url::Url;

use crate::{cluster, endpoints, error::CliError, exit, scrub::Scrubber};

const EXAMPLES: &str = "\
Examples:
  All namespaces:
    serverprotection debug
  One namespace, with the logs of the controller:
    serverprotection debug --namespace team-a --logs --archive problem.tar.gz
  A controller that runs outside of the cluster:
    serverprotection debug --metrics-url http://127.0.0.1:8080/metrics

Exit codes:
  0    The archive was written.
  1    The archive was written, but something could not be read; errors.txt in the archive and standard error say what.
  2    The command failed: invalid flags, no cluster, or the archive cannot be written.";

/// Collect what a bug report needs in one archive, without secrets and identifying values
///
/// Reads the objects with their conditions, the Warning events, the flags and pods of the controller and its metrics
/// (requests and refusals by code, quota). It reads no Secret. Ids of tenants, subscriptions, applications and accounts,
/// names of subscriptions, resource groups, machines and tags, mail and IP addresses are replaced by aliases such as
/// guid-1. Names of namespaces and objects stay: read the archive before you share it.
#[derive(ClapArgs, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Read the objects and events of this namespace only [default: all namespaces]
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,

    #[command(flatten)]
    connection: cluster::Connection,

    /// Archive to write; an existing file is not overwritten [default: serverprotection-debug-TIME.tar.gz]
    #[arg(long, value_name = "FILE")]
    archive: Option<PathBuf>,

    /// Also collect the newest 2000 lines of each controller's log
    #[arg(long)]
    logs: bool,

    /// Read the metrics from this address instead of from the controller's pods
    #[arg(long, value_name = "URL", value_parser = endpoints::url)]
    metrics_url: Option<Url>,
}

/// Writes the archive and prints its path.
pub(crate) fn run(args: &Args) -> ExitCode {
    cluster::block_on(async {
        let now = Timestamp::now();
        let path = args.archive.clone().unwrap_or_else(|| default_path(now));
        let client = args.connection.open().await?;
        cluster::check_namespace(&client, args.namespace.as_deref()).await?;
        let file = archive::create(&path)?;
        let sources = collect::Sources {
            namespace: args.namespace.as_deref(),
            logs: args.logs,
            metrics_url: args.metrics_url.as_ref(),
        };
        let collected = collect::collect(&client, &sources).await;
        let files = files::render(&collected, Scrubber::new()?, now);
        archive::write(file, &path, &files, now)?;
        for failure in &collected.failures {
            exit::report(failure);
        }
        let code = if collected.failures.is_empty() {
            0
        } else {
            exit::NO
        };
        Ok(exit::print(&format!("{}\n", path.display()), code))
    })
}

/// In the current folder, with a time that sorts.
fn default_path(now: Timestamp) -> PathBuf {
    let time = now.strftime("%Y%m%dT%H%M%SZ");
    PathBuf::from(format!("serverprotection-debug-{time}.tar.gz"))
}

/// A file of the archive.
#[derive(Debug)]
struct File {
    name: String,
    content: String,
}

impl File {
    fn new(name: impl Into<String>, content: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            content: content.into(),
        }
    }
}

/// A failure to write the archive.
fn not_written(path: &std::path::Path, error: &std::io::Error) -> CliError {
    CliError::new(format!("cannot write {}", path.display()))
        .because(error)
        .action("name another file with --archive")
}
