//! The build, from the first look at the database to the published generation.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Instant;
use std::{io, thread};

use balcao_index::{
    Build, IndexError, RealFiles, RowidRange, Source, SourceError, SourceFile, Storage, WORD_INDEX_ROWS_MAX,
};
use balcao_registry::{Access, RegistryError, Table, TableName, open};
use rusqlite::{Connection, ErrorCode};
use serde::Serialize;

use crate::cluster::Cluster;
use crate::filters::{FilterPlan, FilterSummary, SearchPlan, span_message};
use crate::held::HeldFile;
use crate::progress::Progress;
use crate::scan::{Scanned, Source as Scan, scan};
use crate::store::{Store, spill_message};
use crate::writer::Writer;

/// The least memory that a build takes: below it the batches are too small to be worth sorting.
pub const MEMORY_MIN: u64 = 16 << 20;

/// What to build.
#[derive(Clone, Debug)]
pub struct BuildPlan {
    /// The database.
    pub db: PathBuf,
    /// The index's folder.
    pub index: PathBuf,
    /// Table and columns.
    pub table: TableName,
    /// Shards of each of the two indexes; one for each core without it.
    pub shards: Option<NonZero<usize>>,
    /// Bytes of memory to stay within, at least [`MEMORY_MIN`].
    pub memory: u64,
    /// Whether to write the rows once more, in the order of their names.
    pub cluster: bool,
    /// What is built beside the keys.
    pub search: SearchPlan,
}

/// What was built.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The published generation.
    pub generation: String,
    /// Rows of the table.
    pub rows: u64,
    /// Rows with a CPF key.
    pub cpf_rows: u64,
    /// Rows with a name key.
    pub name_rows: u64,
    /// Anomalies by kind.
    pub anomalies: BTreeMap<String, u64>,
    /// Bytes of the index's files; neither the manifest is counted nor the copy of the rows.
    pub bytes: u64,
    /// Bytes of the copy of the rows in the order of their names, where one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_bytes: Option<u64>,
    /// The word index, where one was built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub words: Option<WordSummary>,
    /// Why none was built though it was to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub words_left_out: Option<String>,
    /// The filter columns, where some were built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filters: Option<FilterSummary>,
    /// Why none were built though the table has such columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filters_left_out: Option<String>,
    /// Bytes that went through the spill file.
    pub spilled_bytes: u64,
    /// Seconds from the first look at the database to publication.
    pub seconds: f64,
}

/// What was built of words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WordSummary {
    /// Distinct words.
    pub distinct: u64,
    /// Bytes of the word index.
    pub bytes: u64,
}

/// Why nothing was built. The former generation stays, but where [`balcao_index::Build::publish`] says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The database cannot be a source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The table cannot be read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The index cannot be written.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Runs cannot be spilled.
    #[error("{}", spill_message(.0))]
    Spill(io::Error),
    /// The copy of the rows cannot be written.
    #[error("{}", copy_message(.0))]
    Cluster(rusqlite::Error),
    /// The copy of the rows has no room.
    #[error(
        "the copy of the rows in the order of their names takes about {} MiB, and {} MiB are free in the index's folder; free some space, or \
         build without --cluster",
        needed.div_ceil(1 << 20),
        free >> 20
    )]
    ClusterSpace {
        /// Bytes that it takes, about.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// A row that was read is not found again.
    #[error(
        "the database is damaged: row {rowid} was read, and is not found again; check it with `PRAGMA integrity_check`"
    )]
    Lost {
        /// The row.
        rowid: i64,
    },
    /// Someone wrote to the database during the build, or moved it.
    #[error(
        "the database changed while it was read, or was moved, replaced or removed; stop what does so and build again"
    )]
    Changed,
    /// The file does not end with a page's end.
    #[error(
        "the database is damaged: the end of its file is torn off; copy it again, or check it with `PRAGMA integrity_check`"
    )]
    Torn,
    /// SQLite gave rows that are not in the order of their rowids.
    #[error("the database is damaged: its rows are not in order; check it with `PRAGMA integrity_check`")]
    Disorder,
    /// A page leads nowhere.
    #[error("the database is damaged: its pages do not lead to all rows; check it with `PRAGMA integrity_check`")]
    Tree,
    /// A page of the database could not be read.
    #[error("a part of the database cannot be read; check the disk, or copy the file from a good one")]
    Unreadable,
    /// Sex and day of birth are to be read from one column.
    #[error(
        "sex and day of birth are read from one column; name two with --sex-column and --birth-column, or leave one out with ''"
    )]
    OneColumn,
    /// The rowids leave no room for the filters that were asked for.
    #[error("{}", span_message())]
    FilterSpan,
    /// Less memory than a build takes.
    #[error("a build needs at least {} MiB of memory; raise --memory", MEMORY_MIN >> 20)]
    Memory,
    /// A thread panicked.
    #[error("a thread of the build failed; this is a defect, please report it")]
    Thread,
}

/// Builds one generation and publishes it.
///
/// # Errors
/// [`BuildError`]; what was served before still is, but where [`balcao_index::Build::publish`] says otherwise.
pub fn build(plan: &BuildPlan, progress: &dyn Progress) -> Result<Summary, BuildError> {
    if plan.memory < MEMORY_MIN {
        return Err(BuildError::Memory);
    }
    build_with(plan, thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN), &RealFiles, progress)
}

/// [`build`] by so many threads, over any storage, with any memory: what [`MEMORY_MIN`] keeps from being slow is right all the same.
///
/// # Errors
/// [`BuildError`].
pub fn build_with(
    plan: &BuildPlan,
    threads: NonZero<usize>,
    storage: &dyn Storage,
    progress: &dyn Progress,
) -> Result<Summary, BuildError> {
    let began = Instant::now();
    let threads = threads.get();
    let held = HeldFile::open(&plan.db).map_err(SourceError::Io)?;
    let source_file = SourceFile::read(held.path())?;
    // SQLite would read zeros where the last page is torn off.
    if !source_file.bytes.is_multiple_of(source_file.page_bytes.into()) {
        return Err(BuildError::Torn);
    }
    let begin = || -> Result<_, BuildError> {
        let connections = connect(held.path(), threads)?;
        let table = Table::describe(&connections[0], &plan.table)?;
        let span = table.rowid_range(&connections[0])?;
        Ok((connections, table, span))
    };
    let (connections, table, span) = begin().map_err(|error| explain(&held, error))?;
    let (filters, filters_left_out) = FilterPlan::of(&table, &plan.search, span)?;
    let generation = Build::begin_with(storage, &plan.index)?;
    progress.stage("reading");
    let store = Store::new(plan.memory, threads, storage, generation.folder());
    // The content by a thread of its own, and while SQLite's locks still keep writers out.
    let (scanned, content) = thread::scope(|scope| {
        let content = scope.spawn(|| held.hash_content());
        let scanned = match span {
            Some(span) => {
                let source = Scan { file: &held, table: &table, span, filters: &filters };
                scan(connections, &source, &store, progress).map_err(|error| explain(&held, error))
            }
            None => Ok(Scanned::empty()),
        };
        (scanned, content.join())
    });
    let scanned = scanned?;
    let content = content.map_err(|_| BuildError::Thread)?.map_err(SourceError::Io)?;
    let (words, words_left_out) = has_words(plan.search.words, scanned.names.iter().map(|run| run.rows).sum());
    let writer = Writer {
        generation: &generation,
        storage,
        store: &store,
        range: span.map_or(RowidRange { min: 0, max: 0 }, |(min, max)| RowidRange { min, max }),
        shards: plan.shards.map_or(threads, NonZero::get),
        threads,
        filters: &filters,
        words,
        progress,
    };
    let (mut manifest, distinct) = writer.write(
        scanned,
        Source {
            table: table.name.clone(),
            cpf_column: table.columns[table.cpf_at].clone(),
            name_column: table.columns[table.name_at].clone(),
            file: SourceFile { content: Some(content), ..source_file.clone() },
        },
    )?;
    if plan.cluster {
        let cluster = Cluster { table: &table, memory: plan.memory, progress };
        let write = || {
            let mut connections = connect(held.path(), threads + 1)?;
            cluster.write(&mut connections, storage, &generation, &manifest)
        };
        manifest.cluster = Some(write().map_err(|error| explain(&held, error))?);
    }
    if !held.is_untouched() || !SourceFile::read(held.path())?.fits(&source_file) {
        return Err(BuildError::Changed);
    }
    generation.check(&manifest)?;
    generation.publish(&manifest)?;
    Ok(Summary {
        rows: manifest.rows,
        cpf_rows: manifest.cpf_rows,
        name_rows: manifest.name_rows,
        bytes: manifest.index_bytes(),
        cluster_bytes: manifest.cluster.map(|cluster| cluster.file.bytes),
        words: manifest.word_index.map(|entry| WordSummary { distinct, bytes: entry.bytes }),
        words_left_out,
        filters: manifest.filters.as_ref().map(FilterSummary::from),
        filters_left_out,
        anomalies: manifest.anomalies,
        generation: manifest.generation,
        spilled_bytes: store.spilled_bytes(),
        seconds: began.elapsed().as_secs_f64(),
    })
}

/// Whether so many names get a word index, and why not where one is wanted.
fn has_words(wanted: bool, names: u64) -> (bool, Option<String>) {
    let fits = names <= WORD_INDEX_ROWS_MAX;
    let left_out = format!("{names} rows have a name, and a word index takes at most {WORD_INDEX_ROWS_MAX}");
    (wanted && fits, (wanted && !fits).then_some(left_out))
}

/// What SQLite cannot make sense of in a file that somebody changes is no damage of the file.
fn explain(held: &HeldFile, error: BuildError) -> BuildError {
    match error {
        BuildError::Registry(_)
        | BuildError::Disorder
        | BuildError::Tree
        | BuildError::Unreadable
        | BuildError::Lost { .. }
            if !held.is_untouched() =>
        {
            BuildError::Changed
        }
        error => error,
    }
}

/// What SQLite says of the copy, and what to do.
fn copy_message(error: &rusqlite::Error) -> String {
    let remedy = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "free some space and build again, or build without --cluster",
        Some(ErrorCode::TooBig) => "a row is too long for a copy; build without --cluster",
        _ => {
            "check the disk, and that a file may grow so large (`ulimit -f`), and build again, or build without --cluster"
        }
    };
    format!("cannot write the copy of the rows in the order of their names: {error}; {remedy}")
}

/// Opens a connection for each thread, all within one state of the database.
pub(crate) fn connect(db: &Path, threads: usize) -> Result<Vec<Connection>, BuildError> {
    // A reader of a database in write-ahead mode would have to create files beside it: it is read as it lies there, since nothing waits in a
    // log, and the check at the end sees any change. Otherwise SQLite's shared locks keep writers out while it is read.
    let access = if SourceFile::is_wal(db).map_err(SourceError::Io)? { Access::Immutable } else { Access::Locked };
    let connect = || -> Result<Connection, RegistryError> {
        let connection = open(db, access)?;
        // Not mapped: few rows come this way, and of a file that somebody cuts short a read is an error by itself.
        connection.pragma_update(None, "mmap_size", 0)?;
        connection.execute_batch("BEGIN")?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
        Ok(connection)
    };
    Ok((0..threads).map(|_| connect()).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_names_than_a_word_index_takes() {
        assert_eq!(has_words(true, WORD_INDEX_ROWS_MAX), (true, None));
        assert_eq!(has_words(false, WORD_INDEX_ROWS_MAX + 1), (false, None));
        let (words, left_out) = has_words(true, WORD_INDEX_ROWS_MAX + 1);
        assert!(!words && left_out.unwrap().starts_with("4294967296 rows"));
    }
}
