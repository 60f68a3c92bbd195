//! URLs of Azure Resource Manager. Their segments come from specs, from status and from Azure's own lists, so each of them
//! is validated here, whatever was validated before, and percent-encoded.

use serverprotection_core::printable;
use url::Url;

/// The longest segment, in characters: names of resources have at most 260 characters.
const LONGEST: usize = 300;

/// Why a URL cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UrlError {
    /// A segment would change the path or be changed in it.
    #[error("\"{0}\" cannot be a part of a resource id")]
    Segment(String),
    /// The endpoint has no path to extend.
    #[error("the endpoint of Azure Resource Manager cannot have a path")]
    Endpoint,
}

/// Whether the text is safe as one segment of a path. A URL drops `.` and follows `..`, also with tabs and line breaks in
/// between, which it drops too; separators and `%` are never part of a name.
pub(crate) fn is_segment(text: &str) -> bool {
    let is_separator = |c: char| matches!(c, '/' | '\\' | '?' | '#' | '%');
    !text.is_empty()
        && text.chars().count() <= LONGEST
        && !text.trim_matches(['.', ' ']).is_empty()
        && !text.contains(|c: char| printable::is_unsafe(c) || is_separator(c))
}

/// The segments of a resource id. The first slash may be missing. `None` if a segment is not safe.
pub(crate) fn segments(id: &str) -> Option<Vec<&str>> {
    let parts: Vec<_> = id.strip_prefix('/').unwrap_or(id).split('/').collect();
    parts.iter().all(|part| is_segment(part)).then_some(parts)
}

/// The URL of a path below an endpoint.
///
/// # Errors
///
/// Fails if a segment is not safe in a path, or if the endpoint cannot have one.
pub(crate) fn url(endpoint: &Url, path: &[&str], query: &[(&str, &str)]) -> Result<Url, UrlError> {
    if let Some(part) = path.iter().find(|part| !is_segment(part)) {
        let shown: String = part.chars().take(LONGEST).collect();
        return Err(UrlError::Segment(printable::escaped(&shown).into_owned()));
    }
    let mut url = endpoint.clone();
    url.path_segments_mut()
        .map_err(|()| UrlError::Endpoint)?
        .pop_if_empty()
        .extend(path);
    url.query_pairs_mut().extend_pairs(query);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn endpoint() -> Url {
        "https://management.azure.com/".parse().unwrap()
    }

    #[test]
    fn names_are_encoded() {
        let path = ["subscriptions", "s", "resourceGroups", "Rg (1).é", "a+b&c", "..."];
        let built = url(
            &endpoint(),
            &path[..5],
            &[("api-version", "1"), ("$expand", "a b")],
        )
        .unwrap();
        assert_eq!(
            built.as_str(),
            "https://management.azure.com/subscriptions/s/resourceGroups/Rg%20(1).%C3%A9/a+b&c?api-version=1&%24expand=a+b"
        );
        assert!(url(&endpoint(), &path, &[]).is_err(), "only dots");
    }

    #[test]
    fn no_segment_leaves_the_path_in_any_spelling() {
        for part in [
            "",
            ".",
            "..",
            "...",
            ". .",
            ".\t.",
            "\t..",
            "..\n",
            ".\r.",
            "%2e%2e",
            "%2E.",
            ".%2e",
            "a/b",
            "a\\b",
            "..\\x",
            "a?b",
            "a#b",
            "a%2fb",
            "a\0b",
            "a\u{7f}b",
            "a\u{9b}b",
            "\u{202e}a",
            "a\u{2028}",
            "\u{feff}..",
        ] {
            assert!(!is_segment(part), "{part:?}");
            let refused = url(&endpoint(), &["subscriptions", part, "x"], &[]).unwrap_err();
            assert!(!refused.to_string().contains(printable::is_unsafe), "{refused}");
        }
        assert!(!is_segment(&"a".repeat(LONGEST + 1)));
        assert_eq!(segments("/a/b c"), Some(vec!["a", "b c"]));
        for id in ["", "/", "/a//b", "a/", "/a/../b", "//a", "/a/.\t./b"] {
            assert_eq!(segments(id), None, "{id:?}");
        }
    }

    /// Texts that are dangerous more often than chance makes them.
    fn part() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[.%2eEfF/\\\\\\t\\n\\r ?#a]{0,6}",
            "[-A-Za-z0-9_.() ]{1,20}",
        ]
    }

    proptest! {
        #[test]
        fn each_segment_arrives_as_it_is_or_not_at_all(path in prop::collection::vec(part(), 1..6)) {
            let path: Vec<_> = path.iter().map(String::as_str).collect();
            match url(&endpoint(), &path, &[("api-version", "2024-01-01")]) {
                Err(_) => prop_assert!(path.iter().any(|part| !is_segment(part))),
                Ok(built) => {
                    prop_assert_eq!(built.origin(), endpoint().origin());
                    prop_assert_eq!(built.query(), Some("api-version=2024-01-01"));
                    prop_assert_eq!(built.fragment(), None);
                    // Parsed again as a server would, and decoded, the path has the same segments.
                    let again: Url = built.as_str().parse().unwrap();
                    let decoded: Vec<_> = again.path_segments().unwrap().map(decoded).collect();
                    prop_assert_eq!(decoded, path);
                }
            }
        }
    }

    /// Undoes percent-encoding: a query without `+` is decoded in the same way.
    fn decoded(segment: &str) -> String {
        let query = segment
            .replace('+', "%2B")
            .replace('&', "%26")
            .replace('=', "%3D");
        let mut url = endpoint();
        url.set_query(Some(&query));
        let pair = url.query_pairs().next().map(|(key, _)| key.into_owned());
        pair.unwrap_or_default()
    }
}
