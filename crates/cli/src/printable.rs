//! Makes foreign text safe for comments and terminals: a line stays one line, without control characters.

use serverprotection_core::printable::ends_a_line;
pub(crate) use serverprotection_core::printable::{is_unsafe, one_line};

/// The lines of a text, split wherever a shell, a YAML or Terraform parser or a terminal begins a new line. Characters that
/// could control a terminal, or reorder the text, become blanks.
pub(crate) fn lines(text: &str) -> Vec<String> {
    text.replace("\r\n", "\n")
        .split(ends_a_line)
        .map(|line| one_line(line).into_owned())
        .collect()
}

/// A text for a terminal: its line breaks stay, and nothing in it controls the terminal.
pub(crate) fn text(text: &str) -> String {
    lines(text).join("\n")
}

/// A comment: the prefix before each line of each text, so that no part of it can become a command.
pub(crate) fn comment<T: AsRef<str>>(prefix: &str, texts: impl IntoIterator<Item = T>) -> String {
    let mut comment = String::new();
    for text in texts {
        for line in lines(text.as_ref()) {
            comment.push_str([prefix, " ", &line].concat().trim_end());
            comment.push('\n');
        }
    }
    comment
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    const BREAKS: [&str; 8] = [
        "\n", "\r", "\r\n", "\u{b}", "\u{c}", "\u{85}", "\u{2028}", "\u{2029}",
    ];

    #[test]
    fn every_line_break_of_any_reader_begins_a_new_line() {
        for end in BREAKS {
            let text = format!("team{end}touch /tmp/pwned");
            assert_eq!(lines(&text), ["team", "touch /tmp/pwned"], "{end:?}");
            assert_eq!(comment("#", [&text]), "# team\n# touch /tmp/pwned\n", "{end:?}");
            assert!(!one_line(&text).contains(ends_a_line), "{end:?}");
        }
    }

    #[test]
    fn a_text_keeps_its_lines_and_controls_nothing() {
        assert_eq!(text("a\u{1b}[2J\n  b\u{202e}\n"), "a [2J\n  b \n");
        assert_eq!(text("a\r\nb"), "a\nb");
    }

    #[test]
    fn a_comment_has_no_blanks_at_the_end() {
        assert_eq!(
            comment("  #", ["a ", "", "b\n\n  c"]),
            "  # a\n  #\n  # b\n  #\n  #   c\n"
        );
        assert_eq!(comment::<&str>("#", []), "");
    }

    /// Any text, with the characters that matter more often than chance has them.
    pub(crate) fn hostile() -> impl Strategy<Value = String> {
        let control = (0_u32..0xa0).prop_filter_map("a scalar", char::from_u32);
        let character = prop_oneof![
            4 => any::<char>(),
            2 => control,
            2 => prop::sample::select(vec!['\u{85}', '\u{2028}', '\u{2029}', '\u{202e}', '\u{feff}', '#', ':', '\'', '"']),
        ];
        prop::collection::vec(character, 0..40).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn every_line_of_a_comment_begins_with_the_prefix_and_controls_nothing(texts in prop::collection::vec(hostile(), 0..4)) {
            let comment = comment("#", &texts);
            prop_assert!(comment.is_empty() == texts.is_empty());
            prop_assert!(comment.is_empty() || comment.ends_with('\n'));
            for line in comment.split_terminator('\n') {
                prop_assert!(line == "#" || line.starts_with("# "), "{line:?}");
                prop_assert!(!line.contains(is_unsafe), "{line:?}");
            }
        }
    }
}
