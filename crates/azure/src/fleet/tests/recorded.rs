//! Scans of recorded responses of the real services.

use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::Value;
use serverprotection_core::machines::{Environment, Service, operating_systems::system_name};

use super::*;

const ARC: &str = "/subscriptions/a/resourceGroups/rg/providers/Microsoft.HybridCompute/machines/edge-1";
/// 2026-11-29T12:00:00Z
const NOON: i64 = 1_795_953_600;

/// Records machines with their findings.
#[derive(Default)]
struct Findings(Mutex<Vec<(Machine, Finding)>>);

impl ScanObserver for Findings {
    fn machine(&self, machine: &Machine, finding: &Finding) {
        let mut all = self.0.lock().unwrap();
        all.push((machine.clone(), finding.clone()));
    }

    fn subscription(&self, target: &Target, reading: Result<SubscriptionReading, AzureError>) {
        assert!(reading.is_ok(), "{target:?}: {reading:?}");
    }
}

impl Azure {
    /// The only machine of subscription a, its finding, and the number of GETs.
    async fn only(&self) -> (Machine, Finding, u64) {
        let found = Findings::default();
        let report = self.scanner.scan(&self.arm, &targets(&["a"]), &found).await;
        let mut all = found.0.into_inner().unwrap();
        assert_eq!(all.len(), 1, "{all:?}");
        let (machine, finding) = all.pop().unwrap();
        (machine, finding, report.confirmations)
    }

    async fn verdict(&self) -> (Verdict, String, u64) {
        let (_, finding, gets) = self.only().await;
        (finding.verdict, finding.reason.into_owned(), gets)
    }
}

fn noon() -> Timestamp {
    Timestamp::from_second(NOON).unwrap()
}

fn expected(verdict: Verdict, reason: &str, gets: u64) -> (Verdict, String, u64) {
    (verdict, reason.to_owned(), gets)
}

async fn azure(row: Value, answer: Value) -> Azure {
    let mut stub = Stub::new(&["a"]).resource(row["id"].as_str().unwrap(), 200, answer);
    stub.rows.push(row);
    let mut azure = Azure::of(stub).await;
    azure.scanner.settings.now = noon;
    azure
}

fn with(mut value: Value, more: &Value) -> Value {
    let more = more.as_object().unwrap().clone();
    value.as_object_mut().unwrap().extend(more);
    value
}

/// The row of a Linux machine on premises, with the time of its connection: the columns of the query.
fn linux_row(connected: &str) -> Value {
    json!({
        "id": ARC, "name": "edge-1", "type": "microsoft.hybridcompute/machines", "subscriptionId": "a", "resourceGroup": "rg",
        "location": "westeurope", "tags": { "City": "Ballina", "Environment": "Production" }, "capacity": null,
        "osType": "linux", "osName": "linux", "osSku": "Ubuntu 24.04.3 LTS", "osVersion": "6.8.0-87-generic",
        "imagePublisher": "", "imageOffer": "", "imageSku": "", "power": "", "created": "", "identity": "SystemAssigned",
        "status": "Connected", "statusReason": "", "statusChanged": connected, "agentVersion": "1.58.03228.700",
        "extensionsEnabled": "true", "allowList": [], "blockList": [], "extensionService": "active",
        "provider": "N/A", "detectedCloud": "N/A",
        "extName": "", "extType": "", "extState": "", "extVersion": "", "extUnified": "", "extCode": "", "extLevel": "",
        "extMessage": "", "extAt": "", "extModified": ""
    })
}

/// The GET of the machine, without `$expand`.
fn linux_machine(connected: &str, resources: &Value) -> Value {
    json!({
        "id": ARC, "name": "edge-1", "type": "Microsoft.HybridCompute/machines", "location": "westeurope",
        "identity": { "principalId": "2fee3cb1-0000-4cce-be0f-18666beea729", "tenantId": "7d918dfe-0000-478b-b8b3-2f252b011527", "type": "SystemAssigned" },
        "resources": resources, "tags": { "City": "Ballina", "Environment": "Production" },
        "properties": {
            "adFqdn": "unknown",
            "agentConfiguration": { "configMode": "full", "extensionsAllowList": [], "extensionsBlockList": [], "extensionsEnabled": "true",
                "guestConfigurationEnabled": "true", "incomingConnectionsPorts": [], "proxyBypass": [], "proxyUrl": "" },
            "agentUpgrade": { "enableAutomaticUpgrade": false }, "agentVersion": "1.58.03228.700",
            "clientPublicKey": "MIIBCgKCAQEA", "cloudMetadata": { "provider": "N/A" },
            "detectedProperties": { "architecture": "amd64", "cloudprovider": "N/A", "coreCount": "4", "manufacturer": "ASUSTeK COMPUTER INC.",
                "model": "NUC13BRF-B", "mssqldiscovered": "false", "productType": "unknown", "totalPhysicalMemoryInBytes": "16384561152" },
            "displayName": "edge-1", "dnsFqdn": "edge-1", "domainName": "unknown", "errorDetails": [], "lastStatusChange": connected,
            "licenseProfile": { "esuProfile": { "esuEligibility": "Ineligible", "esuKeyState": "Inactive", "serverType": "Unknown" } },
            "machineFqdn": "edge-1", "mssqlDiscovered": "false",
            "networkProfile": { "networkInterfaces": [{ "ipAddresses": [{ "address": "10.13.100.11", "ipAddressVersion": "IPv4" }] }] },
            "osEdition": "unknown", "osName": "linux", "osProfile": { "computerName": "edge-1" }, "osSku": "Ubuntu 24.04.3 LTS",
            "osType": "linux", "osVersion": "6.8.0-87-generic", "provisioningState": "Succeeded",
            "serviceStatuses": { "extensionService": { "startupType": "enabled", "status": "active" },
                "guestConfigurationService": { "startupType": "enabled", "status": "active" } },
            "status": "Connected", "vmId": "5d39b8be-0000-4537-829b-10be2740f625", "vmUuid": "72c28174-0000-4815-bade-48210b60d1bf"
        }
    })
}

const LONG_AGO: &str = "2026-03-01T23:34:02.9794112Z";

/// The columns of an extension in the row, with its state and the time of its last PUT.
fn extension_row(state: &str, modified: &str) -> Value {
    json!({ "extName": "MDE.Linux", "extType": "MDE.Linux", "extState": state, "extVersion": "1.0.9.4", "extModified": modified })
}

/// The same extension as a resource of the machine.
fn extension_resource(state: &str, view: &Value, modified: Option<&str>) -> Value {
    let mut resource = json!({
        "id": format!("{ARC}/extensions/MDE.Linux"), "name": "MDE.Linux", "type": "Microsoft.HybridCompute/machines/extensions",
        "location": "westeurope",
        "properties": { "autoUpgradeMinorVersion": false, "enableAutomaticUpgrade": true, "instanceView": view, "provisioningState": state,
            "publisher": "Microsoft.Azure.AzureDefenderForServers", "type": "MDE.Linux", "typeHandlerVersion": "1.0.9.4" }
    });
    if let Some(modified) = modified {
        resource["systemData"] = json!({ "createdAt": LONG_AGO, "createdBy": "someone@contoso.example", "createdByType": "User",
            "lastModifiedAt": modified, "lastModifiedBy": "someone@contoso.example", "lastModifiedByType": "User" });
    }
    resource
}

#[tokio::test]
async fn a_linux_arc_machine() {
    let new = "2026-11-29T11:30:02.9794112Z";
    let azure_new = azure(linux_row(new), linux_machine(new, &json!([]))).await;
    let waiting = expected(Verdict::Provisioning, "AwaitingExtension", 0);
    assert_eq!(azure_new.verdict().await, waiting);

    let old = azure(linux_row(LONG_AGO), linux_machine(LONG_AGO, &json!([]))).await;
    let (machine, finding, gets) = old.only().await;
    assert_eq!(
        (finding.verdict, &*finding.reason, gets),
        (Verdict::Missing, "NotDeployed", 1)
    );
    assert_eq!(machine.environment(), Environment::OnPremises);
    assert_eq!(system_name(&machine), "Ubuntu 24.04");
    let agent = machine.arc.unwrap();
    assert_eq!(agent.extension_service, Service::Running);
    assert!(agent.allow_list.is_empty() && agent.block_list.is_empty());
}

#[tokio::test]
async fn a_linux_arc_machine_whose_service_is_stopped() {
    let row = with(linux_row(LONG_AGO), &json!({ "extensionService": "inactive" }));
    let mut answer = linux_machine(LONG_AGO, &json!([]));
    answer["properties"]["serviceStatuses"]["extensionService"]["status"] = "failed".into();
    let stopped = expected(Verdict::Missing, "ExtensionServiceStopped", 1);
    assert_eq!(azure(row, answer).await.verdict().await, stopped);
}

#[tokio::test]
async fn an_arc_machine_that_is_a_virtual_machine_of_azure() {
    let row = with(
        linux_row(LONG_AGO),
        &json!({ "provider": "Azure", "detectedCloud": "Azure" }),
    );
    let azure = azure(row, linux_machine(LONG_AGO, &json!([]))).await;
    assert_eq!(azure.only().await.0.environment(), Environment::Azure);
}

#[tokio::test]
async fn an_arc_extension_is_dated_by_its_last_put() {
    let view = json!({ "name": "MDE.Linux", "type": "MDE.Linux", "typeHandlerVersion": "1.0.9.4",
        "status": { "code": "0", "level": "Information", "message": "Extension Message: Done" } });
    let (lately, too_long) = ("2026-11-29T11:20:00.2907904Z", "2026-11-29T10:20:00.2907904Z");
    for state in ["Creating", "Updating"] {
        for (in_row, itself, result) in [
            (lately, lately, expected(Verdict::Provisioning, "Installing", 0)),
            (too_long, too_long, expected(Verdict::Failed, "Stuck", 1)),
            // Resource Graph lags: the next run has begun.
            (too_long, lately, expected(Verdict::Provisioning, "Installing", 1)),
        ] {
            let resource = extension_resource(state, &view, Some(itself));
            let row = with(linux_row(LONG_AGO), &extension_row(state, in_row));
            let azure = azure(row, linux_machine(LONG_AGO, &json!([resource]))).await;
            assert_eq!(azure.verdict().await, result, "{state} {in_row} {itself}");
        }
    }
    // Without `systemData` the date of the row is used.
    let resource = extension_resource("Updating", &view, None);
    let row = with(linux_row(LONG_AGO), &extension_row("Updating", too_long));
    let azure = azure(row, linux_machine(LONG_AGO, &json!([resource]))).await;
    assert_eq!(azure.verdict().await, expected(Verdict::Failed, "Stuck", 1));
}

#[tokio::test]
async fn a_transition_without_a_date_becomes_stuck() {
    static HOURS: AtomicI64 = AtomicI64::new(0);
    fn later() -> Timestamp {
        Timestamp::from_second(NOON + HOURS.load(Ordering::SeqCst) * 3600).unwrap()
    }
    let put_long_ago = Some(LONG_AGO);
    for (state, modified, first, at_last) in [
        ("Creating", None, (Verdict::Provisioning, "Installing"), "Stuck"),
        ("Updating", None, (Verdict::Provisioning, "Installing"), "Stuck"),
        // The last PUT does not date the deletion.
        (
            "Deleting",
            put_long_ago,
            (Verdict::Missing, "BeingRemoved"),
            "Stuck",
        ),
    ] {
        HOURS.store(0, Ordering::SeqCst);
        let resource = extension_resource(state, &json!({ "status": {} }), modified);
        let row = with(
            linux_row(LONG_AGO),
            &extension_row(state, modified.unwrap_or_default()),
        );
        let mut azure = azure(row, linux_machine(LONG_AGO, &json!([resource]))).await;
        azure.scanner.settings.now = later;
        let (verdict, reason) = first;
        assert_eq!(
            azure.verdict().await,
            expected(verdict, reason, 1),
            "{state}: a GET may have a date"
        );
        HOURS.store(1, Ordering::SeqCst);
        assert_eq!(
            azure.verdict().await,
            expected(verdict, reason, 0),
            "{state}: the GET is sent once"
        );
        HOURS.store(2, Ordering::SeqCst);
        assert_eq!(
            azure.verdict().await,
            expected(Verdict::Failed, at_last, 0),
            "{state}"
        );
        // A run that begins after another one ended is a new one.
        azure.stub.lock().unwrap().rows[0]["extState"] = "Succeeded".into();
        assert_eq!(azure.verdict().await.0, Verdict::Protected);
        azure.stub.lock().unwrap().rows[0]["extState"] = state.into();
        assert_eq!(azure.verdict().await.1, reason, "{state}");
    }
}

#[tokio::test]
async fn a_virtual_machine_s_extension_is_dated_by_its_instance_view() {
    let vm = id("a", "web-1");
    for (code, time, verdict) in [
        (
            "ProvisioningState/updating",
            "2026-11-29T11:40:00+00:00",
            Verdict::Provisioning,
        ),
        (
            "ProvisioningState/updating",
            "2026-11-29T08:00:00+00:00",
            Verdict::Failed,
        ),
        // The result of the previous run does not date this one.
        (
            "ProvisioningState/succeeded",
            "2026-03-01T08:00:00+00:00",
            Verdict::Provisioning,
        ),
    ] {
        let mut stub = Stub::new(&["a"]).vm("a", "web-1", "Updating");
        let answer = json!({
            "id": vm, "name": "web-1", "properties": { "instanceView": { "osName": "ubuntu", "osVersion": "22.04",
                "statuses": [{ "code": "PowerState/running" }],
                "extensions": [{ "name": "MDE.Linux", "type": "Microsoft.Azure.AzureDefenderForServers.MDE.Linux", "typeHandlerVersion": "1.0.9.4",
                    "statuses": [{ "code": code, "level": "Info", "displayStatus": "x", "time": time }] }] } },
            "resources": [{ "name": "MDE.Linux", "properties": { "publisher": "Microsoft.Azure.AzureDefenderForServers", "type": "MDE.Linux",
                "provisioningState": "Updating", "typeHandlerVersion": "1.0" } }] });
        stub = stub.resource(&vm, 200, answer);
        let mut azure = Azure::of(stub).await;
        azure.scanner.settings.now = noon;
        let (_, finding, gets) = azure.only().await;
        assert_eq!(
            (finding.verdict, gets),
            (verdict, 1),
            "{code} {time}: {finding:?}"
        );
    }
}

#[tokio::test]
async fn a_host_of_azure_virtual_desktop_from_a_gallery_image() {
    let vm = id("a", "avd-0");
    let row = json!({
        "id": vm, "name": "avd-0", "type": "microsoft.compute/virtualmachines", "subscriptionId": "a", "tags": {},
        "osType": "Windows", "osName": "Windows 10 Enterprise for Virtual Desktops", "osVersion": "10.0.19045.3930",
        "imagePublisher": "", "imageOffer": "", "imageSku": "", "power": "PowerState/running", "created": "2025-05-01T08:00:00.123Z",
        "extName": "", "extType": ""
    });
    let answer = json!({ "id": vm, "name": "avd-0", "properties": {
        "storageProfile": { "imageReference": { "id": "/subscriptions/a/resourceGroups/rg/providers/Microsoft.Compute/galleries/g/images/i/versions/1.0.0" },
            "osDisk": { "osType": "Windows" } },
        "instanceView": { "osName": "Windows 10 Enterprise for Virtual Desktops", "osVersion": "10.0.19045.3930",
            "statuses": [{ "code": "PowerState/running" }] } } });
    let azure = azure(row, answer).await;
    let (machine, finding, _) = azure.only().await;
    assert_eq!(
        (finding.verdict, &*finding.reason),
        (Verdict::Missing, "NotDeployed")
    );
    assert_eq!(system_name(&machine), "Windows 10 Enterprise multi-session");
}

/// A row of an Arc machine whose extension succeeded and then failed to run.
fn row_with_an_error() -> Value {
    let row = with(linux_row(LONG_AGO), &extension_row("Succeeded", LONG_AGO));
    with(
        row,
        &json!({ "extCode": "4", "extLevel": "Error", "extMessage": "no way out" }),
    )
}

#[tokio::test]
async fn a_second_read_without_an_instance_view_does_not_clear_an_error() {
    for view in [
        json!({}),
        json!(null),
        json!(""),
        json!({ "status": null }),
        json!({ "status": {} }),
    ] {
        let resource = extension_resource("Succeeded", &view, Some(LONG_AGO));
        let azure = azure(row_with_an_error(), linux_machine(LONG_AGO, &json!([resource]))).await;
        let failed = expected(Verdict::Failed, "ERR_NO_INTERNET_CONNECTIVITY", 1);
        assert_eq!(azure.verdict().await, failed, "{view}");
    }
    // The extension has run again meanwhile.
    let view = json!({ "status": { "code": "0", "level": "Information" } });
    let resource = extension_resource("Succeeded", &view, Some(LONG_AGO));
    let azure = azure(row_with_an_error(), linux_machine(LONG_AGO, &json!([resource]))).await;
    assert_eq!(azure.verdict().await.0, Verdict::Protected);
}

/// Azure/azure-cli issue 9284: the instance view is null, and there are no extensions.
#[tokio::test]
async fn a_second_read_that_says_nothing_confirms_nothing() {
    let vm = id("a", "web-1");
    for answer in [
        json!({}),
        json!({ "id": vm, "properties": null }),
        json!({ "id": vm, "properties": { "instanceView": null } }),
        json!({ "id": id("a", "web-2"), "properties": { "instanceView": { "statuses": [{ "code": "PowerState/running" }] } } }),
    ] {
        let azure = Azure::of(Stub::new(&["a"]).vm("a", "web-1", "Failed").resource(
            &vm,
            200,
            answer.clone(),
        ))
        .await;
        for _ in 0..2 {
            let (_, finding, gets) = azure.only().await;
            assert_eq!(
                (finding.verdict, gets),
                (Verdict::Failed, 1),
                "not cached: {answer}"
            );
        }
    }
}
