//! Flags of `serverprotection prerequisites`. Their doc comments are the text of `--help`.
#![allow(clippy::doc_markdown)]

use std::{fmt, path::PathBuf};

use clap::{Args as ClapArgs, ValueEnum};
use serverprotection_api::{Cloud, Tier};
use uuid::Uuid;

const EXAMPLES: &str = "\
Examples:
  A checklist for the connectors of a folder that also has their ServerProtection and AzureCredential:
    serverprotection prerequisites -f clusters/prod/
  A connector without these objects; flags set the plan and the tenant:
    serverprotection prerequisites -f connector.yaml --tier P2 --tenant-id 00000000-0000-0000-0000-00000000000a
  A CloudFormation template for an AWS account:
    serverprotection prerequisites -f aws.yaml -o cloudformation > defender.yaml
    aws cloudformation deploy --stack-name defender-for-cloud --template-file defender.yaml \\
      --capabilities CAPABILITY_NAMED_IAM
  The same for an account that is already connected to Microsoft Sentinel:
    serverprotection prerequisites -f aws.yaml -o cloudformation --existing-identity-provider > defender.yaml
  A script for a GCP project; review it, then run it:
    serverprotection prerequisites -f gcp.yaml -o gcloud > prerequisites.sh
    bash prerequisites.sh
  One connector of a cluster:
    kubectl get secconn,serverprotection,azurecredential -n team -o yaml | \\
      serverprotection prerequisites -f - --name aws-prod -o terraform > main.tf

Exit codes:
  0    The prerequisites were printed.
  2    Nothing was printed: invalid flags or input, an object that admission would refuse, a name that the cloud would
       refuse, an unknown plan or tenant, or an output format that does not fit the cloud.
  141  The output pipe was closed (SIGPIPE); the output is incomplete.";

/// Print what an AWS account or GCP project needs for a SecurityConnector: a checklist, or a template that creates it
///
/// Prints exactly what this connector needs: roles with their trust, identity provider or workload identity pool, service
/// accounts, APIs. Parts that the spec disables are left out: no role for agentless scanning without plan P2, none for
/// Azure Arc if arcAgent is Disabled. Parts that are Unmanaged are included, because they may be on in Azure.
///
/// The connector is checked by the rules of the API server. The command needs no access to a cluster or cloud, and
/// creates nothing.
#[derive(ClapArgs, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// File or folder with SecurityConnector objects, or - for standard input. ServerProtection and AzureCredential
    /// objects in the input set the plan and the tenant; other objects are ignored. Repeatable
    #[arg(short = 'f', long = "filename", value_name = "FILE|-", required = true)]
    pub(crate) files: Vec<PathBuf>,

    /// Also read the sub-folders of the folders of -f
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,

    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    pub(crate) output: Format,

    /// Print only this connector: NAME or NAMESPACE/NAME. Required if the input has several connectors, except with
    /// --output text
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// ID of the Entra tenant of the Azure subscription; az account show --query tenantId prints it [default: the tenant
    /// of the AzureCredential in the input]
    #[arg(long, value_name = "ID", value_parser = tenant)]
    pub(crate) tenant_id: Option<String>,

    /// Plan of connectors without spec.plan.tier [default: the plan of the ServerProtection in the input]
    #[arg(long, value_enum, ignore_case = true)]
    pub(crate) tier: Option<TierName>,

    /// AWS only: the account already has the identity provider of Defender for Cloud, for example because Microsoft
    /// Sentinel created it. The output does not create it and lists the audiences to add to it
    #[arg(long)]
    pub(crate) existing_identity_provider: bool,
}

/// Output formats.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A checklist, for both clouds
    Text,
    /// A CloudFormation template in YAML, for AWS
    Cloudformation,
    /// A Terraform configuration, for both clouds
    Terraform,
    /// A bash script with gcloud commands, for GCP; safe to run again
    Gcloud,
}

impl Format {
    /// The formats for a cloud.
    pub(crate) const fn of(cloud: Cloud) -> [Self; 3] {
        match cloud {
            Cloud::AWS => [Self::Text, Self::Cloudformation, Self::Terraform],
            Cloud::GCP => [Self::Text, Self::Gcloud, Self::Terraform],
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Cloudformation => "cloudformation",
            Self::Terraform => "terraform",
            Self::Gcloud => "gcloud",
        })
    }
}

/// The values of `spec.plan.tier`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TierName {
    /// Defender for Servers Plan 1
    #[value(name = "P1")]
    P1,
    /// Defender for Servers Plan 2
    #[value(name = "P2")]
    P2,
    /// Connected, but the servers are not protected
    #[value(name = "Free")]
    Free,
}

impl From<TierName> for Tier {
    fn from(name: TierName) -> Self {
        match name {
            TierName::P1 => Self::P1,
            TierName::P2 => Self::P2,
            TierName::Free => Self::Free,
        }
    }
}

/// Parses a GUID in any form. Returns it in lower case with hyphens.
pub(crate) fn tenant(text: &str) -> Result<String, String> {
    match Uuid::try_parse(text.trim()) {
        Ok(id) => Ok(id.hyphenated().to_string()),
        Err(_) => Err(
            "must be the ID of an Entra tenant, which is a GUID (az account show --query tenantId prints it)"
                .into(),
        ),
    }
}
