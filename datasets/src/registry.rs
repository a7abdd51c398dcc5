//! Writes a registry as a SQLite file: workers make blocks of rows, one thread inserts them in order.
//!
//! It makes no index. The file gets its name when it is whole and on the disk; nothing is left where that fails.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf, is_separator};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, Statement};
use tempfile::TempPath;

use crate::defect::Defect;
use crate::error::Error;
use crate::recipe::{Block, Cells, Recipe};

/// Rows of a block: some 100 KB of text, so that it stays in a core's cache from the worker to the writer.
const BLOCK_ROWS: u64 = 2048;
/// Blocks that a worker may be ahead of the writer.
const BLOCKS_AHEAD: usize = 8;
/// Rows of one INSERT, measured: 1 row takes a third longer, 4 and 64 a tenth. A divisor of the block, so that only the last
/// block has rows left over for the single INSERT.
const INSERT_ROWS: usize = 16;
const _: () = assert!(BLOCK_ROWS.is_multiple_of(INSERT_ROWS as u64));
const COLUMNS: usize = 4;

/// No journal and no sync by SQLite: a file that is not finished is thrown away, and a finished one is synced once.
const SETTINGS: &str = "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE;
    PRAGMA cache_size=-16384;";
const SCHEMA: &str = "CREATE TABLE cpf(cpf TEXT, nome TEXT, sexo TEXT, nasc TEXT);";

/// A recipe and the file that it is to become.
pub struct Plan {
    /// Which rows.
    pub recipe: Recipe,
    /// The SQLite file to write; nothing may be there yet.
    pub out: PathBuf,
}

/// What was written.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Rows in the table.
    pub rows: u64,
    /// Length of the file in bytes.
    pub bytes: u64,
    /// From the call to the synced file.
    pub elapsed: Duration,
    dirty: [u64; Defect::ALL.len()],
}

impl Summary {
    /// Rows that have this defect.
    #[must_use]
    pub fn dirty(&self, defect: Defect) -> u64 {
        self.dirty[defect as usize]
    }

    /// Rows that have a defect.
    #[must_use]
    pub fn dirty_rows(&self) -> u64 {
        self.dirty.iter().sum()
    }
}

/// Writes the registry of `plan`. `progress` is told the rows inserted so far, after each block of some thousand.
///
/// The bytes of the file depend on the recipe alone, not on the machine's cores.
///
/// # Errors
/// [`Error::OutExists`] and [`Error::LeftOver`] before anything is written; [`Error::File`] and [`Error::Sqlite`] while writing.
pub fn write_registry(plan: &Plan, progress: impl FnMut(u64)) -> Result<Summary, Error> {
    write_registry_until(plan, &AtomicBool::new(false), progress)
}

/// As [`write_registry`], but gives up as soon as `stop` is true.
///
/// # Errors
/// [`Error::Interrupted`] when it gave up, else as [`write_registry`].
pub fn write_registry_until(plan: &Plan, stop: &AtomicBool, progress: impl FnMut(u64)) -> Result<Summary, Error> {
    // The writer is the slower side and has a core to itself where there are two.
    let workers = thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).clamp(1, 4));
    write_with(plan, workers, stop, progress)
}

pub(crate) fn write_with(
    plan: &Plan,
    workers: usize,
    stop: &AtomicBool,
    progress: impl FnMut(u64),
) -> Result<Summary, Error> {
    let start = Instant::now();
    refuse_existing(&plan.out)?;
    let file_error = |source: io::Error| Error::File { path: plan.out.clone(), source };
    let partial = create_partial(&plan.out).map_err(file_error)?;

    let mut dirty = [0; Defect::ALL.len()];
    let rows = insert_all(plan, &partial, workers, stop, progress, &mut dirty)?;

    let file = File::options().write(true).open(&partial).map_err(file_error)?;
    file.sync_all().map_err(file_error)?;
    let bytes = file.metadata().map_err(file_error)?.len();
    drop(file);
    partial.persist_noclobber(&plan.out).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => Error::OutExists { path: plan.out.clone() },
        _ => file_error(error.error),
    })?;
    sync_folder(folder(&plan.out)).map_err(file_error)?;
    Ok(Summary { rows, bytes, elapsed: start.elapsed(), dirty })
}

fn refuse_existing(out: &Path) -> Result<(), Error> {
    // Not `exists`: a dangling link is something that is there.
    if out.symlink_metadata().is_ok() {
        return Err(Error::OutExists { path: out.to_owned() });
    }
    for suffix in ["-journal", "-wal"] {
        let mut path = OsString::from(out);
        path.push(suffix);
        let path = PathBuf::from(path);
        if path.symlink_metadata().is_ok() {
            return Err(Error::LeftOver { path });
        }
    }
    Ok(())
}

/// An empty file beside the one to write, removed when it is dropped. Readable for its owner alone, as every file with names.
fn create_partial(out: &Path) -> io::Result<TempPath> {
    // A name that ends in a separator would be refused only at the last step, with all rows written.
    let ends_in_separator = out.as_os_str().as_encoded_bytes().last().is_some_and(|&byte| is_separator(byte.into()));
    let name = out.file_name().filter(|_| !ends_in_separator).ok_or(io::ErrorKind::InvalidFilename)?;
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(".partial-");
    Ok(tempfile::Builder::new().prefix(&prefix).tempfile_in(folder(out))?.into_temp_path())
}

fn folder(out: &Path) -> &Path {
    match out.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes the new name survive a power cut. Only Unix opens folders.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn insert_all(
    plan: &Plan,
    partial: &Path,
    workers: usize,
    stop: &AtomicBool,
    progress: impl FnMut(u64),
    dirty: &mut [u64; Defect::ALL.len()],
) -> Result<u64, Error> {
    let sqlite_error = |source| Error::Sqlite { path: plan.out.clone(), source };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(partial, flags).map_err(sqlite_error)?;
    connection.execute_batch(SETTINGS).map_err(sqlite_error)?;
    connection.execute_batch(&format!("BEGIN; {SCHEMA}")).map_err(sqlite_error)?;
    let inserted = thread::scope(|scope| {
        let lanes: Vec<Lane> = (0..workers)
            .map(|worker| {
                let (full, blocks) = bounded(BLOCKS_AHEAD);
                let (spent, empties) = bounded(BLOCKS_AHEAD);
                scope.spawn(move || make_blocks(&plan.recipe, worker, workers, &full, &empties));
                Lane { blocks, spent }
            })
            .collect();
        insert_blocks(&connection, &lanes, plan.recipe.len(), stop, progress, dirty)
    });
    let rows = inserted.map_err(sqlite_error)?;
    if rows < plan.recipe.len() {
        return Err(Error::Interrupted { rows });
    }
    connection.execute_batch("COMMIT").map_err(sqlite_error)?;
    connection.close().map_err(|(_, source)| sqlite_error(source))?;
    Ok(rows)
}

/// The writer's ends of a worker's channels: its blocks, and the way back for the spent ones.
struct Lane {
    blocks: Receiver<Block>,
    spent: Sender<Block>,
}

/// Makes every `workers`-th block, beginning with the one numbered `worker`, until all are made or nobody wants them.
fn make_blocks(recipe: &Recipe, worker: usize, workers: usize, full: &Sender<Block>, empties: &Receiver<Block>) {
    for start in (0..recipe.len()).step_by(BLOCK_ROWS as usize).skip(worker).step_by(workers) {
        let mut block = empties.try_recv().unwrap_or_default();
        recipe.fill(start..(start + BLOCK_ROWS).min(recipe.len()), &mut block);
        if full.send(block).is_err() {
            return;
        }
    }
}

/// Inserts the blocks in order, taking them from the lanes in turn. Returns the rows inserted, fewer than `rows` if stopped.
fn insert_blocks(
    connection: &Connection,
    lanes: &[Lane],
    rows: u64,
    stop: &AtomicBool,
    mut progress: impl FnMut(u64),
    dirty: &mut [u64; Defect::ALL.len()],
) -> rusqlite::Result<u64> {
    let mut many = connection.prepare(&insert(INSERT_ROWS))?;
    let mut one = connection.prepare(&insert(1))?;
    let mut done = 0;
    for lane in lanes.iter().cycle() {
        if done == rows || stop.load(Ordering::Relaxed) {
            break;
        }
        // A worker that is gone has panicked, and the scope passes that on.
        let Ok(block) = lane.blocks.recv() else { break };
        let whole = block.len() - block.len() % INSERT_ROWS;
        for first in (0..whole).step_by(INSERT_ROWS) {
            for row in 0..INSERT_ROWS {
                bind(&mut many, row, block.cells(first + row))?;
            }
            many.raw_execute()?;
        }
        for row in whole..block.len() {
            bind(&mut one, 0, block.cells(row))?;
            one.raw_execute()?;
        }
        for defect in (0..block.len()).filter_map(|row| block.cells(row).defect) {
            dirty[defect as usize] += 1;
        }
        done += block.len() as u64;
        progress(done);
        // A full way back means that there are blocks enough.
        let _ = lane.spent.try_send(block);
    }
    Ok(done)
}

fn insert(rows: usize) -> String {
    format!("INSERT INTO cpf VALUES {}", vec!["(?,?,?,?)"; rows].join(","))
}

/// Binds the cells of a row to the `row`-th group of parameters.
fn bind(statement: &mut Statement<'_>, row: usize, cells: Cells<'_>) -> rusqlite::Result<()> {
    let values = [cells.cpf, cells.nome, Some(cells.sexo.letter().as_bytes()), cells.nasc];
    for (column, value) in values.into_iter().enumerate() {
        // As bytes, because a dirty TEXT need not be UTF-8.
        let value = value.map_or(ValueRef::Null, ValueRef::Text);
        statement.raw_bind_parameter(row * COLUMNS + column + 1, ToSqlOutput::Borrowed(value))?;
    }
    Ok(())
}
