//! Why the extensions MDE.Linux and MDE.Windows fail: their exit codes and texts, decoded (contract.md 6.7).

use super::MdeExtension;

/// A line of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct FailureCode {
    /// Exit code; `None` where only the text tells.
    pub code: Option<u32>,
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
        name,
        words: "",
        meaning,
        remedy,
        unsupported: false,
    }
}

const fn unsupported(code: u32, name: &'static str, meaning: &'static str) -> FailureCode {
    FailureCode {
        unsupported: true,
        ..line(
            code,
            name,
            meaning,
            "move the machine to a supported system, or leave it out with spec.machines.exclude",
        )
    }
}

/// What to do about a script that Azure did not hand to the extension.
const NO_SCRIPT: &str = "remove the extension: Defender for Cloud deploys it again with the onboarding script; whoever deployed it by hand must pass the script from the mdeOnboardings API";

/// The table.
pub const FAILURES: [FailureCode; 23] = [
    line(
        1,
        "ERR_INTERNAL",
        "internal error of the extension",
        "remove the extension: Defender for Cloud deploys it again",
    ),
    line(
        2,
        "ERR_INVALID_ARGUMENTS",
        "the extension was given settings that it cannot use",
        "remove the extension: Defender for Cloud deploys it again with its own settings",
    ),
    line(
        3,
        "ERR_INSUFFICIENT_PRIVILAGES",
        "the extension does not run as root",
        "check the agent's service account on the machine",
    ),
    line(
        4,
        "ERR_NO_INTERNET_CONNECTIVITY",
        "the machine does not reach the endpoints of Defender for Endpoint",
        "open the firewall or configure the proxy for the Defender for Endpoint URLs",
    ),
    line(
        5,
        "ERR_CONFLICTING_APPS",
        "another security product is in the way (fanotify or antivirus)",
        "remove the other product, or make it passive",
    ),
    unsupported(
        10,
        "ERR_UNSUPPORTED_DISTRO",
        "Defender for Endpoint does not support this distribution",
    ),
    unsupported(
        11,
        "ERR_UNSUPPORTED_VERSION",
        "Defender for Endpoint does not support this version of the distribution",
    ),
    line(
        12,
        "ERR_INSUFFICIENT_REQUIREMENTS",
        "memory, disk space or Python do not suffice",
        "give the machine what Defender for Endpoint asks for (Python 3 among it)",
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
    line(
        24,
        "ERR_FAILED_REPO_SETUP",
        "the package repository could not be set up",
        "let the machine reach packages.microsoft.com, or mend the package manager",
    ),
    line(
        25,
        "ERR_INVALID_CHANNEL",
        "the package channel is not known",
        "correct the channel in the extension's settings",
    ),
    line(
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
        40,
        "ERR_TAG_NOT_SUPPORTED",
        "the device tag is not supported",
        "remove the tag from the extension's settings",
    ),
    line(
        41,
        "ERR_PARAMETER_SET_FAILED",
        "a parameter could not be set",
        "remove the extension: Defender for Cloud deploys it again",
    ),
    FailureCode {
        words: "this operating system is not supported",
        ..unsupported(
            51,
            "OsNotSupported",
            "Defender for Cloud does not onboard this operating system",
        )
    },
    line(
        64,
        "PathMountedNoexec",
        "a path of the extension is mounted noexec",
        "mount /opt/microsoft/mdatp and the extension's path without noexec",
    ),
    FailureCode {
        code: None,
        name: "OnboardingScriptMissing",
        words: "defenderforendpointonboardingscript does not exist",
        meaning: "the extension was deployed without the onboarding script",
        remedy: NO_SCRIPT,
        unsupported: false,
    },
    FailureCode {
        code: None,
        name: "OnboardingScriptMissing",
        words: "'nonetype' is not iterable",
        meaning: "the extension was deployed without the onboarding script",
        remedy: NO_SCRIPT,
        unsupported: false,
    },
];

/// What to do where nothing is known of the cause.
pub const UNDECODED_REMEDY: &str = "read the extension's log on the machine (Windows: C:\\WindowsAzure\\Logs\\Plugins, Linux: /var/log/azure and /var/log/microsoft/mdatp/install.log), mend the cause, then remove the extension: Defender for Cloud deploys it again";

/// Finds the line of a failed extension: by its code, else by its words.
pub fn decode(extension: &MdeExtension) -> (Option<u32>, Option<&'static FailureCode>) {
    let code = code(extension);
    let by_code = code.and_then(|code| FAILURES.iter().find(|line| line.code == Some(code)));
    if let Some(line) = by_code {
        return (code, Some(line));
    }
    let message = extension.message.to_ascii_lowercase();
    let by_words = FAILURES
        .iter()
        .find(|line| !line.words.is_empty() && message.contains(line.words));
    (code, by_words)
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

    #[test]
    fn every_code_stands_once() {
        for line in &FAILURES {
            let same = FAILURES
                .iter()
                .filter(|other| line.code.is_some() && other.code == line.code);
            assert!(same.count() <= 1, "{line:?}");
        }
    }
}
