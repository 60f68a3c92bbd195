//! Exit codes, standard output and standard error of the program.
#![allow(clippy::unwrap_used, reason = "a test ends there")]

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

const CONNECTOR: &str = "
apiVersion: serverprotection.dev/v1alpha1
kind: SecurityConnector
metadata: {name: aws-prod, namespace: team}
spec:
  protectionRef: {name: contoso-prod}
  resourceGroup: rg-defender
  location: westeurope
  type: AWS
  aws: {accountId: \"123456789012\"}
";
const TENANT: &str = "8efa1c55-953c-42df-a19d-d4599e4c64d4";

fn run(input: &str, arguments: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_serverprotection"))
        .arg("prerequisites")
        .args(["-f", "-"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Fails if the program refuses its flags before it reads.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn refused(input: &str, arguments: &[&str], expected_text: &str) {
    let output = run(input, arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(output.stdout.is_empty());
    assert!(error.contains(expected_text), "{error}");
}

#[test]
fn a_connector_is_printed() {
    let output = run(CONNECTOR, &["--tier", "P2", "--tenant-id", TENANT]);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("SecurityConnector team/aws-prod"), "{text}");
    assert!(
        text.contains(&format!("MicrosoftDefenderForClouds_{TENANT}")),
        "{text}"
    );
}

#[test]
fn invalid_input_prints_only_an_error() {
    let both = ["--tier", "P2", "--tenant-id", TENANT];
    refused(CONNECTOR, &["--tier", "P2"], "--tenant-id");
    refused(CONNECTOR, &["--tenant-id", TENANT], "--tier");
    refused(CONNECTOR, &["--tier", "P2", "--tenant-id", "contoso.com"], "GUID");
    refused(
        CONNECTOR,
        &[&both[..], &["--output", "gcloud"]].concat(),
        "cloudformation",
    );
    refused(CONNECTOR, &["--output", "pulumi"], "possible values");
    let wrong = CONNECTOR.replace("123456789012", "1234-5678-9012");
    refused(&wrong, &both, "spec.aws.accountId");
    refused("kind: [", &both, "standard input");
    refused("", &both, "no SecurityConnector");
}

#[test]
fn help_has_examples_and_exit_codes() {
    let output = run("", &["--help"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        text.contains("Examples:") && text.contains("Exit codes:") && text.contains("-o, --output"),
        "{text}"
    );
}

#[test]
fn a_namespace_that_would_leave_the_comment_is_refused() {
    let both = ["--tier", "P2", "--tenant-id", TENANT];
    let injected = CONNECTOR.replace(
        "namespace: team",
        r#"namespace: "team\ntouch /tmp/pwned\n\e[2J\u202E#""#,
    );
    for format in ["text", "cloudformation", "terraform"] {
        let output = run(&injected, &[&both[..], &["--output", format]].concat());
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(output.stdout.is_empty());
        assert!(error.contains("metadata.namespace: "), "{error}");
        assert!(
            !error.contains(['\u{1b}', '\u{202e}']) && error.lines().all(|line| !line.starts_with("touch")),
            "{error:?}"
        );
    }
}

#[test]
fn an_error_that_quotes_the_input_does_not_control_the_terminal() {
    let both = ["--tier", "P2", "--tenant-id", TENANT];
    let escapes = r#""a\e]0;title\a\u202E\nforged""#;
    for input in [
        CONNECTOR.replace("type: AWS", &format!("type: {escapes}")),
        CONNECTOR.replace("type: AWS", &format!("type: AWS\n  {escapes}: x")),
        CONNECTOR.replace("contoso-prod", escapes),
        format!(
            "{CONNECTOR}---\n{{apiVersion: serverprotection.dev/v1alpha1, kind: ServerProtection, metadata: {{name: {escapes}}}}}"
        ),
    ] {
        let output = run(&input, &both);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(
            !error.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}'),
            "{error:?}"
        );
        assert!(error.lines().all(|line| !line.starts_with("forged")), "{error}");
    }
}
