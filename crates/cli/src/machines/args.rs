//! Flags of `serverprotection machines`. Their doc comments are the text of `--help`.
#![allow(clippy::doc_markdown)]

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};
use serverprotection_controller::Endpoints;
use serverprotection_core::{
    jiff::SignedDuration,
    machines::{Environment, Verdict},
};

use super::identity::Auth;

const EXAMPLES: &str = "\
Examples:
  Everything that the Azure CLI's login sees:
    serverprotection machines
  What is not as it should be, with remedies:
    serverprotection machines --verdict Failed,Missing,ArcDisconnected -o wide
  The subscriptions of a Git repository, in CI:
    serverprotection machines -f clusters/prod/ --auth environment -o csv > machines.csv
  The objects of a cluster, without giving this command access to it:
    kubectl get serverprotections -A -o yaml | serverprotection machines -f -
  How far the move from Defender for Endpoint is:
    serverprotection machines --management-group contoso --migration

Exit codes:
  0  everything could be read, and in every subscription the demanded percentage of the machines that should be
     protected is protected
  1  everything could be read, and in at least one subscription it is less
  2  failed, or not everything is known: wrong usage, no credential, a subscription or its machines may not be read,
     no machine that should be protected is visible at all
  130 and 141: ended by Ctrl-C, or because nobody reads the output any more; nothing is said about the machines";

/// Lists the machines of subscriptions, with a verdict on each: whether Defender for Servers protects it, and if not, why.
///
/// Reads Azure only (Resource Graph, and Azure Resource Manager to confirm what looks bad); writes nothing, and asks no
/// cluster. The machines of the subscriptions given with -f, --subscription and --management-group are listed; without
/// any of these, those of all subscriptions that the identity sees. The verdicts are explained in docs/verdicts.md.
#[derive(ClapArgs, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// File or folder with ServerProtection objects, or - for standard input: their subscriptions are read, with their
    /// spec.machines. AzureCredential objects with client secrets are used if their Secrets are in the input as well
    #[arg(short = 'f', long = "filename", value_name = "FILE|-")]
    pub(crate) files: Vec<PathBuf>,

    /// Id of a subscription; can be given several times
    #[arg(long = "subscription", value_name = "ID", value_parser = subscription, value_delimiter = ',')]
    pub(crate) subscriptions: Vec<String>,

    /// Id of a management group, whose subscriptions at any depth are read; can be given several times
    #[arg(long = "management-group", value_name = "NAME", value_delimiter = ',')]
    pub(crate) management_groups: Vec<String>,

    /// Print machines with these verdicts only; all machines are counted nevertheless
    #[arg(long = "verdict", value_name = "VERDICT", value_parser = verdict, value_delimiter = ',', conflicts_with = "migration")]
    pub(crate) verdicts: Vec<Verdict>,

    /// Print these environments only (Azure, OnPremises, AWS, GCP); all machines are counted nevertheless
    #[arg(long = "environment", value_name = "ENVIRONMENT", value_parser = environment, value_delimiter = ',')]
    pub(crate) environments: Vec<Environment>,

    /// Print the machines of these accounts only: ids of AWS accounts, numbers of GCP projects; all machines are counted
    /// nevertheless
    #[arg(long = "account", value_name = "ID", value_parser = account, value_delimiter = ',', conflicts_with = "migration")]
    pub(crate) accounts: Vec<String>,

    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,

    /// Report how far the move from Defender for Endpoint to Defender for Servers is, instead of listing machines
    #[arg(long)]
    pub(crate) migration: bool,

    /// How long a machine may wait for its extension [default: as the object says, else 24h]
    #[arg(long, value_name = "DURATION", value_parser = grace)]
    pub(crate) grace_period: Option<SignedDuration>,

    /// Percentage of machines that must be protected in every subscription [default: as the object says, else 100]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) minimum_protected_percent: Option<u8>,

    /// Who asks Azure [default: the AzureCredential of the input, else azure-cli]
    #[arg(long, value_enum)]
    pub(crate) auth: Option<Auth>,

    /// ID of the Entra tenant to sign in to with --auth azure-cli [default: the current tenant of the Azure CLI]
    #[arg(long, value_name = "ID")]
    pub(crate) tenant_id: Option<String>,

    #[command(flatten)]
    pub(crate) endpoints: Endpoints,

    /// No progress on standard error
    #[arg(long)]
    pub(crate) no_progress: bool,

    /// Neither progress nor notes on standard error
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// How the machines are written.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// One line for each machine
    Table,
    /// The same with system, extension, message, remedy and id; nothing is cut off
    Wide,
    /// One document with items and summary
    Json,
    /// A header and one record for each machine; the summary goes to standard error
    Csv,
}

/// A GUID in any casing, or the resource id of a subscription; the GUID in lower case.
pub(crate) fn subscription(text: &str) -> Result<String, String> {
    let id = text.trim().to_ascii_lowercase();
    let id = id.strip_prefix("/subscriptions/").unwrap_or(&id);
    let parts: Vec<_> = id.split('-').collect();
    let is_guid = parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        && parts
            .iter()
            .all(|part| part.bytes().all(|digit| digit.is_ascii_hexdigit()));
    if is_guid {
        Ok(id.to_owned())
    } else {
        Err("not the id of a subscription, which is a GUID: az account list -o table shows them".into())
    }
}

fn verdict(text: &str) -> Result<Verdict, String> {
    named(text, Verdict::ALL, Verdict::as_str)
}

fn environment(text: &str) -> Result<Environment, String> {
    named(text, Environment::ALL, Environment::as_str)
}

fn account(text: &str) -> Result<String, String> {
    let id = text.trim();
    if id.is_empty() {
        return Err("the id of an AWS account, or the number of a GCP project".into());
    }
    Ok(id.to_owned())
}

fn named<T: Copy, const N: usize>(text: &str, all: [T; N], name: fn(T) -> &'static str) -> Result<T, String> {
    let found = all
        .into_iter()
        .find(|one| name(*one).eq_ignore_ascii_case(text.trim()));
    found.ok_or_else(|| format!("must be one of {}", all.map(name).join(", ")))
}

/// As `spec.machines.gracePeriod`: from 1m to 720h.
pub(crate) fn grace(text: &str) -> Result<SignedDuration, String> {
    let duration = humantime::parse_duration(text.trim()).map_err(|error| error.to_string())?;
    let duration = SignedDuration::try_from(duration).map_err(|error| error.to_string())?;
    if (SignedDuration::from_mins(1)..=SignedDuration::from_hours(720)).contains(&duration) {
        Ok(duration)
    } else {
        Err("must lie between 1m and 720h".into())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn parse(words: &str) -> Result<Args, String> {
        let words = std::iter::once("machines").chain(words.split_whitespace());
        let parsed = Command::try_parse_from(words).map_err(|error| error.to_string());
        parsed.map(|command| command.args)
    }

    #[test]
    fn flags_are_read_in_every_spelling() {
        let args = parse(
            "-f a.yaml -f - --subscription /subscriptions/6F1C0D7E-0000-0000-0000-00000000000A --verdict failed,MISSING \
             --verdict plannotthere",
        );
        assert!(
            args.unwrap_err()
                .contains("must be one of Protected, Provisioning, Failed")
        );
        let args = parse(
            "-f a.yaml -f - --subscription /subscriptions/6F1C0D7E-0000-0000-0000-00000000000A --verdict failed,MISSING \
             --environment aws --environment onpremises --account 1,2 --account 3 -o wide --grace-period 90m --minimum-protected-percent 95 \
             --auth managed-identity --cloud us-government",
        )
        .unwrap();
        assert_eq!(args.files, [PathBuf::from("a.yaml"), PathBuf::from("-")]);
        assert_eq!(args.subscriptions, ["6f1c0d7e-0000-0000-0000-00000000000a"]);
        assert_eq!(args.verdicts, [Verdict::Failed, Verdict::Missing]);
        assert_eq!(args.environments, [Environment::Aws, Environment::OnPremises]);
        assert_eq!(args.accounts, ["1", "2", "3"]);
        assert_eq!(args.output, Format::Wide);
        assert_eq!(args.grace_period, Some(SignedDuration::from_mins(90)));
        assert_eq!(args.minimum_protected_percent, Some(95));
        assert_eq!(args.auth, Some(Auth::ManagedIdentity));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_would() {
        for (words, expected_text) in [
            ("--subscription contoso", "az account list"),
            ("--environment Alibaba", "Azure, OnPremises, AWS, GCP"),
            ("--grace-period 30s", "between 1m and 720h"),
            ("--minimum-protected-percent 0", "1..=100"),
            ("--migration --verdict Failed", "cannot be used with"),
            ("--migration --account 1", "cannot be used with"),
            ("--account 1,,2", "number of a GCP project"),
            ("-o yaml", "possible values"),
            ("--auth browser", "azure-cli"),
        ] {
            let error = parse(words).unwrap_err();
            assert!(error.contains(expected_text), "{words}: {error}");
        }
    }
}
