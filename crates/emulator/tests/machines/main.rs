//! Machines, their extensions, long-running operations, health reports and the clock, over real HTTPS.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends there"
)]

#[path = "../bench/mod.rs"]
mod bench;
mod control;
mod index;
mod reading;
mod sensor;

use bench::{Bench, Got};
use serde_json::{Value, json};
use serverprotection_emulator::state::DEFAULT_SUBSCRIPTION;

const VM: &str = "resourceGroups/rg/providers/Microsoft.Compute/virtualMachines";
const ARC: &str = "resourceGroups/rg/providers/Microsoft.HybridCompute/machines";
const COMPUTE: &str = "api-version=2024-11-01";
const HYBRID: &str = "api-version=2025-01-13";
const REPORTS: &str = "providers/Microsoft.Security/healthReports";

async fn bench(machines: &str) -> Bench {
    Bench::seeded(&format!(
        "subscriptions: [{{subscriptionId: {DEFAULT_SUBSCRIPTION}, pricings: {{VirtualMachines: {{pricingTier: Standard, subPlan: P2}}}}, resourceGroups: [rg],
          settings: {{WDATP: true, WDATP_UNIFIED_SOLUTION: true}}, machines: [{machines}]}}]"
    ))
    .await
}

async fn advance(bench: &Bench, by: &str) {
    bench.control("PUT", "clock", json!({"advance": by})).await;
}

async fn change(bench: &Bench, machine: &str, set: Value) {
    let path = format!("subscriptions/{DEFAULT_SUBSCRIPTION}/machines/{machine}");
    bench.control("PATCH", &path, json!({"set": set})).await;
}

async fn follow(bench: &Bench, url: &str) -> Got {
    bench
        .path("GET", url.strip_prefix(&bench.url).unwrap(), None)
        .await
}

fn onboarding(kind: &str) -> Value {
    json!({"location": "westeurope", "properties": {
        "publisher": "Microsoft.Azure.AzureDefenderForServers", "type": kind, "typeHandlerVersion": "1.0",
        "autoUpgradeMinorVersion": true, "settings": {"vNextEnabled": "true"},
        "protectedSettings": {"defenderForEndpointOnboardingScript": "geheim"}}})
}
