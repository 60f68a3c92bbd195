//! The expected verdicts of the emulator's machines, computed from its control endpoint. An independent
//! implementation: it shares nothing with the operator, and does not use Resource Graph.

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::Value;
use serverprotection_tests::{Error, emulator::Emulator};
use std::collections::BTreeMap;

/// Subscriptions that are read at once.
const AT_ONCE: usize = 8;
/// Default of `spec.machines.gracePeriod`.
const GRACE: SignedDuration = SignedDuration::from_hours(24);
/// Longest run of an extension. After that it is stuck.
const LONGEST_RUN: SignedDuration = SignedDuration::from_mins(90);
/// Subscriptions in one query, and rows in one page.
const GROUP: usize = 300;
const PAGE: u64 = 1000;

/// Machines by environment and verdict.
pub(crate) type Matrix = BTreeMap<(String, String), u64>;

/// The machines of one subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Rows of Resource Graph: one for each MDE extension, and one for a machine without one.
    pub(crate) rows: u64,
    pub(crate) matrix: Matrix,
}

impl Counted {
    /// All machines.
    pub(crate) fn total(&self) -> u64 {
        self.matrix.values().sum()
    }

    /// Machines by verdict.
    pub(crate) fn verdicts(&self) -> BTreeMap<String, u64> {
        self.by(|(_, verdict)| verdict)
    }

    /// Machines by environment.
    pub(crate) fn environments(&self) -> BTreeMap<String, u64> {
        self.by(|(environment, _)| environment)
    }

    fn by(&self, part: impl Fn(&(String, String)) -> &String) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for (key, machines) in &self.matrix {
            *all.entry(part(key).clone()).or_default() += machines;
        }
        all
    }

    fn add(&mut self, machine: &Value, now: Timestamp) {
        let text = |name: &str| machine.get(name).and_then(Value::as_str);
        let set = text("orchestrationMode");
        if set == Some("Flexible") {
            // The virtual machines of a Flexible scale set are counted on their own.
            return;
        }
        let extensions = present(machine).count();
        self.rows += u64::try_from(extensions).unwrap_or(u64::MAX).max(1);
        let machines = match set {
            Some(_) => machine
                .get("capacity")
                .and_then(Value::as_u64)
                .unwrap_or_default(),
            None => 1,
        };
        let environment = match text("cloudProvider") {
            None => "Azure",
            Some(cloud @ ("AWS" | "GCP")) => cloud,
            Some(_) => "OnPremises",
        };
        let key = (environment.to_owned(), verdict(machine, now).to_owned());
        *self.matrix.entry(key).or_default() += machines;
    }
}

/// Counts the machines of these subscriptions.
pub(crate) async fn recount(
    emulator: &Emulator,
    subscriptions: Vec<String>,
) -> Result<BTreeMap<String, Counted>, Error> {
    stream::iter(subscriptions)
        .map(|id| async move {
            let path = format!("subscriptions/{id}/machines");
            let answer = emulator.call(Method::GET, &path, None).await?;
            let machines = answer.get("machines").and_then(Value::as_array);
            let mut counted = Counted::default();
            let now = Timestamp::now();
            for machine in machines.into_iter().flatten() {
                counted.add(machine, now);
            }
            Ok((id, counted))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// Number of queries that read all machines once: for each group one for its plans, and its pages of machines.
pub(crate) fn queries(all: &BTreeMap<String, Counted>) -> u64 {
    let rows: Vec<u64> = all.values().map(|counted| counted.rows).collect();
    rows.chunks(GROUP)
        .map(|group| 1 + group.iter().sum::<u64>().div_ceil(PAGE).max(1))
        .sum()
}

/// The least time for this number of queries: 15 in each 5 s, the first 15 at once.
pub(crate) fn quota_floor(queries: u64) -> u64 {
    5 * (queries.saturating_sub(1) / 15)
}

fn present(machine: &Value) -> impl Iterator<Item = &Value> {
    let all = machine.get("mde").and_then(Value::as_array);
    all.into_iter()
        .flatten()
        .filter(|extension| word(extension, "provisioningState") != "Planned")
}

fn word<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn older_than(value: &Value, name: &str, age: SignedDuration, now: Timestamp) -> bool {
    let at = word(value, name).parse::<Timestamp>();
    at.is_ok_and(|at| now.duration_since(at) > age)
}

/// What Defender for Endpoint supports.
#[derive(Clone, Copy, PartialEq, Eq)]
enum System {
    Supported,
    Unsupported,
    NotKnown,
}

fn system(machine: &Value) -> System {
    let os = word(machine, "os");
    let appliance = ["cisco-appliance", "fortinet-appliance", "databricks", "aks-node"].contains(&os);
    // A custom image has no publisher. Then only a running agent reports the system, and for appliances it reports
    // only `linux`.
    if machine.get("customImage") == Some(&Value::Bool(true)) {
        return match os {
            _ if word(machine, "powerState") != "running" => System::NotKnown,
            "cisco-appliance" | "fortinet-appliance" => System::NotKnown,
            "databricks" | "aks-node" => System::Supported,
            os => by_name(os),
        };
    }
    if appliance {
        System::Unsupported
    } else {
        by_name(os)
    }
}

fn by_name(os: &str) -> System {
    match os {
        "windows-10" | "windows-11" | "ubuntu-14.04" | "rhel-6" => System::Unsupported,
        "plan9" | "windows-2008r2" => System::NotKnown,
        _ => System::Supported,
    }
}

/// Whether the agent takes no extensions, or not all of them.
fn refuses(agent: &Value) -> bool {
    let listed = |list: &str| {
        let list = agent.get(list).and_then(Value::as_array);
        list.is_some_and(|list| !list.is_empty())
    };
    agent.get("extensionsEnabled") == Some(&Value::Bool(false))
        || ["stopped", "inactive"].contains(&word(agent, "extensionService"))
        || listed("extensionsAllowList")
        || listed("extensionsBlockList")
}

/// The verdict of docs/architecture.md 8, for what generated fleets hold.
fn verdict(machine: &Value, now: Timestamp) -> &'static str {
    let tagged = |name: &str| machine.get("tags").is_some_and(|tags| tags.get(name).is_some());
    if tagged("PublicCloudConnectorsResourceId") {
        return "DuplicateShell";
    }
    if word(machine, "orchestrationMode") == "Uniform" {
        return "AgentlessOnly";
    }
    if ["deallocated", "stopped"].contains(&word(machine, "powerState")) {
        return "PoweredOff";
    }
    let extension =
        present(machine).min_by_key(|extension| word(extension, "provisioningState") != "Succeeded");
    let state = extension.map(|extension| word(extension, "provisioningState"));
    let system = system(machine);
    if state != Some("Succeeded") && system == System::Unsupported {
        return "UnsupportedOs";
    }
    let agent = machine.get("arc").filter(|agent| agent.is_object());
    let status = agent.map(|agent| word(agent, "status"));
    match status {
        Some("Expired") => return "ArcDisconnected",
        Some("Disconnected" | "Error")
            if agent.is_some_and(|agent| older_than(agent, "lastStatusChange", GRACE, now)) =>
        {
            return "ArcDisconnected";
        }
        None | Some("Connected" | "Disconnected" | "Error") => {}
        Some(_) => return "Unknown",
    }
    match (state, extension) {
        (Some("Failed" | "Canceled"), _) => "Failed",
        (Some("Creating"), Some(extension)) if older_than(extension, "createdAt", LONGEST_RUN, now) => {
            "Failed"
        }
        (Some("Creating" | "Updating"), _) => "Provisioning",
        (Some("Succeeded"), _) if word(machine, "healthReport") == "NotHealthy" => "Failed",
        (Some("Succeeded"), Some(extension)) => {
            let needs_unified = ["windows-2012r2", "windows-2016"].contains(&word(machine, "os"));
            match extension.get("vNextEnabled") {
                Some(Value::Bool(false)) if needs_unified => "LegacyAgent",
                None | Some(Value::Null) if needs_unified => "Unknown",
                _ => "Protected",
            }
        }
        (Some(_), _) => "Unknown",
        (None, _) if agent.is_some_and(refuses) => "Missing",
        (None, _) if system == System::NotKnown => "Unknown",
        (None, _) if status.is_some_and(|status| status != "Connected") => "Provisioning",
        (None, _) => "Missing",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn verdicts_of_a_few_machines() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let succeeded = json!([{"provisioningState": "Succeeded"}]);
        for (machine, expected) in [
            (
                json!({"os": "rhel-9", "powerState": "running", "mde": succeeded}),
                "Protected",
            ),
            (
                json!({"os": "rhel-9", "powerState": "running", "mde": succeeded, "healthReport": "NotHealthy"}),
                "Failed",
            ),
            (json!({"os": "rhel-6", "powerState": "running"}), "UnsupportedOs"),
            (json!({"os": "rhel-9", "powerState": "stopped"}), "PoweredOff"),
            (
                json!({"os": "rhel-9", "powerState": "unknown", "customImage": true}),
                "Unknown",
            ),
            (
                json!({"os": "rhel-9", "powerState": "running", "mde": [{"provisioningState": "Planned"}]}),
                "Missing",
            ),
            (
                json!({"os": "rhel-9", "cloudProvider": "AWS", "arc": {"status": "Disconnected",
                    "lastStatusChange": "2026-11-23T11:00:00Z"}}),
                "Provisioning",
            ),
            (
                json!({"os": "rhel-9", "cloudProvider": "AWS", "arc": {"status": "Disconnected",
                    "lastStatusChange": "2026-11-20T11:00:00Z"}}),
                "ArcDisconnected",
            ),
            (
                json!({"os": "windows-2016", "powerState": "running",
                    "mde": [{"provisioningState": "Succeeded", "vNextEnabled": false}]}),
                "LegacyAgent",
            ),
            (
                json!({"os": "windows-2016", "powerState": "running",
                    "mde": [{"provisioningState": "Succeeded", "vNextEnabled": null}]}),
                "Unknown",
            ),
            (
                json!({"os": "windows-2008r2", "powerState": "running"}),
                "Unknown",
            ),
            (
                json!({"orchestrationMode": "Uniform", "capacity": 3}),
                "AgentlessOnly",
            ),
        ] {
            assert_eq!(verdict(&machine, now), expected, "{machine}");
        }
    }

    #[test]
    fn rows_queries_and_the_floor() {
        let mut counted = Counted::default();
        let two = json!([{"provisioningState": "Succeeded"}, {"provisioningState": "Succeeded"}]);
        for machine in [
            json!({"os": "rhel-9", "powerState": "running", "mde": two}),
            json!({"orchestrationMode": "Uniform", "capacity": 3}),
            json!({"orchestrationMode": "Flexible", "capacity": 3}),
        ] {
            counted.add(&machine, Timestamp::UNIX_EPOCH);
        }
        assert_eq!((counted.rows, counted.total()), (3, 4));
        assert_eq!(counted.environments(), BTreeMap::from([("Azure".to_owned(), 4)]));
        let of = |rows: u64| Counted {
            rows,
            ..Counted::default()
        };
        let all: BTreeMap<_, _> = (0..301).map(|at| (format!("{at:03}"), of(10))).collect();
        assert_eq!(
            queries(&all),
            4 + 2,
            "3000 rows of the first group, 10 of the second"
        );
        assert_eq!([1, 15, 16, 102].map(quota_floor), [0, 0, 5, 30]);
    }
}
