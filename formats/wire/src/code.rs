//! `Code`: the error codes of the protocol, and `Fault`: a code with its message.

use std::borrow::Cow;
use std::fmt;

/// An error code as it stands on the wire. Clients translate by it; the message beside it is for people who debug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// Not JSON, not UTF-8, deeper than 64, a member twice, a lone surrogate.
    BadJson,
    /// JSON but no object, a wrong type, a value out of range, an unknown `op` or `match`.
    BadRequest,
    /// The `cpf` asked for is none.
    InvalidCpf,
    /// Nothing is left of the `nome` asked for.
    InvalidName,
    /// The cursor is of another generation.
    StaleCursor,
    /// More than 65,536 bytes before the line's end; the connection is closed.
    LineTooLong,
    /// The batch has its 10,000 rows already.
    TooManyRows,
    /// The operation needs a key.
    Unauthorized,
    /// The key does not allow the operation.
    Forbidden,
    /// What may be asked in a while is used up.
    BudgetExceeded,
    /// The queue of queries, or the table of connections, is full.
    Overloaded,
    /// The answer, or the rest of a line, did not come in time.
    DeadlineExceeded,
    /// The index does not fit the database, or a part of it is damaged.
    Unavailable,
    /// A defect of the server.
    Internal,
}

impl Code {
    /// Every code, in the order of the protocol page.
    pub const ALL: [Self; 14] = [
        Self::BadJson,
        Self::BadRequest,
        Self::InvalidCpf,
        Self::InvalidName,
        Self::StaleCursor,
        Self::LineTooLong,
        Self::TooManyRows,
        Self::Unauthorized,
        Self::Forbidden,
        Self::BudgetExceeded,
        Self::Overloaded,
        Self::DeadlineExceeded,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The text on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadJson => "bad_json",
            Self::BadRequest => "bad_request",
            Self::InvalidCpf => "invalid_cpf",
            Self::InvalidName => "invalid_name",
            Self::StaleCursor => "stale_cursor",
            Self::LineTooLong => "line_too_long",
            Self::TooManyRows => "too_many_rows",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::BudgetExceeded => "budget_exceeded",
            Self::Overloaded => "overloaded",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error reply: what went wrong, and in the message what to do about it. A message never repeats what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The code.
    pub code: Code,
    /// English, for people who debug.
    pub message: Cow<'static, str>,
    /// Milliseconds after which asking again makes sense; only with [`Code::Overloaded`] and [`Code::BudgetExceeded`].
    pub retry_after_ms: Option<u32>,
}

impl Fault {
    /// A fault with nothing but its code and message.
    #[must_use]
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), retry_after_ms: None }
    }

    /// The server has no room; ask again after `retry_after_ms` milliseconds.
    #[must_use]
    pub fn overloaded(message: &'static str, retry_after_ms: u32) -> Self {
        Self { code: Code::Overloaded, message: message.into(), retry_after_ms: Some(retry_after_ms) }
    }

    /// What this client may ask in a while is used up; there is room again after `retry_after_ms` milliseconds.
    #[must_use]
    pub fn budget_exceeded(message: &'static str, retry_after_ms: u32) -> Self {
        Self { code: Code::BudgetExceeded, message: message.into(), retry_after_ms: Some(retry_after_ms) }
    }
}
