//! `Received`: one reply line as it came, and the reading of it.
//!
//! Only the envelope (`id`, `status`, an error's members) is read on arrival; rows are read when they are asked for, by the type they have.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, SeqAccess, Visitor};

use crate::error::{Error, Refusal};
use crate::limits::{REPLY_VALUES_MAX, few_values};

/// A reply line that is JSON, has a `status`, and answers the question `id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The question's id, as [`Client::send`](crate::Client::send) gave it.
    pub id: u64,
    /// The line as it came, without its `\n`.
    pub line: String,
}

impl Received {
    pub(crate) fn read<T: DeserializeOwned>(&self, address: &str) -> Result<T, Error> {
        if !few_values(self.line.as_bytes(), REPLY_VALUES_MAX) {
            return Err(Error::ReplyTooLarge { limit: REPLY_VALUES_MAX, unit: "values" });
        }
        serde_json::from_str(&self.line)
            .map_err(|_| Error::not_balcao(address, "a member of a reply is missing or has another type"))
    }
}

/// A line of this many bytes is not read from end to end for its envelope alone, if it begins as this server's replies do.
const GLANCE_BYTES_MIN: usize = 1024;

/// The id of a reply that begins `{"id":…,"status":"ok",`. Whether the rest is JSON is seen when it is read.
fn glance(line: &str) -> Option<u64> {
    let rest = line.strip_prefix("{\"id\":")?;
    let (id, rest) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
    rest.strip_prefix(",\"status\":\"ok\",")?;
    id.parse().ok()
}

/// What stands around the rows of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outline {
    /// Rows of this page.
    pub rows: u64,
    /// Rows of all pages, where the server counted them.
    pub total: Option<u64>,
    /// Rows that there are at least, where it did not.
    pub total_at_least: Option<u64>,
    /// The cursor of the following page; none at the end.
    pub next: Option<String>,
    /// Whether the page is short because the work for it was bounded.
    pub is_bounded: bool,
    /// Whether the check digits of the CPF asked for do not hold.
    pub has_wrong_check_digits: bool,
}

/// The members of a page, its rows only counted.
#[derive(Deserialize)]
struct Members<'a> {
    status: Cow<'a, str>,
    rows: Option<Count>,
    total: Option<u64>,
    total_at_least: Option<u64>,
    next: Option<String>,
    #[serde(default)]
    bounded: Option<bool>,
    warning: Option<String>,
    code: Option<String>,
    message: Option<String>,
    retry_after_ms: Option<u64>,
}

/// How many elements an array has.
struct Count(u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Counter;

        impl<'de> Visitor<'de> for Counter {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("rows")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Count, A::Error> {
                let mut count = 0;
                while rows.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Count(count))
            }
        }

        deserializer.deserialize_seq(Counter)
    }
}

impl Outline {
    /// Reads the reply to a lookup: [`Error::Server`] where it is an error.
    pub(crate) fn read(line: &str, address: &str) -> Result<Self, Error> {
        let members: Members<'_> =
            serde_json::from_str(line).map_err(|_| Error::not_balcao(address, "a page is no reply in JSON"))?;
        if members.status == "error" {
            let refusal = Refusal::new(members.code, members.message, members.retry_after_ms, line.to_owned());
            return Err(Error::Server(Box::new(refusal)));
        }
        let (true, Some(rows)) = (members.status == "ok", members.rows) else {
            return Err(Error::not_balcao(address, "the answer to a question has no rows"));
        };
        Ok(Self {
            rows: rows.0,
            total: members.total,
            total_at_least: members.total_at_least,
            next: members.next,
            is_bounded: members.bounded.unwrap_or_default(),
            has_wrong_check_digits: members.warning.as_deref() == Some("check_digits"),
        })
    }
}

/// What every reply has, whatever it answers.
#[derive(Debug, Deserialize)]
pub(crate) struct Envelope {
    pub(crate) id: Option<u64>,
    status: String,
    code: Option<String>,
    message: Option<String>,
    retry_after_ms: Option<u64>,
}

impl Envelope {
    pub(crate) fn read(line: &str, address: &str) -> Result<Self, Error> {
        if line.len() >= GLANCE_BYTES_MIN
            && let Some(id) = glance(line)
        {
            return Ok(Self { id: Some(id), status: "ok".to_owned(), code: None, message: None, retry_after_ms: None });
        }
        let envelope: Self =
            serde_json::from_str(line).map_err(|_| Error::not_balcao(address, "a line is no reply in JSON"))?;
        match envelope.status.as_str() {
            "ok" | "error" => Ok(envelope),
            _ => Err(Error::not_balcao(address, "a reply's status is neither ok nor error")),
        }
    }

    /// The error that the reply tells, with the line it stood on.
    pub(crate) fn refusal(self, line: &str) -> Option<Refusal> {
        (self.status == "error").then(|| Refusal::new(self.code, self.message, self.retry_after_ms, line.to_owned()))
    }

    pub(crate) fn is_overloaded(&self) -> bool {
        self.status == "error" && self.code.as_deref() == Some("overloaded")
    }

    pub(crate) fn retry_after_ms(&self) -> Option<u64> {
        self.retry_after_ms
    }
}
