//! Targets `table_rows` and `table_pages`: rows that are read from the pages of a database against the rows that SQLite gives of the same file.
//!
//! The first has SQLite write a table of any rows; all of it must be found. The second takes any bytes as the pages behind a good first one: no row may
//! differ from SQLite's where both give it, and nothing may go on for longer than there are bytes.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use arbitrary::{Arbitrary, Result, Unstructured};
use balcao_registry::{Access, Record, Table, TableName, Tree, open};
use rusqlite::Connection;
use rusqlite::types::{ToSql, ToSqlOutput, Value, ValueRef};

use crate::scratch;

/// Columns that are written to; some tables have others beside them.
const COLUMNS: [&str; 3] = ["c0", "c1", "c2"];

/// What the columns are declared as.
const SHAPES: [&str; 8] = [
    "c0, c1, c2",
    "c0 text, c1 real, c2 integer",
    "c0, c1, c2, id integer primary key",
    "id integer primary key, c0 floating point, c1 charint, c2 double",
    "c0, c1 real, c2 real, id INTEGER, primary key(id desc)",
    "c0 any, c1 real, c2 any, id integer primary key) strict; create table beside(x",
    "c0, c1, c2, id integer primary key desc",
    "c0 real unique, c1 numeric, c2 blob check(length(c2) < 2000)",
];

/// Steps of one input, and rows of one step.
const STEPS_MAX: usize = 200;
const FILL_MAX: usize = 200;

/// Rows of hostile pages that SQLite is asked for.
const ASKED_MAX: usize = 100;

/// A file with a table `t`, as both see it.
struct Subject {
    connection: Connection,
    bytes: Vec<u8>,
    table: Table,
    tree: Option<Tree>,
}

impl Subject {
    fn open(path: &Path) -> Option<Self> {
        let connection = open(path, Access::Immutable).ok()?;
        let name = TableName { table: "t".into(), cpf_column: "c1".into(), name_column: "c1".into() };
        let table = Table::describe(&connection, &name).ok()?;
        let bytes = fs::read(path).unwrap();
        let tree = Tree::describe(&connection, &table.name, table.columns.len(), &bytes).unwrap();
        Some(Self { connection, bytes, table, tree })
    }

    /// A row as SQLite gives it; `None` where there is none, or none that can be read.
    fn row(&self, rowid: i64) -> Option<Vec<Value>> {
        let mut statement = self.connection.prepare_cached(&self.table.row_sql()).ok()?;
        let columns = self.table.columns.len();
        statement.query_row([rowid], |row| (0..columns).map(|at| value(row.get_ref(at)?)).collect()).ok()
    }

    /// A row as the pages give it.
    fn short(&self, tree: &Tree, rowid: i64) -> Option<Vec<Value>> {
        let place = tree.place(&self.bytes, rowid)?;
        let _ = tree.touch(&self.bytes, place);
        let mut room = Vec::new();
        tree.record(&self.bytes, place, rowid, &mut room).map(values)
    }
}

/// A text that is not UTF-8 is kept as a blob that says so.
fn value(value: ValueRef<'_>) -> rusqlite::Result<Value> {
    Ok(match value {
        ValueRef::Text(text) if str::from_utf8(text).is_err() => Value::Blob([b"text ", text].concat()),
        // Compared by their bits: there are two zeros.
        ValueRef::Real(real) => Value::Blob([b"real ", &real.to_be_bytes()[..]].concat()),
        value => value.try_into()?,
    })
}

fn values(record: Record<'_>) -> Vec<Value> {
    let values: Vec<_> = record.values().map(|stored| value(stored).unwrap()).collect();
    for (at, found) in values.iter().enumerate() {
        assert_eq!(record.value(at).map(|stored| value(stored).unwrap()).as_ref(), Some(found));
    }
    assert!(record.value(values.len()).is_none());
    values
}

/// A value that is put in.
#[derive(Arbitrary, Clone, Debug)]
enum Given<'a> {
    Null,
    Integer(i64),
    Small(i8),
    Real(f64),
    Whole(i16),
    Text(&'a [u8]),
    Blob(&'a [u8]),
    Long { length: u16, byte: u8, is_text: bool },
}

impl ToSql for Given<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match *self {
            Self::Null => ToSqlOutput::Owned(Value::Null),
            Self::Integer(value) => value.into(),
            Self::Small(value) => value.into(),
            Self::Real(value) => value.into(),
            Self::Whole(value) => f64::from(value).into(),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text)),
            Self::Blob(blob) => ToSqlOutput::Borrowed(ValueRef::Blob(blob)),
            Self::Long { length, byte, is_text: true } => {
                String::from_utf8_lossy(&vec![byte; usize::from(length)]).into_owned().into()
            }
            Self::Long { length, byte, .. } => vec![byte; usize::from(length)].into(),
        })
    }
}

/// What is done to the table. Whatever SQLite refuses is left out.
#[derive(Arbitrary, Clone, Debug)]
enum Step<'a> {
    Insert { rowid: i64, values: [Given<'a>; 3] },
    Behind { gap: u8, values: [Given<'a>; 3] },
    Fill { count: u8, gap: u16, length: u8 },
    Update { rowid: i8, column: u8, value: Given<'a> },
    Delete { from: i16, length: u8 },
    Add { affinity: u8, default: u8 },
    Drop { column: u8 },
    Rename { column: u8 },
    Vacuum,
}

impl Step<'_> {
    fn take(&self, writer: &Connection, number: usize) -> rusqlite::Result<()> {
        let insert = "insert into t(rowid, c0, c1, c2) values (?, ?, ?, ?)";
        let put = |rowid: i64, [c0, c1, c2]: &[Given<'_>; 3]| {
            let all: [&dyn ToSql; 4] = [&rowid, c0, c1, c2];
            writer.prepare_cached(insert)?.execute(all)
        };
        let behind = |gap: u16| -> rusqlite::Result<i64> {
            let last: i64 = writer.query_row("select coalesce(max(rowid), -9) from t", [], |row| row.get(0))?;
            Ok(last.saturating_add(1 + i64::from(gap)))
        };
        let name = |column: u8| COLUMNS[usize::from(column) % COLUMNS.len()];
        match self {
            Self::Insert { rowid, values } => put(*rowid, values).map(drop),
            Self::Behind { gap, values } => put(behind((*gap).into())?, values).map(drop),
            Self::Fill { count, gap, length } => {
                let text = "x".repeat((*length).into());
                for _ in 0..usize::from(*count).min(FILL_MAX) {
                    put(behind(*gap)?, &[Given::Whole(7), Given::Small(-7), Given::Text(text.as_bytes())])?;
                }
                Ok(())
            }
            Self::Update { rowid, column, value } => {
                let all: [&dyn ToSql; 2] = [value, rowid];
                writer.execute(&format!("update t set {} = ?1 where rowid = ?2", name(*column)), all).map(drop)
            }
            Self::Delete { from, length } => {
                let (from, to) = (i64::from(*from), i64::from(*from) + i64::from(*length));
                writer.execute("delete from t where rowid between ?1 and ?2", [from, to]).map(drop)
            }
            Self::Add { affinity, default } => {
                let affinity = ["", "real", "integer", "text", "as (c0)"][usize::from(affinity % 5)];
                let default = ["", "default 7", "default 'd'", "default 1.5"][usize::from(default % 4)];
                writer.execute_batch(&format!("alter table t add a{number} {affinity} {default}"))
            }
            Self::Drop { column } if name(*column) != "c1" => {
                writer.execute_batch(&format!("alter table t drop {}", name(*column)))
            }
            Self::Rename { column } if name(*column) != "c1" => {
                writer.execute_batch(&format!("alter table t rename {} to r{number}", name(*column)))
            }
            Self::Drop { .. } | Self::Rename { .. } => Ok(()),
            Self::Vacuum => writer.execute_batch("commit; vacuum; begin"),
        }
    }
}

/// Makes an empty database whose pages keep `reserved` bytes for somebody else, and a table of this shape in it.
fn create(path: &Path, page_bytes: usize, reserved: u8, auto_vacuum: bool, shape: &str) -> Connection {
    // With no journal at all a step that fails halfway would leave half of it.
    let quick = "pragma journal_mode = memory; pragma synchronous = off";
    let auto = if auto_vacuum { "pragma auto_vacuum = full;" } else { "" };
    let first = format!("pragma page_size = {page_bytes}; {auto} {quick}; pragma user_version = 1");
    Connection::open(path).unwrap().execute_batch(&first).unwrap();
    if reserved != 0 {
        let mut bytes = fs::read(path).unwrap();
        bytes[20] = reserved;
        let usable = page_bytes - usize::from(reserved);
        bytes[105..107].copy_from_slice(&(usable as u16).to_be_bytes());
        fs::write(path, bytes).unwrap();
    }
    let writer = Connection::open(path).unwrap();
    writer.execute_batch(&format!("{quick}; create table t({shape})")).unwrap();
    writer
}

/// A table of any rows: all of them are found, and each is what SQLite gives.
pub fn table_rows(data: &[u8]) {
    let mut data = Unstructured::new(data);
    let _ = table_of(&mut data);
}

fn table_of(data: &mut Unstructured<'_>) -> Result<()> {
    let folder = scratch::folder();
    let path = folder.path().join("t.db");
    let page_bytes = *data.choose(&[512, 512, 512, 1024, 4096, 65_536])?;
    // SQLite's own bound leaves 480.
    let reserved = *data.choose(&[0, 0, 1, 32, 255])?;
    let reserved = if page_bytes == 512 { u8::min(reserved, 32) } else { reserved };
    let shape = data.choose(&SHAPES)?;
    let writer = create(&path, page_bytes, reserved, data.arbitrary()?, shape);
    writer.execute_batch("begin").unwrap();
    for number in 0..STEPS_MAX {
        if data.is_empty() {
            break;
        }
        let _ = data.arbitrary::<Step<'_>>()?.take(&writer, number);
    }
    writer.execute_batch("commit").unwrap();
    drop(writer);
    let subject = Subject::open(&path).unwrap();
    let generated =
        subject.connection.prepare("select 1 from pragma_table_xinfo('t') where hidden <> 0").unwrap().exists([]);
    let Some(tree) = &subject.tree else {
        assert!(generated.unwrap());
        return Ok(());
    };
    let mut statement = subject.connection.prepare("select rowid from t not indexed order by rowid").unwrap();
    let rowids: Vec<i64> = statement.query_map([], |row| row.get(0)).unwrap().map(|rowid| rowid.unwrap()).collect();
    let mut scan = tree.rows(&subject.bytes, i64::MIN);
    for &rowid in &rowids {
        let expected = subject.row(rowid).unwrap();
        assert!(tree.place(&subject.bytes, rowid).is_some(), "{rowid} has no place");
        let short = subject.short(tree, rowid);
        assert!(short.as_ref().is_none_or(|short| *short == expected), "{rowid}: {short:?} is {expected:?}");
        let (at, record) = scan.next().unwrap().unwrap();
        let scanned = record.map(values);
        assert_eq!(at, rowid);
        // The columns that were added later are not in it.
        assert!(
            scanned.as_ref().is_none_or(|found| expected.starts_with(found)),
            "{rowid}: {scanned:?} is {expected:?}"
        );
        assert_eq!(short.is_some(), scanned.is_some_and(|found| found.len() == expected.len()));
        for beside in [rowid.wrapping_sub(1), rowid.wrapping_add(1)] {
            assert!(rowids.binary_search(&beside).is_ok() || subject.short(tree, beside).is_none(), "{beside}");
        }
    }
    assert!(scan.next().is_none());
    if let Some(&from) = rowids.get(rowids.len() / 2) {
        let tail: Vec<i64> = tree.rows(&subject.bytes, from).map(|row| row.unwrap().0).collect();
        assert_eq!(tail, rowids[rowids.len() / 2..]);
    }
    Ok(())
}

/// Bytes of a page of the target `table_pages`.
const PAGE: usize = 512;

/// Of those, bytes that a file of the second half of the shapes keeps for somebody else.
const RESERVED: u8 = 12;

/// The first page of a file for each shape, without and with reserved bytes.
fn first_pages() -> &'static [Vec<u8>] {
    static PAGES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    PAGES.get_or_init(|| {
        let kinds = [0, RESERVED].into_iter().flat_map(|reserved| SHAPES.map(|shape| (reserved, shape)));
        let first = |(reserved, shape): (u8, &str)| {
            let folder = scratch::folder();
            let path = folder.path().join("t.db");
            drop(create(&path, PAGE, reserved, false, shape));
            let mut bytes = fs::read(path).unwrap();
            bytes.truncate(PAGE);
            bytes
        };
        kinds.map(first).collect()
    })
}

/// Any bytes as the pages of a table: what is read of them is what SQLite reads, and it comes to an end.
pub fn table_pages(data: &[u8]) {
    let Some((&kind, pages)) = data.split_first() else { return };
    let mut bytes = first_pages()[usize::from(kind) % first_pages().len()].clone();
    bytes.extend_from_slice(pages);
    bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
    let count = u32::try_from(bytes.len() / PAGE).unwrap();
    bytes[28..32].copy_from_slice(&count.to_be_bytes());
    let folder = scratch::folder();
    let path = folder.path().join("t.db");
    fs::write(&path, &bytes).unwrap();
    let Some(subject) = Subject::open(&path) else { return };
    let Some(tree) = &subject.tree else { panic!("every shape is read") };
    // As whoever scans does: what does not ascend ends it.
    let (mut rows, mut in_order) = (Vec::<(i64, Option<Vec<Value>>)>::new(), true);
    for row in tree.rows(&subject.bytes, i64::MIN) {
        match row {
            Ok((rowid, record)) if rows.last().is_none_or(|last| last.0 < rowid) => {
                rows.push((rowid, record.map(values)));
            }
            _ => {
                in_order = false;
                break;
            }
        }
        assert!(rows.len() <= subject.bytes.len(), "more rows than bytes");
    }
    let from = rows.get(rows.len() / 2).map_or(0, |row| row.0);
    if let Some(Ok((first, _))) = tree.rows(&subject.bytes, from).next() {
        assert!(!in_order || first >= from);
    }
    for (rowid, scanned) in rows.iter().take(ASKED_MAX) {
        let short = subject.short(tree, *rowid);
        let _ = subject.short(tree, rowid.wrapping_add(1));
        // A rowid that stands there twice is one row for this reader and another for that.
        if !in_order {
            continue;
        }
        assert!(short.is_none() || short == *scanned, "{rowid}: {short:?} is {scanned:?}");
        if let (Some(scanned), Some(expected)) = (scanned, subject.row(*rowid)) {
            assert!(expected.starts_with(scanned), "{rowid}: {scanned:?} is {expected:?}");
        }
    }
}

/// An input for `table_pages`: the pages of a table of this kind, as SQLite writes them after `sql`.
#[must_use]
pub fn pages_of(kind: u8, sql: &str) -> Vec<u8> {
    let folder = scratch::folder();
    let path = folder.path().join("t.db");
    let reserved = if usize::from(kind) < SHAPES.len() { 0 } else { RESERVED };
    let writer = create(&path, PAGE, reserved, false, SHAPES[usize::from(kind) % SHAPES.len()]);
    writer.execute_batch(sql).unwrap();
    drop(writer);
    [&[kind], &fs::read(path).unwrap()[PAGE..]].concat()
}
