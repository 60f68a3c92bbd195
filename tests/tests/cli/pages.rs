//! The commands of the pages for operations, run as printed. Left out are those that need a node, a namespace
//! controller or a login to Azure, those with placeholders, and those of a Helm release, which the chart's suite installs.

use std::{os::unix::fs::symlink, path::Path, sync::Arc};

use serde_json::json;
use serverprotection_tests::{
    Error, binaries, cases,
    command::{Ran, run},
    env::Environment,
    error::io,
    harness::Case,
};
use tempfile::TempDir;
use tokio::process::Command;

use super::{TIMEOUT, kubeconfig, with_controller};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        objects_come_back_from_the_backup_of_the_page,
        the_commands_of_the_pages_work_when_pasted,
    ]
}

/// A block with one of these is left out.
const LEFT_OUT: [&str; 10] = [
    "rollout",
    "-k deploy/base",
    "helm ",
    " NAME",
    "serverprotection machines",
    "check-azure",
    "--for=delete",
    "completion bash",
    "--all",
    "objects.json",
];

/// The shell blocks of a page.
fn blocks(page: &str) -> Vec<String> {
    let path = binaries::root().join("docs").join(page);
    let text = std::fs::read_to_string(&path).unwrap();
    let mut blocks = Vec::new();
    let mut block: Option<Vec<&str>> = None;
    for line in text.lines().map(str::trim) {
        match (line, &mut block) {
            ("```sh", _) => block = Some(Vec::new()),
            ("```", Some(lines)) => {
                blocks.push(lines.join("\n"));
                block = None;
            }
            (line, Some(lines)) => lines.push(line),
            _ => {}
        }
    }
    blocks
}

/// A folder with everything that the pages call: kubectl, serverprotection, two more versions, and deploy/base.
fn folder(environment: &Environment) -> Result<TempDir, Error> {
    let folder = TempDir::new().map_err(io("create a folder"))?;
    let program = binaries::ours("serverprotection")?;
    let kubectl = environment.plane.kubectl_command().program;
    let link = |target: &Path, name: &str| {
        symlink(target, folder.path().join(name)).map_err(io(format!("link {name}")))
    };
    for name in ["serverprotection", "serverprotection-new", "serverprotection-old"] {
        link(&program, name)?;
    }
    link(&kubectl, "kubectl")?;
    link(&binaries::root().join("deploy"), "deploy")?;
    Ok(folder)
}

async fn paste(environment: &Environment, folder: &TempDir, block: &str) -> Result<Ran, Error> {
    let mut command = Command::new("/bin/bash");
    command
        .args(["-o", "pipefail", "-ec", block])
        .current_dir(folder.path());
    let here = folder.path().display().to_string();
    let path = format!("{here}:/usr/local/bin:/usr/bin:/bin");
    let kubeconfig = kubeconfig(environment)?;
    let variables = [
        ("PATH", path.as_str()),
        ("KUBECONFIG", &kubeconfig),
        ("HOME", &here),
    ];
    run(command, &variables, None).await
}

/// Deletes the objects of all namespaces, which earlier cases left.
async fn tidy(environment: &Environment) -> Result<(), Error> {
    for kind in ["securityconnectors", "serverprotections"] {
        let arguments = ["delete", kind, "--all", "--all-namespaces", "--timeout=60s"];
        environment.plane.kubectl(&arguments).await?;
    }
    Ok(())
}

async fn objects_come_back_from_the_backup_of_the_page(environment: Arc<Environment>) -> Result<(), Error> {
    with_controller(&environment).await?;
    tidy(&environment).await?;
    let team = environment.team("restore").await?;
    team.protect("prod", json!({"plan": {"tier": "P2"}})).await?;
    team.until("prod", "Ready", "True", TIMEOUT).await?;
    team.connect("aws", json!({})).await?;
    team.connectors().until("aws", "Ready", "True", TIMEOUT).await?;

    let folder = folder(&environment)?;
    let blocks = blocks("restore.md");
    let block = |word: &str| {
        let found = blocks.iter().find(|block| block.contains(word));
        found.unwrap_or_else(|| panic!("no block with {word}"))
    };
    let backup = paste(&environment, &folder, block("jq 'del(")).await?;
    assert_eq!(backup.code, Some(0), "{}{}", backup.out, backup.err);
    tidy(&environment).await?;
    let before = environment.emulator.requests(&team.subscription).await?.len();
    for word in [
        "kubectl apply --server-side -f objects.json",
        "kubectl wait --for=condition=Ready",
        "observe.json",
    ] {
        let ran = paste(&environment, &folder, block(word)).await?;
        assert_eq!(ran.code, Some(0), "{word}: {}{}", ran.out, ran.err);
    }
    team.connectors().until("aws", "Ready", "True", TIMEOUT).await?;
    let requests = environment.emulator.requests(&team.subscription).await?;
    let writes: Vec<_> = requests
        .iter()
        .skip(before)
        .filter(|request| request["method"] == "PUT")
        .collect();
    assert!(
        writes.is_empty(),
        "objects that match Azure were written: {writes:#?}"
    );
    Ok(())
}

async fn the_commands_of_the_pages_work_when_pasted(environment: Arc<Environment>) -> Result<(), Error> {
    let folder = folder(&environment)?;
    let mut count = 0;
    for page in [
        "uninstall.md",
        "upgrade.md",
        "availability.md",
        "restore.md",
        "commands.md",
    ] {
        for block in blocks(page) {
            if LEFT_OUT.iter().any(|word| block.contains(word)) {
                continue;
            }
            let ran = paste(&environment, &folder, &block).await?;
            // The check may find something; without pods, the archive has no metrics.
            let is_check = block.contains("uninstall --check") || block.contains("serverprotection debug");
            let is_fine = ran.code == Some(0) || (is_check && ran.code == Some(1));
            assert!(is_fine, "{page}: {block}\n{:?}: {}{}", ran.code, ran.out, ran.err);
            count += 1;
        }
    }
    assert!(count >= 8, "{count} blocks");
    Ok(())
}
