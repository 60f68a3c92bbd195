//! Why no complete response arrived.

use std::error::Error;

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
    while let Some(next) = cause.source() {
        cause = next;
    }
    Err(one_line(&cause.to_string()))
}
