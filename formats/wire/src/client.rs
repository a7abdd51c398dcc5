//! The client's side of the protocol: questions to write and replies to read, as plain data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::limits::{DEADLINE_MS_DEFAULT, QUESTION_WORDS_MAX};

/// A question, ready to be written as a line. What is `None` is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Question<'a> {
    /// Echoed in the reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// The operation; none for a lookup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub op: Option<&'a str>,
    /// A CPF, as the user wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpf: Option<&'a str>,
    /// A name, as the user wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nome: Option<&'a str>,
    /// How the name is compared.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub r#match: Option<&'a str>,
    /// Whether the last word of the name may be a beginning: `prefix` or `whole`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<&'a str>,
    /// `pt` where spellings that are read alike count as equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spelling: Option<&'a str>,
    /// What the rows are filtered by: an object by the names of columns.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub r#where: Option<&'a Value>,
    /// A birth day to verify, as the user wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nasc: Option<&'a str>,
    /// Milliseconds that the answer is waited for, 1 to 60,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u32>,
    /// Rows of a page, 1 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Where the page begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<&'a str>,
    /// The questions of a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<&'a [Question<'a>]>,
}

/// A reply of any kind but `hello`'s; the members that its kind does not have are `None`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Reply {
    /// The request's `id`.
    pub id: Option<Value>,
    /// `ok` or `error`.
    pub status: String,
    /// The rows: columns in the table's order.
    pub rows: Option<Vec<Map<String, Value>>>,
    /// Rows of all pages.
    pub total: Option<u64>,
    /// In place of `total`: so many rows are known of.
    pub total_at_least: Option<u64>,
    /// For `fuzzy`: the sum of the distances of each row.
    pub distances: Option<Vec<u8>>,
    /// Whether the page ended because it had cost enough; there may be more rows behind it.
    #[serde(default)]
    pub bounded: bool,
    /// The cursor of the following page.
    pub next: Option<String>,
    /// `check_digits` where the CPF's do not hold.
    pub warning: Option<String>,
    /// The error's code.
    pub code: Option<String>,
    /// The error in words.
    pub message: Option<String>,
    /// Milliseconds after which to ask again.
    pub retry_after_ms: Option<u64>,
    /// The replies of a batch.
    pub results: Option<Vec<Reply>>,
    /// Of `verify`: whether there is a row with the CPF.
    pub cpf: Option<bool>,
    /// Of `verify`: how far the name agrees, `exact`, `words`, `fuzzy` or `no`.
    pub nome: Option<String>,
    /// Of `verify`: whether the birth day agrees.
    pub nasc: Option<bool>,
}

impl Reply {
    /// Whether the reply is no error.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.status == "ok"
    }
}

/// The answer to `hello`. Its `rows` is a count, so that it is read as a type of its own.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Hello {
    /// Version of the protocol.
    pub protocol: u32,
    /// Name and version of the server.
    pub server: String,
    /// What is served.
    pub generation: String,
    /// Rows of the table when it was indexed.
    pub rows: u64,
    /// The table's columns, in their order.
    pub columns: Vec<String>,
    /// The values of `match` that are answered; empty where the server is of before they were told.
    #[serde(default)]
    pub matches: Vec<String>,
    /// What is filtered by, `sex` or `birth`, and the name of the column in `where`.
    #[serde(default)]
    pub filters: BTreeMap<String, String>,
    /// The limits that a client keeps to.
    pub limits: Limits,
}

/// The limits that `hello` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Limits {
    /// Bytes of a request line before its `\n`.
    pub line_bytes: usize,
    /// Rows of a page.
    pub limit_max: usize,
    /// Items of a batch.
    pub batch_items: usize,
    /// Rows of a batch.
    pub batch_rows: usize,
    /// Requests of one connection that wait for an answer.
    pub in_flight: usize,
    /// Distinct words of a name that is asked for by `words` or `fuzzy`.
    #[serde(default = "question_words")]
    pub question_words: usize,
    /// Milliseconds after which a question without `deadline_ms` is given up.
    #[serde(default = "deadline_ms")]
    pub deadline_ms: u32,
}

/// What a server of before this limit was told keeps to.
fn question_words() -> usize {
    QUESTION_WORDS_MAX
}

fn deadline_ms() -> u32 {
    DEADLINE_MS_DEFAULT
}
