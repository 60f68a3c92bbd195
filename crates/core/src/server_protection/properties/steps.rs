//! The steps of a walk: reconciles with their faults, and everything that happens between them.

use std::time::Duration;

use proptest::{prelude::*, sample};
use serverprotection_api::{Mode, ServerProtectionSpec};

use super::{
    specs::{actual, spec},
    world::{Fault, Reconcile, World},
};
use crate::{
    azure_error::ErrorClass,
    permissions::ASSIGN_ROLES,
    server_protection::{changes::Actual, observed::RegistrationState},
};

#[derive(Clone, Debug)]
pub(super) enum Step {
    Reconcile(Fault),
    Sleep(u64),
    Edit(Box<ServerProtectionSpec>),
    Suspend(bool),
    Observe(bool),
    Conflict(bool),
    Foreign(Box<Actual>),
    Restart,
    Request(u8),
    FluxRequest(u8),
    Approve(u8),
    Registration(RegistrationState),
    Owner(bool),
    Managed(bool),
    Reporting(u8),
}

fn class() -> impl Strategy<Value = ErrorClass> {
    sample::select(vec![
        ErrorClass::Throttled(None),
        ErrorClass::Throttled(Some(Duration::from_secs(17))),
        ErrorClass::Conflict,
        ErrorClass::Transient,
        ErrorClass::Unavailable(Duration::from_secs(17)),
        ErrorClass::Credential,
        ErrorClass::Permission(None),
        ErrorClass::Permission(Some("Microsoft.Security/pricings/write".into())),
        ErrorClass::Permission(Some(ASSIGN_ROLES.into())),
        ErrorClass::NotRegistered,
        ErrorClass::NotFound,
        ErrorClass::Refused,
    ])
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let fault = prop_oneof![
        4 => Just(Fault::None),
        2 => (0_u8..8, class()).prop_map(|(at, class)| Fault::Read(at, class)),
        2 => (0_usize..3, class(), any::<bool>()).prop_map(|(at, class, effect)| Fault::Write { at, class, effect }),
        2 => any::<bool>().prop_map(|written| Fault::Crash { written }),
        1 => Just(Fault::Withheld),
    ];
    let state = sample::select(vec![
        RegistrationState::Registered,
        RegistrationState::Registering,
        RegistrationState::NotRegistered,
    ]);
    prop_oneof![
        16 => fault.prop_map(Step::Reconcile),
        4 => sample::select(vec![1_u64, 40, 600, 1900, 4000, 90_000]).prop_map(Step::Sleep),
        2 => spec().prop_map(|spec| Step::Edit(Box::new(spec))),
        1 => any::<bool>().prop_map(Step::Suspend),
        1 => any::<bool>().prop_map(Step::Observe),
        1 => any::<bool>().prop_map(Step::Conflict),
        2 => actual().prop_map(|actual| Step::Foreign(Box::new(actual))),
        2 => Just(Step::Restart),
        1 => any::<u8>().prop_map(Step::Request),
        1 => any::<u8>().prop_map(Step::FluxRequest),
        2 => (0_u8..3).prop_map(Step::Approve),
        1 => state.prop_map(Step::Registration),
        1 => any::<bool>().prop_map(Step::Owner),
        1 => any::<bool>().prop_map(Step::Managed),
        2 => any::<u8>().prop_map(Step::Reporting),
    ]
}

/// Takes one step; returns the reconcile, if the step is one.
pub(super) fn walk(world: &mut World, step: Step) -> Option<(Fault, Reconcile)> {
    match step {
        Step::Reconcile(fault) => {
            let reconcile = world.reconcile(&fault);
            return Some((fault, reconcile));
        }
        Step::Sleep(seconds) => world.sleep(Duration::from_secs(seconds)),
        Step::Edit(new) => world.edit(|spec| {
            let (mode, suspend) = (spec.mode, spec.suspend);
            *spec = ServerProtectionSpec {
                mode,
                suspend,
                ..*new
            };
        }),
        Step::Suspend(suspend) => world.edit(|spec| spec.suspend = suspend),
        Step::Observe(true) => world.edit(|spec| spec.mode = Mode::Observe),
        Step::Observe(false) => world.edit(|spec| spec.mode = Mode::Enforce),
        Step::Conflict(conflicted) => world.conflicted = conflicted,
        Step::Foreign(actual) => world.azure = *actual,
        Step::Restart => world.restart(),
        Step::Request(value) => world.requested = Some(value.to_string()),
        Step::FluxRequest(value) => world.requested_by_flux = Some(value.to_string()),
        Step::Approve(0) => world.approval = None,
        Step::Approve(1) => world.approval = Some(world.generation.to_string()),
        Step::Approve(_) => world.approval = Some("plan.tier=P1,endpointIntegration.state=Disabled".into()),
        Step::Registration(state) => world.registration = state,
        Step::Owner(owner) => world.owner = owner,
        Step::Managed(managed) => world.managed = managed,
        Step::Reporting(reported) => world.reported = reported,
    }
    None
}
