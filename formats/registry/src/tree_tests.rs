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
                // A row of before a column was added has no value of it.
                assert!(record.is_none_or(|record| values.starts_with(&read(record))), "{rowid}");
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
        ("create table t(c0, c1, id integer primary key autoincrement)", Some(2)),
        ("create table t(c0, c1, id integer unique, primary key(id desc))", Some(2)),
        ("create table t(c0 any, c1 text, id integer primary key) strict", Some(2)),
        ("create table t(c0, c1, id \"integer\" primary key)", Some(2)),
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
fn what_is_stored_otherwise_is_given_as_sqlite_does() {
    let folder = tempfile::tempdir().unwrap();
    let rows = [(1, vec![Value::Real(2.0), Value::Text("a".into())]), (2, vec![Value::Real(2.5), Value::Null])];
    let subject = Subject::new(folder.path(), "create table t(c0 real, c1)", &rows);
    assert_eq!(subject.check(), 2);
    let stored = "select typeof(c0) from t";
    assert_eq!(subject.connection.query_row(stored, [], |row| row.get(0)), Ok("real".to_owned()));
    drop(subject);
    // A column that came later is not in the rows of before: the scan has what it needs of them, whole they are SQLite's.
    Connection::open(folder.path().join("t.db")).unwrap().execute_batch("alter table t add c2 default 'd'").unwrap();
    let subject = Subject::open(&folder.path().join("t.db"));
    assert_eq!(subject.check(), 0);
    assert_eq!(subject.rows()[0].1[2], Value::Text("d".into()));
    let scanned: Vec<_> = subject.tree.as_ref().unwrap().rows(&subject.bytes, i64::MIN).map(Result::unwrap).collect();
    assert_eq!(scanned.iter().map(|row| row.1.map(read).unwrap()).collect::<Vec<_>>(), [&rows[0].1[..], &rows[1].1]);
}

/// What SQLite gives of the first row of `t` after `damage` of the file, and what is given without it.
fn damaged(folder: &Path, sql: &str, damage: impl Fn(&mut Vec<u8>)) -> (Vec<Value>, Option<Vec<Value>>) {
    let path = folder.join("t.db");
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    damage(&mut bytes);
    fs::write(&path, bytes).unwrap();
    let subject = Subject::open(&path);
    let (tree, (rowid, values)) = (subject.tree.as_ref().unwrap(), subject.rows().swap_remove(0));
    let mut room = Vec::new();
    let place = tree.place(&subject.bytes, rowid).unwrap();
    let short = tree.record(&subject.bytes, place, rowid, &mut room).map(read);
    let scanned = tree.rows(&subject.bytes, rowid).next().unwrap().unwrap();
    assert_eq!((scanned.0, scanned.1.map(read)), (rowid, short.clone()));
    (values, short)
}

/// Replaces the only place where the bytes stand.
fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    let places: Vec<_> = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(from)).collect();
    assert_eq!(places.len(), 1);
    bytes[places[0]..][..to.len()].copy_from_slice(to);
}

#[test]
fn a_stored_value_beside_the_rowid_is_not_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let sql = "create table t(c0, c1, id integer primary key); insert into t values ('ab', '', 7)";
    // Header of four, a text of two, an empty one, NULL for the rowid: now a byte, which the first text gives.
    let (values, short) = damaged(folder.path(), sql, |bytes| {
        replace(bytes, &[4, 17, 13, 0, b'a', b'b'], &[4, 15, 13, 1, b'a', b'b']);
    });
    assert_eq!((values.last(), short.as_ref()), (Some(&Value::Integer(7)), Some(&values)));
}

#[test]
fn a_length_of_nine_bytes_is_left_to_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.db");
    let sql = "create table t(c0, c1); insert into t values (zeroblob(200), 'x')";
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    // By the rule of such numbers a payload of 133 bytes, and it is one; SQLite takes seven bits of the ninth byte and reads five.
    let cell = [&[0x80; 8][..], &[0x85, 1, 4, 0x82, 0x0c, 15]].concat();
    replace(&mut bytes, &[0x81, 0x4d, 1, 4, 0x83, 0x1c, 15], &cell);
    fs::write(&path, &bytes).unwrap();
    let subject = Subject::open(&path);
    let mut statement = subject.connection.prepare("select c1 from t where rowid = 1").unwrap();
    assert!(statement.query_row([], |row| row.get::<_, Value>(0)).is_err());
    let (tree, mut room) = (subject.tree.as_ref().unwrap(), Vec::new());
    let place = tree.place(&bytes, 1).unwrap();
    assert!(tree.record(&bytes, place, 1, &mut room).is_none());
    assert!(matches!(tree.rows(&bytes, 0).next(), Some(Ok((1, None)))));
}

#[test]
fn a_schema_that_sqlite_would_not_write_is_left_to_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    for (odd, is_read) in [
        ("update sqlite_schema set rootpage = 2", true),
        ("update sqlite_schema set rootpage = x'32'", false),
        ("update sqlite_schema set name = 'T', tbl_name = 'T'", false),
        // One more row, for the index of this name: SQLite takes the root from the other one.
        ("create index i on t(c0); update sqlite_schema set name = 't', type = 'index', sql = 'create index t on t(c0)' where name = 'i';
          insert into sqlite_schema values ('table', 't', 't', 3, null)", false),
    ] {
        let path = folder.path().join("t.db");
        let writer = Connection::open(&path).unwrap();
        writer.execute_batch("create table t(c0, c1); insert into t values (1, 2); pragma writable_schema = on").unwrap();
        writer.execute_batch(odd).unwrap();
        drop(writer);
        let subject = Subject::open(&path);
        assert_eq!(subject.rows().len(), 1, "{odd}");
        assert_eq!(subject.tree.is_some(), is_read, "{odd}");
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_declared_type_of_any_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let sql = "create table t(c0 qqreal, c1 qqqq); insert into t values (1, 1)";
    let (values, short) = damaged(folder.path(), sql, |bytes| {
        replace(bytes, b"qqreal", b"\xff\xfereal");
        replace(bytes, b"qqqq", b"\xc3qqq");
    });
    assert_eq!((&values[..], short.as_ref()), (&[Value::Real(1.0), Value::Integer(1)][..], Some(&values)));
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
