//! Reads Kubernetes objects from files, folders and standard input, without a cluster.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use serde_json::Value;
use serverprotection_api::GROUP;

use crate::error::CliError;

/// An object of any kind, not parsed yet.
#[derive(Debug)]
pub(crate) struct Object {
    /// `apiVersion`; empty if it is missing.
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) value: Value,
    /// Where it is in the input: `prod.yaml, document 2`.
    pub(crate) place: String,
}

impl Object {
    /// Whether the object belongs to the API group of this operator.
    pub(crate) fn is_ours(&self) -> bool {
        self.version.split('/').next() == Some(GROUP)
    }

    /// A text field of `metadata`; empty if it is missing.
    pub(crate) fn metadata(&self, field: &str) -> &str {
        let text = self
            .value
            .get("metadata")
            .and_then(|metadata| metadata.get(field));
        text.and_then(Value::as_str).unwrap_or_default()
    }
}

/// The texts of files, folders and standard input (`-`), with their names.
///
/// # Errors
///
/// Fails if a file, a folder or standard input cannot be read, or if a folder has no YAML and JSON files.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Vec<(String, String)>, CliError> {
    let mut texts = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|error| CliError::new("-f -: cannot read standard input").because(error))?;
            texts.push(("standard input".to_owned(), text));
            continue;
        }
        for file in files(path)? {
            let text = fs::read_to_string(&file).map_err(|error| unreadable(&file, &error))?;
            texts.push((file.display().to_string(), text));
        }
    }
    Ok(texts)
}

/// Calls `take` for each object, also for each item of a list.
///
/// # Errors
///
/// Fails if a text is not YAML, a document is not a Kubernetes object, or `take` fails. The error names the file and the
/// number of the document.
pub(crate) fn for_each(
    texts: &[(String, String)],
    mut take: impl FnMut(Object) -> Result<(), CliError>,
) -> Result<(), CliError> {
    for (name, text) in texts {
        let documents = documents(text)
            .map_err(|error| CliError::new(format!("-f {name}: not valid YAML")).because(error))?;
        for (number, document) in documents.into_iter().enumerate() {
            let place = format!("{name}, document {}", number + 1);
            hand_over(document, &place, &mut take).map_err(|error| error.at(format_args!("-f {place}")))?;
        }
    }
    Ok(())
}

fn hand_over(
    value: Value,
    place: &str,
    take: &mut impl FnMut(Object) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
    let object = Object {
        version: text("apiVersion").to_owned(),
        kind: text("kind").to_owned(),
        value,
        place: place.to_owned(),
    };
    match object.kind.as_str() {
        _ if object.value.is_null() => Ok(()),
        "" => Err("not a Kubernetes object: it has no kind".into()),
        "List" => hand_over_items(object.value, place, take),
        kind if object.is_ours() && kind.ends_with("List") => hand_over_items(object.value, place, take),
        _ => take(object),
    }
}

fn hand_over_items(
    mut list: Value,
    place: &str,
    take: &mut impl FnMut(Object) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let items = list.get_mut("items").and_then(Value::as_array_mut);
    let items = items.map(std::mem::take).unwrap_or_default();
    for (number, item) in items.into_iter().enumerate() {
        let item_place = format!("{place}, item {}", number + 1);
        hand_over(item, &item_place, take).map_err(|error| error.at(format_args!("item {}", number + 1)))?;
    }
    Ok(())
}

/// The file itself, or the YAML and JSON files of a folder, sorted.
fn files(path: &Path) -> Result<Vec<PathBuf>, CliError> {
    let describe = |error: std::io::Error| unreadable(path, &error);
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
            "-f {}: no *.yaml, *.yml or *.json file in this folder",
            path.display()
        )
        .into());
    }
    files.sort();
    Ok(files)
}

fn unreadable(path: &Path, error: &std::io::Error) -> CliError {
    CliError::new(format!("-f {}: cannot read it", path.display())).because(error)
}

/// Raises the limits of the reader, which are for untrusted input: a fleet may have thousands of objects. Errors do not
/// quote the input, because it may contain Secrets.
fn documents(text: &str) -> Result<Vec<Value>, String> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: 1_000_000,
            max_nodes: 50_000_000,
            max_events: 200_000_000,
        },
        with_snippet: false,
    };
    // The other formatter gives advice about options of the library.
    let formatter = &serde_saphyr::UserMessageFormatter;
    serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| error.render_with_formatter(formatter))
}
