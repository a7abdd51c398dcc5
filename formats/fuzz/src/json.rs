//! A second reader of JSON, on top of `serde_json`: as strict as `docs/protocol.md` says under `bad_json`, and with every number's own text.
//!
//! It is slow and it copies: it is what the product's reader is compared with.

use std::collections::BTreeSet;
use std::fmt;

use balcao_wire::limits::DEPTH_MAX;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// One JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    /// The number's own text.
    Number(String),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// A member of an object.
    pub(crate) fn member(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.iter().find(|(other, _)| other == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The text that this is.
    pub(crate) fn text(&self) -> Option<&str> {
        if let Json::Text(text) = self { Some(text) } else { None }
    }
}

/// Reads a line; `None` where it is `bad_json`.
pub(crate) fn read(line: &[u8]) -> Option<Json> {
    let text = std::str::from_utf8(line).ok()?;
    // The syntax alone first: numbers of any size.
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let (numbered, numbers) = take_numbers(text);
    let mut reader = serde_json::Deserializer::from_str(&numbered);
    let value = Seed { numbers: &numbers, depth: 0 }.deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    Some(value)
}

/// A JSON text with each number replaced by its place in the list that is returned beside it.
fn take_numbers(text: &str) -> (String, Vec<&str>) {
    let (mut out, mut numbers) = (String::with_capacity(text.len()), Vec::new());
    let mut rest = text;
    let mut in_text = false;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => {
                in_text = !in_text;
                1
            }
            '\\' if in_text => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            '-' | '0'..='9' if !in_text => {
                let end = rest.find(|c: char| !"+-.0123456789eE".contains(c)).unwrap_or(rest.len());
                out.push_str(&numbers.len().to_string());
                numbers.push(&rest[..end]);
                rest = &rest[end..];
                continue;
            }
            other => other.len_utf8(),
        };
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    (out, numbers)
}

/// Reads a value that stands inside `depth` arrays and objects.
#[derive(Clone, Copy)]
struct Seed<'n> {
    numbers: &'n [&'n str],
    depth: usize,
}

impl Seed<'_> {
    fn enter<E: Error>(self) -> Result<Self, E> {
        if self.depth == DEPTH_MAX { Err(E::custom("too deep")) } else { Ok(Self { depth: self.depth + 1, ..self }) }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E: Error>(self, place: u64) -> Result<Json, E> {
        Ok(Json::Number(self.numbers[place as usize].to_owned()))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let inner = self.enter()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let inner = self.enter()?;
        let (mut object, mut seen) = (Vec::new(), BTreeSet::new());
        while let Some(name) = members.next_key::<String>()? {
            if !seen.insert(name.clone()) {
                return Err(A::Error::custom("a member twice"));
            }
            object.push((name, members.next_value_seed(inner)?));
        }
        Ok(Json::Object(object))
    }
}
