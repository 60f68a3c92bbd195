//! Errors of the API server in words: the `Display` of `kube::Error` contains a debug dump.

use std::error::Error;

/// What an error says: the message of the API server, or else the innermost cause.
pub(crate) fn described(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    loop {
        if let Some(kube::Error::Api(status)) = cause.downcast_ref() {
            let code = status.code;
            return match (status.message.as_str(), status.reason.as_str()) {
                ("", "") => format!("status {code}"),
                ("", reason) => format!("{reason} (status {code})"),
                (message, _) => message.to_owned(),
            };
        }
        match cause.source() {
            Some(next) => cause = next,
            None => return cause.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::{core::Status, runtime::watcher};

    use super::*;

    fn refusal() -> kube::Error {
        kube::Error::Api(Box::new(
            Status::failure("serviceaccounts \"x\" not found", "NotFound").with_code(404),
        ))
    }

    #[test]
    fn the_message_of_the_api_server_is_all_that_is_shown() {
        let message = "serviceaccounts \"x\" not found";
        assert_eq!(described(&refusal()), message);
        assert_eq!(described(&watcher::Error::WatchFailed(refusal())), message);
        let empty = kube::Error::Api(Box::new(Status::failure("", "Forbidden").with_code(403)));
        assert_eq!(described(&empty), "Forbidden (status 403)");
    }

    #[test]
    fn other_errors_are_their_innermost_cause() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let error = kube::Error::Service(Box::new(std::io::Error::other(refused)));
        assert_eq!(described(&error), "connection refused");
    }
}
