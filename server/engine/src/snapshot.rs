//! `Snapshot`: one open generation and the rows that it points at, as they stay until the last request that began with them ends.

use std::path::Path;

use balcao_index::{Generation, IndexError, SourceError, SourceFile};
use balcao_registry::{Access, RegistryError, Table, TableName, open};
use balcao_wire::{Code, Fault, Greeting, Id, Operation, Request, write_fault, write_greeting, write_pong};

use crate::rows::RowStore;

/// An open generation and its rows. Shared by all threads.
#[derive(Debug)]
pub struct Snapshot {
    pub(crate) generation: Generation,
    pub(crate) rows: RowStore,
    greeting: Greeting,
}

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

impl Snapshot {
    /// Opens the generation that is published in the folder `index`, and the database at `db` that it was built from.
    ///
    /// # Errors
    /// [`OpenError`]: either cannot be read, or they do not belong together.
    pub fn open(db: &Path, index: &Path) -> Result<Self, OpenError> {
        let generation = Generation::open_current(index)?;
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
        };
        let rows = RowStore::new(db, table)?;
        Ok(Self { generation, rows, greeting })
    }

    /// What `hello` tells.
    #[must_use]
    pub fn greeting(&self) -> &Greeting {
        &self.greeting
    }

    /// Appends the reply to `request`, without a line's end.
    pub fn answer(&self, request: &Request, out: &mut Vec<u8>) {
        let id = &request.id;
        match &request.operation {
            Err(fault) => write_fault(out, id, fault),
            Ok(Operation::Ping) => write_pong(out, id),
            Ok(Operation::Hello) => write_greeting(out, id, &self.greeting),
            Ok(Operation::Lookup(lookup)) => match self.plan(lookup) {
                Ok(plan) => self.write_page(&plan, id, out),
                Err(fault) => write_fault(out, id, &fault),
            },
            Ok(Operation::Batch(items)) => self.answer_batch(items, id, out),
        }
    }

    /// Appends an error reply in the place of what was written since `start`.
    pub(crate) fn give_up(out: &mut Vec<u8>, start: usize, id: &Id, fault: &Fault) {
        out.truncate(start);
        write_fault(out, id, fault);
    }
}

/// The answer where index and database do not fit each other any more, or a part of either cannot be read.
pub(crate) fn unavailable(cause: &dyn std::fmt::Display) -> Fault {
    // The cause names files and places, never a person; the asker is told only what to do.
    tracing::error!(%cause, "an answer was unavailable");
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
    } else if found != indexed {
        "its pages differ".to_owned()
    } else {
        return Ok(());
    };
    Err(OpenError::OtherDatabase { what })
}
