//! Rows of every shape, asked twice: of a database whose plain rows are read from its pages, and of the same in UTF-16, all of which SQLite reads.
//! The replies must be the same, also where the rows come from their copy.

use balcao_indexer::{BuildPlan, MEMORY_MIN, SearchPlan, Silent, build};

use super::{Desk, TABLE, ask, cpf};
use crate::Snapshot;

/// People whose rows tell which they are.
const PEOPLE: u32 = 60;

/// A person's row, in SQL: CPF, name, and a value of a kind that goes by the number.
fn values(number: u32) -> String {
    let value = match number % 12 {
        0 => "NULL".to_owned(),
        1 => format!("{}", i64::from(number) << (number % 50)),
        2 => "2.0".to_owned(),
        3 => "-0.0".to_owned(),
        // Just within the page, just beyond it, over several pages: beside some twenty-five bytes of CPF and name.
        4 => format!("zeroblob({})", 4030 + number / 12),
        5 => format!("hex(zeroblob({}))", 2010 + number / 12),
        6 => "hex(zeroblob(9000))".to_owned(),
        7 => "''".to_owned(),
        8 => "x''".to_owned(),
        9 => "'A' || char(0) || 'ção'".to_owned(),
        10 => "9e999".to_owned(),
        _ => "-9007199254740993".to_owned(),
    };
    format!("'{}', 'PESSOA {number} DA SILVA', {value}", cpf(number))
}

/// The row of every person as an `INSERT`, from rowids with gaps and below zero.
fn inserts(numbers: impl Iterator<Item = u32>) -> String {
    let insert = |number: u32| {
        let rowid = i64::from(number) + 1000 * i64::from(number % 3) - 40;
        format!("INSERT INTO cpf(rowid, cpf, nome, v) VALUES ({rowid}, {});", values(number))
    };
    numbers.map(insert).collect()
}

#[test]
fn the_same_replies_as_through_sqlite() {
    let (before, after) = (inserts((0..PEOPLE).step_by(2)), inserts((1..PEOPLE).step_by(2)));
    for table in [
        "CREATE TABLE cpf(cpf, nome, v);",
        "CREATE TABLE cpf(cpf TEXT, nome TEXT, v REAL);",
        "CREATE TABLE cpf(id INTEGER PRIMARY KEY, cpf INTEGER, nome TEXT, v NUMERIC);",
        "CREATE TABLE cpf(nome TEXT, v ANY, id INTEGER PRIMARY KEY, cpf TEXT, w REAL DEFAULT 7) STRICT;",
        "CREATE TABLE cpf(x, cpf, nome, v DOUBLE); ALTER TABLE cpf DROP x;",
        "CREATE TABLE cpf(cpf, nome, v, w AS (typeof(v)));",
    ] {
        // Half of the rows lack the column that comes in between.
        let sql = format!("{table}{before} ALTER TABLE cpf ADD COLUMN late REAL DEFAULT 3; {after}");
        let desks = ["UTF-8", "UTF-16be"].map(|encoding| Desk::of(&format!("PRAGMA encoding = '{encoding}';{sql}")));
        let copies = desks.each_ref().map(with_copy);
        let check = |question: &str, rows: usize| {
            let [expected, others @ ..] = [&desks[1].snapshot, &desks[0].snapshot, &copies[0], &copies[1]]
                .map(|snapshot| ask(snapshot, question));
            assert_eq!(expected["rows"].as_array().map(Vec::len), Some(rows), "{table} {question}: {expected}");
            for other in others {
                assert_eq!(other.to_string(), expected.to_string(), "{table} {question}");
            }
        };
        for number in 0..PEOPLE {
            check(&format!(r#"{{"cpf":"{}"}}"#, cpf(number)), 1);
            check(&format!(r#"{{"nome":"pessoa {number} da silva","match":"exact"}}"#), 1);
        }
        check(r#"{"nome":"PESSOA","limit":1000}"#, PEOPLE as usize);
    }
}

/// Another index of the desk's database, with a copy of the rows in it.
fn with_copy(desk: &Desk) -> Snapshot {
    let (db, index, table) = (desk.db(), desk.folder.path().join("clustered"), desk.table.clone());
    let plan = BuildPlan {
        db: db.clone(),
        index: index.clone(),
        table,
        shards: None,
        memory: MEMORY_MIN,
        cluster: true,
        search: SearchPlan::default(),
    };
    build(&plan, &Silent).unwrap();
    Snapshot::open(&db, &index).unwrap()
}

#[test]
fn whether_rows_are_in_memory_is_told_or_not_known() {
    let row = "INSERT INTO cpf(cpf, nome) VALUES ('12345678909', 'ANA')";
    let line = balcao_wire::decode(br#"{"cpf":"12345678909"}"#);
    let Ok(balcao_wire::Operation::Lookup(lookup)) = &line.operation else { panic!("no lookup") };
    for (encoding, plain) in [("", true), ("PRAGMA encoding = 'UTF-16';", false)] {
        let desk = Desk::of(&format!("{encoding}{TABLE}{row}"));
        let plan = desk.snapshot.plan(lookup).unwrap();
        // It was just written, so that it is not missing. Where SQLite reads, nobody knows; nor where the file system cannot be asked.
        let told = desk.snapshot.is_at_hand(&plan);
        assert!(if plain { told != Some(false) } else { told.is_none() }, "{encoding} {told:?}");
        assert_eq!(desk.snapshot.reads_pages(&plan), plain);
        desk.snapshot.fetch_ahead(&line);
        assert_eq!(desk.ask(r#"{"cpf":"12345678909"}"#)["total"], 1);
    }
}
