//! The rules: the first one that applies decides. `docs/verdicts.md` is generated from this table.

use super::{
    Kind, Listing, MdeExtension, PlanOff, Service, Verdict,
    operating_systems::{Identified, Support},
    subject::{Subject, is},
};

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// The verdict on a machine to which the rule applies.
    pub verdict: Verdict,
    /// One word in CamelCase. A failed extension has the name of its failure instead.
    pub reason: &'static str,
    /// When the rule applies, in complete sentences. Also the message, unless the rule has one with details.
    pub when: &'static str,
    /// What the user should do. Empty when no action is needed or the failure code has the remedy.
    pub remedy: &'static str,
    pub(super) applies: fn(&Subject<'_>) -> bool,
    pub(super) message_source: MessageSource,
}

/// Where the message of a rule comes from.
#[derive(Debug)]
pub(super) enum MessageSource {
    /// `when`.
    When,
    /// A message with details of the machine.
    Found(fn(&Subject<'_>) -> String),
    /// The table of failure codes.
    Failure,
    /// The health report.
    Health,
}

/// A sentence about a value of Azure that has no meaning here, or that is empty.
fn unrecognized(subject: &str, what: &str, value: &str) -> String {
    if value.is_empty() {
        format!("{subject} has no {what}.")
    } else {
        format!("{subject} has the {what} \"{value}\", which this version does not recognize.")
    }
}

fn not_running(subject: &Subject<'_>) -> String {
    format!(
        "The virtual machine is not running: its power state is {}.",
        subject.power()
    )
}

/// The reason of machines in a subscription whose plan is Free.
const SUBSCRIPTION_PLAN_FREE: &str = "SubscriptionPlanFree";

const REDEPLOY: &str = "Check the machine's agent (the Azure VM agent, or azcmagent check for Azure Arc), then remove the extension, even if it is already Deleting. Defender for Cloud deploys it again.";

/// The rules, in their order.
pub const RULES: [Rule; 38] = [
    Rule {
        verdict: Verdict::DuplicateShell,
        reason: "OtherConnector",
        when: "This Azure Arc resource has no agent. The multicloud connector of Azure Arc created it (tag PublicCloudConnectorsResourceId) for a machine that has another resource.",
        remedy: "",
        applies: |subject| subject.machine.is_foreign_shell(),
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::Excluded,
        reason: "Excluded",
        when: "A rule of spec.machines.exclude selects the machine.",
        remedy: "",
        applies: |subject| subject.excluded_by.is_some(),
        message_source: MessageSource::Found(|subject| {
            format!(
                "The rule \"{}\" of spec.machines.exclude selects the machine.",
                subject.excluded_by.map_or("", |(_, name)| name)
            )
        }),
    },
    Rule {
        verdict: Verdict::Unknown,
        reason: "RowUnreadable",
        when: "Resource Graph returned a row for the machine that cannot be read or has no resource id.",
        remedy: "Compare the machine's row with other rows in Azure Resource Graph Explorer, and report the difference.",
        applies: |subject| subject.machine.listing == Listing::Unreadable,
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::Unknown,
        reason: "NotListed",
        when: "The machine was not protected and Resource Graph no longer lists it, but no direct request has confirmed that it is deleted.",
        remedy: "Wait for the next scans. They confirm the deletion or find the machine again.",
        applies: |subject| subject.machine.listing == Listing::NotListed,
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::AgentlessOnly,
        reason: "UniformScaleSet",
        when: "Defender for Cloud does not deploy the extension to instances of a Uniform scale set. With P2 it scans them without an agent.",
        remedy: "",
        applies: |subject| subject.machine.kind == Kind::UniformScaleSet,
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::PoweredOff,
        reason: "Deallocated",
        when: "The virtual machine is deallocated or hibernated, so its protection cannot be verified. Azure deploys extensions to running machines only. Defender for Servers does not bill deallocated machines.",
        remedy: "",
        applies: |subject| subject.power_is(&["deallocated", "deallocating", "hibernated", "hibernating"]),
        message_source: MessageSource::Found(not_running),
    },
    Rule {
        verdict: Verdict::PoweredOff,
        reason: "Stopped",
        when: "The virtual machine is stopped but still allocated, so its protection cannot be verified. Azure deploys extensions to running machines only. Defender for Servers bills stopped machines.",
        remedy: "Start the machine, or deallocate it.",
        applies: |subject| subject.power_is(&["stopped", "stopping"]),
        message_source: MessageSource::Found(not_running),
    },
    Rule {
        verdict: Verdict::UnsupportedOs,
        reason: "Appliance",
        when: "The image is an appliance, or belongs to a service that manages it (AKS, Databricks, OpenShift, firewalls).",
        remedy: "",
        applies: |subject| !subject.succeeded() && matches!(subject.system, Identified::Appliance(_)),
        message_source: MessageSource::Found(|subject| {
            format!(
                "The image of {} is an appliance or belongs to a service that manages it.",
                subject.system_name()
            )
        }),
    },
    Rule {
        verdict: Verdict::UnsupportedOs,
        reason: "NotSupportedByEndpoint",
        when: "Defender for Endpoint does not support the operating system through Defender for Cloud (see Operating systems).",
        remedy: "Move the machine to a supported operating system. Windows clients need a user license of Defender for Endpoint instead.",
        applies: |subject| !subject.succeeded() && subject.endpoint() == Some(Support::Unsupported),
        message_source: MessageSource::Found(|subject| {
            format!(
                "Defender for Endpoint does not support {} through Defender for Cloud.",
                subject.system_name()
            )
        }),
    },
    Rule {
        verdict: Verdict::UnsupportedOs,
        reason: "RefusedByExtension",
        when: "The extension reported that it does not support the operating system (Linux: codes 10 and 11; Windows: code 51; both: its message).",
        remedy: "",
        applies: |subject| subject.failed() && subject.failure().is_some_and(|failure| failure.unsupported),
        message_source: MessageSource::Failure,
    },
    Rule {
        verdict: Verdict::PlanOff,
        reason: "MachinePlanFree",
        when: "The machine has its own plan, and it is Free. The plan of the subscription does not apply to the machine.",
        remedy: "Delete the machine's own plan, or set plan.inheritance to Enforced. If Free is intended, add the machine to spec.machines.exclude.",
        applies: |subject| subject.rule_context.plan_off == Some(PlanOff::OfMachine),
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::PlanOff,
        reason: SUBSCRIPTION_PLAN_FREE,
        when: "The plan of the subscription is Free, so Defender for Servers does not cover the machine, even if it has the extension. A machine that a connector of AWS or GCP created has the plan of its connector instead.",
        remedy: "Switch on the plan of the subscription (plan.tier P1 or P2).",
        applies: |subject| {
            subject.rule_context.plan_off == Some(PlanOff::OfSubscription) && !subject.machine.by_connector
        },
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::ArcDisconnected,
        reason: "Expired",
        when: "The Azure Arc agent has not connected for 45 days, so the machine's credential has expired.",
        remedy: "Connect the machine to Azure Arc again (azcmagent connect).",
        applies: |subject| subject.arc_is(&["Expired"]),
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::ArcDisconnected,
        reason: "NotConnected",
        when: "The Azure Arc agent has been Disconnected, in Error or still connecting for longer than the grace period.",
        remedy: "Check the machine and its agent (azcmagent show, azcmagent check).",
        applies: |subject| {
            subject.arc_is(&["Disconnected", "Error", "Connecting", "AwaitingConnection"])
                && !subject.in_grace()
        },
        message_source: MessageSource::Found(|subject| {
            let arc = subject.machine.arc.as_ref();
            let reason = arc.map_or("", |arc| arc.status_reason.as_str());
            let status = arc.map_or("", |arc| arc.status.as_str());
            if reason.is_empty() {
                format!("The status of the Azure Arc agent is {status}.")
            } else {
                format!("The status of the Azure Arc agent is {status} ({reason}).")
            }
        }),
    },
    Rule {
        verdict: Verdict::Unknown,
        reason: "ArcStatus",
        when: "The Azure Arc machine has no status, or one that this version does not recognize.",
        remedy: "Check the status of the machine in the Azure portal.",
        applies: |subject| {
            subject.machine.arc.is_some()
                && !subject.arc_is(&[
                    "Connected",
                    "Disconnected",
                    "Error",
                    "Connecting",
                    "AwaitingConnection",
                ])
        },
        message_source: MessageSource::Found(|subject| {
            let status = subject.machine.arc.as_ref().map_or("", |arc| arc.status.as_str());
            unrecognized("The Azure Arc machine", "status", status)
        }),
    },
    Rule {
        verdict: Verdict::Unknown,
        reason: "PowerState",
        when: "The virtual machine has a power state that this version does not recognize.",
        remedy: "Check the power state of the machine in the Azure portal.",
        applies: |subject| {
            !matches!(
                subject.power().to_ascii_lowercase().as_str(),
                "" | "running" | "starting"
            )
        },
        message_source: MessageSource::Found(|subject| {
            unrecognized("The virtual machine", "power state", &subject.machine.power)
        }),
    },
    Rule {
        verdict: Verdict::Failed,
        reason: "Stuck",
        when: "The extension has been Creating, Updating, Deleting or in progress for more than 90 minutes, which is longer than any run takes. The time counts from the date of its instance view, else from its last PUT (systemData.lastModifiedAt), else from the first scan that saw the transition.",
        remedy: REDEPLOY,
        applies: |subject| subject.stuck(),
        message_source: MessageSource::Found(|subject| match subject.extension {
            Some(extension) if !subject.working() && !subject.state("Deleting") => {
                format!(
                    "The extension is {}, but its configuration has been in progress for more than 90 minutes.",
                    extension.state
                )
            }
            extension => format!(
                "The extension has been {} for more than 90 minutes.",
                extension.map_or("", |extension| extension.state.as_str())
            ),
        }),
    },
    Rule {
        verdict: Verdict::Provisioning,
        reason: "InTransition",
        when: "The extension reports that its configuration is in progress.",
        remedy: "",
        applies: |subject| (subject.failed() || subject.succeeded()) && subject.in_progress(),
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::Failed,
        reason: "ExtensionFailed",
        when: "The provisioning state of the extension is Failed or Canceled, or its instance view reports an error. The reason is the name of the failure (see Failures of the extension).",
        remedy: "",
        applies: |subject| subject.failed(),
        message_source: MessageSource::Failure,
    },
    Rule {
        verdict: Verdict::Provisioning,
        reason: "Installing",
        when: "The extension has been Creating or Updating for 90 minutes at most, or since an unknown time.",
        remedy: "",
        applies: |subject| subject.working(),
        message_source: MessageSource::Found(|subject| {
            let state = subject.extension.map_or("", |extension| extension.state.as_str());
            let dated = subject.extension.and_then(MdeExtension::transition_began);
            let unknown = if dated.is_none() {
                "; Azure does not say since when"
            } else {
                ""
            };
            format!("The extension is {state}{unknown}.")
        }),
    },
    Rule {
        verdict: Verdict::Missing,
        reason: "BeingRemoved",
        when: "The extension is being deleted.",
        remedy: "Wait until Defender for Cloud deploys the extension again, which requires the endpoint integration. If it is still there after two hours, check the machine's agent and remove the extension once more.",
        applies: |subject| subject.state("Deleting"),
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::Unknown,
        reason: "InstanceLevel",
        when: "The extension succeeded, but the level of its instance view is neither Info nor Information.",
        remedy: "Check the status of the extension in the Azure portal.",
        applies: |subject| {
            subject.succeeded()
                && !(subject.level("Info") || subject.level("Information") || subject.level(""))
        },
        message_source: MessageSource::Found(|subject| {
            let level = subject.extension.map_or("", |it| it.level.as_str());
            match subject.extension.map_or("", |it| it.message.as_str()) {
                "" => format!("The instance view of the extension has the level {level}."),
                message => format!("The instance view of the extension has the level {level}: {message}"),
            }
        }),
    },
    Rule {
        verdict: Verdict::Failed,
        reason: "SensorUnhealthy",
        when: "The extension succeeded, but Defender for Cloud's health report says that the sensor does not work. Health reports require P2, or P1 with Defender CSPM.",
        remedy: "Run the Client Analyzer, or mdatp health, on the machine. Do not reinstall the sensor first.",
        applies: |subject| subject.succeeded() && subject.rule_context.health.is_some(),
        message_source: MessageSource::Health,
    },
    Rule {
        verdict: Verdict::LegacyAgent,
        reason: "UnifiedSolutionMissing",
        when: "Windows Server 2012 R2 or 2016 has the extension with vNextEnabled set to false, so the retired agent runs instead of the unified solution.",
        remedy: "Set endpointIntegration.unifiedSolution to Enabled, then remove the extension. Defender for Cloud deploys it again with the unified solution.",
        applies: |subject| subject.needs_unified_solution() && subject.unified() == Some(false),
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::Unknown,
        reason: "UnifiedSolutionUnknown",
        when: "Windows Server 2012 R2 or 2016 has the extension without the setting vNextEnabled, so either the unified solution or the retired agent runs. Deployments by hand often lack the setting.",
        remedy: "Remove the extension: Defender for Cloud deploys it again with the setting. To find out first, check on the machine whether the service Sense runs (sc.exe query sense), which belongs to the unified solution.",
        applies: |subject| subject.needs_unified_solution() && subject.unified().is_none(),
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::Unknown,
        reason: "PlanUnreadable",
        when: "The extension succeeded, but the machine has its own plan, which cannot be read and may be Free.",
        remedy: "Check the machine's own plan (Microsoft.Security/pricings) in Azure.",
        applies: |subject| subject.succeeded() && subject.rule_context.plan_unreadable,
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::Unknown,
        reason: "HealthReportUnreadable",
        when: "The extension succeeded, but the machine has a health report that cannot be read and may report a problem of the sensor.",
        remedy: "Check the machine's health report (Microsoft.Security/healthReports) in Azure.",
        applies: |subject| subject.succeeded() && subject.rule_context.health_unreadable,
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::Protected,
        reason: "Succeeded",
        when: "The extension for the machine's operating system succeeded, and neither its instance view nor a health report contradicts that.",
        remedy: "",
        applies: |subject| subject.succeeded(),
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::Unknown,
        reason: "ExtensionState",
        when: "The extension has a provisioning state that this version does not recognize.",
        remedy: "Check the status of the extension in the Azure portal.",
        applies: |subject| subject.extension.is_some(),
        message_source: MessageSource::Found(|subject| {
            let state = subject.extension.map_or("", |it| it.state.as_str());
            unrecognized("The extension", "provisioning state", state)
        }),
    },
    Rule {
        verdict: Verdict::Unknown,
        reason: "ExtensionOfAnotherSystem",
        when: "The only extension is the one for the other operating system (MDE.Linux on Windows, or MDE.Windows on Linux).",
        remedy: "Remove that extension.",
        applies: |subject| !subject.machine.extensions.is_empty(),
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::Missing,
        reason: "ExtensionsDisabled",
        when: "The extension is missing because the Azure Arc agent is configured to accept no extensions (extensions.enabled is false).",
        remedy: "Run azcmagent config set extensions.enabled true on the machine.",
        applies: |subject| {
            subject
                .machine
                .arc
                .as_ref()
                .is_some_and(|arc| is(&arc.extensions_enabled, "false"))
        },
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::Missing,
        reason: "BlockedByList",
        when: "The extension is missing because the allow list or block list of the Azure Arc agent excludes it.",
        remedy: "Allow Microsoft.Azure.AzureDefenderForServers/MDE.Windows or MDE.Linux on the machine (azcmagent config).",
        applies: |subject| subject.blocked(),
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::Missing,
        reason: "ExtensionServiceStopped",
        when: "The extension is missing, and the Azure Arc agent reports that its extension service is not running (Windows: stopped, paused; Linux: inactive, failed, dead; both: disabled).",
        remedy: "Start the extension service on the machine (Windows: ExtensionService, Linux: extd).",
        applies: |subject| {
            subject
                .machine
                .arc
                .as_ref()
                .is_some_and(|arc| arc.extension_service == Service::Stopped)
        },
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::Unknown,
        reason: "OsNotReported",
        when: "The extension is missing and the operating system is unknown: a virtual machine uses a custom image and its VM agent reports no name, or the Azure Arc agent reports none.",
        remedy: "Virtual machine: start the VM agent. Arc machine: run azcmagent show, and update or restart the agent. Otherwise exclude the machine with spec.machines.exclude.",
        applies: |subject| matches!(subject.system, Identified::NotReported),
        message_source: MessageSource::Found(|subject| {
            let cause = if subject.machine.arc.is_some() {
                "the Azure Arc agent reports none"
            } else {
                "the machine uses a custom image and its VM agent reports no name"
            };
            format!("The extension is missing and the operating system is unknown: {cause}.")
        }),
    },
    Rule {
        verdict: Verdict::Unknown,
        reason: "OsNotListed",
        when: "The extension is missing, and this version does not know the operating system or its version (see Operating systems).",
        remedy: "Check whether Defender for Endpoint supports the operating system. If it does not, exclude the machine with spec.machines.exclude.",
        applies: |subject| {
            matches!(subject.system, Identified::NotListed(_))
                || subject.endpoint() == Some(Support::NotListed)
        },
        message_source: MessageSource::Found(|subject| {
            format!(
                "This version does not know whether Defender for Endpoint supports {}.",
                subject.system_name()
            )
        }),
    },
    Rule {
        verdict: Verdict::Provisioning,
        reason: "AwaitingAgent",
        when: "The extension is missing and the Azure Arc agent is not connected, but the grace period has not ended.",
        remedy: "",
        applies: |subject| subject.machine.arc.is_some() && !subject.arc_is(&["Connected"]),
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::Provisioning,
        reason: "AwaitingExtension",
        when: "The extension is missing, but the grace period has not ended. It starts with the creation of the virtual machine, the connection of the Azure Arc agent or the plan, whichever is latest.",
        remedy: "",
        applies: |subject| subject.in_grace(),
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::Missing,
        reason: "NotDeployed",
        when: "The extension is missing, and the grace period has ended.",
        remedy: "Check the plan, the endpoint integration and the machine's agent. The first deployment takes up to 12 hours, later ones about one hour.",
        applies: |_| true,
        message_source: MessageSource::When,
    },
];
