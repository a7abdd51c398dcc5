//! An index and a database that do not belong together, from the start or since: refused, or `unavailable`; never a wrong person.

use std::fs;
use std::path::Path;

use balcao_index::{IndexError, SourceError, SourceFile};
use rusqlite::Connection;
use xxhash_rust::xxh3::xxh3_64;

use super::{Desk, PADDING, TABLE, ask, is_alone};
use crate::rows::RowError;
use crate::{OpenError, Sight, Snapshot};

const UNAVAILABLE: &str = r#"{"id":1,"status":"error","code":"unavailable"}"#;

fn desk() -> Desk {
    Desk::of(&format!(
        "{TABLE} INSERT INTO cpf VALUES ('12345678909', 'MARIA DA SILVA', 'F', '1980'), ('52998224725', 'JOSE DE SOUZA', 'M', '1975'),
            ('00000000191', 'MARIANA LIMA', 'F', '2000'); {PADDING}"
    ))
}

/// Asks each question before and after a change: first it has `rows` rows, then it is `unavailable`.
#[track_caller]
fn check(change: &str, questions: &[(&str, usize)]) {
    let desk = desk();
    let line = |question: &str| format!(r#"{{"id":1,{question}}}"#);
    for (question, rows) in questions {
        assert_eq!(desk.ask(&line(question))["rows"].as_array().map(Vec::len), Some(*rows), "{question}");
    }
    desk.write(change);
    for (question, _) in questions {
        desk.check(&line(question), UNAVAILABLE);
        desk.check(
            &format!(r#"{{"id":2,"op":"batch","items":[{}]}}"#, line(question)),
            &format!(r#"{{"id":2,"status":"ok","results":[{UNAVAILABLE}]}}"#),
        );
    }
    // Rows that did not change are answered as ever, and so is what is in no row.
    desk.check_rows(r#"{"cpf":"191"}"#, &["00000000191"], 1);
    desk.check_rows(r#"{"nome":"NINGUEM"}"#, &[], 0);
    assert!(matches!(desk.reopen(), Err(OpenError::OtherDatabase { .. })));
}

#[test]
fn a_row_that_carries_another_key_now() {
    check(
        "UPDATE cpf SET nome = 'MARTA DA SILVA' WHERE rowid = 1",
        &[(r#""nome":"MARIA DA SILVA","match":"exact""#, 1), (r#""nome":"MARIA""#, 2)],
    );
    check("UPDATE cpf SET cpf = '52998224725' WHERE rowid = 1", &[(r#""cpf":"12345678909""#, 1)]);
    check(
        "UPDATE cpf SET cpf = NULL, nome = NULL WHERE rowid = 1",
        &[(r#""cpf":"12345678909""#, 1), (r#""nome":"MARIA D""#, 1)],
    );
    check("UPDATE cpf SET cpf = x'3132' WHERE rowid = 2", &[(r#""cpf":"52998224725""#, 1)]);
}

#[test]
fn two_rows_that_changed_places() {
    check(
        "UPDATE cpf SET rowid = 9 WHERE rowid = 1; UPDATE cpf SET rowid = 1 WHERE rowid = 2; UPDATE cpf SET rowid = 2 WHERE rowid = 9;",
        &[
            (r#""cpf":"12345678909""#, 1),
            (r#""cpf":"52998224725""#, 1),
            (r#""nome":"MARIA D""#, 1),
            (r#""nome":"JOSE DE SOUZA","match":"exact""#, 1),
        ],
    );
}

/// Rows on more pages than SQLite's cache has read: a map is asked for them.
fn wide_desk() -> Desk {
    let rows = "WITH RECURSIVE k(n) AS (SELECT 10000000001 UNION ALL SELECT n + 7919 FROM k LIMIT 2000)
        INSERT INTO cpf SELECT n, 'PESSOA ' || n, hex(zeroblob(300)), NULL FROM k;";
    Desk::of(&format!("{TABLE}{rows}{PADDING}"))
}

/// Whether the database still looks as it did when the desk's snapshot was opened.
fn is_current(desk: &Desk, snapshot: &Snapshot) -> bool {
    let sight = snapshot.look(&desk.index());
    assert_eq!(sight, Sight::take(&desk.db(), &desk.index()));
    let same = sight.is_same_database(snapshot.sight());
    // Nobody publishes in these tests.
    assert_eq!(same, sight == *snapshot.sight());
    same
}

fn cut(path: &Path, bytes: u64) {
    fs::File::options().write(true).open(path).unwrap().set_len(bytes).unwrap();
}

#[test]
fn files_that_were_cut_short_while_they_are_mapped() {
    if !is_alone("tests::stale::files_that_were_cut_short_while_they_are_mapped") {
        return;
    }
    let line = |row: i64| format!(r#"{{"id":1,"cpf":{}}}"#, 10_000_000_001 + 7919 * row);
    let desk = wide_desk();
    assert!(is_current(&desk, &desk.snapshot));
    assert_eq!(desk.ask(&line(7))["total"], 1);
    let whole = fs::read(desk.db()).unwrap();
    // In place. A read beyond its end would take the whole process with it.
    cut(&desk.db(), 8192);
    assert!(!is_current(&desk, &desk.snapshot));
    desk.check(&line(1999), UNAVAILABLE);
    // Nothing is believed from then on, also not what lies before the cut, nor when the file is whole again.
    desk.check(&line(0), UNAVAILABLE);
    desk.check(r#"{"id":1,"nome":"NINGUEM"}"#, UNAVAILABLE);
    fs::write(desk.db(), &whole).unwrap();
    desk.check(&line(7), UNAVAILABLE);
    assert!(desk.snapshot.is_withdrawn() && !is_current(&desk, &desk.snapshot));
    // What is opened again is.
    let again = desk.reopen().unwrap();
    assert_eq!(ask(&again, &line(1999))["total"], 1);

    // The same with a file of the index, whose pages were checked before.
    let keys = desk.index().join("g000001/cpf-0001.rows");
    let whole = fs::read(&keys).unwrap();
    assert_eq!(ask(&again, &line(1000))["total"], 1);
    cut(&keys, 0);
    let is_lost = |row| ask(&again, &line(row))["code"] == "unavailable";
    assert!((0..2000).filter(|&row| is_lost(row)).count() > 0);
    assert!(is_lost(0));
    assert!(again.is_withdrawn());
    assert!(desk.reopen().is_err());
    fs::write(&keys, whole).unwrap();
    assert_eq!(ask(&desk.reopen().unwrap(), &line(1999))["total"], 1);
}

#[test]
fn a_database_that_was_replaced() {
    let desk = desk();
    let line = r#"{"id":1,"cpf":"12345678909"}"#;
    desk.check_rows(line, &["12345678909"], 1);
    // Another file with the same people at other dates takes its place. What is open stays the former file.
    let next = desk.folder.path().join("next.db");
    fs::copy(desk.db(), &next).unwrap();
    Connection::open(&next).unwrap().execute_batch("UPDATE cpf SET nasc = '1999'").unwrap();
    fs::rename(&next, desk.db()).unwrap();
    assert!(!is_current(&desk, &desk.snapshot));
    assert_eq!(desk.ask(line)["rows"][0]["nasc"], "1980");
    // A thread that finds no open reader does not open one for the other file.
    let taken = desk.snapshot.rows.reader().unwrap();
    assert!(matches!(desk.snapshot.rows.reader(), Err(RowError::Replaced)));
    assert!(matches!(desk.snapshot.reserve_readers(4), Err(OpenError::Changing)));
    drop(taken);
    desk.snapshot.withdraw();
    desk.check(line, UNAVAILABLE);
    desk.check(
        &format!(r#"{{"op":"batch","items":[{line}]}}"#),
        &format!(r#"{{"status":"ok","results":[{UNAVAILABLE}]}}"#),
    );
    desk.check(r#"{"op":"ping"}"#, r#"{"status":"ok"}"#);
    assert!(matches!(desk.reopen(), Err(OpenError::OtherDatabase { .. })));
}

#[test]
fn a_file_that_was_only_touched_or_copied_fits_again() {
    let desk = desk();
    fs::File::options().write(true).open(desk.db()).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert!(!is_current(&desk, &desk.snapshot));
    assert!(is_current(&desk, &desk.reopen().unwrap()));
    let copy = desk.folder.path().join("copy.db");
    fs::copy(desk.db(), &copy).unwrap();
    fs::rename(&copy, desk.db()).unwrap();
    let again = desk.reopen().unwrap();
    again.reserve_readers(3).unwrap();
    again.check_index().unwrap();
    assert!(is_current(&desk, &again) && !again.is_withdrawn());
}

/// A registry of some hundred pages in which one row has a CPF of its own: whichever row it is, length, counters and sampled pages are the same.
fn twin(row: u32) -> Desk {
    let rows = "WITH RECURSIVE k(n) AS (SELECT 10000000001 UNION ALL SELECT n + 7919 FROM k LIMIT 2000)
        INSERT INTO cpf SELECT n, 'PESSOA ' || n, hex(zeroblob(300)), NULL FROM k;";
    Desk::of(&format!("{TABLE} {rows} {PADDING} UPDATE cpf SET cpf = '52998224725' WHERE rowid = {row};"))
}

#[test]
fn a_replaced_database_that_differs_between_the_sampled_pages() {
    let (desk, other) = (twin(1000), twin(1500));
    let read = |desk: &Desk| SourceFile::read(&desk.db()).unwrap();
    assert_eq!(read(&desk), read(&other));
    assert_ne!(fs::read(desk.db()).unwrap(), fs::read(other.db()).unwrap());
    desk.snapshot.check_source().unwrap();
    other.snapshot.check_source().unwrap();
    // A copy of the right one passes.
    let copy = desk.folder.path().join("copy.db");
    fs::copy(desk.db(), &copy).unwrap();
    Snapshot::open(&copy, &desk.index()).unwrap().check_source().unwrap();

    fs::rename(other.db(), desk.db()).unwrap();
    // What is open is the former file, and what is opened now is not seen to be another one by its sample.
    desk.snapshot.check_source().unwrap();
    let again = desk.reopen().unwrap();
    // The CPF that only the other database has, in the row that has another one here.
    assert_eq!(ask(&again, &format!(r#"{{"id":1,"cpf":{}}}"#, 10_000_000_001_i64 + 7919 * 999))["total"], 0);
    let error = again.check_source().unwrap_err();
    assert!(matches!(error, OpenError::OtherDatabase { .. }), "{error}");
    for told in ["its content differs", "right --db", "indexer build"] {
        assert!(error.to_string().contains(told), "{error}");
    }

    // An index of before the content was hashed knows no better.
    let manifest = desk.index().join("g000001/MANIFEST");
    let text = fs::read_to_string(&manifest).unwrap();
    let member = text.find(r#","content":""#).unwrap();
    let end = member + r#","content":"0123456789abcdef""#.len();
    let line = format!("{}{}\n", &text[..member], text[end..].lines().next().unwrap());
    fs::write(&manifest, format!("{line}xxh3 {:016x}\n", xxh3_64(line.as_bytes()))).unwrap();
    desk.reopen().unwrap().check_source().unwrap();
}

#[test]
fn a_row_that_is_gone() {
    check(
        "DELETE FROM cpf WHERE rowid = 1",
        &[(r#""cpf":"12345678909""#, 1), (r#""nome":"MARIA DA SILVA","match":"exact""#, 1), (r#""nome":"MARIA""#, 2)],
    );
}

#[test]
fn a_key_that_stayed_finds_its_row_as_it_is_now() {
    let desk = desk();
    desk.write("UPDATE cpf SET nome = 'MARTA DA SILVA', nasc = '1981' WHERE rowid = 1");
    let row = r#"{"cpf":"12345678909","nome":"MARTA DA SILVA","sexo":"F","nasc":"1981"}"#;
    let reply = |total: u32, next: &str| format!(r#"{{"status":"ok","rows":[{row}],"total":{total},"next":{next}}}"#);
    desk.check(r#"{"cpf":"12345678909"}"#, &reply(1, "null"));
    desk.check(r#"{"nome":"MAR","limit":1}"#, &reply(2, r#""more""#));
}

#[test]
fn a_message_tells_the_operator_what_to_do_and_nothing_else() {
    let desk = desk();
    desk.write("DELETE FROM cpf WHERE rowid = 1");
    let reply = desk.ask(r#"{"cpf":"12345678909"}"#);
    let message = reply["message"].as_str().unwrap();
    assert!(message.contains("indexer verify"), "{message}");
    for secret in ["12345678909", "MARIA", "basecpf", desk.folder.path().to_str().unwrap()] {
        assert!(!message.contains(secret), "{message}");
    }
}

#[test]
fn a_damaged_index_is_never_believed() {
    let sql = "WITH RECURSIVE k(n) AS (SELECT 10000000001 UNION ALL SELECT n + 7919 FROM k LIMIT 20000)
        INSERT INTO cpf SELECT n, 'PESSOA ' || n, NULL, NULL FROM k;";
    let desk = Desk::of(&format!("{TABLE}{sql}"));
    let questions: Vec<String> = (0..20_000)
        .step_by(50)
        .map(|number| 10_000_000_001_i64 + 7919 * number)
        .flat_map(|n| [format!(r#"{{"id":1,"cpf":{n}}}"#), format!(r#"{{"id":1,"nome":"pessoa {n}"}}"#)])
        .collect();
    let ask_all = |snapshot: &Snapshot| -> Vec<String> {
        questions.iter().map(|question| super::plain(super::ask(snapshot, question)).to_string()).collect()
    };
    let expected = ask_all(&desk.snapshot);
    let (mut lost, mut refused) = (0, 0);
    for file in fs::read_dir(desk.index().join("g000001")).unwrap().map(|file| file.unwrap().path()) {
        let whole = fs::read(&file).unwrap();
        for part in 1..8 {
            let mut bytes = whole.clone();
            bytes[whole.len() / 8 * part] ^= 16;
            fs::write(&file, bytes).unwrap();
            // Refused as a whole, or in part when that part is asked for; nothing else, and no crash.
            match desk.reopen() {
                Err(error) => {
                    let name = file.file_name().unwrap().to_str().unwrap();
                    assert!(error.to_string().contains(name), "{name}: {error}");
                    refused += 1;
                }
                Ok(snapshot) => {
                    for (reply, expected) in ask_all(&snapshot).iter().zip(&expected) {
                        assert!(reply == UNAVAILABLE || reply == expected, "{reply}");
                        lost += usize::from(reply == UNAVAILABLE);
                    }
                }
            }
        }
        fs::write(&file, whole).unwrap();
    }
    assert!(lost > 100 && refused > 7, "{lost} answers lost, {refused} times refused");
    assert_eq!(ask_all(&desk.reopen().unwrap()), expected);
}

#[test]
fn another_database_is_refused_at_the_start() {
    let first = desk();
    // The same steps, other people: size and counters agree.
    let second = Desk::of(&format!(
        "{TABLE} INSERT INTO cpf VALUES ('12345678909', 'MARTA DA SILVA', 'F', '1980'), ('52998224725', 'JOSE DE SOUZA', 'M', '1975'),
            ('00000000191', 'MARIANA LIMA', 'F', '2000'); {PADDING}"
    ));
    assert_eq!(fs::metadata(first.db()).unwrap().len(), fs::metadata(second.db()).unwrap().len());
    let refused = |db: &Desk, index: &Desk| Snapshot::open(&db.db(), &index.index()).unwrap_err();
    for (db, index) in [(&first, &second), (&second, &first)] {
        let error = refused(db, index);
        assert!(matches!(error, OpenError::OtherDatabase { .. }), "{error}");
        assert!(
            error.to_string().contains("its pages differ") && error.to_string().contains("indexer build"),
            "{error}"
        );
    }
    first.reopen().unwrap();
    first.write("VACUUM");
    assert!(matches!(first.reopen(), Err(OpenError::OtherDatabase { .. })));
    second.write("ALTER TABLE cpf RENAME TO pessoas");
    assert!(matches!(second.reopen(), Err(OpenError::OtherDatabase { .. })));
}

#[test]
fn changes_that_wait_beside_the_database() {
    let desk = desk();
    let beside = |suffix: &str| desk.folder.path().join(format!("basecpf.db{suffix}"));
    for (suffix, content) in [("-wal", vec![1; 100]), ("-journal", vec![0xd9; 512])] {
        fs::write(beside(suffix), content).unwrap();
        assert!(matches!(desk.reopen(), Err(OpenError::Source(SourceError::Pending(found))) if found == suffix));
        // An empty one is none.
        fs::write(beside(suffix), "").unwrap();
        desk.reopen().unwrap();
        fs::remove_file(beside(suffix)).unwrap();
    }
    // A database in write-ahead mode whose log was taken in is served.
    let wal =
        Desk::of(&format!("PRAGMA journal_mode = WAL; {TABLE} INSERT INTO cpf(cpf, nome) VALUES ('191', 'ANA');"));
    wal.check_rows(r#"{"nome":"ANA"}"#, &["191"], 1);
}

#[test]
fn parts_that_are_not_there() {
    let desk = desk();
    let nowhere = desk.folder.path().join("nowhere");
    assert!(matches!(Snapshot::open(&desk.db(), &nowhere), Err(OpenError::Index(IndexError::Unpublished))));
    let missing = Snapshot::open(&nowhere, &desk.index());
    assert!(matches!(missing, Err(OpenError::Source(SourceError::Io(_)))));
    assert!(!nowhere.exists());
    fs::write(&nowhere, vec![b'x'; 4096]).unwrap();
    assert!(matches!(Snapshot::open(&nowhere, &desk.index()), Err(OpenError::Source(SourceError::NotADatabase))));
}
