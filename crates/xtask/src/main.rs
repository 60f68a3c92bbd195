//! `cargo xtask`: tools for the repository. `generate` writes the generated files; `check` reports files that break a
//! rule of the repository.

use std::{path::Path, process::ExitCode};

mod argocd;
mod chart;
mod check;
mod generated;
mod metrics;
mod reference;
mod schemas;
mod status;
mod verdicts;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let command = std::env::args().nth(1);
    let result = match command.as_deref() {
        Some("generate") => generated::write(&root),
        Some("check") => generated::check(&root).and_then(|()| check::check(&root)),
        _ => Err("usage: cargo xtask generate | check\n\n  generate  write crds/ with its copies, the generated pages of docs/, and files of charts/ and\n            deploy/gitops/argocd\n  check     fail when a generated file differs from what the code generates, when a cited document or section does\n            not exist, when an identifier or file name contains a retired word, or when a line of Markdown is too long".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
