//! The client's side of the protocol: questions to write and replies to read, as plain data.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

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
}
