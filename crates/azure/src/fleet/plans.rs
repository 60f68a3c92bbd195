//! Plans of the subscriptions of a group, and of machines that have their own plan (docs/azure-api.md 1.5, 7.5).

use std::collections::{HashMap, HashSet};

use serverprotection_core::{Timestamp, machines::PlanOff};

use super::{
    pages::{PageError, PageEvent, Pages},
    parsed::Parsed,
    queries,
    rows::{PlanRow, hash},
    scan::Scan,
};

const FREE: &str = "Free";

/// The plan of one subscription according to Resource Graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// `Free`, `P1` or `P2`; `None` if it is not visible.
    pub(super) tier: Option<String>,
    pub(super) enabled_since: Option<Timestamp>,
    /// Machines whose own plan is Free, by [`hash`] of their id.
    off: HashSet<u64>,
    /// Machines whose own plan is not Free, by [`hash`] of their id.
    on: HashSet<u64>,
    /// Machines whose own plan cannot be read, by [`hash`] of their id.
    pub(super) unreadable: HashSet<u64>,
    /// Whether Defender CSPM is enabled.
    posture: bool,
    /// A plan of the subscription cannot be read and may be any.
    odd: bool,
}

impl Plan {
    /// Whether there are health reports, which require P2, or P1 with Defender CSPM (docs/azure-api.md 5.2).
    pub(super) fn has_health_reports(&self) -> bool {
        match self.tier.as_deref() {
            _ if self.odd => true,
            Some("P2") => true,
            Some("P1") => self.posture,
            _ => false,
        }
    }

    /// The plan that leaves a machine without Defender for Servers, if its own plan or that of the subscription is Free.
    pub(super) fn off(&self, machine: u64) -> Option<PlanOff> {
        if self.off.contains(&machine) {
            return Some(PlanOff::OfMachine);
        }
        let is_free = self.tier.as_deref() == Some(FREE) && !self.odd;
        let may_have_own = self.on.contains(&machine) || self.unreadable.contains(&machine);
        (is_free && !may_have_own).then_some(PlanOff::OfSubscription)
    }

    /// Adds a row. If it cannot be read, the plan of its machine or subscription is unknown.
    fn take(&mut self, parsed: Parsed<PlanRow>) {
        let row = parsed.row;
        let id = row.id.0.to_ascii_lowercase();
        let scope = id.rsplit_once("/providers/microsoft.security/pricings/");
        if parsed.odd.is_some() {
            match scope {
                Some((scope, _)) if scope.contains("/providers/") => {
                    self.unreadable.insert(hash(scope, ""));
                }
                _ => self.odd = true,
            }
            return;
        }
        let Some((scope, _)) = scope else { return };
        let is_standard = row.tier.0.eq_ignore_ascii_case("Standard");
        let is_servers = row.name.0.eq_ignore_ascii_case("VirtualMachines");
        let is_machine = scope.contains("/providers/");
        match (is_servers, is_machine) {
            (true, true) if row.inherited.is_true() => {}
            (true, true) => {
                let own = if is_standard { &mut self.on } else { &mut self.off };
                own.insert(hash(scope, ""));
            }
            (true, false) => {
                self.enabled_since = row.enabled_since.time().filter(|_| is_standard);
                self.tier = Some(match (is_standard, row.sub_plan.0) {
                    (false, _) => FREE.into(),
                    // Standard without a subplan is P2 (docs/azure-api.md 1.3).
                    (true, sub_plan) if sub_plan.is_empty() => "P2".into(),
                    (true, sub_plan) => sub_plan.to_ascii_uppercase(),
                });
            }
            (false, false) => self.posture = is_standard,
            _ => {}
        }
    }
}

impl Scan<'_> {
    /// The plans of some subscriptions, by subscription.
    pub(super) async fn plans(&self, subscriptions: Vec<&str>) -> Result<HashMap<String, Plan>, PageError> {
        let mut pages = Pages::new(queries::PLANS_OPERATION, queries::PLANS, subscriptions);
        let mut plans: HashMap<String, Plan> = HashMap::new();
        let (mut seen, mut nameless) = (HashSet::new(), 0_u64);
        loop {
            match pages.next::<Parsed<PlanRow>>(self).await? {
                PageEvent::Restart => nameless = 0,
                PageEvent::Page(rows, last) => {
                    for parsed in rows {
                        if parsed.row.id.0.is_empty() {
                            nameless = nameless.saturating_add(1);
                        } else {
                            seen.insert(hash(&parsed.row.id.0, ""));
                        }
                        plans.entry(parsed.row.subscription()).or_default().take(parsed);
                    }
                    if last {
                        let distinct = u64::try_from(seen.len()).unwrap_or(u64::MAX);
                        pages
                            .complete(distinct.saturating_add(nameless))
                            .map_err(PageError::Failed)?;
                        return Ok(plans);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_of_the_subscription_and_of_machines() {
        let rows = r#"[
            {"id": "/subscriptions/s/providers/Microsoft.Security/pricings/VirtualMachines", "name": "VirtualMachines", "tier": "Standard", "subPlan": "P1", "enabledSince": "2026-01-02T03:04:05Z"},
            {"id": "/subscriptions/s/providers/Microsoft.Security/pricings/CloudPosture", "name": "cloudposture", "tier": "Standard", "subPlan": null},
            {"id": "/subscriptions/S/resourceGroups/R/providers/Microsoft.Compute/virtualMachines/Off/providers/Microsoft.Security/pricings/VirtualMachines", "name": "VirtualMachines", "tier": "Free", "inherited": "False"},
            {"id": "/subscriptions/S/resourceGroups/R/providers/Microsoft.Compute/virtualMachines/Heir/providers/Microsoft.Security/pricings/VirtualMachines", "name": "VirtualMachines", "tier": "Free", "inherited": "True"},
            {"id": "odd"}]"#;
        let rows: Vec<Parsed<PlanRow>> = serde_json::from_str(rows).unwrap();
        let mut plan = Plan::default();
        assert!(!plan.has_health_reports());
        for row in rows {
            plan.take(row);
        }
        assert_eq!(plan.tier.as_deref(), Some("P1"));
        assert!(plan.enabled_since.is_some() && plan.has_health_reports());
        let off = hash(
            "/subscriptions/s/resourcegroups/r/providers/microsoft.compute/virtualmachines/off",
            "",
        );
        assert_eq!(plan.off, HashSet::from([off]));
    }

    #[test]
    fn a_machine_without_an_own_plan_has_that_of_its_subscription() {
        let id = |name: &str| {
            format!("/subscriptions/s/resourceGroups/r/providers/Microsoft.Compute/virtualMachines/{name}")
        };
        let row = |scope: &str, tier: &str, inherited: &str| {
            serde_json::json!({"id": format!("{scope}/providers/Microsoft.Security/pricings/VirtualMachines"),
                "name": "VirtualMachines", "tier": tier, "subPlan": "P1", "inherited": inherited})
        };
        let read = |tier: &str| {
            let rows = serde_json::json!([
                row("/subscriptions/s", tier, ""),
                row(&id("own-on"), "Standard", "False"),
                row(&id("own-off"), "Free", "False"),
                row(&id("heir"), "Free", "True"),
            ]);
            let rows: Vec<Parsed<PlanRow>> = serde_json::from_str(&rows.to_string()).unwrap();
            let mut plan = Plan::default();
            for row in rows {
                plan.take(row);
            }
            ["own-on", "own-off", "heir", "other"].map(|name| plan.off(hash(&id(name), "")))
        };
        let (machine, subscription) = (Some(PlanOff::OfMachine), Some(PlanOff::OfSubscription));
        assert_eq!(read("Free"), [None, machine, subscription, subscription]);
        assert_eq!(read("Standard"), [None, machine, None, None]);
        assert_eq!(Plan::default().off(7), None, "the plan is not visible");
    }

    #[test]
    fn a_row_that_cannot_be_read_affects_the_plan_of_its_scope() {
        let machine = "/subscriptions/s/resourceGroups/r/providers/Microsoft.Compute/virtualMachines/vm";
        let pricing = "/providers/Microsoft.Security/pricings/VirtualMachines";
        let good = serde_json::json!({"id": format!("/subscriptions/s{pricing}"), "name": "VirtualMachines", "tier": "Standard", "subPlan": "P1"});
        let odd = |scope: &str| {
            format!(r#"{{"id": "{scope}{pricing}", "name": "VirtualMachines", "tier": "\ud800"}}"#)
        };
        let read = |rows: &str| {
            let rows: Vec<Parsed<PlanRow>> = serde_json::from_str(rows).unwrap();
            let mut plan = Plan::default();
            for row in rows {
                plan.take(row);
            }
            plan
        };
        let with_machine = read(&format!("[{good}, {}]", odd(machine)));
        assert_eq!(with_machine.tier.as_deref(), Some("P1"));
        assert_eq!(with_machine.unreadable, HashSet::from([hash(machine, "")]));
        assert!(with_machine.off.is_empty() && !with_machine.has_health_reports());
        let of_subscription = read(&format!("[{}]", odd("/subscriptions/s")));
        assert_eq!(
            (of_subscription.tier.as_deref(), of_subscription.odd),
            (None, true)
        );
        assert!(of_subscription.has_health_reports(), "they may be there");
        let garbage = read(&format!(r#"[{good}, "garbage", null]"#));
        assert_eq!((garbage.tier.as_deref(), garbage.odd), (Some("P1"), true));
    }
}
