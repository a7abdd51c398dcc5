//! `Answers`: the rows of a reply, or of every reply of a batch, cell after cell in buffers that are used again.
//!
//! For whoever passes rows on and needs no map for each of them. Every row must have the columns that `hello` told, in their order.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::error::Refusal;

/// Bytes of cells for which room is kept from one reply to the next: many times a usual reply. What a large one took is given back.
const KEPT_BYTES: usize = 4 << 20;

/// Answers that were read together: one for a lookup, one for each item of a batch.
#[derive(Debug)]
pub struct Answers {
    columns: Vec<String>,
    items: Vec<Answer>,
    cells: Store,
    /// A row had other columns.
    has_other_columns: bool,
}

/// All cells as one text, and where each ends.
#[derive(Debug, Default)]
struct Store {
    text: String,
    ends: Vec<u32>,
    distances: Vec<u8>,
}

/// What a reply says beside its rows, which [`Answers::rows`] gives.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Answer {
    /// The error, where it is one; its `line` is empty.
    pub refusal: Option<Refusal>,
    /// Rows of all pages, where the server counted them.
    pub total: Option<u64>,
    /// Rows that there are at least, where it did not.
    pub total_at_least: Option<u64>,
    /// The cursor of the following page; none at the end.
    pub next: Option<String>,
    /// Whether the check digits of the CPF asked for do not hold.
    pub has_wrong_check_digits: bool,
    /// Whether the page is short because the work for it was bounded.
    pub is_bounded: bool,
    rows: Option<Range<usize>>,
    distances: Option<Range<usize>>,
}

impl Answer {
    /// How many rows this page has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.as_ref().map_or(0, ExactSizeIterator::len)
    }

    /// Whether this page has no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The cells of one row: a text as it is, a whole number as the server wrote it, another one as the shortest text that reads as
/// the same, NULL as nothing, a BLOB as its base64.
#[derive(Clone, Debug)]
pub struct Cells<'a> {
    text: &'a str,
    from: usize,
    ends: std::slice::Iter<'a, u32>,
}

impl<'a> Iterator for Cells<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let end = *self.ends.next()? as usize;
        let cell = &self.text[self.from..end];
        self.from = end;
        Some(cell)
    }
}

impl Answers {
    /// Nothing read yet; rows will have `columns`.
    #[must_use]
    pub fn new(columns: Vec<String>) -> Self {
        Self { columns, items: Vec::new(), cells: Store::default(), has_other_columns: false }
    }

    /// The columns of every row, in their order.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The answers, in the order of the items.
    #[must_use]
    pub fn items(&self) -> &[Answer] {
        &self.items
    }

    /// The rows of one of [`Answers::items`].
    pub fn rows(&self, answer: &Answer) -> impl Iterator<Item = Cells<'_>> {
        let width = self.columns.len();
        answer.rows.clone().unwrap_or_default().map(move |row| {
            let ends = self.cells.ends.get(row * width..(row + 1) * width).unwrap_or_default();
            let from = (row * width).checked_sub(1).and_then(|before| self.cells.ends.get(before));
            Cells { text: &self.cells.text, from: from.map_or(0, |&end| end as usize), ends: ends.iter() }
        })
    }

    /// How far each row is from the question, where the answer says so: as many as rows.
    #[must_use]
    pub fn distances(&self, answer: &Answer) -> Option<&[u8]> {
        self.cells.distances.get(answer.distances.clone()?)
    }

    /// Reads a reply line in place of what was read before.
    pub(crate) fn read(&mut self, line: &str) -> Result<(), Unread> {
        self.items.clear();
        self.cells.text.clear();
        self.cells.text.shrink_to(KEPT_BYTES);
        self.cells.ends.clear();
        self.cells.ends.shrink_to(KEPT_BYTES / size_of::<u32>());
        self.cells.distances.clear();
        self.has_other_columns = false;
        let mut json = serde_json::Deserializer::from_str(line);
        let read = ReplySeed { answers: self, is_item: false }.deserialize(&mut json).and_then(|whole| {
            json.end()?;
            Ok(whole)
        });
        match read {
            Ok(Some(Answer { refusal: Some(refusal), .. })) => return Err(Unread::Refused(Box::new(refusal))),
            Ok(Some(answer)) => self.items.push(answer),
            Ok(None) => {}
            Err(_) if self.has_other_columns => return Err(Unread::OtherColumns),
            Err(_) => return Err(Unread::NotBalcao),
        }
        Ok(())
    }
}

/// Why a reply line was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It is an error as a whole.
    Refused(Box<Refusal>),
    /// A row has not the columns that were told.
    OtherColumns,
    /// It is no reply.
    NotBalcao,
}

/// The members of a reply.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Member {
    Status,
    Rows,
    Total,
    TotalAtLeast,
    Next,
    Distances,
    Bounded,
    Warning,
    Code,
    Message,
    RetryAfterMs,
    Results,
    #[serde(other)]
    Other,
}

/// A text that is borrowed from the line where no escape stands in it.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads one reply. Gives its answer, or none where it is a batch's, whose items were added.
struct ReplySeed<'a> {
    answers: &'a mut Answers,
    is_item: bool,
}

impl<'de> DeserializeSeed<'de> for ReplySeed<'_> {
    type Value = Option<Answer>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ReplySeed<'_> {
    type Value = Option<Answer>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a reply")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut answer = Answer::default();
        let mut status = None;
        let (mut code, mut message, mut retry_after_ms) = (None, None, None);
        let mut is_batch = false;
        while let Some(member) = map.next_key::<Member>()? {
            match member {
                Member::Status => status = Some(map.next_value::<Text<'de>>()?.0),
                Member::Rows if answer.rows.is_none() => {
                    answer.rows = Some(map.next_value_seed(RowsSeed(self.answers))?);
                }
                Member::Rows => return Err(A::Error::duplicate_field("rows")),
                Member::Total => answer.total = map.next_value()?,
                Member::TotalAtLeast => answer.total_at_least = map.next_value()?,
                Member::Next => answer.next = map.next_value()?,
                Member::Distances => answer.distances = Some(map.next_value_seed(DistancesSeed(self.answers))?),
                Member::Bounded => answer.is_bounded = map.next_value::<Option<bool>>()?.unwrap_or_default(),
                Member::Warning => {
                    let warning = map.next_value::<Option<Text<'de>>>()?;
                    answer.has_wrong_check_digits = warning.is_some_and(|warning| warning.0 == "check_digits");
                }
                Member::Code => code = map.next_value::<Option<String>>()?,
                Member::Message => message = map.next_value::<Option<String>>()?,
                Member::RetryAfterMs => retry_after_ms = map.next_value()?,
                Member::Results if !self.is_item && !is_batch => {
                    is_batch = true;
                    map.next_value_seed(ResultsSeed(self.answers))?;
                }
                Member::Results | Member::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        match status.as_deref() {
            Some("ok") if is_batch => return Ok(None),
            Some("ok") if answer.rows.is_some() => {}
            Some("error") => {
                answer.refusal = Some(Refusal::new(code, message, retry_after_ms, String::new()));
            }
            _ => return Err(A::Error::custom("neither rows nor an error")),
        }
        if answer.distances.as_ref().is_some_and(|distances| distances.len() != answer.len()) {
            return Err(A::Error::custom("not a distance for each row"));
        }
        Ok(Some(answer))
    }
}

/// Reads the replies of a batch.
struct ResultsSeed<'a>(&'a mut Answers);

impl<'de> DeserializeSeed<'de> for ResultsSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ResultsSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the replies of a batch")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element_seed(ReplySeed { answers: self.0, is_item: true })? {
            self.0.items.extend(item);
        }
        Ok(())
    }
}

/// Reads `rows` to the end of the cells; gives their places.
struct RowsSeed<'a>(&'a mut Answers);

impl<'de> DeserializeSeed<'de> for RowsSeed<'_> {
    type Value = Range<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Range<usize>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for RowsSeed<'_> {
    type Value = Range<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Range<usize>, A::Error> {
        let start = self.0.cells.ends.len() / self.0.columns.len().max(1);
        let mut end = start;
        while rows.next_element_seed(RowSeed(self.0))?.is_some() {
            end += 1;
        }
        Ok(start..end)
    }
}

struct RowSeed<'a>(&'a mut Answers);

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut row: A) -> Result<(), A::Error> {
        let Answers { columns, cells, has_other_columns, .. } = self.0;
        for column in columns.iter() {
            if row.next_key_seed(Named(column))? != Some(true) {
                *has_other_columns = true;
                return Err(A::Error::custom("another column"));
            }
            row.next_value_seed(CellSeed(cells))?;
        }
        if row.next_key::<IgnoredAny>()?.is_some() {
            *has_other_columns = true;
            return Err(A::Error::custom("a column more"));
        }
        Ok(())
    }
}

/// Reads a member's name: whether it is the one.
struct Named<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Named<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Named<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a column's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

struct CellSeed<'a>(&'a mut Store);

impl CellSeed<'_> {
    fn end<E: serde::de::Error>(self) -> Result<(), E> {
        // A line has at most `REPLY_BYTES_MAX` bytes, and a cell no more than stood on it.
        self.0.ends.push(u32::try_from(self.0.text.len()).map_err(E::custom)?);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for CellSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for CellSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.0.text.push_str(text);
        self.end()
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.end()
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.0.text.push_str(if value { "true" } else { "false" });
        self.end()
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.0.text.push_str(&value.to_string());
        self.end()
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.0.text.push_str(&value.to_string());
        self.end()
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.0.text.push_str(&Value::from(value).to_string());
        self.end()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(A::Error::custom("an array is no cell"))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let members: Map<String, Value> = Map::deserialize(MapAccessDeserializer::new(map))?;
        match members.get("base64") {
            Some(Value::String(base64)) if members.len() == 1 => self.0.text.push_str(base64),
            _ => return Err(A::Error::custom("an object is no cell, but for a BLOB")),
        }
        self.end()
    }
}

/// Reads `distances` to the end of those before; gives their places.
struct DistancesSeed<'a>(&'a mut Answers);

impl<'de> DeserializeSeed<'de> for DistancesSeed<'_> {
    type Value = Range<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Range<usize>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for DistancesSeed<'_> {
    type Value = Range<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("distances")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Range<usize>, A::Error> {
        let distances = &mut self.0.cells.distances;
        let start = distances.len();
        while let Some(distance) = items.next_element()? {
            distances.push(distance);
        }
        Ok(start..distances.len())
    }
}

#[cfg(test)]
#[path = "answers_tests.rs"]
mod tests;
