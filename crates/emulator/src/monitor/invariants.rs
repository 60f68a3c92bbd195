//! The checks of the safety monitor, in one table. A check compares a request with the requests before it.

use serde_json::Value;

use super::{Allowances, Late, Memory, Seen, connectors};
use crate::{
    arm::Resource,
    state::{Tier, known_extensions},
};

/// A check.
pub struct Invariant {
    /// Its name in breaches.
    pub name: &'static str,
    /// Returns a description of the breach, if there is one.
    pub broken: fn(&Seen<'_>, &Memory, &Allowances) -> Option<String>,
}

/// All checks.
pub const INVARIANTS: &[Invariant] = &[
    Invariant {
        // No plan is set to Free, unless the test allows it for the subscription.
        name: "PlanToFree",
        broken: |seen, _, allowed| {
            let free = plan_put(seen)?.tier()? == Tier::Free;
            let fine = Allowances::holds(&allowed.allow_free, seen.route.subscription.as_deref());
            (free && !fine).then(|| "a plan PUT to Free".into())
        },
    },
    Invariant {
        // A plan is not set to Free between two Standard configurations.
        name: "LoweredThroughFree",
        broken: |seen, memory, allowed| {
            plan_put(seen)?;
            let back = seen.before.as_ref()?.tier == Some(Tier::Free)
                && seen.after.as_ref()?.tier == Some(Tier::Standard)
                && memory.lowered(seen);
            let fine = Allowances::holds(&allowed.allow_free, seen.route.subscription.as_deref());
            (back && !fine).then(|| "Standard again after a PUT of the same caller to Free".into())
        },
    },
    Invariant {
        // A PUT changes something, unless an earlier result was lost or an extension failed.
        name: "UselessWrite",
        broken: |seen, memory, allowed| {
            let (before, after) = (seen.before.as_ref()?, seen.after.as_ref()?);
            let useless =
                seen.method == "PUT" && (200..300).contains(&seen.status) && before.text == after.text;
            let excused = before.failed
                || seen.late == Some(Late::Identical)
                || memory.lost(seen)
                || memory.read_something_else(seen, &before.text)
                || Allowances::holds(&allowed.allow_useless, seen.route.subscription.as_deref());
            (useless && !excused)
                .then(|| format!("a PUT of {} that changes nothing: {}", subject(seen), seen.body))
        },
    },
    Invariant {
        // A caller has at most one plan write in progress per subscription, and one write per connector.
        name: "OneWriter",
        broken: |seen, _, _| {
            seen.overlapped.then(|| {
                format!(
                    "a write of {} began while another one was in progress",
                    subject(seen)
                )
            })
        },
    },
    Invariant {
        // A process does not write under a lock under which another process of its caller has begun to write: it is the
        // former leader.
        name: "FormerLeaderWrote",
        broken: |seen, _, _| {
            (seen.late == Some(Late::Different)).then(|| {
                format!(
                    "{} was written by a process after another one had written it: {}",
                    subject(seen),
                    seen.body
                )
            })
        },
    },
    Invariant {
        // A write of a connector keeps the offerings and members that other writers added.
        name: "ForeignOfferingChanged",
        broken: |seen, memory, allowed| {
            let before = seen.before.as_ref()?.foreign.as_ref()?;
            if !matches!(seen.method, "PUT" | "PATCH") || seen.status >= 400 && seen.status != 504 {
                return None;
            }
            let kinds = connectors::sent_offerings(seen.body);
            let lost = connectors::lost(before, seen.after.as_ref()?, &kinds)?;
            let fine = memory.read_other_foreign(seen)
                || Allowances::holds(&allowed.allow_foreign, seen.route.subscription.as_deref());
            (!fine).then(|| format!("{}: {lost}", subject(seen)))
        },
    },
    Invariant {
        // A connector is sent without read-only members.
        name: "ReadOnlySent",
        broken: |seen, _, _| {
            let writes = matches!(seen.method, "PUT" | "PATCH") && connector(seen);
            let member = writes.then(|| connectors::read_only_sent(seen.body)).flatten()?;
            Some(format!("read-only member sent: {member}"))
        },
    },
    Invariant {
        // Connectors that the service created for members of an organization are not written.
        name: "MemberConnectorWritten",
        broken: |seen, _, allowed| {
            let member = seen.before.as_ref()?.member && seen.method != "GET";
            let fine = Allowances::holds(&allowed.allow_foreign, seen.route.subscription.as_deref());
            (member && !fine).then(|| format!("{} of {}", seen.method, subject(seen)))
        },
    },
    Invariant {
        // After a 429, a 408 or a server error, nothing is sent before its Retry-After ends.
        name: "RetryAfterIgnored",
        broken: |seen, memory, _| {
            let early = memory.early(seen)?;
            Some(format!("sent {early} ms before Retry-After ended"))
        },
    },
    Invariant {
        // Standard is always sent with its sub-plan.
        name: "StandardWithoutSubPlan",
        broken: |seen, _, _| {
            let put = plan_put(seen)?;
            let missing = put.of_machines && put.tier()? == Tier::Standard && put.sub_plan().is_none();
            missing.then(|| "Standard without subPlan".into())
        },
    },
    Invariant {
        // P1 is sent without extensions that only P2 has, enabled or not. A name that no sub-plan has is the wish of
        // the author of the spec, and the service refuses it.
        name: "ExtensionNotOffered",
        broken: |seen, _, _| {
            let put = plan_put(seen)?;
            let sub_plan = put.sub_plan().filter(|_| put.of_machines)?;
            let of = |sub_plan: &str, name: &str| {
                let mut known = known_extensions("VirtualMachines", Some(sub_plan)).iter();
                known.any(|(known, _)| known.eq_ignore_ascii_case(name))
            };
            let sub_plan = sub_plan.to_ascii_uppercase();
            let wrong = put
                .extensions()
                .filter_map(|extension| extension.get("name")?.as_str())
                .find(|name| of("P2", name) && !of(&sub_plan, name))?;
            Some(format!("extension {wrong} sent with {sub_plan}"))
        },
    },
    Invariant {
        // Free is sent without extensions.
        name: "ExtensionsWithFree",
        broken: |seen, _, _| {
            let put = plan_put(seen)?;
            let wrong = put.tier()? == Tier::Free && put.extensions().next().is_some();
            wrong.then(|| "extensions sent with Free".into())
        },
    },
    Invariant {
        // A disabled extension is sent without properties.
        name: "PropertiesOnDisabledExtension",
        broken: |seen, _, _| {
            let wrong = plan_put(seen)?.extensions().find_map(|extension| {
                let off = extension
                    .get("isEnabled")?
                    .as_str()?
                    .eq_ignore_ascii_case("false");
                let given = extension.get("additionalExtensionProperties")?.as_object()?;
                (off && !given.is_empty())
                    .then(|| extension.get("name")?.as_str())
                    .flatten()
            })?;
            Some(format!("properties on the disabled extension {wrong}"))
        },
    },
    Invariant {
        // A subscription's plan is never deleted: Azure has no such operation.
        name: "PlanDelete",
        broken: |seen, _, _| {
            (seen.method == "DELETE" && subscription_plan(seen))
                .then(|| "DELETE of a subscription's plan".into())
        },
    },
    Invariant {
        // URLs contain no token or secret.
        name: "SecretInUrl",
        broken: |seen, _, _| seen.secret_in_url.then(|| "a token or secret in the URL".into()),
    },
    Invariant {
        // Tokens are sent only to routes that exist.
        name: "UnknownRoute",
        broken: |seen, _, _| seen.unknown.then(|| format!("{} {}", seen.method, seen.url)),
    },
];

/// A plan PUT on a subscription, by its body.
struct PlanPut<'a> {
    properties: &'a Value,
    of_machines: bool,
}

impl<'a> PlanPut<'a> {
    fn tier(&self) -> Option<Tier> {
        Tier::parse(self.properties.get("pricingTier")?.as_str()?)
    }

    fn sub_plan(&self) -> Option<&'a str> {
        self.properties.get("subPlan")?.as_str()
    }

    fn extensions(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        self.properties
            .get("extensions")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    }
}

fn plan_put<'a>(seen: &Seen<'a>) -> Option<PlanPut<'a>> {
    if seen.method != "PUT" || !subscription_plan(seen) {
        return None;
    }
    let Resource::Typed(typed) = &seen.route.resource else {
        return None;
    };
    let of_machines = typed.name.as_ref()?.eq_ignore_ascii_case("VirtualMachines");
    Some(PlanPut {
        properties: seen.body.get("properties")?,
        of_machines,
    })
}

fn subscription_plan(seen: &Seen<'_>) -> bool {
    matches!(&seen.route.resource, Resource::Typed(typed)
        if typed.is("Microsoft.Security", "pricings") && typed.depth == 2 && typed.name.is_some())
}

fn connector(seen: &Seen<'_>) -> bool {
    matches!(&seen.route.resource, Resource::Typed(typed)
        if typed.is("Microsoft.Security", "securityConnectors") && typed.name.is_some())
}

fn subject<'a>(seen: &Seen<'a>) -> &'a str {
    seen.url.split('?').next().unwrap_or_default()
}
