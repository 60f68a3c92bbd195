//! What the rules look at: a machine, and the facts that several rules derive from it.

use k8s_openapi::jiff::SignedDuration;

use super::{
    Machine, MdeExtension, RuleContext,
    failures::{self, FailureCode},
    machine::MDE_PUBLISHER,
    operating_systems::{Identified, Support, identify},
};
use crate::Timestamp;

/// The longest run of an extension (docs/azure-api.md 6.2); an extension in transition for longer is stuck.
const LONGEST_RUN: SignedDuration = SignedDuration::from_mins(90);

/// A machine and the facts that several rules derive from it.
pub(super) struct Subject<'a> {
    pub(super) machine: &'a Machine,
    pub(super) rule_context: &'a RuleContext<'a>,
    pub(super) excluded_by: Option<(usize, &'a str)>,
    /// The extension of the type that belongs on the machine; of several, one that succeeded.
    pub(super) extension: Option<&'a MdeExtension>,
    pub(super) system: Identified,
    /// The end of the grace period; `None` if its start is unknown.
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
        // A virtual machine can have the extension once it is created, an Arc machine once its agent is connected.
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

    pub(super) fn state(&self, state: &str) -> bool {
        self.extension.is_some_and(|extension| extension.is(state))
    }

    pub(super) fn succeeded(&self) -> bool {
        self.state("Succeeded")
    }

    pub(super) fn failed(&self) -> bool {
        self.state("Failed") || self.state("Canceled") || (self.succeeded() && self.level("Error"))
    }

    pub(super) fn working(&self) -> bool {
        self.extension.is_some_and(MdeExtension::is_working)
    }

    pub(super) fn level(&self, level: &str) -> bool {
        self.extension
            .is_some_and(|extension| is(&extension.level, level))
    }

    pub(super) fn in_progress(&self) -> bool {
        self.extension.is_some_and(MdeExtension::is_in_progress)
    }

    /// Whether a transition takes longer than any run, counted from Azure's date or else from the first scan that saw
    /// it. The age of the machine is no evidence: extensions of old machines are updated, too.
    pub(super) fn stuck(&self) -> bool {
        let in_transition = self.extension.filter(|extension| extension.in_transition());
        let began = in_transition.and_then(|extension| {
            let dated = extension.transition_began();
            dated.or(self.rule_context.transition_seen)
        });
        began.is_some_and(|began| self.rule_context.now.duration_since(began) > LONGEST_RUN)
    }

    pub(super) fn failure(&self) -> Option<&'static FailureCode> {
        self.decoded().1
    }

    /// Exit code and failure of the extension, as far as they are known.
    pub(super) fn decoded(&self) -> (Option<u32>, Option<&'static FailureCode>) {
        let is_ubuntu_1804 = self.system_name().starts_with("Ubuntu 18.04");
        self.extension
            .map(|extension| failures::decode(extension, is_ubuntu_1804))
            .unwrap_or_default()
    }

    pub(super) fn power(&self) -> &str {
        self.machine.power_state()
    }

    pub(super) fn power_is(&self, states: &[&str]) -> bool {
        states.iter().any(|state| is(self.power(), state))
    }

    pub(super) fn arc_is(&self, statuses: &[&str]) -> bool {
        let arc = self.machine.arc.as_ref();
        arc.is_some_and(|arc| statuses.iter().any(|status| is(&arc.status, status)))
    }

    pub(super) fn endpoint(&self) -> Option<Support> {
        match &self.system {
            Identified::Known(known) => Some(known.endpoint()),
            _ => None,
        }
    }

    /// Whether the extension succeeded on a system where the unified solution replaces the retired agent.
    pub(super) fn needs_unified_solution(&self) -> bool {
        self.succeeded() && matches!(&self.system, Identified::Known(known) if known.needs_unified_solution())
    }

    /// The setting `vNextEnabled` of the extension.
    pub(super) fn unified(&self) -> Option<bool> {
        self.extension.and_then(|extension| extension.unified)
    }

    /// Whether the lists of the Arc agent exclude the extension.
    pub(super) fn blocked(&self) -> bool {
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

    pub(super) fn system_name(&self) -> String {
        match &self.system {
            Identified::Known(known) => known.name(),
            Identified::Appliance(name) | Identified::NotListed(name) => name.clone(),
            Identified::NotReported => "an unknown system".into(),
        }
    }
}

pub(super) fn is(text: &str, word: &str) -> bool {
    text.eq_ignore_ascii_case(word)
}
