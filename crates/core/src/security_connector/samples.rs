//! Specs of the four shapes, and a small model of Azure.

use std::time::Duration;

use serde_json::{Value, json};
use serverprotection_api::{Mode, SecurityConnectorSpec, SecurityConnectorStatus, Tier};

use super::{
    account::{ListedConnector, Membership},
    arc_providers::{ArcProvider, ArcProviders},
    changes::Action,
    decide::{Decision, Input, MachineCounts, Observation, Outcome, decide},
    desired::{Desired, Protection, Target},
    expected::{Expected, ObservedValue},
    field::ConnectorField,
    history::ReconcileHistory,
    observed::{Connector, HealthReport, Observed},
    requeue::{requeue_after, update_history},
    status::{Phase, status},
    write::{ConnectorWrite, FieldWrite},
};
use crate::{
    Timestamp,
    azure_error::{AzureError, ErrorClass},
    claims::{Claim, Verdict},
    conditions,
    jiff::SignedDuration,
    reading::Permissions,
    server_protection::observed::RegistrationState,
    status_reference::{self, Kind},
    tier::tier_name,
    timeouts::Timeouts,
    written_statuses,
};

pub(super) const INTERVAL: Duration = Duration::from_secs(600);
pub(super) const SUBSCRIPTION: &str = "6f1c0d7e-0000-4000-8000-000000000001";

/// Merges `over` into `base`, member by member.
pub(super) fn laid_over(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (name, value) in over {
                laid_over(base.entry(name).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

fn spec(shape: Value, over: Value) -> SecurityConnectorSpec {
    let mut spec = json!({
        "protectionRef": {"name": "contoso-prod"}, "resourceGroup": "rg-defender", "location": "westeurope"
    });
    laid_over(&mut spec, shape);
    laid_over(&mut spec, over);
    serde_json::from_value(spec).unwrap()
}

pub(super) fn aws(over: Value) -> SecurityConnectorSpec {
    spec(json!({"type": "AWS", "aws": {"accountId": "123456789012"}}), over)
}

pub(super) fn gcp(over: Value) -> SecurityConnectorSpec {
    let project = json!({"projectNumber": "843025268399", "projectId": "my-project"});
    spec(json!({"type": "GCP", "gcp": project}), over)
}

/// The four shapes.
pub(super) fn shapes() -> [(&'static str, SecurityConnectorSpec); 4] {
    let stack_set = json!({"stackSetName": "defender", "excludedAccountIds": ["210987654321"]});
    let organization = json!({
        "serviceAccount": "mdc-org@my-project.iam.gserviceaccount.com",
        "workloadIdentityProvider": "auto-provisioner", "excludedProjectNumbers": ["1"]
    });
    [
        ("AWS account", aws(json!({}))),
        (
            "AWS organization",
            aws(json!({"aws": {"organization": stack_set}})),
        ),
        ("GCP project", gcp(json!({}))),
        (
            "GCP organization",
            gcp(json!({"gcp": {"organization": organization}})),
        ),
    ]
}

pub(super) fn protection(tier: Tier) -> Protection {
    Protection {
        subscription: SUBSCRIPTION.into(),
        mode: Mode::Enforce,
        tier,
        registers: true,
        credential: None,
    }
}

/// Azure's response to a PUT: the connector as it was, with the fields of the write.
pub(super) fn answered(target: &Target, write: &ConnectorWrite, before: Option<&Connector>) -> Connector {
    let mut connector = Connector {
        id: target.id(),
        account_name: Some("Contoso".into()),
        trial_end: Some("2023-12-01T00:00:00.1234567Z".parse().unwrap()),
        ..before.cloned().unwrap_or_else(|| Connector {
            location: Some(write.location.replace(' ', "").to_lowercase()),
            environment: format!("{:?}", target.cloud),
            cloud: Some(target.cloud),
            account: target.account.clone(),
            ..Connector::default()
        })
    };
    for FieldWrite { field, value, .. } in write.fields.iter().filter(|field| field.changes) {
        match stored(value) {
            Some(value) => connector.values.insert(field.clone(), value),
            None => connector.values.remove(field),
        };
    }
    let values = &mut connector.values;
    let is_organization = [ConnectorField::AwsOrganization, ConnectorField::GcpOrganization]
        .iter()
        .any(|field| values.get(field) == Some(&ObservedValue::Flag(true)));
    values.retain(|field, _| {
        (write.servers || !field.is_of_servers()) && (is_organization || field.organization().is_none())
    });
    connector.membership = if is_organization {
        Membership::Organization
    } else {
        Membership::Single
    };
    connector.tier = match connector.values.get(&ConnectorField::Tier) {
        Some(ObservedValue::Text(tier)) if tier == "P1" => Some(Tier::P1),
        Some(ObservedValue::Text(tier)) if tier == "P2" => Some(Tier::P2),
        _ => (!write.servers).then_some(Tier::Free),
    };
    connector
}

/// How Azure stores a value.
fn stored(value: &Expected) -> Option<ObservedValue> {
    Some(match value {
        Expected::Tier(Tier::Free) | Expected::Cleared => return None,
        Expected::Tier(tier) => ObservedValue::Text(tier_name(*tier).into()),
        Expected::Flag(on) => ObservedValue::Flag(*on),
        Expected::Word(text) | Expected::Text(text) | Expected::ResourceId(text) => {
            ObservedValue::Text(text.clone())
        }
        Expected::Hours(hours) => ObservedValue::Hours(*hours),
        Expected::Set(entries, _) => {
            ObservedValue::Set(entries.iter().map(|entry| entry.to_lowercase()).collect())
        }
        Expected::Tags(tags) => ObservedValue::Tags(tags.clone()),
    })
}

pub(super) fn failure(class: ErrorClass, code: &str, operation: &str) -> AzureError {
    AzureError {
        class,
        code: code.into(),
        message: "Azure's words".into(),
        operation: operation.into(),
        request_id: Some("11111111-2222".into()),
        effect_unknown: false,
    }
}

pub(super) fn report(code: &str) -> HealthReport {
    HealthReport {
        component: "Connectivity".into(),
        scope: "Connectors".into(),
        code: code.into(),
        issues: Vec::new(),
    }
}

/// One object over several reconciles.
pub(super) struct Object {
    pub(super) spec: SecurityConnectorSpec,
    pub(super) generation: i64,
    pub(super) approval: Option<String>,
    pub(super) protection: Option<Protection>,
    pub(super) machines: Option<MachineCounts>,
    pub(super) status: SecurityConnectorStatus,
    pub(super) history: ReconcileHistory,
    pub(super) claim: Verdict,
    pub(super) account_busy: bool,
    pub(super) now: Timestamp,
    pub(super) wait: Duration,
    /// The connector in Azure.
    pub(super) connector: Option<Connector>,
    pub(super) group: bool,
    pub(super) others: Vec<ListedConnector>,
    pub(super) health: Vec<HealthReport>,
    pub(super) arc_providers: ArcProviders,
}

impl Object {
    pub(super) fn new(spec: SecurityConnectorSpec) -> Self {
        Self {
            spec,
            generation: 1,
            approval: None,
            protection: Some(protection(Tier::P2)),
            machines: None,
            status: SecurityConnectorStatus::default(),
            history: ReconcileHistory::default(),
            claim: Verdict::holds(),
            account_busy: false,
            now: Timestamp::from_second(1_700_000_000).unwrap(),
            wait: Duration::ZERO,
            connector: None,
            group: true,
            others: Vec::new(),
            health: Vec::new(),
            arc_providers: ArcProvider::ALL
                .map(|provider| (provider, RegistrationState::Registered))
                .into(),
        }
    }

    /// An object that wrote its connector and found it in sync.
    pub(super) fn in_sync(spec: SecurityConnectorSpec) -> Self {
        let mut object = Self::new(spec);
        object.write();
        object.observe();
        object.expect("True", "InSync", "");
        object
    }

    pub(super) fn desired(&self) -> Desired {
        Desired::of("aws-prod", &self.spec, self.protection.as_ref().unwrap())
    }

    pub(super) fn edit(&mut self, edit: impl FnOnce(&mut SecurityConnectorSpec)) {
        edit(&mut self.spec);
        self.generation += 1;
    }

    pub(super) fn sleep(&mut self, duration: Duration) {
        let by = SignedDuration::try_from(duration).unwrap();
        self.now = self.now.checked_add(by).unwrap();
    }

    /// Another client edits the connector.
    pub(super) fn edit_in_azure(&mut self, edit: impl FnOnce(&mut Connector)) {
        edit(self.connector.as_mut().unwrap());
    }

    /// Another client sets a field.
    pub(super) fn set_in_azure(&mut self, field: ConnectorField, value: ObservedValue) {
        self.edit_in_azure(|connector| {
            connector.values.insert(field, value);
        });
    }

    pub(super) fn observed(&self) -> Observed {
        Observed {
            connector: Some(Ok(self.connector.clone())),
            resource_group: Some(Ok(self.group)),
            others: Some(Ok(self.others.clone())),
            health: Some(Ok(self.health.clone())),
            permissions: Some(Ok(Permissions {
                grants: vec![(vec!["*".into()], Vec::new())],
            })),
            arc_providers: Some(Ok(self.arc_providers.clone())),
            ..Observed::nothing()
        }
    }

    fn input<'a>(&'a self, observation: Observation<'a>, timeouts: &'a Timeouts) -> Input<'a> {
        Input {
            name: "aws-prod",
            spec: &self.spec,
            generation: self.generation,
            approval: self.approval.as_deref(),
            requested: None,
            protection: self.protection.as_ref(),
            previous: &self.status,
            observation,
            claim: Claim {
                uid: "u",
                verdict: &self.claim,
            },
            account_busy: self.account_busy,
            machines: self.machines,
            history: &self.history,
            timeouts,
            correlation_id: "c",
            now: self.now,
        }
    }

    /// A reconcile that crashes while it writes: only the recorded intent remains.
    pub(super) fn die(&mut self) {
        let (observed, timeouts) = (self.observed(), Timeouts::default());
        let input = self.input(Observation::Azure(&observed), &timeouts);
        let decision = decide(&input);
        self.status = status(&input, &decision, Phase::BeforeWrite, 0, INTERVAL);
        self.history = ReconcileHistory::default();
    }

    pub(super) fn reconcile(
        &mut self,
        observation: Observation<'_>,
        outcome: impl FnOnce(&Decision) -> Outcome,
    ) -> Decision {
        let timeouts = Timeouts::default();
        let input = self.input(observation, &timeouts);
        let decision = decide(&input);
        let mut reworded = input.previous.clone();
        for condition in &mut reworded.conditions {
            condition.message = "reworded".into();
        }
        let same = decide(&Input {
            previous: &reworded,
            ..input
        });
        assert_eq!(same, decision, "a message decided");
        let outcome = outcome(&decision);
        let history = update_history(&input, &decision, &outcome);
        let phase = Phase::AfterWrite(&outcome);
        let status = status(&input, &decision, phase, history.failures, INTERVAL);
        let suspended = matches!(input.observation, Observation::Suspended);
        self.wait = requeue_after(&input, &decision, &outcome, &history, INTERVAL, 0.5);
        written_statuses::Object {
            kind: "SecurityConnector",
            generation: self.generation,
            suspended,
            deleting: false,
        }
        .write(&status);
        (self.history, self.status) = (history, status);
        kstatus(&self.status, self.generation);
        decision
    }

    /// A reconcile that has nothing to write or may not write.
    pub(super) fn observe(&mut self) -> Decision {
        let observed = self.observed();
        self.reconcile(Observation::Azure(&observed), |_| Outcome::default())
    }

    /// A reconcile whose writes are all accepted and take effect.
    pub(super) fn write(&mut self) -> Decision {
        let observed = self.observed();
        let (target, before) = (self.desired().target, self.connector.clone());
        let answered = |write: &ConnectorWrite| answered(&target, write, before.as_ref());
        let decision = self.reconcile(Observation::Azure(&observed), |decision| Outcome {
            done: decision.changes.clone(),
            response: put(decision).map(answered),
            failed: None,
        });
        for change in &decision.changes {
            match &change.action {
                Action::CreateResourceGroup { .. } => self.group = true,
                Action::PutConnector(write) => self.connector = Some(answered(write)),
                Action::RegisterProvider(provider) => {
                    self.arc_providers
                        .insert(*provider, RegistrationState::Registering);
                }
            }
        }
        decision
    }

    /// A reconcile whose first write fails.
    pub(super) fn fail(&mut self, failure: AzureError) -> Decision {
        let observed = self.observed();
        self.reconcile(Observation::Azure(&observed), |decision| Outcome {
            failed: Some((decision.changes[0].clone(), failure)),
            ..Outcome::default()
        })
    }

    pub(super) fn condition(&self, type_: &str) -> (&str, &str, &str) {
        conditions::get(&self.status.conditions, type_).map_or(("", "", ""), |condition| {
            (&condition.status, &condition.reason, &condition.message)
        })
    }

    /// Expects this status and reason of Ready, and this text in its message.
    pub(super) fn expect(&self, status: &str, reason: &str, reports: &str) -> &Self {
        let (found_status, found_reason, message) = self.condition("Ready");
        assert_eq!((found_status, found_reason), (status, reason), "{message}");
        assert!(message.contains(reports), "{message:?} does not say {reports:?}");
        self
    }

    pub(super) fn secondary(&self, secondary: &str) -> &Self {
        for type_ in ["Reconciling", "Stalled"] {
            let (status, ..) = self.condition(type_);
            assert_eq!(status, if type_ == secondary { "True" } else { "" }, "{type_}");
        }
        self
    }

    pub(super) fn reason(&self, type_: &str, status: &str, reason: &str) -> &Self {
        let found = self.condition(type_);
        assert_eq!((found.0, found.1), (status, reason), "{type_}: {}", found.2);
        self
    }
}

/// The PUT of a decision.
pub(super) fn put(decision: &Decision) -> Option<&ConnectorWrite> {
    let mut changes = decision.changes.iter();
    changes.find_map(|change| match &change.action {
        Action::PutConnector(write) => Some(write),
        Action::CreateResourceGroup { .. } | Action::RegisterProvider(_) => None,
    })
}

/// What kstatus and Flux require of every status.
fn kstatus(status: &SecurityConnectorStatus, generation: i64) {
    assert!(
        status
            .observed_generation
            .is_none_or(|observation| observation <= generation)
    );
    let is = |type_: &str| conditions::is_true(&status.conditions, type_);
    assert!(conditions::get(&status.conditions, "Ready").is_some() || status.conditions.is_empty());
    assert!(!(is("Reconciling") && is("Stalled")));
    assert!(!is("Ready") || !(is("Reconciling") || is("Stalled")));
    for condition in &status.conditions {
        let (type_, status, reason) = (&condition.type_, &condition.status, &condition.reason);
        let described = status_reference::describes(Kind::SecurityConnector, type_, status, reason);
        assert!(described, "{type_} {status}/{reason} is not in docs/status.md");
    }
}
