//! An index and a database that do not belong together, from the start or since: refused, or `unavailable`; never a wrong person.

use std::fs;

use balcao_index::{IndexError, SourceError};

use super::{Desk, PADDING, TABLE};
use crate::OpenError;

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

#[test]
fn a_database_that_was_cut_short() {
    let desk = desk();
    let line = r#"{"id":1,"cpf":"12345678909"}"#;
    desk.check_rows(line, &["12345678909"], 1);
    let whole = fs::read(desk.db()).unwrap();
    // In place: the file that is mapped shrinks. A read beyond its end would take the whole process with it.
    for bytes in [whole.len() - 1, 8192, 4096, 1, 0] {
        fs::File::options().write(true).open(desk.db()).unwrap().set_len(bytes as u64).unwrap();
        desk.check(line, UNAVAILABLE);
        desk.check_rows(r#"{"nome":"NINGUEM"}"#, &[], 0);
    }
    fs::write(desk.db(), &whole).unwrap();
    desk.check_rows(line, &["12345678909"], 1);
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
    let ask_all = |snapshot: &crate::Snapshot| -> Vec<String> {
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
    let refused = |db: &Desk, index: &Desk| crate::Snapshot::open(&db.db(), &index.index()).unwrap_err();
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
    assert!(matches!(crate::Snapshot::open(&desk.db(), &nowhere), Err(OpenError::Index(IndexError::Unpublished))));
    let missing = crate::Snapshot::open(&nowhere, &desk.index());
    assert!(matches!(missing, Err(OpenError::Source(SourceError::Io(_)))));
    assert!(!nowhere.exists());
    fs::write(&nowhere, vec![b'x'; 4096]).unwrap();
    assert!(matches!(
        crate::Snapshot::open(&nowhere, &desk.index()),
        Err(OpenError::Source(SourceError::NotADatabase))
    ));
}
