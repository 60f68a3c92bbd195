//! How the sensor's extension fails: exit codes and messages.

use crate::state::machines::{Ext, Machine, State};

/// Exit codes of `MDE.Linux` with their names and meanings.
const CODES: [(u16, &str, &str); 24] = [
    (1, "ERR_INTERNAL", "an internal error of the handler"),
    (2, "ERR_INVALID_ARGUMENTS", "the settings cannot be used"),
    (
        3,
        "ERR_INSUFFICIENT_PRIVILAGES",
        "the handler does not run as root",
    ),
    (
        4,
        "ERR_NO_INTERNET_CONNECTIVITY",
        "the service's endpoints cannot be reached from this machine",
    ),
    (
        5,
        "ERR_CONFLICTING_APPS",
        "another security product uses fanotify",
    ),
    (10, "ERR_UNSUPPORTED_DISTRO", "this distribution is not supported"),
    (
        11,
        "ERR_UNSUPPORTED_VERSION",
        "this version of the distribution is not supported",
    ),
    (
        12,
        "ERR_INSUFFICIENT_REQUIREMENTS",
        "cores, memory or disk do not suffice",
    ),
    (
        15,
        "ERR_CORRUPT_MDE_INSTALLED",
        "a damaged installation of the sensor is present",
    ),
    (20, "ERR_MDE_NOT_INSTALLED", "the sensor is not installed"),
    (
        21,
        "ERR_INSTALLATION_FAILED",
        "the sensor's package could not be installed",
    ),
    (
        22,
        "ERR_UNINSTALLATION_FAILED",
        "the sensor's package could not be removed",
    ),
    (
        23,
        "ERR_FAILED_DEPENDENCY",
        "a package that the sensor needs is missing",
    ),
    (
        24,
        "ERR_FAILED_REPO_SETUP",
        "the package repository could not be set up",
    ),
    (25, "ERR_INVALID_CHANNEL", "the package channel does not exist"),
    (
        26,
        "ERR_FAILED_REPO_CLEANUP",
        "the package repository could not be removed",
    ),
    (30, "ERR_ONBOARDING_NOT_FOUND", "the onboarding script is missing"),
    (31, "ERR_ONBOARDING_FAILED", "the onboarding script failed"),
    (
        32,
        "ERR_OFFBOARDING_NOT_FOUND",
        "the offboarding script is missing",
    ),
    (33, "ERR_OFFBOARDING_FAILED", "the offboarding script failed"),
    (40, "ERR_TAG_NOT_SUPPORTED", "the device tag is not supported"),
    (
        51,
        "ERR_INSTALL_PATH_SETUP",
        "the path to install to cannot be set up",
    ),
    (
        52,
        "ERR_INSTALL_PATH_PERMISSIONS",
        "the permissions of the install path are wrong",
    ),
    (64, "ERR_NOEXEC", "the extension's path has the 'noexec' flag set"),
];

/// Codes that mean something else for `MDE.Windows`.
const WINDOWS: [(u16, &str, &str); 3] = [
    (12, "ERR_PENDING_REBOOT", "the machine must be restarted first"),
    (15, "ERR_CORRUPTED_FILE", "a file of the installer is damaged"),
    (
        51,
        "ERR_OS_NOT_SUPPORTED",
        "onboarding through Defender for Cloud is not supported for this operating system",
    ),
];

fn row(machine: &Machine, code: u16) -> (&'static str, &'static str) {
    let own: &[_] = if machine.os.get().windows { &WINDOWS } else { &[] };
    own.iter()
        .chain(&CODES)
        .find(|(known, ..)| *known == code)
        .map_or(
            ("ERR_UNKNOWN", "a reason that the handler does not name"),
            |(_, name, text)| (name, text),
        )
}

/// The message of the extension's status. On Linux the seventeenth word is the code.
pub(crate) fn message(machine: &Machine, ext: &Ext, state: &State) -> String {
    if !state.terminal() {
        return match state {
            State::Deleting => "Uninstall in progress".into(),
            _ => "Configuration In Progress".into(),
        };
    }
    if let Some(message) = &ext.message {
        return message.to_string();
    }
    if *state == State::Succeeded {
        return if ext.is_mde() {
            "Successfully onboarded the machine to Microsoft Defender for Endpoint".into()
        } else {
            "Enable succeeded".into()
        };
    }
    let (name, text) = row(machine, ext.code);
    if machine.os.get().windows {
        format!(
            "Failed to configure Microsoft Defender for Endpoint: {text}. Error code: {}",
            ext.code
        )
    } else {
        format!(
            "The extension's handler could not set up Microsoft Defender for Endpoint on this machine, exit \
             code: {} ({name})",
            ext.code
        )
    }
}

/// The longer text of the substatus.
pub(crate) fn detail(machine: &Machine, ext: &Ext, state: &State) -> String {
    if *state == State::Succeeded {
        return "The sensor runs and is onboarded.".into();
    }
    let (name, text) = row(machine, ext.code);
    format!("{name}: {text}. See the handler's log on the machine for more.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::machines::{Kind, OsId, What};

    #[test]
    fn the_seventeenth_word_is_the_code() {
        let os = OsId::named("ubuntu-22.04").unwrap();
        let machine = Machine::new(Kind::Vm, "m", "g", "westeurope", os, 0);
        for (code, ..) in CODES {
            let mut ext = Ext::new(What::Mde, 0, 1);
            (ext.outcome, ext.code) = (State::Failed, code);
            let text = message(&machine, &ext, &State::Failed);
            assert_eq!(
                text.split_whitespace().nth(16),
                Some(code.to_string().as_str()),
                "{text}"
            );
        }
    }
}
