//! The connectors, with the other answers to open questions.

mod connectors;

fn main() -> std::process::ExitCode {
    connectors::run("alternate")
}
