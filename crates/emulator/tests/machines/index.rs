//! Machines in Resource Graph.

use serde_json::{Value, json};

use super::{bench, change};

#[tokio::test]
async fn the_index_shows_machines_and_lags() {
    let bench = bench(
        "{name: well, resourceGroup: RG}, {name: bare, resourceGroup: rg, mde: none},
         {name: twice, resourceGroup: rg, mde: [{}, {name: second, code: 25}]},
         {name: arc, resourceGroup: rg, cloudProvider: GCP, os: windows-2022, provisioningFailureCode: 4},
         {name: set, type: Microsoft.Compute/virtualMachineScaleSets, capacity: 4}",
    )
    .await;
    let query = "resources
        | where type in~ ('microsoft.compute/virtualmachines', 'microsoft.hybridcompute/machines')
        | extend machineId = tolower(id), isArc = type =~ 'microsoft.hybridcompute/machines'
        | project id, machineId, name, power = tostring(properties.extended.instanceView.powerState.code), arcStatus = tostring(properties.status)
        | join kind = leftouter (
            resources
            | where type in~ ('microsoft.compute/virtualmachines/extensions', 'microsoft.hybridcompute/machines/extensions')
            | where tostring(properties.publisher) =~ 'Microsoft.Azure.AzureDefenderForServers' and tostring(properties.type) in~ ('MDE.Windows', 'MDE.Linux')
            | project extId = id, machineId = tolower(substring(id, 0, indexof(tolower(id), '/extensions/'))),
                extState = tostring(properties.provisioningState), extCode = tostring(properties.instanceView.status.code)
          ) on machineId
        | project-away machineId, machineId1
        | order by id asc";
    let ask = async || {
        let path = "/providers/Microsoft.ResourceGraph/resources?api-version=2024-04-01";
        let got = bench.path("POST", path, Some(json!({"query": query}))).await;
        let rows = got.body["data"].as_array().unwrap_or_else(|| panic!("{got:?}"));
        let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let mut found: Vec<_> = rows
            .iter()
            .map(|row| {
                format!(
                    "{} {}{} {} {}",
                    text(row, "name"),
                    text(row, "power"),
                    text(row, "arcStatus"),
                    text(row, "extState"),
                    text(row, "extCode")
                )
            })
            .collect();
        found.sort();
        found
    };
    assert_eq!(
        ask().await,
        [
            "arc Connected Failed 4",
            "bare PowerState/running  ",
            "twice PowerState/running Failed ",
            "twice PowerState/running Succeeded ",
            "well PowerState/running Succeeded ",
        ]
    );
    bench.control("PUT", "options", json!({"graphLag": "1m"})).await;
    change(
        &bench,
        "arc",
        json!({"mde.provisioningState": "Succeeded", "arc.status": "Disconnected"}),
    )
    .await;
    change(
        &bench,
        "well",
        json!({"powerState": "deallocated", "mde": "none"}),
    )
    .await;
    let late = ask().await;
    assert!(late.contains(&"arc Connected Failed 4".to_owned()), "{late:?}");
    assert!(
        late.contains(&"well PowerState/running Succeeded ".to_owned()),
        "{late:?}"
    );
    bench.control("PUT", "options", json!({"graphLag": "0s"})).await;
    let present = ask().await;
    assert!(
        present.contains(&"arc Disconnected Succeeded 0".to_owned()),
        "{present:?}"
    );
    assert!(
        present.contains(&"well PowerState/deallocated  ".to_owned()),
        "{present:?}"
    );
}
