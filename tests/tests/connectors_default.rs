//! The connectors, with the answers to open questions that docs/azure-api.md 10 judges likelier.

mod connectors;

fn main() -> std::process::ExitCode {
    connectors::run("default")
}
