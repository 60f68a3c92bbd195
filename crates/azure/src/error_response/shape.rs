//! The error in a body of any known shape (docs/azure-api.md 8.3): the innermost text where the outer one is empty.

use serde_json::{Map, Value};

use super::one_line;
use crate::body;

/// Bodies of gateways and proxies are read up to here.
const LONGEST_PAGE: usize = 64 * 1024;
/// How deep errors are nested at most.
const DEEPEST: u32 = 6;
/// The text of an error page that is shown.
const LONGEST_SENTENCE: usize = 200;

/// Longer codes are not codes: as the reason of a condition or event, the API server would refuse them.
const LONGEST_CODE: usize = 100;

/// The message of Resource Graph starts like this; the cause is in the details (docs/azure-api.md 7.2).
const BOILERPLATE: &str = "Please provide below info when asking for support";

/// What a body says about an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reported {
    pub(crate) code: Option<String>,
    pub(crate) message: Option<String>,
    /// The body has a shape that Azure or Entra uses. Otherwise a gateway or a proxy may have sent it.
    pub(crate) is_known_shape: bool,
}

/// The JSON of a body; the text of one that is not JSON; null for an empty one.
pub(crate) fn parsed(bytes: &[u8]) -> Value {
    let bytes = body::without_byte_order_mark(bytes);
    serde_json::from_slice(bytes).unwrap_or_else(|_| {
        let page = bytes.get(..LONGEST_PAGE).unwrap_or(bytes);
        match String::from_utf8_lossy(page).trim() {
            "" => Value::Null,
            text => text.into(),
        }
    })
}

/// Reads the error in a body.
pub(crate) fn reported(body: &Value) -> Reported {
    match body {
        Value::String(text) => Reported {
            message: some(sentence(text)),
            ..Reported::default()
        },
        Value::Array(items) => items.first().map(reported).unwrap_or_default(),
        Value::Object(members) => of_object(members),
        _ => Reported::default(),
    }
}

fn of_object(members: &Map<String, Value>) -> Reported {
    // OAuth: `{"error": "invalid_client", "error_description": "…"}`.
    if let (Some(code), Some(description)) = (text(members, "error"), text(members, "error_description")) {
        return Reported {
            code: some(code.to_owned()).filter(|code| code.len() <= LONGEST_CODE),
            message: some(one_line(description)),
            is_known_shape: true,
        };
    }
    let envelope = ["error", "odata.error"]
        .into_iter()
        .find_map(|name| member(members, name)?.as_object());
    let (code, message) = innermost(envelope.unwrap_or(members), 0);
    // A number is no code that a program can use, but only Azure has it in this place.
    let has_number = envelope.is_some_and(|error| member(error, "code").is_some_and(Value::is_number));
    Reported {
        is_known_shape: message.is_some() || (envelope.is_some() && code.is_some()) || has_number,
        code,
        message: message.map(|message| one_line(&message)),
    }
}

/// Code and message of an error, from the errors inside it where it has none of its own.
fn innermost(error: &Map<String, Value>, depth: u32) -> (Option<String>, Option<String>) {
    if depth > DEEPEST {
        return (None, None);
    }
    let own = ["message", "errorMessage", "detail", "title"]
        .into_iter()
        .find_map(|name| words(member(error, name)?));
    let code = ["code", "errorCode"]
        .into_iter()
        .find_map(|name| text(error, name))
        .filter(|code| code.len() <= LONGEST_CODE);
    // `{"message": "{\"error\": {…}}"}`
    let nested = own.filter(|words| words.trim_start().starts_with('{'));
    if let Some(Value::Object(inner)) = nested.and_then(|words| serde_json::from_str(words).ok()) {
        let inner = of_object(&inner);
        if inner.is_known_shape {
            return (inner.code.or_else(|| code.map(str::to_owned)), inner.message);
        }
    }
    let is_boilerplate = own.is_some_and(|words| words.starts_with(BOILERPLATE));
    if let (Some(own), false) = (own, is_boilerplate) {
        let code = code.map(str::to_owned);
        return (code.or_else(|| inside(error, depth).0), Some(own.to_owned()));
    }
    let (inner_code, inner_message) = inside(error, depth);
    let code = if is_boilerplate {
        inner_code.or_else(|| code.map(str::to_owned))
    } else {
        code.map(str::to_owned).or(inner_code)
    };
    (code, inner_message.or_else(|| own.map(str::to_owned)))
}

/// The errors inside an error: the code of the first one, and the messages of all.
fn inside(error: &Map<String, Value>, depth: u32) -> (Option<String>, Option<String>) {
    let mut code = None;
    let mut messages = Vec::new();
    for name in ["details", "errors"] {
        match member(error, name) {
            Some(Value::Array(list)) => {
                for inner in list.iter().filter_map(Value::as_object) {
                    let (inner_code, message) = innermost(inner, depth.saturating_add(1));
                    code = code.or(inner_code);
                    messages.extend(message);
                }
            }
            // `{"errors": {"$.properties": ["…"]}}` of RFC 9457.
            Some(Value::Object(fields)) => {
                let lists = fields.values().filter_map(Value::as_array).flatten();
                messages.extend(lists.filter_map(Value::as_str).map(str::to_owned));
            }
            _ => {}
        }
    }
    if let (true, Some(Value::Object(inner))) = (messages.is_empty(), member(error, "innererror")) {
        let (inner_code, message) = innermost(inner, depth.saturating_add(1));
        code = code.or(inner_code);
        messages.extend(message);
    }
    (code, some(messages.join(" ")))
}

/// A member, whatever its capitals: `message`, `Message`.
pub(super) fn member<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    members.get(name).or_else(|| {
        let mut all = members.iter();
        all.find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    })
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    words(member(members, name)?)
}

/// A text, or the text in `{"lang", "value"}`; `None` for an empty one.
fn words(value: &Value) -> Option<&str> {
    let text = value.as_str().or_else(|| value.get("value")?.as_str())?;
    (!text.trim().is_empty()).then_some(text)
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// A text, or the words of a page of HTML.
pub(crate) fn sentence(text: &str) -> String {
    if !text.trim_start().starts_with('<') {
        return one_line(text);
    }
    let mut pieces: Vec<String> = Vec::new();
    for piece in texts(text) {
        let piece = one_line(&unescaped(piece));
        if !piece.is_empty() && !pieces.iter().any(|known| known.contains(&piece)) {
            pieces.push(piece);
        }
    }
    let mut shown = String::new();
    for word in pieces.join(" ").split_inclusive(' ') {
        if shown.len() + word.len() > LONGEST_SENTENCE {
            shown.truncate(shown.trim_end().len());
            shown.push('…');
            return shown;
        }
        shown.push_str(word);
    }
    shown
}

/// The texts of a page, without tags, comments, styles and scripts.
fn texts(page: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = page;
    while let Some((before, tag)) = rest.split_once('<') {
        found.push(before);
        rest = if let Some(comment) = tag.strip_prefix("!--") {
            comment.split_once("-->").map_or("", |(_, after)| after)
        } else {
            let after = tag.split_once('>').map_or("", |(_, after)| after);
            let starts_with = |name: &str| {
                let start = tag.get(..name.len());
                start.is_some_and(|start| start.eq_ignore_ascii_case(name))
            };
            if starts_with("style") || starts_with("script") {
                // No text of these contains the start of an end tag of its own.
                after_end_tag(after)
            } else {
                after
            }
        };
    }
    found.push(rest);
    found
}

/// The page from the next end tag of a style or script on.
fn after_end_tag(page: &str) -> &str {
    let mut rest = page;
    while let Some((_, tag)) = rest.split_once("</") {
        let is_end = ["style", "script"].into_iter().any(|name| {
            let start = tag.get(..name.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(name))
        });
        let after = tag.split_once('>').map_or("", |(_, after)| after);
        if is_end {
            return after;
        }
        rest = tag;
    }
    ""
}

/// The characters behind the entities that error pages use.
fn unescaped(text: &str) -> String {
    [
        ("&nbsp;", " "),
        ("&#39;", "'"),
        ("&apos;", "'"),
        ("&quot;", "\""),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&amp;", "&"),
    ]
    .into_iter()
    .fold(text.to_owned(), |text, (entity, letter)| {
        text.replace(entity, letter)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(body: &Value) -> (Option<String>, Option<String>, bool) {
        let Reported {
            code,
            message,
            is_known_shape,
        } = reported(body);
        (code, message, is_known_shape)
    }

    #[test]
    fn every_known_shape_is_read() {
        for (body, code, message) in [
            (
                json!({"error": {"code": "A", "message": "m"}}),
                Some("A"),
                Some("m"),
            ),
            (
                json!({"Error": {"Code": "A", "Message": "m"}}),
                Some("A"),
                Some("m"),
            ),
            // hashicorp/terraform-provider-azurerm issue 6796
            (json!({"Code": "A", "Message": "m"}), Some("A"), Some("m")),
            (
                json!({"Message": "The resource does not support this."}),
                None,
                Some("The resource does not support this."),
            ),
            // Azure/azure-powershell issue 5460
            (
                json!({"error": {"code": "A", "message": "", "details": [{"code": "B", "message": "inner"}, {"message": "other"}]}}),
                Some("A"),
                Some("inner other"),
            ),
            (
                json!({"error": {"code": "A", "message": null, "innererror": {"code": "B", "innererror": {"message": "deep"}}}}),
                Some("A"),
                Some("deep"),
            ),
            (
                json!({"Error": {"Details": [{"Code": "B", "Message": "inner"}]}}),
                Some("B"),
                Some("inner"),
            ),
            (
                json!({"error": {"code": "A", "message": "{\"error\": {\"code\": \"B\", \"message\": \"text in a text\"}}"}}),
                Some("B"),
                Some("text in a text"),
            ),
            (
                json!({"odata.error": {"code": "A", "message": {"lang": "en-US", "value": "m"}}}),
                Some("A"),
                Some("m"),
            ),
            (
                json!({"type": "https://tools.ietf.org/html/rfc9110", "title": "One or more errors.", "status": 400}),
                None,
                Some("One or more errors."),
            ),
            (
                json!({"errors": {"$.properties": ["The value is invalid."]}, "status": 400}),
                None,
                Some("The value is invalid."),
            ),
            (
                json!({"error": "invalid_client", "error_description": "AADSTS7000215: no\r\nTrace"}),
                Some("invalid_client"),
                Some("AADSTS7000215: no Trace"),
            ),
            (json!({"error": {"code": "A"}}), Some("A"), None),
            (
                json!({"error": {"code": 403, "message": {"lang": "en"}}}),
                None,
                None,
            ),
            (
                json!([{"error": {"code": "A", "message": "m"}}]),
                Some("A"),
                Some("m"),
            ),
        ] {
            let expected = (code.map(str::to_owned), message.map(str::to_owned), true);
            assert_eq!(read(&body), expected, "{body}");
        }
        let long = json!({"error": {"code": "A".repeat(LONGEST_CODE + 1), "message": "m"}});
        assert_eq!(read(&long), (None, Some("m".to_owned()), true));
        let endless = (0..50).fold(
            json!({"message": "deep"}),
            |inner, _| json!({"innererror": inner}),
        );
        assert_eq!(read(&endless), (None, None, false));
    }

    #[test]
    fn what_azure_does_not_send_is_recognized() {
        for body in [
            json!("<html><body>Blocked</body></html>"),
            json!("forbidden"),
            json!({"error": "forbidden"}),
            json!({"blocked": true, "code": 7}),
            json!({}),
            json!([]),
            json!(5),
            Value::Null,
        ] {
            assert!(!reported(&body).is_known_shape, "{body}");
        }
        assert_eq!(parsed(b"\xef\xbb\xbf \r\n"), Value::Null);
        assert_eq!(parsed(b"\xef\xbb\xbf{}"), json!({}));
        assert_eq!(parsed(b" no \xff "), json!("no \u{fffd}"));
    }

    #[test]
    fn a_page_is_shown_as_its_words() {
        // Azure Front Door (OneDrive/onedrive-api-docs issue 697), shortened.
        let front_door = "<!DOCTYPE html><html><head><meta charset=\"utf-8\"/><title>Service unavailable</title>\
            <STYLE type=\"text/css\">a>b{color:#00f;content:'</b>'}</STYLE ><!-- <p>no</p> --></head>\
            <body onload=\"a()\"><script>if (a < b) { c('</p>'); }</script><h2>Our services aren&#39;t available right now</h2>\
            <p>We&apos;re working to restore all services.&nbsp;Please check back soon.</p>0abc</body></html>";
        assert_eq!(
            sentence(front_door),
            "Service unavailable Our services aren't available right now We're working to restore all services. Please check back soon. 0abc"
        );
        let nginx = "<html>\r\n<head><title>403 Forbidden</title></head><body><h1>403 Forbidden</h1><hr>nginx</body></html>";
        assert_eq!(sentence(nginx), "403 Forbidden nginx");
        let long = sentence(&format!("<p>{}</p>", "word ".repeat(500)));
        assert!(
            long.ends_with("word…") && long.len() <= LONGEST_SENTENCE + '…'.len_utf8(),
            "{long}"
        );
        for unfinished in ["<style>a{", "<!-- x", "<p", "<script>x</p>"] {
            assert_eq!(sentence(unfinished), "", "{unfinished}");
        }
    }

    proptest! {
        #[test]
        fn no_page_panics_or_is_longer_than_a_sentence(page in "<(\\PC|</?style>|</script >|<!--|-->|&nbsp;| ){0,200}") {
            prop_assert!(sentence(&page).len() <= LONGEST_SENTENCE + '…'.len_utf8());
        }
    }
}
