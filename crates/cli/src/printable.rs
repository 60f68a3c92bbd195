//! Makes foreign text safe for comments and terminals: a line stays one line, without control characters.

/// The lines of a text, split wherever a shell, a YAML or Terraform parser or a terminal begins a new line. Characters that
/// could control a terminal, or reorder the text, become blanks.
pub(crate) fn lines(text: &str) -> Vec<String> {
    text.replace("\r\n", "\n")
        .split(ends_a_line)
        .map(without_controls)
        .collect()
}

/// The text as a single line.
pub(crate) fn one_line(text: &str) -> String {
    without_controls(text)
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

/// YAML 1.1 also breaks lines at U+0085, U+2028 and U+2029, terminals at vertical tab and form feed.
fn ends_a_line(character: char) -> bool {
    matches!(
        character,
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

fn without_controls(text: &str) -> String {
    let is_unsafe = |c: char| c.is_control() || ends_a_line(c) || reorders(c) || is_refused_by_yaml(c);
    text.chars().map(|c| if is_unsafe(c) { ' ' } else { c }).collect()
}

/// Whether the character changes the direction of the text around it.
fn reorders(character: char) -> bool {
    matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

fn is_refused_by_yaml(character: char) -> bool {
    matches!(character, '\u{feff}' | '\u{fffe}' | '\u{ffff}')
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
    fn controls_and_marks_of_direction_are_blanks() {
        assert_eq!(one_line("a\u{1b}[2J\u{9b}1mb\0\u{7f}c\td"), "a [2J 1mb  c d");
        assert_eq!(one_line("a\u{202e}b\u{2066}c\u{61c}d\u{feff}"), "a b c d ");
        assert_eq!(one_line("Zürich – 東京 é"), "Zürich – 東京 é");
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
                prop_assert!(!line.contains(|c: char| c.is_control() || ends_a_line(c) || reorders(c)), "{line:?}");
            }
        }

        #[test]
        fn one_line_is_one_line(text in hostile()) {
            prop_assert!(!one_line(&text).contains(|c: char| c.is_control() || ends_a_line(c) || reorders(c)));
            prop_assert_eq!(one_line(&text).chars().count(), text.chars().count());
        }
    }
}
