//! Paths of the programs: this workspace's next to the test, the control plane's as `build.sh` prints.

use crate::error::{Error, io};
use std::{
    env::{consts::EXE_SUFFIX, current_exe},
    path::{Path, PathBuf},
    process::Command,
};

/// The root of the work tree.
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

/// Path of a program of this workspace, which must be built in the target folder that the test runs from.
pub fn ours(name: &str) -> Result<PathBuf, Error> {
    let exe = current_exe().map_err(io("find the path of this program"))?;
    let folder_of_exe = exe.parent().map(Path::to_owned).unwrap_or_default();
    // Tests are in target/debug/deps, programs in target/debug.
    let folder = if folder_of_exe.ends_with("deps") {
        folder_of_exe.parent().map(Path::to_owned).unwrap_or_default()
    } else {
        folder_of_exe
    };
    let path = folder.join(format!("{name}{EXE_SUFFIX}"));
    if path.is_file() {
        return Ok(path);
    }
    let release = if folder.ends_with("release") {
        " --release"
    } else {
        ""
    };
    Err(Error::Missing {
        what: format!("the program `{name}`"),
        why: format!("{} does not exist", path.display()),
        command: format!("cargo build --workspace --bins{release}"),
    })
}

/// Path of the folder with kube-apiserver, etcd and kubectl.
pub fn control_plane() -> Result<PathBuf, Error> {
    built(
        "control-plane/build.sh",
        "kube-apiserver with etcd and kubectl",
        "make control-plane",
    )
}

/// Path of helm.
pub fn helm() -> Result<PathBuf, Error> {
    Ok(built("chart/build.sh", "helm", "make helm")?.join("helm"))
}

/// Path of the program that judges objects as Flux and Argo CD do.
pub fn gitops_judge() -> Result<PathBuf, Error> {
    let folder = built(
        "gitops/judge/build.sh",
        "the judge of statuses",
        "make gitops-judge",
    )?;
    Ok(folder.join("judge"))
}

/// Path of the folder with a program of a `GitOps` tool, and of what it needs at run time.
pub fn gitops_tool(program: &str) -> Result<PathBuf, Error> {
    let script = "gitops/build.sh";
    built_with(script, &[program], program, &format!("tests/{script} {program}"))
}

/// The folder that a script prints if it has built its programs before.
fn built(script: &str, what: &str, command: &str) -> Result<PathBuf, Error> {
    built_with(script, &[], what, command)
}

fn built_with(script: &str, arguments: &[&str], what: &str, command: &str) -> Result<PathBuf, Error> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
    let output = Command::new(&script)
        .arg("--cached")
        .args(arguments)
        .output()
        .map_err(io(format!("run {}", script.display())))?;
    let folder = String::from_utf8_lossy(&output.stdout)
        .lines()
        .last()
        .unwrap_or_default()
        .to_owned();
    if output.status.success() && !folder.is_empty() {
        return Ok(folder.into());
    }
    Err(Error::Missing {
        what: what.to_owned(),
        why: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        command: command.to_owned(),
    })
}
