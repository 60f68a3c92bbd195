//! The table of cases: a machine, and its verdict and reason.

use super::*;

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn each_case_has_its_verdict_and_reason() {
    use Verdict::*;
    let state = |state: &str| with(linux(), |machine| machine.extensions[0].state = state.into());
    let power = |power: &str| with(linux(), |machine| machine.power = power.into());
    let working = |hours: Option<i64>, created: i64| {
        with(linux(), |machine| {
            machine.extensions[0].state = "Creating".into();
            machine.extensions[0].at = hours.and_then(hours_ago);
            machine.created = hours_ago(created);
        })
    };
    let windows = |sku: &str, unified: Option<bool>| {
        with(linux(), |machine| {
            machine.os_type = "Windows".into();
            machine.image = image("MicrosoftWindowsServer", "WindowsServer", sku);
            machine.extensions = vec![extension("MDE.Windows", "Succeeded")];
            machine.extensions[0].unified = unified;
        })
    };
    let custom = |machine: Machine| with(machine, |machine| machine.image = None);
    let cases: Vec<(&str, Machine, Verdict, &str)> = vec![
        ("healthy virtual machine", linux(), Protected, "Succeeded"),
        ("healthy Arc machine", arc(), Protected, "Succeeded"),
        (
            "healthy on a custom image: an extension that works proves that the system is supported",
            custom(linux()),
            Protected,
            "Succeeded",
        ),
        (
            "healthy on an unlisted system",
            with(linux(), |m| m.image = image("contoso", "plan9", "fourth")),
            Protected,
            "Succeeded",
        ),
        ("unknown power state", power(""), Protected, "Succeeded"),
        ("starting", power("PowerState/starting"), Protected, "Succeeded"),
        (
            "deallocated",
            power("PowerState/deallocated"),
            PoweredOff,
            "Deallocated",
        ),
        (
            "hibernated",
            power("PowerState/hibernated"),
            PoweredOff,
            "Deallocated",
        ),
        ("stopped", power("PowerState/Stopped"), PoweredOff, "Stopped"),
        (
            "a new power state",
            power("PowerState/dreaming"),
            Unknown,
            "PowerState",
        ),
        (
            "a new provisioning state",
            state("Migrating"),
            Unknown,
            "ExtensionState",
        ),
        ("deleting", state("Deleting"), Missing, "BeingRemoved"),
        ("canceled", state("Canceled"), Failed, "ExtensionFailed"),
        (
            "failed without code or message",
            state("Failed"),
            Failed,
            "ExtensionFailed",
        ),
        (
            "failed, code in the status",
            failed("ProvisioningState/failed/24", ""),
            Failed,
            "ERR_FAILED_REPO_SETUP",
        ),
        (
            "failed, code in the message",
            failed("", "ended with code: 4"),
            Failed,
            "ERR_NO_INTERNET_CONNECTIVITY",
        ),
        ("failed, unlisted code", failed("97", ""), Failed, "Code97"),
        (
            "failed without the script",
            failed(
                "",
                "Protected Setting defenderForEndpointOnboardingScript does not exist",
            ),
            Failed,
            "OnboardingScriptMissing",
        ),
        (
            "the extension refuses a listed system",
            failed("11", ""),
            UnsupportedOs,
            "ERR_UNSUPPORTED_VERSION",
        ),
        (
            "configuration in progress",
            with(
                failed("ProvisioningState/transitioning/1", "Configuration In Progress"),
                |machine| machine.extensions[0].at = hours_ago(1),
            ),
            Provisioning,
            "InTransition",
        ),
        (
            "configuration in progress for five hours",
            failed("ProvisioningState/transitioning/1", "Configuration In Progress"),
            Failed,
            "Stuck",
        ),
        (
            "creating for an hour",
            working(Some(1), 720),
            Provisioning,
            "Installing",
        ),
        ("creating for two hours", working(Some(2), 720), Failed, "Stuck"),
        (
            "creating for an unknown time, new machine",
            working(None, 2),
            Provisioning,
            "Installing",
        ),
        (
            "creating for an unknown time, old machine: its age proves nothing",
            working(None, 720),
            Provisioning,
            "Installing",
        ),
        ("no extension, old", bare(linux()), Missing, "NotDeployed"),
        (
            "no extension, new",
            with(bare(linux()), |m| m.created = hours_ago(3)),
            Provisioning,
            "AwaitingExtension",
        ),
        (
            "no extension, unknown age",
            with(bare(linux()), |m| m.created = None),
            Missing,
            "NotDeployed",
        ),
        (
            "no extension, custom image",
            custom(bare(linux())),
            Unknown,
            "OsNotReported",
        ),
        (
            "no extension, custom image, the agent reports the system",
            custom(with(bare(linux()), |m| {
                m.os_name = "ubuntu".into();
                m.os_version = "22.04".into();
            })),
            Missing,
            "NotDeployed",
        ),
        (
            "no extension, unlisted system",
            with(bare(linux()), |m| m.image = image("contoso", "plan9", "fourth")),
            Unknown,
            "OsNotListed",
        ),
        (
            "no extension, a system newer than the table",
            with(bare(linux()), |m| {
                m.image = image("Debian", "debian-14", "14-gen2");
            }),
            Unknown,
            "OsNotListed",
        ),
        (
            "no extension, a system about which the sources conflict",
            with(windows("2008-R2-SP1", None), |m| m.extensions.clear()),
            Unknown,
            "OsNotListed",
        ),
        (
            "no extension, a major version of which some minor ones are supported",
            with(bare(linux()), |m| m.image = image("RedHat", "RHEL", "7-RAW")),
            Missing,
            "NotDeployed",
        ),
        (
            "no extension, supported on x64 only",
            with(bare(linux()), |m| {
                m.image = image("Oracle", "Oracle-Linux", "7.9");
                m.architecture = Architecture::Arm64;
            }),
            UnsupportedOs,
            "NotSupportedByEndpoint",
        ),
        (
            "no extension, appliance",
            with(bare(linux()), |m| m.image = image("fortinet", "fortigate", "x")),
            UnsupportedOs,
            "Appliance",
        ),
        (
            "no extension, firewall",
            with(bare(linux()), |m| {
                m.image = image("vendor", "Cloud-Firewall", "x");
            }),
            UnsupportedOs,
            "Appliance",
        ),
        (
            "no extension, AKS node",
            with(bare(linux()), |m| m.image = image("microsoft-aks", "aks", "x")),
            UnsupportedOs,
            "Appliance",
        ),
        (
            "no extension, Windows client",
            with(bare(linux()), |m| {
                m.os_type = "Windows".into();
                m.image = image("MicrosoftWindowsDesktop", "windows-11", "win11-23h2-pro");
            }),
            UnsupportedOs,
            "NotSupportedByEndpoint",
        ),
        (
            "no extension, multi-session",
            with(bare(linux()), |m| {
                m.os_type = "Windows".into();
                m.image = image("MicrosoftWindowsDesktop", "windows-11", "win11-23h2-avd");
            }),
            Missing,
            "NotDeployed",
        ),
        (
            "no extension, too old",
            with(bare(linux()), |m| {
                m.image = image("canonical", "UbuntuServer", "14.04.5-LTS");
            }),
            UnsupportedOs,
            "NotSupportedByEndpoint",
        ),
        (
            "the other system's extension",
            with(linux(), |m| {
                m.extensions = vec![extension("MDE.Windows", "Succeeded")];
            }),
            Unknown,
            "ExtensionOfAnotherSystem",
        ),
        (
            "two extensions, one good",
            with(linux(), |m| {
                m.extensions.insert(0, extension("MDE.Linux", "Failed"));
            }),
            Protected,
            "Succeeded",
        ),
        (
            "2016 with the unified solution",
            windows("2016-Datacenter", Some(true)),
            Protected,
            "Succeeded",
        ),
        (
            "2016 without",
            windows("2016-Datacenter", Some(false)),
            LegacyAgent,
            "UnifiedSolutionMissing",
        ),
        (
            "2012 R2 without",
            windows("2012-R2-Datacenter", Some(false)),
            LegacyAgent,
            "UnifiedSolutionMissing",
        ),
        (
            "2016 without the setting: either may run",
            windows("2016-Datacenter", None),
            Unknown,
            "UnifiedSolutionUnknown",
        ),
        (
            "2012 R2 without the setting",
            windows("2012-R2-Datacenter", None),
            Unknown,
            "UnifiedSolutionUnknown",
        ),
        (
            "2022 without the setting",
            windows("2022-datacenter-azure-edition", None),
            Protected,
            "Succeeded",
        ),
        (
            "2019 needs none",
            windows("2019-Datacenter", Some(false)),
            Protected,
            "Succeeded",
        ),
        (
            "scale set",
            with(bare(linux()), |m| m.kind = Kind::UniformScaleSet),
            AgentlessOnly,
            "UniformScaleSet",
        ),
        (
            "shell of the other connector",
            with(bare(agent(|a| a.agent_version.clear())), |m| {
                m.other_connector = true;
            }),
            DuplicateShell,
            "OtherConnector",
        ),
        (
            "shell of the other connector, a version but no identity",
            with(bare(arc()), |m| {
                m.other_connector = true;
                m.identity = "None".into();
            }),
            DuplicateShell,
            "OtherConnector",
        ),
        (
            "the other connector, with an agent",
            with(arc(), |m| m.other_connector = true),
            Protected,
            "Succeeded",
        ),
        (
            "Arc expired",
            agent(|a| a.status = "Expired".into()),
            ArcDisconnected,
            "Expired",
        ),
        (
            "Arc disconnected for long",
            agent(|a| a.status = "Disconnected".into()),
            ArcDisconnected,
            "NotConnected",
        ),
        (
            "Arc disconnected recently",
            agent(|a| {
                a.status = "Disconnected".into();
                a.last_status_change = hours_ago(1);
            }),
            Protected,
            "Succeeded",
        ),
        (
            "Arc disconnected recently, no extension",
            bare(agent(|a| {
                a.status = "Disconnected".into();
                a.last_status_change = hours_ago(1);
            })),
            Provisioning,
            "AwaitingAgent",
        ),
        (
            "Arc in error",
            agent(|a| a.status = "Error".into()),
            ArcDisconnected,
            "NotConnected",
        ),
        (
            "Arc with a new status",
            agent(|a| a.status = "Sleeping".into()),
            Unknown,
            "ArcStatus",
        ),
        (
            "Arc without a status",
            agent(|a| a.status.clear()),
            Unknown,
            "ArcStatus",
        ),
        (
            "Arc, instance view says Error",
            with(arc(), |m| m.extensions[0].level = "Error".into()),
            Failed,
            "ExtensionFailed",
        ),
        (
            "Arc, instance view warns",
            with(arc(), |m| m.extensions[0].level = "Warning".into()),
            Unknown,
            "InstanceLevel",
        ),
        (
            "Arc accepts no extensions",
            bare(agent(|a| a.extensions_enabled = "false".into())),
            Missing,
            "ExtensionsDisabled",
        ),
        (
            "Arc block list",
            bare(agent(|a| {
                a.block_list = vec!["microsoft.azure.azuredefenderforservers/mde.windows".into()];
            })),
            Missing,
            "BlockedByList",
        ),
        (
            "Arc block list for the other system",
            bare(agent(|a| {
                a.block_list = vec!["Microsoft.Azure.AzureDefenderForServers/MDE.Linux".into()];
            })),
            Missing,
            "NotDeployed",
        ),
        (
            "Arc allow list without it",
            bare(agent(|a| {
                a.allow_list = vec!["Microsoft.Azure.Monitor/AzureMonitorWindowsAgent".into()];
            })),
            Missing,
            "BlockedByList",
        ),
        (
            "Arc extension service",
            bare(agent(|a| a.extension_service = Service::Stopped)),
            Missing,
            "ExtensionServiceStopped",
        ),
        (
            "Arc, 2008 R2",
            bare(with(arc(), |m| m.os_sku = "Windows Server 2012 Standard".into())),
            UnsupportedOs,
            "NotSupportedByEndpoint",
        ),
    ];
    for (name, machine, verdict, reason) in cases {
        let found = find(&machine);
        assert_eq!(
            (found.verdict, &*found.reason),
            (verdict, reason),
            "{name}: {found:?}"
        );
        assert!(!found.message.is_empty(), "{name}: no message");
        assert!(
            !(verdict.is_bad() && found.remedy.is_empty()),
            "{name}: no remedy"
        );
    }
}
