//! Error codes: `docs/status.md` describes each code that the program itself makes, because it may become the reason of
//! a condition. The codes of Azure have no list.

use std::path::Path;

use regex::Regex;
use serverprotection_core::{
    reason::Reason,
    status_reference::{CODES, TRANSIENT_CODES},
};

use super::sources::Source;

/// Where errors are made.
const FOLDERS: [&str; 3] = ["crates/azure/src/", "crates/controller/src/", "crates/core/src/"];

/// Parts of paths of files that only tests use.
const ONLY_TESTS: [&str; 5] = ["tests", "samples.rs", "stub.rs", "situations", "properties"];

/// Codes of errors that never become the reason of a condition: they are in logs, in `scanFailure`, or in a message.
const NO_REASONS: [&str; 5] = [
    "IncompleteResult",
    "NothingRead",
    "RowsOutOfOrder",
    "ScanTimeout",
    "Stopping",
];

/// Codes that are not described, one finding for each place.
pub(super) fn undescribed(sources: &[Source]) -> Vec<String> {
    let patterns = patterns();
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| makes_errors(&source.path)) {
        let text = source
            .text
            .split("#[cfg(test)]\nmod tests")
            .next()
            .unwrap_or_default();
        let codes = patterns.iter().flat_map(|pattern| pattern.captures_iter(text));
        let mut unknown: Vec<_> = codes
            .filter_map(|found| found.get(1))
            .map(|code| code.as_str())
            .filter(|code| !is_described(code))
            .collect();
        unknown.sort_unstable();
        unknown.dedup();
        findings.extend(unknown.into_iter().map(|code| {
            format!(
                "{}: the error code {code} is not in CODES of crates/core/src/status_reference/conditions.rs",
                source.path
            )
        }));
    }
    findings
}

fn makes_errors(path: &str) -> bool {
    let within = FOLDERS.iter().any(|folder| path.starts_with(folder));
    let is_source = Path::new(path)
        .extension()
        .is_some_and(|extension| extension == "rs");
    within && is_source && !ONLY_TESTS.iter().any(|part| path.contains(part))
}

fn is_described(code: &str) -> bool {
    let mut described = CODES.iter().chain(TRANSIENT_CODES);
    described.any(|entry| entry.code == code)
        || Reason::ALL.iter().any(|reason| reason.as_str() == code)
        || NO_REASONS.contains(&code)
}

/// How code writes the code of an error.
fn patterns() -> [Regex; 3] {
    // The patterns are constants, so every run would find an error in them.
    let regex = |pattern| Regex::new(pattern).unwrap_or_else(|error| unreachable!("{error}"));
    [
        regex(r#"\bcode: "([A-Z]\w+)""#),
        regex(r#"\bfailure\(\s*"([A-Z]\w+)""#),
        regex(r#"ErrorClass::\w+(?:\([^()]*\))?,\s*"([A-Z]\w+)"\."#),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let source = Source {
            path: path.into(),
            text: text.into(),
        };
        undescribed(&[source])
    }

    #[test]
    fn a_code_without_a_description_is_found_in_every_form() {
        for text in [
            r#"AzureError { code: "NeverDescribed".into() }"#,
            "failure(\n    \"NeverDescribed\", message)",
            r#"(ErrorClass::Throttled(None), "NeverDescribed".into())"#,
            r#"(ErrorClass::Credential, "NeverDescribed".into())"#,
        ] {
            let found = found("crates/azure/src/tokens.rs", text);
            assert_eq!(found.len(), 1, "{text}");
            assert!(found[0].contains("NeverDescribed"), "{found:?}");
        }
    }

    #[test]
    fn described_codes_and_those_of_tests_are_fine() {
        let described = r#"failure("SecretNotFound", message); code: "RefusedByAzure"; code: "Stopping""#;
        assert_eq!(
            found("crates/controller/src/credentials.rs", described),
            [] as [String; 0]
        );
        let in_test = "fn a() {}\n#[cfg(test)]\nmod tests { code: \"NeverDescribed\" }";
        assert_eq!(found("crates/azure/src/arm.rs", in_test), [] as [String; 0]);
        for path in [
            "crates/azure/src/fleet/tests/odd.rs",
            "crates/cli/src/main.rs",
            "docs/status.md",
        ] {
            assert_eq!(
                found(path, r#"code: "NeverDescribed""#),
                [] as [String; 0],
                "{path}"
            );
        }
    }
}
