//! The rules: the first one that applies decides. The page "What the verdicts mean" is made from this table.

use std::borrow::Cow;

use k8s_openapi::jiff::SignedDuration;

use super::{
    Kind, Listing, Machine, MdeExtension, RuleContext, Service, Verdict,
    failures::{self, FailureCode},
    machine::MDE_PUBLISHER,
    operating_systems::{Identified, Support, identify},
};
use crate::Timestamp;

/// An extension's run ends after this long (docs/azure-api.md 6.2); later it is stuck.
const LONGEST_RUN: SignedDuration = SignedDuration::from_mins(90);

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// What it finds.
    pub verdict: Verdict,
    /// Why, as one word; `None`: the failure's own name.
    pub reason: &'static str,
    /// When it applies, for people.
    pub when: &'static str,
    /// What to do; empty: nothing, or as the failure's code says.
    pub remedy: &'static str,
    pub(super) applies: fn(&Subject<'_>) -> bool,
    pub(super) message_source: MessageSource,
}

/// How a rule words its message.
#[derive(Debug)]
pub(super) enum MessageSource {
    /// As `when`.
    When,
    /// With what was found.
    Found(fn(&Subject<'_>) -> String),
    /// As the table of failure codes.
    Failure,
    /// As the health report.
    Health,
}

/// A machine and what was worked out of it, once.
pub(super) struct Subject<'a> {
    pub(super) machine: &'a Machine,
    pub(super) rule_context: &'a RuleContext<'a>,
    pub(super) excluded_by: Option<(usize, &'a str)>,
    /// The extension of the type that belongs on the machine, the best one of several.
    pub(super) extension: Option<&'a MdeExtension>,
    pub(super) system: Identified,
    /// When the grace period ends; `None`: nobody tells when it began.
    pub(super) grace_until: Option<Timestamp>,
}

impl<'a> Subject<'a> {
    pub(super) fn new(machine: &'a Machine, rule_context: &'a RuleContext<'a>) -> Self {
        let expected = machine.expected_extension();
        let fitting = |extension: &&MdeExtension| {
            expected.is_none_or(|expected| extension.type_.eq_ignore_ascii_case(expected))
        };
        let extension = machine
            .extensions
            .iter()
            .filter(fitting)
            .min_by_key(|extension| !extension.is("Succeeded"));
        // A virtual machine can take the extension from its creation on, an Arc machine since its agent connected.
        let began = match &machine.arc {
            Some(arc) => arc.last_status_change,
            None => machine.created,
        };
        let began = began.max(rule_context.plan_enabled_since);
        Self {
            machine,
            rule_context,
            excluded_by: rule_context.exclusions.excluding(machine),
            extension,
            system: identify(machine),
            grace_until: began.and_then(|began| began.checked_add(rule_context.grace).ok()),
        }
    }

    pub(super) fn in_grace(&self) -> bool {
        self.grace_until
            .is_some_and(|until| self.rule_context.now < until)
    }

    fn state(&self, state: &str) -> bool {
        self.extension.is_some_and(|extension| extension.is(state))
    }

    fn succeeded(&self) -> bool {
        self.state("Succeeded")
    }

    fn failed(&self) -> bool {
        self.state("Failed") || self.state("Canceled") || (self.succeeded() && self.level("Error"))
    }

    fn working(&self) -> bool {
        self.extension.is_some_and(MdeExtension::is_working)
    }

    fn level(&self, level: &str) -> bool {
        self.extension
            .is_some_and(|extension| is(&extension.level, level))
    }

    fn half_way(&self) -> bool {
        self.extension.is_some_and(MdeExtension::is_half_way)
    }

    /// A transition that has lasted longer than any run: since Azure's date, else since the first scan that saw it.
    /// Without either nothing speaks against it yet; the age of the machine does not.
    fn stuck(&self) -> bool {
        let in_transition = self.extension.filter(|extension| extension.in_transition());
        let began = in_transition.and_then(|extension| {
            let dated = extension.transition_began();
            dated.or(self.rule_context.transition_seen)
        });
        began.is_some_and(|began| self.rule_context.now.duration_since(began) > LONGEST_RUN)
    }

    pub(super) fn failure(&self) -> Option<&'static FailureCode> {
        self.extension.and_then(|extension| failures::decode(extension).1)
    }

    fn power(&self) -> &str {
        self.machine.power.rsplit('/').next().unwrap_or_default()
    }

    fn arc_is(&self, statuses: &[&str]) -> bool {
        let arc = self.machine.arc.as_ref();
        arc.is_some_and(|arc| statuses.iter().any(|status| is(&arc.status, status)))
    }

    fn endpoint(&self) -> Option<Support> {
        match &self.system {
            Identified::Known(known) => Some(known.endpoint()),
            _ => None,
        }
    }

    /// Why the Arc agent would refuse the extension.
    fn blocked(&self) -> bool {
        let Some(arc) = &self.machine.arc else {
            return false;
        };
        let listed = |list: &[String]| {
            let expected = self.machine.expected_extension();
            list.iter().any(|entry| {
                let (publisher, type_) = entry.split_once('/').unwrap_or((entry, ""));
                publisher.eq_ignore_ascii_case(MDE_PUBLISHER)
                    && (type_.is_empty()
                        || expected.is_none_or(|expected| type_.eq_ignore_ascii_case(expected)))
            })
        };
        listed(&arc.block_list) || (!arc.allow_list.is_empty() && !listed(&arc.allow_list))
    }

    fn system_name(&self) -> String {
        match &self.system {
            Identified::Known(known) => known.name(),
            Identified::Appliance(name) | Identified::NotListed(name) => name.clone(),
            Identified::NotReported => "an unknown system".into(),
        }
    }
}

fn is(text: &str, word: &str) -> bool {
    text.eq_ignore_ascii_case(word)
}

const REDEPLOY: &str = "check the machine's agent (Azure: the VM agent, Arc: azcmagent check), then remove the extension, once more if it is Deleting: Defender for Cloud deploys it again";
const RECONNECT: &str = "check the machine and its agent (azcmagent show, azcmagent check); an expired one must be connected again";

/// The rules, in their order.
pub const RULES: [Rule; 35] = [
    Rule {
        verdict: Verdict::DuplicateShell,
        reason: "OtherConnector",
        when: "an Arc resource without an agent, made by the multicloud connector of Azure Arc (tag PublicCloudConnectorsResourceId): the machine has another resource",
        remedy: "",
        applies: |case| case.machine.is_foreign_shell(),
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::Excluded,
        reason: "Excluded",
        when: "a rule of spec.machines.exclude selects the machine",
        remedy: "",
        applies: |case| case.excluded_by.is_some(),
        message_source: MessageSource::Found(|case| {
            format!(
                "spec.machines.exclude: {}",
                case.excluded_by.map_or("", |(_, name)| name)
            )
        }),
    },
    Rule {
        verdict: Verdict::Unknown,
        reason: "RowUnreadable",
        when: "Resource Graph lists the machine in a row that cannot be read, or that has no id",
        remedy: "compare the machine's row in Azure Resource Graph Explorer with the rows of other machines, and report the difference",
        applies: |case| case.machine.listing == Listing::Unreadable,
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::Unknown,
        reason: "NotListed",
        when: "Resource Graph no longer lists the machine, which was not protected, and no direct request has confirmed that it is deleted",
        remedy: "none if it was deleted: the next scans confirm that; otherwise wait until Resource Graph lists it again",
        applies: |case| case.machine.listing == Listing::NotListed,
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::AgentlessOnly,
        reason: "UniformScaleSet",
        when: "instances of a Uniform scale set: Defender for Cloud puts no extension on them; with P2 they are scanned without an agent",
        remedy: "",
        applies: |case| case.machine.kind == Kind::UniformScaleSet,
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::PoweredOff,
        reason: "NotRunning",
        when: "the virtual machine does not run: extensions arrive on running machines only, and nothing can be said",
        remedy: "",
        applies: |case| {
            [
                "deallocated",
                "deallocating",
                "stopped",
                "stopping",
                "hibernated",
                "hibernating",
            ]
            .iter()
            .any(|power| is(case.power(), power))
        },
        message_source: MessageSource::Found(|case| format!("power state: {}", case.power())),
    },
    Rule {
        verdict: Verdict::UnsupportedOs,
        reason: "Appliance",
        when: "the image is an appliance, or belongs to a service that manages it (AKS, Databricks, OpenShift, firewalls)",
        remedy: "",
        applies: |case| !case.succeeded() && matches!(case.system, Identified::Appliance(_)),
        message_source: MessageSource::Found(|case| format!("image of {}", case.system_name())),
    },
    Rule {
        verdict: Verdict::UnsupportedOs,
        reason: "NotSupportedByEndpoint",
        when: "Defender for Endpoint does not support the system through Defender for Cloud (table below)",
        remedy: "move the machine to a supported system; Windows clients are protected through a user's licence",
        applies: |case| !case.succeeded() && case.endpoint() == Some(Support::Unsupported),
        message_source: MessageSource::Found(|case| {
            format!(
                "{} is not supported by Defender for Endpoint through Defender for Cloud",
                case.system_name()
            )
        }),
    },
    Rule {
        verdict: Verdict::UnsupportedOs,
        reason: "RefusedByExtension",
        when: "the extension itself says that the system is not supported (Linux: codes 10 and 11; Windows: code 51; or its message)",
        remedy: "",
        applies: |case| case.failed() && case.failure().is_some_and(|failure| failure.unsupported),
        message_source: MessageSource::Failure,
    },
    Rule {
        verdict: Verdict::PlanOff,
        reason: "MachinePlanFree",
        when: "the machine has a plan of its own, and it is Free: the subscription's plan does not reach it",
        remedy: "delete the machine's own pricing, or set plan.inheritance to Enforced; leave it out with spec.machines.exclude if it is meant",
        applies: |case| case.rule_context.plan_off,
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::ArcDisconnected,
        reason: "Expired",
        when: "the Arc agent has not been heard of for 45 days: the machine's credential has expired",
        remedy: RECONNECT,
        applies: |case| case.arc_is(&["Expired"]),
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::ArcDisconnected,
        reason: "NotConnected",
        when: "the Arc agent is Disconnected, in Error, or still connecting, for longer than the grace period",
        remedy: RECONNECT,
        applies: |case| {
            case.arc_is(&["Disconnected", "Error", "Connecting", "AwaitingConnection"]) && !case.in_grace()
        },
        message_source: MessageSource::Found(|case| {
            let arc = case.machine.arc.as_ref();
            let reason = arc.map_or("", |arc| arc.status_reason.as_str());
            let status = arc.map_or("", |arc| arc.status.as_str());
            if reason.is_empty() {
                format!("Arc status {status}")
            } else {
                format!("Arc status {status} ({reason})")
            }
        }),
    },
    Rule {
        verdict: Verdict::Unknown,
        reason: "ArcStatus",
        when: "the Arc machine has a status that is not known here, or none",
        remedy: "look at the machine in Azure",
        applies: |case| {
            case.machine.arc.is_some()
                && !case.arc_is(&[
                    "Connected",
                    "Disconnected",
                    "Error",
                    "Connecting",
                    "AwaitingConnection",
                ])
        },
        message_source: MessageSource::Found(|case| {
            format!(
                "Arc status {:?}",
                case.machine.arc.as_ref().map_or("", |arc| arc.status.as_str())
            )
        }),
    },
    Rule {
        verdict: Verdict::Unknown,
        reason: "PowerState",
        when: "the virtual machine has a power state that is not known here",
        remedy: "look at the machine in Azure",
        applies: |case| {
            !matches!(
                case.power().to_ascii_lowercase().as_str(),
                "" | "running" | "starting"
            )
        },
        message_source: MessageSource::Found(|case| format!("power state {:?}", case.machine.power)),
    },
    Rule {
        verdict: Verdict::Failed,
        reason: "Stuck",
        when: "the extension has been Creating, Updating, Deleting or half-way for longer than a run can take (90 minutes): since the date of its instance view, else of its last PUT (systemData.lastModifiedAt), else since the first scan that saw it so",
        remedy: REDEPLOY,
        applies: |case| case.stuck(),
        message_source: MessageSource::Found(|case| match case.extension {
            Some(extension) if !case.working() && !case.state("Deleting") => {
                format!(
                    "the extension is {}, and its configuration is still in progress",
                    extension.state
                )
            }
            extension => format!(
                "the extension is still {}",
                extension.map_or("", |extension| extension.state.as_str())
            ),
        }),
    },
    Rule {
        verdict: Verdict::Provisioning,
        reason: "InTransition",
        when: "the extension reports that its configuration is in progress",
        remedy: "",
        applies: |case| (case.failed() || case.succeeded()) && case.half_way(),
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::Failed,
        reason: "ExtensionFailed",
        when: "the extension's provisioning state is Failed or Canceled, or its instance view says Error; the reason is the failure's name (table below)",
        remedy: "",
        applies: |case| case.failed(),
        message_source: MessageSource::Failure,
    },
    Rule {
        verdict: Verdict::Provisioning,
        reason: "Installing",
        when: "the extension is Creating or Updating, for 90 minutes at most, or since a time that is not known",
        remedy: "",
        applies: |case| case.working(),
        message_source: MessageSource::Found(|case| {
            let state = case.extension.map_or("", |extension| extension.state.as_str());
            let dated = case.extension.and_then(MdeExtension::transition_began);
            let unknown = if dated.is_none() {
                "; Azure does not say since when"
            } else {
                ""
            };
            format!("the extension is {state}{unknown}")
        }),
    },
    Rule {
        verdict: Verdict::Missing,
        reason: "BeingRemoved",
        when: "the extension is being deleted",
        remedy: "wait: with the integration on, Defender for Cloud deploys it again; check the machine's agent and remove the extension once more if it is still there after two hours",
        applies: |case| case.state("Deleting"),
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::Unknown,
        reason: "InstanceLevel",
        when: "the extension Succeeded, but its instance view has a level other than Info or Information",
        remedy: "look at the extension in Azure",
        applies: |case| {
            case.succeeded() && !(case.level("Info") || case.level("Information") || case.level(""))
        },
        message_source: MessageSource::Found(|case| {
            let extension = case.extension;
            format!(
                "level {:?}: {}",
                extension.map_or("", |it| it.level.as_str()),
                extension.map_or("", |it| it.message.as_str())
            )
        }),
    },
    Rule {
        verdict: Verdict::Failed,
        reason: "SensorUnhealthy",
        when: "the extension Succeeded, but Defender's health report says that the sensor does not work (P2, or P1 with Defender CSPM)",
        remedy: "run the Client Analyzer, or mdatp health, on the machine; do not reinstall first",
        applies: |case| case.succeeded() && case.rule_context.health.is_some(),
        message_source: MessageSource::Health,
    },
    Rule {
        verdict: Verdict::LegacyAgent,
        reason: "UnifiedSolutionMissing",
        when: "Windows Server 2012 R2 or 2016 with the extension, but without vNextEnabled: the retired agent runs instead of the unified solution",
        remedy: "set endpointIntegration.unifiedSolution to Enabled, then remove the extension: Defender for Cloud deploys it again",
        applies: |case| {
            case.succeeded()
                && matches!(&case.system, Identified::Known(known) if known.needs_unified_solution())
                && case.extension.is_some_and(|extension| !extension.unified)
        },
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::Unknown,
        reason: "PlanUnreadable",
        when: "the extension Succeeded, but the machine has a plan of its own that cannot be read: it may be Free",
        remedy: "look at the machine's own pricing (Microsoft.Security/pricings) in Azure",
        applies: |case| case.succeeded() && case.rule_context.plan_unreadable,
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::Unknown,
        reason: "HealthReportUnreadable",
        when: "the extension Succeeded, but the machine has a health report that cannot be read: it may speak against the sensor",
        remedy: "look at the machine's health report (Microsoft.Security/healthReports) in Azure",
        applies: |case| case.succeeded() && case.rule_context.health_unreadable,
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::Protected,
        reason: "Succeeded",
        when: "the extension of the machine's system Succeeded, and no instance view or health report speaks against it",
        remedy: "",
        applies: |case| case.succeeded(),
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::Unknown,
        reason: "ExtensionState",
        when: "the extension has a provisioning state that is not known here",
        remedy: "look at the extension in Azure",
        applies: |case| case.extension.is_some(),
        message_source: MessageSource::Found(|case| {
            format!(
                "provisioning state {:?}",
                case.extension.map_or("", |it| it.state.as_str())
            )
        }),
    },
    Rule {
        verdict: Verdict::Unknown,
        reason: "ExtensionOfAnotherSystem",
        when: "the only extension is the one of the other system (MDE.Linux on Windows, or the reverse)",
        remedy: "remove that extension",
        applies: |case| !case.machine.extensions.is_empty(),
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::Missing,
        reason: "ExtensionsDisabled",
        when: "there is no extension, and the Arc agent is configured to take none (extensions.enabled is false)",
        remedy: "on the machine: azcmagent config set extensions.enabled true",
        applies: |case| {
            case.machine
                .arc
                .as_ref()
                .is_some_and(|arc| is(&arc.extensions_enabled, "false"))
        },
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::Missing,
        reason: "BlockedByList",
        when: "there is no extension, and the Arc agent's allow or block list keeps it out",
        remedy: "on the machine: allow Microsoft.Azure.AzureDefenderForServers/MDE.Windows or MDE.Linux (azcmagent config)",
        applies: |case| case.blocked(),
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::Missing,
        reason: "ExtensionServiceStopped",
        when: "there is no extension, and the Arc agent says that its extension service does not run (Windows: stopped, paused; Linux: inactive, failed, dead; or disabled)",
        remedy: "on the machine: start the extension service (Windows: ExtensionService, Linux: extd)",
        applies: |case| {
            case.machine
                .arc
                .as_ref()
                .is_some_and(|arc| arc.extension_service == Service::Stopped)
        },
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::Unknown,
        reason: "OsNotTold",
        when: "there is no extension, and nobody tells the system: a custom image whose agent reports no name",
        remedy: "start the VM agent, or leave the machine out with spec.machines.exclude",
        applies: |case| matches!(case.system, Identified::NotReported),
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::Unknown,
        reason: "OsNotListed",
        when: "there is no extension, and the system or its version is not in the table below",
        remedy: "check whether Defender for Endpoint supports it; leave the machine out with spec.machines.exclude if not",
        applies: |case| {
            matches!(case.system, Identified::NotListed(_)) || case.endpoint() == Some(Support::NotListed)
        },
        message_source: MessageSource::Found(|case| {
            format!("{} is not in the table of systems", case.system_name())
        }),
    },
    Rule {
        verdict: Verdict::Provisioning,
        reason: "AwaitingAgent",
        when: "there is no extension, the Arc agent is not connected, and the grace period still runs",
        remedy: "",
        applies: |case| case.machine.arc.is_some() && !case.arc_is(&["Connected"]),
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::Provisioning,
        reason: "AwaitingExtension",
        when: "there is no extension yet, and the grace period still runs (from the creation of the virtual machine, the connection of the Arc agent, or the plan, whichever is latest)",
        remedy: "",
        applies: |case| case.in_grace(),
        message_source: MessageSource::When,
    },
    Rule {
        verdict: Verdict::Missing,
        reason: "NotDeployed",
        when: "there is no extension, and the grace period is over",
        remedy: "check plan, endpoint integration and the machine's agent; Defender for Cloud needs up to 12 hours the first time, then about one",
        applies: |_| true,
        message_source: MessageSource::When,
    },
];

/// Message and remedy of a failure, by the table of codes.
pub(super) fn failure_texts(case: &Subject<'_>) -> (Cow<'static, str>, String, Cow<'static, str>) {
    let Some(extension) = case.extension else {
        return (
            "ExtensionFailed".into(),
            String::new(),
            failures::UNDECODED_REMEDY.into(),
        );
    };
    let words = extension.message.trim();
    let azure = if words.is_empty() {
        String::new()
    } else {
        format!(": {words}")
    };
    match failures::decode(extension) {
        (code, Some(line)) => {
            let code = code.map_or(String::new(), |code| format!(" (code {code})"));
            (
                line.name.into(),
                format!("{}{code}{azure}", line.meaning),
                line.remedy.into(),
            )
        }
        (Some(code), None) => (
            format!("Code{code}").into(),
            format!("the extension ended with code {code}, which is not known here{azure}"),
            failures::UNDECODED_REMEDY.into(),
        ),
        (None, None) => (
            "ExtensionFailed".into(),
            format!("the extension is {}{azure}", extension.state),
            failures::UNDECODED_REMEDY.into(),
        ),
    }
}
