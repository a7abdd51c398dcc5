//! Opening the file: read only, without a mutex, by URI.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::RegistryError;

/// How the file is shared with other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// SQLite's own locks: inside a transaction nobody can change the file.
    Locked,
    /// No locks and no look for changes: six times faster a row, right only while nobody changes the file. Whoever opens it so checks the
    /// file's identity by itself.
    Immutable,
}

/// How long a lock of another program is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Maps the file whole: a row is then a read from memory, not a system call. The address space is free.
const MMAP_BYTES: i64 = 1 << 40;

/// Opens the database at `path` for one thread.
///
/// # Errors
/// [`RegistryError::Sqlite`]: not there, not readable, no database.
pub fn open(path: &Path, access: Access) -> Result<Connection, RegistryError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri(path, access), flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "mmap_size", MMAP_BYTES)?;
    // A view, a trigger or a default value of a hostile file must not run functions of ours.
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "query_only", true)?;
    // A column that was renamed under us must be an error: SQLite would take its quoted name for a text, and give that as every row's value.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    Ok(connection)
}

/// A `file:` URI in which every byte of the path that could mean something else is escaped.
fn uri(path: &Path, access: Access) -> String {
    let mut uri = String::from("file:");
    // An empty authority keeps a path that begins with two slashes a path.
    if path.is_absolute() {
        uri.push_str("//");
    }
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => uri.push(char::from(byte)),
            _ => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    uri.push_str("?mode=ro");
    if access == Access::Immutable {
        uri.push_str("&immutable=1");
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_paths_are_opened_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["plain.db", "a b?mode=rwc#x%20.db", "çã.db"] {
            let path = folder.path().join(name);
            Connection::open(&path).unwrap().execute_batch("create table t(a); insert into t values (1)").unwrap();
            for access in [Access::Locked, Access::Immutable] {
                let count: i64 =
                    open(&path, access).unwrap().query_row("select count(*) from t", [], |row| row.get(0)).unwrap();
                assert_eq!(count, 1);
            }
        }
        let missing = folder.path().join("missing.db");
        assert!(open(&missing, Access::Locked).is_err());
        assert!(!missing.exists());
    }

    #[test]
    fn a_name_that_no_column_has_is_no_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        Connection::open(&path).unwrap().execute_batch("create table t(a); insert into t values (1)").unwrap();
        for access in [Access::Locked, Access::Immutable] {
            let connection = open(&path, access).unwrap();
            assert_eq!(connection.query_row("select \"a\" from t", [], |row| row.get(0)), Ok(1));
            assert!(connection.prepare("select \"b\" from t").is_err());
        }
    }

    #[test]
    fn nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        Connection::open(&path).unwrap().execute_batch("create table t(a)").unwrap();
        assert!(open(&path, Access::Locked).unwrap().execute("insert into t values (1)", []).is_err());
    }
}
