//! One object with its status and subscription, over reconciles, faults, crashes, edits and writes of other clients.

use std::time::Duration;

use k8s_openapi::jiff::SignedDuration;
use serverprotection_api::{Mode, ServerProtectionSpec, ServerProtectionStatus};

use super::azure::{Answers, apply};
use crate::{
    Timestamp,
    azure_error::{AzureError, ErrorClass},
    claims::{Claim, Ownership, Verdict},
    reading::Permissions,
    request::Requested,
    server_protection::{
        changes::{Action, Actual, Change, PlanWrite},
        decide::{Decision, Input, Observation, Outcome, PlanResponse, Situation, decide},
        events::{events, writes},
        history::ReconcileHistory,
        observed::{Observed, OperationStatus, OtherPlans, Plan, RegistrationState, Subscription},
        reads::{Reads, reads},
        requeue::{requeue_after, update_history},
        status::{Phase, status},
    },
    timeouts::Timeouts,
};

pub(super) const INTERVAL: Duration = Duration::from_secs(600);

/// What goes wrong in a reconcile.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    None,
    /// This read fails: 0 credential, 1 subscription, 2 registration, 3 plan, 4 settings, 5 assessment, 6 permissions, 7 the other
    /// plans.
    Read(u8, ErrorClass),
    /// The write at this index fails, and did or did not take effect.
    Write {
        at: usize,
        class: ErrorClass,
        effect: bool,
    },
    /// The process crashes after it recorded the intent, before or after the write.
    Crash {
        written: bool,
    },
    /// There is no permit to write.
    Withheld,
}

/// Everything about one reconcile.
pub(super) struct Reconcile {
    pub(super) before: ServerProtectionStatus,
    pub(super) history: ReconcileHistory,
    pub(super) actual_before: Actual,
    pub(super) actual_after: Actual,
    pub(super) decision: Decision,
    pub(super) intent: Option<ServerProtectionStatus>,
    /// `None`: the process crashed before.
    pub(super) after: Option<ServerProtectionStatus>,
    pub(super) held_before: bool,
    pub(super) outcome: Outcome,
    pub(super) failures: u32,
    pub(super) wait: Duration,
    pub(super) now: Timestamp,
}

#[derive(Clone)]
#[allow(clippy::struct_excessive_bools)]
pub(super) struct World {
    pub(super) spec: ServerProtectionSpec,
    pub(super) generation: i64,
    pub(super) approval: Option<String>,
    pub(super) requested: Option<String>,
    pub(super) requested_by_flux: Option<String>,
    pub(super) status: ServerProtectionStatus,
    pub(super) history: ReconcileHistory,
    pub(super) azure: Actual,
    pub(super) answers: Answers,
    pub(super) registration: RegistrationState,
    pub(super) conflicted: bool,
    pub(super) owner: bool,
    /// The plan is managed in the Defender portal.
    pub(super) managed: bool,
    /// The results of a plan write for its extensions: two bits each.
    pub(super) reported: u8,
    pub(super) now: Timestamp,
    /// What the last reconcile read; with `same_reads`, the next one reads the same.
    asked: Reads,
    pub(super) same_reads: bool,
    /// Whether the object found Azure in sync or wrote to it since it got its claim.
    pub(super) held: bool,
    /// The spec of the last reconcile that was not suspended, as far as the process knows it.
    pub(super) reconciled: Option<ServerProtectionSpec>,
    requests: u32,
}

impl World {
    pub(super) fn new(spec: ServerProtectionSpec, azure: Actual, answers: Answers) -> Self {
        Self {
            spec,
            generation: 1,
            approval: None,
            requested: None,
            requested_by_flux: None,
            status: ServerProtectionStatus {
                observed_generation: Some(-1),
                ..ServerProtectionStatus::default()
            },
            history: ReconcileHistory::default(),
            azure,
            answers,
            registration: RegistrationState::Registered,
            conflicted: false,
            owner: true,
            managed: false,
            reported: 0b0101_0101,
            now: Timestamp::from_second(1_700_000_000).unwrap(),
            asked: Reads::default(),
            same_reads: false,
            held: false,
            reconciled: None,
            requests: 0,
        }
    }

    pub(super) fn sleep(&mut self, duration: Duration) {
        self.now = self
            .now
            .checked_add(SignedDuration::try_from(duration).unwrap())
            .unwrap();
    }

    pub(super) fn edit(&mut self, edit: impl FnOnce(&mut ServerProtectionSpec)) {
        let before = self.spec.clone();
        edit(&mut self.spec);
        self.generation += i64::from(before != self.spec);
    }

    /// The process loses its memory.
    pub(super) fn restart(&mut self) {
        self.history = ReconcileHistory::default();
        self.reconciled = None;
    }

    fn failure(&mut self, class: &ErrorClass, operation: &str, effect_unknown: bool) -> AzureError {
        self.requests += 1;
        AzureError {
            class: class.clone(),
            code: "SomeCode".into(),
            message: "words".into(),
            operation: operation.into(),
            request_id: Some(self.requests.to_string()),
            effect_unknown,
        }
    }

    fn observe(&mut self, fault: &Fault, requested: bool) -> Observed {
        if !self.same_reads {
            self.asked = reads(
                &self.spec,
                self.generation,
                &self.status,
                &self.history,
                requested,
            );
        }
        let asked = self.asked.clone();
        let registered = self.registration == RegistrationState::Registered;
        let failing = |expected: u8| match fault {
            Fault::Read(at, class) if *at == expected => Some(class.clone()),
            _ => None,
        };
        if let Some(class) = failing(0) {
            return Observed::without_credential(self.failure(&class, "POST token", false));
        }
        let subscription = Subscription {
            display_name: "Contoso".into(),
            state: "Enabled".into(),
        };
        let actions = if self.owner { "*" } else { "Microsoft.Security/*" };
        let permissions = Permissions {
            grants: vec![(vec![actions.into(), "*/read".into()], Vec::new())],
        };
        let mut missing = |at: u8, operation: &str| {
            let class = failing(at).or_else(|| (!registered && at > 2).then_some(ErrorClass::NotRegistered));
            class.map(|class| self.failure(&class, operation, false))
        };
        let failed = [
            missing(1, "GET subscription"),
            missing(2, "GET registration"),
            missing(3, "GET pricings/VirtualMachines"),
            missing(4, "GET settings"),
            missing(5, "GET assessment"),
        ];
        let permissions_failed = failing(6).map(|class| self.failure(&class, "GET permissions", false));
        let no_others = failing(7).map(|class| self.failure(&class, "GET pricings", false));
        let plan = Plan {
            managed_by: self.managed.then(|| "a rule".into()),
            ..self.azure.plan.clone()
        };
        let [
            no_subscription,
            no_registration,
            no_plan,
            no_settings,
            no_assessment,
        ] = failed;
        let registration = self.registration.clone();
        Observed {
            credential: Ok(()),
            subscription: asked
                .subscription
                .then(|| no_subscription.map_or(Ok(subscription), Err)),
            registration: (asked.registration || !registered)
                .then(|| no_registration.map_or(Ok(registration), Err)),
            plan: Some(no_plan.map_or(Ok(plan), Err)),
            settings: Some(no_settings.map_or_else(|| Ok(self.azure.settings.clone()), Err)),
            assessment: Some(no_assessment.map_or(Ok(self.azure.assessment), Err)),
            permissions: asked
                .permissions
                .then(|| permissions_failed.map_or(Ok(permissions), Err)),
            other_plans: asked
                .other_plans
                .then(|| no_others.map_or_else(|| Ok(OtherPlans::default()), Err)),
            workspaces: Vec::new(),
        }
    }

    /// A reconcile as the controller makes it: read, decide, record the intent, write, update status.
    pub(super) fn reconcile(&mut self, fault: &Fault) -> Reconcile {
        let annotations = (self.requested.clone(), self.requested_by_flux.clone());
        let handled = Requested {
            ours: self.status.last_handled_request.as_deref(),
            flux: self.status.last_handled_reconcile_at.as_deref(),
        };
        let requested = Requested {
            ours: annotations.0.as_deref(),
            flux: annotations.1.as_deref(),
        };
        let requested = Some(requested).filter(|requested| requested.is_new(handled));
        let observed = self.observe(fault, requested.is_some());
        let timeouts = Timeouts::default();
        let (spec, before, history) = (self.spec.clone(), self.status.clone(), self.history.clone());
        let approval = self.approval.clone();
        let verdict = match (self.conflicted, spec.suspend) {
            _ if spec.mode == Mode::Observe => Verdict::contends(Ownership::ClaimsNothing),
            (false, _) => Verdict::holds(),
            (true, false) => Verdict::waits(None),
            (true, true) => Verdict::contends(Ownership::AccessNotProven),
        };
        let input = Input {
            spec: &spec,
            generation: self.generation,
            approval: approval.as_deref(),
            requested,
            previous: &before,
            observation: if spec.suspend {
                Observation::Suspended
            } else {
                Observation::Azure(&observed)
            },
            claim: Claim {
                uid: "u",
                verdict: &verdict,
            },
            scans: None,
            connectors: None,
            history: &history,
            timeouts: &timeouts,
            correlation_id: "c",
            now: self.now,
        };
        let decision = decide(&input);
        let reworded = without_messages(&before);
        let same = decide(&Input {
            previous: &reworded,
            ..input
        });
        assert_eq!(same, decision, "a message decided");
        let actual_before = self.azure.clone();
        let intent = (!decision.changes.is_empty())
            .then(|| status(&input, &decision, Phase::BeforeWrite, history.failures, INTERVAL));
        let crash = match (fault, &intent) {
            (Fault::Crash { written }, Some(_)) => Some(*written),
            _ => None,
        };
        let held_before = self.held;
        let outcome = match crash {
            Some(false) => Outcome::default(),
            _ => self.write(&decision, fault),
        };
        let after_memory = update_history(&input, &decision, &outcome);
        let failures = after_memory.failures;
        let after = status(&input, &decision, Phase::AfterWrite(&outcome), failures, INTERVAL);
        let written = writes(&decision, &outcome);
        let _ = events(&before, &after, &written, &decision, &outcome, failures);
        let wait = requeue_after(&input, &decision, &outcome, &after_memory, INTERVAL, 0.5);
        self.held |= decision.situation == Situation::InSync;
        let wrote = outcome
            .done
            .iter()
            .any(|change| change.action != Action::Register);
        self.held |= wrote && !self.managed;
        self.held &= !(self.conflicted || crash.is_some() && !held_before) || spec.suspend;
        let after = if crash.is_some() {
            self.restart();
            self.status = intent.clone().unwrap();
            None
        } else {
            self.history = after_memory;
            self.status = after.clone();
            if !spec.suspend {
                self.reconciled = Some(spec.clone());
            }
            Some(after)
        };
        Reconcile {
            before: before.clone(),
            history: history.clone(),
            actual_before,
            actual_after: self.azure.clone(),
            decision,
            intent,
            after,
            held_before,
            outcome,
            failures,
            wait,
            now: self.now,
        }
    }

    fn write(&mut self, decision: &Decision, fault: &Fault) -> Outcome {
        let mut outcome = Outcome::default();
        if matches!(fault, Fault::Withheld) || self.spec.mode == Mode::Observe {
            return outcome;
        }
        for (place, change) in decision.changes.iter().enumerate() {
            if let Fault::Write { at, class, effect } = fault
                && *at == place
            {
                if *effect {
                    self.put(change);
                }
                let unknown = *effect || matches!(class, ErrorClass::Transient | ErrorClass::Unavailable(_));
                outcome.failed = Some((change.clone(), self.failure(class, "PUT", unknown)));
                return outcome;
            }
            let answer = self.put(change);
            outcome.response = answer.or(outcome.response);
            outcome.done.push(change.clone());
        }
        outcome
    }

    fn put(&mut self, change: &Change) -> Option<PlanResponse> {
        if change.action == Action::Register {
            self.registration = RegistrationState::Registering;
            return None;
        }
        apply(change, &mut self.azure, self.answers);
        match &change.action {
            Action::PutPlan(write) => {
                assert!(!self.managed, "a plan that is managed elsewhere was written");
                Some(self.answer(write))
            }
            _ => None,
        }
    }

    fn answer(&mut self, write: &PlanWrite) -> PlanResponse {
        let mut results = Vec::new();
        for (at, sent) in write.extensions.iter().filter(|sent| sent.enabled).enumerate() {
            let word = (self.reported >> (2 * (at % 4))) & 3;
            let (code, message) = match word {
                0 => continue,
                1 => ("Succeeded", "Successfully enabled extension"),
                _ => ("Failed", "Failed assigning roles"),
            };
            results.push(OperationStatus {
                extension: sent.name.clone(),
                code: code.into(),
                message: message.into(),
            });
            // Unconfirmed: whether a failed extension reads as on or as off.
            let found = self
                .azure
                .plan
                .extensions
                .iter_mut()
                .find(|found| found.name == sent.name);
            if let Some(found) = found.filter(|_| word == 3) {
                found.enabled = false;
                found.properties.clear();
            }
        }
        PlanResponse {
            plan: self.azure.plan.clone(),
            results,
        }
    }
}

/// Removes the messages, because no decision may depend on their wording.
fn without_messages(status: &ServerProtectionStatus) -> ServerProtectionStatus {
    let mut status = status.clone();
    for condition in &mut status.conditions {
        condition.message = "reworded".into();
    }
    for extension in status.plan.iter_mut().flat_map(|plan| &mut plan.extensions) {
        extension.message = extension.message.as_ref().map(|_| "reworded".into());
    }
    status
}
