//! `Table`: the table that is indexed and asked, and the SQL that reads it.

use balcao_record::Cell;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension};

use crate::RegistryError;

/// Which table and columns of a database are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName {
    /// The table.
    pub table: String,
    /// The column with the CPF.
    pub cpf_column: String,
    /// The column with the name.
    pub name_column: String,
}

/// A table with rowids, as the database describes it. Names are in the database's own spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The table.
    pub name: String,
    /// Its columns, in their order.
    pub columns: Vec<String>,
    /// Where among them the CPF is.
    pub cpf_at: usize,
    /// Where among them the name is.
    pub name_at: usize,
    /// A name of the rowid that no column hides.
    rowid: &'static str,
}

impl Table {
    /// Looks a table up.
    ///
    /// # Errors
    /// [`RegistryError`]: no such table or column, or a table that cannot be asked by rowid.
    pub fn describe(connection: &Connection, wanted: &TableName) -> Result<Self, RegistryError> {
        let described = connection
            .query_row(
                "SELECT name, type, wr FROM pragma_table_list WHERE schema = 'main' AND name = ?1 COLLATE NOCASE",
                [&wanted.table],
                |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, bool>(2)?)),
            )
            .optional()?;
        let Some((name, kind, without_rowid)) = described else {
            return Err(RegistryError::NoTable(wanted.table.clone()));
        };
        match kind.as_str() {
            "view" => return Err(RegistryError::View(name)),
            "virtual" | "shadow" => return Err(RegistryError::Virtual(name)),
            _ if without_rowid => return Err(RegistryError::WithoutRowid(name)),
            _ => {}
        }
        // `SELECT *` gives these: generated columns are among them, hidden ones are not.
        let mut statement = connection.prepare("SELECT name FROM pragma_table_xinfo(?1) WHERE hidden <> 1")?;
        let columns = statement.query_map([&name], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
        let is_column = |name: &str| columns.iter().any(|column| column.eq_ignore_ascii_case(name));
        let Some(rowid) = ["rowid", "_rowid_", "oid"].into_iter().find(|name| !is_column(name)) else {
            return Err(RegistryError::HiddenRowid(name));
        };
        let cpf_at = place(&name, &columns, &wanted.cpf_column, "--cpf-column")?;
        let name_at = place(&name, &columns, &wanted.name_column, "--name-column")?;
        Ok(Self { name, columns, cpf_at, name_at, rowid })
    }

    /// The least and the greatest rowid; `None` for an empty table.
    ///
    /// # Errors
    /// [`RegistryError::Sqlite`].
    pub fn rowid_range(&self, connection: &Connection) -> Result<Option<(i64, i64)>, RegistryError> {
        let (rowid, table) = (self.rowid, quote(&self.name));
        // Two queries: SQLite finds one end of a table at once, but scans for both ends in one query.
        let end = |which: &str| {
            connection
                .query_row(&format!("SELECT {which}({rowid}) FROM {table}"), [], |row| row.get::<_, Option<i64>>(0))
        };
        Ok(end("min")?.zip(end("max")?))
    }

    /// Where among the columns that of this name is.
    ///
    /// # Errors
    /// [`RegistryError::NoColumn`], which tells to name another with `option`.
    pub fn column_at(&self, wanted: &str, option: &'static str) -> Result<usize, RegistryError> {
        place(&self.name, &self.columns, wanted, option)
    }

    /// SQL for rowid, CPF and name of the rows from rowid `?1` to `?2`, in order, and for the `further` columns behind them.
    #[must_use]
    pub fn scan_sql(&self, further: &[usize]) -> String {
        let (rowid, table) = (self.rowid, quote(&self.name));
        let columns = [self.cpf_at, self.name_at].into_iter().chain(further.iter().copied());
        let columns: Vec<_> = columns.filter_map(|at| self.columns.get(at)).map(|column| quote(column)).collect();
        format!(
            "SELECT {rowid}, {} FROM {table} NOT INDEXED WHERE {rowid} BETWEEN ?1 AND ?2 ORDER BY {rowid}",
            columns.join(", ")
        )
    }

    /// SQL for every column of the row with rowid `?1`.
    #[must_use]
    pub fn row_sql(&self) -> String {
        let columns: Vec<_> = self.columns.iter().map(|column| quote(column)).collect();
        format!("SELECT {} FROM {} WHERE {} = ?1", columns.join(", "), quote(&self.name), self.rowid)
    }
}

/// Another table with the same columns in their order, without types: what is put in comes out again, an integer as an integer and a text with
/// its bytes. Its rowids are those that SQLite gives: 1, 2, 3 …
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableCopy {
    name: String,
    columns: Vec<String>,
    rowid: &'static str,
}

impl TableCopy {
    /// A copy of `table`, named `name`.
    #[must_use]
    pub fn new(table: &Table, name: &str) -> Self {
        Self { name: name.to_owned(), columns: table.columns.clone(), rowid: table.rowid }
    }

    /// SQL that makes the table.
    #[must_use]
    pub fn create_sql(&self) -> String {
        format!("CREATE TABLE {}({})", quote(&self.name), self.list())
    }

    /// SQL that puts a row behind all others, its values as parameters.
    #[must_use]
    pub fn append_sql(&self) -> String {
        let values = vec!["?"; self.columns.len()].join(", ");
        format!("INSERT INTO {}({}) VALUES ({values})", quote(&self.name), self.list())
    }

    /// SQL for rowid and every column of all rows, in order.
    #[must_use]
    pub fn scan_sql(&self) -> String {
        format!("SELECT {0}, {1} FROM {2} ORDER BY {0}", self.rowid, self.list(), quote(&self.name))
    }

    /// SQL for every column of the row with rowid `?1`.
    #[must_use]
    pub fn row_sql(&self) -> String {
        format!("SELECT {} FROM {} WHERE {} = ?1", self.list(), quote(&self.name), self.rowid)
    }

    fn list(&self) -> String {
        self.columns.iter().map(|column| quote(column)).collect::<Vec<_>>().join(", ")
    }
}

/// A value of SQLite as a cell.
#[must_use]
pub fn cell(value: ValueRef<'_>) -> Cell<'_> {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(integer) => Cell::Integer(integer),
        ValueRef::Real(real) => Cell::Real(real),
        ValueRef::Text(bytes) => Cell::Text(bytes),
        ValueRef::Blob(bytes) => Cell::Blob(bytes),
    }
}

fn place(table: &str, columns: &[String], wanted: &str, option: &'static str) -> Result<usize, RegistryError> {
    columns.iter().position(|column| column.eq_ignore_ascii_case(wanted)).ok_or_else(|| RegistryError::NoColumn {
        table: table.to_owned(),
        column: wanted.to_owned(),
        found: columns.join(", "),
        option,
    })
}

/// An identifier as SQL takes it whatever it holds.
fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn describe(sql: &str, table: &str) -> Result<Table, RegistryError> {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(sql).unwrap();
        let wanted = TableName { table: table.into(), cpf_column: "cpf".into(), name_column: "nome".into() };
        let described = Table::describe(&connection, &wanted)?;
        let every: Vec<usize> = (0..described.columns.len()).collect();
        connection.prepare(&described.scan_sql(&every)).unwrap();
        connection.prepare(&described.row_sql()).unwrap();
        Ok(described)
    }

    #[test]
    fn any_ordinary_table() {
        let table = describe("create table \"o \"\" d\"(CPF, \"x\"\"y\", Nome)", "O \" D").unwrap();
        assert_eq!((table.name.as_str(), table.cpf_at, table.name_at), ("o \" d", 0, 2));
        assert_eq!(table.columns, ["CPF", "x\"y", "Nome"]);
        describe("create table t(rowid text, cpf, nome)", "t").unwrap();
        describe("create table t(id integer primary key, cpf, nome)", "t").unwrap();
        let generated = describe("create table t(cpf, nome, n generated always as (lower(nome)))", "t").unwrap();
        assert_eq!(generated.columns.len(), 3);
    }

    #[test]
    fn a_copy_takes_every_value_as_it_is() {
        let connection = Connection::open_in_memory().unwrap();
        let sql = "CREATE TABLE t(rowid text, \"c\"\"pf\" integer, nome real, g generated always as (nome))";
        connection.execute_batch(sql).unwrap();
        let wanted = TableName { table: "t".into(), cpf_column: "c\"pf".into(), name_column: "nome".into() };
        let copy = TableCopy::new(&Table::describe(&connection, &wanted).unwrap(), "o \" d");
        connection.execute_batch(&copy.create_sql()).unwrap();
        for row in ["'007', 1, 2.0, x'00ff'", "1.0, NULL, '1', CAST(x'ff00' AS TEXT)"] {
            connection.execute(&copy.append_sql().replace("?, ?, ?, ?", row), []).unwrap();
        }
        let all = |sql: &str| {
            let mut statement = connection.prepare(sql).unwrap();
            let columns = statement.column_count();
            let row = |row: &rusqlite::Row<'_>| {
                Ok((0..columns).map(|at| format!("{:?}", row.get_ref(at).unwrap())).collect::<Vec<_>>())
            };
            statement.query_map([], row).unwrap().collect::<Result<Vec<_>, _>>().unwrap()
        };
        let first = ["Text([48, 48, 55])", "Integer(1)", "Real(2.0)", "Blob([0, 255])"];
        let second = ["Real(1.0)", "Null", "Text([49])", "Text([255, 0])"];
        assert_eq!(all(&copy.row_sql().replace("?1", "1")), [first]);
        assert_eq!(all(&copy.row_sql().replace("?1", "2")), [second]);
        let scanned: Vec<_> = all(&copy.scan_sql()).into_iter().map(|row| row[0].clone()).collect();
        assert_eq!(scanned, ["Integer(1)", "Integer(2)"]);
    }

    #[test]
    fn what_cannot_be_asked_by_rowid_is_named() {
        let refused = |sql: &str| describe(sql, "t").unwrap_err();
        assert!(matches!(refused(""), RegistryError::NoTable(_)));
        assert!(matches!(refused("create view t as select 1 as cpf, 2 as nome"), RegistryError::View(_)));
        let without = "create table t(cpf primary key, nome) without rowid";
        assert!(matches!(refused(without), RegistryError::WithoutRowid(_)));
        let hidden = "create table t(cpf, nome, rowid, oid, _rowid_)";
        assert!(matches!(refused(hidden), RegistryError::HiddenRowid(_)));
        let other = refused("create table t(cpf, name)").to_string();
        assert!(other.contains("no column `nome`; it has cpf, name; name yours with --name-column"), "{other}");
    }

    #[test]
    fn ends_of_the_rowids() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("create table t(cpf, nome)").unwrap();
        let wanted = TableName { table: "t".into(), cpf_column: "cpf".into(), name_column: "nome".into() };
        let table = Table::describe(&connection, &wanted).unwrap();
        assert_eq!(table.rowid_range(&connection).unwrap(), None);
        let sql = format!("insert into t(rowid) values ({}), (0), ({})", i64::MIN, i64::MAX);
        connection.execute_batch(&sql).unwrap();
        assert_eq!(table.rowid_range(&connection).unwrap(), Some((i64::MIN, i64::MAX)));
    }
}
