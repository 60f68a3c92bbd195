//! Members of the body of a response. The form may vary: a boolean may be a string, an absent list or map may be null
//! or "". The meaning may not: a body without a mandatory member is unreadable, never "empty" or "off".

use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};
use serverprotection_core::azure_error::{AzureError, ErrorClass};

use crate::error_response::one_line_of;

/// Larger errors are not read.
const LARGEST_ERROR: usize = 1024 * 1024;

/// Characters of a name in a message.
const LONGEST_NAME: usize = 64;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A successful response that cannot be used. A later one may be complete.
pub(crate) fn unreadable(operation: &str, message: String) -> AzureError {
    AzureError {
        class: ErrorClass::Transient,
        code: "UnreadableAnswer".into(),
        message,
        operation: operation.to_owned(),
        request_id: None,
        effect_unknown: false,
    }
}

/// The JSON without the byte order mark that some gateways add.
pub(crate) fn without_byte_order_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}

/// The error in the body of a successful response: `{"error": {...}}`. Only the error is parsed; one that is too large
/// to be read is an error without content.
pub(crate) fn error_in(bytes: &[u8]) -> Option<Value> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow, alias = "Error")]
        error: Option<&'a RawValue>,
    }
    // A derived struct would also accept a list of its members.
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    let envelope: Envelope<'_> = serde_json::from_slice(bytes).ok()?;
    let error = envelope.error?.get();
    if !error.starts_with('{') {
        return None;
    }
    let error = if error.len() <= LARGEST_ERROR { error } else { "{}" };
    serde_json::from_str(error).ok()
}

/// A mandatory text, at a JSON pointer.
pub(crate) fn text<'a>(operation: &str, body: &'a Value, pointer: &str) -> Result<&'a str, AzureError> {
    optional_text(operation, body, pointer)?.ok_or_else(|| missing(operation, pointer))
}

/// A text that may be absent, null or empty. Any other value is unreadable.
pub(crate) fn optional_text<'a>(
    operation: &str,
    body: &'a Value,
    pointer: &str,
) -> Result<Option<&'a str>, AzureError> {
    match body.pointer(pointer) {
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
        found if is_absent(found) => Ok(None),
        _ => Err(of_another_form(operation, pointer, "a text")),
    }
}

/// A text that is only shown, and is absent in any other form.
pub(crate) fn shown_text<'a>(body: &'a Value, pointer: &str) -> Option<&'a str> {
    optional_text("", body, pointer).ok().flatten()
}

/// Whether an item has this name, compared without case.
pub(crate) fn is_named(operation: &str, item: &Value, name: &str) -> Result<bool, AzureError> {
    let found = optional_text(operation, item, "/name")?;
    Ok(found.is_some_and(|found| found.eq_ignore_ascii_case(name)))
}

/// A mandatory boolean: `true`, `"True"` or `"true"`.
pub(crate) fn boolean(operation: &str, body: &Value, pointer: &str) -> Result<bool, AzureError> {
    optional_boolean(operation, body, pointer)?.ok_or_else(|| missing(operation, pointer))
}

/// A boolean that may be absent or null. Any other value that is not a boolean is unreadable.
pub(crate) fn optional_boolean(
    operation: &str,
    body: &Value,
    pointer: &str,
) -> Result<Option<bool>, AzureError> {
    match body.pointer(pointer) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(on)) => Ok(Some(*on)),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
        Some(_) => Err(of_another_form(operation, pointer, "true or false")),
    }
}

/// A mandatory list, which may be empty.
pub(crate) fn mandatory_list<'a>(
    operation: &str,
    body: &'a Value,
    pointer: &str,
) -> Result<&'a [Value], AzureError> {
    match body.pointer(pointer) {
        Some(Value::Array(list)) => Ok(list),
        None => Err(missing(operation, pointer)),
        Some(_) => Err(of_another_form(operation, pointer, "a list")),
    }
}

/// A list that may be absent, null or "".
pub(crate) fn list<'a>(operation: &str, body: &'a Value, pointer: &str) -> Result<&'a [Value], AzureError> {
    match body.pointer(pointer) {
        Some(Value::Array(list)) => Ok(list),
        found if is_absent(found) => Ok(&[]),
        _ => Err(of_another_form(operation, pointer, "a list")),
    }
}

/// A map that may be absent, null or "".
pub(crate) fn map(operation: &str, body: &Value, pointer: &str) -> Result<Map<String, Value>, AzureError> {
    match body.pointer(pointer) {
        Some(Value::Object(map)) => Ok(map.clone()),
        found if is_absent(found) => Ok(Map::new()),
        _ => Err(of_another_form(operation, pointer, "a map")),
    }
}

fn is_absent(found: Option<&Value>) -> bool {
    match found {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(_) => false,
    }
}

fn missing(operation: &str, pointer: &str) -> AzureError {
    unreadable(operation, format!("Azure's response has no {}", path(pointer)))
}

fn of_another_form(operation: &str, pointer: &str, form: &str) -> AzureError {
    unreadable(
        operation,
        format!("{} in Azure's response is not {form}", path(pointer)),
    )
}

/// The same thing is in a response twice, with different values.
pub(crate) fn contradiction(operation: &str, name: &str) -> AzureError {
    let name = one_line_of(name, LONGEST_NAME);
    unreadable(
        operation,
        format!("Azure's response contains {name} twice, with different values"),
    )
}

/// `/properties/enabled` to `properties.enabled`.
fn path(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}

/// The JSON in a text that may be absent or empty; `None` if it is not JSON.
pub(crate) fn inner_json(found: &Value) -> Option<Value> {
    match found {
        Value::String(text) if text.trim().is_empty() => Some(Value::Null),
        Value::String(text) => serde_json::from_str(text).ok(),
        other => Some(other.clone()),
    }
}

/// The member of this name, compared without case.
pub(crate) fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let found = object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn mandatory_members_are_read_in_every_form_and_missing_ones_are_unreadable() {
        let body = json!({"properties": {"on": true, "text": "True", "off": "FALSE", "odd": "maybe", "null": null, "empty": ""}});
        let read = |name: &str| boolean("GET x", &body, &format!("/properties/{name}"));
        assert_eq!(
            (read("on"), read("text"), read("off")),
            (Ok(true), Ok(true), Ok(false))
        );
        for name in ["odd", "empty", "null", "absent"] {
            let failure = read(name).unwrap_err();
            assert_eq!(
                (failure.class, failure.code.as_str()),
                (ErrorClass::Transient, "UnreadableAnswer")
            );
            assert!(
                failure.message.contains(&format!("properties.{name}")),
                "{}",
                failure.message
            );
        }
        assert_eq!(text("GET x", &body, "/properties/text"), Ok("True"));
        assert!(text("GET x", &body, "/properties/empty").is_err());
        assert!(text("GET x", &body, "/properties/on").is_err());
    }

    #[test]
    fn only_null_and_an_empty_text_are_an_absent_text() {
        for absent in [json!({}), json!({"m": null}), json!({"m": ""})] {
            assert_eq!(optional_text("GET x", &absent, "/m"), Ok(None), "{absent}");
        }
        for odd in [
            json!({"m": 1}),
            json!({"m": ["P1"]}),
            json!({"m": {}}),
            json!({"m": false}),
        ] {
            let failure = optional_text("GET x", &odd, "/m").unwrap_err();
            assert_eq!(failure.code, "UnreadableAnswer", "{odd}");
            assert_eq!(shown_text(&odd, "/m"), None, "{odd}");
        }
    }

    #[test]
    fn absent_lists_and_maps_have_several_forms_and_others_are_unreadable() {
        for absent in [json!({}), json!({"m": null}), json!({"m": ""})] {
            assert_eq!(list("GET x", &absent, "/m").unwrap().len(), 0, "{absent}");
            assert_eq!(map("GET x", &absent, "/m").unwrap().len(), 0, "{absent}");
        }
        for odd in [json!({"m": "x"}), json!({"m": 1}), json!({"m": true})] {
            assert!(list("GET x", &odd, "/m").is_err(), "{odd}");
            assert!(map("GET x", &odd, "/m").is_err(), "{odd}");
        }
        for odd in [json!({}), json!({"m": null}), json!({"m": ""}), json!({"m": {}})] {
            assert!(mandatory_list("GET x", &odd, "/m").is_err(), "{odd}");
        }
        assert!(mandatory_list("GET x", &json!({"m": []}), "/m").is_ok());
        assert!(list("GET x", &json!({"m": {}}), "/m").is_err());
        assert!(map("GET x", &json!({"m": []}), "/m").is_err());
    }

    #[test]
    fn an_error_is_found_at_the_top_of_a_body_only() {
        let found = |text: &str| error_in(text.as_bytes());
        assert_eq!(found(r#"{"error": {"code": "X"}}"#), Some(json!({"code": "X"})));
        assert_eq!(
            found(r#"{"Error": {"Code": "X"}, "value": []}"#),
            Some(json!({"Code": "X"}))
        );
        for whole in [
            "",
            "[]",
            r#"{"error": null, "value": []}"#,
            r#"{"properties": {"error": {"code": "X"}}}"#,
        ] {
            assert_eq!(found(whole), None, "{whole}");
        }
        assert_eq!(without_byte_order_mark(b"\xef\xbb\xbf{}"), b"{}");
        // Of any size.
        let long = |size: usize| format!(r#"{{"data": [], "error": {{"code": "{}"}}}}"#, "X".repeat(size));
        assert_eq!(found(&long(70_000)), Some(json!({"code": "X".repeat(70_000)})));
        assert_eq!(found(&long(LARGEST_ERROR)), Some(json!({})));
        assert_eq!(found(r#"[{"code": "X"}]"#), None);
    }
}
