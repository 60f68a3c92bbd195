//! The text files of the repository.

use std::{fs, path::Path};

/// A text file.
#[derive(Debug)]
pub(super) struct Source {
    /// Relative to the root, with `/`.
    pub(super) path: String,
    pub(super) text: String,
}

impl Source {
    /// Whether the file name has this extension.
    pub(super) fn is(&self, extension: &str) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|found| found == extension)
    }
}

/// Folders with text files written by people; tools generate everything else.
const FOLDERS: [&str; 5] = ["charts", "crates", "deploy", "docs", "tests"];
const EXTENSIONS: [&str; 7] = ["rs", "md", "toml", "yaml", "sh", "go", "py"];

/// All text files, sorted by path.
pub(super) fn read(root: &Path) -> Result<Vec<Source>, String> {
    let mut sources = Vec::new();
    for entry in entries(root)? {
        let name = entry.as_str();
        if root.join(name).is_file() && (name == "Makefile" || is_text(name)) {
            sources.push(source(root, name)?);
        }
    }
    for folder in FOLDERS {
        walk(root, folder, &mut sources)?;
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(sources)
}

fn walk(root: &Path, folder: &str, sources: &mut Vec<Source>) -> Result<(), String> {
    for name in entries(&root.join(folder))? {
        let path = format!("{folder}/{name}");
        if root.join(&path).is_dir() {
            walk(root, &path, sources)?;
        } else if is_text(&name) {
            sources.push(source(root, &path)?);
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<String>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let all = fs::read_dir(folder).map_err(failed)?;
    all.map(|entry| Ok(entry.map_err(failed)?.file_name().to_string_lossy().into_owned()))
        .collect()
}

fn is_text(name: &str) -> bool {
    let extension = Path::new(name)
        .extension()
        .and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension))
}

fn source(root: &Path, path: &str) -> Result<Source, String> {
    let text = fs::read_to_string(root.join(path)).map_err(|error| format!("{path}: {error}"))?;
    let path = path.to_owned();
    Ok(Source { path, text })
}
