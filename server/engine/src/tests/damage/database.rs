//! Damage of the database, which has no checksums: what is noticed of it, and that nothing panics.
//!
//! The promise is that every row which goes out carries the key that was asked for, and that none is left out in silence. A byte of another
//! cell belongs to the database alone: it goes out as it is.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use balcao_registry::cell;
use balcao_wire::{Request, decode};
use rusqlite::types::ValueRef;
use serde_json::Value;
use tempfile::TempDir;

use super::super::{Desk, cpf};
use super::{Counts, Outcome, on_every_core, whole};
use crate::{OpenError, Snapshot};

/// The smallest page that SQLite knows: more pages than are sampled, inner ones among them, in few bytes.
const PAGE_BYTES: usize = 512;

const ROWS: usize = 1000;

/// Rows that are asked for on either side of where a page's rows are: a page holds a dozen.
const ROWS_AROUND: usize = 14;

struct Asked {
    request: Request,
    /// The column of the key, and a text that means it.
    key: (&'static str, String),
    right: Value,
}

/// A registry, and for each row both its questions.
struct Stand {
    desk: Desk,
    asked: Vec<[Asked; 2]>,
    bytes: Vec<u8>,
}

impl Stand {
    fn new() -> Self {
        let rows: Vec<_> = (1..=ROWS as u32)
            .map(|number| {
                format!("('{}', 'ANA P{number}', '{}', '1980')", cpf(number * 7919), ["F", "M"][number as usize % 2])
            })
            .collect();
        let desk = Desk::of(&format!(
            "PRAGMA page_size = {PAGE_BYTES}; {} INSERT INTO cpf VALUES {};",
            super::super::TABLE,
            rows.join(",")
        ));
        let asked = |key: (&'static str, String), options: &str| {
            let line = format!(r#"{{"id":1,"{}":"{}"{options}}}"#, key.0, key.1);
            Asked { request: decode(line.as_bytes()), right: desk.ask(&line), key }
        };
        let row = |number: u32| {
            [asked(("cpf", cpf(number * 7919)), ""), asked(("nome", format!("ANA P{number}")), r#","match":"exact""#)]
        };
        let asked = (1..=ROWS as u32).map(row).collect();
        let bytes = fs::read(desk.db()).unwrap();
        assert!(bytes.len() / PAGE_BYTES > 70, "{} pages", bytes.len() / PAGE_BYTES);
        Self { desk, asked, bytes }
    }

    /// Asks for the rows about the page that byte `at` is in.
    fn ask_around(&self, snapshot: &Snapshot, at: usize) -> Outcome {
        let middle = at / PAGE_BYTES * PAGE_BYTES * ROWS / self.bytes.len();
        let rows = middle.saturating_sub(ROWS_AROUND)..(middle + ROWS_AROUND + 13).min(ROWS);
        let mut worst = Outcome::Unchanged;
        let mut reply = Vec::new();
        for asked in self.asked[rows].iter().flatten() {
            reply.clear();
            let _ = snapshot.answer(&asked.request, &mut reply);
            worst = worst.min(asked.judge(&serde_json::from_slice(&reply).unwrap()));
        }
        worst
    }
}

impl Asked {
    fn judge(&self, reply: &Value) -> Outcome {
        if *reply == self.right {
            return Outcome::Unchanged;
        }
        if reply["code"] == "unavailable" && reply["id"] == 1 {
            return Outcome::Unavailable;
        }
        let count =
            |reply: &Value| (reply["total"].as_u64(), reply["rows"].as_array().map(Vec::len), reply["next"].clone());
        assert_eq!(count(reply), count(&self.right), "{reply}");
        for row in reply["rows"].as_array().unwrap() {
            let (column, key) = &self.key;
            let value = match &row[column] {
                Value::String(text) => ValueRef::Text(text.as_bytes()),
                Value::Number(number) => ValueRef::Integer(number.as_i64().unwrap()),
                other => panic!("a key of {other}"),
            };
            let (mut found, mut wanted) = (String::new(), String::new());
            let (value, asked) = (cell(value), cell(ValueRef::Text(key.as_bytes())));
            if *column == "cpf" {
                assert_eq!(value.cpf(), asked.cpf(), "{reply}");
            } else {
                value.name_key(&mut found);
                asked.name_key(&mut wanted);
                assert_eq!(found, wanted, "{reply}");
            }
        }
        Outcome::OtherCells
    }
}

/// A copy of the database that one thread damages.
struct Copy {
    _folder: TempDir,
    db: PathBuf,
    file: File,
}

impl Copy {
    fn of(stand: &Stand) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("basecpf.db");
        fs::write(&db, &stand.bytes).unwrap();
        let file = File::options().write(true).open(&db).unwrap();
        Self { _folder: folder, db, file }
    }

    /// Flips one bit or all bits of a byte, by its place.
    fn with<T>(&self, stand: &Stand, at: usize, then: impl FnOnce(&Path) -> T) -> T {
        let bits = if at.is_multiple_of(3) { 255 } else { 1 << (at / 3 % 8) };
        self.file.write_all_at(&[stand.bytes[at] ^ bits], at as u64).unwrap();
        let result = whole(format_args!("byte {at} of the database, bits {bits:08b}"), || then(&self.db));
        self.file.write_all_at(&[stand.bytes[at]], at as u64).unwrap();
        result
    }
}

/// Each class was met, and the bytes are as many as the file has.
fn check_classes(stand: &Stand, counts: &Counts) {
    assert_eq!(counts.total(), stand.bytes.len());
    for outcome in [Outcome::Unavailable, Outcome::OtherCells, Outcome::Unchanged] {
        assert!(counts.sum(outcome, |_| true) > 500, "{outcome:?}: {counts:?}");
    }
}

#[test]
fn every_byte_at_rest() {
    let stand = Stand::new();
    let counts = on_every_core(
        stand.bytes.len(),
        || Copy::of(&stand),
        |copy, at, counts| {
            let outcome = copy.with(&stand, at, |db| match Snapshot::open(db, &stand.desk.index()) {
                Err(OpenError::OtherDatabase { .. } | OpenError::Source(_)) => Outcome::Refused,
                Err(error) => panic!("{error}"),
                Ok(snapshot) => stand.ask_around(&snapshot, at),
            });
            counts.add("database", outcome);
        },
    );
    // Of 64 pages every byte is part of the identity: all others must be opened, or their classes would not be met.
    assert_eq!(counts.sum(Outcome::Refused, |_| true), 64 * PAGE_BYTES, "{counts:?}");
    check_classes(&stand, &counts);
    counts.print("every byte of a small database");
}

#[test]
fn every_byte_while_served() {
    let stand = Stand::new();
    let counts = on_every_core(
        stand.bytes.len(),
        || {
            let copy = Copy::of(&stand);
            let snapshot = Snapshot::open(&copy.db, &stand.desk.index()).unwrap();
            (copy, snapshot)
        },
        |(copy, snapshot), at, counts| {
            let outcome = copy.with(&stand, at, |_| stand.ask_around(snapshot, at));
            counts.add("database", outcome);
        },
    );
    check_classes(&stand, &counts);
    counts.print("every byte of a small database, while served");
}
