//! The SQLite file: the rows of the recipe and nothing else, and no file at all where something fails.
//!
//! What the rows are is the other modules' matter.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::rows;
use crate::registry::write_with;
use crate::{Defect, Error, Plan, Recipe, write_registry, write_registry_until};

fn plan(rows: u64, dirty: f64, out: PathBuf) -> Plan {
    Plan { recipe: Recipe::new(rows, 21, dirty).unwrap(), out }
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_file_holds_the_rows_of_the_recipe() {
    let folder = tempfile::tempdir().unwrap();
    // Several blocks, and a last one that is no multiple of the rows of an INSERT.
    let plan = plan(10_007, 0.7, folder.path().join("basecpf.db"));
    let mut reported = Vec::new();
    let summary = write_registry(&plan, |done| reported.push(done)).unwrap();
    assert!(reported.is_sorted() && reported.last() == Some(&10_007));

    let connection = Connection::open(&plan.out).unwrap();
    let schema: Vec<String> = connection
        .prepare("SELECT sql FROM sqlite_schema")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(schema, ["CREATE TABLE cpf(cpf TEXT, nome TEXT, sexo TEXT, nasc TEXT)"]);
    let mut statement = connection.prepare("SELECT cpf, nome, nasc, sexo, rowid FROM cpf ORDER BY rowid").unwrap();
    let mut stored = statement.query([]).unwrap();
    let expected = rows(10_007, 21, 0.7);
    for (number, row) in expected.iter().enumerate() {
        let stored = stored.next().unwrap().expect("as many rows");
        for (column, cell) in [&row.cpf, &row.nome, &row.nasc].into_iter().enumerate() {
            let cell = cell.as_deref().map_or(ValueRef::Null, ValueRef::Text);
            assert_eq!(stored.get_ref(column).unwrap(), cell, "row {number}");
        }
        assert_eq!(stored.get_ref(3).unwrap(), ValueRef::Text(row.sexo.letter().as_bytes()));
        assert_eq!(stored.get::<_, i64>(4).unwrap(), number as i64 + 1);
    }
    assert!(stored.next().unwrap().is_none());

    assert_eq!((summary.rows, summary.bytes), (10_007, fs::metadata(&plan.out).unwrap().len()));
    for defect in Defect::ALL {
        let count = expected.iter().filter(|row| row.defect == Some(defect)).count() as u64;
        assert_eq!(summary.dirty(defect), count);
    }
    assert_eq!(summary.dirty_rows(), expected.iter().filter(|row| row.defect.is_some()).count() as u64);
}

#[test]
fn the_bytes_do_not_depend_on_the_workers() {
    let folder = tempfile::tempdir().unwrap();
    let files = [1, 2, 5].map(|workers| {
        let plan = plan(20_000, 0.1, folder.path().join(format!("{workers}.db")));
        write_with(&plan, workers, &AtomicBool::new(false), |_| ()).unwrap();
        fs::read(plan.out).unwrap()
    });
    assert!(files[0] == files[1] && files[0] == files[2]);
    let empty = plan(0, 0.0, folder.path().join("empty.db"));
    assert_eq!(write_registry(&empty, |_| ()).unwrap().rows, 0);
    let count = Connection::open(empty.out).unwrap().query_row("SELECT count(*) FROM cpf", [], |row| row.get(0));
    assert_eq!(count, Ok(0));
}

#[test]
fn what_is_there_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("basecpf.db");
    fs::write(&out, "precious").unwrap();
    let error = write_registry(&plan(10, 0.0, out.clone()), |_| ()).unwrap_err();
    assert!(matches!(&error, Error::OutExists { path } if *path == out));
    assert!(error.to_string().contains("remove it or choose another name"));
    assert_eq!(fs::read(&out).unwrap(), b"precious");

    // Somebody else may take the name while the rows are written.
    let late = folder.path().join("late.db");
    let error = write_registry(&plan(10, 0.0, late.clone()), |_| fs::write(&late, "precious").unwrap()).unwrap_err();
    assert!(matches!(error, Error::OutExists { .. }));
    assert_eq!(fs::read(&late).unwrap(), b"precious");

    fs::write(folder.path().join("new.db-journal"), "").unwrap();
    let error = write_registry(&plan(10, 0.0, folder.path().join("new.db")), |_| ()).unwrap_err();
    assert!(matches!(error, Error::LeftOver { .. }));
    assert_eq!(names_in(folder.path()), ["basecpf.db", "late.db", "new.db-journal"], "no partial file stays");
}

#[test]
fn nothing_stays_of_a_file_that_failed() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["none/basecpf.db", "basecpf.db/"] {
        let error = write_registry(&plan(10, 0.0, folder.path().join(name)), |_| unreachable!()).unwrap_err();
        assert!(matches!(error, Error::File { .. }), "{error}");
    }

    let stop = AtomicBool::new(false);
    let plan = plan(1_000_000_000, 0.0, folder.path().join("basecpf.db"));
    let error = write_registry_until(&plan, &stop, |done| stop.store(done > 5_000, Ordering::Relaxed)).unwrap_err();
    assert!(matches!(error, Error::Interrupted { rows } if rows > 5_000), "{error}");
    assert!(names_in(folder.path()).is_empty());
}
