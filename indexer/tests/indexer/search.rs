//! The word index and the filter columns against a plain model, which is made of the table by SQLite and by the protocol's words; and the options that
//! choose them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::num::NonZero;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use balcao_index::{Build, Generation, Part, RealFiles};
use balcao_indexer::{BuildPlan, MEMORY_MIN, SearchPlan, Silent, build_with, verify};
use balcao_record::normalize;
use balcao_registry::TableName;
use rusqlite::Connection;
use rusqlite::types::{Value, ValueRef};
use serde_json::json;

use crate::command::{Place, refused, run, run_json};

/// Rows by name and rowid, each with the columns of the filters.
type Rows = Vec<(String, i64, Value, Value)>;

/// The named rows of the table in the order of the index, read by SQLite.
fn rows(place: &Place) -> Rows {
    let database = Connection::open(&place.db).unwrap();
    let mut statement = database.prepare("SELECT nome, rowid, sexo, nasc FROM cpf").unwrap();
    let row = |row: &rusqlite::Row<'_>| {
        let name = match row.get_ref(0)? {
            ValueRef::Text(bytes) => normalize(&String::from_utf8_lossy(bytes)).into_owned(),
            ValueRef::Integer(number) => number.to_string(),
            _ => String::new(),
        };
        let value = |at: usize| match row.get_ref(at)? {
            // Lossy, as a cell is read; a day of birth with such a sign is none either way.
            ValueRef::Text(bytes) => Ok(Value::Text(String::from_utf8_lossy(bytes).into_owned())),
            _ => row.get(at),
        };
        Ok((name, row.get(1)?, value(2)?, value(3)?))
    };
    let mut rows: Rows = statement.query_map([], row).unwrap().map(Result::unwrap).collect();
    rows.retain(|(name, ..)| !name.is_empty());
    rows.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    rows
}

/// The sex of a cell by the protocol's words.
fn sex(cell: &Value) -> Option<char> {
    let text = match cell {
        Value::Text(text) => normalize(text).into_owned(),
        Value::Integer(number) => normalize(&number.to_string()).into_owned(),
        _ => return None,
    };
    let first = text.chars().find(|c| c.is_alphanumeric())?;
    (first.is_ascii_uppercase() || first.is_ascii_digit()).then_some(first)
}

/// The day of birth of a cell as year, month and day, by the protocol's words.
fn birth(cell: &Value) -> Option<(u32, u32, u32)> {
    let text = match cell {
        Value::Text(text) => text.trim().to_owned(),
        Value::Integer(number) => number.to_string(),
        _ => return None,
    };
    let (year, month, day) = match text.as_bytes() {
        [_, _, _, _, b'-', _, _, b'-', _, _] => (text.get(..4)?, text.get(5..7)?, text.get(8..)?),
        [_, _, b'/', _, _, b'/', _, _, _, _] => (text.get(6..)?, text.get(3..5)?, text.get(..2)?),
        [_, _, _, _, _, _, _, _] => (text.get(..4)?, text.get(4..6)?, text.get(6..)?),
        _ => return None,
    };
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u32>().ok()).flatten();
    let (year, month, day) = (number(year)?, number(month)?, number(day)?);
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let is_real = (1..=12).contains(&month) && (1..=days[month as usize - 1]).contains(&day);
    (is_real && (1800..=2157).contains(&year)).then_some((year, month, day))
}

/// Days since 1800-01-01, counted year by year and month by month.
fn days((year, month, day): (u32, u32, u32)) -> u32 {
    let leap = |year: u32| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    (1800..year).map(|year| if leap(year) { 366 } else { 365 }).sum::<u32>()
        + lengths[..month as usize - 1].iter().sum::<u32>()
        + day
        - 1
}

/// Words and filters of the published generation are those of the table, rank by rank.
#[track_caller]
fn check(place: &Place) {
    let rows = rows(place);
    let generation = Generation::open_current(Path::new(&place.index)).unwrap();
    assert_eq!(generation.name_rows(), rows.len() as u64);
    let mut expected = BTreeMap::<Vec<u8>, Vec<u32>>::new();
    for ((name, rowid, sex_cell, birth_cell), rank) in rows.iter().zip(0..) {
        assert_eq!(generation.rowid(Part::Name, rank.into()).unwrap(), *rowid);
        for word in name.split(' ').collect::<BTreeSet<_>>() {
            expected.entry(word.as_bytes().to_vec()).or_default().push(rank);
        }
        let value = generation.filters().unwrap().get(rank.into()).unwrap();
        let code = |c: char| if c.is_ascii_digit() { 27 + c as u8 - b'0' } else { 1 + c as u8 - b'A' };
        assert_eq!(value.sex.map(balcao_record::Sex::code), sex(sex_cell).map(code), "{sex_cell:?}");
        assert_eq!(value.birth.map(balcao_record::BirthDay::days), birth(birth_cell).map(days), "{birth_cell:?}");
    }
    let mut found = BTreeMap::new();
    let index = generation.word_index().unwrap();
    index
        .prefixed(b"", |word, ranks| {
            let (mut cursor, mut list, mut from) = (ranks.cursor(), Vec::new(), 0);
            while let Some(rank) = cursor.seek(from).unwrap() {
                list.push(rank);
                from = rank + 1;
            }
            found.insert(word.to_vec(), list);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(found == expected, "{} words, expected {}", found.len(), expected.len());
    assert_eq!(index.words(), expected.len() as u64);
    verify(Path::new(&place.index), Some(Path::new(&place.db)), &Silent).unwrap();
}

/// Builds with so many threads, shards and bytes of memory.
fn build(place: &Place, threads: usize, shards: usize, memory: u64) -> balcao_indexer::Summary {
    let table = TableName { table: "cpf".into(), cpf_column: "cpf".into(), name_column: "nome".into() };
    let (db, index) = (PathBuf::from(&place.db), PathBuf::from(&place.index));
    let shards = NonZero::new(shards);
    let plan = BuildPlan { db, index, table, shards, memory, cluster: false, search: SearchPlan::default() };
    build_with(&plan, NonZero::new(threads).unwrap(), &RealFiles, &Silent).unwrap()
}

/// Cells of every type, dates of every shape, names that share their beginnings and words that stand twice.
const ODD: &str = "CREATE TABLE cpf(cpf, nome, sexo, nasc);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
        INSERT INTO cpf(rowid, cpf, nome, sexo, nasc) SELECT i * 977 - 100000, i,
            CASE i % 9 WHEN 0 THEN NULL WHEN 1 THEN i WHEN 2 THEN 'Ana  Maria da Maria' WHEN 3 THEN 'ANA MARIA ' || i % 50 || ' DE SÃO' WHEN 4 THEN 'Ana'
                WHEN 5 THEN 'DA DE ' || i % 3 WHEN 6 THEN hex(randomblob(9)) || ' E ' || hex(randomblob(3)) WHEN 7 THEN CAST(x'414e4120ff4a4f' AS TEXT) ELSE x'414e41' END,
            CASE i % 13 WHEN 0 THEN NULL WHEN 1 THEN 'F' WHEN 2 THEN 'm' WHEN 3 THEN ' Feminino' WHEN 4 THEN 1 WHEN 5 THEN -2 WHEN 6 THEN 1.5 WHEN 7 THEN x'46'
                WHEN 8 THEN '' WHEN 9 THEN '-' WHEN 10 THEN 'É' WHEN 11 THEN CAST(x'ff4d' AS TEXT) ELSE 'Я' END,
            CASE i % 17 WHEN 0 THEN NULL WHEN 1 THEN '19800102' WHEN 2 THEN 19800102 + i % 20 WHEN 3 THEN '1980-02-29' WHEN 4 THEN '1981-02-29' WHEN 5 THEN ' 31/12/2157 '
                WHEN 6 THEN '01/01/1800' WHEN 7 THEN '31/12/1799' WHEN 8 THEN '2158-01-01' WHEN 9 THEN 19801.5 WHEN 10 THEN x'3139383030313032' WHEN 11 THEN ''
                WHEN 12 THEN '00000000' WHEN 13 THEN -19800102 WHEN 14 THEN 0 WHEN 15 THEN CAST(x'ff3139383030' AS TEXT) ELSE '2000-1-1' END
        FROM n;";

#[test]
fn words_and_filters_of_every_row() {
    for place in [Place::registry(3000, 0.3), Place::of(ODD), Place::of("CREATE TABLE cpf(cpf, nome, sexo, nasc);")] {
        for (threads, shards, memory) in [(1, 1, MEMORY_MIN), (2, 7, MEMORY_MIN), (1, 64, 100_000), (3, 3, 24 << 10)] {
            let summary = build(&place, threads, shards, memory);
            assert!(summary.words_left_out.is_none() && summary.filters_left_out.is_none());
            assert!(memory == MEMORY_MIN || summary.rows == 0 || summary.spilled_bytes > 0, "{summary:?}");
            check(&place);
        }
    }
}

#[test]
fn cells_without_a_value_are_counted_over_all_rows() {
    let place = Place::of(ODD);
    let database = Connection::open(&place.db).unwrap();
    let mut statement = database.prepare("SELECT sexo, CAST(nasc AS BLOB), typeof(nasc) FROM cpf").unwrap();
    let cells = statement.query_map([], |row| {
        let sex = if let ValueRef::Text(bytes) = row.get_ref(0)? {
            Value::Text(String::from_utf8_lossy(bytes).into_owned())
        } else {
            row.get(0)?
        };
        let text = row.get::<_, Option<Vec<u8>>>(1)?.unwrap_or_default();
        let birth = match row.get::<_, String>(2)?.as_str() {
            "text" | "integer" => Value::Text(String::from_utf8_lossy(&text).into_owned()),
            _ => Value::Null,
        };
        Ok((sex, birth))
    });
    let cells: Vec<_> = cells.unwrap().map(Result::unwrap).collect();
    let none =
        (cells.iter().filter(|cells| sex(&cells.0).is_none()), cells.iter().filter(|cells| birth(&cells.1).is_none()));
    let none = (none.0.count() as u64, none.1.count() as u64);
    assert!(none.0 > 500 && none.1 > 500, "{none:?}");
    let filters = build(&place, 2, 2, MEMORY_MIN).filters.unwrap();
    assert_eq!((filters.sex_unreadable, filters.birth_unreadable), none);
    let stats = run_json(&["stats", "--index", &place.index]);
    assert_eq!(stats["filters"]["birth_unreadable"], none.1);
}

#[test]
fn what_is_chosen_is_built() {
    let place = Place::registry(500, 0.1);
    let parts = |further: &[&str]| {
        let summary = run_json(&place.build(further));
        run_json(&["verify", "--index", &place.index, "--db", &place.db]);
        place.assert_no_litter();
        let stats = run_json(&["stats", "--index", &place.index]);
        let has = |part: &str| stats["bytes"].get(part).is_some();
        assert_eq!(
            (has("word_index"), has("filters")),
            (summary.get("words").is_some(), summary.get("filters").is_some())
        );
        assert_eq!(summary["words"]["distinct"], stats["distinct_words"]);
        (has("word_index"), summary["filters"]["sex_column"].clone(), summary["filters"]["birth_column"].clone())
    };
    assert_eq!(parts(&[]), (true, json!("sexo"), json!("nasc")));
    assert_eq!(parts(&["--no-words"]), (false, json!("sexo"), json!("nasc")));
    assert_eq!(parts(&["--sex-column", ""]), (true, json!(null), json!("nasc")));
    assert_eq!(parts(&["--sex-column", "SEXO", "--birth-column", ""]), (true, json!("sexo"), json!(null)));
    assert_eq!(parts(&["--no-words", "--sex-column", "", "--birth-column", ""]), (false, json!(null), json!(null)));
    refused(&place.build(&["--sex-column", "genero"]), &["no column `genero`", "--sex-column"]);
    refused(&place.build(&["--birth-column", "dia"]), &["no column `dia`", "--birth-column"]);
    refused(&place.build(&["--sex-column", "nasc"]), &["one column", "--birth-column"]);
}

#[test]
fn rowids_that_lie_too_far_apart_for_filters() {
    let place = Place::of(
        "CREATE TABLE cpf(cpf, nome, sexo, nasc);
         INSERT INTO cpf(rowid, cpf, nome, sexo, nasc) VALUES (-9, 191, 'ANA', 'F', 19800102), (1099511627768, 12345678909, 'EVA', 'F', 19800102);",
    );
    refused(&place.build(&["--birth-column", "nasc"]), &["rowids", "copy the rows", "--birth-column ''"]);
    let summary = run_json(&place.build(&[]));
    assert!(summary.get("filters").is_none() && summary["words"]["distinct"] == 2, "{summary}");
    assert!(summary["filters_left_out"].as_str().unwrap().contains("rowids"), "{summary}");
    assert!(run(&place.build(&[])).out.contains("filters      left out: the rowids"));
    run_json(&["verify", "--index", &place.index, "--db", &place.db]);
    // One less is near enough.
    place.write("UPDATE cpf SET rowid = rowid - 1 WHERE nome = 'EVA'");
    build(&place, 2, 2, MEMORY_MIN);
    check(&place);
}

/// Publishes the generation of `place` once more, with the words or the filters of `other` in the place of its own: whole files that the manifest vouches for.
fn forge(place: &Place, other: &Place, words: bool) {
    let of = |place: &Place| Generation::open_current(Path::new(&place.index)).unwrap();
    let (own, theirs) = (of(place), of(other));
    let build = Build::begin(Path::new(&place.index)).unwrap();
    let mut manifest = own.manifest().clone();
    (manifest.generation, manifest.former) = (build.name().to_owned(), build.former().map(str::to_owned));
    for file in manifest.files() {
        fs::copy(own.folder().join(&file.name), build.folder().join(&file.name)).unwrap();
    }
    if words {
        manifest.word_index = theirs.manifest().word_index.clone();
        fs::copy(theirs.folder().join("words.index"), build.folder().join("words.index")).unwrap();
    } else {
        manifest.filters = theirs.manifest().filters.clone();
        fs::copy(theirs.folder().join("name-0000.cols"), build.folder().join("name-0000.cols")).unwrap();
    }
    build.check(&manifest).unwrap();
    build.publish(&manifest).unwrap();
}

#[test]
fn verify_compares_words_with_names_and_filters_with_the_table() {
    let table =
        |rows: &str| Place::of(&format!("CREATE TABLE cpf(cpf, nome, sexo, nasc); INSERT INTO cpf VALUES {rows};"));
    let rows = "(1, 'ANA SA', 'F', '19800102'), (2, 'EVA SA', 'F', ''), ('x', '', 'F', '')";
    for (words, other, told) in [
        (true, "(1, 'ANA SA', 'F', '19800102'), (2, 'EVA SO', 'F', '')", "words.index is damaged"),
        (true, "(1, 'ANA SA', 'F', '19800102'), (2, 'EVA EVO SA', 'F', '')", "words.index is damaged"),
        (
            false,
            "(1, 'ANA SA', 'M', '19800102'), (2, 'EVA SA', 'F', ''), ('x', '', 'F', '')",
            "filter by `sexo` of row 1",
        ),
        (
            false,
            "(1, 'ANA SA', 'F', '19800102'), (2, 'EVA SA', 'F', '19800102'), ('x', '', 'F', '')",
            "filter by `nasc` of row 2",
        ),
        (
            false,
            "(1, 'ANA SA', 'F', '19800102'), (2, 'EVA SA', 'F', '')",
            "2 rows have no value in `nasc`, the index says 1",
        ),
    ] {
        let (place, other) = (table(rows), table(other));
        build(&place, 1, 1, MEMORY_MIN);
        build(&other, 1, 1, MEMORY_MIN);
        forge(&place, &other, words);
        if words {
            refused(&["verify", "--index", &place.index], &[told, "rebuild the index"]);
        } else {
            run_json(&["verify", "--index", &place.index]);
            refused(&["verify", "--index", &place.index, "--db", &place.db], &[told, "build the index again"]);
        }
    }
}
