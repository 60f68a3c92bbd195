//! Flags of `serverprotection machines`. Their doc comments are the text of `--help`.
#![allow(clippy::doc_markdown)]

use std::{ffi::OsStr, path::PathBuf};

use clap::{
    Args as ClapArgs, ValueEnum,
    builder::{PossibleValue, TypedValueParser},
};
use serverprotection_core::{
    jiff::SignedDuration,
    machines::{Environment, Verdict},
};

use super::identity::Auth;
use crate::endpoints::Endpoints;

const EXAMPLES: &str = "\
Examples:
  All subscriptions that the login of the Azure CLI can see:
    serverprotection machines
  Machines with problems, with messages and remedies:
    serverprotection machines --verdict Failed,Missing,ArcDisconnected -o wide
  The subscriptions of a Git repository, in CI:
    serverprotection machines -f clusters/prod/ --auth environment -o csv > machines.csv
  The objects of a cluster; the command itself needs no access to the cluster:
    kubectl get serverprotections -A -o yaml | serverprotection machines -f -
  Progress of the migration from Defender for Endpoint:
    serverprotection machines --management-group contoso --migration

Exit codes:
  0    All subscriptions were read, and each has at least the required percentage of protected machines.
  1    All subscriptions were read, and at least one has less than the required percentage.
  2    The command failed or the result is incomplete: invalid flags or input, no credential, a subscription or its
       machines cannot be read, or no machine that should be protected is visible.
  130  Interrupted by Ctrl-C; the result is incomplete.
  141  The output pipe was closed (SIGPIPE); the result is incomplete.";

/// List the machines of Azure subscriptions: whether Defender for Servers protects each one, and if not, why
///
/// Reads the subscriptions that -f, --subscription and --management-group select, or all subscriptions that the identity
/// can see. The command reads Azure only (Resource Graph, and Azure Resource Manager to confirm bad verdicts). It needs
/// no cluster and changes nothing. docs/verdicts.md explains the verdicts.
#[derive(ClapArgs, Clone, Debug)]
#[command(after_help = EXAMPLES)]
#[allow(clippy::struct_excessive_bools, reason = "each one is a flag")]
pub(crate) struct Args {
    /// File or folder with ServerProtection objects, or - for standard input. Reads their subscriptions and applies their
    /// spec.machines. An AzureCredential with a client secret is used if its Secret is in the input too. Repeatable
    #[arg(short = 'f', long = "filename", value_name = "FILE|-")]
    pub(crate) files: Vec<PathBuf>,

    /// Also read the sub-folders of the folders of -f
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,

    /// Read this subscription. Repeatable, or separated by commas
    #[arg(long = "subscription", value_name = "ID", value_parser = subscription, value_delimiter = ',')]
    pub(crate) subscriptions: Vec<String>,

    /// Read the subscriptions below this management group, at any depth: its ID, not its display name. Repeatable, or
    /// separated by commas
    #[arg(long = "management-group", value_name = "ID", value_delimiter = ',')]
    pub(crate) management_groups: Vec<String>,

    /// Print only machines with these verdicts, for example Failed,Missing. Does not change the counts and the exit code
    #[arg(long = "verdict", value_name = "VERDICT", value_parser = NameParser::new(Verdict::ALL, Verdict::as_str), value_delimiter = ',', conflicts_with = "migration")]
    pub(crate) verdicts: Vec<Verdict>,

    /// Print only machines of these environments: Azure, OnPremises, AWS, GCP. Does not change the counts and the exit
    /// code
    #[arg(long = "environment", value_name = "ENVIRONMENT", value_parser = NameParser::new(Environment::ALL, Environment::as_str), value_delimiter = ',')]
    pub(crate) environments: Vec<Environment>,

    /// Print only machines of these accounts: IDs of AWS accounts or numbers of GCP projects. Does not change the counts
    /// and the exit code
    #[arg(long = "account", value_name = "ID", value_parser = account, value_delimiter = ',', conflicts_with = "migration")]
    pub(crate) accounts: Vec<String>,

    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,

    /// Report the progress of the migration from Defender for Endpoint to Defender for Servers instead of listing
    /// machines
    #[arg(long)]
    pub(crate) migration: bool,

    /// How long a new machine may lack its extension before it counts as Missing; between 1m and 720h [default: the value
    /// of the object, or 24h]
    #[arg(long, value_name = "DURATION", value_parser = grace)]
    pub(crate) grace_period: Option<SignedDuration>,

    /// Percentage of machines that must be protected in each subscription [default: the value of the object, or 100]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) minimum_protected_percent: Option<u8>,

    /// How to authenticate to Azure [default: the AzureCredential in the input, or azure-cli]
    #[arg(long, value_enum)]
    pub(crate) auth: Option<Auth>,

    /// ID of the Entra tenant to sign in to with --auth azure-cli [default: the current tenant of the Azure CLI]
    #[arg(long, value_name = "ID")]
    pub(crate) tenant_id: Option<String>,

    #[command(flatten)]
    pub(crate) endpoints: Endpoints,

    /// Do not show progress on standard error
    #[arg(long)]
    pub(crate) no_progress: bool,

    /// Show neither progress nor notes on standard error
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Output formats.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// One line per machine, with long texts truncated, then a summary
    Table,
    /// Like table, with operating system, extension version, message, remedy and resource ID, and without truncation
    Wide,
    /// One JSON document with items and summary
    Json,
    /// A header and one record per machine; the summary goes to standard error
    Csv,
}

/// Parses a GUID in any case, or the resource ID of a subscription. Returns the GUID in lower case.
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
        Err(
            "must be the ID of a subscription, which is a GUID (az account list -o table shows the IDs)"
                .into(),
        )
    }
}

fn account(text: &str) -> Result<String, String> {
    let id = text.trim();
    if id.is_empty() {
        return Err("must be the ID of an AWS account or the number of a GCP project".into());
    }
    Ok(id.to_owned())
}

/// Accepts the names of a closed set in any case, and shows them to `--help` and the completion of shells. The set belongs
/// to another crate, so it cannot be a `ValueEnum`.
#[derive(Clone)]
struct NameParser<T> {
    all: Vec<T>,
    name: fn(T) -> &'static str,
}

impl<T: Copy> NameParser<T> {
    fn new(all: impl IntoIterator<Item = T>, name: fn(T) -> &'static str) -> Self {
        Self {
            all: all.into_iter().collect(),
            name,
        }
    }
}

impl<T: Copy + Send + Sync + 'static> TypedValueParser for NameParser<T> {
    type Value = T;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<T, clap::Error> {
        let text = value.to_string_lossy();
        let mut all = self.all.iter();
        if let Some(found) = all.find(|one| (self.name)(**one).eq_ignore_ascii_case(text.trim())) {
            return Ok(*found);
        }
        let names: Vec<_> = self.all.iter().map(|one| (self.name)(*one)).collect();
        // Only for its error, which lists the names and the nearest one.
        clap::builder::PossibleValuesParser::new(names)
            .parse_ref(command, argument, value)
            .and_then(|text| {
                Err(clap::Error::raw(
                    clap::error::ErrorKind::InvalidValue,
                    format!("{text} is not a known name"),
                ))
            })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(
            self.all.iter().map(|one| PossibleValue::new((self.name)(*one))),
        ))
    }
}

/// Parses a duration from 1m to 720h, the range of `spec.machines.gracePeriod`.
pub(crate) fn grace(text: &str) -> Result<SignedDuration, String> {
    let duration = humantime::parse_duration(text.trim())
        .map_err(|_| "must be a duration, for example 90m, 24h or 7d".to_owned())?;
    let duration = SignedDuration::try_from(duration).map_err(|error| error.to_string())?;
    if (SignedDuration::from_mins(1)..=SignedDuration::from_hours(720)).contains(&duration) {
        Ok(duration)
    } else {
        Err("must be between 1m and 720h".into())
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
    fn values_are_accepted_in_any_case() {
        let args = parse(
            "-f a.yaml -f - --subscription /subscriptions/6F1C0D7E-0000-0000-0000-00000000000A --verdict failed,MISSING \
             --verdict plannotthere",
        );
        assert!(
            args.unwrap_err()
                .contains("[possible values: Protected, Provisioning, Failed")
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
    fn an_invalid_value_is_refused_with_valid_ones() {
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
