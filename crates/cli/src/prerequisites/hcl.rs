//! Writes Terraform's language in the format of `terraform fmt`: two blanks per level, and `=` aligned in runs of one-line
//! arguments.

use std::fmt::Write as _;

use crate::printable;

/// An expression.
#[derive(Clone, Debug)]
pub(super) enum Expression {
    /// A text, escaped so that Terraform finds no template in it.
    Text(String),
    /// Written unchanged: a reference, or a text with references. Text from the input in it must be [`quoted`].
    Raw(String),
    Flag(bool),
    List(Vec<Expression>),
    Object(Vec<(String, Expression)>),
    /// `jsonencode(…)`
    Json(Box<Expression>),
    /// `toset(…)`
    Set(Box<Expression>),
    /// A text of several lines, escaped like `Text`.
    Lines(String),
}

/// A part of a body.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Argument(String, Expression),
    Block(Block),
    Comment(String),
    Blank,
}

/// `kind "label" … { … }`
#[derive(Clone, Debug)]
pub(super) struct Block {
    head: String,
    body: Vec<Item>,
}

/// A block. The labels must not come from the input.
pub(super) fn block<const N: usize>(kind: &str, labels: [&str; N], body: Vec<Item>) -> Block {
    let labels = labels.map(|label| format!(" {}", quoted(label)));
    Block {
        head: format!("{kind}{}", labels.concat()),
        body,
    }
}

pub(super) fn argument(name: &str, value: impl Into<Expression>) -> Item {
    Item::Argument(name.into(), value.into())
}

pub(super) fn raw(text: impl Into<String>) -> Expression {
    Expression::Raw(text.into())
}

pub(super) fn texts<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> Expression {
    Expression::List(
        items
            .into_iter()
            .map(|item| Expression::Text(item.as_ref().into()))
            .collect(),
    )
}

impl From<&str> for Expression {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<bool> for Expression {
    fn from(on: bool) -> Self {
        Self::Flag(on)
    }
}

/// A file: the comment, then the blocks, separated by blank lines.
pub(super) fn file<T: AsRef<str>>(comment: &[T], blocks: &[Block]) -> String {
    let mut text = printable::comment("#", comment);
    for block in blocks {
        text.push('\n');
        write_block(&mut text, block, 0);
    }
    text
}

fn write_block(text: &mut String, block: &Block, depth: usize) {
    let indent = "  ".repeat(depth);
    if block.body.is_empty() {
        *text += &[&indent, &block.head, " {}\n"].concat();
        return;
    }
    *text += &[&indent, &block.head, " {\n"].concat();
    write_items(text, &block.body, depth + 1);
    *text += &[&indent, "}\n"].concat();
}

fn write_items(text: &mut String, items: &[Item], depth: usize) {
    let indent = "  ".repeat(depth);
    for (at, item) in items.iter().enumerate() {
        match item {
            Item::Argument(name, value) => {
                let value = written(value, depth);
                let width = if value.contains('\n') {
                    name.len()
                } else {
                    width(items, at, depth)
                };
                let _ = writeln!(text, "{indent}{name:width$} = {value}");
            }
            Item::Block(block) => write_block(text, block, depth),
            Item::Comment(comment) => *text += &printable::comment(&format!("{indent}#"), [comment]),
            Item::Blank => text.push('\n'),
        }
    }
}

/// Width of the longest name in the run of one-line arguments around this one.
fn width(items: &[Item], at: usize, depth: usize) -> usize {
    let one_line = |item: &Item| match item {
        Item::Argument(name, value) if !written(value, depth).contains('\n') => Some(name.len()),
        _ => None,
    };
    let before = items.iter().take(at).rev().map_while(one_line);
    let after = items.iter().skip(at).map_while(one_line);
    before.chain(after).max().unwrap_or_default()
}

fn written(value: &Expression, depth: usize) -> String {
    let (indent, inner) = ("  ".repeat(depth), "  ".repeat(depth + 1));
    match value {
        Expression::Text(text) => quoted(text),
        Expression::Raw(text) => text.clone(),
        Expression::Flag(on) => on.to_string(),
        Expression::Json(value) => format!("jsonencode({})", written(value, depth)),
        Expression::Set(value) => format!("toset({})", written(value, depth)),
        Expression::List(items) => match items.as_slice() {
            [] => "[]".into(),
            [one] if !written(one, depth).contains('\n') => format!("[{}]", written(one, depth)),
            items => {
                let mut text = "[\n".to_owned();
                for item in items {
                    text += &[&inner, &written(item, depth + 1), ",\n"].concat();
                }
                text + &indent + "]"
            }
        },
        Expression::Object(members) => {
            let items: Vec<_> = members
                .iter()
                .map(|(name, value)| Item::Argument(key(name), value.clone()))
                .collect();
            let mut text = "{\n".to_owned();
            write_items(&mut text, &items, depth + 1);
            text + &indent + "}"
        }
        Expression::Lines(text) => format!("<<EOT\n{}EOT", escaped(text)),
    }
}

fn key(name: &str) -> String {
    let is_identifier = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
    if is_identifier { name.into() } else { quoted(name) }
}

/// A quoted and escaped text.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for character in escaped(text).chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            // All of them are in the basic plane.
            other if printable::is_unsafe(other) => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(other));
            }
            other => quoted.push(other),
        }
    }
    quoted + "\""
}

/// Escapes template sequences.
fn escaped(text: &str) -> String {
    text.replace("${", "$${").replace("%{", "%%{")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::printable::tests::hostile;

    #[test]
    fn arguments_are_aligned_in_runs_and_templates_are_escaped() {
        let body = vec![
            argument("url", "https://a/"),
            argument("longest_name", r#"a "quoted" \ ${template} %{if}"#),
            argument("list", texts(["a", "b"])),
            argument("x", true),
            argument("one", texts(["a"])),
            argument(
                "policy",
                Expression::Json(Box::new(Expression::Object(vec![
                    ("Version".into(), "1".into()),
                    ("sts:aud".into(), texts(Vec::<&str>::new())),
                ]))),
            ),
            Item::Blank,
            Item::Block(block("lifecycle", [], vec![])),
        ];
        let text = file(&["Why.", "", "And how."], &[block("resource", ["a", "b"], body)]);
        let expected = r#"# Why.
#
# And how.

resource "a" "b" {
  url          = "https://a/"
  longest_name = "a \"quoted\" \\ $${template} %%{if}"
  list = [
    "a",
    "b",
  ]
  x   = true
  one = ["a"]
  policy = jsonencode({
    Version   = "1"
    "sts:aud" = []
  })

  lifecycle {}
}
"#;
        assert_eq!(text, expected);
    }

    #[test]
    fn a_text_is_one_line_without_controls() {
        assert_eq!(
            quoted("a\u{1b}[2J\r\nb\u{85}\u{202e}"),
            r#""a\u001b[2J\r\nb\u0085\u202e""#
        );
    }

    /// Reads a quoted text as Terraform does. `None` if it ends early or contains a template.
    fn read(quoted: &str) -> Option<String> {
        let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
        let mut text = String::new();
        let mut rest = inner.chars();
        while let Some(character) = rest.next() {
            let next = rest.as_str();
            match character {
                '"' => return None,
                '\\' => match rest.next()? {
                    'n' => text.push('\n'),
                    'r' => text.push('\r'),
                    't' => text.push('\t'),
                    'u' => {
                        let digits: String = rest.by_ref().take(4).collect();
                        text.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
                    }
                    escaped @ ('"' | '\\') => text.push(escaped),
                    _ => return None,
                },
                '$' | '%' if next.starts_with('{') => return None,
                '$' | '%'
                    if next.starts_with([character])
                        && next.get(1..).is_some_and(|next| next.starts_with('{')) =>
                {
                    rest.next();
                    rest.next();
                    text.push(character);
                    text.push('{');
                }
                other => text.push(other),
            }
        }
        Some(text)
    }

    proptest! {
        #[test]
        fn a_quoted_text_is_read_as_it_was_and_is_no_template(text in hostile(), template in "[$%]{0,3}[{]?[a}]{0,2}") {
            let text = text + &template;
            let quoted = quoted(&text);
            prop_assert!(!quoted.contains(printable::is_unsafe), "{quoted:?}");
            prop_assert_eq!(read(&quoted), Some(text));
        }
    }

    #[test]
    fn lines_keep_their_form() {
        let text = file::<&str>(
            &[],
            &[block(
                "locals",
                [],
                vec![argument("t", Expression::Lines("a: ${b}\n  c\n".into()))],
            )],
        );
        assert_eq!(text, "\nlocals {\n  t = <<EOT\na: $${b}\n  c\nEOT\n}\n");
    }
}
