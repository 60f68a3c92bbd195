//! Reads Kubernetes objects from files, folders and standard input, without a cluster.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
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
    /// The text of the file, which shows a number as it was written.
    pub(crate) source: Arc<str>,
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

/// The text of a file or of standard input.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub(crate) name: String,
    pub(crate) content: Arc<str>,
    /// Whether a folder was named and not this file. A folder also has files that are not for the cluster.
    pub(crate) is_from_folder: bool,
}

impl Text {
    pub(crate) fn new(name: impl Into<String>, content: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            content: content.into(),
            is_from_folder: false,
        }
    }
}

/// What `-f` names.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    pub(crate) read: Vec<Text>,
    /// Files and folders that cannot be read.
    pub(crate) failures: Vec<CliError>,
    /// Folders below a named one that were not read.
    pub(crate) folders: Vec<String>,
    pub(crate) is_recursive: bool,
}

impl Texts {
    /// The texts of files, folders and standard input (`-`). `is_recursive` includes the folders below, as
    /// `kubectl -R` does.
    pub(crate) fn read(paths: &[PathBuf], is_recursive: bool) -> Self {
        let mut found = Self {
            is_recursive,
            ..Self::default()
        };
        for path in paths {
            if let Err(error) = found.add(path) {
                found.failures.push(error);
            }
        }
        found
    }

    /// The folders that were not read, and how to read them.
    pub(crate) fn note(&self) -> Option<String> {
        let folders = self.folders.join(", ");
        match (self.folders.len(), self.is_recursive) {
            (0, _) => None,
            (_, true) => Some(format!(
                "not read, because -R does not follow symbolic links: {folders}"
            )),
            (1, false) => Some(format!("1 sub-folder was not read (use -R): {folders}")),
            (count, false) => Some(format!("{count} sub-folders were not read (use -R): {folders}")),
        }
    }

    fn add(&mut self, path: &Path) -> Result<(), CliError> {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|error| CliError::new("-f -: cannot read standard input").because(error))?;
            self.read.push(Text::new("standard input", text));
            return Ok(());
        }
        let kind = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
        if !kind.is_dir() {
            let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
            self.read.push(Text::new(path.display().to_string(), text));
            return Ok(());
        }
        let (before, folders) = (self.read.len() + self.failures.len(), self.folders.len());
        self.add_folder(path)?;
        if self.read.len() + self.failures.len() > before {
            return Ok(());
        }
        let problem = format!(
            "-f {}: no *.yaml, *.yml or *.json file in this folder",
            path.display()
        );
        let error = CliError::new(problem);
        Err(if self.folders.len() > folders && !self.is_recursive {
            error.action("use -R to read its sub-folders")
        } else {
            error
        })
    }

    /// Adds the YAML and JSON files of a folder, sorted by name.
    fn add_folder(&mut self, folder: &Path) -> Result<(), CliError> {
        let describe = |error: std::io::Error| unreadable(folder, &error);
        let entries = fs::read_dir(folder).map_err(describe)?;
        let mut entries = entries.collect::<Result<Vec<_>, _>>().map_err(describe)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            if path.is_dir() {
                let is_link = entry.file_type().map_err(describe)?.is_symlink();
                if !self.is_recursive || is_link {
                    self.folders.push(path.display().to_string());
                } else if let Err(error) = self.add_folder(&path) {
                    self.failures.push(error);
                }
                continue;
            }
            let extension = path.extension().and_then(|extension| extension.to_str());
            if !matches!(extension, Some("yaml" | "yml" | "json")) || is_kustomization(&path) {
                continue;
            }
            match fs::read_to_string(&path) {
                Ok(text) => self.read.push(Text {
                    is_from_folder: true,
                    ..Text::new(path.display().to_string(), text)
                }),
                Err(error) => self.failures.push(unreadable(&path, &error)),
            }
        }
        Ok(())
    }
}

/// Kustomize reads this file, and allows it to have no kind.
fn is_kustomization(path: &Path) -> bool {
    matches!(
        path.file_name().and_then(|name| name.to_str()),
        Some("kustomization.yaml" | "kustomization.yml")
    )
}

/// Calls `take` for each object, also for each item of a list. An object without kind is an error, except in a file of a
/// folder.
///
/// # Errors
///
/// Fails if a text is not YAML, a document is not a Kubernetes object, or `take` fails. The errors name the file and the
/// number of the document; one of them does not end the loop.
pub(crate) fn for_each(
    texts: &[Text],
    mut take: impl FnMut(Object) -> Result<(), CliError>,
) -> Result<(), Vec<CliError>> {
    let mut errors = Vec::new();
    for text in texts {
        let name = &text.name;
        let documents = match documents(&text.content) {
            Ok(documents) => documents,
            Err(error) => {
                errors.push(CliError::new(format!("-f {name}: not valid YAML")).because(error));
                continue;
            }
        };
        for (number, document) in documents.into_iter().enumerate() {
            let place = format!("{name}, document {}", number + 1);
            if let Err(error) = hand_over(document, &place, text, &mut take) {
                errors.push(error.at(format_args!("-f {place}")));
            }
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn hand_over(
    value: Value,
    place: &str,
    source: &Text,
    take: &mut impl FnMut(Object) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
    let object = Object {
        version: text("apiVersion").to_owned(),
        kind: text("kind").to_owned(),
        value,
        place: place.to_owned(),
        source: Arc::clone(&source.content),
    };
    match object.kind.as_str() {
        _ if object.value.is_null() => Ok(()),
        "" if !source.is_from_folder || object.is_ours() => {
            Err("not a Kubernetes object: it has no kind".into())
        }
        "List" => hand_over_items(object.value, place, source, take),
        kind if object.is_ours() && kind.ends_with("List") => {
            hand_over_items(object.value, place, source, take)
        }
        _ => take(object),
    }
}

fn hand_over_items(
    mut list: Value,
    place: &str,
    source: &Text,
    take: &mut impl FnMut(Object) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let items = list.get_mut("items").and_then(Value::as_array_mut);
    let items = items.map(std::mem::take).unwrap_or_default();
    for (number, item) in items.into_iter().enumerate() {
        let item_place = format!("{place}, item {}", number + 1);
        hand_over(item, &item_place, source, take)
            .map_err(|error| error.at(format_args!("item {}", number + 1)))?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    const PROTECTION: &str = "apiVersion: serverprotection.dev/v1alpha1\nkind: ServerProtection\n";

    /// A folder with these files.
    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn read(folder: &tempfile::TempDir, is_recursive: bool) -> Texts {
        Texts::read(&[folder.path().to_owned()], is_recursive)
    }

    /// The kinds in the texts, and the number of errors.
    fn kinds(texts: &Texts) -> (Vec<String>, usize) {
        let mut kinds = Vec::new();
        let errors = for_each(&texts.read, |object| {
            kinds.push(object.kind);
            Ok(())
        });
        (kinds, errors.err().map_or(0, |errors| errors.len()))
    }

    #[test]
    fn a_folder_may_have_files_that_are_not_for_the_cluster() {
        let folder = folder(&[
            ("a.yaml", PROTECTION),
            ("kustomization.yaml", "resources: [a.yaml]"),
            ("kustomization.yml", "resources: ["),
            ("values.yaml", "tier: P2"),
            ("notes.txt", "["),
        ]);
        let texts = read(&folder, false);
        assert_eq!(kinds(&texts), (vec!["ServerProtection".into(), String::new()], 0));
        // A file that is named is meant to be applied.
        let texts = Texts::read(&[folder.path().join("values.yaml")], false);
        assert_eq!(kinds(&texts), (Vec::new(), 1));
        let texts = Texts::read(&[folder.path().join("kustomization.yaml")], false);
        assert_eq!(kinds(&texts), (Vec::new(), 1));
    }

    #[test]
    fn an_object_of_this_operator_without_kind_is_an_error_everywhere() {
        let folder = folder(&[("a.yaml", "apiVersion: serverprotection.dev/v1alpha1\n")]);
        assert_eq!(kinds(&read(&folder, false)), (Vec::new(), 1));
    }

    #[test]
    fn a_bad_file_does_not_hide_the_others() {
        let folder = folder(&[("a.yaml", "kind: ["), ("b.yaml", PROTECTION), ("c.yaml", "{")]);
        assert_eq!(kinds(&read(&folder, false)), (vec!["ServerProtection".into()], 2));
        let paths = [folder.path().join("missing.yaml"), folder.path().join("b.yaml")];
        let texts = Texts::read(&paths, false);
        assert_eq!((texts.read.len(), texts.failures.len()), (1, 1));
    }

    #[test]
    fn sub_folders_are_read_with_the_flag_and_named_without_it() {
        let folder = folder(&[
            ("a.yaml", PROTECTION),
            ("sub/b.yaml", PROTECTION),
            ("sub/deep/c.yml", PROTECTION),
        ]);
        let flat = read(&folder, false);
        assert_eq!(flat.read.len(), 1);
        let note = flat.note().unwrap();
        assert!(
            note.starts_with("1 sub-folder ") && note.ends_with("/sub"),
            "{note}"
        );
        let deep = read(&folder, true);
        assert_eq!((deep.read.len(), deep.note()), (3, None));
    }

    #[test]
    fn a_folder_with_sub_folders_only_names_the_flag() {
        let folder = folder(&[("sub/b.yaml", PROTECTION)]);
        let flat = read(&folder, false);
        assert!(flat.read.is_empty());
        assert!(
            flat.failures[0].action.as_ref().unwrap().contains("-R"),
            "{flat:?}"
        );
        assert!(read(&folder, true).failures.is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn a_symbolic_link_to_a_folder_is_named_and_not_followed() {
        let folder = folder(&[("a.yaml", PROTECTION)]);
        std::os::unix::fs::symlink(folder.path(), folder.path().join("loop")).unwrap();
        let deep = read(&folder, true);
        assert_eq!((deep.read.len(), deep.folders.len()), (1, 1));
        assert!(deep.note().unwrap().contains("symbolic link"));
    }
}
