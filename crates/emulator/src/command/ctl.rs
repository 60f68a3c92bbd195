//! `azure-emulator ctl`: a client of the control endpoint.

use std::{fs, io::Write as _, path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use reqwest::{Client, Method};
use serde_json::{Map, Value, json};

/// Inspect and change a running emulator.
#[derive(Debug, Args)]
pub(super) struct Ctl {
    /// URL of the emulator.
    #[arg(
        long,
        env = "AZURE_EMULATOR_ENDPOINT",
        default_value = "https://127.0.0.1:8443",
        global = true
    )]
    endpoint: String,
    /// CA certificate of the emulator (PEM). Without it the server certificate is not verified,
    /// because the control endpoint carries no secrets.
    #[arg(long, env = "AZURE_EMULATOR_CA", global = true)]
    ca: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show one subscription, or list all.
    Get {
        /// Subscription id.
        subscription: Option<String>,
    },
    /// Change a subscription directly, without a request to the emulated Azure.
    ///
    /// azure-emulator ctl set 00000000-0000-0000-0000-000000000001 settings.WDATP=false pricings.VirtualMachines.subPlan=P1
    #[command(verbatim_doc_comment)]
    Set {
        /// Subscription id.
        subscription: String,
        /// Dotted paths: settings.NAME, pricings.PLAN.pricingTier, pricings.PLAN.subPlan, pricings.PLAN.enforce,
        /// pricings.PLAN.extensions.NAME.isEnabled, pricings.PLAN.extensions.NAME.additionalExtensionProperties.KEY,
        /// serverVulnerabilityAssessmentsSettings.azureServersSetting=MdeTvm|null, providers.NAMESPACE=NotRegistered,
        /// registrationStuck=true, state=Disabled, lockLevel=ReadOnly|CanNotDelete|null,
        /// denyPolicyAssignment=NAME|null, resourcePricings.ID=P1|Free|null, securityConnectors.NAME=null,
        /// securityConnectors.NAME.offerings.TYPE[.path], securityConnectors.NAME.tags.NAME.
        /// PLAN is the name of a plan in Azure. docs/emulator.md lists all paths.
        #[arg(required = true, value_name = "PATH=VALUE", verbatim_doc_comment)]
        values: Vec<String>,
    },
    /// Show, add, change or delete machines, without a request to the emulated Azure.
    ///
    /// azure-emulator ctl machine add SUB '{name: web-1, os: windows-2022}'
    /// azure-emulator ctl machine set SUB web-1 powerState=deallocated
    /// azure-emulator ctl machine set SUB web-1 mde.provisioningState=Failed mde.code=25
    #[command(verbatim_doc_comment)]
    Machine {
        #[command(subcommand)]
        what: Machine,
    },
    /// Advance the clock of the machines; everything due by then has happened.
    Advance {
        /// A duration, for example 2h.
        duration: String,
    },
    /// Show the request log.
    Requests {
        /// Only requests to this subscription.
        #[arg(long)]
        subscription: Option<String>,
        /// Only requests after this number.
        #[arg(long, default_value_t = 0)]
        since: u64,
        /// Kind of requests: arm, token, metadata or all.
        #[arg(long, default_value = "all")]
        kind: String,
        /// Show counts instead of entries.
        #[arg(long)]
        summary: bool,
        /// Delete the entries.
        #[arg(long)]
        clear: bool,
    },
    /// Show the breaches found by the safety monitor; exit code 1 if there are any.
    Breaches {
        /// Delete them.
        #[arg(long)]
        clear: bool,
    },
    /// Show, add or remove faults.
    ///
    /// azure-emulator ctl faults add '{"match":{"method":"PUT","path":"pricings","times":1},"action":{"respond":{"status":503}}}'
    /// azure-emulator ctl faults add '{"match":{"path":"ResourceGraph/resources","skip":1,"times":1},"action":{"graph":"partialPages"}}'
    ///
    /// Actions: respond, reset, truncate, byteOrderMark, delay, hang; and for responses of Resource Graph: graph with
    /// partialPages, duplicateRows, truncated, leaveOut, alter or replace.
    #[command(verbatim_doc_comment)]
    Faults {
        #[command(subcommand)]
        what: Option<Faults>,
    },
    /// Show the management groups, or set some: NAME=SUBSCRIPTION,SUBSCRIPTION, or NAME=null to remove.
    ManagementGroups {
        /// Groups to set.
        values: Vec<String>,
    },
    /// Show the accounts of other clouds, or change them with a merge patch (JSON or YAML).
    ///
    /// azure-emulator ctl cloud-accounts '{aws: {"123456789012": {identityProvider: missing}}}'
    #[command(verbatim_doc_comment)]
    CloudAccounts {
        /// The patch.
        patch: Option<String>,
    },
    /// Apply a seed document (YAML or JSON) to the cloud.
    Seed {
        /// Path of the file; `-` reads standard input.
        file: PathBuf,
    },
    /// Show the switches, or set some: NAME=ANSWER, or all=alternate.
    Switches {
        /// Switches to set.
        values: Vec<String>,
    },
    /// Show the options, or set some: latency=50ms pricingLockTime=1s throttling=false.
    ///
    /// Of Resource Graph: graphQuota=15 (0: no quota) graphQuotaWindow=5s graphTokenLifetime=10m graphLag=30s.
    Options {
        /// Options to set.
        values: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
enum Machine {
    /// List the machines of a subscription.
    List {
        /// Subscription id.
        subscription: String,
    },
    /// Show one machine.
    Get {
        /// Subscription id.
        subscription: String,
        /// NAME or RESOURCEGROUP/NAME.
        name: String,
    },
    /// Add one machine or a list, as JSON or YAML with the members of the seed.
    Add {
        /// Subscription id.
        subscription: String,
        /// The machine, or a list of machines.
        document: String,
    },
    /// Change one machine.
    Set {
        /// Subscription id.
        subscription: String,
        /// NAME or RESOURCEGROUP/NAME.
        name: String,
        /// powerState=, os=, provisioningFailureCode=CODE|null, neverProvisioned=, healthReport=NotHealthy, arc.status=,
        /// arc.lastStatusChange=3d, arc.extensionsEnabled=, arc.configMode=monitor, arc.extensionService=, mde=none,
        /// mde.provisioningState=, mde.code=, mde.message=, tags.NAME=.
        #[arg(required = true, value_name = "PATH=VALUE", verbatim_doc_comment)]
        values: Vec<String>,
    },
    /// Delete one machine.
    Delete {
        /// Subscription id.
        subscription: String,
        /// NAME or RESOURCEGROUP/NAME.
        name: String,
    },
}

impl Machine {
    fn request(&self) -> Result<(Method, String, Option<String>), String> {
        let all = |subscription: &str| format!("subscriptions/{subscription}/machines");
        Ok(match self {
            Self::List { subscription } => (Method::GET, all(subscription), None),
            Self::Get { subscription, name } => (Method::GET, format!("{}/{name}", all(subscription)), None),
            Self::Add {
                subscription,
                document,
            } => (Method::POST, all(subscription), Some(document.clone())),
            Self::Set {
                subscription,
                name,
                values,
            } => {
                let body = json!({"set": assignments(values)?}).to_string();
                (Method::PATCH, format!("{}/{name}", all(subscription)), Some(body))
            }
            Self::Delete { subscription, name } => {
                (Method::DELETE, format!("{}/{name}", all(subscription)), None)
            }
        })
    }
}

#[derive(Debug, Subcommand)]
enum Faults {
    /// List the faults with their counters.
    List,
    /// Add a fault, as JSON or YAML.
    Add {
        /// The fault.
        document: String,
    },
    /// Remove a fault and release the requests that hang on it.
    Remove {
        /// Id of the fault.
        id: String,
    },
    /// Remove all faults.
    Clear,
}

impl Ctl {
    pub(super) async fn run(self) -> Result<ExitCode, String> {
        let (method, path, body) = self.what.request()?;
        let answer = self.ask(method, &path, body).await?;
        if answer != Value::Null
            && let Some(code) = print(&answer)?
        {
            return Ok(code);
        }
        let breached = matches!(self.what, What::Breaches { clear: false })
            && answer.get("count").and_then(Value::as_u64).unwrap_or_default() > 0;
        Ok(ExitCode::from(u8::from(breached)))
    }

    async fn ask(&self, method: Method, path: &str, body: Option<String>) -> Result<Value, String> {
        let mut builder = Client::builder();
        builder = match &self.ca {
            Some(path) => {
                let pem = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
                let ca = reqwest::Certificate::from_pem(&pem).map_err(|error| error.to_string())?;
                builder.tls_certs_only([ca])
            }
            None => builder.tls_danger_accept_invalid_certs(true),
        };
        let client = builder.build().map_err(|error| error.to_string())?;
        let url = format!("{}/_emulator/{path}", self.endpoint.trim_end_matches('/'));
        let mut request = client.request(method, &url);
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await.map_err(|error| {
            let mut cause: &dyn std::error::Error = &error;
            while let Some(next) = cause.source() {
                cause = next;
            }
            format!("{url}: {cause}")
        })?;
        let status = response.status();
        let text = response.text().await.map_err(|error| error.to_string())?;
        if !status.is_success() {
            return Err(format!("{status}: {text}"));
        }
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }
}

impl What {
    fn request(&self) -> Result<(Method, String, Option<String>), String> {
        Ok(match self {
            Self::Get { subscription: None } => (Method::GET, "subscriptions".into(), None),
            Self::Get {
                subscription: Some(id),
            } => (Method::GET, format!("subscriptions/{id}"), None),
            Self::Set { subscription, values } => {
                let body = json!({"set": assignments(values)?}).to_string();
                (Method::PATCH, format!("subscriptions/{subscription}"), Some(body))
            }
            Self::Machine { what } => what.request()?,
            Self::Advance { duration } => (
                Method::PUT,
                "clock".into(),
                Some(json!({"advance": duration}).to_string()),
            ),
            Self::Requests { clear: true, .. } => (Method::DELETE, "requests".into(), None),
            Self::Requests {
                subscription,
                since,
                kind,
                summary,
                ..
            } => {
                let path = if *summary { "requests/summary" } else { "requests" };
                let id = subscription.as_deref().unwrap_or_default();
                (
                    Method::GET,
                    format!("{path}?subscription={id}&since={since}&kind={kind}"),
                    None,
                )
            }
            Self::Breaches { clear } => (
                if *clear { Method::DELETE } else { Method::GET },
                "breaches".into(),
                None,
            ),
            Self::Faults {
                what: None | Some(Faults::List),
            } => (Method::GET, "faults".into(), None),
            Self::Faults {
                what: Some(Faults::Add { document }),
            } => (Method::POST, "faults".into(), Some(document.clone())),
            Self::Faults {
                what: Some(Faults::Remove { id }),
            } => (Method::DELETE, format!("faults/{id}"), None),
            Self::Faults {
                what: Some(Faults::Clear),
            } => (Method::DELETE, "faults".into(), None),
            Self::Seed { file } => {
                let text = if file.as_os_str() == "-" {
                    std::io::read_to_string(std::io::stdin())
                } else {
                    fs::read_to_string(file)
                };
                let text = text.map_err(|error| format!("{}: {error}", file.display()))?;
                (Method::POST, "seed".into(), Some(text))
            }
            Self::ManagementGroups { values } if values.is_empty() => {
                (Method::GET, "management-groups".into(), None)
            }
            Self::ManagementGroups { values } => {
                let body = Value::Object(assignments(values)?).to_string();
                (Method::PATCH, "management-groups".into(), Some(body))
            }
            Self::CloudAccounts { patch } => {
                let method = if patch.is_some() {
                    Method::PATCH
                } else {
                    Method::GET
                };
                (method, "cloud-accounts".into(), patch.clone())
            }
            Self::Switches { values } => set_or_show("switches", values)?,
            Self::Options { values } => set_or_show("options", values)?,
        })
    }
}

fn set_or_show(path: &str, values: &[String]) -> Result<(Method, String, Option<String>), String> {
    Ok(if values.is_empty() {
        (Method::GET, path.into(), None)
    } else {
        (
            Method::PUT,
            path.into(),
            Some(Value::Object(assignments(values)?).to_string()),
        )
    })
}

/// Parses `a=b` pairs; a value that is valid JSON is used as JSON.
fn assignments(values: &[String]) -> Result<Map<String, Value>, String> {
    values
        .iter()
        .map(|value| {
            let (name, value) = value
                .split_once('=')
                .ok_or_else(|| format!("{value}: expected NAME=VALUE"))?;
            let parsed = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
            Ok((name.to_owned(), parsed))
        })
        .collect()
}

/// Prints the answer. `Some` if the reader closed the pipe, as `head` does: the command then ends quietly, with the exit
/// code that a shell reports for SIGPIPE.
///
/// # Errors
///
/// Fails if standard output cannot be written for another reason.
fn print(answer: &Value) -> Result<Option<ExitCode>, String> {
    match std::io::stdout().write_all(format!("{answer:#}\n").as_bytes()) {
        Ok(()) => Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Some(ExitCode::from(141))),
        Err(error) => Err(format!("cannot write to standard output: {error}")),
    }
}
