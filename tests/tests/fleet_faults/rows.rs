//! Single rows of Resource Graph: rows that cannot be parsed, and rows that are missing without any other sign.

use serde_json::{Value, json};
use serverprotection_tests::{
    Error,
    controller_process::ControllerOptions,
    env::Environment,
    team::{Team, condition},
    wait::eventually,
};

use crate::{FLAGS, GRAPH, NAME, TIMEOUT, scans};

fn seed(machines: &Value) -> Value {
    json!({
        "pricings": {"VirtualMachines": {"pricingTier": "Standard", "subPlan": "P2",
         "enablementTime": "2026-01-01T00:00:00Z"}},
        "settings": {"WDATP": true},
        "machines": machines,
    })
}

/// The team's machines with a matching name, as a fault selects them.
fn ids(team: &Team<'_>, names: &str) -> String {
    format!("/subscriptions/{}/.*/virtualMachines/{names}$", team.subscription)
}

async fn spoil(environment: &Environment, action: &Value) -> Result<(), Error> {
    environment.emulator.clear_faults().await?;
    let fault = json!({"match": {"path": GRAPH}, "action": {"graph": action}});
    environment.emulator.add_fault(fault).await?;
    Ok(())
}

/// Waits for a summary, and for the reason of the first machine in `worst` (empty: there is none).
async fn until(team: &Team<'_>, summary: &str, reason: &str) -> Result<Value, Error> {
    let what = format!("{summary} with {reason:?} of {}", team.namespace);
    team.until_holds(NAME, &what, TIMEOUT, |object| {
        let status = &object["status"];
        let worst = status["machines"]["worst"][0]["reason"]
            .as_str()
            .unwrap_or_default();
        status["display"]["machines"] == summary && worst == reason
    })
    .await
}

/// A row that cannot be parsed affects one machine, and never a scan.
pub(crate) async fn odd(environment: &Environment) -> Result<(), Error> {
    eprintln!("story: odd rows");
    let team = environment
        .team_with(
            "odd",
            seed(&json!([{"name": "app-1"}, {"name": "db-1"}, {"name": "web-1"}])),
        )
        .await?;
    let nothing =
        json!({"alter": {"ids": ids(&team, "web-1"), "set": {"tags": "", "allowList": "", "blockList": {}}}});
    spoil(environment, &nothing).await?;
    team.protect(NAME, json!({"plan": {"tier": "P2"}})).await?;
    until(&team, "3/3", "").await?;

    let machine = environment.emulator.machine(&team.subscription, "db-1").await?;
    let id = machine["id"].as_str().unwrap();
    let with_half_a_character = format!(r#"{{"id": "{id}", "tags": {{"owner": "\ud83d"}}}}"#);
    for (story, action, name) in [
        (
            "a row of garbage",
            json!({"replace": {"ids": ids(&team, "db-1"), "text": "\"garbage\""}}),
            None,
        ),
        (
            "no row",
            json!({"replace": {"ids": ids(&team, "db-1"), "text": "null"}}),
            None,
        ),
        (
            "tags of another form",
            json!({"alter": {"ids": ids(&team, "db-1"), "set": {"tags": ["owner"]}}}),
            Some("db-1"),
        ),
        (
            "half a character",
            json!({"replace": {"ids": ids(&team, "db-1"), "text": with_half_a_character}}),
            Some("db-1"),
        ),
    ] {
        eprintln!("story: {story}");
        spoil(environment, &action).await?;
        let object = until(&team, "2/3", "RowUnreadable").await?;
        let machines = &object["status"]["machines"];
        assert_eq!(
            machines["verdicts"],
            json!({"Protected": 2, "Unknown": 1}),
            "{story}"
        );
        assert!(machines["scanFailure"].is_null(), "{story}: {machines:#}");
        let worst = machines["worst"].as_array().unwrap();
        let shown = worst[0]["name"].as_str().unwrap();
        match name {
            Some(name) => assert_eq!(shown, name, "{story}"),
            None => assert!(shown.starts_with("row-without-id-"), "{story}: {shown}"),
        }
        let found = condition(&object, "MachinesProtected").unwrap();
        assert_eq!(
            (&found["status"], &found["reason"]),
            (&json!("False"), &json!("BelowMinimum"))
        );
        assert!(
            found["message"].as_str().unwrap().contains("RowUnreadable"),
            "{found}"
        );
        // The next scans have the same result.
        scans(environment, 12.0).await?;
        assert_eq!(
            team.get(NAME).await?["status"]["machines"]["worst"],
            machines["worst"],
            "{story}"
        );
        environment.emulator.clear_faults().await?;
        until(&team, "3/3", "").await?;
    }
    Ok(())
}

/// Resource Graph loses the rows of all unprotected machines: the verdicts do not improve.
pub(crate) async fn lost(environment: &Environment) -> Result<(), Error> {
    eprintln!("story: lost rows");
    let failed = |name: &str| json!({"name": name, "mde": {"provisioningState": "Failed", "code": 24}});
    let machines = json!([{"name": "web-1"}, {"name": "web-2"}, failed("bad-1"), failed("bad-2"), failed("bad-3"), failed("bad-4")]);
    let team = environment.team_with("lost", seed(&machines)).await?;
    team.protect(NAME, json!({"plan": {"tier": "P2"}})).await?;
    until(&team, "2/6", "ERR_FAILED_REPO_SETUP").await?;
    spoil(environment, &json!({"leaveOut": ids(&team, "bad-.")})).await?;
    let object = until(&team, "2/6", "NotListed").await?;
    let found = condition(&object, "MachinesProtected").unwrap();
    assert_eq!(
        (&found["status"], &found["reason"]),
        (&json!("False"), &json!("BelowMinimum"))
    );
    assert!(
        found["message"].as_str().unwrap().contains("no longer lists 4"),
        "{found}"
    );

    eprintln!("story: lost rows and a restart");
    environment
        .crash_controller(&ControllerOptions::flags(&FLAGS))
        .await?;
    let before = requests(environment, &team).await?.len();
    // The new process reads the machines from the status, and confirms each of them.
    eventually("requests for what is not listed", TIMEOUT, || async {
        let asked = requests(environment, &team)
            .await
            .map_err(|error| error.to_string())?;
        if asked.len() >= before + 4 {
            Ok(())
        } else {
            Err(format!("{asked:#?}"))
        }
    })
    .await?;
    scans(environment, 12.0).await?;
    let after = team.get(NAME).await?;
    assert_eq!(
        after["status"]["machines"]["worst"],
        object["status"]["machines"]["worst"]
    );

    eprintln!("story: machines that are deleted");
    environment
        .emulator
        .delete_machine(&team.subscription, "bad-1")
        .await?;
    until(&team, "2/5", "NotListed").await?;
    environment.emulator.clear_faults().await?;
    until(&team, "2/5", "ERR_FAILED_REPO_SETUP").await?;
    let improved = |team: &Team<'_>| {
        let history = team.history();
        history
            .iter()
            .any(|version| version.status["display"]["machines"] == "2/2")
    };
    assert!(!improved(&team), "lost rows improved the verdict");
    for name in ["bad-2", "bad-3", "bad-4"] {
        environment
            .emulator
            .delete_machine(&team.subscription, name)
            .await?;
    }
    let object = until(&team, "2/2", "").await?;
    let found = condition(&object, "MachinesProtected").unwrap();
    assert_eq!(found["status"], "True", "{found}");
    // Nothing is missing any more: scans confirm nothing else.
    scans(environment, 8.0).await?;
    let before = requests(environment, &team).await?;
    scans(environment, 12.0).await?;
    assert_eq!(requests(environment, &team).await?, before);
    Ok(())
}

/// Requests for the unprotected machines.
async fn requests(environment: &Environment, team: &Team<'_>) -> Result<Vec<Value>, Error> {
    let all = environment.emulator.requests(&team.subscription).await?;
    let of_them = |request: &Value| request["path"].as_str().unwrap_or_default().contains("/bad-");
    Ok(all.into_iter().filter(of_them).collect())
}
