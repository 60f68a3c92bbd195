//! Scans that do not end by themselves.

use super::*;

#[tokio::test]
async fn a_scan_that_does_not_end_fails_for_what_has_no_result() {
    // Accepts connections and never answers.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let scanner = Scanner::new(Settings {
        deadline: Duration::from_millis(50),
        ..Settings::default()
    });
    let recording = Recording::default();
    let arm = crate::stub::arm(url.parse().unwrap());
    scanner.scan(&arm, &targets(&["a", "b"]), &recording).await;
    let readings = recording.readings.lock().unwrap();
    for subscription in ["a", "b"] {
        let failure = readings[subscription].clone().unwrap_err();
        assert_eq!(
            (failure.class, failure.code.as_str()),
            (ErrorClass::Transient, "ScanTimeout")
        );
    }
}

#[tokio::test]
async fn results_before_the_deadline_count() {
    let recording = Recording::default();
    let Azure { arm, .. } = Azure::of(Stub::new(&["a"]).vm("a", "vm", "Succeeded")).await;
    let scanner = Scanner::new(Settings {
        deadline: Duration::ZERO,
        ..Settings::default()
    });
    let all = targets(&["a", "b"]);
    let scan = super::super::scan::Scan::new(&scanner, &arm, &recording, all.len());
    let all = super::super::subject::sorted(&all);
    scan.fail(&all[..1], &resource_graph_failure());
    scan.time_out(&all);
    assert_eq!(recording.failure("a"), "IncompleteResult");
    assert_eq!(recording.failure("b"), "ScanTimeout");
}

fn resource_graph_failure() -> AzureError {
    crate::resource_graph::failure("IncompleteResult", "m", "q")
}
