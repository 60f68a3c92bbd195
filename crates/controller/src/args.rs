//! Flags of `serverprotection controller`. Their doc comments are the text of `--help`.
#![allow(clippy::doc_markdown)]

use std::{net::SocketAddr, time::Duration};

use clap::{Args as ClapArgs, ValueEnum};

/// Run the controller
///
/// Watches ServerProtection, SecurityConnector, AzureCredential and ClusterAzureCredential objects and keeps the
/// Microsoft Defender for Servers configuration of their Azure subscriptions equal to what they declare.
///
/// The controller finds the cluster as kubectl does: by KUBECONFIG, or by the pod's service account. The cloud and its
/// endpoints are flags of the controller and never fields of an object, so no object can redirect token requests.
#[derive(ClapArgs, Clone, Debug)]
pub struct Args {
    /// Watch only this namespace [default: all namespaces]. Claims on subscriptions are then decided only between
    /// objects of this namespace, and ClusterAzureCredentials are not used
    #[arg(long, value_name = "NAMESPACE")]
    pub watch_namespace: Option<String>,

    /// Namespace of the Secrets and service accounts of ClusterAzureCredentials [default: the namespace of the pod, or
    /// of the kubeconfig]
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE")]
    pub operator_namespace: Option<String>,

    /// Maximum number of objects to reconcile at the same time
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=512))]
    pub concurrency: u16,

    /// Retry interval for errors that need user action (credential, permission, policy); at most 5m
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = blocked_retry_interval)]
    pub blocked_retry_interval: Duration,

    /// Time after which the registration of a resource provider counts as stuck
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = duration)]
    pub registration_timeout: Duration,

    /// Time after which a failing deletion in Azure is given up and the finalizer is removed (for tests)
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration, hide = true)]
    pub deletion_deadline: Duration,

    /// Time after which an object whose access to Azure is denied loses its subscription or connector to another object
    /// that may write it and waits
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration)]
    pub claim_lapse_after: Duration,

    /// The same for an object whose access is unknown because Azure or Entra does not answer (for tests)
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = duration, hide = true)]
    pub claim_unknown_lapse_after: Duration,

    /// Time for which a subscription or connector is kept for the namespace of an owner that was deleted (for tests)
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration, hide = true)]
    pub claim_reserve: Duration,

    /// Reconcile every object at this interval instead of its spec.interval (for tests)
    #[arg(long, value_name = "DURATION", value_parser = duration, hide = true)]
    pub reconcile_every: Option<Duration>,

    /// Interval between machine scans of each identity, with 10 % jitter; between 1s and 24h
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = scan_interval)]
    pub machine_scan_interval: Duration,

    /// Write without a Lease, for a single process outside a cluster. Two processes without one write at the same time
    #[arg(long)]
    pub no_leader_election: bool,

    /// Name of the Lease that the replicas share; only its holder reconciles objects
    #[arg(long, value_name = "NAME", default_value = "serverprotection-controller")]
    pub lease_name: String,

    /// Namespace of the Lease [default: POD_NAMESPACE, or else the namespace of the service account or kubeconfig]
    #[arg(long, value_name = "NAMESPACE")]
    pub lease_namespace: Option<String>,

    /// How long the other replicas wait for a leader that does not renew its Lease, in whole seconds
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = whole_seconds)]
    pub lease_duration: Duration,

    /// How long a leader that cannot renew its Lease still writes; shorter than --lease-duration
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub lease_renew_deadline: Duration,

    /// Time between two renewals; at most half of --lease-renew-deadline
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    pub lease_retry_period: Duration,

    /// Run although no admission policy restricts the controller, for runs with the kubeconfig of an administrator.
    /// Without this flag the controller checks that the policies of deploy/base refuse what it must not do: other tokens
    /// of service accounts, and writes to SecurityConnectors other than of its finalizer
    #[arg(long)]
    pub allow_unrestricted_tokens: bool,

    /// Also export machine counts per object: one series per object and verdict, with the labels namespace, name and
    /// verdict
    #[arg(long)]
    pub per_object_metrics: bool,

    /// Address that serves /metrics, /healthz and /readyz
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,

    /// Log format. The environment variable RUST_LOG sets the log level and filters, for example info or
    /// serverprotection_controller=debug
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Human)]
    pub log_format: LogFormat,
}

/// Log formats.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people
    Human,
    /// One JSON object per line
    Json,
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "must be a duration, for example 90s, 10m or 1h30m".into())
}

/// A Lease has whole seconds.
fn whole_seconds(text: &str) -> Result<Duration, String> {
    let duration = self::duration(text)?;
    if duration.is_zero() || duration.subsec_nanos() != 0 || duration > Duration::from_secs(3600) {
        return Err("must be whole seconds, between 1s and 1h".into());
    }
    Ok(duration)
}

/// Lower bound: all clients of an identity share its Resource Graph quota.
fn scan_interval(text: &str) -> Result<Duration, String> {
    let duration = self::duration(text)?;
    if duration < Duration::from_secs(1) || duration > Duration::from_secs(86400) {
        return Err(
            "must be between 1s and 24h; Azure shows changes of machines after about a minute".into(),
        );
    }
    Ok(duration)
}

/// Upper bound: a rotated secret must take effect within five minutes.
fn blocked_retry_interval(text: &str) -> Result<Duration, String> {
    let duration = self::duration(text)?;
    if duration.is_zero() || duration > Duration::from_secs(300) {
        return Err(
            "must be greater than 0 and at most 5m, so that a rotated secret takes effect soon".into(),
        );
    }
    Ok(duration)
}
