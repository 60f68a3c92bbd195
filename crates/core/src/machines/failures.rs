//! Why the extensions MDE.Linux and MDE.Windows fail: their exit codes and texts, decoded (docs/azure-api.md 6.7).

use super::MdeExtension;

/// Where a code means what its line says: the two extensions are different programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// `MDE.Linux`.
    Linux,
    /// `MDE.Windows`.
    Windows,
}

impl Extension {
    /// As the documentation spells it.
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

/// A line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureCode {
    /// Exit code; `None` where only the text tells.
    pub code: Option<u32>,
    /// The extension that ends with it; `None`: both.
    pub extension: Option<Extension>,
    /// Name of the error.
    pub name: &'static str,
    /// Lower-case words of the message by which it is known without a code.
    pub words: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// What to do.
    pub remedy: &'static str,
    /// The system as such is not supported: no retry helps.
    pub unsupported: bool,
}

const fn line(code: u32, name: &'static str, meaning: &'static str, remedy: &'static str) -> FailureCode {
    FailureCode {
        code: Some(code),
        extension: None,
        name,
        words: "",
        meaning,
        remedy,
        unsupported: false,
    }
}

const fn linux(code: u32, name: &'static str, meaning: &'static str, remedy: &'static str) -> FailureCode {
    FailureCode {
        extension: Some(Extension::Linux),
        ..line(code, name, meaning, remedy)
    }
}

const fn windows(code: u32, name: &'static str, meaning: &'static str, remedy: &'static str) -> FailureCode {
    FailureCode {
        extension: Some(Extension::Windows),
        ..line(code, name, meaning, remedy)
    }
}

const fn unsupported(line: FailureCode) -> FailureCode {
    FailureCode {
        unsupported: true,
        ..line
    }
}

/// What to do about a script that Azure did not hand to the extension.
const NO_SCRIPT: &str = "remove the extension: Defender for Cloud deploys it again with the onboarding script; whoever deployed it by hand must pass the script from the mdeOnboardings API";
/// What to do about a system that is not supported.
const MOVE: &str = "move the machine to a supported system, or leave it out with spec.machines.exclude";
/// The system as such, by code or by the message.
const OS_NOT_SUPPORTED: &str = "OsNotSupported";

/// The table. Codes without a system mean the same in both extensions; further codes of the one say nothing about the
/// other.
pub const FAILURES: [FailureCode; 33] = [
    line(
        1,
        "ERR_INTERNAL",
        "internal error of the extension",
        "remove the extension: Defender for Cloud deploys it again",
    ),
    linux(
        2,
        "ERR_INVALID_ARGUMENTS",
        "the extension was given settings that it cannot use",
        "remove the extension: Defender for Cloud deploys it again with its own settings",
    ),
    line(
        3,
        "ERR_INSUFFICIENT_PRIVILAGES",
        "the extension does not run as root or administrator",
        "check the agent's service account on the machine",
    ),
    line(
        4,
        "ERR_NO_INTERNET_CONNECTIVITY",
        "the machine does not reach the endpoints of Defender for Endpoint (older handlers)",
        "open the firewall or configure the proxy for the Defender for Endpoint URLs",
    ),
    line(
        5,
        "ERR_CONFLICTING_APPS",
        "another security product is in the way (fanotify or antivirus)",
        "remove the other product, or make it passive",
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
        "cores, memory or disk space do not suffice",
        "give the machine at least 1 core, 1 GB of memory and 2 GB of free disk space, then remove the extension",
    ),
    linux(
        15,
        "ERR_CORRUPT_MDE_INSTALLED",
        "a damaged installation of Defender for Endpoint is on the machine",
        "remove the package mdatp from the machine, then remove the extension: Defender for Cloud deploys both again",
    ),
    windows(
        10,
        "ERR_UNSUPPORTED_DISTRO",
        "the installer of the unified solution does not fit this Windows: it is for Windows Server 2012 R2 and 2016",
        "check the version of Windows and read the extension's log on the machine (C:\\WindowsAzure\\Logs\\Plugins), then remove the extension: Defender for Cloud deploys it again",
    ),
    windows(
        11,
        "ERR_UNSUPPORTED_VERSION",
        "the installer of the unified solution refuses the state of this Windows",
        "install the pending updates of Windows, then remove the extension: Defender for Cloud deploys it again",
    ),
    windows(
        12,
        "ERR_PENDING_REBOOT",
        "the installation waits for a restart of the machine",
        "restart the machine, then remove the extension if it is still Failed",
    ),
    windows(
        15,
        "ERR_CORRUPTED_FILE",
        "a file of the installer is damaged or not signed",
        "check what alters downloads on the way to the machine, then remove the extension: Defender for Cloud deploys it again",
    ),
    line(
        20,
        "ERR_MDE_NOT_INSTALLED",
        "Defender for Endpoint is not installed",
        "read install.log on the machine, then remove the extension",
    ),
    line(
        21,
        "ERR_INSTALLATION_FAILED",
        "the installation failed",
        "read install.log on the machine, mend the cause, then remove the extension",
    ),
    line(
        22,
        "ERR_UNINSTALLATION_FAILED",
        "the removal failed",
        "read install.log on the machine",
    ),
    line(
        23,
        "ERR_FAILED_DEPENDENCY",
        "the package manager could not install a dependency",
        "mend the package manager or its repositories",
    ),
    linux(
        24,
        "ERR_FAILED_REPO_SETUP",
        "the package repository could not be set up",
        "let the machine reach packages.microsoft.com, or mend the package manager",
    ),
    linux(
        25,
        "ERR_INVALID_CHANNEL",
        "the package channel is not known",
        "correct the channel in the extension's settings",
    ),
    linux(
        26,
        "ERR_FAILED_REPO_CLEANUP",
        "the package repository could not be cleaned up",
        "mend the package manager",
    ),
    line(
        30,
        "ERR_ONBOARDING_NOT_FOUND",
        "the onboarding package was not found",
        NO_SCRIPT,
    ),
    line(
        31,
        "ERR_ONBOARDING_FAILED",
        "onboarding failed",
        "offboard the machine first if it belongs to another tenant; then remove the extension",
    ),
    line(
        32,
        "ERR_OFFBOARDING_NOT_FOUND",
        "the offboarding package was not found",
        "offboard the machine with a package of its tenant from the Defender portal, then remove the extension",
    ),
    line(
        33,
        "ERR_OFFBOARDING_FAILED",
        "offboarding failed",
        "offboard the machine by hand with a package of its tenant that has not expired, then remove the extension",
    ),
    linux(
        40,
        "ERR_TAG_NOT_SUPPORTED",
        "the device tag is not supported",
        "remove the tag from the extension's settings",
    ),
    linux(
        41,
        "ERR_PARAMETER_SET_FAILED",
        "a parameter could not be set",
        "remove the extension: Defender for Cloud deploys it again",
    ),
    linux(
        51,
        "ERR_INSTALL_PATH_SETUP",
        "the path to install to cannot be set up",
        "check that the disk of the install path (default /opt/microsoft) exists, is mounted and has space, then remove the extension: Defender for Cloud deploys it again",
    ),
    linux(
        52,
        "ERR_INSTALL_PATH_PERMISSIONS",
        "the permissions of the install path are not right",
        "let root alone write to the install path and the folders above it, then remove the extension: Defender for Cloud deploys it again",
    ),
    unsupported(windows(
        51,
        OS_NOT_SUPPORTED,
        "Defender for Cloud does not onboard this operating system",
        MOVE,
    )),
    FailureCode {
        code: None,
        words: "this operating system is not supported",
        ..unsupported(line(
            0,
            OS_NOT_SUPPORTED,
            "Defender for Cloud does not onboard this operating system",
            MOVE,
        ))
    },
    linux(
        64,
        "PathMountedNoexec",
        "a path of the extension is mounted noexec",
        "mount /opt/microsoft/mdatp and the extension's path without noexec",
    ),
    FailureCode {
        code: None,
        words: "defenderforendpointonboardingscript does not exist",
        ..line(
            0,
            "OnboardingScriptMissing",
            "the extension was deployed without the onboarding script",
            NO_SCRIPT,
        )
    },
    FailureCode {
        code: None,
        words: "'nonetype' is not iterable",
        ..line(
            0,
            "OnboardingScriptMissing",
            "the extension was deployed without the onboarding script",
            NO_SCRIPT,
        )
    },
];

/// What to do where nothing is known of the cause.
pub const UNDECODED_REMEDY: &str = "read the extension's log on the machine (Windows: C:\\WindowsAzure\\Logs\\Plugins, Linux: /var/log/azure and /var/log/microsoft/mdatp/install.log), mend the cause, then remove the extension: Defender for Cloud deploys it again";

/// Finds the line of a failed extension: a message that the system is not supported, then the code of its extension,
/// then other words.
pub fn decode(extension: &MdeExtension) -> (Option<u32>, Option<&'static FailureCode>) {
    let code = code(extension);
    let message = extension.message.to_ascii_lowercase();
    let said = |line: &&FailureCode| !line.words.is_empty() && message.contains(line.words);
    let own = Extension::of(extension);
    let line = FAILURES
        .iter()
        .find(|line| line.unsupported && said(line))
        .or_else(|| {
            let by_code = |line: &&FailureCode| {
                code.is_some() && line.code == code && line.extension.is_none_or(|it| it == own)
            };
            FAILURES.iter().find(by_code)
        })
        .or_else(|| FAILURES.iter().find(said));
    (code, line)
}

/// The handler's exit code: from the status code (`24`, `ProvisioningState/failed/24`), else from the message. Zero is
/// no failure and tells nothing.
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
            // Where Microsoft's own report script looks for it.
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
    fn codes_are_found_wherever_azure_puts_them() {
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
            let (_, line) = decode(&failed(code, message));
            assert_eq!(line.map(|line| line.name), Some(name), "{code:?} {message:?}");
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
    fn a_code_means_what_its_extension_says() {
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
            // An extension without a type is never taken for one of Windows.
            ("", "51", "", "ERR_INSTALL_PATH_SETUP", false),
        ] {
            let (_, line) = decode(&ended(type_, code, message));
            let found = line.map(|line| (line.name, line.unsupported));
            assert_eq!(found, Some((name, is_unsupported)), "{type_} {code} {message}");
        }
        for code in ["24", "52", "64"] {
            let (_, line) = decode(&ended("MDE.Windows", code, ""));
            assert_eq!(line, None, "a code of Linux says nothing about Windows: {code}");
        }
    }

    #[test]
    fn every_code_is_listed_once_for_each_extension() {
        for own in [Extension::Linux, Extension::Windows] {
            let of_own = || {
                FAILURES
                    .iter()
                    .filter(|line| line.extension.is_none_or(|it| it == own))
            };
            for line in of_own() {
                let same = of_own().filter(|other| line.code.is_some() && other.code == line.code);
                assert!(same.count() <= 1, "{own:?} {line:?}");
            }
        }
    }
}
