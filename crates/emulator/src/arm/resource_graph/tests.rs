//! Measures the query of a whole fleet.

use serde_json::{Value, json};

use super::pages::{Binding, Finished};
use crate::query::{RowSource, Table, compile};

/// 60,000 machines with two extensions each, through the query of a whole fleet.
#[test]
#[ignore = "a measurement: cargo test --release --lib resource_graph -- --ignored --nocapture"]
fn measure_the_query_of_a_whole_fleet() {
    struct Fleet;
    impl RowSource for Fleet {
        fn rows(&self, _table: Table, types: Option<&[String]>, each: &mut dyn FnMut(Value)) {
            let wants = |kind: &str| types.is_none_or(|types| types.iter().any(|expected| expected == kind));
            for number in 0..60_000 {
                let id = format!(
                    "/subscriptions/00000000-0000-0000-0000-{:012x}/resourceGroups/RG{}/providers/Microsoft.Compute/virtualMachines/VM{number}",
                    number % 300,
                    number % 20
                );
                if wants("microsoft.compute/virtualmachines") {
                    each(
                        json!({"id": id, "name": format!("VM{number}"), "type": "microsoft.compute/virtualmachines",
                        "subscriptionId": "00000000-0000-0000-0000-000000000001", "resourceGroup": "rg1", "location": "westeurope",
                        "tags": {"owner": "team", "cost": "1"},
                        "properties": {"storageProfile": {"osDisk": {"osType": "Linux"}, "dataDisks": [{"lun": 0}, {"lun": 1}],
                            "imageReference": {"publisher": "Canonical", "offer": "ubuntu", "sku": "22_04"}},
                            "hardwareProfile": {"vmSize": "Standard_D2"}, "provisioningState": "Succeeded",
                            "extended": {"instanceView": {"powerState": {"code": "PowerState/running"}}}}}),
                    );
                }
                if wants("microsoft.compute/virtualmachines/extensions") {
                    for kind in ["MDE.Linux", "AzureMonitorLinuxAgent"] {
                        each(json!({"id": format!("{id}/extensions/{kind}"), "name": kind,
                            "type": "microsoft.compute/virtualmachines/extensions", "location": "westeurope",
                            "properties": {"publisher": "Microsoft.Azure.AzureDefenderForServers", "type": kind,
                                "provisioningState": "Succeeded", "typeHandlerVersion": "1.0"}}));
                    }
                }
            }
        }
    }
    let query = "resources
        | where type in~ ('microsoft.compute/virtualmachines', 'microsoft.hybridcompute/machines')
        | extend key = tolower(id), arc = type =~ 'microsoft.hybridcompute/machines'
        | project id, key, name, subscriptionId, resourceGroup, location, arc,
            os = tolower(iff(arc, tostring(properties.osType), tostring(properties.storageProfile.osDisk.osType))),
            sku = iff(arc, tostring(properties.osSku), tostring(properties.storageProfile.imageReference.sku)),
            offer = tostring(properties.storageProfile.imageReference.offer),
            power = tostring(properties.extended.instanceView.powerState.code),
            owner = tostring(tags['owner']), foreign = isnotempty(tostring(tags['other'])),
            scaleSet = tostring(properties.virtualMachineScaleSet.id)
        | join kind=leftouter (resources
            | where type in~ ('microsoft.compute/virtualmachines/extensions', 'microsoft.hybridcompute/machines/extensions')
            | where tostring(properties.publisher) =~ 'microsoft.azure.azuredefenderforservers'
                and tostring(properties.type) in~ ('MDE.Windows', 'MDE.Linux')
            | project extension = id, key = tolower(substring(id, 0, indexof(tolower(id), '/extensions/'))),
                state = tostring(properties.provisioningState), version = tostring(properties.typeHandlerVersion)
          ) on key
        | project-away key, key1
        | order by id asc";
    let began = std::time::Instant::now();
    Fleet.rows(Table::Resources, None, &mut |row| assert!(row.is_object()));
    let making = began.elapsed();
    let plan = compile(query).unwrap();
    let began = std::time::Instant::now();
    let rows = plan.run(&Fleet);
    let evaluation = began.elapsed();
    let binding = Binding {
        principal: String::new(),
        query: query.into(),
        scope: String::new(),
        table: false,
    };
    let began = std::time::Instant::now();
    let result = Finished::new(binding, &plan.columns, &rows, plan.ordered, |_| None);
    let spelling = began.elapsed();
    let began = std::time::Instant::now();
    let page = result.data(30_000, 31_000);
    let serving = began.elapsed();
    eprintln!(
        "making the rows alone {making:?}; evaluation with them {evaluation:?}; spelling out {spelling:?} ({} MB); page of 1000 {serving:?} ({} kB)",
        result.data(0, result.total()).len() / 1_000_000,
        page.len() / 1000
    );
    assert_eq!(result.total(), 60_000);
}
