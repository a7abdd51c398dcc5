//! What can go wrong, each with what to do about it.
//!
//! No error repeats a row: they tell of arguments and files alone.

use std::io;
use std::path::PathBuf;

use crate::recipe::ROWS_MAX;

/// Why a registry was not described or not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// More rows than there are CPF bases.
    #[error("{got} rows are too many: there are {ROWS_MAX} CPF bases and each row has its own; ask for fewer")]
    TooManyRows {
        /// The rows that were asked for.
        got: u64,
    },
    /// A share of dirty rows that is no probability.
    #[error("the share of dirty rows must be from 0 to 1, got {got}")]
    DirtyShare {
        /// The share that was asked for.
        got: f64,
    },
    /// The file to write is there already. Nothing was touched.
    #[error("{} exists already; remove it or choose another name", path.display())]
    OutExists {
        /// The file that is there.
        path: PathBuf,
    },
    /// A journal of an earlier database lies beside the file to write: SQLite would play it back into the new one.
    #[error("{} is left of an earlier database and would damage the new one; remove it or choose another name", path.display())]
    LeftOver {
        /// The journal that is there.
        path: PathBuf,
    },
    /// The file to write could not be created, synced or given its name. The partial file is removed.
    #[error("cannot write {}; check that its folder exists, is writable and has room", path.display())]
    File {
        /// The file that was asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// SQLite could not write. The partial file is removed.
    #[error("SQLite cannot write {}; check that its folder has room (about 60 bytes a row)", path.display())]
    Sqlite {
        /// The file that was asked for.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The caller asked to stop. The partial file is removed.
    #[error("interrupted after {rows} rows, nothing was kept; run it again for the whole file")]
    Interrupted {
        /// Rows that had been written.
        rows: u64,
    },
}
