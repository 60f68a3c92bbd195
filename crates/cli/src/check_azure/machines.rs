//! One scan of the machines, as the operator makes it: only how many machines have which finding.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serverprotection_azure::{
    Client,
    fleet::{ScanObserver, SubscriptionReading, Target},
};
use serverprotection_core::{
    azure_error::AzureError,
    jiff::SignedDuration,
    machines::{Finding, Machine},
};

/// The machines by verdict and reason, or why they could not be read.
pub(super) type Machines = Result<BTreeMap<String, u64>, AzureError>;

/// Scans the subscription.
pub(super) async fn scan(client: &Client, subscription: &str) -> Machines {
    let target = Target {
        object: String::new(),
        subscription: subscription.to_owned(),
        exclusions: Arc::default(),
        grace: SignedDuration::from_hours(24),
        fresh: true,
        unprotected: Arc::default(),
        had_machines: false,
        plan_enabled: None,
    };
    let counts = Counts::default();
    client.scan(&[target], &counts).await;
    let state = std::mem::take(&mut *counts.state());
    match state.failure {
        Some(failure) => Err(failure),
        None => Ok(state.findings),
    }
}

#[derive(Debug, Default)]
struct Counts(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    findings: BTreeMap<String, u64>,
    failure: Option<AzureError>,
}

impl Counts {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ScanObserver for Counts {
    fn machine(&self, _: &Machine, finding: &Finding) {
        let name = format!("{} {}", finding.verdict.as_str(), finding.reason);
        *self.state().findings.entry(name).or_default() += 1;
    }

    fn subscription(&self, _: &Target, reading: Result<SubscriptionReading, AzureError>) {
        self.state().failure = reading.err();
    }
}
