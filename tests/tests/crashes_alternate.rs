//! Crashes, with the other answers to every open question.

mod crashes;

fn main() -> std::process::ExitCode {
    crashes::run("alternate")
}
