//! Retired words: private terms for which Kubernetes, Azure or the glossary (docs/architecture.md 10) have a word.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};

use super::sources::Source;

/// No identifier and no file name may contain one of these. Reviewers check prose.
const RETIRED: &[&str] = &[
    "aspect",
    "aspects",
    "asleep",
    "beside",
    "calm",
    "circumstances",
    "companion",
    "crowd",
    "desk",
    "doubt",
    "doubtful",
    "enrol",
    "feed",
    "feeds",
    "guarded",
    "hear",
    "heard",
    "hearing",
    "hears",
    "heir",
    "law",
    "laws",
    "leftovers",
    "lonely",
    "look",
    "looked",
    "looking",
    "looks",
    "meddle",
    "meddles",
    "memories",
    "mend",
    "mended",
    "mends",
    "news",
    "nobody",
    "pace",
    "paced",
    "paces",
    "patience",
    "remember",
    "remembered",
    "remembers",
    "roster",
    "scene",
    "secretly",
    "sow",
    "sown",
    "sows",
    "standing",
    "stands",
    "strange",
    "tell",
    "telling",
    "tells",
    "told",
    "untold",
    "visit",
    "visited",
    "visiting",
    "visits",
    "wake",
    "wakes",
    "wanted",
    "whoever",
    "woken",
];

/// Methods of serde's `Visitor`, whose names are given.
const EXEMPT: &[&str] = &[
    "Visit",
    "visit_bool",
    "visit_borrowed_str",
    "visit_f64",
    "visit_i64",
    "visit_map",
    "visit_seq",
    "visit_str",
    "visit_string",
    "visit_u64",
    "visit_unit",
];

/// Identifiers and file names that contain a retired word.
pub(super) fn retired(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources {
        if let Some(word) = retired_word(&source.path) {
            findings.push(format!(
                "{}: the file name contains the retired word `{word}`",
                source.path
            ));
        }
        if !source.is("rs") {
            continue;
        }
        match source.text.parse::<TokenStream>() {
            Ok(tokens) => {
                let mut found = BTreeSet::new();
                identifiers(tokens, &mut |name| {
                    if !EXEMPT.contains(&name)
                        && let Some(word) = retired_word(name)
                    {
                        found.insert(format!(
                            "{}: `{name}` contains the retired word `{word}`",
                            source.path
                        ));
                    }
                });
                findings.extend(found);
            }
            Err(error) => findings.push(format!("{}: not Rust: {error}", source.path)),
        }
    }
    findings
}

fn identifiers(tokens: TokenStream, found: &mut impl FnMut(&str)) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => identifiers(group.stream(), found),
            TokenTree::Ident(identifier) => found(&identifier.to_string()),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

fn retired_word(name: &str) -> Option<&'static str> {
    let words = words(name);
    RETIRED
        .iter()
        .find(|retired| words.iter().any(|word| word == *retired))
        .copied()
}

/// The words of `snake_case`, `CamelCase`, `SHOUTING_CASE` and paths, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for letter in name.chars() {
        let begins = letter.is_uppercase() && before.is_lowercase();
        if begins || !letter.is_alphabetic() {
            words.push(String::new());
        }
        if letter.is_alphabetic()
            && let Some(word) = words.last_mut()
        {
            word.extend(letter.to_lowercase());
        }
        before = letter;
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let (path, text) = (path.to_owned(), text.to_owned());
        retired(&[Source { path, text }])
    }

    #[test]
    fn identifiers_and_file_names_are_searched_word_by_word() {
        assert_eq!(found("a/visit.rs", "").len(), 1);
        assert_eq!(found("docs/the-news.txt", "").len(), 1);
        for code in [
            "fn was_told() {}",
            "struct NextVisit;",
            "const LOOK_AT: u8 = 1;",
            "m! { { roster } }",
        ] {
            assert_eq!(found("a.rs", code).len(), 1, "{code}");
        }
        // Allowed: the letters inside another word, prose, string literals, and serde's method names.
        for code in [
            "fn outlook() {}",
            "// told\nstruct A;",
            "const A: &str = \"told\";",
            "fn visit_map() {}",
        ] {
            assert_eq!(found("a.rs", code), [""; 0], "{code}");
        }
    }

    #[test]
    fn a_source_that_cannot_be_read_is_a_finding() {
        assert_eq!(found("a.rs", "fn {").len(), 1);
    }
}
