//! `serverprotection validate` says what the API server says: about every sample, and about manifests that are wrong in
//! every way that a file can be.

use std::{fs, path::PathBuf, sync::Arc};

use serverprotection_tests::{
    Error, binaries, cases, command::serverprotection, env::Environment, error::io, harness::Case,
};
use tempfile::TempDir;

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        validate_and_the_api_server_agree_about_every_sample,
        validate_and_the_api_server_agree_about_wrong_manifests,
        validate_refuses_a_field_that_is_written_twice,
        validate_reads_the_layout_of_kustomize_and_names_sub_folders,
    ]
}

const PROTECTION: &str = r#"apiVersion: serverprotection.dev/v1alpha1
kind: ServerProtection
metadata:
  name: prod
  namespace: defender
  labels: {team: "a"}
spec:
  subscriptionId: 00000000-0000-0000-0000-000000000001
  credentialRef: {name: platform}
  interval: 10m
  plan: {tier: P2}
  machines: {exclude: [{name: lab, tags: [{key: env, value: lab}]}]}
"#;
const CONNECTOR: &str = r#"apiVersion: serverprotection.dev/v1alpha1
kind: SecurityConnector
metadata: {name: aws, namespace: defender}
spec:
  protectionRef: {name: prod}
  resourceGroup: rg
  location: westeurope
  type: AWS
  aws: {accountId: "123456789012", regions: [eu-central-1]}
  tags: {owner: "team"}
"#;

/// A manifest with one change, and whether it stays valid.
const CHANGES: [(&str, &str, &str, bool); 27] = [
    (PROTECTION, "10m", "90m", true),
    (PROTECTION, "interval: 10m", "interval: null", true),
    (PROTECTION, "interval: 10m", "interval: 10", false),
    (PROTECTION, "interval: 10m", "interval: soon", false),
    (PROTECTION, "interval: 10m", "intervall: 10m", false),
    (PROTECTION, "interval: 10m", "suspend: yes", true),
    (PROTECTION, "interval: 10m", "suspend: \"true\"", false),
    (PROTECTION, "P2", "P3", false),
    (PROTECTION, "{tier: P2}", "{}", false),
    (PROTECTION, "{tier: P2}", "[P2]", false),
    (PROTECTION, "{team: \"a\"}", "{team: 1}", false),
    (PROTECTION, "{team: \"a\"}", "{team: \"not a value\"}", false),
    (PROTECTION, "{team: \"a\"}", "{a/b/c: \"\"}", false),
    (PROTECTION, "name: prod", "name: Prod", false),
    (PROTECTION, "labels:", "label:", false),
    (PROTECTION, "v1alpha1", "v1", false),
    (PROTECTION, "value: lab", "value: on", false),
    (
        PROTECTION,
        "exclude: [{name: lab, tags",
        "exclude: [{name: lab}, {name: lab, tags",
        false,
    ),
    (
        PROTECTION,
        "{exclude",
        "{minimumProtectedPercent: 95.0, exclude",
        true,
    ),
    (
        PROTECTION,
        "{exclude",
        "{minimumProtectedPercent: 101, exclude",
        false,
    ),
    (
        PROTECTION,
        "serverprotection.dev/",
        "serverprotections.dev/",
        false,
    ),
    (PROTECTION, "apiVersion: serverprotection.dev/v1alpha1", "", false),
    (CONNECTOR, "\"123456789012\"", "123456789012", false),
    (CONNECTOR, "\"123456789012\"", "012345678901", false),
    (CONNECTOR, "[eu-central-1]", "[eu-central-1, eu-central-1]", false),
    (CONNECTOR, "owner: \"team\"", "owner: 5", false),
    (CONNECTOR, "type: AWS", "type: GCP", false),
];

/// Whether the API server would create the objects of a file. The files differ from all stored objects by their names.
async fn is_admitted(environment: &Environment, file: &str) -> bool {
    let arguments = ["create", "--dry-run=server", "--validate=strict", "-f", file];
    environment.plane.kubectl(&arguments).await.is_ok()
}

async fn create_namespace(environment: &Environment) -> Result<(), Error> {
    let namespace = binaries::root().join("deploy/samples/1-namespace.yaml");
    let arguments = ["apply", "-f", &namespace.display().to_string()];
    environment.plane.kubectl(&arguments).await.map(drop)
}

async fn validate_and_the_api_server_agree_about_every_sample(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    create_namespace(&environment).await?;
    let mut count = 0;
    for folder in ["", "/client-certificate", "/connectors"] {
        let folder = binaries::root().join(format!("deploy/samples{folder}"));
        for entry in fs::read_dir(&folder).map_err(io("read the samples"))? {
            let path: PathBuf = entry.map_err(io("read the samples"))?.path();
            let text = fs::read_to_string(&path).unwrap_or_default();
            if !text.contains("apiVersion: serverprotection.dev/") {
                continue;
            }
            let path = path.display().to_string();
            let ran = serverprotection(&["validate", "-f", &path], &[], None).await?;
            assert_eq!(ran.code, Some(0), "{path}: {}{}", ran.out, ran.err);
            assert!(is_admitted(&environment, &path).await, "{path} is refused");
            count += 1;
        }
    }
    assert!(count >= 6, "{count} samples");
    Ok(())
}

async fn validate_and_the_api_server_agree_about_wrong_manifests(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    create_namespace(&environment).await?;
    let folder = TempDir::new().map_err(io("create a folder"))?;
    let path = folder.path().join("object.yaml");
    let file = path.display().to_string();
    for (base, old, new, valid) in CHANGES {
        let text = base.replacen(old, new, 1);
        assert_ne!(text, base, "{old}");
        fs::write(&path, &text).map_err(io("write the manifest"))?;
        let admitted = is_admitted(&environment, &file).await;
        assert_eq!(admitted, valid, "the API server: {text}");
        let ran = serverprotection(&["validate", "-f", &file], &[], None).await?;
        let is_valid = ran.code == Some(0);
        assert_eq!(is_valid, valid, "validate: {text}\n{}{}", ran.out, ran.err);
    }
    Ok(())
}

/// kubectl sends the last one without a word.
async fn validate_refuses_a_field_that_is_written_twice(environment: Arc<Environment>) -> Result<(), Error> {
    create_namespace(&environment).await?;
    let folder = TempDir::new().map_err(io("create a folder"))?;
    let path = folder.path().join("object.yaml");
    let text = PROTECTION.replacen("interval: 10m", "interval: 10m\n  interval: 11m", 1);
    fs::write(&path, &text).map_err(io("write the manifest"))?;
    let file = path.display().to_string();
    assert!(is_admitted(&environment, &file).await);
    let ran = serverprotection(&["validate", "-f", &file], &[], None).await?;
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    let says = "duplicate mapping key `interval` is not allowed here at line 11";
    assert!(ran.err.contains(says), "{}", ran.err);
    Ok(())
}

async fn validate_reads_the_layout_of_kustomize_and_names_sub_folders(
    _: Arc<Environment>,
) -> Result<(), Error> {
    let folder = TempDir::new().map_err(io("create a folder"))?;
    let sub = folder.path().join("sub");
    fs::create_dir(&sub).map_err(io("create a folder"))?;
    for (path, text) in [
        (folder.path().join("protection.yaml"), PROTECTION.to_owned()),
        (
            folder.path().join("kustomization.yaml"),
            "resources: [protection.yaml]\n".to_owned(),
        ),
        (folder.path().join("values.yaml"), "tier: P2\n".to_owned()),
        (sub.join("bad.yaml"), PROTECTION.replacen("P2", "P3", 1)),
    ] {
        fs::write(&path, text).map_err(io("write the manifest"))?;
    }
    let path = folder.path().display().to_string();
    let ran = serverprotection(&["validate", "-f", &path], &[], None).await?;
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(
        ran.out.contains("1 sub-folder was not read (use -R)"),
        "{}",
        ran.out
    );
    let ran = serverprotection(&["validate", "-R", "-f", &path], &[], None).await?;
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("bad.yaml, document 1"), "{}", ran.out);
    let broken = sub.join("broken.yaml");
    fs::write(broken, "kind: [\n").map_err(io("write the manifest"))?;
    let ran = serverprotection(&["validate", "-R", "-f", &path], &[], None).await?;
    assert_eq!(ran.code, Some(2), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("1 valid, 1 invalid"), "{}{}", ran.out, ran.err);
    Ok(())
}
