//! Tables of odd shapes: an index of one whose rows are read from the pages is that of the same table in UTF-16, all of which SQLite reads; and
//! `verify`, which asks SQLite, finds it whole.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;

use rusqlite::Connection;

use crate::command::{Place, run_json};

/// Two thousand rows with every kind of key and anomaly, some of them too long for a page.
fn rows(first: u32, step: u32) -> String {
    format!(
        "WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + {step} FROM n WHERE i < 2000)
         INSERT INTO cpf(rowid, cpf, nome, v)
         SELECT i + i % 2 * 5000 - 500,
           CASE i % 5 WHEN 0 THEN 12345678909 + i WHEN 1 THEN printf('%011d', i * 7919) WHEN 2 THEN NULL WHEN 3 THEN i * 1.0 ELSE '191' END,
           CASE i % 7 WHEN 0 THEN NULL WHEN 1 THEN i WHEN 2 THEN '' WHEN 3 THEN 'JOSÉ ' || i ELSE 'ANA ' || (i % 40) || ' DA SILVA' END,
           CASE i % 9 WHEN 0 THEN hex(zeroblob(i)) WHEN 1 THEN zeroblob(i * 3) WHEN 2 THEN 2.0 WHEN 3 THEN i ELSE NULL END
         FROM n;"
    )
}

/// Files of a generation that are others at every build: the manifest tells one database from another, and which words have codes goes by how the threads
/// happened to share out the rows. `verify` compares every name.
const VARYING: [&str; 3] = ["MANIFEST", "words.dict", "name-0000.keys"];

/// The other files of the place's current generation, which has one shard of each kind.
fn files(place: &Place) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(place.generation()).unwrap().map(Result::unwrap);
    let files = entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()));
    files.filter(|(name, _)| !VARYING.contains(&&**name)).collect()
}

/// Builds the index of the table that this SQL makes, and verifies it.
fn build(first: &str, reserved: u8, sql: &str) -> (Place, serde_json::Value) {
    let place = Place::of(&format!("PRAGMA page_size = 1024; {first} PRAGMA user_version = 1;"));
    if reserved != 0 {
        // As an extension of SQLite has it that keeps something of its own on every page.
        let file = fs::File::options().write(true).open(&place.db).unwrap();
        file.write_all_at(&[reserved], 20).unwrap();
        file.write_all_at(&(1024 - u16::from(reserved)).to_be_bytes(), 105).unwrap();
    }
    place.write(sql);
    let check = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
    let database = Connection::open(&place.db).unwrap();
    assert_eq!(database.query_row("PRAGMA integrity_check", [], check).unwrap(), "ok");
    drop(database);
    let mut summary = run_json(&place.build(&["--shards", "1"]));
    for changing in ["seconds", "bytes"] {
        summary.as_object_mut().unwrap().remove(changing).unwrap();
    }
    let verified = run_json(&["verify", "--index", &place.index, "--db", &place.db]);
    assert_eq!((&verified["database"], &verified["cpf_rows"]), (&true.into(), &summary["cpf_rows"]));
    (place, summary)
}

#[test]
fn the_same_index_as_through_sqlite() {
    let (before, after) = (rows(1, 2), rows(2, 2));
    let late = format!("ALTER TABLE cpf ADD COLUMN late TEXT DEFAULT 'x'; {after}");
    for (what, reserved, sql) in [
        ("plain", 0, format!("CREATE TABLE cpf(cpf, nome, v); {before}{after}")),
        ("an added column", 0, format!("CREATE TABLE cpf(cpf, nome, v); {before}{late}")),
        (
            "a key that came later",
            0,
            format!(
                "CREATE TABLE cpf(nome, v); INSERT INTO cpf(rowid, nome) VALUES (-9000, 'ANA'), (-8999, 'EVA'); ALTER TABLE cpf ADD COLUMN cpf DEFAULT '191'; {before}{after}"
            ),
        ),
        ("an alias", 0, format!("CREATE TABLE cpf(id INTEGER PRIMARY KEY, cpf TEXT, nome TEXT, v); {before}{late}")),
        (
            "an alias as CPF",
            0,
            format!(
                "CREATE TABLE cpf(x, cpf INTEGER PRIMARY KEY, nome, v); {}",
                rows(1, 1).replace("INTO cpf(rowid, cpf,", "INTO cpf(cpf, x,")
            ),
        ),
        ("reals", 0, format!("CREATE TABLE cpf(cpf REAL, nome DOUBLE PRECISION, v FLOAT); {before}{after}")),
        ("reserved bytes", 32, format!("CREATE TABLE cpf(cpf, nome, v); {before}{after}")),
        (
            "moved pages",
            7,
            format!(
                "PRAGMA auto_vacuum = 2; VACUUM; CREATE TABLE x(a); CREATE TABLE cpf(cpf, nome, v); {before}{after} DROP TABLE x; DELETE FROM cpf WHERE rowid % 4 = 1;"
            ),
        ),
    ] {
        let (short, summary) = build("", reserved, &sql);
        let (through, expected) = build("PRAGMA encoding = 'UTF-16le';", reserved, &sql);
        assert_eq!(summary, expected, "{what}");
        let (short, through) = (files(&short), files(&through));
        assert_eq!(short.keys().collect::<Vec<_>>(), through.keys().collect::<Vec<_>>(), "{what}");
        for (name, bytes) in short {
            assert!(bytes == through[&name], "{what}: {name} differs");
        }
    }
}
