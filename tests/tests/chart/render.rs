//! What `helm template` renders.

use std::{collections::BTreeMap, env, fs, path::PathBuf, process::Command, sync::Arc};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::PostParams};
use serverprotection_tests::{
    Error, binaries, cases,
    env::Environment,
    harness::{Case, case},
    helm::{Release, chart},
    users::ADMIN,
};

use super::objects::{comparable, name, only, parse};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    let mut cases = cases![
        the_chart_passes_lint,
        the_default_release_has_the_objects_of_the_base,
        names_begin_with_the_release,
        values_that_cannot_work_are_refused,
        alerts_and_dashboard_are_those_of_deploy_monitoring,
        every_example_is_in_the_readme,
    ];
    for example in examples() {
        let (one, other) = (example.clone(), example.clone());
        cases.push(case(&format!("{example}_renders_its_snapshot"), |environment| {
            snapshot(environment, one)
        }));
        cases.push(case(&format!("{example}_is_admitted"), |environment| {
            admitted(environment, other)
        }));
    }
    cases
}

/// The files of `examples/`, and `default`.
fn examples() -> Vec<String> {
    let files = fs::read_dir(chart().join("examples")).unwrap();
    let mut names: Vec<String> = files
        .map(|file| {
            file.unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.push("default".into());
    names.sort();
    names
}

/// The release of all pages.
fn documented() -> Release {
    Release::new("serverprotection", "serverprotection-system")
}

async fn template(environment: &Environment, release: &Release, flags: &[&str]) -> Result<String, Error> {
    let helm = environment.plane.helm(ADMIN)?;
    helm.with_chart("template", release, flags).await
}

async fn rendered(environment: &Environment, example: &str) -> Result<String, Error> {
    let file = chart().join("examples").join(format!("{example}.yaml"));
    let file = file.display().to_string();
    let flags: &[&str] = if example == "default" {
        &[]
    } else {
        &["--values", &file]
    };
    template(environment, &documented(), flags).await
}

async fn the_chart_passes_lint(environment: Arc<Environment>) -> Result<(), Error> {
    let chart = chart().display().to_string();
    let helm = environment.plane.helm(ADMIN)?;
    helm.run(&["lint", "--strict", &chart]).await.map(drop)
}

async fn the_default_release_has_the_objects_of_the_base(environment: Arc<Environment>) -> Result<(), Error> {
    let base = binaries::root().join("deploy/base").display().to_string();
    let base = environment.plane.kubectl(&["kustomize", &base]).await?;
    let mut base = comparable(parse(&base)?);
    // Helm creates the namespace with a flag.
    assert!(base.remove("Namespace /serverprotection-system").is_some());
    let release = comparable(parse(&rendered(&environment, "default").await?)?);
    let names = |objects: &BTreeMap<String, _>| objects.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&release), names(&base));
    for (name, object) in &base {
        assert_eq!(
            &release[name], object,
            "{name}: left the chart, right deploy/base"
        );
    }
    Ok(())
}

async fn names_begin_with_the_release(environment: Arc<Environment>) -> Result<(), Error> {
    for (release, prefix) in [
        ("defender", "defender-serverprotection-"),
        ("serverprotection-eu", "serverprotection-eu-"),
    ] {
        let release = Release::new(release, "serverprotection-prod");
        let text = template(&environment, &release, &[]).await?;
        for object in parse(&text)? {
            let name = name(&object);
            let own = object["metadata"]["name"].as_str().unwrap();
            let is_definition = object["kind"] == "CustomResourceDefinition";
            assert!(is_definition || own.starts_with(prefix), "{name}");
        }
        assert!(!text.contains("serverprotection-system"), "{}", release.name);
    }
    Ok(())
}

async fn values_that_cannot_work_are_refused(environment: Arc<Environment>) -> Result<(), Error> {
    for (values, expected) in [
        ("replicas=-1", "/replicas"),
        ("replica=1", "additional properties 'replica' not allowed"),
        ("image.digest=latest", "/image/digest"),
        ("azure.cloud=china", "/azure/cloud"),
        ("azure.authorityHost=http://login.example", "/azure/authorityHost"),
        ("controller.concurrency=0", "/controller/concurrency"),
        (
            "controller.machineScanInterval=15",
            "/controller/machineScanInterval",
        ),
        ("watchNamespace=Team", "/watchNamespace"),
        (
            "watchNamespace=a,secretAccess.clusterWide=true",
            "secretAccess.clusterWide",
        ),
        ("watchNamespace=a,secretAccess.namespaces={b}", "not of b"),
        ("proxy.https=http://p:1,proxy.existingSecret=p", "not both"),
    ] {
        let refused = template(&environment, &documented(), &["--set", values]).await;
        let message = refused.map(drop).unwrap_err().to_string();
        assert!(message.contains(expected), "{values}: {message}");
    }
    Ok(())
}

async fn alerts_and_dashboard_are_those_of_deploy_monitoring(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let folder = binaries::root().join("deploy/monitoring");
    let objects = parse(&rendered(&environment, "monitoring").await?)?;
    let rules = fs::read_to_string(folder.join("prometheus-rules.yaml")).unwrap();
    assert_eq!(
        vec![only(&objects, "PrometheusRule")["spec"].clone()],
        parse(&rules)?
    );
    let dashboard = fs::read_to_string(folder.join("dashboard.json")).unwrap();
    let shown = only(&objects, "ConfigMap")["data"]["serverprotection.json"].as_str();
    assert_eq!(shown.unwrap().trim(), dashboard.trim());
    Ok(())
}

async fn every_example_is_in_the_readme(_: Arc<Environment>) -> Result<(), Error> {
    let readme = fs::read_to_string(chart().join("README.md")).unwrap();
    for example in examples().iter().filter(|example| *example != "default") {
        assert!(
            readme.contains(&format!("(examples/{example}.yaml)")),
            "{example}"
        );
    }
    Ok(())
}

/// `UPDATE_SNAPSHOTS=1` writes the snapshots.
async fn snapshot(environment: Arc<Environment>, example: String) -> Result<(), Error> {
    let default = documents(&rendered(&environment, "default").await?);
    let now = documents(&rendered(&environment, &example).await?);
    let now = if example == "default" {
        now.concat()
    } else {
        // Only what the values of the example change.
        let kept = |document: &String| {
            if default.contains(document) {
                format!("# as in default.yaml: {}\n", title(document))
            } else {
                document.clone()
            }
        };
        now.iter().map(kept).collect()
    };
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("chart/snapshots/{example}.yaml"));
    if env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&path, &now).unwrap();
        return Ok(());
    }
    if fs::read_to_string(&path).unwrap_or_default() == now {
        return Ok(());
    }
    let other = environment.plane.folder().join(format!("{example}.yaml"));
    fs::write(&other, &now).unwrap();
    let diff = Command::new("diff").arg("-u").args([&path, &other]).output();
    let diff = diff.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    Err(Error::Other(format!(
        "the chart renders something else; if that is right, run again with UPDATE_SNAPSHOTS=1\n{}",
        diff.unwrap_or_else(|error| error.to_string())
    )))
}

/// Kind and name of a document.
fn title(document: &str) -> String {
    let value = |key: &str| {
        document
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .unwrap_or_default()
    };
    format!("{} {}", value("kind: "), value("  name: "))
}

/// The documents of a render, each with its separator. Definitions, alerts and dashboard are left out: they are files of
/// their own.
fn documents(text: &str) -> Vec<String> {
    let mut documents = Vec::new();
    for document in text.trim_start_matches("---\n").split("\n---\n") {
        if document.contains("\nkind: CustomResourceDefinition\n") {
            continue;
        }
        let end = ["\n  groups:", "\n  serverprotection.json: |"]
            .iter()
            .find_map(|long| Some(document.find(long)?.saturating_add(long.len())));
        let document = &document[..end.unwrap_or(document.len())];
        documents.push(format!("---\n{}\n", document.trim_end()));
    }
    documents
}

/// The API server admits every object, knows every field, and admits the pods to a restricted namespace.
async fn admitted(environment: Arc<Environment>, example: String) -> Result<(), Error> {
    let plane = &environment.plane;
    let stubs = binaries::root()
        .join("tests/chart/monitoring-crds.yaml")
        .display()
        .to_string();
    plane.kubectl(&["apply", "-f", &stubs]).await?;
    plane
        .kubectl(&[
            "wait",
            "--for=condition=Established",
            "--timeout=30s",
            "-f",
            &stubs,
        ])
        .await?;
    for namespace in ["serverprotection-system", "team-a", "team-b"] {
        if plane.kubectl(&["get", "namespace", namespace]).await.is_err() {
            plane.kubectl(&["create", "namespace", namespace]).await?;
        }
        let label = "pod-security.kubernetes.io/enforce=restricted";
        plane
            .kubectl(&["label", "--overwrite", "namespace", namespace, label])
            .await?;
    }
    let text = rendered(&environment, &example).await?;
    let file = plane.folder().join(format!("{example}-rendered.yaml"));
    fs::write(&file, &text).unwrap();
    let file = file.display().to_string();
    let apply = ["apply", "--dry-run=server", "--validate=strict", "-f", &file];
    plane.kubectl(&apply).await?;
    let pods: Api<Pod> = Api::namespaced(plane.admin().await?, "serverprotection-system");
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    for object in parse(&text)?
        .iter()
        .filter(|object| object["kind"] == "Deployment")
    {
        let mut pod = object["spec"]["template"].clone();
        pod["metadata"]["name"] = "probe".into();
        pods.create(&dry_run, &serde_json::from_value(pod)?).await?;
    }
    Ok(())
}
