//! What cannot be indexed: exit code 1, and what to do about it.

use std::fs;

use rusqlite::Connection;

use crate::command::{Place, refused, run_json};

const TABLE: &str = "CREATE TABLE cpf(cpf, nome); INSERT INTO cpf VALUES ('191', 'ANA');";

/// The database of `sql` cannot be built, and the error says each of `told`; nothing is published.
#[track_caller]
fn check(sql: &str, further: &[&str], told: &[&str]) {
    let place = Place::of(sql);
    refused(&place.build(further), told);
    refused(&["stats", "--index", &place.index], &["indexer build"]);
}

#[test]
fn tables_that_cannot_be_read_by_rowid() {
    check(
        "CREATE TABLE t(cpf, nome); CREATE VIEW cpf AS SELECT * FROM t;",
        &[],
        &["view", "index the table behind it"],
    );
    check("CREATE TABLE cpf(cpf PRIMARY KEY, nome) WITHOUT ROWID;", &[], &["WITHOUT ROWID", "copy it"]);
    check("CREATE TABLE cpf(cpf, nome, rowid, oid, _rowid_);", &[], &["rowid", "rename"]);
    check("CREATE TABLE pessoas(cpf, nome);", &[], &["no table `cpf`", "--table"]);
    check(TABLE, &["--table", "sqlite_schema2"], &["sqlite_schema2", "--table"]);
    check("CREATE TABLE cpf(documento, nome);", &[], &["no column `cpf`", "documento, nome", "--cpf-column"]);
    check("CREATE TABLE cpf(cpf, name);", &[], &["no column `nome`", "cpf, name", "--name-column"]);
}

#[test]
fn files_that_are_no_database() {
    let place = Place::of(TABLE);
    fs::remove_file(&place.db).unwrap();
    refused(&place.build(&[]), &["cannot read the database"]);
    // It was not made by looking for it.
    assert!(!fs::exists(&place.db).unwrap());
    for content in ["", "cpf;nome\n191;ANA\n", &"cpf;nome\n".repeat(10_000)] {
        fs::write(&place.db, content).unwrap();
        refused(&place.build(&[]), &["no SQLite database"]);
    }
    fs::remove_file(&place.db).unwrap();
    fs::create_dir(&place.db).unwrap();
    refused(&place.build(&[]), &["cannot read the database"]);
    // The beginning of a database, and the rest torn off.
    let place = Place::of(&format!(
        "{TABLE} WITH RECURSIVE k(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM k WHERE n < 10000)
        INSERT INTO cpf SELECT n, 'PESSOA ' || n FROM k;"
    ));
    let whole = fs::read(&place.db).unwrap();
    fs::write(&place.db, &whole[..whole.len() / 2]).unwrap();
    refused(&place.build(&[]), &["damaged", "integrity_check"]);
}

#[test]
fn an_output_folder_that_is_none() {
    let place = Place::of(TABLE);
    fs::write(&place.index, "a file").unwrap();
    refused(&place.build(&[]), &["index"]);
    assert_eq!(fs::read_to_string(&place.index).unwrap(), "a file");
}

#[test]
fn changes_that_wait_in_a_log() {
    let place = Place::of(TABLE);
    let writer = Connection::open(&place.db).unwrap();
    writer.execute_batch("PRAGMA journal_mode = WAL; INSERT INTO cpf VALUES ('12345678909', 'EVA');").unwrap();
    refused(&place.build(&[]), &["-wal", "wal_checkpoint"]);
    // What the remedy says helps.
    writer.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(writer);
    assert_eq!(run_json(&place.build(&[]))["rows"], 2);
    run_json(&["verify", "--index", &place.index, "--db", &place.db]);
}

#[test]
fn a_writer_at_work() {
    let place = Place::of(TABLE);
    let writer = Connection::open(&place.db).unwrap();
    // Waited for a while; it does not end.
    writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
    refused(&place.build(&[]), &["another program is writing", "try again"]);
    // With changes that are half written.
    writer.execute_batch("PRAGMA cache_size = 1; UPDATE cpf SET nome = 'EVA'; CREATE TABLE t(x); INSERT INTO t VALUES (zeroblob(1000000))").unwrap();
    refused(&place.build(&[]), &["-journal", "close the programs"]);
    writer.execute_batch("COMMIT").unwrap();
    assert_eq!(run_json(&place.build(&[]))["rows"], 1);
}
