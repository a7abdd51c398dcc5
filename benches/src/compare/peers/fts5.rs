//! SQLite's full-text index FTS5 through Python: the peer for words of names.
//!
//! Its source is `benches/compare/fts5.py`. It answers in its own process, without a network: what it is spared ours pays.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;
use serde_json::Value;

use super::python;
use crate::load::list::Listed;
use crate::measure::observing::{Memory, Watch};
use crate::processes::Guard;

/// The whole program.
const PROGRAM: &str = include_str!("../../../compare/fts5.py");

/// The order of the rows that it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// That of the names: the same rows as ours.
    Name,
    /// Its own, which spares it sorting: other rows.
    Rowid,
}

/// What building came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Built {
    pub(crate) seconds: f64,
    /// Of the index alone.
    pub(crate) bytes: u64,
    pub(crate) peak: Memory,
}

/// Which questions are asked, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// Bare questions, one a line.
    pub(crate) questions: &'a Path,
    pub(crate) order: Order,
    pub(crate) first: usize,
    pub(crate) at_most: usize,
    pub(crate) seconds: f64,
    pub(crate) threads: usize,
    /// So long each thread asks the list without measuring before, at most.
    pub(crate) warm_seconds: f64,
}

/// Makes the index in the database itself.
pub(crate) fn build(db: &Path) -> anyhow::Result<Built> {
    let mut command = program()?;
    // The journal and what is sorted belong to the disk that is measured.
    command.arg("build").arg(db).env("SQLITE_TMPDIR", db.parent().unwrap_or(Path::new(".")));
    let mut guard = Guard::spawn(command)?;
    let watch = Watch::start(guard.pid());
    let printed = guard.printed()?;
    guard.finish()?;
    let figures = parse(&printed)?;
    Ok(Built {
        seconds: figures["seconds"].as_f64().context("FTS5 told no seconds")?,
        bytes: figures["bytes"].as_u64().context("FTS5 told no bytes")?,
        peak: watch.peak(),
    })
}

/// Asks a database that has the index.
pub(crate) fn ask(db: &Path, asked: &Asked<'_>) -> anyhow::Result<Listed> {
    let mut command = program()?;
    let order = if asked.order == Order::Name { "name" } else { "rowid" };
    command.arg("ask").arg(db).arg(asked.questions).arg(order);
    for number in [asked.first, asked.at_most] {
        command.arg(number.to_string());
    }
    command.args([asked.seconds.to_string(), asked.threads.to_string(), asked.warm_seconds.to_string()]);
    let figures = parse(&crate::processes::output(command)?)?;
    let took = figures["took_us"].as_array().context("FTS5 told no times")?;
    let took_us: Option<Vec<u64>> = took.iter().map(Value::as_u64).collect();
    Ok(Listed {
        took_us: took_us.context("a time of FTS5 is no number")?,
        rows: figures["rows"].as_u64().context("FTS5 told no rows")?,
        ..Listed::default()
    })
}

fn program() -> anyhow::Result<Command> {
    let mut command = python::program()?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).arg("-c").arg(PROGRAM);
    Ok(command)
}

fn parse(printed: &str) -> anyhow::Result<Value> {
    serde_json::from_str(printed).context("the Python program printed no JSON")
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn it_finds_rows_by_their_words() {
        let folder = tempfile::tempdir().unwrap();
        let (db, questions) = (folder.path().join("a b.db"), folder.path().join("questions"));
        let sql = "CREATE TABLE cpf(cpf TEXT, nome TEXT);
            INSERT INTO cpf VALUES ('1', 'MARIA DA SILVA'), ('2', 'João Silvano'), ('3', CAST(X'53494C564120C3' AS TEXT)), ('4', NULL)";
        Connection::open(&db).unwrap().execute_batch(sql).unwrap();
        let built = build(&db).unwrap();
        assert!(built.seconds > 0.0 && built.bytes > 0);
        std::fs::write(&questions, "SILVA\nSILVA MARIA\nSILVANO JOA\nNOBODY\n").unwrap();
        for (order, threads) in [(Order::Name, 1), (Order::Rowid, 3)] {
            let warm_seconds = if threads == 1 { 0.0 } else { 60.0 };
            let asked =
                Asked { questions: &questions, order, first: 0, at_most: 4, seconds: 60.0, threads, warm_seconds };
            let listed = ask(&db, &asked).unwrap();
            assert_eq!((listed.took_us.len(), listed.rows), (4, 3 + 1 + 1));
            // Round and round from the third on, one question at least.
            assert_eq!(ask(&db, &Asked { first: 2, at_most: 3, ..asked }).unwrap().rows, 1 + 3);
            assert_eq!(ask(&db, &Asked { seconds: 0.0, ..asked }).unwrap().took_us.len(), threads);
        }
    }
}
