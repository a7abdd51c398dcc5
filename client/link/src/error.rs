//! `Error`: everything that can go wrong between a question and its rows, each with what to do next.

use std::fmt;
use std::io;
use std::time::Duration;

/// Why there is no answer. Texts that came from the server are in it as they came: escape them before a terminal sees them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address cannot be resolved.
    #[error("the address {address} leads nowhere ({cause}); write HOST:PORT, for instance 127.0.0.1:7700")]
    Address {
        /// As the caller gave it.
        address: String,
        /// What the resolver said.
        cause: io::Error,
    },
    /// No resolved address took the connection.
    #[error("no connection to {address} ({cause}); is the server running at {address}?")]
    Connect {
        /// As the caller gave it.
        address: String,
        /// What the last address tried said.
        cause: io::Error,
    },
    /// The peer did not do its part in time.
    #[error(
        "{address} did not {awaited} within {} s; try again, or allow more time",
        after.as_secs_f64()
    )]
    Timeout {
        /// As the caller gave it.
        address: String,
        /// What it was to do: `answer`, `read the question`.
        awaited: &'static str,
        /// The time it had.
        after: Duration,
    },
    /// The peer closed the connection, now or at an earlier question.
    #[error(
        "{address} closed the connection {when}; connect and ask again, and look at the server's log if it happens twice"
    )]
    Closed {
        /// As the caller gave it.
        address: String,
        /// In the middle of what.
        when: &'static str,
    },
    /// The connection failed in another way.
    #[error("the connection to {address} failed ({cause}); connect and ask again")]
    Io {
        /// As the caller gave it.
        address: String,
        /// What the system said.
        cause: io::Error,
    },
    /// What arrived is not the protocol.
    #[error("the peer at {address} does not speak Balcão ({reason}); check host and port")]
    NotBalcao {
        /// As the caller gave it.
        address: String,
        /// What gave it away; never data.
        reason: &'static str,
    },
    /// The server speaks another version.
    #[error("the server speaks protocol {got}, this client {expected}; use the client that came with the server")]
    Version {
        /// What this client speaks.
        expected: u32,
        /// What `hello` told.
        got: u32,
    },
    /// A reply beyond [`REPLY_BYTES_MAX`](crate::REPLY_BYTES_MAX) or [`REPLY_VALUES_MAX`](crate::REPLY_VALUES_MAX).
    #[error("a reply has more than {limit} {unit}; ask with a smaller limit, or for fewer items at once")]
    ReplyTooLarge {
        /// How many of `unit` are allowed.
        limit: usize,
        /// `bytes` or `values`.
        unit: &'static str,
    },
    /// A row has other columns than `hello` told.
    #[error("the registry's columns are not those of before: another one is served now; ask again from the start")]
    OtherColumns,
    /// The question does not fit the server's line. Nothing was sent.
    #[error("the question has {bytes} bytes, the server reads at most {limit}; shorten it, or split the batch")]
    QuestionTooLong {
        /// Bytes of the line.
        bytes: usize,
        /// Bytes that the server reads.
        limit: usize,
    },
    /// The batch has more items than the server takes. Nothing was sent.
    #[error("the batch has {items} items, the server takes at most {limit}; split it")]
    BatchTooLong {
        /// Items of the batch.
        items: usize,
        /// Items that the server takes.
        limit: usize,
    },
    /// As many requests are in flight as the server allows. Nothing was sent.
    #[error("{limit} requests are in flight, and the server allows no more; receive a reply first")]
    Full {
        /// Requests that may be in flight.
        limit: usize,
    },
    /// A reply is wanted but nothing with that id was asked, or its reply was fetched already.
    #[error("no such question is in flight; send one first")]
    NothingAsked,
    /// The server answered with an error.
    #[error("{0}")]
    Server(Box<Refusal>),
}

impl Error {
    /// The protocol's code, where the server gave one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Server(refusal) => Some(&refusal.code),
            _ => None,
        }
    }

    /// The server's answer, where it gave one.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Server(refusal) => Some(refusal),
            _ => None,
        }
    }

    pub(crate) fn not_balcao(address: &str, reason: &'static str) -> Self {
        Self::NotBalcao { address: address.to_owned(), reason }
    }
}

/// An error reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// One of the protocol's codes, or one that a later server knows.
    pub code: String,
    /// The server's words.
    pub message: String,
    /// Milliseconds after which to ask again.
    pub retry_after_ms: Option<u64>,
    /// The reply line as it came, without its `\n`; empty for an item of a batch.
    pub line: String,
}

impl Refusal {
    pub(crate) fn new(
        code: Option<String>,
        message: Option<String>,
        retry_after_ms: Option<u64>,
        line: String,
    ) -> Self {
        Self {
            code: code.unwrap_or_else(|| "internal".to_owned()),
            message: message.unwrap_or_else(|| "the server gave no reason".to_owned()),
            retry_after_ms,
            line,
        }
    }
}

/// What the server said. It says itself what to do, except where the remedy is this side's.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        match self.code.as_str() {
            "stale_cursor" => f.write_str(
                "; the server has begun to serve another generation since the first page, so ask again from the first page",
            ),
            "budget_exceeded" => match self.retry_after_ms {
                Some(ms) => write!(f, "; ask again in {} s", ms.div_ceil(1000)),
                None => f.write_str("; ask again later"),
            },
            "overloaded" => f.write_str("; the server is busy, so ask again later"),
            "deadline_exceeded" => f.write_str("; ask for less at once, or again later"),
            "unavailable" | "internal" => f.write_str("; ask the server's operator to look at its log"),
            _ => Ok(()),
        }
    }
}
