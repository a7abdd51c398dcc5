//! `Snapshot`: one open generation and the rows that it points at, as they stay until the last request that began with them ends.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use balcao_index::{
    FilterColumns, Filters, Generation, IndexError, Published, SourceError, SourceFile, SourceStamp, catch_map_faults,
    map_faults,
};
use balcao_registry::{Access, RegistryError, Table, TableName, open};
use balcao_wire::{Code, Fault, Greeting, Id, Operation, Request, write_fault, write_greeting, write_pong};
use rusqlite::ErrorCode;

use crate::quota::Quota;
use crate::rows::RowStore;
use crate::search::{Bounds, FilterPlaces, late};

/// The values of `match` that need no word index.
const PLAIN_MATCHES: &[&str] = &["exact", "prefix"];

/// Those that a generation with words answers.
const ALL_MATCHES: &[&str] = &["exact", "prefix", "words", "fuzzy"];

/// What lies in the two places that a snapshot is opened from, at a glance: what was published when, and the database's stamp. `None` is what
/// cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    published: Option<Published>,
    database: Option<SourceStamp>,
}

impl Sight {
    /// Looks without knowing anything before.
    #[cfg(test)]
    pub(crate) fn take(db: &Path, index: &Path) -> Self {
        Self { published: Published::read(index).ok(), database: SourceStamp::read(db).ok() }
    }

    /// Whether both saw the same database file in the same state.
    #[must_use]
    pub fn is_same_database(&self, other: &Self) -> bool {
        self.database.is_some() && self.database == other.database
    }
}

/// An open generation and its rows. Shared by all threads.
#[derive(Debug)]
pub struct Snapshot {
    pub(crate) generation: Generation,
    pub(crate) rows: RowStore,
    /// The copy of the rows in the order of their names, where the index has one: names are answered from it.
    pub(crate) cluster: Option<RowStore>,
    /// Where the columns that rows are filtered by stand in the table.
    pub(crate) places: FilterPlaces,
    /// What a page of a search may cost.
    pub(crate) bounds: Bounds,
    sight: Sight,
    greeting: Greeting,
    /// Its answers are not to be trusted any more, see [`Snapshot::withdraw`].
    withdrawn: AtomicBool,
    /// Faults of maps before any of its own: if there are more now, what its maps hold may be zeros.
    faults: u64,
}

/// Whether a request was answered, or with which error. Either way its reply was written.
pub type Answer = Result<(), Code>;

/// The log's lines about unavailable answers: a damaged page may be asked for a hundred thousand times a second.
static LOG: Quota = Quota::per_second();

/// Why a snapshot cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The database's file.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The database's table.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The database's file was replaced or written to, or a generation published, while they were opened.
    #[error("index or database changed while they were opened; try again when what writes to them has ended")]
    Changing,
    /// Faults of mapped files cannot be caught.
    #[error("the handler for faults of mapped files cannot be installed: {0}")]
    Faults(io::Error),
    /// The index was built from another database.
    #[error(
        "the database is not the one that was indexed ({what}); give the right --db, or build the index again with \
         `indexer build`"
    )]
    OtherDatabase {
        /// What differs.
        what: String,
    },
}

impl OpenError {
    /// Whether it says how things are: they do not fit, are damaged, or not there. Otherwise the system could not look, and may be able to later.
    #[must_use]
    pub fn is_verdict(&self) -> bool {
        let is_seen =
            |error: &io::Error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
        match self {
            Self::Index(IndexError::Io { cause, .. }) | Self::Source(SourceError::Io(cause)) => is_seen(cause),
            Self::Registry(RegistryError::Sqlite(error)) => !matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::CannotOpen | ErrorCode::OutOfMemory | ErrorCode::SystemIoFailure)
            ),
            Self::Changing | Self::Faults(_) => false,
            _ => true,
        }
    }
}

impl Snapshot {
    /// Opens the generation that is published in the folder `index`, and the database at `db` that it was built from.
    ///
    /// # Errors
    /// [`OpenError`]: either cannot be read, or they do not belong together.
    pub fn open(db: &Path, index: &Path) -> Result<Self, OpenError> {
        let published = Published::read(index)?;
        let snapshot = Self::assemble(db, Some(published.clone()), || Generation::open_current(index))?;
        // What was opened is what was published when this began.
        if Published::read(index)? == published { Ok(snapshot) } else { Err(OpenError::Changing) }
    }

    /// Opens this snapshot's own generation and database once more: another one was published meanwhile and is refused, and a mapped file of this
    /// process failed, so that nothing that is open is trusted.
    ///
    /// # Errors
    /// As [`Snapshot::open`].
    pub fn open_again(&self, db: &Path) -> Result<Self, OpenError> {
        Self::assemble(db, None, || Generation::open(self.generation.folder()))
    }

    fn assemble(
        db: &Path,
        published: Option<Published>,
        generation: impl FnOnce() -> Result<Generation, IndexError>,
    ) -> Result<Self, OpenError> {
        catch_map_faults().map_err(OpenError::Faults)?;
        let faults = map_faults();
        let stamp = SourceStamp::read(db)?;
        let generation = generation()?;
        let manifest = generation.manifest();
        let source = &manifest.source;
        compare(&SourceFile::read(db)?, &source.file)?;
        let name = TableName {
            table: source.table.clone(),
            cpf_column: source.cpf_column.clone(),
            name_column: source.name_column.clone(),
        };
        let table = Table::describe(&open(db, Access::Immutable)?, &name)?;
        let greeting = Greeting {
            server: concat!("balcao/", env!("CARGO_PKG_VERSION")).to_owned(),
            generation: manifest.generation.clone(),
            rows: manifest.rows,
            columns: table.columns.clone(),
            matches: if generation.word_index().is_some() { ALL_MATCHES } else { PLAIN_MATCHES }.to_vec(),
            filters: named_filters(generation.filters().map(Filters::columns)),
        };
        let places =
            FilterPlaces::find(generation.filters().map(Filters::columns), &table.columns).ok_or_else(|| {
                OpenError::OtherDatabase { what: "it lacks a column that the index filters by".to_owned() }
            })?;
        let cluster = generation.cluster().map(|copy| RowStore::of_copy(&copy, table.clone())).transpose()?;
        let rows = RowStore::new(db, table)?;
        // All of it was one file in one state, or it is opened again.
        if SourceStamp::read(db)? != stamp || map_faults() != faults {
            return Err(OpenError::Changing);
        }
        let sight = Sight { published, database: Some(stamp) };
        let (bounds, withdrawn) = (Bounds::default(), AtomicBool::new(false));
        Ok(Self { generation, rows, cluster, places, bounds, sight, greeting, withdrawn, faults })
    }

    /// Opens the database for `readers` threads at once, before they ask.
    ///
    /// # Errors
    /// [`OpenError::Registry`].
    pub fn reserve_readers(&self, readers: usize) -> Result<(), OpenError> {
        for store in self.stores() {
            store.reserve(readers)?;
            // Opened by its path: it must still be the same file.
            if store.stamp_now()? != *store.stamp() {
                return Err(OpenError::Changing);
            }
        }
        Ok(())
    }

    /// Everything that rows are read from.
    fn stores(&self) -> impl Iterator<Item = &RowStore> {
        self.cluster.iter().chain([&self.rows])
    }

    /// Compares the checksum of every page of the index, which otherwise is done at a page's first use. Reads the files, not the maps: damage of what is
    /// only looked at is no fault for what is served.
    ///
    /// # Errors
    /// [`IndexError::Damaged`] names file and place.
    pub fn check_index(&self) -> Result<(), IndexError> {
        self.generation.check_files()
    }

    /// Compares the hash of all bytes of the database that is open with that of the one that was indexed: what a start does not do, where only
    /// some pages are looked at. The whole file is read. An index of before this hash was kept passes.
    ///
    /// # Errors
    /// [`OpenError::OtherDatabase`]; [`OpenError::Source`] where the file cannot be read.
    pub fn check_source(&self) -> Result<(), OpenError> {
        let Some(indexed) = self.generation.manifest().source.file.content else { return Ok(()) };
        let found = SourceFile::hash_content(self.rows.file()).map_err(SourceError::Io)?;
        if found == indexed {
            return Ok(());
        }
        let what = "its content differs, though its length, counters and sampled pages agree".to_owned();
        Err(OpenError::OtherDatabase { what })
    }

    /// What lies there now. As long as it is what was there when this was opened, looking takes no descriptor.
    #[must_use]
    pub fn look(&self, index: &Path) -> Sight {
        let known = self.sight.published.as_ref();
        let published = known.map_or_else(|| Published::read(index), |known| known.glance(index));
        Sight { published: published.ok(), database: self.rows.stamp_now().ok() }
    }

    /// What was seen when this was opened. A database that gives another sight is another file, or was changed: device, inode, length, times,
    /// SQLite's change counter, or something new in a log beside it.
    #[must_use]
    pub fn sight(&self) -> &Sight {
        &self.sight
    }

    /// Whether nobody wrote to the database's file that is open, wherever that lies now: it may have been replaced. Nor to the copy of its rows.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.stores().all(RowStore::is_intact)
    }

    /// Whether somebody wrote to the copy of the rows in the index, which the sight does not show.
    #[must_use]
    pub fn is_copy_written(&self) -> bool {
        self.cluster.as_ref().is_some_and(|copy| !copy.is_intact())
    }

    /// Whether a mapped file of this process failed since this was opened.
    #[must_use]
    pub fn is_faulted(&self) -> bool {
        map_faults() != self.faults
    }

    /// From now on every question is `unavailable`: the database is not what was indexed any more, or a mapped file failed. Nothing takes this
    /// back; what fits again is opened again.
    pub fn withdraw(&self) {
        self.withdrawn.store(true, Ordering::Relaxed);
    }

    /// Whether [`Snapshot::withdraw`] was called, or a mapped file failed.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.is_faulted() || self.withdrawn.load(Ordering::Relaxed)
    }

    /// What `hello` tells.
    #[must_use]
    pub fn greeting(&self) -> &Greeting {
        &self.greeting
    }

    /// Appends the reply to `request`, without a line's end. Returns the code of an error reply; items of a batch fail for themselves.
    pub fn answer(&self, request: &Request, out: &mut Vec<u8>) -> Answer {
        self.answer_while(request, out, &|| true)
    }

    /// As [`Snapshot::answer`], as long as `goes_on` says so: when it does not any more, the reply is `deadline_exceeded`. It is asked for each window of ranks, page of rows and item of
    /// a batch, and now and then in between; there is no clock here.
    pub fn answer_while(&self, request: &Request, out: &mut Vec<u8>, goes_on: &(dyn Fn() -> bool + Sync)) -> Answer {
        let id = &request.id;
        match &request.operation {
            Err(fault) => refuse(out, id, fault),
            Ok(Operation::Ping) => {
                write_pong(out, id);
                Ok(())
            }
            Ok(Operation::Hello) => {
                write_greeting(out, id, &self.greeting);
                Ok(())
            }
            // Whoever counts answers it; a snapshot does not.
            Ok(Operation::Stats) => {
                refuse(out, id, &Fault::new(Code::BadRequest, "nobody counts here; ask a server for its `stats`"))
            }
            Ok(Operation::Verify(claim)) => self.verify(claim, id, out, goes_on),
            Ok(Operation::Lookup(lookup)) if lookup.is_search() => match self.search(lookup, goes_on) {
                Ok(found) => self.write_search(&found, id, out, goes_on),
                Err(fault) => refuse(out, id, &fault),
            },
            Ok(Operation::Lookup(lookup)) => match self.plan(lookup) {
                Ok(_) if !goes_on() => refuse(out, id, &late()),
                Ok(plan) => self.write_page(&plan, id, out),
                Err(fault) => refuse(out, id, &fault),
            },
            Ok(Operation::Batch(items)) => self.answer_batch(items, id, out, goes_on),
        }
    }

    /// The refusal to answer, where nothing that is read can be trusted.
    ///
    /// Called before and after reading: whoever withdraws the snapshot in between meets the reader at its end.
    pub(crate) fn trust(&self) -> Result<(), Fault> {
        if !self.is_withdrawn() {
            return Ok(());
        }
        if !self.withdrawn.swap(true, Ordering::Relaxed) {
            tracing::error!("a mapped file was cut short, or cannot be read; nothing is answered from it any more");
        }
        Err(Fault::new(
            Code::Unavailable,
            "the registry was changed, replaced or damaged since it was indexed; the operator builds the index again with \
             `indexer build`",
        ))
    }

    /// Appends an error reply in the place of what was written since `start`.
    pub(crate) fn give_up(out: &mut Vec<u8>, start: usize, id: &Id, fault: &Fault) -> Answer {
        out.truncate(start);
        refuse(out, id, fault)
    }
}

/// What `hello` tells of the columns that rows are filtered by.
fn named_filters(columns: Option<&FilterColumns>) -> Vec<(&'static str, String)> {
    let Some(FilterColumns { sex, birth }) = columns else { return Vec::new() };
    let named = [("sex", sex), ("birth", birth)];
    named.into_iter().filter_map(|(what, column)| Some((what, column.clone()?))).collect()
}

/// Appends an error reply.
pub(crate) fn refuse(out: &mut Vec<u8>, id: &Id, fault: &Fault) -> Answer {
    write_fault(out, id, fault);
    Err(fault.code)
}

/// The answer where index and database do not fit each other any more, or a part of either cannot be read.
pub(crate) fn unavailable(cause: &dyn std::fmt::Display) -> Fault {
    // The cause names files and places, never a person; the asker is told only what to do.
    if let Some(unsaid) = LOG.admit() {
        tracing::error!(%cause, unsaid, "an answer was unavailable");
    }
    Fault::new(
        Code::Unavailable,
        "the index does not fit the database, or is damaged; the operator runs `indexer verify` and builds the index again",
    )
}

fn compare(found: &SourceFile, indexed: &SourceFile) -> Result<(), OpenError> {
    let what = if found.bytes != indexed.bytes {
        format!("it has {} bytes, {} were indexed", found.bytes, indexed.bytes)
    } else if found.change_counter != indexed.change_counter {
        format!("its change counter is {}, {} was indexed", found.change_counter, indexed.change_counter)
    } else if !found.fits(indexed) {
        "its pages differ".to_owned()
    } else {
        return Ok(());
    };
    Err(OpenError::OtherDatabase { what })
}
