//! Codes and messages of failed extensions.

use super::*;

fn decode(extension: &MdeExtension) -> (Option<u32>, Option<&'static FailureCode>) {
    super::decode(extension, false)
}

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

#[test]
fn a_message_that_names_the_cause_wins_over_the_code() {
    for (code, message, name) in [
        (
            "",
            "curl: (56) Received HTTP code 407 from proxy after CONNECT",
            "ProxyRefused",
        ),
        (
            "24",
            "curl: (56) Received HTTP code 403 from proxy after CONNECT, exit code: 24",
            "ProxyRefused",
        ),
        (
            "1",
            "The remote server returned an error: (407) Proxy Authentication Required.",
            "ProxyRefused",
        ),
        (
            "23",
            "E: The repository 'https://packages.microsoft.com/ubuntu/18.04/prod bionic Release' is not signed",
            "RepositoryOfUbuntu1804",
        ),
        (
            "21",
            "/usr/bin/env: 'python3': No such file or directory",
            "PythonMissing",
        ),
        ("", "sh: 1: python: not found", "PythonMissing"),
    ] {
        let (_, failure) = decode(&ended("MDE.Linux", code, message));
        assert_eq!(failure.map(|failure| failure.name), Some(name), "{message}");
    }
    // The package manager and Python are those of Linux.
    let (_, failure) = decode(&ended("MDE.Windows", "1", "sh: 1: python: not found"));
    assert_eq!(failure.map(|failure| failure.name), Some("ERR_INTERNAL"));
}

#[test]
fn the_status_of_an_http_response_is_no_exit_code() {
    for (message, code) in [
        ("download failed: HTTP code 503", None),
        ("download failed with status code: 404 (Not Found)", None),
        ("Response status code 502 does not indicate success", None),
        ("the server returned HTTP error code 500", None),
        (
            "a b c d e f g h i j k l m n received http 503, then gave up",
            None,
        ),
        ("HTTP code 503, exit code: 24", Some(24)),
        ("ended with exit status code 127", Some(127)),
        ("installer ended with code 1603", Some(1603)),
        ("response of the handler: code 21", Some(21)),
    ] {
        assert_eq!(decode(&failed("", message)).0, code, "{message}");
    }
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

/// Logs of microsoft/mdatp-xplat issues 232 and 231, shortened.
const SCALED: [&str; 3] = [
    "[v] scaled: 18.04\n[>] configured package manager: apt [x] exiting (24)",
    "curl https://packages.microsoft.com/config/ubuntu/18.04/prod.list failed, exiting (24)",
    "mde_installer.sh: line 5: apt-key: command not found\n[x] unable to fetch the gpg key (exit code: 127)",
];

#[test]
fn the_installer_takes_an_unknown_ubuntu_for_18_04() {
    for message in SCALED {
        let extension = ended("MDE.Linux", "24", message);
        let name = |is_ubuntu_1804| super::decode(&extension, is_ubuntu_1804).1.unwrap().name;
        assert_eq!(name(false), "RepositoryOfUbuntu1804", "{message}");
        assert_eq!(name(true), "ERR_FAILED_REPO_SETUP", "on Ubuntu 18.04: {message}");
    }
}

#[test]
fn evidence_of_the_whole_message_counts_although_the_kept_one_is_shortened() {
    let log = "setting up ".repeat(60);
    for (end, code, name) in [
        (
            "Received HTTP code 407\nfrom proxy after CONNECT",
            None,
            "ProxyRefused",
        ),
        ("Extension exit code: 25", Some(25), "ERR_INVALID_CHANNEL"),
        ("failed with code 10", Some(10), "ERR_UNSUPPORTED_DISTRO"),
    ] {
        let extension = MdeExtension {
            evidence: Evidence::of(&format!("{log}{end}")),
            ..ended("MDE.Linux", "", "setting up")
        };
        let (found, failure) = decode(&extension);
        assert_eq!(
            (found, failure.map(|failure| failure.name)),
            (code, Some(name)),
            "{end}"
        );
    }
    // The handler's own code is more than one in a log.
    let extension = MdeExtension {
        evidence: Evidence::of("exit code: 25"),
        ..ended("MDE.Linux", "23", "")
    };
    assert_eq!(decode(&extension).0, Some(23));
}
