//! The exit codes and messages with which MDE.Linux and MDE.Windows fail (docs/azure-api.md 6.7).

use super::MdeExtension;

/// One of the two MDE extensions. They are different programs, so a code may mean something else in the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// `MDE.Linux`.
    Linux,
    /// `MDE.Windows`.
    Windows,
}

impl Extension {
    /// The operating system that the extension is for.
    pub const fn system(self) -> &'static str {
        match self {
            Self::Linux => "Linux",
            Self::Windows => "Windows",
        }
    }

    fn of(extension: &MdeExtension) -> Self {
        if extension.type_.eq_ignore_ascii_case("MDE.Windows") {
            Self::Windows
        } else {
            Self::Linux
        }
    }
}

/// A failure of an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureCode {
    /// Exit code; `None` for a failure that only its message identifies.
    pub code: Option<u32>,
    /// The extension that fails with the code; `None` for both.
    pub extension: Option<Extension>,
    /// Name of the error.
    pub name: &'static str,
    /// Lower-case parts of messages, one of which identifies the failure without a code.
    pub phrases: &'static [&'static str],
    /// What the failure means: a sentence without its period.
    pub meaning: &'static str,
    /// What the user should do.
    pub remedy: &'static str,
    /// The operating system is not supported, so no retry helps.
    pub unsupported: bool,
}

const fn both(code: u32, name: &'static str, meaning: &'static str, remedy: &'static str) -> FailureCode {
    FailureCode {
        code: Some(code),
        extension: None,
        name,
        phrases: &[],
        meaning,
        remedy,
        unsupported: false,
    }
}

const fn linux(code: u32, name: &'static str, meaning: &'static str, remedy: &'static str) -> FailureCode {
    FailureCode {
        extension: Some(Extension::Linux),
        ..both(code, name, meaning, remedy)
    }
}

const fn windows(code: u32, name: &'static str, meaning: &'static str, remedy: &'static str) -> FailureCode {
    FailureCode {
        extension: Some(Extension::Windows),
        ..both(code, name, meaning, remedy)
    }
}

const fn unsupported(failure: FailureCode) -> FailureCode {
    FailureCode {
        unsupported: true,
        ..failure
    }
}

const REMOVE: &str = "Remove the extension. Defender for Cloud deploys it again.";
const NO_SCRIPT: &str = "Remove the extension. Defender for Cloud deploys it again with the onboarding script. If you deploy it yourself, pass the script from the mdeOnboardings API.";
const MOVE: &str =
    "Move the machine to a supported operating system, or exclude it with spec.machines.exclude.";
const FIX_PACKAGES: &str = "Repair the package manager and its repositories on the machine.";
const OS_NOT_SUPPORTED: &str = "OsNotSupported";

/// All known failures. A code of one extension says nothing about the other.
pub const FAILURES: [FailureCode; 32] = [
    both(1, "ERR_INTERNAL", "The extension had an internal error", REMOVE),
    linux(
        2,
        "ERR_INVALID_ARGUMENTS",
        "The extension received settings that it cannot use",
        "Remove the extension. Defender for Cloud deploys it again with its own settings.",
    ),
    both(
        3,
        "ERR_INSUFFICIENT_PRIVILAGES",
        "The extension does not run as root or administrator",
        "Check the service account of the agent on the machine.",
    ),
    both(
        4,
        "ERR_NO_INTERNET_CONNECTIVITY",
        "The machine cannot reach the endpoints of Defender for Endpoint",
        "Open the firewall, or configure the proxy, for the Defender for Endpoint URLs.",
    ),
    both(
        5,
        "ERR_CONFLICTING_APPS",
        "Another security product conflicts with Defender for Endpoint (fanotify or antivirus)",
        "Remove the other product, or set it to passive mode.",
    ),
    unsupported(linux(
        10,
        "ERR_UNSUPPORTED_DISTRO",
        "Defender for Endpoint does not support this distribution",
        MOVE,
    )),
    unsupported(linux(
        11,
        "ERR_UNSUPPORTED_VERSION",
        "Defender for Endpoint does not support this version of the distribution",
        MOVE,
    )),
    linux(
        12,
        "ERR_INSUFFICIENT_REQUIREMENTS",
        "The machine does not have enough cores, memory or disk space",
        "Give the machine at least 1 core, 1 GB of memory and 2 GB of free disk space, then remove the extension.",
    ),
    linux(
        15,
        "ERR_CORRUPT_MDE_INSTALLED",
        "The installation of Defender for Endpoint on the machine is damaged",
        "Remove the package mdatp from the machine, then remove the extension. Defender for Cloud deploys both again.",
    ),
    windows(
        10,
        "ERR_UNSUPPORTED_DISTRO",
        "The installer of the unified solution does not support this version of Windows: it is for Windows Server 2012 R2 and 2016",
        "Check the version of Windows and the log of the extension on the machine (C:\\WindowsAzure\\Logs\\Plugins), then remove the extension. Defender for Cloud deploys it again.",
    ),
    windows(
        11,
        "ERR_UNSUPPORTED_VERSION",
        "The installer of the unified solution requires updates of Windows that are not installed",
        "Install the pending updates of Windows, then remove the extension. Defender for Cloud deploys it again.",
    ),
    windows(
        12,
        "ERR_PENDING_REBOOT",
        "The installation requires a restart of the machine",
        "Restart the machine. If the extension is still Failed afterwards, remove it.",
    ),
    windows(
        15,
        "ERR_CORRUPTED_FILE",
        "A file of the installer is damaged or not signed",
        "Find out what alters downloads to the machine, such as a proxy, then remove the extension. Defender for Cloud deploys it again.",
    ),
    both(
        20,
        "ERR_MDE_NOT_INSTALLED",
        "Defender for Endpoint is not installed",
        "Read install.log on the machine, then remove the extension.",
    ),
    both(
        21,
        "ERR_INSTALLATION_FAILED",
        "The installation failed",
        "Read install.log on the machine, fix the cause, then remove the extension.",
    ),
    both(
        22,
        "ERR_UNINSTALLATION_FAILED",
        "The removal failed",
        "Read install.log on the machine and fix the cause.",
    ),
    both(
        23,
        "ERR_FAILED_DEPENDENCY",
        "The package manager could not install a dependency",
        FIX_PACKAGES,
    ),
    linux(
        24,
        "ERR_FAILED_REPO_SETUP",
        "The package repository could not be set up",
        "Allow the machine to reach packages.microsoft.com. If it can, repair its package manager.",
    ),
    linux(
        25,
        "ERR_INVALID_CHANNEL",
        "The package channel is unknown",
        "Correct the channel in the settings of the extension.",
    ),
    linux(
        26,
        "ERR_FAILED_REPO_CLEANUP",
        "The package repository could not be cleaned up",
        FIX_PACKAGES,
    ),
    both(
        30,
        "ERR_ONBOARDING_NOT_FOUND",
        "The onboarding package was not found",
        NO_SCRIPT,
    ),
    both(
        31,
        "ERR_ONBOARDING_FAILED",
        "Onboarding failed",
        "Offboard the machine if it is onboarded to another tenant, then remove the extension.",
    ),
    both(
        32,
        "ERR_OFFBOARDING_NOT_FOUND",
        "The offboarding package was not found",
        "Offboard the machine with a package of its tenant from the Defender portal, then remove the extension.",
    ),
    both(
        33,
        "ERR_OFFBOARDING_FAILED",
        "Offboarding failed",
        "Offboard the machine manually with a package of its tenant that has not expired, then remove the extension.",
    ),
    linux(
        40,
        "ERR_TAG_NOT_SUPPORTED",
        "The device tag is not supported",
        "Remove the tag from the settings of the extension.",
    ),
    linux(
        41,
        "ERR_PARAMETER_SET_FAILED",
        "A parameter could not be set",
        REMOVE,
    ),
    linux(
        51,
        "ERR_INSTALL_PATH_SETUP",
        "The installation path cannot be set up",
        "Check that the disk of the installation path (default /opt/microsoft) exists, is mounted and has space, then remove the extension. Defender for Cloud deploys it again.",
    ),
    linux(
        52,
        "ERR_INSTALL_PATH_PERMISSIONS",
        "The permissions of the installation path are wrong",
        "Allow only root to write to the installation path and its parent directories, then remove the extension. Defender for Cloud deploys it again.",
    ),
    unsupported(windows(
        51,
        OS_NOT_SUPPORTED,
        "Defender for Cloud does not onboard this operating system",
        MOVE,
    )),
    FailureCode {
        code: None,
        phrases: &["this operating system is not supported"],
        ..unsupported(both(
            0,
            OS_NOT_SUPPORTED,
            "Defender for Cloud does not onboard this operating system",
            MOVE,
        ))
    },
    linux(
        64,
        "PathMountedNoexec",
        "A path of the extension is mounted with noexec",
        "Mount /opt/microsoft/mdatp and the path of the extension without noexec.",
    ),
    FailureCode {
        code: None,
        phrases: &[
            "defenderforendpointonboardingscript does not exist",
            "'nonetype' is not iterable",
        ],
        ..both(
            0,
            "OnboardingScriptMissing",
            "The extension was deployed without the onboarding script",
            NO_SCRIPT,
        )
    },
];

/// The remedy of a failure that the table does not contain.
pub const UNDECODED_REMEDY: &str = "Read the log of the extension on the machine (Windows: C:\\WindowsAzure\\Logs\\Plugins; Linux: /var/log/azure and /var/log/microsoft/mdatp/install.log), fix the cause, then remove the extension. Defender for Cloud deploys it again.";

/// The exit code and the failure of an extension, as far as they are known. A message that the operating system is not
/// supported wins over the code, and the code wins over other messages.
pub fn decode(extension: &MdeExtension) -> (Option<u32>, Option<&'static FailureCode>) {
    let code = code(extension);
    let message = extension.message.to_ascii_lowercase();
    let by_message = |failure: &&FailureCode| failure.phrases.iter().any(|phrase| message.contains(phrase));
    let own = Extension::of(extension);
    let failure = FAILURES
        .iter()
        .find(|failure| failure.unsupported && by_message(failure))
        .or_else(|| {
            let by_code = |failure: &&FailureCode| {
                code.is_some() && failure.code == code && failure.extension.is_none_or(|it| it == own)
            };
            FAILURES.iter().find(by_code)
        })
        .or_else(|| FAILURES.iter().find(by_message));
    (code, failure)
}

/// The exit code of the handler, from the status code (`24`, `ProvisioningState/failed/24`) or else from the message.
/// Zero is success and says nothing about a failure.
fn code(extension: &MdeExtension) -> Option<u32> {
    let number = |text: &str| text.parse().ok().filter(|code: &u32| *code != 0);
    let last = extension.code.rsplit('/').next().unwrap_or_default();
    number(last.trim())
        .or_else(|| {
            let message = extension.message.to_ascii_lowercase();
            let mut after = message.match_indices("code").filter_map(|(at, word)| {
                let starts_a_word = !message
                    .get(..at)?
                    .ends_with(|before: char| before.is_alphanumeric());
                let rest = message.get(at + word.len()..)?;
                let rest = rest.strip_prefix(':').unwrap_or(rest).trim_start();
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                number(&digits).filter(|_| starts_a_word)
            });
            after.next()
        })
        .or_else(|| {
            // The 17th word is where Microsoft's own report script expects it.
            let word = extension.message.split_whitespace().nth(16)?;
            number(word.trim_matches(|end: char| !end.is_ascii_digit()))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(code: &str, message: &str) -> MdeExtension {
        MdeExtension {
            code: code.into(),
            message: message.into(),
            ..MdeExtension::default()
        }
    }

    #[test]
    fn codes_are_found_in_status_and_message() {
        let seventeenth = "a b c d e f g h i j k l m n o p 25, r";
        for (code, message, name) in [
            ("ProvisioningState/failed/23", "", "ERR_FAILED_DEPENDENCY"),
            ("24", "", "ERR_FAILED_REPO_SETUP"),
            (
                "0",
                "Extension path '/x' has the 'noexec' flag set. Extension exit code: 64",
                "PathMountedNoexec",
            ),
            (
                "ProvisioningState/failed",
                "failed with Code 4 at noon",
                "ERR_NO_INTERNET_CONNECTIVITY",
            ),
            ("", seventeenth, "ERR_INVALID_CHANNEL"),
            ("1", "", "ERR_INTERNAL"),
            (
                "",
                "Protected Setting defenderForEndpointOnboardingScript does not exist, …",
                "OnboardingScriptMissing",
            ),
            (
                "",
                "argument of type 'NoneType' is not iterable",
                "OnboardingScriptMissing",
            ),
            (
                "",
                "… for this operating system is not supported. Read more",
                "OsNotSupported",
            ),
        ] {
            let (_, failure) = decode(&failed(code, message));
            assert_eq!(
                failure.map(|failure| failure.name),
                Some(name),
                "{code:?} {message:?}"
            );
        }
        assert_eq!(
            decode(&failed("ProvisioningState/failed/97", "")),
            (Some(97), None)
        );
        assert_eq!(decode(&failed("0", "decoder 5 broke")), (None, None));
    }

    fn ended(type_: &str, code: &str, message: &str) -> MdeExtension {
        MdeExtension {
            type_: type_.into(),
            ..failed(code, message)
        }
    }

    #[test]
    fn the_meaning_of_a_code_depends_on_the_extension() {
        let unsupported =
            "Onboarding to MDE via Microsoft Defender for Cloud for this operating system is not supported.";
        for (type_, code, message, name, is_unsupported) in [
            ("MDE.Linux", "51", "", "ERR_INSTALL_PATH_SETUP", false),
            (
                "mde.linux",
                "ProvisioningState/failed/51",
                "",
                "ERR_INSTALL_PATH_SETUP",
                false,
            ),
            ("MDE.Linux", "51", unsupported, "OsNotSupported", true),
            ("MDE.Windows", "51", "", "OsNotSupported", true),
            ("mde.windows", "51", unsupported, "OsNotSupported", true),
            ("MDE.Windows", "1", unsupported, "OsNotSupported", true),
            ("MDE.Linux", "52", "", "ERR_INSTALL_PATH_PERMISSIONS", false),
            ("MDE.Linux", "15", "", "ERR_CORRUPT_MDE_INSTALLED", false),
            ("MDE.Windows", "15", "", "ERR_CORRUPTED_FILE", false),
            ("MDE.Linux", "12", "", "ERR_INSUFFICIENT_REQUIREMENTS", false),
            ("MDE.Windows", "12", "", "ERR_PENDING_REBOOT", false),
            ("MDE.Linux", "10", "", "ERR_UNSUPPORTED_DISTRO", true),
            ("MDE.Windows", "10", "", "ERR_UNSUPPORTED_DISTRO", false),
            ("MDE.Linux", "11", "", "ERR_UNSUPPORTED_VERSION", true),
            ("MDE.Windows", "11", "", "ERR_UNSUPPORTED_VERSION", false),
            ("MDE.Linux", "32", "", "ERR_OFFBOARDING_NOT_FOUND", false),
            ("MDE.Windows", "33", "", "ERR_OFFBOARDING_FAILED", false),
            ("MDE.Linux", "4", "", "ERR_NO_INTERNET_CONNECTIVITY", false),
            // Without a type it counts as MDE.Linux.
            ("", "51", "", "ERR_INSTALL_PATH_SETUP", false),
        ] {
            let (_, failure) = decode(&ended(type_, code, message));
            let found = failure.map(|failure| (failure.name, failure.unsupported));
            assert_eq!(found, Some((name, is_unsupported)), "{type_} {code} {message}");
        }
        for code in ["24", "52", "64"] {
            let (_, failure) = decode(&ended("MDE.Windows", code, ""));
            assert_eq!(failure, None, "code {code} is defined for Linux only");
        }
    }

    #[test]
    fn failures_differ_in_code_or_name() {
        let printed = |failure: &FailureCode| (failure.code, failure.extension, failure.name);
        for (index, failure) in FAILURES.iter().enumerate() {
            let rest = FAILURES.iter().skip(index + 1);
            assert!(
                !rest.into_iter().any(|other| printed(other) == printed(failure)),
                "{failure:?}"
            );
            assert!(
                !failure.meaning.ends_with('.') && failure.remedy.ends_with('.'),
                "{failure:?}"
            );
        }
    }

    #[test]
    fn every_code_is_listed_once_for_each_extension() {
        for own in [Extension::Linux, Extension::Windows] {
            let of_own = || {
                FAILURES
                    .iter()
                    .filter(|failure| failure.extension.is_none_or(|it| it == own))
            };
            for failure in of_own() {
                let same = of_own().filter(|other| failure.code.is_some() && other.code == failure.code);
                assert!(same.count() <= 1, "{own:?} {failure:?}");
            }
        }
    }
}
