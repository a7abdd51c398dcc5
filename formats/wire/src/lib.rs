//! Protocol version 1 as a pure codec over byte slices: requests, replies, error codes, limits. `docs/protocol.md` is its page.
//!
//! It opens no socket, knows no index and no database, and allocates nothing that a limit does not bound.

pub mod limits;

mod agreement;
mod code;
mod cursor;
mod json;
mod lookup;
mod members;
mod reply;
mod request;

pub mod client;
pub mod stats;

pub use agreement::{Agreement, NameAgreement, write_agreement};
pub use code::{Code, Fault};
pub use cursor::{Cursor, CursorError, SearchPlace, Total};
pub use lookup::{Filter, Key, Last, Lookup, Match, Spelling, Test};
pub use reply::{
    Ending, Greeting, RowWriter, RowsWriter, write_batch, write_fault, write_greeting, write_pong, write_stats,
};
pub use request::{Claim, Id, Item, Operation, Request, decode};

/// The version of the protocol that this codec speaks, as `hello` tells it.
pub const PROTOCOL_VERSION: u32 = 1;

#[cfg(test)]
mod protocol_page_tests;
