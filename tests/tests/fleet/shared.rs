//! Two namespaces with the same application and subscription: one scan reads the machines, and each object is judged by
//! its own spec.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use serverprotection_tests::{Error, cases, env::Environment, harness::Case, team::Team};

use super::{NAME, machines, p2, protected, shows};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![settings_of_another_namespace_do_not_hide_unprotected_machines,]
}

/// A team with two unprotected machines and a protected one, and another team with the same application and subscription.
async fn two<'a>(environment: &'a Environment, name: &str) -> Result<(Team<'a>, Team<'a>), Error> {
    let seed = protected(&json!([
        {"name": "web-1", "tags": {"env": "sandbox"}, "mde": {"provisioningState": "Failed", "code": 4}},
        {"name": "odd-1", "neverProvisioned": true, "mde": "none", "age": "30h"},
        {"name": "ok-1"}]));
    let (strict, lenient) = (format!("{name}-a"), format!("{name}-b"));
    let strict = environment.team_with(&strict, seed).await?;
    let mut lenient = environment.team(&lenient).await?;
    lenient.client_id.clone_from(&strict.client_id);
    lenient.subscription.clone_from(&strict.subscription);
    lenient
        .recreate_credential(&format!("{}-secret", strict.namespace))
        .await?;
    Ok((strict, lenient))
}

async fn settings_of_another_namespace_do_not_hide_unprotected_machines(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let (strict, lenient) = two(&environment, "settings").await?;
    strict.protect(NAME, p2()).await?;
    machines(&strict, NAME, "False", "BelowMinimum").await?;
    shows(&strict, NAME, "1/3").await?;
    let mut spec = p2();
    spec["mode"] = json!("Observe");
    spec["machines"] = json!({"gracePeriod": "720h",
        "exclude": [{"name": "all", "tags": [{"key": "env", "value": "sandbox"}]}]});
    lenient.protect(NAME, spec).await?;
    machines(&lenient, NAME, "False", "Provisioning").await?;
    shows(&lenient, NAME, "1/2").await?;
    // Periodic scans (every 2 s), a requested one, and the scan after an edit of the other object.
    for edit in [None, Some(json!({"spec": {"machines": {"gracePeriod": "700h"}}}))] {
        if let Some(edit) = edit {
            lenient.patch(NAME, edit).await?;
        }
        lenient.request(NAME).await?;
        tokio::time::sleep(Duration::from_secs(5)).await;
        shows(&lenient, NAME, "1/2").await?;
    }
    let hidden = |status: &Value| status["display"]["machines"] != "1/3";
    let versions = strict.history();
    let first = versions
        .iter()
        .position(|version| version.status["display"]["machines"] == "1/3");
    let later = versions.iter().skip(first.unwrap_or_default());
    let wrong = later.map(|version| &version.status).find(|status| hidden(status));
    assert!(wrong.is_none(), "{wrong:#?}");
    machines(&strict, NAME, "False", "BelowMinimum").await?;
    Ok(())
}
