//! Exit codes and output that the commands share.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use crate::{error::CliError, printable};

/// The command did its work, and the answer is no: an object is invalid, or a deletion would have an effect.
pub(crate) const NO: u8 = 1;
/// The command failed, or the answer is incomplete.
pub(crate) const FAILED: u8 = 2;
/// The exit code that a shell reports for SIGPIPE.
const PIPE_CLOSED: u8 = 141;

/// Prints an error to standard error. Errors quote the input and may go to a terminal.
pub(crate) fn report(error: &CliError) {
    let text = printable::lines(&error.to_string()).join("\n");
    eprintln!("serverprotection: {text}");
}

/// Prints the result of a command. `code` is the exit code if that succeeds. Unlike `print!`, this does not panic when
/// the pipe is closed.
pub(crate) fn print(text: &str, code: u8) -> ExitCode {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::from(code),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(PIPE_CLOSED),
        Err(error) => {
            report(&CliError::new("cannot write to standard output").because(error));
            ExitCode::from(FAILED)
        }
    }
}

/// The error, printed, as an exit code.
pub(crate) fn failed(error: &CliError) -> ExitCode {
    report(error);
    ExitCode::from(FAILED)
}
