//! Objects of Kubernetes from files, folders and standard input: no cluster is asked.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use serde_json::Value;
use serverprotection_api::GROUP;

/// An object that nobody has looked at yet.
#[derive(Debug)]
pub(crate) struct Object {
    /// `apiVersion`; empty where it is missing.
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) value: Value,
}

impl Object {
    /// Whether it is of our group.
    pub(crate) fn is_ours(&self) -> bool {
        self.version.split('/').next() == Some(GROUP)
    }

    /// A text of `metadata`; empty where it is missing.
    pub(crate) fn metadata(&self, field: &str) -> &str {
        let text = self
            .value
            .get("metadata")
            .and_then(|metadata| metadata.get(field));
        text.and_then(Value::as_str).unwrap_or_default()
    }
}

/// The texts of files, folders and standard input (`-`), with their names.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Vec<(String, String)>, String> {
    let mut texts = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|error| format!("-f -: standard input cannot be read: {error}"))?;
            texts.push(("standard input".to_owned(), text));
            continue;
        }
        for file in files(path)? {
            let name = file.display().to_string();
            let text = fs::read_to_string(&file).map_err(|error| format!("-f {name}: {error}"))?;
            texts.push((name, text));
        }
    }
    Ok(texts)
}

/// Hands every object over, those of lists one by one. An error says where in the input the object stands.
pub(crate) fn for_each(
    texts: &[(String, String)],
    mut take: impl FnMut(Object) -> Result<(), String>,
) -> Result<(), String> {
    for (name, text) in texts {
        let documents = documents(text).map_err(|error| format!("-f {name}: no YAML: {error}"))?;
        for (number, document) in documents.into_iter().enumerate() {
            hand_over(document, &mut take)
                .map_err(|error| format!("-f {name}, document {}: {error}", number + 1))?;
        }
    }
    Ok(())
}

fn hand_over(value: Value, take: &mut impl FnMut(Object) -> Result<(), String>) -> Result<(), String> {
    let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
    let object = Object {
        version: text("apiVersion").to_owned(),
        kind: text("kind").to_owned(),
        value,
    };
    match object.kind.as_str() {
        _ if object.value.is_null() => Ok(()),
        "" => Err("no object of Kubernetes: it has no kind".into()),
        "List" => hand_over_items(object.value, take),
        kind if object.is_ours() && kind.ends_with("List") => hand_over_items(object.value, take),
        _ => take(object),
    }
}

fn hand_over_items(
    mut list: Value,
    take: &mut impl FnMut(Object) -> Result<(), String>,
) -> Result<(), String> {
    let items = list.get_mut("items").and_then(Value::as_array_mut);
    let items = items.map(std::mem::take).unwrap_or_default();
    for (number, item) in items.into_iter().enumerate() {
        hand_over(item, take).map_err(|error| format!("item {}: {error}", number + 1))?;
    }
    Ok(())
}

/// The file itself, or the YAML and JSON files of a folder.
fn files(path: &Path) -> Result<Vec<PathBuf>, String> {
    let describe = |error: std::io::Error| format!("-f {}: {error}", path.display());
    if !fs::metadata(path).map_err(describe)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(describe)? {
        let file = entry.map_err(describe)?.path();
        let extension = file.extension().and_then(|extension| extension.to_str());
        if file.is_file() && matches!(extension, Some("yaml" | "yml" | "json")) {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(format!(
            "-f {}: the folder has no *.yaml, *.yml or *.json",
            path.display()
        ));
    }
    files.sort();
    Ok(files)
}

/// The reader's limits are for untrusted input; a fleet may have thousands of objects. Errors quote nothing: there are
/// Secrets in the input.
fn documents(text: &str) -> Result<Vec<Value>, String> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: 1_000_000,
            max_nodes: 50_000_000,
            max_events: 200_000_000,
        },
        with_snippet: false,
    };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| error.to_string())
}
