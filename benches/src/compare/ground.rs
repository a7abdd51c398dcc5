//! What figures stand on: the registry, its indexes, files of keys, and the peers that are running. Each is made when it is first asked
//! for, and kept for the figures after it.
//!
//! It measures nothing.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use super::asking::Subject;
use super::peers::postgres::{self, Postgres};
use super::peers::python::Python;
use super::peers::redis::Redis;
use super::peers::sqlite;
use super::{Plan, peers};
use crate::load::{Protocol, Statement, draw};
use crate::measure::settle;
use crate::oracle::make::{self, Make};
use crate::processes::{self, Server};
use crate::scratch::Scratch;
use crate::table::{Registry, quoted};

pub(crate) mod asked;

/// CPFs that are asked for at most: so many different ones that no cache of a processor holds their rows.
const KEYS_MAX: usize = 500_000;

/// Prefixes that are asked for at most.
const PREFIXES_MAX: usize = 100_000;

/// The folder for big files.
#[derive(Debug)]
enum Folder {
    /// Removed at the end.
    Scratch(Scratch),
    /// Left where it is.
    Kept(PathBuf),
}

/// The ground of one run.
pub(crate) struct Ground<'a> {
    pub(crate) plan: &'a Plan,
    progress: &'a dyn Fn(&str),
    folder: Folder,
    redis: Option<Redis>,
    postgres: Option<Postgres>,
}

impl<'a> Ground<'a> {
    pub(crate) fn new(plan: &'a Plan, progress: &'a dyn Fn(&str)) -> anyhow::Result<Self> {
        let folder = match &plan.keep {
            Some(folder) => {
                std::fs::create_dir_all(folder)
                    .with_context(|| format!("cannot make {}; name another folder with --keep", folder.display()))?;
                Folder::Kept(folder.canonicalize()?)
            }
            None => {
                let parent = plan.work.clone().unwrap_or_else(std::env::temp_dir);
                Folder::Scratch(
                    Scratch::new_in(&parent)
                        .context("cannot use the folder for big files; name another with --work")?,
                )
            }
        };
        Ok(Self { plan, progress, folder, redis: None, postgres: None })
    }

    pub(crate) fn say(&self, step: &str) {
        (self.progress)(step);
    }

    pub(crate) fn folder(&self) -> &Path {
        match &self.folder {
            Folder::Scratch(scratch) => scratch.path(),
            Folder::Kept(folder) => folder,
        }
    }

    /// The registry of the run.
    pub(crate) fn registry(&self) -> anyhow::Result<Registry> {
        self.registry_of(self.plan.make.rows)
    }

    /// A registry of so many rows.
    pub(crate) fn registry_of(&self, rows: u64) -> anyhow::Result<Registry> {
        let make = Make { rows, ..self.plan.make.clone() };
        let db = self.made(&format!("{rows}.db"), |path| {
            self.say(&format!("making a registry of {rows} rows"));
            make::registry(&make, path)
        })?;
        Ok(Registry::new(&db))
    }

    /// Our index over the registry.
    pub(crate) fn index(&self) -> anyhow::Result<PathBuf> {
        let db = self.registry()?.db;
        self.made(&format!("{}.index", self.plan.make.rows), |path| self.build(&db, path, &[]))
    }

    /// Our index with the rows in name order beside it; none where the indexer does not know how.
    pub(crate) fn clustered(&self) -> anyhow::Result<Option<PathBuf>> {
        if !can_cluster()? {
            return Ok(None);
        }
        let db = self.registry()?.db;
        let name = format!("{}.clustered", self.plan.make.rows);
        self.made(&name, |path| self.build(&db, path, &["--cluster"])).map(Some)
    }

    fn build(&self, db: &Path, index: &Path, more: &[&str]) -> anyhow::Result<()> {
        self.say(&["building an index"].iter().chain(more).copied().collect::<Vec<_>>().join(" "));
        let mut command = processes::command("indexer")?;
        command.arg("build").arg("--db").arg(db).arg("--out").arg(index).args(more);
        processes::output(command).map(drop)
    }

    /// CPFs of the registry, one a line: those that stand in the table just so. Peers do not find one that is written in another way.
    pub(crate) fn keys(&self) -> anyhow::Result<PathBuf> {
        let registry = self.registry()?;
        let drawn = self.keys_of(&registry.db, KEYS_MAX)?;
        self.made(&format!("{}.keys", self.plan.make.rows), |path| {
            let text = std::fs::read_to_string(&drawn)?;
            let literal = literal(&registry, &registry.cpf_column, &text.lines().collect(), |cell| cell)?;
            let kept: Vec<&str> = text.lines().filter(|key| literal.contains(key)).collect();
            ensure!(!kept.is_empty(), "no CPF stands in the table as eleven digits");
            Ok(std::fs::write(path, kept.join("\n") + "\n")?)
        })
    }

    /// So many CPFs of a registry at most.
    pub(crate) fn keys_of(&self, db: &Path, count: usize) -> anyhow::Result<PathBuf> {
        let rows = db.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let count = count.min(rows.parse().unwrap_or(count));
        self.made(&format!("{rows}.{count}.cpfs"), |path| draw::cpfs(db, count, self.plan.make.seed, path).map(drop))
    }

    /// Prefixes of names by frequency, as our requests and, in the same order, bare: those with which a name of the table begins just so.
    pub(crate) fn prefixes(&self) -> anyhow::Result<[PathBuf; 2]> {
        let registry = self.registry()?;
        let make = &self.plan.make;
        let count = PREFIXES_MAX.min(make.rows as usize);
        let drawn = self.made(&format!("{}.drawn.prefixes", make.rows), |path| {
            draw::prefixes(&registry.db, count, make.seed, path).map(drop)
        })?;
        let drawn_bare = self.made(&format!("{}.drawn.bare", make.rows), |path| {
            draw::bare_prefixes(&registry.db, count, make.seed, path).map(drop)
        })?;
        let bare = std::fs::read_to_string(&drawn_bare)?;
        let kept = |of: &Path, path: &Path| -> anyhow::Result<()> {
            let literal = literal(&registry, &registry.name_column, &bare.lines().collect(), two_words)?;
            let text = std::fs::read_to_string(of)?;
            let kept = text.lines().zip(bare.lines()).filter(|(_, bare)| literal.contains(bare));
            let kept: Vec<&str> = kept.map(|(line, _)| line).collect();
            ensure!(!kept.is_empty(), "no name of the table begins as it is compared");
            Ok(std::fs::write(path, kept.join("\n") + "\n")?)
        };
        Ok([
            self.made(&format!("{}.prefixes", make.rows), |path| kept(&drawn, path))?,
            self.made(&format!("{}.prefixes.bare", make.rows), |path| kept(&drawn_bare, path))?,
        ])
    }

    /// Beginnings of names, as our requests for pages of 50 rows: a word and a letter, each once, from all over the registry.
    pub(crate) fn openings(&self) -> anyhow::Result<PathBuf> {
        let [_, bare] = self.prefixes()?;
        self.made(&format!("{}.openings", self.plan.make.rows), |path| {
            let text = std::fs::read_to_string(&bare)?;
            let drawn: BTreeSet<&str> = text.lines().map(opening).collect();
            let lines = drawn.iter().map(|opening| draw::prefix_line(opening) + "\n");
            Ok(std::fs::write(path, lines.collect::<String>())?)
        })
    }

    /// Our server over an index, with its defaults but for `more`.
    pub(crate) fn server(&self, index: &Path, more: &[&str]) -> anyhow::Result<Server> {
        let db = self.registry()?.db;
        settle(&db)?;
        let mut arguments = vec![OsStr::new("--db"), db.as_os_str(), OsStr::new("--index"), index.as_os_str()];
        arguments.extend(more.iter().map(OsStr::new));
        Server::start(&arguments)
    }

    /// Our server as one who is asked.
    pub(crate) fn ours(&self, name: &str, server: &Server, keys: &Path) -> Subject {
        let (name, keys) = (name.to_owned(), keys.to_owned());
        Subject { name, address: server.address, pid: Some(server.pid()), protocol: Protocol::Balcao, keys }
    }

    /// Redis, filled with our replies to the keys.
    pub(crate) fn redis(&mut self) -> anyhow::Result<Subject> {
        let keys = self.keys()?;
        if self.redis.is_none() {
            let server = self.server(&self.index()?, &[])?;
            self.say("filling Redis");
            self.redis = Some(Redis::start(self.folder(), server.address, &keys)?);
            server.stop()?;
        }
        let redis = self.redis.as_ref().context("Redis has just been started")?;
        let (name, protocol) = ("Redis".to_owned(), Protocol::Resp);
        Ok(Subject { name, address: redis.address, pid: Some(redis.pid()), protocol, keys })
    }

    /// How many values Redis holds, and the bytes of one in the mean.
    pub(crate) fn redis_values(&self) -> [u64; 2] {
        let count = self.redis.as_ref().map_or(0, |redis| redis.values);
        [count, self.redis.as_ref().map_or(0, |redis| redis.value_bytes / redis.values.max(1))]
    }

    /// PostgreSQL, filled with the registry; `user` executes `sql` with each of `keys`.
    pub(crate) fn postgres(&mut self, user: &str, sql: &str, keys: &Path) -> anyhow::Result<Subject> {
        if self.postgres.is_none() {
            let registry = self.registry()?;
            let folder = self.folder().join(postgres_folder(&self.plan.make));
            self.postgres = Some(Postgres::start(&folder, &registry, self.progress)?);
        }
        let postgres = self.postgres.as_ref().context("PostgreSQL has just been started")?;
        let (user, database) = (user.to_owned(), postgres::USER.to_owned());
        let protocol = Protocol::Postgres(Statement { user, database, sql: sql.to_owned() });
        let (name, keys) = ("PostgreSQL".to_owned(), keys.to_owned());
        Ok(Subject { name, address: postgres.address, pid: None, protocol, keys })
    }

    /// The running PostgreSQL.
    pub(crate) fn running_postgres(&self) -> Option<&Postgres> {
        self.postgres.as_ref()
    }

    /// A Python server over an indexed copy of the registry.
    pub(crate) fn python(&self) -> anyhow::Result<Python> {
        Python::start(&self.sqlite()?)
    }

    /// A copy of the registry with SQLite's two indexes, in the page cache.
    pub(crate) fn sqlite(&self) -> anyhow::Result<PathBuf> {
        let db = self.registry()?.db;
        let copy = self.made(&format!("{}.sqlite", self.plan.make.rows), |path| {
            self.say("indexing a copy of the registry with SQLite");
            std::fs::copy(&db, path).context("cannot copy the registry for SQLite")?;
            sqlite::create_indexes(path).map(drop)
        })?;
        settle(&copy)?;
        Ok(copy)
    }

    /// Stops the peers that no figure to come needs.
    pub(crate) fn release(&mut self, redis: bool, postgres: bool) -> anyhow::Result<()> {
        if redis {
            self.redis = None;
        }
        match self.postgres.take_if(|_| postgres) {
            Some(postgres) => postgres.stop(),
            None => Ok(()),
        }
    }

    /// A file or folder that is made once: by `make`, in another folder until it is whole.
    fn made(&self, name: &str, make: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<PathBuf> {
        let path = self.folder().join(made_folder(&self.plan.make)).join(name);
        if path.exists() {
            return Ok(path);
        }
        let parent = path.parent().context("what is made lies in a folder")?;
        std::fs::create_dir_all(parent)?;
        let half = Scratch::anew(&parent.join(format!("half-{name}")))?;
        let whole = half.path().join(name);
        make(&whole)?;
        std::fs::rename(&whole, &path).with_context(|| format!("cannot name {}", path.display()))?;
        ensure!(path.exists(), "{} is gone", path.display());
        Ok(path)
    }
}

/// Whether this indexer makes copies of the rows in name order.
pub(crate) fn can_cluster() -> anyhow::Result<bool> {
    let mut help = processes::command("indexer")?;
    help.args(["build", "--help"]);
    Ok(processes::output(help)?.contains("--cluster"))
}

/// In the folder for big files, the one of what is made from registries that are drawn so.
pub(crate) fn made_folder(make: &Make) -> String {
    let Make { dirty, seed, .. } = make;
    format!("{dirty}-{seed}")
}

/// The same of PostgreSQL's rows. Directly in the folder for big files: another user must be able to enter it.
pub(crate) fn postgres_folder(make: &Make) -> String {
    let Make { rows, dirty, seed } = make;
    format!("{rows}-{dirty}-{seed}.postgres")
}

/// A name's first two words, as they stand there.
fn two_words(name: &str) -> &str {
    name.match_indices(' ').nth(1).map_or(name, |(end, _)| &name[..end])
}

/// A beginning's first word, and a letter of the second.
fn opening(prefix: &str) -> &str {
    let second = prefix.find(' ').map_or(prefix.len(), |end| end + 1);
    let letter = prefix[second..].chars().next().map_or(0, char::len_utf8);
    &prefix[..second + letter]
}

/// Which of `keys` are a cell of the column byte for byte, or the part of one.
fn literal<'k>(
    registry: &Registry,
    column: &str,
    keys: &HashSet<&'k str>,
    part: fn(&str) -> &str,
) -> anyhow::Result<HashSet<&'k str>> {
    let database = registry.open()?;
    let (column, table) = (quoted(column), quoted(&registry.table));
    let mut statement = database.prepare(&format!("SELECT {column} FROM {table}"))?;
    let mut rows = statement.query([])?;
    let mut found = HashSet::with_capacity(keys.len());
    while let Some(row) = rows.next()? {
        let text = row.get_ref(0)?.as_bytes().ok().and_then(|bytes| std::str::from_utf8(bytes).ok());
        found.extend(text.and_then(|text| keys.get(part(text))));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn only_what_stands_in_the_table_is_asked_of_peers() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let sql = "CREATE TABLE cpf(cpf TEXT, nome TEXT);
            INSERT INTO cpf VALUES
            ('00000000191', 'ANA DE LIMA'), ('000.000.002-72', 'ana  DIAS'), (NULL, 'RUI'), (CAST(X'C3' AS TEXT), NULL)";
        Connection::open(file.path()).unwrap().execute_batch(sql).unwrap();
        let keys = HashSet::from(["00000000191", "00000000272"]);
        let registry = Registry::new(file.path());
        assert_eq!(literal(&registry, "cpf", &keys, |cell| cell).unwrap(), HashSet::from(["00000000191"]));
        let keys = HashSet::from(["ANA DE", "ANA DIAS", "RUI"]);
        assert_eq!(literal(&registry, "nome", &keys, two_words).unwrap(), HashSet::from(["ANA DE", "RUI"]));
    }
}
