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
