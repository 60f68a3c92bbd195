//! Flags of `serverprotection controller`. Their doc comments are the text of `--help`.
#![allow(clippy::doc_markdown)]

use std::{net::SocketAddr, time::Duration};

use clap::{Args as ClapArgs, ValueEnum};

use crate::endpoints::Endpoints;

/// Runs the controller: watches ServerProtection objects and keeps Azure in the state that they describe.
///
/// The cluster is found as kubectl finds it (KUBECONFIG, or the pod's service account). Cloud and endpoints are flags
/// of the controller and never of an object, so that no object can send a token elsewhere.
#[derive(ClapArgs, Clone, Debug)]
pub struct Args {
    /// Which Azure to work with.
    #[command(flatten)]
    pub endpoints: Endpoints,

    /// Watch this namespace only, instead of all; who owns a subscription is then decided among its objects only
    #[arg(long, value_name = "NAMESPACE")]
    pub watch_namespace: Option<String>,

    /// Objects that are worked on at the same time
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=512))]
    pub concurrency: u16,

    /// Time between tries where a human must mend something (credential, permission, policy): at most 5m
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = blocked_retry_interval)]
    pub blocked_retry_interval: Duration,

    /// A resource provider that is registering for longer than this counts as stuck
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = humantime::parse_duration)]
    pub registration_timeout: Duration,

    /// A deletion in Azure that fails for this long lets the object go (for tests)
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = humantime::parse_duration, hide = true)]
    pub deletion_deadline: Duration,

    /// Visit every object this often, whatever its spec.interval says (for tests)
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, hide = true)]
    pub reconcile_every: Option<Duration>,

    /// Time between two scans of the machines of each identity, with 10 % jitter
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = scan_interval)]
    pub machine_scan_interval: Duration,

    /// Also export the machines of each object by verdict ({namespace,name,verdict}); one series for each object and verdict
    #[arg(long)]
    pub per_object_metrics: bool,

    /// Address for /metrics, /healthz and /readyz
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,

    /// How log lines look; what is logged is chosen by RUST_LOG (default: info)
    #[arg(long, value_enum, default_value_t = LogFormat::Human)]
    pub log_format: LogFormat,
}

/// Log formats.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum LogFormat {
    Human,
    Json,
}

/// The quota of Resource Graph is shared with everybody who uses the identity.
fn scan_interval(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration < Duration::from_secs(1) || duration > Duration::from_secs(86400) {
        return Err(
            "must lie between 1s and 24h; Azure itself shows changes of machines after about a minute".into(),
        );
    }
    Ok(duration)
}

/// A rotated secret must be picked up within five minutes, so the clock may not be slower.
fn blocked_retry_interval(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration.is_zero() || duration > Duration::from_secs(300) {
        return Err("must lie between 1s and 5m: a rotated secret is picked up on this clock".into());
    }
    Ok(duration)
}
