//! The connector cases with the answers of the switches that docs/azure-api.md 10 considers more likely.

mod connectors;

fn main() -> std::process::ExitCode {
    connectors::run("default")
}
