//! What names are asked for as people type them, and the files of questions: drawn once, for ours and for peers alike.
//!
//! Peers find what stands in the table just so. Where they are asked for a whole cell, only keys are drawn that stand nowhere in another spelling.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use super::{Ground, peers};
use crate::load::draw;
use crate::load::draw::typed::{self, Asking, Frequency, Typed};
use crate::measure::settle;
use crate::oracle::reading::{check_digits_hold, normalise, read_cpf};
use crate::rng::Rng;
use crate::table::{Registry, quoted};

/// Questions of a kind at most; so many that no round asks for what another one did.
const QUESTIONS_MAX: usize = 4000;

/// Lines of a file of questions at most.
const LINES_MAX: usize = 1_000_000;

/// Of so many lines one asks for nobody, and one for a name.
const NOBODY_ONE_IN: usize = 10;
const NAME_ONE_IN: usize = 10;

/// CPFs and names are drawn for so many more lines than are wanted: those that stand in the table in several spellings fall out.
const SPARE_ONE_IN: usize = 10;

/// The stream of random numbers.
const STREAM_LINES: u64 = (1 << 33) + 16;

/// A kind of questions for names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// As the page tells it.
    pub(crate) name: &'static str,
    /// What its files are called by.
    file: &'static str,
    matching: &'static str,
    typed: Typed,
}

impl Kind {
    pub(crate) const COMMON: Self = Self {
        name: "two common words",
        file: "common",
        matching: "words",
        typed: Typed { words: 2, frequency: Frequency::Common, is_mistyped: false },
    };
    pub(crate) const RARE: Self = Self {
        name: "a rare word and a common one",
        file: "rare",
        matching: "words",
        typed: Typed { words: 2, frequency: Frequency::Rare, is_mistyped: false },
    };
    pub(crate) const FUZZY_ONE: Self = Self {
        name: "one word, mistyped",
        file: "fuzzy1",
        matching: "fuzzy",
        typed: Typed { words: 1, frequency: Frequency::Any, is_mistyped: true },
    };
    pub(crate) const FUZZY_THREE: Self = Self {
        name: "three words, one mistyped",
        file: "fuzzy3",
        matching: "fuzzy",
        typed: Typed { words: 3, frequency: Frequency::Any, is_mistyped: true },
    };
}

/// Questions of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Questions {
    /// As our requests for pages of 50 rows.
    pub(crate) requests: PathBuf,
    /// The same in the same order as bare text.
    pub(crate) bare: PathBuf,
    pub(crate) count: usize,
}

/// A file of questions, and what must come of it.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    pub(crate) path: PathBuf,
    pub(crate) count: usize,
}

impl Ground<'_> {
    /// Different questions of a kind in random order.
    pub(crate) fn questions(&self, kind: &Kind) -> anyhow::Result<Questions> {
        let make = &self.plan.make;
        let db = self.registry()?.db;
        let bare = self.made(&format!("{}.{}.bare", make.rows, kind.file), |path| {
            self.say(&format!("drawing questions: {}", kind.name));
            let questions = typed::questions(&db, &kind.typed, QUESTIONS_MAX, make.seed)?;
            Ok(std::fs::write(path, questions.join("\n") + "\n")?)
        })?;
        let text = std::fs::read_to_string(&bare)?;
        let requests = self.made(&format!("{}.{}.requests", make.rows, kind.file), |path| {
            let asking = Asking::pages(kind.matching);
            let lines = text.lines().map(|question| asking.line(question) + "\n");
            Ok(std::fs::write(path, lines.collect::<String>())?)
        })?;
        Ok(Questions { requests, bare, count: text.lines().count() })
    }

    /// A copy of the registry with FTS5's index over its names, in the page cache.
    pub(crate) fn fts5(&self) -> anyhow::Result<PathBuf> {
        let db = self.registry()?.db;
        let copy = self.made(&format!("{}.fts5", self.plan.make.rows), |path| {
            self.say("making FTS5's index in a copy of the registry");
            std::fs::copy(&db, path).context("cannot copy the registry for FTS5")?;
            peers::fts5::build(path).map(drop)
        })?;
        settle(&copy)?;
        Ok(copy)
    }

    /// A file of questions with the columns `cpf`, `nome` and one more: CPFs in most lines, names in some, and some for nobody.
    pub(crate) fn lines(&self) -> anyhow::Result<Lines> {
        let (registry, make) = (self.registry()?, &self.plan.make);
        let count = LINES_MAX.min(make.rows as usize);
        let path = self.made(&format!("{}.{count}.csv", make.rows), |path| {
            self.say(&format!("drawing a file of {count} questions"));
            Ok(std::fs::write(path, csv(&registry, count, make.seed, path)?)?)
        })?;
        Ok(Lines { path, count })
    }
}

/// The text of a file of questions; keys are drawn into files beside `path`, where only this may write.
fn csv(registry: &Registry, count: usize, seed: u64, path: &Path) -> anyhow::Result<String> {
    let with_spare = |wanted: usize| wanted + wanted / SPARE_ONE_IN + 1;
    let cpfs = path.with_extension("cpfs");
    draw::cpfs(&registry.db, with_spare(count), seed, &cpfs)?;
    let cpfs = std::fs::read_to_string(&cpfs)?;
    let names = draw::names(&registry.db, with_spare(count / NAME_ONE_IN), seed)?;
    let mut rng = Rng::new(seed, STREAM_LINES);
    let strangers: Vec<String> = (0..with_spare(count / NOBODY_ONE_IN)).map(|_| any_cpf(&mut rng)).collect();
    let people = Spellings::count(
        registry,
        &registry.cpf_column,
        cpfs.lines().chain(strangers.iter().map(String::as_str)),
        read_cpf,
    )?;
    let named = Spellings::count(registry, &registry.name_column, names.iter().map(String::as_str), |text| {
        Some(normalise(text))
    })?;
    let mut cpfs = cpfs.lines().filter(|cpf| people.is_literal(cpf)).cycle();
    let mut names = names.iter().filter(|name| named.is_literal(name)).cycle();
    let mut strangers = strangers.iter().filter(|cpf| people.is_nobody(cpf)).cycle();
    let mut text = String::from("pedido;cpf;nome\n");
    for line in 1..=count {
        let (cpf, name) = match rng.below(NOBODY_ONE_IN * NAME_ONE_IN) {
            drawn if drawn < NAME_ONE_IN => (strangers.next().map_or("", String::as_str), ""),
            drawn if drawn < NAME_ONE_IN + NOBODY_ONE_IN => ("", names.next().map_or("", String::as_str)),
            _ => (cpfs.next().unwrap_or_default(), ""),
        };
        ensure!(!(cpf.is_empty() && name.is_empty()), "too few keys of the table stand in it in one spelling only");
        text.push_str(&format!("{line};{cpf};{name}\n"));
    }
    Ok(text)
}

/// Eleven digits whose check digits hold.
fn any_cpf(rng: &mut Rng) -> String {
    let nine = format!("{:09}", rng.below(1_000_000_000));
    // One of a hundred endings holds.
    let with_check = (0..100).map(|check| format!("{nine}{check:02}")).find(|cpf| check_digits_hold(cpf));
    with_check.expect("two check digits follow from any nine digits")
}

/// How many cells are a key byte by byte, and how many are read as it.
struct Spellings<'k>(HashMap<&'k str, [u64; 2]>);

impl<'k> Spellings<'k> {
    fn count(
        registry: &Registry,
        column: &str,
        keys: impl Iterator<Item = &'k str>,
        read: fn(&str) -> Option<String>,
    ) -> anyhow::Result<Self> {
        let mut counts: HashMap<&str, [u64; 2]> = keys.map(|key| (key, [0; 2])).collect();
        let database = registry.open()?;
        let (column, table) = (quoted(column), quoted(&registry.table));
        let mut statement = database.prepare(&format!("SELECT {column} FROM {table}"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let Some(text) = draw::text(row.get_ref(0)?) else { continue };
            if let Some([literal, read]) = counts.get_mut(text.as_str()) {
                *literal += 1;
                *read += 1;
            } else if let Some([_, read]) = read(&text).and_then(|key| counts.get_mut(key.as_str())) {
                *read += 1;
            }
        }
        Ok(Self(counts))
    }

    /// Whether every row with this key has it in this spelling, and there is one.
    fn is_literal(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|[literal, read]| literal == read && *read > 0)
    }

    fn is_nobody(&self, key: &str) -> bool {
        self.0.get(key) == Some(&[0, 0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_asks_for_people_names_and_nobody_as_they_stand_there() {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("basecpf.db");
        // One row in ten is written in another way, and shares its key with one that is not.
        let sql = "CREATE TABLE cpf(cpf TEXT, nome TEXT);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
            INSERT INTO cpf SELECT printf('%011d', 98700000000 + i), 'ANA ' || char(65 + i % 26, 65 + i / 26 % 26) FROM n;
            INSERT INTO cpf SELECT substr(cpf, 1, 9) || '-' || substr(cpf, 10), lower(nome) FROM cpf WHERE rowid <= 100;";
        rusqlite::Connection::open(&db).unwrap().execute_batch(sql).unwrap();
        let text = csv(&Registry::new(&db), 500, 3, &folder.path().join("lines.csv")).unwrap();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(';').collect()).collect();
        assert_eq!((lines.len(), lines[0].as_slice()), (501, ["pedido", "cpf", "nome"].as_slice()));
        let of = |what: fn(&[&str]) -> bool| lines[1..].iter().filter(|line| what(line)).count();
        let (people, names, nobody) = (
            of(|line| line[1].starts_with("987000") && line[2].is_empty()),
            of(|line| line[1].is_empty() && line[2].starts_with("ANA ")),
            of(|line| !line[1].is_empty() && !line[1].starts_with("987000")),
        );
        assert_eq!(people + names + nobody, 500);
        assert!(people > 350 && (20..90).contains(&names) && (20..90).contains(&nobody), "{people} {names} {nobody}");
        // The first hundred stand there in two spellings.
        assert_eq!(of(|line| line[1].starts_with("98700000") && line[1] <= "98700000100"), 0);
        assert!(lines[1..].iter().all(|line| line[1].is_empty() || line[1].len() == 11));
    }

    #[test]
    fn strangers_have_check_digits() {
        let mut rng = Rng::new(1, 1);
        assert!((0..100).all(|_| check_digits_hold(&any_cpf(&mut rng))));
    }
}
