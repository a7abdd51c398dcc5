//! `House`: a seeded registry, its index without and with a copy of the rows, all of them open, and questions drawn from its rows.

use std::env;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use balcao_benches::rng::Rng;
use balcao_benches::scratch::Scratch;
use balcao_datasets::{Plan, Recipe, write_registry};
use balcao_engine::Snapshot;
use balcao_index::{Generation, Map};
use balcao_indexer::{BuildPlan, SearchPlan, Silent, build};
use balcao_record::{Cpf, normalize};
use balcao_registry::{Access, Table, TableName, Tree, open};
use rusqlite::Connection;

/// Draws the registry and the questions.
const SEED: u64 = 1;
/// The share of rows with a defect.
const DIRTY: f64 = 0.01;
const ROWS: u64 = 1_000_000;
/// What an index is built within by default.
const MEMORY_BYTES: u64 = 1 << 30;

/// Where registry and indexes lie: a folder that was asked for, or one that goes when this does.
pub(crate) enum Folder {
    Kept(PathBuf),
    Made(Scratch),
}

impl Folder {
    /// The folder that the environment names, filled where it is empty; else a new one.
    pub(crate) fn from_environment() -> anyhow::Result<Self> {
        let rows = match env::var("BALCAO_BENCH_ROWS") {
            Ok(rows) => rows.parse().context("BALCAO_BENCH_ROWS is a number of rows")?,
            Err(_) => ROWS,
        };
        let folder = match env::var_os("BALCAO_BENCH_HOUSE") {
            Some(folder) => Self::Kept(folder.into()),
            None => Self::Made(Scratch::new_in(&env::temp_dir())?),
        };
        let (db, index, copy) = (database(folder.path()), index(folder.path()), index_with_copy(folder.path()));
        if !db.exists() {
            write_registry(&Plan { recipe: Recipe::new(rows, SEED, DIRTY)?, out: db.clone() }, |_| {})?;
            eprintln!("registry of {rows} rows, seed {SEED}, {DIRTY} of them dirty");
        }
        build_once(&db, index, false)?;
        build_once(&db, copy, true)?;
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Kept(folder) => folder,
            Self::Made(scratch) => scratch.path(),
        }
    }
}

fn database(folder: &Path) -> PathBuf {
    folder.join("basecpf.db")
}

fn index(folder: &Path) -> PathBuf {
    folder.join("index")
}

/// The same with the rows in the order of their names.
fn index_with_copy(folder: &Path) -> PathBuf {
    folder.join("index-with-copy")
}

/// The table that the generator makes.
fn table_name() -> TableName {
    TableName { table: "cpf".to_owned(), cpf_column: "cpf".to_owned(), name_column: "nome".to_owned() }
}

/// Builds an index where none is published yet.
fn build_once(db: &Path, index: PathBuf, cluster: bool) -> anyhow::Result<()> {
    if !index.join("CURRENT").exists() {
        let db = db.to_owned();
        build(
            &BuildPlan {
                db,
                index,
                table: table_name(),
                shards: None,
                memory: MEMORY_BYTES,
                cluster,
                search: SearchPlan::default(),
            },
            &Silent,
        )?;
    }
    Ok(())
}

/// A row that has both keys.
pub(crate) struct Person {
    pub(crate) rowid: i64,
    pub(crate) cpf: Cpf,
    /// As the table holds it.
    pub(crate) name: String,
    pub(crate) sex: String,
    pub(crate) birth: String,
}

impl Person {
    /// The name's first two words, as somebody begins to type it.
    pub(crate) fn prefix(&self) -> String {
        let name = normalize(&self.name);
        let end = name.match_indices(' ').nth(1).map_or(name.len(), |(at, _)| at);
        name[..end].to_owned()
    }

    /// Eleven digits.
    pub(crate) fn digits(&self) -> String {
        self.cpf.digits().map(char::from).iter().collect()
    }
}

/// Registry and indexes, open.
pub(crate) struct House {
    pub(crate) snapshot: Snapshot,
    /// Over the index with a copy of the rows.
    pub(crate) copy: Snapshot,
    pub(crate) generation: Generation,
    pub(crate) connection: Connection,
    pub(crate) table: Table,
    /// The database in memory, as the engine maps it, and how the table lies in there.
    pub(crate) map: Map,
    pub(crate) tree: Option<Tree>,
    /// Rows drawn at random, so that each question has an answer and names are as frequent as in the registry.
    pub(crate) people: Vec<Person>,
}

impl House {
    pub(crate) fn open(folder: &Path, people: usize) -> anyhow::Result<Self> {
        let (db, index) = (database(folder), index(folder));
        let connection = open(&db, Access::Immutable)?;
        let table = Table::describe(&connection, &table_name())?;
        let map = Map::of(&File::open(&db)?)?;
        map.advise_random();
        let tree = Tree::describe(&connection, &table.name, table.columns.len(), &map)?;
        let people = draw(&connection, &table, people)?;
        let (generation, snapshot) = (Generation::open_current(&index)?, Snapshot::open(&db, &index)?);
        let copy = Snapshot::open(&db, &index_with_copy(folder))?;
        Ok(Self { snapshot, copy, generation, connection, table, map, tree, people })
    }
}

fn draw(connection: &Connection, table: &Table, people: usize) -> anyhow::Result<Vec<Person>> {
    let (first, last) = table.rowid_range(connection)?.context("the registry has no rows; make it anew")?;
    let rows = usize::try_from(last - first + 1)?;
    let mut statement = connection.prepare(&table.row_sql())?;
    let mut rng = Rng::new(SEED, 0);
    let mut drawn = Vec::with_capacity(people);
    // Few rows are dirty; many more draws than people means that there is nobody to draw.
    for _ in 0..people * 2 {
        if drawn.len() == people {
            break;
        }
        let rowid = first + rng.below(rows) as i64;
        let person = statement.query_row([rowid], |row| {
            let text = |at| row.get::<_, String>(at);
            Ok((text(0)?, text(1)?, text(2)?, text(3)?))
        });
        // What is NULL or not UTF-8 is one of the defects.
        let Ok((cpf, name, sex, birth)) = person else { continue };
        if let Ok(cpf) = Cpf::parse(&cpf)
            && !normalize(&name).is_empty()
        {
            drawn.push(Person { rowid, cpf, name, sex, birth });
        }
    }
    ensure!(drawn.len() == people, "the registry has too few clean rows; is it one that this bench made?");
    Ok(drawn)
}
