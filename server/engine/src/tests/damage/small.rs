//! A small dirty registry, a generation of it in two shards of names, with words and filters, and everything that can be asked of it with the replies that are right.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use balcao_datasets::{Plan, Recipe, write_registry};
use balcao_index::{
    Build, CpfShardWriter, FileEntry, FilterEntry, FilterWriter, Generation, Manifest, NameShardWriter, RealFiles,
    RowidRange, ShardEntry, WordCounter, Words, cpf_code,
};
use balcao_registry::cell;
use balcao_wire::{Request, decode};
use rusqlite::Connection;
use serde_json::Value;

use super::super::{Desk, TABLE, cpf};
use super::{Outcome, judge};
use crate::Snapshot;

/// Rows of the registry: more make every trial dearer, and their number too.
const ROWS: u64 = 200;

/// Rows on one page of those answers that are paged to their end.
const PAGE_ROWS: usize = 7;

/// Searches that between them read every page of the word index and of the filter columns.
const SEARCHES: [&str; 8] = [
    r#""nome":"da s","match":"words""#,
    r#""nome":"silva","match":"words","last":"whole","limit":7"#,
    r#""nome":"maria","match":"fuzzy","spelling":"pt""#,
    r#""nome":"nmoe igaul","match":"fuzzy","last":"whole""#,
    r#""nome":"a","where":{"sexo":"F"},"limit":7"#,
    r#""nome":"s","where":{"nasc":{"from":"1950-01-01"}}"#,
    r#""nome":"igual","match":"words","where":{"sexo":"M"}"#,
    r#""cpf":"191","where":{"sexo":"F"}"#,
];

/// A question and its right reply.
struct Asked {
    request: Request,
    right: Vec<u8>,
    /// Whether it has the cursor of a generation.
    has_cursor: bool,
}

pub(super) struct Small {
    pub(super) desk: Desk,
    asked: Vec<Asked>,
}

impl Small {
    pub(super) fn new() -> Self {
        Self::of(5)
    }

    /// One of other rows for each seed.
    pub(super) fn of(seed: u64) -> Self {
        let mut desk = registry(ROWS, seed);
        publish_in_two_shards(&desk);
        desk.snapshot = desk.reopen().unwrap();
        assert_eq!(desk.snapshot.greeting().generation, "g000002");
        let asked = questions(&desk);
        let small = Self { desk, asked };
        assert_eq!(small.check(&small.desk.snapshot), Outcome::Unchanged);
        small
    }

    /// Asks everything; panics at a reply that is neither right nor `unavailable`.
    pub(super) fn check(&self, snapshot: &Snapshot) -> Outcome {
        let mut worst = Outcome::Unchanged;
        let mut reply = Vec::new();
        for (number, asked) in self.asked.iter().enumerate() {
            reply.clear();
            let _ = snapshot.answer(&asked.request, &mut reply);
            let Some(outcome) = judge(&reply, &asked.right) else {
                panic!(
                    "question {number}: {}, expected {}",
                    String::from_utf8_lossy(&reply),
                    String::from_utf8_lossy(&asked.right)
                );
            };
            worst = worst.min(outcome);
        }
        worst
    }

    /// Asks everything without a cursor of a generation that holds the same rows: replies are the same but for their own cursors.
    pub(super) fn check_of_another_generation(&self, snapshot: &Snapshot) {
        let plain = |reply: &[u8]| super::super::plain(serde_json::from_slice(reply).unwrap()).to_string();
        for asked in self.asked.iter().filter(|asked| !asked.has_cursor) {
            let mut reply = Vec::new();
            let _ = snapshot.answer(&asked.request, &mut reply);
            assert_eq!(plain(&reply), plain(&asked.right));
        }
    }
}

/// A registry of many defects; some rows share their CPF or their name.
pub(in super::super) fn registry(rows: u64, seed: u64) -> Desk {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("made.db");
    let recipe = Recipe::new(rows, seed, 0.3).unwrap();
    write_registry(&Plan { recipe, out: out.clone() }, |_| {}).unwrap();
    Desk::of(&format!(
        "ATTACH '{}' AS made; {TABLE} INSERT INTO cpf SELECT * FROM made.cpf;
         INSERT INTO cpf VALUES ('191', 'NOME IGUAL', 'F', NULL), ('191', 'NOME IGUAL', 'M', NULL), ('x', 'Nome  igual', 'M', ''), (191, '-', 'F', '');",
        out.display()
    ))
}

/// CPF and name of every row as questions may say them, with their rowid.
pub(in super::super) fn keys(db: &Path) -> Vec<(i64, Option<String>, Option<String>)> {
    let connection = Connection::open(db).unwrap();
    let mut statement = connection.prepare("SELECT rowid, CAST(cpf AS BLOB), CAST(nome AS BLOB) FROM cpf").unwrap();
    let text = |bytes: Option<Vec<u8>>| bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, text(row.get(1)?), text(row.get(2)?)));
    statement.query_map([], row).unwrap().collect::<Result<_, _>>().unwrap()
}

/// Every question of a registry: its CPFs and names, others that nobody has, prefixes, pages to the end, and batches.
fn questions(desk: &Desk) -> Vec<Asked> {
    let mut members: Vec<String> = Vec::new();
    for (_, cpf, name) in keys(&desk.db()) {
        members.extend(cpf.map(|cpf| format!(r#""cpf":{}"#, Value::from(cpf))));
        members.extend(name.as_ref().map(|name| format!(r#""nome":{},"match":"exact""#, Value::from(name.as_str()))));
        let beginning = name.map(|name| name.chars().take(4).collect::<String>());
        members.extend(beginning.map(|name| format!(r#""nome":{}"#, Value::from(name))));
    }
    members.extend((0..20).map(|number| format!(r#""cpf":"{}""#, cpf(number * 49_999_999))));
    members.extend((0..10).map(|number| format!(r#""cpf":"{:011}""#, number * 9_999_999_999_u64 + 7)));
    members.extend(
        ["A", "AAA", "MARIA ZZ", "NINGUEM", "ZZZZ", "Ø", "1"].map(|name| format!(r#""nome":"{name}","match":"exact""#)),
    );
    members.extend(('A'..='Z').map(|letter| format!(r#""nome":"{letter}","limit":1000"#)));
    members.extend(SEARCHES.map(str::to_owned));
    members.sort();
    members.dedup();
    assert!(members.len() > 400, "{} questions", members.len());
    let mut lines: Vec<_> = members.iter().map(|members| format!("{{{members}}}")).collect();
    let batches = |size: usize| {
        let chunk = |items: &[String]| format!(r#"{{"id":"b","op":"batch","items":[{}]}}"#, items.join(","));
        lines.chunks(size).map(chunk).collect::<Vec<_>>()
    };
    let batches = batches(150);
    lines.extend(batches);
    for letter in 'A'..='Z' {
        let mut cursor = String::new();
        while let Some(next) = {
            let line = format!(r#"{{"id":1,"nome":"{letter}","limit":{PAGE_ROWS}{cursor}}}"#);
            let reply = desk.ask(&line);
            lines.push(line);
            reply["next"].as_str().map(str::to_owned)
        } {
            cursor = format!(r#","cursor":"{next}""#);
        }
    }
    let asked = |line: String| {
        let request = decode(line.as_bytes());
        let mut right = Vec::new();
        let _ = desk.snapshot.answer(&request, &mut right);
        Asked { request, right, has_cursor: line.contains(r#""cursor":"#) }
    };
    let asked: Vec<Asked> = lines.into_iter().map(asked).collect();
    assert!(asked.iter().filter(|asked| asked.has_cursor).count() > 10);
    asked
}

/// Publishes a second generation of the same rows: the indexer cuts so few into one shard, and a defect between two would not show.
fn publish_in_two_shards(desk: &Desk) {
    let index = desk.index();
    let first = Generation::open_current(&index).unwrap();
    let (cpfs, names) = sorted_keys(&desk.db());
    let range = RowidRange { min: 1, max: first.manifest().rows as i64 };
    let build = Build::begin(&index).unwrap();
    let folder = build.folder();
    let words = Arc::new(words(&names));
    let words_entry = words.write(&folder).unwrap();
    let cpf = halves(cpfs).into_iter().zip(0..).map(|(rows, shard)| {
        let mut writer = CpfShardWriter::create(&folder, shard, range).unwrap();
        rows.iter().for_each(|&(code, rowid)| writer.push(code, rowid).unwrap());
        entry(writer.finish().unwrap())
    });
    let names = halves(names);
    let shard_rows = [names[0].len(), names[1].len()];
    let names = names.into_iter().zip(0..).map(|(rows, shard)| {
        let mut writer = NameShardWriter::create(&folder, shard, range, Arc::clone(&words)).unwrap();
        rows.iter().for_each(|(name, rowid)| writer.push(name.as_bytes(), *rowid).unwrap());
        entry(writer.finish().unwrap())
    });
    let (cpf, names) = (cpf.collect(), names.collect());
    // Words go by ranks, which are the same; columns by shards.
    let word_index = first.manifest().word_index.clone().unwrap();
    fs::copy(first.folder().join(&word_index.name), folder.join(&word_index.name)).unwrap();
    let filters = first.filters().unwrap();
    let mut ranks = 0..first.name_rows();
    let columns = shard_rows.into_iter().zip(0..).map(|(rows, shard)| {
        let mut writer = FilterWriter::create_with(&RealFiles, &folder, shard, filters.columns()).unwrap();
        ranks.by_ref().take(rows).for_each(|rank| writer.push(filters.get(rank).unwrap()).unwrap());
        writer.finish().unwrap()
    });
    let files = columns.collect();
    let mut anomalies = build.anomalies().unwrap();
    let list = fs::read_to_string(first.folder().join("anomalies.csv")).unwrap();
    for (rowid, kind) in list.lines().skip(1).filter_map(|line| line.split_once(',')) {
        anomalies.push(rowid.parse().unwrap(), kind).unwrap();
    }
    let manifest = Manifest {
        generation: build.name().to_owned(),
        former: build.former().map(str::to_owned),
        words: words_entry,
        cpf,
        names,
        anomalies_file: anomalies.finish().unwrap(),
        filters: Some(FilterEntry { files, ..first.manifest().filters.clone().unwrap() }),
        ..first.manifest().clone()
    };
    build.check(&manifest).unwrap();
    build.publish(&manifest).unwrap();
}

type Keyed<K> = Vec<(K, i64)>;

/// The keys of every row, in order.
fn sorted_keys(db: &Path) -> (Keyed<u64>, Keyed<String>) {
    let connection = Connection::open(db).unwrap();
    let mut statement = connection.prepare("SELECT rowid, cpf, nome FROM cpf").unwrap();
    let mut rows = statement.query([]).unwrap();
    let (mut cpfs, mut names) = (Vec::new(), Vec::new());
    let mut name = String::new();
    while let Some(row) = rows.next().unwrap() {
        let rowid = row.get(0).unwrap();
        cpfs.extend(cell(row.get_ref(1).unwrap()).cpf().map(|cpf| (cpf_code(cpf), rowid)));
        cell(row.get_ref(2).unwrap()).name_key(&mut name);
        if !name.is_empty() {
            names.push((name.clone(), rowid));
        }
    }
    cpfs.sort_unstable();
    names.sort_unstable();
    (cpfs, names)
}

/// The rows in two halves that share no key.
fn halves<K: Ord + Clone>(mut keys: Keyed<K>) -> [Keyed<K>; 2] {
    let middle = keys[keys.len() / 2].0.clone();
    let later = keys.split_off(keys.partition_point(|(key, _)| *key < middle));
    [keys, later]
}

fn words(names: &Keyed<String>) -> Words {
    let mut counter = WordCounter::new(1 << 20);
    let mut before = "";
    for (name, _) in names {
        counter.count(before.as_bytes(), name.as_bytes());
        before = name;
    }
    counter.into_words()
}

fn entry((keys, rows): (FileEntry, FileEntry)) -> ShardEntry {
    ShardEntry { keys, rows }
}
