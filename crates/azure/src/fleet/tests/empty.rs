//! Subscriptions without machines, of which most fleets have many.

use serverprotection_core::server_protection::reads::Reads;

use super::*;
use crate::Client;

const COUNT: usize = 20;

/// Subscriptions with health reports and without machines.
fn subscriptions() -> Vec<&'static str> {
    let ids = (0..COUNT).map(|at| format!("s{at:02}"));
    ids.map(|id| &*id.leak()).collect()
}

fn stub(ids: &[&'static str]) -> Stub {
    ids.iter().fold(Stub::new(ids), |stub, id| stub.plan(id, "P2"))
}

/// Scans, and returns the access to each subscription.
async fn scan(client: &Client, ids: &[&str], fresh: bool) -> Vec<Access> {
    let mut targets = targets(ids);
    for target in &mut targets {
        target.fresh = fresh;
    }
    let recording = Recording::default();
    client.scan(&targets, &recording).await;
    ids.iter().map(|id| recording.reading(id).access).collect()
}

impl Azure {
    /// The numbers of requests so far for permissions and for health reports.
    fn requests(&self) -> (usize, usize) {
        (self.asked("/permissions"), self.asked("healthReports"))
    }
}

#[tokio::test]
async fn a_scan_uses_the_permissions_that_reconciles_read() {
    let ids = subscriptions();
    let azure = Azure::of(stub(&ids)).await;
    let client = crate::stub::client(azure.url.clone());
    let reads = Reads {
        permissions: true,
        ..Reads::default()
    };
    for id in &ids {
        client.observe(id, &reads).await;
    }
    assert_eq!(azure.requests(), (COUNT, 0));
    for _ in ["after changes", "periodic"] {
        assert_eq!(scan(&client, &ids, false).await, vec![Access::Sufficient; COUNT]);
        assert_eq!(azure.requests(), (COUNT, 0));
    }
    scan(&client, &ids, true).await;
    assert_eq!(azure.requests(), (2 * COUNT, 0), "a requested scan reads them");
}

#[tokio::test]
async fn a_scan_without_reconciles_reads_the_permissions_once() {
    let ids = subscriptions();
    let path = "/subscriptions/s07/providers/Microsoft.Authorization/permissions";
    let nothing = json!({ "value": [{ "actions": [], "notActions": [] }] });
    let azure = Azure::of(stub(&ids).resource(path, 200, nothing)).await;
    let client = crate::stub::client(azure.url.clone());
    for asked in [COUNT, COUNT + 1] {
        let access = scan(&client, &ids, false).await;
        assert_eq!(azure.requests(), (asked, 0), "insufficient ones are read again");
        // No row proves nothing without the permission to read rows.
        assert_eq!(access[7], Access::Missing(access::ACTIONS.to_vec()));
        assert_eq!(access[8], Access::Sufficient);
    }
}

const PERMISSIONS: &str = "/subscriptions/a/providers/Microsoft.Authorization/permissions";

/// Scans subscription a, whose only machine was protected, after its row disappeared and `change` happened.
async fn scan_emptied(azure: &Azure, change: impl FnOnce(&mut Stub)) -> Recording {
    azure.scan(&["a"]).await;
    {
        let mut stub = azure.stub.lock().unwrap();
        stub.rows.clear();
        change(&mut stub);
    }
    let mut targets = targets(&["a"]);
    targets[0].had_machines = true;
    let recording = Recording::default();
    azure.scanner.scan(&azure.arm, &targets, &recording).await;
    recording
}

#[tokio::test]
async fn rows_that_disappear_with_the_access_are_not_deleted_machines() {
    let refused = (403, vec![], error("AuthorizationFailed"));
    let nothing = json!({ "value": [{ "actions": [], "notActions": [] }] });
    let answers = [
        (refused, Err("AuthorizationFailed")),
        (
            (200, vec![], nothing),
            Ok(Access::Missing(access::ACTIONS.to_vec())),
        ),
    ];
    for (answer, expected) in answers {
        let azure = Azure::of(Stub::new(&["a"]).vm("a", "a1", "Succeeded")).await;
        let recording = scan_emptied(&azure, |stub| {
            stub.resources.insert(PERMISSIONS.to_lowercase(), answer);
        })
        .await;
        assert_eq!(azure.asked("/permissions"), 2, "the cached ones prove nothing");
        match expected {
            Err(code) => assert_eq!(recording.failure("a"), code),
            Ok(access) => assert_eq!(recording.reading("a").access, access),
        }
    }
}

#[tokio::test]
async fn rows_that_disappear_with_sufficient_permissions_are_deleted_machines() {
    let azure = Azure::of(Stub::new(&["a"]).vm("a", "a1", "Succeeded")).await;
    let recording = scan_emptied(&azure, |_| {}).await;
    assert_eq!((recording.total("a"), azure.asked("/permissions")), (0, 2));
    assert_eq!(recording.reading("a").access, Access::Sufficient);
    azure.scan(&["a"]).await;
    assert_eq!(azure.asked("/permissions"), 2, "it had no machine before");
}
