//! The table, read once by a plain scan, and the rows that each key and each prefix must find.
//!
//! Everything is held in memory: the oracle is for tables of up to a few million rows.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Context as _, ensure};
use rusqlite::types::ValueRef;

use super::reading;
use crate::table::{Registry, quoted};

/// A value as the protocol shows it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    /// With U+FFFD where the database has no UTF-8.
    Text(Box<str>),
    Blob(Box<[u8]>),
}

impl Cell {
    fn of(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(number) => Self::Integer(number),
            ValueRef::Real(number) => Self::Real(number),
            ValueRef::Text(bytes) => Self::Text(String::from_utf8_lossy(bytes).into()),
            ValueRef::Blob(bytes) => Self::Blob(bytes.into()),
        }
    }

    /// What a question would have to say to mean this cell; `None` for what is no key.
    pub(crate) fn spelled(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.to_string()),
            Self::Integer(number) => Some(number.to_string()),
            Self::Null | Self::Real(_) | Self::Blob(_) => None,
        }
    }

    fn cpf_key(&self) -> Option<String> {
        match self {
            Self::Integer(number) => reading::read_cpf_number(&number.to_string()),
            _ => self.spelled().and_then(|text| reading::read_cpf(&text)),
        }
    }

    pub(crate) fn name_key(&self) -> Option<String> {
        self.spelled().map(|text| reading::normalise(&text)).filter(|name| !name.is_empty())
    }
}

/// One row.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) rowid: i64,
    /// One for each column.
    pub(crate) cells: Box<[Cell]>,
}

/// Distinct keys in order, and the rows of each in order of their rowids.
#[derive(Debug, Default)]
pub(crate) struct Postings {
    pub(crate) keys: Vec<String>,
    /// Rows of the first key, then of the second, and so on.
    rows: Vec<u32>,
    /// Where each key's rows begin; one more at the end.
    starts: Vec<usize>,
}

impl Postings {
    fn new(map: BTreeMap<String, Vec<u32>>) -> Self {
        let mut postings = Self { starts: vec![0], ..Self::default() };
        for (key, rows) in map {
            postings.keys.push(key);
            postings.rows.extend(rows);
            postings.starts.push(postings.rows.len());
        }
        postings
    }

    /// The rows of key number `at`.
    pub(crate) fn of(&self, at: usize) -> &[u32] {
        self.between(at..at + 1)
    }

    /// The rows of exactly this key.
    pub(crate) fn exact(&self, key: &str) -> &[u32] {
        self.keys.binary_search_by(|have| have.as_str().cmp(key)).map_or(&[], |at| self.of(at))
    }

    /// The rows of every key that begins with `prefix`, in order of key and rowid.
    pub(crate) fn starting_with(&self, prefix: &str) -> &[u32] {
        let low = self.keys.partition_point(|key| key.as_str() < prefix);
        let high = low + self.keys[low..].partition_point(|key| key.starts_with(prefix));
        self.between(low..high)
    }

    fn between(&self, keys: Range<usize>) -> &[u32] {
        &self.rows[self.starts[keys.start]..self.starts[keys.end]]
    }
}

/// The whole table, and what each key must find in it.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) columns: Vec<String>,
    /// In order of their rowids.
    pub(crate) rows: Vec<Row>,
    /// Which column holds the name.
    pub(crate) name_column: usize,
    pub(crate) cpfs: Postings,
    pub(crate) names: Postings,
}

impl Table {
    /// Reads the table.
    pub(crate) fn scan(registry: &Registry) -> anyhow::Result<Self> {
        let database = registry.open()?;
        let sql = format!("SELECT rowid, * FROM {}", quoted(&registry.table));
        let mut statement = database
            .prepare(&sql)
            .with_context(|| format!("cannot read table {:?}; name it with --table", registry.table))?;
        let columns: Vec<String> = statement.column_names().skip(1).map(str::to_owned).collect();
        let column = |wanted: &str| {
            let found = columns.iter().position(|column| column.eq_ignore_ascii_case(wanted));
            found.with_context(|| format!("table {:?} has no column {wanted:?}", registry.table))
        };
        let (cpf_column, name_column) = (column(&registry.cpf_column)?, column(&registry.name_column)?);
        let mut rows = Vec::new();
        let mut cursor = statement.query([])?;
        while let Some(row) = cursor.next().context("cannot read the table to its end")? {
            let cells = (1..=columns.len()).map(|at| row.get_ref(at).map(Cell::of)).collect::<Result<_, _>>()?;
            rows.push(Row { rowid: row.get(0)?, cells });
        }
        rows.sort_by_key(|row| row.rowid);
        ensure!(u32::try_from(rows.len()).is_ok(), "a table of {} rows is too large for the oracle", rows.len());
        let (mut cpfs, mut names) = (BTreeMap::<_, Vec<u32>>::new(), BTreeMap::<_, Vec<u32>>::new());
        for (at, row) in (0..).zip(&rows) {
            if let Some(key) = row.cells[cpf_column].cpf_key() {
                cpfs.entry(key).or_default().push(at);
            }
            if let Some(key) = row.cells[name_column].name_key() {
                names.entry(key).or_default().push(at);
            }
        }
        Ok(Self { columns, rows, name_column, cpfs: Postings::new(cpfs), names: Postings::new(names) })
    }

    /// The name of row number `at`, as the table holds it.
    pub(crate) fn name_of(&self, at: u32) -> String {
        self.rows[at as usize].cells[self.name_column].spelled().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_what_a_scan_of_all_keys_finds() {
        let names = ["ANA", "ANA LIMA", "ANABELA", "MARIA", "MARIANA", "Z", "ØYVIND"];
        let postings =
            Postings::new(names.iter().zip(0..).map(|(name, row)| ((*name).to_owned(), vec![row])).collect());
        for prefix in ["", "A", "ANA", "ANA L", "ANAB", "B", "MARIA", "MARIAZ", "Ø", "Z", "ZZ"] {
            let expected: Vec<u32> =
                names.iter().zip(0..).filter(|(name, _)| name.starts_with(prefix)).map(|(_, row)| row).collect();
            assert_eq!(postings.starting_with(prefix), expected, "{prefix:?}");
        }
        assert_eq!(postings.exact("ANABELA"), [2]);
        assert!(postings.exact("AN").is_empty());
    }

    #[test]
    fn a_table_is_read_whole() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let database = rusqlite::Connection::open(file.path()).unwrap();
        database
            .execute_batch(
                "CREATE TABLE \"pe\"\"ople\"(id INTEGER PRIMARY KEY, doc, name, x);
                 INSERT INTO \"pe\"\"ople\" VALUES (9, 191, 'ana', 1.5), (-3, '000.000.001-91', CAST(x'41ff42' AS TEXT), x'00'),
                     (4, NULL, 'Ána', NULL), (5, 191.0, NULL, 2);",
            )
            .unwrap();
        let registry = Registry {
            db: file.path().to_owned(),
            table: "pe\"ople".to_owned(),
            cpf_column: "DOC".to_owned(),
            name_column: "name".to_owned(),
        };
        let table = Table::scan(&registry).unwrap();
        assert_eq!(table.rows.iter().map(|row| row.rowid).collect::<Vec<_>>(), [-3, 4, 5, 9]);
        assert_eq!(table.cpfs.keys, ["00000000191"]);
        assert_eq!(table.cpfs.of(0), [0, 3]);
        assert_eq!(table.names.keys, ["A B", "ANA"]);
        assert_eq!(table.names.of(1), [1, 3]);
        assert_eq!(table.rows[0].cells[2], Cell::Text("A\u{fffd}B".into()));
        assert!(Table::scan(&Registry { name_column: "nome".to_owned(), ..registry }).is_err());
    }
}
