//! The connector cases with the other answers of the switches.

mod connectors;

fn main() -> std::process::ExitCode {
    connectors::run("alternate")
}
