//! Lines of Markdown: short enough to read side by side.

use super::sources::Source;

/// Characters of a line of Markdown at most.
const WIDTH: usize = 119;

/// Lines of Markdown that are too long.
pub(super) fn too_long(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.is("md")) {
        for (number, line) in source.text.lines().enumerate() {
            let length = line.chars().count();
            // Nothing wraps the rows of a table, and a table of values is generated.
            let is_value = source.path.starts_with("charts/") && line.starts_with("| `");
            if length > WIDTH && !is_value {
                let number = number.saturating_add(1);
                findings.push(format!(
                    "{}:{number}: {length} characters; {WIDTH} are allowed",
                    source.path
                ));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_counted_and_only_in_markdown() {
        let source = |path: &str, length: usize| Source {
            path: path.into(),
            text: "ü".repeat(length),
        };
        let found = |path, length| too_long(&[source(path, length)]).len();
        let row = Source {
            path: "charts/a/README.md".into(),
            text: format!("| `value` | {} |", "ü".repeat(120)),
        };
        assert_eq!(too_long(&[row]), Vec::<String>::new());
        assert_eq!(
            [found("a.md", 119), found("a.md", 120), found("a.rs", 200)],
            [0, 1, 0]
        );
    }
}
