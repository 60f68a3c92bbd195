//! Responses with status 200 that contain nothing, or have another form. None of them may mean "empty" or "off".

use std::sync::Arc;

use serde_json::{Value, json};
use serverprotection_tests::{Error, cases, env::Environment, harness::Case, team::Team};

use super::{TIMEOUT, condition_values, of, p2, ready, reconcile, requests, stalled, writes};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        a_list_without_its_value_is_not_off,
        an_empty_list_of_settings_is_not_off,
        an_error_with_status_200_is_not_off,
        a_setting_without_its_state_is_not_off,
        a_setting_that_is_listed_twice_with_two_values_is_unreadable,
        an_extension_that_is_listed_twice_with_two_values_is_unreadable,
        a_subplan_of_another_type_is_not_absent,
        an_empty_plan_is_not_free,
        an_assessment_without_a_provider_is_not_off,
        an_html_page_of_a_proxy_is_not_off,
        an_html_refusal_of_a_proxy_is_no_missing_role,
        an_html_page_instead_of_a_token_is_no_wrong_credential,
        a_sign_in_page_with_status_200_is_not_off,
        pages_that_repeat_themselves_end,
        an_error_in_another_shape_is_shown_in_azures_words,
        a_deny_assignment_is_named,
        a_byte_order_mark_is_stripped,
    ]
}

async fn fault(team: &Team<'_>, path: &str, status: u16, body: &Value) -> Result<String, Error> {
    let fault = json!({"match": {"subscription": team.subscription, "method": "GET", "path": path},
        "action": {"respond": {"status": status, "body": body}}});
    team.environment.emulator.add_fault(fault).await
}

/// Returns this response to an object in sync for as long as necessary: Ready becomes Unknown, nothing is written, and
/// the object recovers.
async fn unreadable(
    environment: &Environment,
    name: &str,
    path: &str,
    status: u16,
    body: Value,
) -> Result<(), Error> {
    let team = environment.team(name).await?;
    team.protect("prod", p2()).await?;
    ready(&team, "prod").await?;
    let before = writes(&team).await?.len();
    let id = fault(&team, path, status, &body).await?;
    team.request("prod").await?;
    let object = team.until("prod", "Ready", "Unknown", TIMEOUT).await?;
    assert_eq!(
        condition_values(&object, "Ready").1,
        "ObservationStale",
        "{object:#}"
    );
    assert_eq!(condition_values(&object, "Reconciling").0, "True");
    assert_eq!(
        writes(&team).await?.len(),
        before,
        "an answer that says nothing is followed by no write"
    );
    environment.emulator.delete_fault(&id).await?;
    ready(&team, "prod").await?;
    assert_eq!(writes(&team).await?.len(), before);
    Ok(())
}

async fn a_list_without_its_value_is_not_off(environment: Arc<Environment>) -> Result<(), Error> {
    unreadable(&environment, "novalue", "/settings$", 200, json!({})).await
}

async fn an_empty_list_of_settings_is_not_off(environment: Arc<Environment>) -> Result<(), Error> {
    unreadable(&environment, "emptylist", "/settings$", 200, json!({"value": []})).await
}

async fn an_error_with_status_200_is_not_off(environment: Arc<Environment>) -> Result<(), Error> {
    let body = json!({"error": {"code": "InternalServerError", "message": "An unexpected error occurred."}, "value": []});
    unreadable(&environment, "okerror", "/settings$", 200, body).await
}

async fn a_setting_without_its_state_is_not_off(environment: Arc<Environment>) -> Result<(), Error> {
    let body = json!({"value": [{"name": "WDATP", "kind": "DataExportSettings", "properties": {}}]});
    unreadable(&environment, "nostate", "/settings$", 200, body).await
}

async fn a_setting_that_is_listed_twice_with_two_values_is_unreadable(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let setting =
        |on: bool| json!({"name": "WDATP", "kind": "DataExportSettings", "properties": {"enabled": on}});
    let body = json!({"value": [setting(true), setting(false)]});
    unreadable(&environment, "twosettings", "/settings$", 200, body).await
}

async fn an_extension_that_is_listed_twice_with_two_values_is_unreadable(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let extension = |name: &str, on: &str| json!({"name": name, "isEnabled": on});
    let both = [
        extension("AgentlessVmScanning", "True"),
        extension("agentlessvmscanning", "False"),
    ];
    let body = json!({"name": "VirtualMachines", "properties": {"pricingTier": "Standard", "subPlan": "P2", "extensions": both}});
    unreadable(
        &environment,
        "twoextensions",
        "/pricings/VirtualMachines$",
        200,
        body,
    )
    .await
}

async fn a_subplan_of_another_type_is_not_absent(environment: Arc<Environment>) -> Result<(), Error> {
    let body = json!({"name": "VirtualMachines", "properties": {"pricingTier": "Standard", "subPlan": 1}});
    unreadable(
        &environment,
        "numbersubplan",
        "/pricings/VirtualMachines$",
        200,
        body,
    )
    .await
}

async fn an_empty_plan_is_not_free(environment: Arc<Environment>) -> Result<(), Error> {
    let body = json!({"name": "VirtualMachines", "properties": {}});
    unreadable(&environment, "emptyplan", "/pricings/VirtualMachines$", 200, body).await
}

async fn an_assessment_without_a_provider_is_not_off(environment: Arc<Environment>) -> Result<(), Error> {
    let path = "/serverVulnerabilityAssessmentsSettings/";
    unreadable(&environment, "noprovider", path, 200, json!({"properties": {}})).await
}

/// The page of a proxy, as a response of this status.
fn page(team: &Team<'_>, path: &str, status: u16) -> Value {
    let text = "<!DOCTYPE html><html><head><title>Access denied</title><style>body{color:red}</style></head>\
                <body><p>Blocked by the egress policy.</p></body></html>";
    json!({"match": {"subscription": team.subscription, "path": path},
        "action": {"respond": {"status": status, "text": text}}})
}

/// While a proxy answers instead of Azure, nothing is known: the object is not stalled, nothing is written, and the
/// message names the network.
async fn of_a_proxy(environment: &Environment, name: &str, path: &str, status: u16) -> Result<(), Error> {
    let team = environment.team(name).await?;
    team.protect("prod", p2()).await?;
    ready(&team, "prod").await?;
    let (before, seen) = (writes(&team).await?.len(), team.history().len());
    let id = environment.emulator.add_fault(page(&team, path, status)).await?;
    team.request("prod").await?;
    let object = team.until("prod", "Ready", "Unknown", TIMEOUT).await?;
    let (_, reason, message) = condition_values(&object, "Ready");
    assert_eq!(reason, "ObservationStale", "{object:#}");
    for words in ["is not from Azure", "Blocked by the egress policy", "a proxy"] {
        assert!(message.contains(words), "{message}");
    }
    for words in ["color", "Grant", "Change the spec"] {
        assert!(!message.contains(words), "{message}");
    }
    assert_eq!(writes(&team).await?.len(), before);
    environment.emulator.delete_fault(&id).await?;
    ready(&team, "prod").await?;
    let history = team.history();
    let mut later = history.iter().skip(seen);
    assert!(later.all(|version| version.condition("Stalled").is_none()));
    Ok(())
}

/// A 404 that does not come from Azure says nothing about the setting.
async fn an_html_page_of_a_proxy_is_not_off(environment: Arc<Environment>) -> Result<(), Error> {
    of_a_proxy(
        &environment,
        "proxy",
        "/serverVulnerabilityAssessmentsSettings/",
        404,
    )
    .await
}

async fn an_html_refusal_of_a_proxy_is_no_missing_role(environment: Arc<Environment>) -> Result<(), Error> {
    of_a_proxy(&environment, "egress", "/pricings/", 403).await
}

async fn a_sign_in_page_with_status_200_is_not_off(environment: Arc<Environment>) -> Result<(), Error> {
    of_a_proxy(&environment, "portal", "/settings$", 200).await
}

/// A page of the network instead of a token says nothing about the credential.
async fn an_html_page_instead_of_a_token_is_no_wrong_credential(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    for status in [200, 403] {
        let (team, tenant) = super::retry_after::in_own_tenant(&environment, "entrapage").await?;
        let text = "<html><head><title>Sign in to the network</title></head></html>";
        let fault = json!({"match": {"kind": "token", "path": tenant},
            "action": {"respond": {"status": status, "text": text}}});
        let id = environment.emulator.add_fault(fault).await?;
        super::retry_after::move_credential(&team, &tenant).await?;
        team.protect("prod", p2()).await?;
        let object = team.until("prod", "Ready", "Unknown", TIMEOUT).await?;
        let (status, reason, message) = condition_values(&object, "CredentialReady");
        assert_eq!((status, reason), ("Unknown", "EntraUnreachable"), "{object:#}");
        assert!(message.contains("Sign in to the network"), "{message}");
        environment.emulator.delete_fault(&id).await?;
        let object = ready(&team, "prod").await?;
        assert_eq!(condition_values(&object, "CredentialReady").0, "True");
    }
    Ok(())
}

/// Azure's list refers to itself: the reconcile ends, and nothing is concluded.
async fn pages_that_repeat_themselves_end(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("circle").await?;
    team.protect("prod", p2()).await?;
    ready(&team, "prod").await?;
    let url = environment.emulator.endpoint().trim_end_matches('/');
    let link = |token: &str| json!({"value": [], "nextLink": format!("{url}/subscriptions/{}/providers/Microsoft.Security/settings?api-version=2022-05-01&$skipToken={token}", team.subscription)});
    let first = fault(&team, "/settings$", 200, &link("a")).await?;
    let before = writes(&team).await?.len();
    team.request("prod").await?;
    let object = team.until("prod", "Ready", "Unknown", TIMEOUT).await?;
    assert!(
        condition_values(&object, "Ready").2.contains("repeat themselves"),
        "{object:#}"
    );
    assert_eq!(writes(&team).await?.len(), before);
    environment.emulator.delete_fault(&first).await?;
    ready(&team, "prod").await?;
    Ok(())
}

async fn an_error_in_another_shape_is_shown_in_azures_words(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    for (body, code, words) in [
        (
            json!({"Code": "InvalidThing", "Message": "The thing is wrong."}),
            "InvalidThing",
            "The thing is wrong.",
        ),
        (
            json!({"error": {"code": "InvalidThing", "message": "", "details": [{"code": "x", "message": "The inner thing is wrong."}]}}),
            "InvalidThing",
            "The inner thing is wrong.",
        ),
        (
            json!({"error": {"code": "InvalidThing", "innererror": {"innererror": {"message": "Deep inside."}}}}),
            "InvalidThing",
            "Deep inside.",
        ),
    ] {
        let team = environment.team("shape").await?;
        let id = fault(&team, "/settings$", 400, &body).await?;
        team.protect("prod", p2()).await?;
        stalled(&team, "prod", code, words).await?;
        environment.emulator.delete_fault(&id).await?;
        ready(&team, "prod").await?;
    }
    Ok(())
}

/// The roles of the identity suffice, so that the message names the deny assignment and no role.
async fn a_deny_assignment_is_named(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("denied").await?;
    let text = format!(
        "The client 'c' with object id 'o' has permission to perform action 'Microsoft.Security/pricings/write' on scope \
         '/subscriptions/{0}'; however, the access is denied because of the deny assignment with name 'Keep out' and Id \
         'i' at scope '/subscriptions/{0}'.",
        team.subscription
    );
    let body = json!({"error": {"code": "DenyAssignmentAuthorizationFailed", "message": text}});
    let fault = json!({"match": {"subscription": team.subscription, "method": "PUT", "path": "/pricings/"},
        "action": {"respond": {"status": 403, "body": body}}});
    let id = environment.emulator.add_fault(fault).await?;
    team.protect("prod", p2()).await?;
    let object = stalled(&team, "prod", "DenyAssignmentAuthorizationFailed", "Keep out").await?;
    let message = condition_values(&object, "Stalled").2;
    assert!(
        message.contains("Remove the deny assignment") && !message.contains("Grant"),
        "{message}"
    );
    assert_ne!(
        condition_values(&object, "PermissionsSufficient").0,
        "False",
        "{object:#}"
    );
    environment.emulator.delete_fault(&id).await?;
    ready(&team, "prod").await?;
    Ok(())
}

async fn a_byte_order_mark_is_stripped(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("mark").await?;
    let mark = json!({"match": {"subscription": team.subscription}, "phase": "after", "action": {"byteOrderMark": true}});
    let id = environment.emulator.add_fault(mark).await?;
    team.protect("prod", p2()).await?;
    let object = ready(&team, "prod").await?;
    assert_eq!(
        condition_values(&object, "ExtensionsProvisioned").0,
        "True",
        "{object:#}"
    );
    assert_eq!(
        of(writes(&team).await?, "/pricings/").len(),
        1,
        "the answer to the write was read"
    );
    reconcile(&team, "prod").await?;
    assert!(requests(&team).await?.len() > 4);
    environment.emulator.delete_fault(&id).await
}
