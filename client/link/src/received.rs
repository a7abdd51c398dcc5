//! `Received`: one reply line as it came, and the reading of it.
//!
//! Only the envelope (`id`, `status`, an error's members) is read on arrival; rows are read when they are asked for, by the type they have.

use serde::{Deserialize, de::DeserializeOwned};

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
        let envelope: Self =
            serde_json::from_str(line).map_err(|_| Error::not_balcao(address, "a line is no reply in JSON"))?;
        match envelope.status.as_str() {
            "ok" | "error" => Ok(envelope),
            _ => Err(Error::not_balcao(address, "a reply's status is neither ok nor error")),
        }
    }

    /// The error that the reply tells, with the line it stood on.
    pub(crate) fn refusal(self, line: &str) -> Option<Refusal> {
        (self.status == "error").then(|| Refusal {
            code: self.code.unwrap_or_else(|| "internal".to_owned()),
            message: self.message.unwrap_or_else(|| "the server gave no reason".to_owned()),
            retry_after_ms: self.retry_after_ms,
            line: line.to_owned(),
        })
    }

    pub(crate) fn is_overloaded(&self) -> bool {
        self.status == "error" && self.code.as_deref() == Some("overloaded")
    }

    pub(crate) fn retry_after_ms(&self) -> Option<u64> {
        self.retry_after_ms
    }
}
