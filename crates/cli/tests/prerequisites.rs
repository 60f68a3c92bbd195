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

const PROJECT: &str = "
apiVersion: serverprotection.dev/v1alpha1
kind: SecurityConnector
metadata: {name: gcp-prod, namespace: team}
spec:
  protectionRef: {name: contoso-prod}
  resourceGroup: rg-defender
  location: westeurope
  type: GCP
  gcp: {projectId: my-project, projectNumber: \"843025268399\"}
";

/// Logs its arguments, and answers as gcloud does if the resources have this state.
const GCLOUD: &str = r#"#!/usr/bin/env bash
echo "$*" >>"$GCLOUD_LOG"
case "$*" in
  'projects describe '*) echo 843025268399 ;;
  *' workload-identity-pools create '* | *' create-oidc '* | *' roles create '*) exit "$CREATE_FAILS" ;;
  *'value(deleted)'*) if [[ $STATE == DELETED ]]; then echo True; fi ;;
  *' describe '*) if [[ $STATE == none ]]; then echo NOT_FOUND >&2; exit 1; fi; echo "$STATE" ;;
esac
"#;

/// Runs the script against resources of a state: the commands of gcloud, and what the script says.
fn run_script(state: &str, create_fails: bool) -> (Option<i32>, String, String) {
    use std::{fs, os::unix::fs::PermissionsExt as _};
    let output = run(
        PROJECT,
        &["--tier", "P2", "--tenant-id", TENANT, "--output", "gcloud"],
    );
    assert!(output.status.success());
    let folder = tempfile::tempdir().unwrap();
    let (script, gcloud, log) = (
        folder.path().join("script.sh"),
        folder.path().join("gcloud"),
        folder.path().join("log"),
    );
    fs::write(&script, output.stdout).unwrap();
    fs::write(&gcloud, GCLOUD).unwrap();
    fs::set_permissions(&gcloud, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let ran = Command::new("bash")
        .arg(&script)
        .env("PATH", path)
        .env("GCLOUD_LOG", &log)
        .env("STATE", state)
        .env("CREATE_FAILS", u8::from(create_fails).to_string())
        .output()
        .unwrap();
    let said = String::from_utf8(ran.stderr).unwrap();
    (ran.status.code(), fs::read_to_string(log).unwrap(), said)
}

#[test]
fn the_script_restores_what_was_deleted() {
    let created = [
        "workload-identity-pools create ",
        "create-oidc ",
        "iam roles create ",
    ];
    let restored = [
        "workload-identity-pools undelete ",
        "workload-identity-pools providers undelete cspm ",
        "iam roles undelete ",
    ];
    for (state, expected, absent) in [
        ("none", &created[..], &restored[..]),
        ("DELETED", &restored, &created),
        (
            "ACTIVE",
            &["update-oidc ", "iam roles update "],
            &[created, restored].concat(),
        ),
    ] {
        let (code, commands, said) = run_script(state, false);
        assert_eq!(code, Some(0), "{state}: {said}");
        for command in expected {
            assert!(
                commands.contains(command),
                "{state}: {command} is not in\n{commands}"
            );
        }
        for command in absent {
            assert!(
                !commands.contains(command),
                "{state}: {command} is in\n{commands}"
            );
        }
        assert_eq!(
            said.contains("restoring the deleted"),
            state == "DELETED",
            "{said}"
        );
        assert!(said.ends_with("Done.\n"), "{said}");
    }
    // A role is usable again before it gets its permissions.
    let (_, commands, _) = run_script("DELETED", false);
    let at = |command: &str| commands.find(command).unwrap();
    assert!(at("iam roles undelete ") < at("iam roles update "), "{commands}");
}

#[test]
fn the_script_says_why_an_id_may_be_taken() {
    let (code, _, said) = run_script("none", true);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("cannot create or update the workload identity pool") && said.contains("undelete"),
        "{said}"
    );
    assert!(!said.contains("Done."), "{said}");
}

#[test]
fn a_number_without_quotes_is_named() {
    let both = ["--tier", "P2", "--tenant-id", TENANT];
    for (input, field) in [
        (
            CONNECTOR.replace("\"123456789012\"", "012345678901"),
            "spec.aws.accountId",
        ),
        (
            PROJECT.replace("\"843025268399\"", "843025268399"),
            "spec.gcp.projectNumber",
        ),
    ] {
        refused(
            &input,
            &both,
            &format!("{field}: YAML reads the value as the number"),
        );
        refused(&input, &both, "put it in quotes");
    }
}
