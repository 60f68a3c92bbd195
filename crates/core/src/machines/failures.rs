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
    /// The same, but not on Ubuntu 18.04, where they say nothing.
    pub phrases_except_on_ubuntu_1804: &'static [&'static str],
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
        phrases_except_on_ubuntu_1804: &[],
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
pub const FAILURES: [FailureCode; 35] = [
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
    FailureCode {
        code: None,
        phrases: &[
            "from proxy after connect",
            "proxy authentication required",
            "http code 407",
            "http/1.1 407",
            "could not resolve proxy",
            "proxyconnect tcp",
            "unable to connect to proxy",
            "cannot connect to proxy",
        ],
        ..both(
            0,
            "ProxyRefused",
            "The proxy of the machine refuses the connection, demands a sign-in, or cannot be reached",
            "Check the proxy that the machine uses. It must allow the URLs of Defender for Endpoint and packages.microsoft.com without authentication and without inspection. Then remove the extension. Defender for Cloud deploys it again.",
        )
    },
    FailureCode {
        code: None,
        phrases: &["packages.microsoft.com/ubuntu/18.04"],
        phrases_except_on_ubuntu_1804: &[
            "packages.microsoft.com/config/ubuntu/18.04",
            "scaled: 18.04",
            "apt-key: command not found",
        ],
        ..linux(
            0,
            "RepositoryOfUbuntu1804",
            "The installer uses the package repository of Ubuntu 18.04, as it does on every version of Ubuntu that it does not know",
            "On Ubuntu 18.04, repair the package manager. On a newer version, remove that repository from the machine, then remove the extension: a newer extension may know the version.",
        )
    },
    FailureCode {
        code: None,
        phrases: &[
            "python: command not found",
            "python3: command not found",
            "python: not found",
            "python3: not found",
            "python: no such file",
            "python3: no such file",
            "python3': no such file",
            "python3\u{2019}: no such file",
        ],
        ..linux(
            0,
            "PythonMissing",
            "The extension cannot run, because the machine has no suitable Python",
            "Install Python 3, which the extension requires on Red Hat Enterprise Linux 8 and later and on Ubuntu 20.04 and later. Then remove the extension. Defender for Cloud deploys it again.",
        )
    },
];

/// The remedy of a failure that the table does not contain.
pub const UNDECODED_REMEDY: &str = "Read the log of the extension on the machine (Windows: C:\\WindowsAzure\\Logs\\Plugins; Linux: /var/log/azure and /var/log/microsoft/mdatp/install.log), fix the cause, then remove the extension. Defender for Cloud deploys it again.";

/// What the whole message of an extension says about its failure. It is longer than the message that is kept: the cause
/// is often at the end of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Evidence {
    /// The exit code that the message contains.
    pub code: Option<u32>,
    /// The phrases of [`FAILURES`] that the message contains.
    pub phrases: Vec<&'static str>,
}

impl Evidence {
    /// Searches a message, whatever its capitals and line breaks.
    pub fn of(message: &str) -> Self {
        let message = message.to_ascii_lowercase();
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        let all = FAILURES.iter();
        let all = all.flat_map(|failure| [failure.phrases, failure.phrases_except_on_ubuntu_1804]);
        let found = all.flatten().copied().filter(|phrase| message.contains(phrase));
        Self {
            code: code_in(&message),
            phrases: found.collect(),
        }
    }

    fn says(&self, phrases: &[&'static str]) -> bool {
        phrases.iter().any(|phrase| self.phrases.contains(phrase))
    }
}

/// The exit code and the failure of an extension, as far as they are known. A message that names the cause wins over the
/// code, because one code has many causes: the setup of a repository (24) also fails because of a proxy.
pub fn decode(extension: &MdeExtension, is_ubuntu_1804: bool) -> (Option<u32>, Option<&'static FailureCode>) {
    let mut evidence = Evidence::of(&extension.message);
    evidence.phrases.extend(&extension.evidence.phrases);
    // The handler's own code, or else that of the whole message. Zero is success and says nothing about a failure.
    let last = extension.code.rsplit('/').next().unwrap_or_default();
    let code = number(last.trim()).or(extension.evidence.code).or(evidence.code);
    let own = Extension::of(extension);
    let of_own = |failure: &&FailureCode| failure.extension.is_none_or(|it| it == own);
    let by_message = |failure: &&FailureCode| {
        evidence.says(failure.phrases)
            || (!is_ubuntu_1804 && evidence.says(failure.phrases_except_on_ubuntu_1804))
    };
    let all = || FAILURES.iter().filter(of_own);
    let failure = all()
        .find(|failure| failure.unsupported && by_message(failure))
        .or_else(|| all().find(by_message))
        .or_else(|| all().find(|failure| code.is_some() && failure.code == code));
    (code, failure)
}

fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|code: &u32| *code != 0)
}

/// The exit code in a message in lower case.
fn code_in(message: &str) -> Option<u32> {
    code_after_its_word(message).or_else(|| {
        // The 17th word is where Microsoft's own report script expects it.
        let word = message.split_whitespace().nth(16)?;
        let digits = word.trim_matches(|end: char| !end.is_ascii_digit());
        let before = message.split_whitespace().take(16).collect::<Vec<_>>().join(" ");
        number(digits).filter(|code| !is_http_status(*code, &before))
    })
}

/// The number in `exit code: 24` or `code 24` in a message in lower case.
fn code_after_its_word(message: &str) -> Option<u32> {
    let mut after = message.match_indices("code").filter_map(|(at, word)| {
        let before = message.get(..at)?;
        let starts_a_word = !before.ends_with(|before: char| before.is_alphanumeric());
        let rest = message.get(at + word.len()..)?;
        let rest = rest.strip_prefix(':').unwrap_or(rest).trim_start();
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let code: u32 = digits.parse().ok().filter(|code| *code != 0)?;
        (starts_a_word && !is_http_status(code, before)).then_some(code)
    });
    after.next()
}

/// Whether a number is the status of an HTTP response, by the words before it: `Received HTTP code 407`, `status code
/// 503`, `HTTP/1.1 403`.
fn is_http_status(number: u32, before: &str) -> bool {
    let words = before.rsplit(|at: char| !at.is_alphanumeric());
    let nearest: Vec<_> = words.filter(|word| !word.is_empty()).take(4).collect();
    let are_of_http = ["http", "https", "status", "response", "server"]
        .iter()
        .any(|word| nearest.contains(word));
    (100..600).contains(&number) && are_of_http && !nearest.contains(&"exit")
}

#[cfg(test)]
mod tests;
