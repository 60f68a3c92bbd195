//! What holds for the repository as a whole: citations resolve, and identifiers use the terms of the glossary.

mod citations;
mod sources;
mod words;

use std::path::Path;

/// Everything that is wrong, one finding a line.
///
/// # Errors
///
/// Names every citation that does not resolve and every identifier or file name with a retired word; also a file that
/// cannot be read.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    let sources = sources::read(root)?;
    let mut findings = citations::unresolved(&sources);
    findings.extend(words::retired(&sources));
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
