//! `--cluster`: the copy of the rows in the order of their names, a SQLite file in the new generation's folder.
//!
//! Rows without a name are not in it: nobody asks for them by name, and the database has them. SQLite writes the file by itself; what is synced,
//! hashed and published is told to the storage here. How the rows are fetched is `window`'s.

use std::path::Path;

use balcao_index::{
    Build, CLUSTER_FILE, CLUSTER_TABLE, ClusterEntry, Generation, IndexError, Manifest, Storage, cluster_rowid,
};
use balcao_registry::{Access, RegistryError, Table, TableCopy, open};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags};

use crate::build::BuildError;
use crate::packed::Values;
use crate::progress::Progress;
use crate::verify::VerifyError;
use crate::window::Windows;

/// What the windows may take of the memory, in quarters: the rest is for SQLite's caches and the allocator.
const WINDOW_QUARTERS: u64 = 3;

/// SQLite's cache while it writes, in KiB. Rows come in order: it needs the path to the last page and a few pages to write at once.
const WRITER_CACHE_KIB: i64 = 4096;

/// Bytes that SQLite needs for a row beside its values: its rowid, its length, and the types of its values, with some to spare.
const ROW_BYTES: u64 = 8;

/// Rows between two reports.
const STEP: u64 = 65_536;

/// Makes the copy, or compares it.
pub(crate) struct Cluster<'a> {
    pub(crate) table: &'a Table,
    pub(crate) memory: u64,
    pub(crate) progress: &'a dyn Progress,
}

impl Cluster<'_> {
    /// Writes the copy beside the files that `manifest` names, and syncs it. The first connection reads rows that are very long, each further one
    /// is for a thread that reads ahead.
    pub(crate) fn write(
        &self,
        connections: &mut [Connection],
        storage: &dyn Storage,
        build: &Build<'_>,
        manifest: &Manifest,
    ) -> Result<ClusterEntry, BuildError> {
        self.progress.stage("copying");
        let folder = build.folder();
        let generation = build.open(manifest)?;
        let windows = self.windows(&generation);
        if let Some(connection) = connections.first() {
            let needed = needed(windows.average_bytes(connection)?, manifest.name_rows);
            refuse_full_disk(&folder, needed)?;
        }
        // Made by the storage, and empty: so it is its owner's alone, and synced by the hand that made it.
        let io = |action| move |cause| IndexError::Io { action, file: CLUSTER_FILE.to_owned(), cause };
        let mut file = storage.create_file(&folder.join(CLUSTER_FILE)).map_err(io("create"))?;
        let writer = self.create(&folder.join(CLUSTER_FILE)).map_err(BuildError::Cluster)?;
        let copy = TableCopy::new(self.table, CLUSTER_TABLE);
        let mut statement = writer.prepare(&copy.append_sql()).map_err(BuildError::Cluster)?;
        windows.for_each(connections, |rank, values| {
            let put = |(at, value)| statement.raw_bind_parameter(at + 1, ToSqlOutput::Borrowed(value));
            values.enumerate().try_for_each(put).map_err(BuildError::Cluster)?;
            statement.raw_execute().map_err(BuildError::Cluster)?;
            self.report(rank, manifest.name_rows);
            Ok::<_, BuildError>(())
        })?;
        drop(statement);
        writer.execute_batch("COMMIT").map_err(BuildError::Cluster)?;
        writer.close().map_err(|(_, error)| BuildError::Cluster(error))?;
        file.sync().map_err(io("sync"))?;
        Ok(ClusterEntry::measure(&folder)?)
    }

    /// Compares each row of the copy with the table's: all of them, value by value, and none beside them.
    pub(crate) fn verify(&self, connections: &mut [Connection], generation: &Generation) -> Result<(), VerifyError> {
        let Some(path) = generation.cluster() else { return Ok(()) };
        self.progress.stage("copy");
        let read = |error: rusqlite::Error| VerifyError::Database(RegistryError::from(error).into());
        let connection = open(&path, Access::Immutable).map_err(BuildError::from)?;
        // Not mapped: a bad place of the disk is an error then, and not the end of the process.
        connection.pragma_update(None, "mmap_size", 0).map_err(read)?;
        let copy = TableCopy::new(self.table, CLUSTER_TABLE);
        let mut statement = connection.prepare(&copy.scan_sql()).map_err(read)?;
        let mut copied = statement.query([]).map_err(read)?;
        let ranks = generation.manifest().name_rows;
        self.windows(generation).for_each(connections, |rank, mut values: Values<'_>| {
            let row = copied.next().map_err(read)?.ok_or(VerifyError::Copy { rank })?;
            let mut same = row.get_ref(0).map_err(read)? == ValueRef::Integer(cluster_rowid(rank));
            for at in 1..row.as_ref().column_count() {
                let value = row.get_ref(at).map_err(read)?;
                same &= values.next().is_some_and(|expected| is_same(expected, value));
            }
            if !same || values.next().is_some() {
                return Err(VerifyError::Copy { rank });
            }
            self.report(rank, ranks);
            Ok(())
        })?;
        if copied.next().map_err(read)?.is_some() { Err(VerifyError::Copy { rank: ranks }) } else { Ok(()) }
    }

    fn windows<'a>(&'a self, generation: &'a Generation) -> Windows<'a> {
        Windows { generation, table: self.table, memory: self.memory / 4 * WINDOW_QUARTERS }
    }

    /// Opens the empty file to be written once, from its beginning to its end. A crash leaves it in a folder that nobody serves: no journal, and
    /// one sync at the end, which is not SQLite's.
    fn create(&self, path: &Path) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.execute_batch(&format!(
            "PRAGMA encoding = 'UTF-8'; PRAGMA page_size = 4096; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; \
             PRAGMA locking_mode = EXCLUSIVE; PRAGMA cache_size = -{WRITER_CACHE_KIB}; BEGIN; {}",
            TableCopy::new(self.table, CLUSTER_TABLE).create_sql()
        ))?;
        Ok(connection)
    }

    fn report(&self, rank: u64, ranks: u64) {
        let done = rank + 1;
        if done.is_multiple_of(STEP) || done == ranks {
            self.progress.rows((done - 1) % STEP + 1, done as f64 / ranks as f64);
        }
    }
}

/// Whether two values are one and the same: an integer is no real, and no zero is another.
fn is_same(one: ValueRef<'_>, other: ValueRef<'_>) -> bool {
    match (one, other) {
        (ValueRef::Real(one), ValueRef::Real(other)) => one.to_bits() == other.to_bits(),
        _ => one == other,
    }
}

/// About how many bytes the copy takes: the rows as packed, what SQLite puts beside each, and its inner pages.
fn needed(average: u64, rows: u64) -> u64 {
    let rows = rows.saturating_mul(average + ROW_BYTES);
    rows.saturating_add(rows / 32).saturating_add(1 << 16)
}

/// Refuses to begin what would fail after minutes, with a disk that is full for everybody meanwhile.
fn refuse_full_disk(folder: &Path, needed: u64) -> Result<(), BuildError> {
    let free = rustix::fs::statvfs(folder).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    match free {
        Ok(free) if free < needed => Err(BuildError::ClusterSpace { needed, free }),
        // A file system that does not tell will say so when it is full.
        _ => Ok(()),
    }
}
