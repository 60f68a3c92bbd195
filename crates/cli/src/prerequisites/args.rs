//! Flags of `serverprotection prerequisites`. Their doc comments are the text of `--help`.
#![allow(clippy::doc_markdown)]

use std::{fmt, path::PathBuf};

use clap::{Args as ClapArgs, ValueEnum};
use serverprotection_api::{Cloud, Tier};
use uuid::Uuid;

const EXAMPLES: &str = "\
Examples:
  A list to read, with the ServerProtection and AzureCredential beside the connector:
    serverprotection prerequisites -f clusters/prod/
  A connector alone: the plan and the tenant are flags then:
    serverprotection prerequisites -f connector.yaml --tier P2 --tenant-id 00000000-0000-0000-0000-00000000000a
  An AWS account, with CloudFormation:
    serverprotection prerequisites -f aws.yaml --output cloudformation > defender.yaml
    aws cloudformation deploy --stack-name defender --template-file defender.yaml --capabilities CAPABILITY_NAMED_IAM
  The same account, which Microsoft Sentinel was connected to before:
    serverprotection prerequisites -f aws.yaml --output cloudformation --existing-identity-provider
  A GCP project, with a script that can be repeated:
    serverprotection prerequisites -f gcp.yaml --output gcloud > prerequisites.sh
    less prerequisites.sh; bash prerequisites.sh
  One connector of a cluster:
    kubectl get secconn,serverprotection,azurecredential -n team -o yaml | \\
      serverprotection prerequisites -f - --name aws-prod --output terraform

Exit codes:
  0  printed
  2  wrong usage or input, nothing is printed: an object that admission would refuse, names that the cloud would
     refuse, a plan or tenant that nothing tells, a format that does not fit the cloud
  141 nobody reads the output any more";

/// The flags. What the command does is said where it is listed, in `main.rs`.
#[derive(ClapArgs, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// File or folder with SecurityConnector objects, or - for standard input. ServerProtection and AzureCredential
    /// objects beside them tell the plan and the tenant; other objects are left out
    #[arg(short = 'f', long = "filename", value_name = "FILE|-", required = true)]
    pub(crate) files: Vec<PathBuf>,

    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    pub(crate) output: Format,

    /// Only this connector of the input: NAME or NAMESPACE/NAME. Needed with several of them, except for text
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// Id of the Entra tenant of the Azure subscription [default: the tenant of the AzureCredential in the input];
    /// `az account show --query tenantId` tells it
    #[arg(long, value_name = "ID", value_parser = tenant)]
    pub(crate) tenant_id: Option<String>,

    /// Plan of connectors without spec.plan.tier [default: the plan of the ServerProtection in the input]
    #[arg(long, value_enum, ignore_case = true)]
    pub(crate) tier: Option<TierName>,

    /// AWS: the account has the identity provider of Defender for Cloud already, for instance because Microsoft Sentinel
    /// made it. It is not made again; the output says which audiences to add to it
    #[arg(long)]
    pub(crate) existing_identity_provider: bool,
}

/// How the prerequisites are written.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A list to read and tick off, for both clouds
    Text,
    /// A CloudFormation template in YAML, for AWS
    Cloudformation,
    /// A Terraform configuration, for both clouds
    Terraform,
    /// A script with gcloud commands, for GCP
    Gcloud,
}

impl Format {
    /// The formats that fit a cloud.
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

/// As in `spec.plan.tier`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TierName {
    /// Defender for Servers Plan 1
    #[value(name = "P1")]
    P1,
    /// Defender for Servers Plan 2
    #[value(name = "P2")]
    P2,
    /// Connected, without protection of its servers
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

/// A GUID in any spelling; in lower case.
pub(crate) fn tenant(text: &str) -> Result<String, String> {
    match Uuid::try_parse(text.trim()) {
        Ok(id) => Ok(id.hyphenated().to_string()),
        Err(_) => Err(
            "not the id of an Entra tenant, which is a GUID: az account show --query tenantId tells it"
                .into(),
        ),
    }
}
