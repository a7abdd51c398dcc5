//! What all trials stand on: a registry, its index, the well-behaved clients' questions with their answers' totals, and what hostile ones need
//! to know. Made once by the real programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::oracle::make::{self, Make};
use crate::oracle::scan::Table;
use crate::processes::{self, Server, ask};
use crate::table::Registry;

/// CPFs that the well-behaved clients ask for, at most.
const KEYS_MAX: usize = 100_000;

/// What was made.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) db: PathBuf,
    pub(crate) index: PathBuf,
    /// CPFs of the table and how many rows each has.
    pub(crate) keys: PathBuf,
    /// One of them.
    pub(crate) key: (String, usize),
    /// Members of a question for a page of a thousand rows.
    pub(crate) dear: String,
    /// Members of a question with a cursor of the generation before.
    pub(crate) stale: String,
}

impl Ground {
    pub(crate) fn make(plan: &Make, folder: &Path, progress: impl Fn(&str)) -> anyhow::Result<Self> {
        let (db, index, keys) = (folder.join("basecpf.db"), folder.join("index"), folder.join("keys.txt"));
        progress(&format!("making a registry of {} rows", plan.rows));
        make::registry(plan, &db)?;
        progress("reading it");
        let table = Table::scan(&Registry::new(&db))?;
        let key = write_keys(&table, &keys)?;
        let dear = format!("\"nome\":\"{}\",\"limit\":1000", frequent_letter(&table)?);
        drop(table);
        progress("building its index, twice: a cursor of the first one is stale");
        build(&db, &index)?;
        let server = Self::serve(&db, &index)?;
        let page = ask(server.address, &format!("{{{}}}", dear.replace("1000", "1")))?;
        let cursor = page["next"].as_str().context("the server gave no cursor")?;
        let stale = format!("{},\"cursor\":\"{cursor}\"", dear.replace("1000", "1"));
        server.stop()?;
        build(&db, &index)?;
        Ok(Self { db, index, keys, key, dear, stale })
    }

    /// Starts a server over it.
    pub(crate) fn start(&self) -> anyhow::Result<Server> {
        Self::serve(&self.db, &self.index)
    }

    fn serve(db: &Path, index: &Path) -> anyhow::Result<Server> {
        Server::start(&["--db".as_ref(), db.as_os_str(), "--index".as_ref(), index.as_os_str()])
    }
}

fn build(db: &Path, index: &Path) -> anyhow::Result<()> {
    let mut command = processes::command("indexer")?;
    command.arg("build").arg("--db").arg(db).arg("--out").arg(index);
    processes::output(command).map(drop)
}

/// Writes CPFs spread over the whole table with their numbers of rows; returns one of them.
fn write_keys(table: &Table, path: &Path) -> anyhow::Result<(String, usize)> {
    let stride = (table.cpfs.keys.len() / KEYS_MAX).max(1);
    let mut text = String::new();
    for at in (0..table.cpfs.keys.len()).step_by(stride) {
        writeln!(text, "{}\t{}", table.cpfs.keys[at], table.cpfs.of(at).len())?;
    }
    std::fs::write(path, text).context("cannot write the file of keys")?;
    let key = table.cpfs.keys.first().context("the registry has no CPF")?;
    Ok((key.clone(), table.cpfs.of(0).len()))
}

/// The letter that most rows' names begin with.
fn frequent_letter(table: &Table) -> anyhow::Result<char> {
    let mut rows = BTreeMap::<char, usize>::new();
    for (at, name) in table.names.keys.iter().enumerate() {
        if let Some(first) = name.chars().next() {
            *rows.entry(first).or_default() += table.names.of(at).len();
        }
    }
    let (letter, _) = rows.into_iter().max_by_key(|(_, rows)| *rows).context("the registry has no name")?;
    Ok(letter)
}
