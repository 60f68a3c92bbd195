//! Records the commit that the program is built from, for `serverprotection version`.

use std::{
    env,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

/// Set by builds without a git repository, such as those of a container.
const VARIABLE: &str = "SERVERPROTECTION_COMMIT";

fn main() -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "cargo::rerun-if-env-changed={VARIABLE}")?;
    let given = env::var(VARIABLE).ok().filter(|commit| !commit.is_empty());
    let commit = match given {
        Some(commit) => Some(commit),
        None => of_repository(&mut out)?,
    };
    let commit = commit
        .filter(|commit| is_plain(commit))
        .unwrap_or_else(|| "unknown".into());
    writeln!(out, "cargo::rustc-env={VARIABLE}={commit}")
}

/// The commit of this repository; `None` if the sources are not in a work tree of their own.
fn of_repository(out: &mut impl io::Write) -> io::Result<Option<String>> {
    let root = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let Some(root) = root.and_then(|crate_| crate_.ancestors().nth(2).map(Path::to_owned)) else {
        return Ok(None);
    };
    // Sources that were unpacked inside another repository are not of its commit.
    let top = git(&root, &["rev-parse", "--show-toplevel"]).map(PathBuf::from);
    let is_root = top.is_some_and(|top| top.canonicalize().ok() == root.canonicalize().ok());
    if !is_root {
        return Ok(None);
    }
    // Written by every commit, checkout and rebase.
    for file in ["HEAD", "logs/HEAD"] {
        let path = git(&root, &["rev-parse", "--git-path", file]).map(|path| root.join(path));
        if let Some(path) = path.filter(|path| path.is_file()) {
            writeln!(out, "cargo::rerun-if-changed={}", path.display())?;
        }
    }
    Ok(git(&root, &["rev-parse", "--short=12", "HEAD"]))
}

fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(arguments)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}

fn is_plain(commit: &str) -> bool {
    commit.len() <= 64
        && commit
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_'))
}
