//! The short way against SQLite's own, on tables of every shape and on damaged files.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use rusqlite::types::{Value, ValueRef};

use super::*;
use crate::{Access, Table, TableName, open};

/// A file with a table `t`, and how the table lies in it.
struct Subject {
    connection: Connection,
    bytes: Vec<u8>,
    table: Table,
    tree: Option<Tree>,
}

impl Subject {
    fn new(folder: &Path, sql: &str, rows: &[(i64, Vec<Value>)]) -> Self {
        let path = folder.join("t.db");
        let mut writer = Connection::open(&path).unwrap();
        writer.execute_batch(sql).unwrap();
        let transaction = writer.transaction().unwrap();
        for (rowid, values) in rows {
            let places: String = (0..values.len()).map(|at| format!(", ?{}", at + 2)).collect();
            let columns: String = (0..values.len()).map(|at| format!(", c{at}")).collect();
            let mut all = vec![Value::Integer(*rowid)];
            all.extend(values.iter().cloned());
            let insert = format!("insert into t(rowid{columns}) values (?1{places})");
            transaction.prepare_cached(&insert).unwrap().execute(rusqlite::params_from_iter(all)).unwrap();
        }
        transaction.commit().unwrap();
        drop(writer);
        Self::open(&path)
    }

    fn open(path: &Path) -> Self {
        let connection = open(path, Access::Immutable).unwrap();
        let name = TableName { table: "t".into(), cpf_column: "c0".into(), name_column: "c1".into() };
        let table = Table::describe(&connection, &name).unwrap();
        let bytes = fs::read(path).unwrap();
        let tree = Tree::describe(&connection, &table.name, table.columns.len(), &bytes).unwrap();
        Self { connection, bytes, table, tree }
    }

    /// Every row as SQLite gives it.
    fn rows(&self) -> Vec<(i64, Vec<Value>)> {
        let mut statement = self.connection.prepare("select rowid from t order by rowid").unwrap();
        let rowids: Vec<i64> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        let mut statement = self.connection.prepare(&self.table.row_sql()).unwrap();
        let mut row = |rowid| {
            let values = |row: &rusqlite::Row<'_>| (0..self.table.columns.len()).map(|at| row.get(at)).collect();
            (rowid, statement.query_row([rowid], values).unwrap())
        };
        rowids.into_iter().map(&mut row).collect()
    }

    /// Compares every row, and every way to it; how many were read without SQLite.
    fn check(&self) -> usize {
        let (tree, rows) = (self.tree.as_ref().unwrap(), self.rows());
        let mut room = Vec::new();
        let mut plain = 0;
        for (rowid, values) in &rows {
            let place = tree.place(&self.bytes, *rowid).unwrap();
            let _ = tree.touch(&self.bytes, place);
            if let Some(record) = tree.record(&self.bytes, place, *rowid, &mut room) {
                assert_eq!(&read(record), values);
                plain += 1;
            }
        }
        for from in [i64::MIN, 0, rows.get(rows.len() / 2).map_or(1, |row| row.0), i64::MAX] {
            let got: Vec<_> = tree.rows(&self.bytes, from).map(Result::unwrap).collect();
            let expected: Vec<_> = rows.iter().filter(|row| row.0 >= from).collect();
            assert_eq!(got.len(), expected.len());
            for ((rowid, record), (expected, values)) in got.into_iter().zip(expected) {
                assert_eq!(rowid, *expected);
                assert!(record.is_none_or(|record| read(record) == *values), "{rowid}");
            }
        }
        for absent in rows.iter().flat_map(|row| [row.0.wrapping_sub(1), row.0.wrapping_add(1)]) {
            if rows.binary_search_by_key(&absent, |row| row.0).is_err() {
                let place = tree.place(&self.bytes, absent).unwrap();
                assert!(tree.record(&self.bytes, place, absent, &mut room).is_none(), "{absent}");
            }
        }
        plain
    }
}

fn read(record: Record<'_>) -> Vec<Value> {
    let values: Vec<_> = record.values().map(|value| Value::try_from(value).unwrap()).collect();
    values.iter().enumerate().for_each(|(at, value)| assert_eq!(record.value(at), Some(ValueRef::from(value))));
    values
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::Integer),
        (-300_i64..300).prop_map(Value::Integer),
        any::<f64>().prop_map(Value::Real),
        Just(Value::Real(f64::NAN)),
        (-9_i32..9).prop_map(|whole| Value::Real(f64::from(whole))),
        "[A-Zçã ]{0,40}".prop_map(Value::Text),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Value::Blob),
        (0..9000_usize).prop_map(|length| Value::Blob(vec![7; length])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_table(
        rows in prop::collection::btree_map(prop_oneof![any::<i64>(), 0_i64..500], prop::collection::vec(values(), 3), 0..400),
        page in prop::sample::select(vec![512, 1024, 4096, 65536]),
        types in prop::sample::select(vec!["c0, c1, c2", "c0 text, c1 real, c2 integer", "c0 floating point, c1 charint, c2 numeric"]),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let rows: Vec<_> = rows.into_iter().collect();
        Subject::new(folder.path(), &format!("pragma page_size={page}; create table t({types})"), &rows).check();
    }
}

#[test]
fn plain_rows_need_no_sqlite() {
    let rows = |gap: i64| -> Vec<_> {
        (0..20_000)
            .map(|at| (at * gap - 3000, vec![Value::Text(format!("{at:011}")), Value::Text("ANA".into())]))
            .collect()
    };
    for gap in [1, 7] {
        let folder = tempfile::tempdir().unwrap();
        let subject = Subject::new(folder.path(), "create table t(c0 text, c1 text)", &rows(gap));
        assert_eq!(subject.check(), 20_000);
    }
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Subject::new(folder.path(), "create table t(c0, c1)", &[]).check(), 0);
}

/// Where a row lies must be known before its page has come from the disk.
#[test]
fn a_place_is_found_without_a_look_at_rows() {
    let folder = tempfile::tempdir().unwrap();
    let rows: Vec<_> = (0..20_000).map(|at| (at * 3, vec![Value::Text("x".repeat(90))])).collect();
    let subject = Subject::new(folder.path(), "create table t(c0, c1)", &rows);
    let tree = subject.tree.as_ref().unwrap();
    assert!(tree.inner_levels > 1 && tree.inner_levels < LEVELS_MAX, "{}", tree.inner_levels);
    let places = |bytes: &[u8]| rows.iter().map(|row| tree.place(bytes, row.0).unwrap()).collect::<Vec<_>>();
    let mut forgotten = subject.bytes.clone();
    for page in forgotten.chunks_mut(tree.page_bytes).filter(|page| page[0] == LEAF) {
        page.fill(0);
    }
    assert_eq!(places(&forgotten), places(&subject.bytes));
    let mut room = Vec::new();
    assert!(
        rows.iter()
            .zip(places(&forgotten))
            .all(|(row, place)| tree.record(&forgotten, place, row.0, &mut room).is_none())
    );
}

#[test]
fn a_rowid_by_another_name() {
    let texts: Vec<_> = (0..50).map(|at| (at * 3, vec![Value::Text("x".into()), Value::Null])).collect();
    for (sql, alias) in [
        ("create table t(c0, c1, id integer primary key)", Some(2)),
        ("create table t(c0, c1, id INTEGER, primary key(id))", Some(2)),
        ("create table t(c0, c1, id integer primary key desc)", None),
        ("create table t(c0, c1, id int primary key)", None),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let subject = Subject::new(folder.path(), sql, &texts);
        assert_eq!(subject.tree.as_ref().unwrap().alias, alias, "{sql}");
        assert_eq!(subject.check(), 50, "{sql}");
    }
}

#[test]
fn what_is_stored_otherwise_is_left_to_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let rows = [(1, vec![Value::Real(2.0), Value::Text("a".into())]), (2, vec![Value::Real(2.5), Value::Null])];
    assert_eq!(Subject::new(folder.path(), "create table t(c0 real, c1)", &rows).check(), 1);
    // A column that came later is not in the rows of before.
    let subject = Subject::open(&folder.path().join("t.db"));
    drop(subject);
    Connection::open(folder.path().join("t.db")).unwrap().execute_batch("alter table t add c2 default 'd'").unwrap();
    let subject = Subject::open(&folder.path().join("t.db"));
    assert_eq!(subject.check(), 0);
    assert_eq!(subject.rows()[0].1[2], Value::Text("d".into()));
}

#[test]
fn tables_that_are_not_read_so() {
    for sql in [
        "pragma encoding='UTF-16'; create table t(c0, c1)",
        "create table t(c0, c1, g generated always as (c0))",
        "create table t(c0, c1, g generated always as (c0) stored)",
    ] {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Subject::new(folder.path(), sql, &[]).tree, None, "{sql}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn damage_is_never_followed_out_of_the_file(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
        length in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let rows: Vec<_> = (0..3000).map(|at| (at, vec![Value::Integer(at * 77), Value::Text("ANA DA SILVA".into())])).collect();
        let mut subject = Subject::new(folder.path(), "pragma page_size=512; create table t(c0, c1)", &rows);
        for (at, byte) in changes {
            let at = at.index(subject.bytes.len());
            subject.bytes[at] = byte;
        }
        if cut {
            subject.bytes.truncate(length.index(subject.bytes.len()));
        }
        let tree = subject.tree.unwrap();
        let mut room = Vec::new();
        for rowid in -1..3001 {
            if let Some(place) = tree.place(&subject.bytes, rowid) {
                let _ = tree.touch(&subject.bytes, place);
                let _ = tree.record(&subject.bytes, place, rowid, &mut room).map(|record| record.values().count());
            }
        }
        let mut last = None;
        for row in tree.rows(&subject.bytes, 0) {
            // As whoever scans does: a rowid that does not ascend ends it.
            match row {
                Ok((rowid, _)) if last.is_none_or(|last| rowid > last) => last = Some(rowid),
                _ => break,
            }
        }
    }
}
