//! Which table of a SQLite file is the registry, and which of its columns are asked for.
//!
//! It opens files read-only and never creates one.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rusqlite::{Connection, OpenFlags};

/// A registry: a file, a table in it, and the two columns that are keys.
#[derive(Clone, Debug)]
pub struct Registry {
    /// The SQLite file.
    pub db: PathBuf,
    /// The table.
    pub table: String,
    /// The column with the CPF.
    pub cpf_column: String,
    /// The column with the name.
    pub name_column: String,
}

impl Registry {
    /// The registry of the usual shape, table `cpf(cpf, nome, …)`, in `db`.
    #[must_use]
    pub fn new(db: &Path) -> Self {
        Self {
            db: db.to_owned(),
            table: "cpf".to_owned(),
            cpf_column: "cpf".to_owned(),
            name_column: "nome".to_owned(),
        }
    }

    /// Opens the file for reading.
    ///
    /// # Errors
    /// When it does not exist or is no database.
    pub fn open(&self) -> anyhow::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Connection::open_with_flags(&self.db, flags)
            .with_context(|| format!("cannot open the database {}; give an existing file", self.db.display()))
    }
}

/// `name` as an identifier in SQL.
#[must_use]
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
