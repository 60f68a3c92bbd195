//! The table of situations (docs/architecture.md 2.4), row by row: given a spec, an observation and a previous status,
//! check Ready, the conditions beside it, and the next step in the message.

mod elsewhere;
mod failing;
mod fighting;
mod healthy;
mod machines;
mod refused;
mod rights;
mod writing;

use std::time::Duration;

use serverprotection_api::{DisplayStatus, ServerProtectionSpec, ServerProtectionStatus, Tier};

use super::{
    changes::Actual,
    connectors::Connectors,
    decide::{Decision, Input, Observation, Outcome, decide},
    events::{events, writes},
    field::{ExtensionName, Setting},
    history::ReconcileHistory,
    observed::{Extension, Observed, Plan, RegistrationState, Settings, Subscription},
    properties::minimal,
    requeue::{requeue_after, update_history},
    status::{Phase, status},
};
use crate::{
    Timestamp,
    azure_error::{AzureError, ErrorClass},
    claims::{Claim, Verdict},
    conditions,
    events::Event,
    jiff::SignedDuration,
    machines::reading::Scans,
    reading::Permissions,
    request::Requested,
    status_reference::{self, Kind},
    timeouts::Timeouts,
    written_statuses,
};

const INTERVAL: Duration = Duration::from_secs(600);

/// A subscription on which everything is off.
pub(super) fn blank() -> Actual {
    Actual {
        plan: plan(Tier::Free),
        settings: Settings::from_iter([Setting::Linux]),
        assessment: false,
    }
}

fn plan(tier: Tier) -> Plan {
    Plan {
        tier,
        enforce: (tier != Tier::Free).then_some(false),
        extensions: Vec::new(),
        coverage: (tier != Tier::Free).then(|| "FullyCovered".into()),
        free_trial_remaining: None,
        enabled_since: None,
        managed_by: None,
    }
}

/// A subscription that matches the smallest P2 spec.
fn protected() -> Actual {
    Actual {
        plan: plan(Tier::P2),
        settings: Setting::ALL.iter().copied().collect(),
        assessment: true,
    }
}

fn extension(name: ExtensionName, enabled: bool) -> Extension {
    Extension {
        name,
        enabled,
        properties: std::collections::BTreeMap::new(),
    }
}

fn observed(actual: &Actual) -> Observed {
    Observed {
        credential: Ok(()),
        subscription: Some(Ok(Subscription {
            display_name: "Contoso".into(),
            state: "Enabled".into(),
        })),
        registration: Some(Ok(RegistrationState::Registered)),
        plan: Some(Ok(actual.plan.clone())),
        settings: Some(Ok(actual.settings.clone())),
        assessment: Some(Ok(actual.assessment)),
        permissions: Some(Ok(Permissions {
            grants: vec![(vec!["*".into()], Vec::new())],
        })),
        other_plans: None,
        workspaces: Vec::new(),
    }
}

fn unregistered(state: RegistrationState) -> Observed {
    let missing = || {
        failure(
            ErrorClass::NotRegistered,
            "SubscriptionNotRegistered",
            "GET pricings",
        )
    };
    Observed {
        registration: Some(Ok(state)),
        plan: Some(Err(missing())),
        settings: Some(Err(missing())),
        assessment: Some(Err(missing())),
        ..observed(&blank())
    }
}

fn failure(class: ErrorClass, code: &str, operation: &str) -> AzureError {
    AzureError {
        class,
        code: code.into(),
        message: "Azure's words".into(),
        operation: operation.into(),
        request_id: Some("11111111-2222".into()),
        effect_unknown: false,
    }
}

const REQUEST: Requested<'static> = Requested {
    ours: Some("now"),
    flux: None,
};

/// One object over several reconciles.
struct Object {
    spec: ServerProtectionSpec,
    generation: i64,
    approval: Option<String>,
    /// The next reconcile is requested by a user.
    requested: bool,
    status: ServerProtectionStatus,
    scans: Option<Scans>,
    connectors: Option<Connectors>,
    history: ReconcileHistory,
    claim: Verdict,
    now: Timestamp,
    wait: Duration,
    /// Those of the last reconcile.
    events: Vec<Event>,
}

impl Object {
    fn new(spec: ServerProtectionSpec) -> Self {
        Self {
            spec,
            generation: 1,
            approval: None,
            requested: false,
            status: ServerProtectionStatus::default(),
            scans: None,
            connectors: None,
            history: ReconcileHistory::default(),
            claim: Verdict::holds(),
            now: Timestamp::from_second(1_700_000_000).unwrap(),
            wait: Duration::ZERO,
            events: Vec::new(),
        }
    }

    /// The smallest spec of this tier.
    fn of(tier: Tier) -> Self {
        Self::new(minimal(tier))
    }

    /// An object that had the subscription in sync before.
    fn in_sync(tier: Tier) -> Self {
        let mut object = Self::of(tier);
        let mut actual = protected();
        actual.plan = plan(tier);
        object.observe(&observed(&actual));
        object.expect("True", "InSync", "");
        object
    }

    fn edit(&mut self, edit: impl FnOnce(&mut ServerProtectionSpec)) {
        edit(&mut self.spec);
        self.generation += 1;
    }

    fn sleep(&mut self, duration: Duration) {
        self.now = self
            .now
            .checked_add(SignedDuration::try_from(duration).unwrap())
            .unwrap();
    }

    fn input<'a>(&'a self, observation: Observation<'a>, timeouts: &'a Timeouts) -> Input<'a> {
        Input {
            spec: &self.spec,
            generation: self.generation,
            approval: self.approval.as_deref(),
            requested: self.requested.then_some(REQUEST),
            previous: &self.status,
            observation,
            claim: Claim {
                uid: "u",
                verdict: &self.claim,
            },
            scans: self.scans.as_ref(),
            connectors: self.connectors.as_ref(),
            history: &self.history,
            timeouts,
            correlation_id: "c",
            now: self.now,
        }
    }

    fn decide(&self, observed: &Observed) -> Decision {
        decide(&self.input(Observation::Azure(observed), &Timeouts::default()))
    }

    fn reconcile(
        &mut self,
        observation: Observation<'_>,
        outcome: impl FnOnce(&Decision) -> Outcome,
    ) -> Decision {
        let timeouts = Timeouts::default();
        let input = self.input(observation, &timeouts);
        let decision = decide(&input);
        let outcome = outcome(&decision);
        let history = update_history(&input, &decision, &outcome);
        let status = status(
            &input,
            &decision,
            Phase::AfterWrite(&outcome),
            history.failures,
            INTERVAL,
        );
        let suspended = matches!(input.observation, Observation::Suspended);
        self.wait = requeue_after(&input, &decision, &outcome, &history, INTERVAL, 0.5);
        let written = writes(&decision, &outcome);
        written_statuses::Object {
            kind: "ServerProtection",
            generation: self.generation,
            suspended,
            deleting: false,
        }
        .write(&status);
        self.events = events(
            &self.status,
            &status,
            &written,
            &decision,
            &outcome,
            history.failures,
        );
        (self.history, self.status, self.requested) = (history, status, false);
        for condition in &self.status.conditions {
            let (type_, status, reason) = (&condition.type_, &condition.status, &condition.reason);
            let described = status_reference::describes(Kind::ServerProtection, type_, status, reason);
            assert!(described, "{type_} {status}/{reason} is not in docs/status.md");
        }
        decision
    }

    /// A reconcile that has nothing to write or may not write.
    fn observe(&mut self, observed: &Observed) -> Decision {
        self.reconcile(Observation::Azure(observed), |_| Outcome::default())
    }

    /// A reconcile of a suspended object.
    fn suspended(&mut self) {
        self.reconcile(Observation::Suspended, |decision| {
            assert_eq!(decision.changes, []);
            Outcome::default()
        });
    }

    /// A reconcile whose writes are all accepted, without results for extensions.
    fn write(&mut self, observed: &Observed) -> Decision {
        let plan = observed.plan.clone().and_then(Result::ok);
        self.reconcile(Observation::Azure(observed), |decision| Outcome {
            done: decision.changes.clone(),
            response: plan
                .filter(|_| decision.writes_plan())
                .map(|plan| super::decide::PlanResponse {
                    plan,
                    results: Vec::new(),
                }),
            failed: None,
        })
    }

    /// A reconcile whose first write fails.
    fn fail(&mut self, observed: &Observed, failure: AzureError) -> Decision {
        self.reconcile(Observation::Azure(observed), |decision| Outcome {
            failed: Some((decision.changes[0].clone(), failure)),
            ..Outcome::default()
        })
    }

    fn columns(&self) -> &DisplayStatus {
        self.status.display.as_ref().unwrap()
    }

    fn condition(&self, type_: &str) -> (&str, &str, &str) {
        conditions::get(&self.status.conditions, type_).map_or(("", "", ""), |condition| {
            (&condition.status, &condition.reason, &condition.message)
        })
    }

    /// Expects this status and reason of Ready, and this text in its message.
    fn expect(&self, status: &str, reason: &str, reports: &str) -> &Self {
        let (found_status, found_reason, message) = self.condition("Ready");
        assert_eq!((found_status, found_reason), (status, reason), "{message}");
        assert!(message.contains(reports), "{message:?} does not say {reports:?}");
        self
    }

    fn secondary(&self, secondary: &str) -> &Self {
        for type_ in ["Reconciling", "Stalled"] {
            let (status, ..) = self.condition(type_);
            assert_eq!(status, if type_ == secondary { "True" } else { "" }, "{type_}");
        }
        self
    }

    fn reason(&self, type_: &str, status: &str, reason: &str) -> &Self {
        let found = self.condition(type_);
        assert_eq!((found.0, found.1), (status, reason), "{type_}: {}", found.2);
        self
    }
}
