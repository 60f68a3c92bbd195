//! Crashes, with the answers to open questions that docs/azure-api.md 10 judges likelier.

mod crashes;

fn main() -> std::process::ExitCode {
    crashes::run("default")
}
