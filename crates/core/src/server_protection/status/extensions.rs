//! What is known about each extension. Azure reports a result only in the response to the write that switched the
//! extension on (docs/azure-api.md 1.6), so it is kept from reconcile to reconcile.

use serverprotection_api::ExtensionStatus;

use super::{Phase, repeat_is_lost};
use crate::{
    printable,
    server_protection::{
        decide::{Input, leaves_plan, write_is_open},
        desired::Desired,
        field::ExtensionName,
        observed::{Extension, OperationStatus, Plan},
        provisioning::Provisioning,
    },
    switch::{ENABLED, switch_name},
};

/// Longest message of an extension, in characters.
const LONGEST_MESSAGE: usize = 1024;

/// One entry for each extension of the plan.
pub(super) fn statuses(input: &Input<'_>, plan: &Plan, phase: Phase<'_>) -> Vec<ExtensionStatus> {
    let response = phase.outcome().and_then(|outcome| outcome.response.as_ref());
    let results = response.map(|answer| answer.results.as_slice());
    let mut all: Vec<_> = plan
        .extensions
        .iter()
        .map(|extension| status(input, extension, results, phase))
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    // The API server refuses a status with a name twice, and long names may differ only where they are cut.
    all.dedup_by(|a, b| a.name == b.name);
    all.truncate(32);
    all
}

fn status(
    input: &Input<'_>,
    extension: &Extension,
    results: Option<&[OperationStatus]>,
    phase: Phase<'_>,
) -> ExtensionStatus {
    let mut known = previous(input, &extension.name).cloned().unwrap_or_default();
    let was_on = known.state == ENABLED;
    known.name = printable::short(extension.name.azure_name());
    known.state = switch_name(extension.enabled).into();

    let reported = results
        .into_iter()
        .flatten()
        .find(|result| result.extension == extension.name);
    let failed = Provisioning::Failed.is_of(&known);
    let succeeded_before = was_on && Provisioning::Succeeded.is_of(&known);
    let answered = results.is_some();
    // No result can arrive any more: the response to the repeated write contained none or was lost, or the object no
    // longer writes.
    let leaves = matches!(phase, Phase::AfterWrite(_)) && leaves_plan(input);
    let over = answered || leaves || repeat_is_lost(input, phase);
    let off_as_demanded =
        !extension.enabled && Desired::of(input.spec).extension(&extension.name) == Some(false);
    let lost = over && write_is_open(input.previous) && !succeeded_before;

    match reported {
        Some(result) if result.succeeded() => {
            set(
                &mut known,
                extension.enabled.then_some(Provisioning::Succeeded),
                None,
            );
        }
        Some(result) => set(
            &mut known,
            Some(Provisioning::Failed),
            Some(printable::limited(&result.message, LONGEST_MESSAGE)),
        ),
        // A failed extension reads as on or off (unconfirmed). The failure is kept until a write reports another
        // result, or until the extension is off as the spec demands.
        None if failed && !answered && !off_as_demanded => {}
        None if !extension.enabled => set(&mut known, None, None),
        None if failed || lost => set(&mut known, Some(Provisioning::ResultLost), None),
        None if known.provisioning.is_none() => set(&mut known, Some(Provisioning::NotReported), None),
        None => {}
    }
    known
}

fn set(status: &mut ExtensionStatus, provisioning: Option<Provisioning>, message: Option<String>) {
    status.provisioning = provisioning.map(|result| result.as_str().to_owned());
    status.message = message;
}

fn previous<'a>(input: &Input<'a>, name: &ExtensionName) -> Option<&'a ExtensionStatus> {
    let known = input.previous.plan.iter().flat_map(|plan| &plan.extensions);
    known.into_iter().find(|extension| name.is_named(&extension.name))
}
