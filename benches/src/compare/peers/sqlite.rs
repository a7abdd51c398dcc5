//! SQLite's own two indexes: what a user of the file would make instead.
//!
//! Default settings, so durable like ours (rollback journal, synchronous=FULL), each statement in its own transaction; the
//! sorter's own threads are off, as they are by default.

use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::measure::seconds;
use crate::table::{Registry, quoted};

/// Makes the two indexes in the database itself; tells seconds and bytes of each, as JSON: `{"cpf":{"seconds":…,"bytes":…},…}`.
///
/// # Errors
/// When the database cannot be written.
pub fn create_indexes(db: &Path) -> anyhow::Result<Value> {
    let registry = Registry::new(db);
    let database = Connection::open_with_flags(db, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .with_context(|| format!("cannot write to {}", db.display()))?;
    let mut figures = json!({});
    for column in [&registry.cpf_column, &registry.name_column] {
        let name = quoted(&format!("by_{column}"));
        let before = used_bytes(&database)?;
        let started = Instant::now();
        database
            .execute_batch(&format!("CREATE INDEX {name} ON {}({})", quoted(&registry.table), quoted(column)))
            .with_context(|| format!("SQLite cannot index column {column:?}"))?;
        let took = seconds(started.elapsed());
        figures[column.as_str()] = json!({"seconds": took, "bytes": used_bytes(&database)? - before});
    }
    Ok(figures)
}

/// Bytes of the pages in use.
fn used_bytes(database: &Connection) -> anyhow::Result<i64> {
    let pragma = |name: &str| database.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    Ok((pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_columns_are_indexed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let database = Connection::open(file.path()).unwrap();
        let sql = "CREATE TABLE cpf(cpf TEXT, nome TEXT);
            INSERT INTO cpf SELECT value, 'NAME ' || value FROM json_each('[1,2,3]')";
        database.execute_batch(sql).unwrap();
        let figures = create_indexes(file.path()).unwrap();
        for column in ["cpf", "nome"] {
            assert!(figures[column]["bytes"].as_i64().unwrap() > 0, "{figures}");
            assert!(figures[column]["seconds"].is_f64(), "{figures}");
        }
    }
}
