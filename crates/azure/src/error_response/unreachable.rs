//! Why no complete response arrived.

use std::{error::Error, io};

use serverprotection_core::azure_error::{AzureError, ErrorClass};

use super::one_line;
use crate::certificates;

/// No complete response arrived from Azure Resource Manager.
pub(crate) fn transport(writes: bool, operation: &str, error: &reqwest::Error) -> AzureError {
    let (code, message) = cause(error).unwrap_or_else(|message| {
        let code = if error.is_timeout() {
            "Timeout"
        } else {
            "ConnectionFailed"
        };
        (code, message)
    });
    AzureError {
        class: ErrorClass::Transient,
        code: code.into(),
        message,
        operation: operation.to_owned(),
        request_id: None,
        // Without a connection, nothing was sent.
        effect_unknown: writes && !error.is_connect(),
    }
}

/// Code and message if the certificate of the server was refused, otherwise the innermost cause: the text of the outer
/// errors contains little more than the URL.
pub(crate) fn cause(error: &(dyn Error + 'static)) -> Result<(&'static str, String), String> {
    if let Some(refused) = certificates::refused(error) {
        return Ok((refused.code(), one_line(&refused.to_string())));
    }
    let mut cause = error;
    loop {
        if is_cut_off(cause) {
            return Err("the connection ended before the response was complete".into());
        }
        match cause.source() {
            Some(next) => cause = next,
            None => return Err(one_line(&cause.to_string())),
        }
    }
}

/// Whether the server closed the connection within a response. TLS libraries describe this with a link to their
/// documentation.
fn is_cut_off(error: &(dyn Error + 'static)) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof)
}
