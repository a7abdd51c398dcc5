//! `RowStore`: rows by rowid, straight from SQLite into a reply.
//!
//! Each row is checked before it is written: its key must be the one that was asked for. The indexed table is one such store; the copy of
//! its rows in the order of their names, where the index has one, is another.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use balcao_index::{CLUSTER_TABLE, IndexError, SourceError, SourceStamp};
use balcao_registry::{Access, RegistryError, Table, TableCopy, cell, open};
use balcao_wire::{Key, Match, RowWriter, RowsWriter};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, Row};

use crate::snapshot::OpenError;

/// Why a row cannot be given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RowError {
    #[error("SQLite cannot read a row: {0}")]
    Sqlite(rusqlite::Error),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("row {rowid} is in the index and not in the table")]
    Gone { rowid: i64 },
    #[error("the copy of the rows lacks some of the rows from {first} to {last}")]
    Lacking { first: i64, last: i64 },
    #[error("row {rowid} does not carry the key that the index gives it")]
    OtherKey { rowid: i64 },
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error("the database was replaced while it is served")]
    Replaced,
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("the reply is too long")]
    TooLong,
}

impl From<rusqlite::Error> for RowError {
    fn from(error: rusqlite::Error) -> Self {
        // A value above the limit that `RowReader::write` sets: it would not fit the reply either.
        if error.sqlite_error_code() == Some(ErrorCode::TooBig) { Self::TooLong } else { Self::Sqlite(error) }
    }
}

/// The rows of one table: of the indexed one, asked for one by one, or of its copy, asked for by runs.
#[derive(Debug)]
pub(crate) struct RowStore {
    db: PathBuf,
    /// The file that was opened, held and known: no other one is ever read in its place.
    file: File,
    stamp: SourceStamp,
    table: Table,
    sql: String,
    /// The columns' names as JSON.
    names: Vec<Box<[u8]>>,
    /// Connections that no thread uses now: as many as threads ever asked at once, closed with the snapshot.
    idle: Mutex<Vec<Connection>>,
}

impl RowStore {
    /// The indexed table in the database at `db`, for [`RowReader::write`].
    pub(crate) fn new(db: &Path, table: Table) -> Result<Self, OpenError> {
        Self::with_sql(db, table.row_sql(), table)
    }

    /// The copy of `table` in the file at `copy`, for [`RowReader::write_run`].
    pub(crate) fn of_copy(copy: &Path, table: Table) -> Result<Self, OpenError> {
        Self::with_sql(copy, TableCopy::new(&table, CLUSTER_TABLE).run_sql(), table)
    }

    fn with_sql(db: &Path, sql: String, table: Table) -> Result<Self, OpenError> {
        let store = Self {
            db: db.to_owned(),
            file: File::open(db).map_err(SourceError::from)?,
            stamp: SourceStamp::read(db)?,
            sql,
            names: table.columns.iter().map(|name| RowWriter::encode_name(name)).collect(),
            table,
            idle: Mutex::default(),
        };
        // The first connection now: a table that cannot be asked is an error at start.
        store.reserve(1)?;
        Ok(store)
    }

    /// Opens connections until `readers` are idle: so many threads ask without waiting for one to be opened, also when the file is replaced or
    /// descriptors run out later.
    pub(crate) fn reserve(&self, readers: usize) -> Result<(), OpenError> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while idle.len() < readers {
            let connection = open(&self.db, Access::Immutable)?;
            connection.prepare_cached(&self.sql).map_err(RegistryError::from)?;
            idle.push(connection);
        }
        Ok(())
    }

    /// The file that was opened, whatever lies at its path now.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The file's stamp when it was opened.
    pub(crate) fn stamp(&self) -> &SourceStamp {
        &self.stamp
    }

    /// Whether nobody wrote to the file that is open, wherever it lies now.
    pub(crate) fn is_intact(&self) -> bool {
        self.stamp.is_intact(&self.file)
    }

    /// The file's stamp now.
    pub(crate) fn stamp_now(&self) -> Result<SourceStamp, SourceError> {
        SourceStamp::glance(&self.db, &self.file)
    }

    /// Lends a reader; it must not be held while a coroutine waits.
    pub(crate) fn reader(&self) -> Result<RowReader<'_>, RowError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.open_again()?,
        };
        Ok(RowReader { store: self, connection: Some(connection), key: String::new() })
    }

    /// Opens the file once more, and only the same one.
    fn open_again(&self) -> Result<Connection, RowError> {
        let connection = open(&self.db, Access::Immutable)?;
        // Behind the opening: what is in the path's place now was there then, or it was replaced twice within these microseconds.
        if self.stamp_now()?.is_same_file(&self.stamp) { Ok(connection) } else { Err(RowError::Replaced) }
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
    /// Writes the rows with these rowids, in their order. Each must carry `asked`, and the buffer must not pass `bytes_max`: a value that
    /// would take it beyond is not written, and one that is longer by itself is not even read.
    pub(crate) fn write(
        &mut self,
        rowids: &[i64],
        asked: &Key,
        rows: &mut RowsWriter<'_>,
        bytes_max: usize,
    ) -> Result<(), RowError> {
        let Some(connection) = &self.connection else { return Err(RowError::TooLong) };
        limit_values(connection, rows, bytes_max)?;
        let mut statement = connection.prepare_cached(&self.store.sql)?;
        for &rowid in rowids {
            let mut found = statement.query([rowid])?;
            let row = found.next()?.ok_or(RowError::Gone { rowid })?;
            self.store.write_row(row, asked, &mut self.key, rows, bytes_max)?.ok_or(RowError::OtherKey { rowid })?;
        }
        Ok(())
    }

    /// As [`RowReader::write`], the `count` rows from rowid `first` on: one descent, and a walk.
    pub(crate) fn write_run(
        &mut self,
        first: i64,
        count: usize,
        asked: &Key,
        rows: &mut RowsWriter<'_>,
        bytes_max: usize,
    ) -> Result<(), RowError> {
        let Some(connection) = &self.connection else { return Err(RowError::TooLong) };
        limit_values(connection, rows, bytes_max)?;
        let last = first.saturating_add_unsigned(count as u64).saturating_sub(1);
        let mut statement = connection.prepare_cached(&self.store.sql)?;
        let mut found = statement.query([first, last])?;
        for rowid in first..=last {
            let row = found.next()?.ok_or(RowError::Lacking { first, last })?;
            self.store.write_row(row, asked, &mut self.key, rows, bytes_max)?.ok_or(RowError::OtherKey { rowid })?;
        }
        Ok(())
    }
}

/// What is longer than the whole room cannot fit, and SQLite would copy it into memory before anybody could see how long it is.
fn limit_values(connection: &Connection, rows: &RowsWriter<'_>, bytes_max: usize) -> Result<(), RowError> {
    let room = bytes_max.saturating_sub(rows.bytes());
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, i32::try_from(room).unwrap_or(i32::MAX))?;
    Ok(())
}

impl RowStore {
    /// Writes a row that carries `asked`; writes nothing and returns `None` where it carries another key.
    fn write_row(
        &self,
        row: &Row<'_>,
        asked: &Key,
        key: &mut String,
        rows: &mut RowsWriter<'_>,
        bytes_max: usize,
    ) -> Result<Option<()>, RowError> {
        let (cpf, name) = (cell(row.get_ref(self.table.cpf_at)?), cell(row.get_ref(self.table.name_at)?));
        let same = match asked {
            Key::Cpf(asked) => cpf.cpf() == Some(*asked),
            Key::Name { r#match, name: asked } => {
                name.name_key(key);
                match r#match {
                    Match::Exact => **key == **asked,
                    Match::Prefix => key.starts_with(&**asked),
                }
            }
        };
        if !same {
            return Ok(None);
        }
        let mut room = bytes_max.saturating_sub(rows.bytes());
        let mut writer = rows.row();
        for (at, name) in self.names.iter().enumerate() {
            let value = row.get_ref(at)?;
            room = room.checked_sub(bytes_at_least(value, room)).ok_or(RowError::TooLong)?;
            write_value(writer.name(name), value);
        }
        writer.finish();
        if rows.bytes() > bytes_max { Err(RowError::TooLong) } else { Ok(Some(())) }
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

/// The longest that a byte of text becomes in JSON, `\u0001`.
const ESCAPE_BYTES_MAX: usize = 6;

/// How many bytes a value takes in a reply, or somewhat fewer; counted closely where it might not fit `room`.
fn bytes_at_least(value: ValueRef<'_>, room: usize) -> usize {
    match value {
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => 1,
        ValueRef::Text(text) if text.len() <= room / ESCAPE_BYTES_MAX => text.len(),
        ValueRef::Text(text) => text.iter().map(|&byte| text_byte(byte)).sum(),
        ValueRef::Blob(blob) => blob.len().div_ceil(3) * 4,
    }
}

/// How many bytes a byte of text becomes in JSON.
fn text_byte(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | 8..=10 | 12 | 13 => 2,
        0..0x20 => ESCAPE_BYTES_MAX,
        _ => 1,
    }
}
