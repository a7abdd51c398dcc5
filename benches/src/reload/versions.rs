//! Versions of one registry: the same people, and in every row's `nasc` the number of the version, so that a row tells where it is from.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use rusqlite::{Connection, OpenFlags};

use crate::table::{Registry, quoted};

/// The column that carries the mark.
pub(crate) const MARKED: &str = "nasc";

/// Digits of a mark.
pub(crate) const MARK_DIGITS: usize = 8;

/// The mark of a version.
pub(crate) fn mark(version: usize) -> String {
    format!("{version:0MARK_DIGITS$}")
}

/// Reads a mark.
pub(crate) fn read_mark(bytes: &[u8]) -> Option<usize> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// Marks every row of the registry in place.
pub(crate) fn mark_rows(db: &Path, version: usize) -> anyhow::Result<()> {
    let database = Connection::open_with_flags(db, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .with_context(|| format!("cannot write to {}", db.display()))?;
    let sql = format!("UPDATE {} SET {} = ?", quoted(&Registry::new(db).table), quoted(MARKED));
    let rows = database.execute(&sql, [mark(version)]).context("cannot mark the rows")?;
    ensure!(rows > 0, "the registry has no rows");
    Ok(())
}

/// Makes the file of a version beside that of the first one.
pub(crate) fn make(db: &Path, version: usize) -> anyhow::Result<PathBuf> {
    let copy = db.with_file_name(format!("version-{version}.db"));
    std::fs::copy(db, &copy).context("cannot copy the registry")?;
    mark_rows(&copy, version)?;
    Ok(copy)
}
