//! Rules for the whole repository: citations resolve, identifiers use the terms of the glossary, and error codes are
//! described.

mod citations;
mod codes;
mod lines;
mod sources;
mod words;

use std::path::Path;

/// Returns all findings, one per line.
///
/// # Errors
///
/// Fails if a citation does not resolve, if an identifier or file name contains a retired word, if an error code is not
/// described, or if a file cannot be read.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    let sources = sources::read(root)?;
    let mut findings = citations::unresolved(&sources);
    findings.extend(words::retired(&sources));
    findings.extend(lines::too_long(&sources));
    findings.extend(codes::undescribed(&sources));
    if findings.is_empty() {
        Ok(())
    } else {
        Err(findings.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_passes() {
        check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")).unwrap();
    }
}
