//! `cargo xtask`: work on the repository itself. `generate` writes every generated file; `check` fails when one drifted.

use std::{path::Path, process::ExitCode};

mod generated;
mod reference;
mod verdicts;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let command = std::env::args().nth(1);
    let result = match command.as_deref() {
        Some("generate") => generated::write(&root),
        Some("check") => generated::check(&root),
        _ => Err("usage: cargo xtask generate | check\n\n  generate  write crds/, deploy/base/crds/, docs/reference.md and docs/verdicts.md\n  check     fail when one of them is not what the code generates".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
