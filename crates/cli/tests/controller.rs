//! Flags that `serverprotection controller` refuses.
#![allow(clippy::unwrap_used, reason = "a test ends there")]

use std::process::Command;

#[test]
fn there_is_no_flag_for_a_common_identity() {
    for value in ["none", "workload-identity", "managed-identity"] {
        let output = Command::new(env!("CARGO_BIN_EXE_serverprotection"))
            .args(["controller", "--controller-identity", value])
            .env("KUBECONFIG", "/dev/null")
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(
            error.contains("unexpected argument '--controller-identity'"),
            "{error}"
        );
    }
}
