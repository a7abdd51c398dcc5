//! The registry's SQLite file: opened read only, its table described, its plain rows read from its pages, its values as cells.
//!
//! Indexer and engine read one table by one rule because both read it through here. No index, no wire, and nothing is ever written.

mod open;
mod record;
mod table;
mod tree;

pub use open::{Access, open};
pub use record::{Record, Values};
pub use table::{Table, TableCopy, TableName, cell};
pub use tree::{Lost, Place, Rows, Tree};

/// Why a registry cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// SQLite says no.
    #[error("{}", describe(.0))]
    Sqlite(rusqlite::Error),
    /// There is no such table.
    #[error("the database has no table `{0}`; name yours with --table")]
    NoTable(String),
    /// It is a view.
    #[error("`{0}` is a view; index the table behind it, or copy the view into a table first")]
    View(String),
    /// It is a virtual table.
    #[error("`{0}` is a virtual table; copy it into an ordinary table first")]
    Virtual(String),
    /// It has no rowid.
    #[error("table `{0}` was made WITHOUT ROWID; copy it into a table with rowids first")]
    WithoutRowid(String),
    /// Columns hide every name of the rowid.
    #[error("table `{0}` has columns named rowid, _rowid_ and oid, so that its rowid has no name left; rename one")]
    HiddenRowid(String),
    /// There is no such column.
    #[error("table `{table}` has no column `{column}`; it has {found}; name yours with {option}")]
    NoColumn {
        /// The table.
        table: String,
        /// The column that was asked for.
        column: String,
        /// The columns that it has.
        found: String,
        /// The option that names it.
        option: &'static str,
    },
}

impl From<rusqlite::Error> for RegistryError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// SQLite's words, with what to do about the commonest.
fn describe(error: &rusqlite::Error) -> String {
    use rusqlite::ErrorCode;
    let remedy = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "; another program is writing to the database: wait for it to end and try again"
        }
        Some(ErrorCode::DatabaseCorrupt) => "; the database is damaged: check it with `PRAGMA integrity_check`",
        Some(ErrorCode::NotADatabase) => "; the file is no SQLite database",
        Some(ErrorCode::CannotOpen) => "; check that the file is there and that you may read it",
        _ => "; if nobody else uses the database, check it with `PRAGMA integrity_check`",
    };
    format!("{error}{remedy}")
}
