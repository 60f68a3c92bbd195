//! Responses with status 200 that contain nothing, or have another form. None of them may mean "empty" or "off".

use std::sync::Arc;

use serde_json::{Value, json};
use serverprotection_tests::{Error, cases, env::Environment, harness::Case, team::Team};

use super::{TIMEOUT, condition_values, of, p2, ready, reconcile, requests, writes};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        a_list_without_its_value_is_not_off,
        an_empty_list_of_settings_is_not_off,
        an_error_with_status_200_is_not_off,
        a_setting_without_its_state_is_not_off,
        an_empty_plan_is_not_free,
        an_assessment_without_a_provider_is_not_off,
        an_html_page_of_a_proxy_is_not_off,
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

async fn an_empty_plan_is_not_free(environment: Arc<Environment>) -> Result<(), Error> {
    let body = json!({"name": "VirtualMachines", "properties": {}});
    unreadable(&environment, "emptyplan", "/pricings/VirtualMachines$", 200, body).await
}

async fn an_assessment_without_a_provider_is_not_off(environment: Arc<Environment>) -> Result<(), Error> {
    let path = "/serverVulnerabilityAssessmentsSettings/";
    unreadable(&environment, "noprovider", path, 200, json!({"properties": {}})).await
}

/// A 404 that does not come from Azure says nothing about the setting.
async fn an_html_page_of_a_proxy_is_not_off(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("proxy").await?;
    team.protect("prod", p2()).await?;
    ready(&team, "prod").await?;
    let before = writes(&team).await?.len();
    let page = json!("<html><body><h1>Not Found</h1></body></html>");
    let id = fault(&team, "/serverVulnerabilityAssessmentsSettings/", 404, &page).await?;
    team.request("prod").await?;
    let object = team.until("prod", "Ready", "False", TIMEOUT).await?;
    assert_eq!(condition_values(&object, "Ready").1, "Http404", "{object:#}");
    assert_eq!(writes(&team).await?.len(), before);
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
