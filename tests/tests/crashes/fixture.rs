//! A team with its own Azure tenant: a fault for its tenant or subscription affects every request of its controller,
//! including token requests, and no other team.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use serverprotection_tests::{
    Error,
    controller_process::{ControllerOptions, ControllerProcess, Replica},
    env::Environment,
    grants,
    team::{CREDENTIAL, Team, condition},
    wait::eventually,
};
use uuid::Uuid;

use super::TIMEOUT;

/// Name of the object of every run.
pub(crate) const NAME: &str = "prod";

/// The duration of the Lease, and how long a leader that cannot renew it still writes.
const LEASE_TIMES: [Duration; 2] = [Duration::from_secs(6), Duration::from_secs(4)];

/// Subscriptions whose plan may be written again without a change.
static ALLOWED: tokio::sync::Mutex<Vec<String>> = tokio::sync::Mutex::const_new(Vec::new());

pub(crate) struct Fixture<'a> {
    pub(crate) team: Team<'a>,
    tenant: String,
}

impl<'a> Fixture<'a> {
    /// `subscription`: as in a seed.
    pub(crate) async fn create(
        environment: &'a Environment,
        name: &str,
        subscription: Value,
    ) -> Result<Self, Error> {
        let team = environment.team_with(name, subscription).await?;
        let tenant = Uuid::new_v4().to_string();
        environment
            .emulator
            .seed(json!({
                "tenants": [{"tenantId": tenant}],
                "principals": [{"clientId": team.client_id, "tenantId": tenant}],
                "subscriptions": [{"subscriptionId": team.subscription, "tenantId": tenant}],
            }))
            .await?;
        let moved = json!({"spec": {"tenantId": tenant}});
        team.credentials().patch(CREDENTIAL, moved).await?;
        Ok(Self { team, tenant })
    }

    /// Starts a controller for this namespace only, without any stored state.
    pub(crate) fn controller(&self) -> Result<ControllerProcess, Error> {
        let namespace = &self.team.namespace;
        self.team.environment.another_controller(
            &format!("{namespace}.log"),
            &ControllerOptions::flags(&["--watch-namespace", namespace, "--blocked-retry-interval", "3s"]),
        )
    }

    /// Starts one of two controllers that share a Lease in this namespace.
    pub(crate) async fn replica(&self, name: &str) -> Result<ControllerProcess, Error> {
        let namespace = &self.team.namespace;
        let environment = self.team.environment;
        grants::lease(&environment.client, namespace).await?;
        let options = ControllerOptions {
            replica: Some(Replica {
                lease_namespace: namespace.clone(),
                times: LEASE_TIMES,
            }),
            ..ControllerOptions::flags(&["--watch-namespace", namespace, "--blocked-retry-interval", "3s"])
        };
        environment.another_controller(&format!("{namespace}-{name}.log"), &options)
    }

    /// All requests to Azure, including token requests, oldest first.
    pub(crate) async fn requests(&self) -> Result<Vec<Value>, Error> {
        let mut answer = self.emulator().call(Method::GET, "requests", None).await?;
        let Value::Array(all) = answer["requests"].take() else {
            return Err(Error::Other(format!("no list of requests: {answer}")));
        };
        let ours = |request: &Value| {
            let path = request["path"].as_str().unwrap_or_default();
            path.contains(&self.tenant) || path.contains(&self.team.subscription)
        };
        Ok(all.into_iter().filter(ours).collect())
    }

    /// Number of requests to Azure Resource Manager. An AzureCredential gets its token whatever its objects do.
    pub(crate) async fn arm_requests(&self) -> Result<usize, Error> {
        let all = self.requests().await?;
        Ok(all.iter().filter(|request| request["kind"] == "arm").count())
    }

    /// The writes among them as `PUT settings/WDATP`, in order, including writes whose client was gone.
    pub(crate) async fn writes(&self) -> Result<Vec<String>, Error> {
        let all = self.requests().await?;
        Ok(all
            .iter()
            .filter(|request| is_write(request))
            .map(operation)
            .collect())
    }

    /// Number of plan writes.
    pub(crate) async fn plan_writes(&self) -> Result<usize, Error> {
        let writes = self.writes().await?;
        Ok(writes.iter().filter(|write| is_plan_write(write)).count())
    }

    /// Lets the next plan write hang before or after its effect.
    pub(crate) async fn hang_plan_write(&self, phase: &str) -> Result<String, Error> {
        let plan = json!({"method": "PUT", "path": "/pricings/", "subscription": self.team.subscription, "times": 1});
        self.hang(plan, phase).await
    }

    /// Lets a matching request hang.
    pub(crate) async fn hang(&self, matching: Value, phase: &str) -> Result<String, Error> {
        self.emulator()
            .add_fault(json!({"match": matching, "phase": phase, "action": {"hang": true}}))
            .await
    }

    /// Lets the request with this number hang, whatever it is; 1 is the next one.
    pub(crate) async fn hang_request(&self, number: usize, phase: &str) -> Result<String, Error> {
        let path = format!("{}|{}", self.tenant, self.team.subscription);
        self.hang(json!({"path": path, "skip": number - 1, "times": 1}), phase)
            .await
    }

    /// Kills the controller (SIGKILL) while the request hangs, then removes the fault. Returns the request.
    pub(crate) async fn kill_when_it_hangs(
        &self,
        controller: &mut ControllerProcess,
        fault: &str,
    ) -> Result<Value, Error> {
        self.until_hanging(fault, 1).await.map_err(|error| {
            let log = controller.log();
            let tail = log.len().saturating_sub(2000);
            Error::Other(format!("{error}\n{}", log.get(tail..).unwrap_or_default()))
        })?;
        controller.kill().await;
        // If the fault was removed earlier, a request that hangs before its effect would still have it.
        self.until_hanging(fault, 0).await?;
        self.emulator().delete_fault(fault).await?;
        let requests = self.requests().await?;
        let affected = requests.into_iter().find(|request| request["fault"] == fault);
        let affected = affected.ok_or_else(|| Error::Other("the fault affected no request".into()))?;
        if affected["errorCode"] != "ClientGone" {
            return Err(Error::Other(format!("the request was answered: {affected}")));
        }
        Ok(affected)
    }

    async fn until_hanging(&self, fault: &str, count: u64) -> Result<(), Error> {
        let what = format!("{count} requests of {} that hang", self.team.namespace);
        eventually(&what, TIMEOUT, || async {
            let faults = self.emulator().faults().await.map_err(|e| e.to_string())?;
            let ours = faults.into_iter().find(|found| found["id"] == fault);
            match ours {
                Some(ours) if ours["hanging"] == count => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }

    pub(crate) async fn ready(&self) -> Result<Value, Error> {
        self.team.until(NAME, "Ready", "True", TIMEOUT).await
    }

    /// Requests one more reconcile with all reads, and waits for its end.
    pub(crate) async fn reconcile(&self) -> Result<Value, Error> {
        let request = self.team.request(NAME).await?;
        let what = format!("a reconcile of {}", self.team.namespace);
        self.team
            .until_holds(NAME, &what, TIMEOUT, |object| {
                object["status"]["lastHandledRequest"] == request.as_str()
            })
            .await?;
        self.team.scanned(NAME, TIMEOUT).await
    }

    /// Whether the crash lost the result of the plan write: the write had its effect, and the reconcile did not end. The
    /// plan is then written again although it is the same, which the monitor cannot know.
    pub(crate) async fn result_is_lost(&self, struck: &str, phase: &str) -> Result<bool, Error> {
        let object = self.team.get(NAME).await?;
        let pending = object["status"]["pendingOperation"]["type"] == "PutPlan";
        let lost = pending && !(is_plan_write(struck) && phase == "before");
        if lost && !is_plan_write(struck) {
            // The emulator replaces its list.
            let mut allowed = ALLOWED.lock().await;
            allowed.push(self.team.subscription.clone());
            self.emulator().allow(json!({"allowUseless": *allowed})).await?;
        }
        Ok(lost)
    }

    /// Fails with the breaches of this subscription that the safety monitor found.
    pub(crate) async fn check_monitor(&self) -> Result<(), Error> {
        let all = self.emulator().breaches().await?;
        let ours: Vec<_> = all
            .iter()
            .filter(|breach| breach["subscription"] == self.team.subscription.as_str())
            .map(Value::to_string)
            .collect();
        if ours.is_empty() {
            return Ok(());
        }
        Err(Error::Other(format!("the monitor saw:\n{}", ours.join("\n"))))
    }

    /// Whether a recorded version has this condition with this status. The recorder may lag: first wait for what must
    /// exist.
    pub(crate) fn ever(&self, kind: &str, status: &str) -> bool {
        let history = self.team.history();
        history
            .iter()
            .any(|version| version.condition_status(kind) == Some(status))
    }

    /// Waits until the recorder has received the current version.
    pub(crate) async fn recorded(&self) -> Result<(), Error> {
        let object = self.team.get(NAME).await?;
        let expected = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        eventually(
            "the newest version in the record",
            Duration::from_secs(10),
            || {
                let history = self.team.history();
                let there = history.iter().any(|version| version.resource_version == expected);
                std::future::ready(if there { Ok(()) } else { Err(history.len()) })
            },
        )
        .await
    }

    fn emulator(&self) -> &serverprotection_tests::emulator::Emulator {
        &self.team.environment.emulator
    }
}

/// Stops the second controller, which must exit with 0, whatever the result of the crash is.
pub(crate) async fn ended(
    second: Result<ControllerProcess, Error>,
    struck: &str,
    verdict: Result<(), Error>,
) -> Result<(), Error> {
    let ended = second?.terminate().await?;
    verdict.map_err(|error| Error::Other(format!("at {struck}: {error}")))?;
    if ended != Some(0) {
        return Err(Error::Other(format!(
            "the second controller ended with {ended:?}"
        )));
    }
    Ok(())
}

pub(crate) fn operation(request: &Value) -> String {
    request["operation"].as_str().unwrap_or_default().to_owned()
}

/// Whether this is a write to Azure Resource Manager.
pub(crate) fn is_write(request: &Value) -> bool {
    request["kind"] == "arm" && request["method"] != "GET"
}

pub(crate) fn is_plan_write(operation: &str) -> bool {
    operation.starts_with("PUT pricings/")
}

/// Status and reason of a condition.
pub(crate) fn condition_values<'v>(object: &'v Value, kind: &str) -> (&'v str, &'v str) {
    let condition = condition(object, kind).unwrap_or_else(|| panic!("no condition {kind}: {object:#}"));
    let text = |name: &str| condition[name].as_str().unwrap_or_default();
    (text("status"), text("reason"))
}

/// P2 with a managed extension, and the defaults of all other fields.
pub(crate) fn p2() -> Value {
    json!({"plan": {"tier": "P2", "agentlessScanning": {"state": "Enabled"}}})
}
