//! `RowStore`: rows by rowid, straight from SQLite into a reply.
//!
//! Each row is checked before it is written: its key must be the one that was asked for.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use balcao_index::{IndexError, SourceError};
use balcao_registry::{Access, RegistryError, Table, cell, open};
use balcao_wire::{Key, Match, RowWriter, RowsWriter};
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use crate::snapshot::OpenError;

/// Why a row cannot be given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RowError {
    #[error("SQLite cannot read a row: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("row {rowid} is in the index and not in the table")]
    Gone { rowid: i64 },
    #[error("row {rowid} does not carry the key that the index gives it")]
    OtherKey { rowid: i64 },
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(
        "the database has {found} bytes, {expected} were opened: it was cut short or written over while it is served"
    )]
    Shrunk { expected: u64, found: u64 },
    #[error("the database's file cannot be looked at: {0}")]
    File(#[from] io::Error),
    #[error("the reply is too long")]
    TooLong,
}

/// The rows of the indexed table.
#[derive(Debug)]
pub(crate) struct RowStore {
    db: PathBuf,
    /// The database's file, and its length when it was opened.
    file: File,
    bytes: u64,
    table: Table,
    sql: String,
    /// The columns' names as JSON.
    names: Vec<Box<[u8]>>,
    /// Connections that no thread uses now: as many as threads ever asked at once, closed with the snapshot.
    idle: Mutex<Vec<Connection>>,
}

impl RowStore {
    pub(crate) fn new(db: &Path, table: Table) -> Result<Self, OpenError> {
        let file = File::open(db).map_err(SourceError::from)?;
        let store = Self {
            db: db.to_owned(),
            bytes: file.metadata().map_err(SourceError::from)?.len(),
            file,
            sql: table.row_sql(),
            names: table.columns.iter().map(|name| RowWriter::encode_name(name)).collect(),
            table,
            idle: Mutex::default(),
        };
        // The first connection now: a table that cannot be asked is an error at start.
        let connection = open(db, Access::Immutable)?;
        connection.prepare_cached(&store.sql).map_err(RegistryError::from)?;
        store.give_back(connection);
        Ok(store)
    }

    /// Lends a reader; it must not be held while a coroutine waits.
    pub(crate) fn reader(&self) -> Result<RowReader<'_>, RowError> {
        // The file is mapped: a read beyond the end of one that was cut short is no error of SQLite but a fault that takes the thread
        // with it. A look at the length costs half a microsecond, and leaves only the moment between it and the read.
        let found = self.file.metadata()?.len();
        if found < self.bytes {
            return Err(RowError::Shrunk { expected: self.bytes, found });
        }
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => open(&self.db, Access::Immutable)?,
        };
        Ok(RowReader { store: self, connection: Some(connection), key: String::new() })
    }

    fn give_back(&self, connection: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}

/// Reads rows, for one thread.
pub(crate) struct RowReader<'a> {
    store: &'a RowStore,
    /// Always there until the reader is dropped.
    connection: Option<Connection>,
    /// Room for the normalised name of a row.
    key: String,
}

impl RowReader<'_> {
    /// Writes the rows with these rowids, in their order. Each must carry `asked`, and the buffer must not pass `bytes_max`.
    pub(crate) fn write(
        &mut self,
        rowids: &[i64],
        asked: &Key,
        rows: &mut RowsWriter<'_>,
        bytes_max: usize,
    ) -> Result<(), RowError> {
        let Some(connection) = &self.connection else { return Err(RowError::TooLong) };
        let mut statement = connection.prepare_cached(&self.store.sql)?;
        let table = &self.store.table;
        for &rowid in rowids {
            let mut found = statement.query([rowid])?;
            let row = found.next()?.ok_or(RowError::Gone { rowid })?;
            let (cpf, name) = (cell(row.get_ref(table.cpf_at)?), cell(row.get_ref(table.name_at)?));
            let same = match asked {
                Key::Cpf(asked) => cpf.cpf() == Some(*asked),
                Key::Name { r#match, name: asked } => {
                    name.name_key(&mut self.key);
                    match r#match {
                        Match::Exact => *self.key == **asked,
                        Match::Prefix => self.key.starts_with(&**asked),
                    }
                }
            };
            if !same {
                return Err(RowError::OtherKey { rowid });
            }
            let mut writer = rows.row();
            for (at, name) in self.store.names.iter().enumerate() {
                write_value(writer.name(name), row.get_ref(at)?);
            }
            writer.finish();
            if rows.bytes() > bytes_max {
                return Err(RowError::TooLong);
            }
        }
        Ok(())
    }
}

impl Drop for RowReader<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.store.give_back(connection);
        }
    }
}

fn write_value(writer: &mut RowWriter<'_>, value: ValueRef<'_>) {
    match value {
        ValueRef::Null => writer.null(),
        ValueRef::Integer(value) => writer.integer(value),
        ValueRef::Real(value) => writer.real(value),
        ValueRef::Text(value) => writer.text(value),
        ValueRef::Blob(value) => writer.blob(value),
    }
}
