//! The build, from the first look at the database to the published generation.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Instant, SystemTime};
use std::{io, thread};

use balcao_index::{
    Build, CpfShardWriter, FORMAT_VERSION, IndexError, Manifest, NameShardWriter, NameToken, RealFiles, RowidRange,
    ShardEntry, Source, SourceError, SourceFile, Storage, Words,
};
use balcao_record::NORMALIZATION_VERSION;
use balcao_registry::{Access, RegistryError, Table, TableName, open};
use rusqlite::{Connection, ErrorCode};
use serde::Serialize;

use crate::anomaly::Anomaly;
use crate::cluster::Cluster;
use crate::held::HeldFile;
use crate::keys::{NameKeys, Numbers};
use crate::merge::{Merge, bounds};
use crate::progress::Progress;
use crate::ranking::Ranking;
use crate::run::{Keys, READ_BYTES, Run};
use crate::scan::{Scanned, scan, spill_message};

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
    /// Bytes that went through the spill file.
    pub spilled_bytes: u64,
    /// Seconds from the first look at the database to publication.
    pub seconds: f64,
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
    let generation = Build::begin_with(storage, &plan.index)?;
    progress.stage("reading");
    // The content by a thread of its own, and while SQLite's locks still keep writers out.
    let (scanned, content) = thread::scope(|scope| {
        let content = scope.spawn(|| held.hash_content());
        let scanned = match span {
            Some(span) => {
                let spill = (storage, &*generation.folder());
                scan(connections, &held, &table, span, plan.memory, spill, progress)
                    .map_err(|error| explain(&held, error))
            }
            None => Ok((Scanned::empty(), 0)),
        };
        (scanned, content.join())
    });
    let (scanned, spilled_bytes) = scanned?;
    let content = content.map_err(|_| BuildError::Thread)?.map_err(SourceError::Io)?;
    let range = span.map_or(RowidRange { min: 0, max: 0 }, |(min, max)| RowidRange { min, max });
    let shards = plan.shards.map_or(threads, NonZero::get);
    let writer = Writer { generation: &generation, storage, range, shards, threads, memory: plan.memory, progress };
    let mut manifest = writer.write(
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
        anomalies: manifest.anomalies,
        generation: manifest.generation,
        spilled_bytes,
        seconds: began.elapsed().as_secs_f64(),
    })
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

/// Writes the files of a generation.
struct Writer<'a> {
    generation: &'a Build<'a>,
    storage: &'a dyn Storage,
    range: RowidRange,
    shards: usize,
    threads: usize,
    memory: u64,
    progress: &'a dyn Progress,
}

/// The tokens of all names: the dictionary, the code of each where it has one, and their order.
struct Tokens<'s> {
    words: Arc<Words>,
    codes: Vec<Option<u32>>,
    ranking: Ranking<'s>,
}

/// A shard to be written: which part of which index.
enum Job {
    Cpf(usize),
    Name(usize),
}

impl Writer<'_> {
    fn write(&self, scanned: Scanned, source: Source) -> Result<Manifest, BuildError> {
        self.progress.stage("writing");
        // Taken apart, so that the runs go with the end of this: a copy of the rows may come next.
        let Scanned { cpf: cpf_runs, names: name_runs, anomalies, tokens: tables, rows, counts, .. } = scanned;
        let ranking = Ranking::of(&tables);
        let (words, codes) = Words::frequent(&ranking.counted());
        let tokens = Tokens { words: Arc::new(words), codes, ranking };
        let words_entry = tokens.words.write_with(self.storage, &self.generation.folder())?;
        let anomalies_file = self.write_anomalies(&anomalies)?;
        let (cpf, names) = self.write_shards(&cpf_runs, &name_runs, &tokens)?;
        let built_at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let counted = Anomaly::ALL.iter().zip(counts).filter(|&(_, count)| count > 0);
        Ok(Manifest {
            format_version: FORMAT_VERSION,
            normalization_version: NORMALIZATION_VERSION,
            generation: self.generation.name().to_owned(),
            former: self.generation.former().map(str::to_owned),
            built_at,
            source,
            rows,
            cpf_rows: cpf_runs.iter().map(|run| run.rows).sum(),
            name_rows: name_runs.iter().map(|run| run.rows).sum(),
            anomalies: counted.map(|(kind, count)| (kind.as_str().to_owned(), count)).collect(),
            words: words_entry,
            cpf,
            names,
            anomalies_file,
            cluster: None,
            word_index: None,
            filters: None,
        })
    }

    /// Writes all shards, as many at once as there are threads.
    fn write_shards(
        &self,
        cpf: &[Run<u64>],
        names: &[Run<Vec<u8>>],
        tokens: &Tokens<'_>,
    ) -> Result<(Vec<ShardEntry>, Vec<ShardEntry>), BuildError> {
        let (cpf_bounds, name_bounds) = (bounds(cpf, self.shards), bounds(names, self.shards));
        let count = |rows: u64, bounds: usize| if rows == 0 { 0 } else { bounds + 1 };
        let cpf_shards = count(cpf.iter().map(|run| run.rows).sum(), cpf_bounds.len());
        let name_shards = count(names.iter().map(|run| run.rows).sum(), name_bounds.len());
        // The dear ones first, so that no thread is left with one at the end.
        let jobs: Vec<Job> = (0..name_shards).map(Job::Name).chain((0..cpf_shards).map(Job::Cpf)).collect();
        let total = cpf.iter().map(|run| run.rows).chain(names.iter().map(|run| run.rows)).sum();
        let written = Written { rows: AtomicU64::new(0), total, progress: self.progress };
        let next = AtomicUsize::new(0);
        let work = || -> Result<Vec<(usize, ShardEntry)>, BuildError> {
            let mut done = Vec::new();
            while let Some((number, job)) = take(&jobs, &next) {
                let entry = match job {
                    Job::Cpf(shard) => self.write_cpf(cpf, &cpf_bounds, *shard, &written),
                    Job::Name(shard) => self.write_names(names, &name_bounds, *shard, tokens, &written),
                };
                done.push((number, entry.inspect_err(|_| next.store(jobs.len(), Ordering::Relaxed))?));
            }
            Ok(done)
        };
        let results: Vec<_> = thread::scope(|scope| {
            let handles: Vec<_> = (0..self.threads.min(jobs.len())).map(|_| scope.spawn(work)).collect();
            handles.into_iter().map(|handle| handle.join().unwrap_or(Err(BuildError::Thread))).collect()
        });
        let mut entries = Vec::with_capacity(jobs.len());
        for result in results {
            entries.extend(result?);
        }
        entries.sort_unstable_by_key(|(number, _)| *number);
        let mut entries = entries.into_iter().map(|(_, entry)| entry);
        let names = entries.by_ref().take(name_shards).collect();
        Ok((entries.collect(), names))
    }

    fn write_cpf(
        &self,
        runs: &[Run<u64>],
        bounds: &[u64],
        shard: usize,
        written: &Written<'_>,
    ) -> Result<ShardEntry, BuildError> {
        let folder = self.generation.folder();
        let mut writer = CpfShardWriter::create_with(self.storage, &folder, shard as u32, self.range)?;
        let range = (shard.checked_sub(1).and_then(|before| bounds.get(before)), bounds.get(shard));
        let merge = Merge::new(runs, |_| Numbers::default(), range, self.read_bytes(runs.len()));
        self.feed(merge.map_err(BuildError::Spill)?, written, |code, rowid| writer.push(code.0, rowid))?;
        let (keys, rows) = writer.finish()?;
        Ok(ShardEntry { keys, rows })
    }

    fn write_names(
        &self,
        runs: &[Run<Vec<u8>>],
        bounds: &[Vec<u8>],
        shard: usize,
        tokens: &Tokens<'_>,
        written: &Written<'_>,
    ) -> Result<ShardEntry, BuildError> {
        let folder = self.generation.folder();
        let words = Arc::clone(&tokens.words);
        let mut writer = NameShardWriter::create_with(self.storage, &folder, shard as u32, self.range, words)?;
        let range = (shard.checked_sub(1).and_then(|before| bounds.get(before)), bounds.get(shard));
        let keys = |run: &Run<Vec<u8>>| NameKeys::new(&tokens.ranking, run.thread);
        let merge = Merge::new(runs, keys, range, self.read_bytes(runs.len()));
        let mut before = NameKeys::new(&tokens.ranking, 0);
        self.feed(merge.map_err(BuildError::Spill)?, written, |name, rowid| {
            let shared = name.shared(&before);
            if shared == name.len() && shared == before.len() {
                return writer.push_row(rowid);
            }
            let further = (shared..name.len()).map(|at| {
                let code = name.place(at).and_then(|place| tokens.codes[place]);
                code.map_or_else(|| NameToken::Rare(name.token(at)), NameToken::Frequent)
            });
            writer.push_tokens(shared, further, rowid)?;
            before.copy(name);
            Ok(())
        })?;
        let (keys, rows) = writer.finish()?;
        Ok(ShardEntry { keys, rows })
    }

    /// Feeds merged keys with their rowids to `push`, in order.
    fn feed<D: Keys>(
        &self,
        mut merge: Merge<'_, D>,
        written: &Written<'_>,
        mut push: impl FnMut(&D, i64) -> Result<(), IndexError>,
    ) -> Result<(), BuildError> {
        let mut since = 0;
        while let Some((key, row)) = merge.current() {
            push(key, self.range.min.wrapping_add(row as i64))?;
            merge.advance().map_err(BuildError::Spill)?;
            since += 1;
            if since == Written::STEP {
                written.add(since);
                since = 0;
            }
        }
        written.add(since);
        Ok(())
    }

    /// An eighth of the memory is for the buffers of spilled runs: each thread reads all of them at once.
    fn read_bytes(&self, runs: usize) -> usize {
        let share = self.memory / 8 / (runs.max(1) * self.threads) as u64;
        (share as usize).clamp(*READ_BYTES.start(), *READ_BYTES.end())
    }

    fn write_anomalies(&self, runs: &[Run<u64>]) -> Result<balcao_index::FileEntry, BuildError> {
        let mut file = self.generation.anomalies()?;
        let mut merge = Merge::new(runs, |_| Numbers::default(), (None, None), self.read_bytes(runs.len()))
            .map_err(BuildError::Spill)?;
        while let Some((&Numbers(row), kind)) = merge.current() {
            let kind = Anomaly::ALL.get(kind as usize).ok_or(BuildError::Thread)?;
            file.push(self.range.min.wrapping_add(row as i64), kind.as_str())?;
            merge.advance().map_err(BuildError::Spill)?;
        }
        Ok(file.finish()?)
    }
}

/// The next job that no thread has taken.
fn take<'a, T>(jobs: &'a [T], next: &AtomicUsize) -> Option<(usize, &'a T)> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    jobs.get(number).map(|job| (number, job))
}

/// How many keys are written.
struct Written<'a> {
    rows: AtomicU64,
    total: u64,
    progress: &'a dyn Progress,
}

impl Written<'_> {
    /// Keys between two reports.
    const STEP: u64 = 65_536;

    fn add(&self, rows: u64) {
        let done = self.rows.fetch_add(rows, Ordering::Relaxed) + rows;
        self.progress.rows(rows, done as f64 / self.total.max(1) as f64);
    }
}
