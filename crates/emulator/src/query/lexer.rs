//! Splits the text of a query into tokens.

use serde_json::{Number, Value};

use super::problem::{At, Problem};

/// The kind of a token.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// A name or an operator of letters: `project`, `in~`, `!contains`.
    Word,
    /// A string or a number.
    Literal(Value),
    /// Punctuation.
    Symbol,
    /// End of the query.
    End,
}

/// A token with its position; `text` as written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    pub(crate) at: At,
    /// There is no white space before this token.
    pub(crate) joined: bool,
}

/// Longer symbols first.
const SYMBOLS: [&str; 22] = [
    "==", "!=", "=~", "!~", "<=", ">=", "<", ">", "=", "|", "(", ")", "[", "]", ",", ".", "+", "-", "*", "/",
    "%", ";",
];

struct Lexer<'a> {
    rest: &'a str,
    at: At,
    joined: bool,
    tokens: Vec<Token>,
}

/// The tokens of a query, followed by an `End`.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, Problem> {
    let mut lexer = Lexer {
        rest: text,
        at: At {
            line: 1,
            character: 0,
        },
        joined: false,
        tokens: Vec::new(),
    };
    while lexer.next()? {}
    let at = lexer.at;
    lexer.tokens.push(Token {
        kind: Kind::End,
        text: "<EOF>".into(),
        at,
        joined: false,
    });
    Ok(lexer.tokens)
}

impl<'a> Lexer<'a> {
    /// Consumes a number of bytes, and counts lines and characters.
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        for letter in taken.chars() {
            if letter == '\n' {
                self.at.line += 1;
                self.at.character = 0;
            } else {
                self.at.character += 1;
            }
        }
        self.rest = rest;
        taken
    }

    fn push(&mut self, kind: Kind, bytes: usize) {
        let at = self.at;
        let text = self.take(bytes).to_owned();
        self.tokens.push(Token {
            kind,
            text,
            at,
            joined: self.joined,
        });
        self.joined = true;
    }

    /// Consumes one token or a run of white space; false at the end.
    fn next(&mut self) -> Result<bool, Problem> {
        let Some(first) = self.rest.chars().next() else {
            return Ok(false);
        };
        if first.is_whitespace() {
            self.take(first.len_utf8());
            self.joined = false;
        } else if self.rest.starts_with("//") {
            let line = self.rest.find('\n').unwrap_or(self.rest.len());
            self.take(line);
            self.joined = false;
        } else if first.is_ascii_alphabetic() || first == '_' {
            let word = word(self.rest);
            let tilde = matches!(self.rest.get(..word), Some("in")) && self.at_byte(word, '~');
            self.push(Kind::Word, word + usize::from(tilde));
        } else if first == '!' && self.rest.get(1..).is_some_and(|rest| word(rest) > 0) {
            let word = 1 + self.rest.get(1..).map_or(0, word);
            let tilde = matches!(self.rest.get(..word), Some("!in")) && self.at_byte(word, '~');
            self.push(Kind::Word, word + usize::from(tilde));
        } else if first.is_ascii_digit() {
            self.number()?;
        } else if first == '\'' || first == '"' {
            self.string(first)?;
        } else if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| self.rest.starts_with(symbol)) {
            self.push(Kind::Symbol, symbol.len());
        } else {
            return Err(Problem::grammar(
                self.at,
                &first.to_string(),
                "a name, literal or operator",
            ));
        }
        Ok(true)
    }

    fn at_byte(&self, at: usize, letter: char) -> bool {
        self.rest.get(at..).is_some_and(|rest| rest.starts_with(letter))
    }

    fn number(&mut self) -> Result<(), Problem> {
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let mut length = digits(self.rest);
        let fraction = self
            .rest
            .get(length..)
            .and_then(|rest| rest.strip_prefix('.'))
            .map_or(0, digits);
        if fraction > 0 {
            length += 1 + fraction;
        }
        let behind = self.rest.get(length..).map_or(0, word);
        let text = self.rest.get(..length + behind).unwrap_or_default();
        let number = if fraction > 0 {
            text.parse().ok().and_then(Number::from_f64)
        } else {
            text.parse::<i64>().ok().map(Number::from)
        };
        // `5d` or `1e3` are literals of the full language.
        let number = number.ok_or_else(|| Problem::grammar(self.at, text, "a number"))?;
        self.push(Kind::Literal(Value::Number(number)), length);
        Ok(())
    }

    fn string(&mut self, quote: char) -> Result<(), Problem> {
        let open = || Problem::grammar(self.at, "<EOF>", format!("{quote}"));
        let mut text = String::new();
        let mut letters = self.rest.char_indices().skip(1);
        loop {
            let (at, letter) = letters.next().ok_or_else(open)?;
            match letter {
                '\n' => return Err(open()),
                '\\' => {
                    let (_, escaped) = letters.next().ok_or_else(open)?;
                    text.push(match escaped {
                        'n' => '\n',
                        't' => '\t',
                        'r' => '\r',
                        '\\' | '\'' | '"' => escaped,
                        'u' => unicode(self.rest, at, &mut letters)
                            .ok_or_else(|| Problem::grammar(self.at, "\\u", "four hexadecimal digits"))?,
                        other => {
                            let token = format!("\\{other}");
                            return Err(Problem::grammar(self.at, &token, "an escape of a string"));
                        }
                    });
                }
                letter if letter == quote => {
                    self.push(Kind::Literal(Value::String(text)), at + quote.len_utf8());
                    return Ok(());
                }
                letter => text.push(letter),
            }
        }
    }
}

/// The length of the name at the start of the rest.
fn word(text: &str) -> usize {
    let starts = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    if !starts {
        return 0;
    }
    text.bytes()
        .take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        .count()
}

/// The character of a `\uXXXX` escape whose backslash is at `at`.
fn unicode(text: &str, at: usize, letters: &mut impl Iterator) -> Option<char> {
    let code = text.get(at + 2..at + 6)?;
    for _ in 0..4 {
        letters.next()?;
    }
    char::from_u32(u32::from_str_radix(code, 16).ok()?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(query: &str) -> Vec<String> {
        let tokens = tokens(query).unwrap();
        tokens.into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn a_query_has_words_symbols_and_comments() {
        assert_eq!(
            texts("a|where x in~(1) // no\nand y !in~ z"),
            [
                "a", "|", "where", "x", "in~", "(", "1", ")", "and", "y", "!in~", "z", "<EOF>"
            ]
        );
        assert_eq!(
            texts("a=~b!~c!=d<=e"),
            ["a", "=~", "b", "!~", "c", "!=", "d", "<=", "e", "<EOF>"]
        );
        assert_eq!(texts("!contains"), ["!contains", "<EOF>"]);
    }

    #[test]
    fn literals_have_their_values() {
        for (text, expected) in [
            (r#"'a"b'"#, json!("a\"b")),
            (r#""a'b\"""#, json!("a'b\"")),
            (r"'\\a\n\u00e9'", json!("\\a\né")),
            ("12", json!(12)),
            ("1.5", json!(1.5)),
        ] {
            assert_eq!(tokens(text).unwrap()[0].kind, Kind::Literal(expected), "{text}");
        }
    }

    #[test]
    fn errors_have_their_place() {
        let all = tokens("a\n  'é' b").unwrap();
        assert_eq!(
            all[2].at,
            At {
                line: 2,
                character: 6
            }
        );
        for (text, token, character) in [
            ("a 'b", "<EOF>", 2),
            ("a $left", "$", 2),
            ("  5d", "5d", 2),
            (r"'\q'", "\\q", 0),
            ("'a\nb'", "<EOF>", 0),
            (r"'\u12'", "\\u", 0),
        ] {
            let problem = tokens(text).unwrap_err();
            assert_eq!(
                (problem.token.as_str(), problem.at.character),
                (token, character),
                "{text}"
            );
        }
    }
}
