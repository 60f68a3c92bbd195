//! Verification of machines, with every other answer to open questions.

mod fleet;

fn main() -> std::process::ExitCode {
    fleet::run("alternate")
}
