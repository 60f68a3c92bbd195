//! Extensions in transition, services of agents, and codes whose meaning depends on the operating system.

use super::*;
use crate::machines::Environment;

/// A new Ubuntu on premises, connected an hour ago, without an extension.
fn linux_arc() -> Machine {
    with(bare(arc()), |machine| {
        machine.os_type = "linux".into();
        machine.os_name = "linux".into();
        machine.os_sku = "Ubuntu 24.04.3 LTS".into();
        machine.os_version = "6.8.0-87-generic".into();
        machine.arc.as_mut().unwrap().last_status_change = hours_ago(1);
    })
}

fn served(status: &str) -> Machine {
    with(linux_arc(), |machine| {
        machine.arc.as_mut().unwrap().extension_service = Service::of(status);
    })
}

/// An old Arc machine whose extension has a state that Azure dates by the last PUT of the resource.
fn modified(state: &str, hours: Option<i64>) -> Machine {
    with(arc(), |machine| {
        machine.extensions = vec![MdeExtension {
            modified: hours.and_then(hours_ago),
            ..extension("MDE.Windows", state)
        }];
    })
}

fn seen(machine: &Machine, hours: i64) -> Finding {
    find_with(machine, &Exclusions::default(), |it| {
        it.transition_seen = hours_ago(hours);
    })
}

fn outcome(finding: &Finding) -> (Verdict, &str) {
    (finding.verdict, &*finding.reason)
}

#[test]
fn only_a_stopped_service_changes_the_verdict() {
    let waiting = (Verdict::Provisioning, "AwaitingExtension");
    let stopped = (Verdict::Missing, "ExtensionServiceStopped");
    for (status, expected) in [
        ("active", waiting),
        ("Active", waiting),
        ("running", waiting),
        ("", waiting),
        ("activating", waiting),
        ("reloading", waiting),
        ("StartPending", waiting),
        ("unknown", waiting),
        ("a new status", waiting),
        ("stopped", stopped),
        ("Stopped", stopped),
        ("inactive", stopped),
        ("failed", stopped),
        ("dead", stopped),
        ("disabled", stopped),
    ] {
        assert_eq!(outcome(&find(&served(status))), expected, "{status:?}");
    }
}

#[test]
fn a_transition_is_stuck_by_its_own_age_and_never_by_that_of_the_machine() {
    let stuck = (Verdict::Failed, "Stuck");
    let installing = (Verdict::Provisioning, "Installing");
    let removed = (Verdict::Missing, "BeingRemoved");
    for (name, machine, first_seen, expected) in [
        (
            "an automatic upgrade",
            modified("Updating", Some(1)),
            0,
            installing,
        ),
        ("a first run", modified("Creating", Some(1)), 0, installing),
        ("an endless upgrade", modified("Updating", Some(2)), 0, stuck),
        ("an endless first run", modified("Creating", Some(2)), 0, stuck),
        (
            "undated, seen for an hour",
            modified("Updating", None),
            1,
            installing,
        ),
        ("undated, seen for two", modified("Updating", None), 2, stuck),
        // The last PUT does not date the deletion.
        (
            "a deletion, installed long ago",
            modified("Deleting", Some(700)),
            0,
            removed,
        ),
        (
            "a deletion, seen for an hour",
            modified("Deleting", Some(700)),
            1,
            removed,
        ),
        ("an endless deletion", modified("Deleting", Some(700)), 2, stuck),
        (
            "a healthy extension",
            modified("Succeeded", Some(700)),
            9,
            (Verdict::Protected, "Succeeded"),
        ),
    ] {
        let found = seen(&machine, first_seen);
        assert_eq!(outcome(&found), expected, "{name}: {found:?}");
    }
}

#[test]
fn an_instance_view_dates_its_own_status_only() {
    let viewed = |state: &str, code: &str, hours: i64| {
        with(linux(), |machine| {
            machine.extensions[0].state = state.into();
            machine.extensions[0].code = code.into();
            machine.extensions[0].at = hours_ago(hours);
        })
    };
    let stuck = (Verdict::Failed, "Stuck");
    for (state, code, hours, expected) in [
        // The result of the previous run.
        (
            "Updating",
            "ProvisioningState/succeeded",
            900,
            (Verdict::Provisioning, "Installing"),
        ),
        (
            "Updating",
            "ProvisioningState/updating",
            1,
            (Verdict::Provisioning, "Installing"),
        ),
        ("Updating", "ProvisioningState/updating", 2, stuck),
        (
            "Deleting",
            "ProvisioningState/succeeded",
            900,
            (Verdict::Missing, "BeingRemoved"),
        ),
        (
            "Deleting",
            "ProvisioningState/deleting",
            1,
            (Verdict::Missing, "BeingRemoved"),
        ),
        ("Deleting", "ProvisioningState/deleting", 60 * 24, stuck),
    ] {
        let found = find(&viewed(state, code, hours));
        assert_eq!(outcome(&found), expected, "{state} {code}: {found:?}");
    }
    let found = find(&viewed("Deleting", "ProvisioningState/deleting", 1440));
    assert!(found.remedy.contains("remove the extension"), "{}", found.remedy);
    assert_eq!(found.since, hours_ago(1440));
}

#[test]
fn undated_transitions_after_the_grace_period_are_confirmed() {
    let now = at(NOW);
    let needs = |machine: &Machine| find(machine).needs_confirmation(now);
    assert!(needs(&modified("Updating", None)));
    assert!(
        !needs(&modified("Updating", Some(1))),
        "a dated upgrade needs no GET"
    );
    assert!(needs(&modified("Updating", Some(2))));
    assert!(!needs(&linux_arc()), "in the grace period");
    assert!(!needs(&linux()));
    let new = with(modified("Creating", None), |machine| {
        machine.arc.as_mut().unwrap().last_status_change = hours_ago(1);
    });
    assert!(!needs(&new), "a new machine may wait");
    assert!(
        find(&modified("Updating", None))
            .message
            .contains("does not say since when")
    );
}

#[test]
fn an_arc_failure_is_dated_by_the_last_put() {
    let failed = with(modified("Failed", Some(5)), |machine| {
        machine.extensions[0].code = "1".into();
    });
    assert_eq!(find(&failed).since, hours_ago(5));
}

#[test]
fn code_51_means_an_unsupported_system_on_windows_only() {
    let linux = find(&failed("51", ""));
    assert_eq!(outcome(&linux), (Verdict::Failed, "ERR_INSTALL_PATH_SETUP"));
    assert!(linux.verdict.is_eligible());
    let client = with(arc(), |machine| {
        machine.extensions[0].state = "Failed".into();
        machine.extensions[0].code = "51".into();
    });
    assert_eq!(
        outcome(&find(&client)),
        (Verdict::UnsupportedOs, "OsNotSupported")
    );
    // Code 10 means an unsupported system on Linux only.
    let server = with(client, |machine| machine.extensions[0].code = "10".into());
    assert_eq!(
        outcome(&find(&server)),
        (Verdict::Failed, "ERR_UNSUPPORTED_DISTRO")
    );
    let message = "this operating system is not supported";
    assert_eq!(find(&failed("51", message)).verdict, Verdict::UnsupportedOs);
}

#[test]
fn a_linux_arc_machine_is_identified_by_its_distribution() {
    let old = |sku: &str, kernel: &str| {
        with(linux_arc(), |machine| {
            machine.os_sku = sku.into();
            machine.os_version = kernel.into();
            machine.arc.as_mut().unwrap().last_status_change = hours_ago(720);
        })
    };
    for (sku, kernel, expected) in [
        (
            "Ubuntu 24.04.3 LTS",
            "6.8.0-87-generic",
            (Verdict::Missing, "NotDeployed"),
        ),
        // A name without a version: 5.14 is the version of the kernel.
        (
            "Red Hat Enterprise Linux",
            "5.14.0-427.el9.x86_64",
            (Verdict::Unknown, "OsNotListed"),
        ),
        (
            "unknown",
            "5.14.0-427.el9.x86_64",
            (Verdict::Unknown, "OsNotReported"),
        ),
        ("", "5.14.0", (Verdict::Unknown, "OsNotReported")),
    ] {
        let found = find(&old(sku, kernel));
        assert_eq!(outcome(&found), expected, "{sku}: {found:?}");
        assert!(found.verdict.is_eligible());
        // An Arc machine has neither an image nor a VM agent.
        assert!(!found.message.contains("image"), "{}", found.message);
        assert!(found.reason != "OsNotReported" || found.message.contains("Azure Arc agent"));
    }
}

#[test]
fn the_cloud_of_an_arc_machine() {
    let in_cloud = |cloud: &str, by_connector: bool| {
        let machine = with(linux_arc(), |machine| {
            machine.cloud = cloud.into();
            machine.by_connector = by_connector;
            machine.tags = BTreeMap::from([("Cloud".into(), "AWS".into())]);
        });
        machine.environment()
    };
    for (cloud, environment) in [
        ("N/A", Environment::OnPremises),
        ("", Environment::OnPremises),
        ("Azure", Environment::Azure),
        ("azure", Environment::Azure),
        ("AWS", Environment::Aws),
        ("gcp", Environment::Gcp),
        ("VMware", Environment::OnPremises),
    ] {
        assert_eq!(in_cloud(cloud, false), environment, "{cloud}");
    }
    assert_eq!(in_cloud("", true), Environment::Aws);
    assert_eq!(in_cloud("N/A", true), Environment::Aws, "N/A is no cloud");
    assert_eq!(in_cloud("Azure", true), Environment::Azure);
}
