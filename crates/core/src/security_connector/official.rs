//! The official examples, if they are available (they are not part of this repository). The operator sends what they
//! send, and understands their responses and sends them back.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::{Value, json};
use serverprotection_api::Tier;

use super::{
    account::Membership,
    changes::differences,
    desired::Desired,
    merge,
    observed::Connector,
    samples::{answered, aws, protection},
};

fn example(name: &str) -> Option<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/azure/specs/examples");
    let path = folder.join(name);
    if !folder.is_dir() {
        eprintln!("skipped: {} is absent", folder.display());
        return None;
    }
    Some(serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap())
}

/// A spec that means what the example writes: posture management only.
fn desired(body: &Value) -> Desired {
    let text = |pointer: &str| body.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let role = text("/properties/offerings/0/nativeCloudConnection/cloudRoleArn");
    let spec = aws(json!({
        "location": text("/location"),
        "plan": {"tier": "Free"},
        "aws": {"accountId": text("/properties/hierarchyIdentifier"), "roleArns": {"cspm": role}},
    }));
    Desired::of("c", &spec, &protection(Tier::P2))
}

#[test]
fn what_the_official_example_writes_is_what_we_write() {
    let Some(example) = example("SecurityConnectors_CreateOrUpdate.json") else {
        return;
    };
    let official = &example["parameters"]["securityConnector"];
    let ours = merge::body(&desired(official), None, &BTreeSet::new());
    assert_eq!(ours["properties"], official["properties"]);
    assert_eq!(ours["location"], official["location"]);
}

#[test]
fn responses_of_the_official_examples_are_in_sync_and_are_sent_back_without_read_only_members() {
    for name in [
        "SecurityConnectors_CreateOrUpdate.json",
        "SecurityConnectors_Get.json",
    ] {
        let Some(example) = example(name) else { return };
        let answer = example["responses"]["200"]["body"].clone();
        let desired = desired(&answer);
        let connector = Connector::read(answer.clone()).unwrap();
        assert_eq!(connector.membership(), Membership::Single);
        assert_eq!(connector.tier(), Some(Tier::Free));
        assert!(differences(&desired, Some(&connector)).is_empty(), "{name}");
        let back = merge::body(&desired, Some(&connector), &BTreeSet::new());
        let mut sent = answer["properties"].clone();
        // One of the examples omits it.
        sent["environmentData"]["scanInterval"] = json!(4);
        assert_eq!(back["properties"], sent, "{name}");
        for member in ["id", "name", "type", "systemData", "etag"] {
            assert!(back.get(member).is_none(), "{name}: {member}");
        }
        // If the next read returns this body, the connector is in sync again.
        let next = answered(connector.id(), &back);
        assert!(differences(&desired, Some(&next)).is_empty(), "{name}");
    }
}
