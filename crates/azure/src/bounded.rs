//! Lists and maps with a maximum number of items: a small body can contain millions of them, each of which takes more
//! memory than its text.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error, MapAccess, SeqAccess, Visitor},
};

/// Items of one page of a list.
pub(crate) const MOST_ITEMS: usize = 10_000;
/// Rows of one page of Resource Graph, which returns no more.
pub(crate) const MOST_ROWS: usize = 1000;
/// Items of a list or members of a map within an item. A resource of Azure has 50 tags at most.
pub(crate) const MOST_INNER: usize = 100;

/// A list of at most `MOST` items.
#[derive(Debug)]
pub(crate) struct Bounded<T, const MOST: usize>(pub(crate) Vec<T>);

/// A map of at most [`MOST_INNER`] members.
#[derive(Debug)]
pub(crate) struct BoundedMap<T>(pub(crate) BTreeMap<String, T>);

impl<T> Default for BoundedMap<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

/// Adds the items of a sequence that `T` accepts.
pub(crate) fn push_all<'de, A: SeqAccess<'de>, T: Deserialize<'de>>(
    mut list: A,
    most: usize,
) -> Result<Vec<T>, A::Error> {
    let mut items = Vec::new();
    while let Some(item) = list.next_element()? {
        if items.len() >= most {
            return Err(too_many(most));
        }
        items.push(item);
    }
    Ok(items)
}

fn too_many<E: Error>(most: usize) -> E {
    E::custom(format_args!("more than {most} items"))
}

impl<'de, T: DeserializeOwned, const MOST: usize> Deserialize<'de> for Bounded<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T, const MOST: usize>(PhantomData<T>);
        impl<'de, T: DeserializeOwned, const MOST: usize> Visitor<'de> for Items<T, MOST> {
            type Value = Vec<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<T>, A::Error> {
                push_all(list, MOST)
            }
        }
        deserializer
            .deserialize_seq(Items::<T, MOST>(PhantomData))
            .map(Self)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for BoundedMap<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);
        impl<'de, T: DeserializeOwned> Visitor<'de> for Members<T> {
            type Value = BTreeMap<String, T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry()? {
                    if members.len() >= MOST_INNER {
                        return Err(too_many(MOST_INNER));
                    }
                    members.insert(name, value);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Members(PhantomData)).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_items_than_allowed_are_an_error() {
        let list = |count: usize| format!("[{}]", vec!["0"; count].join(","));
        let read = |text: &str| serde_json::from_str::<Bounded<u8, MOST_ROWS>>(text);
        assert_eq!(read(&list(MOST_ROWS)).unwrap().0.len(), MOST_ROWS);
        let error = read(&list(MOST_ROWS + 1)).unwrap_err().to_string();
        assert!(error.contains("more than 1000 items"), "{error}");
        assert!(read("{}").unwrap_err().to_string().contains("expected a list"));
        let map = |count: usize| {
            let members: Vec<_> = (0..count).map(|at| format!("\"{at}\":{at}")).collect();
            serde_json::from_str::<BoundedMap<usize>>(&format!("{{{}}}", members.join(",")))
        };
        assert_eq!(map(MOST_INNER).unwrap().0.len(), MOST_INNER);
        assert!(map(MOST_INNER + 1).is_err());
    }
}
