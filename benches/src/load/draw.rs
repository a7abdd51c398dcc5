//! Files of keys for the load generator, drawn from a registry's rows at random: CPFs, beginnings of names, and a mixture.
//!
//! Rows are drawn, not keys: what many rows carry is drawn often, as it would be asked. A key is written as it is compared, so that peers
//! can be asked for the very same; a row without a readable one is passed over. Files hold names: they are readable for their owner alone.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use rusqlite::types::ValueRef;
use serde_json::json;

use crate::oracle::reading::{normalise, read_cpf};
use crate::rng::Rng;
use crate::table::{Registry, quoted};

pub mod typed;

/// Words of a name that make its beginning.
const PREFIX_WORDS: usize = 2;

/// Rows of a page.
const PAGE_ROWS: usize = 50;

/// Of so many questions of a mixture one is for a page by the beginning of a name, and one for a whole name; the others are for CPFs.
const MIXED_ONE_IN: usize = 10;

/// So many more rows are drawn than keys are wanted, since some have none: one in so many, and a few.
const SPARE_ONE_IN: usize = 20;
const SPARE: usize = 16;

/// Where that was too few, twice as many are drawn, so many times in all: rowids far apart would let a draw grow without an end.
const DRAWS_MAX: usize = 6;

/// The streams of random numbers: which rows, and their order.
const STREAM_ROWS: u64 = 1 << 33;
const STREAM_ORDER: u64 = STREAM_ROWS + 1;
const STREAM_MIX: u64 = STREAM_ROWS + 2;

/// Writes the CPFs of `count` rows of the table `cpf` in `db` into `out`, eleven digits a line; returns how many there are. Fewer than `count`
/// where the table has fewer rows with one, or its rowids lie far apart.
///
/// # Errors
/// When the database cannot be read, holds none, or `out` exists or cannot be written.
pub fn cpfs(db: &Path, count: usize, seed: u64, out: &Path) -> anyhow::Result<usize> {
    write(out, &cells(db, Column::Cpf, count, seed, read_cpf)?)
}

/// Writes the first two words of the names of `count` rows, as request lines for pages of 50 rows; as [`cpfs`] else.
///
/// # Errors
/// As [`cpfs`].
pub fn prefixes(db: &Path, count: usize, seed: u64, out: &Path) -> anyhow::Result<usize> {
    let lines = cells(db, Column::Name, count, seed, beginning)?.into_iter().map(|prefix| prefix_line(&prefix));
    write(out, &lines.collect::<Vec<_>>())
}

/// The same as [`prefixes`] in the same order, as bare text: what a peer is asked for.
///
/// # Errors
/// As [`cpfs`].
pub fn bare_prefixes(db: &Path, count: usize, seed: u64, out: &Path) -> anyhow::Result<usize> {
    write(out, &cells(db, Column::Name, count, seed, beginning)?)
}

/// Writes a mixture, as request lines: of ten questions about eight for CPFs, one for the page of a name's beginning, one for the rows of a
/// whole name; as [`cpfs`] else.
///
/// # Errors
/// As [`cpfs`].
pub fn mixed(db: &Path, count: usize, seed: u64, out: &Path) -> anyhow::Result<usize> {
    let cpfs = cells(db, Column::Cpf, count, seed, read_cpf)?;
    let names = names(db, count, seed)?;
    let mut rng = Rng::new(seed, STREAM_MIX);
    let lines = cpfs.into_iter().zip(names).map(|(cpf, name)| match rng.below(MIXED_ONE_IN) {
        0 => prefix_line(&beginning(&name).unwrap_or(name)),
        1 => json!({"nome": name, "match": "exact", "limit": PAGE_ROWS}).to_string(),
        _ => json!({"cpf": cpf}).to_string(),
    });
    write(out, &lines.collect::<Vec<_>>())
}

/// The names of `count` rows as they are compared; as [`cpfs`] else.
pub(crate) fn names(db: &Path, count: usize, seed: u64) -> anyhow::Result<Vec<String>> {
    cells(db, Column::Name, count, seed, |text| Some(normalise(text)).filter(|name| !name.is_empty()))
}

/// The request line for a page of names by their beginning.
pub(crate) fn prefix_line(prefix: &str) -> String {
    json!({"nome": prefix, "match": "prefix", "limit": PAGE_ROWS}).to_string()
}

/// The first words of a name as it is compared.
fn beginning(name: &str) -> Option<String> {
    let normalised = normalise(name);
    let words: Vec<&str> = normalised.split(' ').take(PREFIX_WORDS).collect();
    Some(words.join(" ")).filter(|prefix| !prefix.is_empty())
}

/// A column that is drawn from.
#[derive(Clone, Copy, Debug)]
enum Column {
    Cpf,
    Name,
}

/// The keys of `count` rows at random, in random order; each row is drawn once at most.
fn cells(
    db: &Path,
    column: Column,
    count: usize,
    seed: u64,
    key: impl Fn(&str) -> Option<String>,
) -> anyhow::Result<Vec<String>> {
    ensure!(count > 0, "no keys are wanted; ask for one at least");
    let registry = Registry::new(db);
    let database = registry.open()?;
    let column = match column {
        Column::Cpf => quoted(&registry.cpf_column),
        Column::Name => quoted(&registry.name_column),
    };
    let table = quoted(&registry.table);
    let ends: (Option<i64>, Option<i64>) = database
        .query_row(&format!("SELECT min(rowid), max(rowid) FROM {table}"), [], |row| Ok((row.get(0)?, row.get(1)?)))
        .with_context(|| format!("cannot read the rows of {}: it must hold a table {table}", db.display()))?;
    let (Some(first), Some(last)) = ends else { anyhow::bail!("{} holds no row to draw", db.display()) };
    // Where rows were removed the next one is taken: one behind a gap is drawn more often, and given out once.
    let mut statement = database
        .prepare(&format!("SELECT rowid, {column} FROM {table} WHERE rowid >= ? ORDER BY rowid LIMIT 1"))
        .with_context(|| format!("cannot draw keys from {}: it must hold the column {column}", db.display()))?;
    let (mut keys, mut drawing) = (Vec::new(), count.saturating_add(count / SPARE_ONE_IN + SPARE));
    for _ in 0..DRAWS_MAX {
        keys.clear();
        let rowids = drawn(first, last, drawing, seed);
        let mut given = None;
        for &rowid in &rowids {
            let mut rows = statement.query([rowid])?;
            let Some(row) = rows.next()? else { break };
            let found = Some(row.get::<_, i64>(0)?);
            if found != given {
                given = found;
                keys.extend(text(row.get_ref(1)?).and_then(|text| key(&text)));
            }
        }
        if keys.len() >= count || rowids.len() < drawing {
            break;
        }
        drawing = drawing.saturating_mul(2);
    }
    ensure!(!keys.is_empty(), "no row that was drawn from {} has a key in {column}", db.display());
    Rng::new(seed, STREAM_ORDER).shuffle(&mut keys);
    keys.truncate(count);
    Ok(keys)
}

/// The text of a value that may be a key.
pub(crate) fn text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

/// `count` different numbers from `first` to `last`, each set of them as likely as any other (Floyd's algorithm), in order: so a table is
/// read from its beginning to its end.
fn drawn(first: i64, last: i64, count: usize, seed: u64) -> Vec<i64> {
    let span = usize::try_from(i128::from(last) - i128::from(first) + 1).unwrap_or(usize::MAX);
    let mut rng = Rng::new(seed, STREAM_ROWS);
    let mut chosen = HashSet::new();
    for top in span.saturating_sub(count)..span {
        let at = rng.between(0, top);
        if !chosen.insert(at) {
            chosen.insert(top);
        }
    }
    let mut rowids: Vec<i64> = chosen.into_iter().map(|at| first.wrapping_add(at as i64)).collect();
    rowids.sort_unstable();
    rowids
}

fn write(out: &Path, lines: &[String]) -> anyhow::Result<usize> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(out);
    let file =
        file.with_context(|| format!("cannot make the file of keys {}; name one that is not there", out.display()))?;
    let mut file = BufWriter::new(file);
    for line in lines {
        writeln!(file, "{line}")?;
    }
    file.flush().with_context(|| format!("cannot write the keys into {}", out.display()))?;
    Ok(lines.len())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn registry() -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("basecpf.db");
        let sql = "CREATE TABLE cpf(cpf TEXT, nome TEXT);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
            INSERT INTO cpf SELECT printf('%011d', 98700000000 + i), iif(i % 4, 'Maria d''Ávila ', 'João Só ') || i FROM n;
            UPDATE cpf SET cpf = 'x', nome = '…' WHERE rowid % 100 = 0;
            UPDATE cpf SET cpf = 98700000001, nome = x'00' WHERE rowid = 1;
            DELETE FROM cpf WHERE rowid BETWEEN 300 AND 499;";
        rusqlite::Connection::open(&db).unwrap().execute_batch(sql).unwrap();
        (folder, db)
    }

    fn lines(draw: impl Fn(&Path) -> anyhow::Result<usize>) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("keys.txt");
        let count = draw(&out).unwrap();
        let lines: Vec<String> = std::fs::read_to_string(&out).unwrap().lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), count);
        assert!(draw(&out).is_err(), "a file that is there is kept");
        lines
    }

    #[test]
    fn cpfs_are_those_of_rows_each_once() {
        let (_folder, db) = registry();
        let drawn = lines(|out| cpfs(&db, 300, 1, out));
        assert_eq!(drawn.len(), 300);
        assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), 300);
        assert!(drawn.iter().all(|cpf| read_cpf(cpf).as_deref() == Some(cpf)));
        assert!(!drawn.is_sorted());
        assert_eq!(drawn, lines(|out| cpfs(&db, 300, 1, out)));
        assert_ne!(drawn, lines(|out| cpfs(&db, 300, 2, out)));
        // All there are, not one more: 1000 without 200 that are gone and 8 that cannot be read.
        assert_eq!(lines(|out| cpfs(&db, 5000, 1, out)).len(), 792);
    }

    #[test]
    fn prefixes_are_drawn_by_frequency_and_the_same_for_peers() {
        let (_folder, db) = registry();
        let bare = lines(|out| bare_prefixes(&db, 400, 3, out));
        let mut counts = BTreeMap::<&str, usize>::new();
        bare.iter().for_each(|prefix| *counts.entry(prefix).or_default() += 1);
        assert_eq!(counts.keys().copied().collect::<Vec<_>>(), ["JOAO SO", "MARIA DAVILA"]);
        assert!(counts["MARIA DAVILA"] > 2 * counts["JOAO SO"], "{counts:?}");
        let requests: Vec<String> =
            bare.iter().map(|prefix| format!("{{\"nome\":\"{prefix}\",\"match\":\"prefix\",\"limit\":50}}")).collect();
        assert_eq!(requests, lines(|out| prefixes(&db, 400, 3, out)));
    }

    #[test]
    fn a_mixture_holds_every_kind() {
        let (_folder, db) = registry();
        let drawn = lines(|out| mixed(&db, 500, 4, out));
        let count = |what: &str| drawn.iter().filter(|line| line.contains(what)).count();
        let (by_cpf, by_prefix, by_name) = (count("{\"cpf\":\"987"), count("\"prefix\""), count("\"exact\""));
        assert_eq!(by_cpf + by_prefix + by_name, 500);
        assert!(by_cpf > 300 && by_prefix > 20 && by_name > 20, "{by_cpf}, {by_prefix}, {by_name}");
    }

    #[test]
    fn numbers_are_drawn_evenly_and_from_any_range() {
        let mut counts = [0; 10];
        for seed in 0..1000 {
            let numbers = drawn(-5, 4, 3, seed);
            assert!(numbers.len() == 3 && numbers.is_sorted());
            numbers.iter().for_each(|number| counts[(number + 5) as usize] += 1);
        }
        // 300 of each, within five standard deviations.
        assert!(counts.iter().all(|count| (225..=375).contains(count)), "{counts:?}");
        assert_eq!(drawn(i64::MIN, i64::MIN, 5, 1), [i64::MIN]);
        assert_eq!(drawn(i64::MIN, i64::MAX, 5, 1).len(), 5);
    }

    #[test]
    fn what_cannot_be_drawn_from_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("keys.txt");
        assert!(cpfs(&folder.path().join("none.db"), 1, 1, &out).is_err());
        let empty = folder.path().join("empty.db");
        rusqlite::Connection::open(&empty).unwrap().execute_batch("CREATE TABLE cpf(cpf, nome)").unwrap();
        assert!(cpfs(&empty, 1, 1, &out).unwrap_err().to_string().contains("no row"));
        assert!(!out.exists());
    }
}
