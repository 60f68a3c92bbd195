//! `deploy/gitops`: the reference repository renders and is admitted, a mistake in it is found, and the manifests of Flux
//! fit to it and to the chart.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command as Blocking,
    sync::Arc,
};

use serde_json::{Value, json};
use serverprotection_tests::{
    Error, binaries, cases, command::serverprotection, env::Environment, error::io, harness::Case, helm,
};
use tempfile::TempDir;

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        every_team_of_the_reference_repository_renders_and_is_admitted,
        a_subscription_without_a_landing_zone_is_refused_by_validate,
        the_kustomizations_of_flux_name_folders_that_exist_in_their_order,
        the_values_of_the_helm_release_fit_to_the_chart,
    ]
}

fn gitops(path: &str) -> PathBuf {
    binaries::root().join("deploy/gitops").join(path)
}

fn teams(fleet: &Path) -> Vec<PathBuf> {
    let teams = fs::read_dir(fleet.join("teams")).unwrap();
    let mut teams: Vec<PathBuf> = teams.map(|team| team.unwrap().path()).collect();
    teams.sort();
    teams
}

async fn rendered(environment: &Environment, folder: &Path) -> Result<String, Error> {
    let folder = folder.display().to_string();
    environment.plane.kubectl(&["kustomize", &folder]).await
}

fn parse(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

async fn every_team_of_the_reference_repository_renders_and_is_admitted(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let teams = teams(&gitops("fleet"));
    assert!(teams.len() >= 2, "{teams:?}");
    for team in teams {
        let manifests = rendered(&environment, &team).await?;
        let ran = serverprotection(&["validate", "-f", "-"], &[], Some(&manifests)).await?;
        assert_eq!(ran.code, Some(0), "{}: {}{}", team.display(), ran.out, ran.err);
        let folder = TempDir::new().map_err(io("create a folder"))?;
        let file = folder.path().join("team.yaml");
        fs::write(&file, &manifests).map_err(io("write the manifests"))?;
        let namespace = team.join("credentials/namespace.yaml").display().to_string();
        environment.plane.kubectl(&["apply", "-f", &namespace]).await?;
        let file = file.display().to_string();
        let arguments = ["apply", "--server-side", "--dry-run=server", "-f", &file];
        environment.plane.kubectl(&arguments).await?;

        let objects = parse(&manifests);
        let name = team.file_name().unwrap().to_string_lossy();
        for object in &objects {
            let namespace = &object["metadata"]["namespace"];
            assert!(object["kind"] == "Namespace" || *namespace == *name, "{object}");
            // Argo CD applies each kind after the one that it needs.
            let wave = match object["kind"].as_str().unwrap() {
                "AzureCredential" => json!("1"),
                "ServerProtection" => json!("2"),
                "SecurityConnector" => json!("3"),
                _ => continue,
            };
            let annotations = &object["metadata"]["annotations"];
            assert_eq!(annotations["argocd.argoproj.io/sync-wave"], wave, "{object}");
        }
    }
    Ok(())
}

async fn a_subscription_without_a_landing_zone_is_refused_by_validate(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let folder = TempDir::new().map_err(io("create a folder"))?;
    let copied = Blocking::new("cp")
        .arg("-R")
        .arg(gitops("fleet/."))
        .arg(folder.path())
        .status();
    assert!(copied.map_err(io("copy the repository"))?.success());
    let file = folder.path().join("teams/web/protections/web-prod.yaml");
    let text = fs::read_to_string(&file).map_err(io("read a manifest"))?;
    let wrong = text.replace("landing-zone: online", "landing-zone: onlin");
    assert_ne!(wrong, text);
    fs::write(&file, wrong).map_err(io("write a manifest"))?;
    let manifests = rendered(&environment, &folder.path().join("teams/web")).await?;
    let ran = serverprotection(&["validate", "-f", "-"], &[], Some(&manifests)).await?;
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("web-prod is invalid"), "{}", ran.out);
    Ok(())
}

async fn the_kustomizations_of_flux_name_folders_that_exist_in_their_order(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let objects = parse(&rendered(&environment, &gitops("flux")).await?);
    let kustomizations: Vec<&Value> = objects
        .iter()
        .filter(|object| object["kind"] == "Kustomization")
        .collect();
    let names: Vec<&Value> = kustomizations.iter().map(|it| &it["metadata"]["name"]).collect();
    let source = objects.iter().find(|object| object["kind"] == "GitRepository");
    let mut paths = Vec::new();
    for kustomization in &kustomizations {
        let spec = &kustomization["spec"];
        assert_eq!(spec["sourceRef"]["name"], source.unwrap()["metadata"]["name"]);
        assert_eq!((&spec["wait"], &spec["prune"]), (&json!(true), &json!(true)));
        for dependency in spec["dependsOn"].as_array().into_iter().flatten() {
            assert!(names.contains(&&dependency["name"]), "{dependency} of {names:?}");
        }
        let path = spec["path"].as_str().unwrap();
        paths.push(path.to_owned());
        // The operator's folder is beside the Kustomizations, for those who use another way to install it.
        let folder = if path == "./operator" { "flux" } else { "fleet" };
        rendered(&environment, &gitops(folder).join(path)).await?;
    }
    // Every folder of every team is applied.
    for team in teams(&gitops("fleet")) {
        for part in ["credentials", "protections", "connectors"] {
            let path = format!("./teams/{}/{part}", team.file_name().unwrap().to_string_lossy());
            let exists = team.join(part).is_dir();
            assert_eq!(paths.contains(&path), exists, "{path}");
        }
    }
    Ok(())
}

async fn the_values_of_the_helm_release_fit_to_the_chart(environment: Arc<Environment>) -> Result<(), Error> {
    let objects = parse(&rendered(&environment, &gitops("flux/operator")).await?);
    let release = objects
        .iter()
        .find(|object| object["kind"] == "HelmRelease")
        .unwrap();
    let folder = TempDir::new().map_err(io("create a folder"))?;
    let file = folder.path().join("values.json");
    fs::write(&file, release["spec"]["values"].to_string()).map_err(io("write the values"))?;
    let arguments = [
        "template",
        "serverprotection",
        &helm::chart().display().to_string(),
        "--namespace",
        release["metadata"]["namespace"].as_str().unwrap(),
        "--values",
        &file.display().to_string(),
    ];
    // The schema of the chart refuses unknown values.
    let manifests = environment
        .plane
        .helm(serverprotection_tests::users::ADMIN)?
        .run(&arguments)
        .await?;
    let image = parse(&manifests)
        .into_iter()
        .filter(|object| object["kind"] == "Deployment")
        .map(|deployment| deployment["spec"]["template"]["spec"]["containers"][0]["image"].clone())
        .next();
    let digest = release["spec"]["values"]["image"]["digest"].as_str().unwrap();
    assert!(image.is_some_and(|image| image.as_str().unwrap().ends_with(digest)));
    let chart = objects
        .iter()
        .find(|object| object["kind"] == "OCIRepository")
        .unwrap();
    assert_eq!(release["spec"]["chartRef"]["name"], chart["metadata"]["name"]);
    let version = format!("version: {}", chart["spec"]["ref"]["tag"].as_str().unwrap());
    let metadata = fs::read_to_string(helm::chart().join("Chart.yaml")).map_err(io("read the chart"))?;
    assert!(metadata.lines().any(|line| line == version), "{version}");
    Ok(())
}
