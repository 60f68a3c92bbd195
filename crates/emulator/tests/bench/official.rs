//! The official examples and recordings, and how to compare with them.

use std::{fs, path::PathBuf};

use serde_json::Value;

use super::Got;

pub(crate) fn examples() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/azure/specs/examples");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: {} is absent", folder.display());
    None
}

pub(crate) fn load(folder: &std::path::Path, name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(folder.join(name)).unwrap()).unwrap()
}

/// Every member of `expected` is in `got` with the same JSON type; ids, types, kinds and names are equal.
pub(crate) fn carries(got: &Value, expected: &Value, at: &str) -> Result<(), String> {
    match (got, expected) {
        (Value::Object(got), Value::Object(expected)) => {
            for (name, value) in expected {
                let at = format!("{at}/{name}");
                let mine = got.get(name).ok_or_else(|| format!("{at} is missing"))?;
                carries(mine, value, &at)?;
                let expected_text = matches!(
                    name.as_str(),
                    "id" | "type" | "kind" | "name" | "inherited" | "inheritedFrom"
                );
                let same =
                    mine.as_str().map(str::to_ascii_lowercase) == value.as_str().map(str::to_ascii_lowercase);
                if expected_text && !same {
                    return Err(format!("{at}: {mine} instead of {value}"));
                }
            }
            Ok(())
        }
        (Value::Array(got), Value::Array(expected)) => {
            expected.iter().enumerate().try_for_each(|(index, value)| {
                let named = value.get("name");
                let mine = got
                    .iter()
                    .find(|mine| named.is_some() && mine.get("name") == named)
                    .or_else(|| got.get(index).filter(|_| named.is_none()))
                    .ok_or_else(|| format!("{at}: no item like {value}"))?;
                carries(mine, value, &format!("{at}[{index}]"))
            })
        }
        _ if std::mem::discriminant(got) == std::mem::discriminant(expected) => Ok(()),
        _ => Err(format!("{at}: {got} has another type than {expected}")),
    }
}

#[track_caller]
pub(crate) fn like(got: &Got, statuses: &[u16], expected: &Value) {
    assert!(statuses.contains(&got.status), "{got:?}");
    carries(&got.body, expected, "").unwrap_or_else(|problem| panic!("{problem}\n{:#}", got.body));
}

pub(crate) fn text(example: &Value, parameter: &str) -> String {
    example["parameters"][parameter]
        .as_str()
        .unwrap_or_else(|| panic!("{parameter}"))
        .to_owned()
}
