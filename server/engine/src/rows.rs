//! `RowStore`: rows by rowid, straight from the database into a reply: plain ones from its pages, all others through SQLite.
//!
//! Each row is checked before it is written: its key must be the one that was asked for. The indexed table is one such store; the copy of
//! its rows in the order of their names, where the index has one, is another.

use std::cell::RefCell;
use std::fs::File;
use std::io::IoSliceMut;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use balcao_index::{CLUSTER_TABLE, IndexError, Map, SourceError, SourceStamp};
use balcao_record::Cell;
use balcao_registry::{Access, Place, RegistryError, Table, TableCopy, Tree, cell, open};
use balcao_wire::limits::REPLY_BYTES_MAX;
use balcao_wire::{RowWriter, RowsWriter};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, Row};
use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use crate::asked::Asked;
use crate::snapshot::OpenError;

/// What is looked for in memory at a time: pages of memory are not smaller.
const PROBED_BYTES: usize = 4096;

/// Room for a row and its name that a thread keeps between two pages of rows. Names of persons have some dozen bytes.
const SCRATCH_BYTES_KEPT: usize = 64 << 10;

/// Why a row cannot be given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RowError {
    #[error("SQLite cannot read a row: {0}")]
    Sqlite(rusqlite::Error),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("row {rowid} is in the index and not in the table")]
    Gone { rowid: i64 },
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

/// The rows of one table: of the indexed one, or of its copy.
#[derive(Debug)]
pub(crate) struct RowStore {
    db: PathBuf,
    /// The file that was opened, held and known: no other one is ever read in its place.
    file: File,
    /// The same in memory, as long as it was then.
    map: Map,
    stamp: SourceStamp,
    table: Table,
    /// How the table lies in the map, where its plain rows can be read without SQLite.
    tree: Option<Tree>,
    /// The file system does not tell what is in memory.
    cannot_tell: AtomicBool,
    sql: String,
    /// The columns' names as JSON.
    names: Vec<Box<[u8]>>,
    /// Connections that no thread uses now: as many as threads ever asked at once, closed with the snapshot.
    idle: Mutex<Vec<Connection>>,
}

/// What a thread keeps between two pages of rows, so that most take no memory from the heap.
#[derive(Default)]
struct Scratch {
    /// A row as it is stored.
    row: Vec<u8>,
    /// The normalised name of a row.
    key: String,
    places: Vec<Option<Place>>,
}

impl Scratch {
    /// Gives back what a row far longer than others took: threads stay for as long as the server does.
    fn give_back(&mut self) {
        if self.row.capacity() > SCRATCH_BYTES_KEPT || self.key.capacity() > SCRATCH_BYTES_KEPT {
            *self = Self::default();
        }
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl RowStore {
    /// The indexed table in the database at `db`.
    pub(crate) fn new(db: &Path, table: Table) -> Result<Self, OpenError> {
        Self::with_sql(db, &table.name.clone(), table.row_sql(), table)
    }

    /// The copy of `table` in the file at `copy`.
    pub(crate) fn of_copy(copy: &Path, table: Table) -> Result<Self, OpenError> {
        Self::with_sql(copy, CLUSTER_TABLE, TableCopy::new(&table, CLUSTER_TABLE).row_sql(), table)
    }

    fn with_sql(db: &Path, name: &str, sql: String, table: Table) -> Result<Self, OpenError> {
        let file = File::open(db).map_err(SourceError::from)?;
        let map = Map::of(&file).map_err(SourceError::from)?;
        map.advise_random();
        let store = Self {
            db: db.to_owned(),
            tree: Tree::describe(&open(db, Access::Immutable)?, name, table.columns.len(), &map)?,
            file,
            map,
            stamp: SourceStamp::read(db)?,
            cannot_tell: AtomicBool::new(false),
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

    /// The table that the rows are of.
    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    /// Writes the rows with these rowids, in their order. Each must carry what is `asked`, and the buffer must not pass `bytes_max`: a value that
    /// would take it beyond is not written, and one that is longer by itself is not even read.
    ///
    /// Never inlined: the scratch is this thread's, and a coroutine may run on another one after a wait.
    #[inline(never)]
    pub(crate) fn write(
        &self,
        rowids: &[i64],
        asked: &Asked<'_>,
        rows: &mut RowsWriter<'_>,
        bytes_max: usize,
    ) -> Result<(), RowError> {
        SCRATCH.with_borrow_mut(|scratch| {
            let written = self.write_with(scratch, rowids, asked, rows, bytes_max);
            // Also where a row was too long for the page.
            scratch.give_back();
            written
        })
    }

    fn write_with(
        &self,
        scratch: &mut Scratch,
        rowids: &[i64],
        asked: &Asked<'_>,
        rows: &mut RowsWriter<'_>,
        bytes_max: usize,
    ) -> Result<(), RowError> {
        let Scratch { row, key, places } = scratch;
        self.find(rowids, places);
        let mut reader = None;
        for (at, &rowid) in rowids.iter().enumerate() {
            let mut page = Page { store: self, asked, at, key, rows: &mut *rows, bytes_max };
            let short = places.get(at).copied().flatten().zip(self.tree.as_ref());
            if let Some(record) = short.and_then(|(place, tree)| tree.record(&self.map, place, rowid, row)) {
                page.write(rowid, record.values().map(Ok), |at| record.value(at).ok_or(RowError::Gone { rowid }))?;
                continue;
            }
            let reader = match &mut reader {
                Some(reader) => reader,
                none => none.insert(self.reader()?),
            };
            reader.write(rowid, &mut page)?;
        }
        Ok(())
    }

    /// Visits the cells of the rows with these rowids, in their order, each with its place among them.
    pub(crate) fn read(
        &self,
        rowids: &[i64],
        mut visit: impl FnMut(usize, &RowCells<'_>) -> Result<(), RowError>,
    ) -> Result<(), RowError> {
        let (mut row, mut places, mut reader) = (Vec::new(), Vec::new(), None);
        self.find(rowids, &mut places);
        for (at, &rowid) in rowids.iter().enumerate() {
            let short = places.get(at).copied().flatten().zip(self.tree.as_ref());
            if let Some(record) = short.and_then(|(place, tree)| tree.record(&self.map, place, rowid, &mut row)) {
                visit(at, &RowCells(&|column| record.value(column).ok_or(RowError::Gone { rowid })))?;
                continue;
            }
            let reader = match &mut reader {
                Some(reader) => reader,
                none => none.insert(self.reader()?),
            };
            reader.row(rowid, REPLY_BYTES_MAX, |row| {
                visit(at, &RowCells(&|column| row.get_ref(column).map_err(RowError::from)))
            })?;
        }
        Ok(())
    }

    /// Whether rows are read from the pages, as far as they are plain; else each is a question to SQLite.
    pub(crate) fn reads_pages(&self) -> bool {
        self.tree.is_some()
    }

    /// Whether these rows can be read without waiting for a disk; `None` where that cannot be told. Costs a system call for each row and each page of memory that its
    /// page takes.
    pub(crate) fn is_at_hand(&self, mut rowids: impl Iterator<Item = i64>) -> Option<bool> {
        let tree = self.tree.as_ref()?;
        if self.cannot_tell.load(Ordering::Relaxed) {
            return None;
        }
        let mut byte = [0];
        let missing = rowids.try_for_each(|rowid| {
            let Some(place) = tree.place(&self.map, rowid) else { return Ok(()) };
            let (start, bytes) = tree.extent(place);
            (start..start + bytes as u64).step_by(PROBED_BYTES).try_for_each(|at| {
                preadv2(&self.file, &mut [IoSliceMut::new(&mut byte)], at, ReadWriteFlags::NOWAIT).map(drop)
            })
        });
        match missing {
            Ok(()) => Some(true),
            // Not in the system's cache.
            Err(Errno::AGAIN) => Some(false),
            Err(_) => {
                // A file system that does not know the question: it is not asked again.
                self.cannot_tell.store(true, Ordering::Relaxed);
                None
            }
        }
    }

    /// Has the system fetch the pages of these rows, all at once: a disk answers many requests in hardly more time than one.
    pub(crate) fn fetch_ahead(&self, rowids: impl Iterator<Item = i64>) {
        let Some(tree) = &self.tree else { return };
        let mut last = None;
        for (start, bytes) in rowids.filter_map(|rowid| tree.place(&self.map, rowid)).map(|place| tree.extent(place)) {
            if last.replace(start) != Some(start) {
                // A system that takes no advice fetches them one by one.
                let _ = fadvise(&self.file, start, NonZero::new(bytes as u64), Advice::WillNeed);
            }
        }
    }

    /// Finds out where the rows lie, as far as they are read without SQLite, and has the memory fetch all of them at once.
    fn find(&self, rowids: &[i64], places: &mut Vec<Option<Place>>) {
        places.clear();
        let Some(tree) = &self.tree else { return };
        places.extend(rowids.iter().map(|&rowid| tree.place(&self.map, rowid)));
        if places.len() > 1 {
            let touched =
                places.iter().flatten().fold(0, |sum: u8, &place| sum.wrapping_add(tree.touch(&self.map, place)));
            std::hint::black_box(touched);
        }
    }

    /// Lends a reader; it must not be held while a coroutine waits.
    pub(crate) fn reader(&self) -> Result<RowReader<'_>, RowError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.open_again()?,
        };
        Ok(RowReader { store: self, connection: Some(connection) })
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

/// Reads rows through SQLite, for one thread.
pub(crate) struct RowReader<'a> {
    store: &'a RowStore,
    /// Always there until the reader is dropped.
    connection: Option<Connection>,
}

impl RowReader<'_> {
    fn write(&mut self, rowid: i64, page: &mut Page<'_, '_>) -> Result<(), RowError> {
        let columns = self.store.names.len();
        self.row(rowid, page.room(), |row| {
            let value = |at| row.get_ref(at).map_err(RowError::from);
            page.write(rowid, (0..columns).map(value), value)
        })
    }

    /// Gives a row, none of whose values is longer than `room`.
    fn row(
        &mut self,
        rowid: i64,
        room: usize,
        take: impl FnOnce(&Row<'_>) -> Result<(), RowError>,
    ) -> Result<(), RowError> {
        let Some(connection) = &self.connection else { return Err(RowError::TooLong) };
        // What is longer than the whole room cannot fit, and SQLite would copy it into memory before anybody could see how long it is.
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, i32::try_from(room).unwrap_or(i32::MAX))?;
        let mut statement = connection.prepare_cached(&self.store.sql)?;
        let mut found = statement.query([rowid])?;
        take(found.next()?.ok_or(RowError::Gone { rowid })?)
    }
}

impl Drop for RowReader<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.store.give_back(connection);
        }
    }
}

/// The cells of one row.
pub(crate) struct RowCells<'a>(&'a dyn Fn(usize) -> Result<ValueRef<'a>, RowError>);

impl<'a> RowCells<'a> {
    /// The cell of a column.
    pub(crate) fn cell(&self, column: usize) -> Result<Cell<'a>, RowError> {
        (self.0)(column).map(cell)
    }
}

/// The page that rows are written to, and what each of them must carry.
struct Page<'a, 'w> {
    store: &'a RowStore,
    asked: &'a Asked<'a>,
    /// The row's place in the page.
    at: usize,
    key: &'a mut String,
    rows: &'a mut RowsWriter<'w>,
    bytes_max: usize,
}

impl Page<'_, '_> {
    /// Bytes that are left.
    fn room(&self) -> usize {
        self.bytes_max.saturating_sub(self.rows.bytes())
    }

    /// Appends a row: all of its `values`, of which single ones are had from `value_at`.
    fn write<'v>(
        &mut self,
        rowid: i64,
        values: impl Iterator<Item = Result<ValueRef<'v>, RowError>>,
        value_at: impl Fn(usize) -> Result<ValueRef<'v>, RowError>,
    ) -> Result<(), RowError> {
        if !self.asked.is_carried(self.at, &self.store.table, &value_at, self.key)? {
            return Err(RowError::OtherKey { rowid });
        }
        let mut room = self.room();
        let mut writer = self.rows.row();
        for (name, value) in self.store.names.iter().zip(values) {
            let value = value?;
            room = room.checked_sub(bytes_at_least(value, room)).ok_or(RowError::TooLong)?;
            write_value(writer.name(name), value);
        }
        writer.finish();
        if self.rows.bytes() > self.bytes_max { Err(RowError::TooLong) } else { Ok(()) }
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
