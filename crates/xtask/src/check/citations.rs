//! Citations: every document, section and invariant that a file cites exists.
//!
//! A document is cited by its path (`docs/azure-api.md`), a numbered section by the number after the path
//! (`docs/azure-api.md 4.7 and 8.3`), an invariant by its number (I-9), and a heading of another page by a link.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use super::sources::Source;

/// What can be cited: sections by number, headings by anchor.
#[derive(Debug, Default)]
struct Document {
    sections: BTreeSet<String>,
    anchors: BTreeSet<String>,
}

/// The tests of these checks cite documents that do not exist, and the links of the page are those of the file that is
/// generated from it.
const EXEMPT: [&str; 2] = ["crates/xtask/src/check/", "crates/xtask/src/pages/chart.md"];

/// Citations that do not resolve.
pub(super) fn unresolved(sources: &[Source]) -> Vec<String> {
    let documents: BTreeMap<&str, Document> = sources
        .iter()
        .filter(|source| source.is("md"))
        .map(|source| (source.path.as_str(), document(&source.text)))
        .collect();
    let invariants: BTreeSet<String> = sources
        .iter()
        .filter(|source| source.path == "docs/architecture.md")
        .flat_map(|source| defined_invariants(&source.text))
        .collect();
    let patterns = Patterns::new();
    let mut findings = Vec::new();
    for source in sources
        .iter()
        .filter(|source| !EXEMPT.iter().any(|exempt| source.path.starts_with(exempt)))
    {
        let text = joined(&source.text);
        for (cited, target) in patterns.citations(&text) {
            if let Some(problem) = target.problem(&source.path, &documents, &invariants) {
                findings.push(format!("{}: `{cited}`: {problem}", source.path));
            }
        }
    }
    findings
}

#[derive(Debug, PartialEq, Eq)]
enum Target {
    Page { name: String, sections: Vec<String> },
    Link { page: String, anchor: String },
    Invariant(String),
}

impl Target {
    fn problem(
        &self,
        from: &str,
        documents: &BTreeMap<&str, Document>,
        invariants: &BTreeSet<String>,
    ) -> Option<String> {
        match self {
            Self::Page { name, sections } => {
                let Some(document) = find(documents, from, name) else {
                    return Some("no such document".into());
                };
                let missing = sections
                    .iter()
                    .find(|section| !document.sections.contains(*section))?;
                Some(format!("the document has no section {missing}"))
            }
            Self::Link { page, anchor } => {
                let page = if page.is_empty() { from } else { page };
                let Some(document) = find(documents, from, page) else {
                    return Some("no such document".into());
                };
                (!document.anchors.contains(anchor)).then(|| format!("the document has no heading #{anchor}"))
            }
            Self::Invariant(number) => {
                (!invariants.contains(number)).then(|| "docs/architecture.md 4 has no such invariant".into())
            }
        }
    }
}

/// Finds a document by its path from the root, from the folder of the citing file, or from docs/.
fn find<'a>(documents: &'a BTreeMap<&str, Document>, from: &str, name: &str) -> Option<&'a Document> {
    let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut path: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in name.split('/') {
        match part {
            ".." => drop(path.pop()),
            "." => {}
            part => path.push(part),
        }
    }
    let beneath = path.join("/");
    let in_docs = format!("docs/{name}");
    [name, &beneath, &in_docs]
        .into_iter()
        .find_map(|path| documents.get(path))
}

struct Patterns {
    link: Regex,
    page: Regex,
    number: Regex,
    invariant: Regex,
}

impl Patterns {
    fn new() -> Self {
        // The patterns are constants, so every run would find an error in them.
        let regex = |pattern| Regex::new(pattern).unwrap_or_else(|error| unreachable!("{error}"));
        Self {
            link: regex(r"\]\((?P<page>[\w./-]*\.md)?#(?P<anchor>[\w-]+)\)"),
            page: regex(
                r"(?P<before>[\w:/.-]*?)(?P<page>\.{0,2}[\w-][\w./-]*\.md)\b(?P<sections>`? \d+(?:\.\d+)*\b(?:(?:,| to| and) \d+(?:\.\d+)*\b)*)?",
            ),
            number: regex(r"\d+(?:\.\d+)*"),
            invariant: regex(r"\bI-\d+[a-z]?\b"),
        }
    }

    fn citations(&self, text: &str) -> Vec<(String, Target)> {
        let mut all = Vec::new();
        for found in self.link.captures_iter(text) {
            let part = |name| {
                found
                    .name(name)
                    .map_or(String::new(), |part: regex::Match<'_>| part.as_str().to_owned())
            };
            all.push((
                part("anchor"),
                Target::Link {
                    page: part("page"),
                    anchor: part("anchor"),
                },
            ));
        }
        for found in self.page.captures_iter(text) {
            let Some(page) = found.name("page").map(|page| page.as_str()) else {
                continue;
            };
            let before = text
                .get(..found.get(0).map_or(0, |whole| whole.start()))
                .unwrap_or_default();
            // The last part of a web address is not a page of this repository.
            let word = before
                .rsplit(|letter: char| letter.is_whitespace() || letter == '(')
                .next();
            let address = word.is_some_and(|word| word.contains("://")) || found["before"].contains("://");
            if address {
                continue;
            }
            let sections = found.name("sections").map_or("", |sections| sections.as_str());
            let sections = self
                .number
                .find_iter(sections)
                .map(|number| number.as_str().to_owned());
            let target = Target::Page {
                name: page.to_owned(),
                sections: sections.collect(),
            };
            all.push((found[0].to_owned(), target));
        }
        for found in self.invariant.find_iter(text) {
            let number = found.as_str().to_owned();
            all.push((number.clone(), Target::Invariant(number)));
        }
        all
    }
}

/// The text without line breaks inside comments and paragraphs, because a citation may span two lines.
fn joined(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    for line in text.lines() {
        let line = line.trim_start();
        let line = ["///", "//!", "//", "#"]
            .iter()
            .find_map(|marker| line.strip_prefix(marker))
            .unwrap_or(line);
        joined.push(' ');
        joined.push_str(line.trim());
    }
    joined
}

fn document(text: &str) -> Document {
    let mut document = Document::default();
    let mut fenced = false;
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        }
        let title = line.trim_start_matches('#');
        if fenced || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let title = title.trim();
        document.anchors.insert(anchor(title));
        let number = title.split(' ').next().unwrap_or_default().trim_end_matches('.');
        if number.starts_with(|letter: char| letter.is_ascii_digit()) {
            document.sections.insert(number.to_owned());
        }
    }
    document
}

/// The anchor that GitHub generates for a heading.
fn anchor(title: &str) -> String {
    let kept = title.to_lowercase().replace(' ', "-");
    kept.chars()
        .filter(|letter| letter.is_alphanumeric() || matches!(letter, '-' | '_'))
        .collect()
}

/// `#### I-3 …` and `* **I-12a …**` define an invariant; all other uses cite it.
fn defined_invariants(text: &str) -> Vec<String> {
    let defined = text.lines().filter_map(|line| {
        let rest = line.strip_prefix("#### ").or_else(|| line.strip_prefix("* **"))?;
        rest.starts_with("I-")
            .then(|| rest.split(' ').next().unwrap_or_default().to_owned())
    });
    defined.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARCHITECTURE: &str = "# Architecture\n\n## 3. Data flow\n\n### 3.2 Steps\n\n#### I-1 Never\n\n* **I-12a At adoption.** x\n";

    fn findings(path: &str, text: &str) -> Vec<String> {
        let source = |path: &str, text: &str| Source {
            path: path.into(),
            text: text.into(),
        };
        unresolved(&[source("docs/architecture.md", ARCHITECTURE), source(path, text)])
    }

    #[test]
    fn what_exists_may_be_cited() {
        for text in [
            "// docs/architecture.md 3",
            "// (docs/architecture.md\n/// 3.2)",
            "// docs/architecture.md 3 and 3.2, I-1",
            "// I-12a, architecture.md",
            "// https://github.com/x/y/blob/main/README.md 7",
        ] {
            assert_eq!(findings("crates/a.rs", text), [""; 0], "{text}");
        }
        assert_eq!(
            findings("README.md", "[x](docs/architecture.md#32-steps)"),
            [""; 0]
        );
        assert_eq!(
            findings("docs/b.md", "[x](architecture.md#3-data-flow) [y](#z)\n\n## Z"),
            [""; 0]
        );
    }

    #[test]
    fn what_does_not_exist_is_named() {
        for text in [
            "// contract.md 4.7",
            "// docs/architecture.md 3, 4",
            "// docs/architecture.md 3.2.1",
            "// I-2",
            "// I-12b",
            "// [x](docs/architecture.md#no)",
        ] {
            assert_eq!(findings("crates/a.rs", text).len(), 1, "{text}");
        }
    }
}
