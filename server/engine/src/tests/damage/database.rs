//! Damage of the database: what the index cannot see. The promise is only that every row which goes out carries the key that was asked for,
//! that none is left out in silence, and that nothing panics; a byte of another cell is the database's own.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use balcao_record::{Cell, Cpf};
use balcao_wire::{Request, decode};
use serde_json::Value;

use super::super::{Desk, cpf};
use super::{Counts, on_every_core, whole};
use crate::{OpenError, Snapshot};

/// The smallest page that SQLite knows: many pages, an inner one among them, in few bytes.
const PAGE_BYTES: usize = 512;

const ROWS: usize = 1000;

/// Rows before and behind a page's own that are asked too.
const ROWS_AROUND: usize = 12;

/// What a question must have in each of its rows.
enum Key {
    Cpf(Cpf),
    Name(String),
}

struct Asked {
    request: Request,
    key: Key,
    right: Value,
}

/// What a reply came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reply {
    Right,
    Unavailable,
    /// The rows that were asked for, with another value in a cell that is not the key.
    OtherCells,
}
