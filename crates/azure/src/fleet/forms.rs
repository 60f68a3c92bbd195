//! Objects and lists in all forms in which Azure sends them. An absent one may be no member, `null`, `""`, `[]` or
//! `{}`. JSON inside a string is parsed. Any other form is an error, because its meaning would be lost.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeOwned, Error, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
        value::{MapAccessDeserializer, StrDeserializer},
    },
};
use serde_json::value::RawValue;

use crate::bounded::{BoundedMap, MOST_INNER, push_all};

/// An object; `None` if it is absent.
pub(super) fn optional<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    deserializer.deserialize_any(ObjectForms(PhantomData))
}

/// An object; the default if it is absent.
pub(super) fn object<'de, D: Deserializer<'de>, T: Default + DeserializeOwned>(
    deserializer: D,
) -> Result<T, D::Error> {
    optional(deserializer).map(Option::unwrap_or_default)
}

/// A list; `None` if it is absent, but not for `[]`. A single item instead of a list is a list of one item.
pub(super) fn optional_list<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    deserializer.deserialize_any(ListForms(PhantomData))
}

/// A list; empty if it is absent.
pub(super) fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    optional_list(deserializer).map(Option::unwrap_or_default)
}

struct ObjectForms<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for ObjectForms<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<T>, E> {
        match text.trim() {
            "" | "null" | "[]" | "{}" => Ok(None),
            text if text.starts_with('{') => serde_json::from_str(text).map(Some).map_err(E::custom),
            text => Err(E::invalid_type(Unexpected::Str(text), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Option<T>, A::Error> {
        match list.next_element::<IgnoredAny>()? {
            None => Ok(None),
            Some(_) => Err(A::Error::invalid_type(Unexpected::Seq, &self)),
        }
    }
}

struct ListForms<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for ListForms<T> {
    type Value = Option<Vec<T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        match text.trim() {
            "" | "null" => Ok(None),
            text if text.starts_with(['[', '{']) => {
                let mut json = serde_json::Deserializer::from_str(text);
                let items = optional_list(&mut json).map_err(E::custom)?;
                json.end().map_err(E::custom)?;
                Ok(items)
            }
            text => {
                let item: StrDeserializer<'_, E> = text.into_deserializer();
                T::deserialize(item).map(|item| Some(vec![item]))
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        // As text, because as values it would take much more memory.
        let BoundedMap(item) = BoundedMap::<Box<RawValue>>::deserialize(MapAccessDeserializer::new(map))?;
        if item.is_empty() {
            return Ok(None);
        }
        let item = serde_json::to_string(&item).map_err(A::Error::custom)?;
        let item = serde_json::from_str(&item).map_err(A::Error::custom)?;
        Ok(Some(vec![item]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        let items: Vec<Option<T>> = push_all(list, MOST_INNER)?;
        // Items that are null are skipped.
        Ok(Some(items.into_iter().flatten().collect()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default)]
    struct Forms {
        #[serde(deserialize_with = "object")]
        tags: BTreeMap<String, String>,
        #[serde(deserialize_with = "list")]
        names: Vec<String>,
        #[serde(deserialize_with = "optional")]
        inner: Option<BTreeMap<String, String>>,
        #[serde(deserialize_with = "optional_list")]
        items: Option<Vec<String>>,
        after: String,
    }

    fn read(member: &str, value: &str) -> Result<Forms, serde_json::Error> {
        serde_json::from_str(&format!(r#"{{"{member}": {value}, "after": "x"}}"#))
    }

    #[test]
    fn every_absent_form_is_absent() {
        for nothing in [
            "null",
            r#""""#,
            r#"" ""#,
            "[]",
            "{}",
            r#""null""#,
            r#""[]""#,
            r#""{}""#,
        ] {
            for member in ["tags", "names", "inner", "items", "other"] {
                let forms = read(member, nothing).unwrap();
                assert!(
                    forms.tags.is_empty() && forms.names.is_empty(),
                    "{member} {nothing}"
                );
                assert!(forms.inner.unwrap_or_default().is_empty(), "{member} {nothing}");
                assert!(forms.items.unwrap_or_default().is_empty(), "{member} {nothing}");
                assert_eq!(forms.after, "x", "{member} {nothing}");
            }
        }
    }

    #[test]
    fn other_forms_are_read_or_refused() {
        let tags = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        for form in [r#"{"a": "b"}"#, r#""{\"a\": \"b\"}""#] {
            assert_eq!(read("tags", form).unwrap().tags, tags, "{form}");
        }
        for (form, names) in [
            (r#"["a", null, "b"]"#, vec!["a", "b"]),
            (r#""[\"a\"]""#, vec!["a"]),
            (r#""a""#, vec!["a"]),
        ] {
            assert_eq!(read("names", form).unwrap().names, names, "{form}");
        }
        for (member, form) in [
            ("tags", r#""owner""#),
            ("tags", r#"["a"]"#),
            ("tags", "5"),
            ("tags", "false"),
            ("tags", r#""{\"a\"""#),
            ("names", "5"),
            ("names", r#"{"a": "b"}"#),
            ("names", r#""[\"a\"""#),
            ("names", r#""[] []""#),
        ] {
            assert!(read(member, form).is_err(), "{member} {form}");
        }
        let many = format!("[{}]", vec![r#""a""#; MOST_INNER + 1].join(","));
        assert!(read("names", &many).is_err() && read("items", &many).is_err());
    }
}
