//! Text from outside (objects, Azure, Entra) as one line that controls nothing: neither a terminal nor the reader of a
//! log, and that cannot begin a line of its own.

use std::borrow::Cow;

/// Most characters of a name in status. Names of Azure are shorter.
const MOST_CHARACTERS: usize = 256;

/// Whether the character begins a new line for a shell, a YAML or Terraform parser, or a terminal. YAML 1.1 also breaks
/// lines at U+0085, U+2028 and U+2029, terminals at vertical tab and form feed.
pub const fn ends_a_line(character: char) -> bool {
    matches!(
        character,
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

/// Whether the character could begin a line, control a terminal, change the direction of the text around it, or be refused
/// by a YAML parser.
pub fn is_unsafe(character: char) -> bool {
    character.is_control() || ends_a_line(character) || reorders(character) || is_refused_by_yaml(character)
}

const fn reorders(character: char) -> bool {
    matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

const fn is_refused_by_yaml(character: char) -> bool {
    matches!(character, '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// The text as a single line: unsafe characters become blanks.
pub fn one_line(text: &str) -> Cow<'_, str> {
    if text.contains(is_unsafe) {
        let blank = |c: char| if is_unsafe(c) { ' ' } else { c };
        Cow::from(text.chars().map(blank).collect::<String>())
    } else {
        Cow::from(text)
    }
}

/// A name or a word of Azure as status keeps it: a single line that is not long.
pub fn short(text: &str) -> String {
    limited(text, MOST_CHARACTERS)
}

/// A text of Azure as status keeps it: a single line of at most this many characters.
pub fn limited(text: &str, most: usize) -> String {
    let end = text.char_indices().nth(most).map_or(text.len(), |(at, _)| at);
    one_line(text.get(..end).unwrap_or(text)).into_owned()
}

/// The text as a single line for a log, where it must stay visible what was there: `\n`, `\u{202e}`.
pub fn escaped(text: &str) -> Cow<'_, str> {
    if text.contains(is_unsafe) {
        let mut escaped = String::with_capacity(text.len() + 8);
        for character in text.chars() {
            if is_unsafe(character) {
                escaped.extend(character.escape_default());
            } else {
                escaped.push(character);
            }
        }
        Cow::from(escaped)
    } else {
        Cow::from(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn controls_and_marks_of_direction_are_blanks() {
        assert_eq!(one_line("a\u{1b}[2J\u{9b}1mb\0\u{7f}c\td"), "a [2J 1mb  c d");
        assert_eq!(one_line("a\u{202e}b\u{2066}c\u{61c}d\u{feff}"), "a b c d ");
        assert_eq!(one_line("a\r\nb\u{2028}c"), "a  b c");
        assert_eq!(one_line("Zürich – 東京 é"), "Zürich – 東京 é");
    }

    #[test]
    fn names_in_status_are_short() {
        assert_eq!(short("Contoso\nReady"), "Contoso Ready");
        assert_eq!(short(&"ü".repeat(10_000)), "ü".repeat(MOST_CHARACTERS));
        assert_eq!(limited("abc", 2), "ab");
    }

    #[test]
    fn a_log_shows_what_was_there() {
        assert_eq!(
            escaped("a\nINFO b\t\u{1b}[2J\u{202e}c"),
            r"a\nINFO b\t\u{1b}[2J\u{202e}c"
        );
        assert_eq!(escaped(r"C:\new 東京"), r"C:\new 東京");
    }

    proptest! {
        #[test]
        fn nothing_unsafe_is_left(text in any::<String>(), control in 0_u32..0xa0) {
            let text = text + &char::from_u32(control).map(String::from).unwrap_or_default() + "\u{2028}\u{202e}";
            prop_assert!(!one_line(&text).contains(is_unsafe));
            prop_assert_eq!(one_line(&text).chars().count(), text.chars().count());
            prop_assert!(!escaped(&text).contains(is_unsafe));
        }
    }
}
