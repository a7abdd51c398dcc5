//! Pages: each row once whatever the limits, and cursors that are none, or belong elsewhere.

use balcao_datasets::{Plan, Recipe, write_registry};
use balcao_wire::{Cursor, Operation, decode};
use rusqlite::Connection;
use serde_json::Value;

use super::{Desk, TABLE};

/// Pages through the answer to `question` (its members), with these limits in turn: the rowids, and the totals that were told.
fn pages(desk: &Desk, question: &str, limits: &[usize]) -> (Vec<i64>, Vec<u64>) {
    let (mut rowids, mut totals) = (Vec::new(), Vec::new());
    let mut cursor = String::new();
    for limit in limits.iter().cycle() {
        let reply = desk.ask(&format!(r#"{{{question},"limit":{limit}{cursor}}}"#));
        let rows = reply["rows"].as_array().unwrap_or_else(|| panic!("{reply}"));
        assert!(rows.len() == *limit || reply["next"].is_null(), "a page in the middle is full");
        rowids.extend(rows.iter().map(|row| row["n"].as_i64().unwrap()));
        totals.push(reply["total"].as_u64().unwrap());
        match reply["next"].as_str() {
            Some(next) => {
                assert!(next.len() <= 512);
                cursor = format!(r#","cursor":"{next}""#);
            }
            None => break,
        }
    }
    (rowids, totals)
}

/// A clean registry of 3000 rows with the row's number as a column of its own, and 500 rows more with one CPF and one name.
fn desk() -> Desk {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("basecpf.db");
    let recipe = Recipe::new(3000, 11, 0.0).unwrap();
    write_registry(&Plan { recipe, out: out.clone() }, |_| {}).unwrap();
    Desk::of(&format!(
        "ATTACH '{}' AS made; CREATE TABLE cpf(n, cpf, nome); INSERT INTO cpf SELECT rowid, cpf, nome FROM made.cpf;
         WITH RECURSIVE k(n) AS (SELECT 3001 UNION ALL SELECT n + 1 FROM k WHERE n < 3500)
            INSERT INTO cpf SELECT n, '00000000191', 'NOME IGUAL' FROM k;",
        out.display()
    ))
}

#[test]
fn each_row_once() {
    let desk = desk();
    let plain = |sql: &str| -> Vec<i64> {
        let connection = Connection::open(desk.db()).unwrap();
        let mut statement = connection.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    // Clean names are their own keys, and SQLite compares them by their bytes.
    let by_letter =
        |letter: char| plain(&format!("SELECT n FROM cpf WHERE nome LIKE '{letter}%' ORDER BY nome, rowid"));
    let mut all = 0;
    for letter in 'A'..='Z' {
        let expected = by_letter(letter);
        for limits in [&[1000][..], &[3, 1, 7, 50], &[50]] {
            let (rowids, totals) = pages(&desk, &format!(r#""nome":"{letter}""#), limits);
            assert_eq!(rowids, expected, "{letter} {limits:?}");
            assert!(totals.iter().all(|&total| total == expected.len() as u64), "{letter} {limits:?}");
        }
        all += expected.len();
    }
    assert_eq!(all, 3500);
    let same: Vec<i64> = (3001..=3500).collect();
    for limits in [&[1][..], &[499, 1], &[500], &[501], &[17, 1000]] {
        assert_eq!(pages(&desk, r#""cpf":"191""#, limits).0, same, "{limits:?}");
        assert_eq!(pages(&desk, r#""nome":"nome igual","match":"exact""#, limits).0, same, "{limits:?}");
    }
    assert_eq!(desk.ask(r#"{"cpf":"191"}"#)["rows"].as_array().unwrap().len(), 50);
}

const THREE: &str = "INSERT INTO cpf(cpf, nome) VALUES ('191', 'ANA A'), ('191', 'ANA B'), ('191', 'ANA C');";

fn next(desk: &Desk, question: &str) -> String {
    desk.ask(question)["next"].as_str().unwrap().to_owned()
}

#[test]
fn cursors_that_do_not_belong() {
    let desk = Desk::of(&format!("{TABLE}{THREE}"));
    let refused = r#"{"id":1,"status":"error","code":"bad_request"}"#;
    let cursor = next(&desk, r#"{"nome":"ANA","limit":1}"#);
    for other in [r#""nome":"ANA A""#, r#""nome":"ANA","match":"exact""#, r#""nome":"AN""#, r#""cpf":"191""#] {
        desk.check(&format!(r#"{{"id":1,{other},"cursor":"{cursor}"}}"#), refused);
    }
    // The same question in another spelling, and with another limit, is the same question.
    desk.check_rows(&format!(r#"{{"nome":" ána ","limit":1,"cursor":"{cursor}"}}"#), &["191"], 3);
    assert_eq!(desk.ask(&format!(r#"{{"nome":"ana","cursor":"{cursor}"}}"#))["rows"][1]["nome"], "ANA C");
    let by_cpf = next(&desk, r#"{"cpf":"191","limit":2}"#);
    assert_eq!(desk.ask(&format!(r#"{{"cpf":191,"cursor":"{by_cpf}"}}"#))["rows"][0]["nome"], "ANA C");
    desk.check(&format!(r#"{{"id":1,"nome":"ANA","cursor":"{by_cpf}"}}"#), refused);
    for malformed in ["", "x", "AAAA", &cursor[1..], &format!("{cursor}="), &cursor.to_uppercase(), &"A".repeat(513)] {
        desk.check(&format!(r#"{{"id":1,"nome":"ANA","cursor":"{malformed}"}}"#), refused);
    }
    for wrong in ["1", "true", r#"["x"]"#] {
        desk.check(&format!(r#"{{"id":1,"nome":"ANA","cursor":{wrong}}}"#), refused);
    }
}

#[test]
fn cursors_of_another_generation() {
    let mut desk = Desk::of(&format!("{TABLE}{THREE}"));
    let cursor = next(&desk, r#"{"nome":"ANA","limit":1}"#);
    let question = format!(r#"{{"id":"x","nome":"ANA","cursor":"{cursor}"}}"#);
    assert_eq!(desk.ask(&question)["status"], "ok");
    let stale = r#"{"id":"x","status":"error","code":"stale_cursor"}"#;
    for _ in 0..2 {
        desk.rebuild();
        desk.check(&question, stale);
        // Stale before anything else: a client begins again, whatever it asked.
        desk.check(&format!(r#"{{"id":"x","nome":"OUTRA","cursor":"{cursor}"}}"#), stale);
    }
    // Another database's generation of the same name.
    let other = Desk::of(&format!("{TABLE}{THREE}").replace("191", "12345678909"));
    let foreign = next(&Desk::of(&format!("{TABLE}{THREE}{THREE}")), r#"{"nome":"ANA","limit":1}"#);
    other.check(&format!(r#"{{"id":"x","nome":"ANA","cursor":"{foreign}"}}"#), stale);
}

#[test]
fn places_beyond_the_answer() {
    let desk = Desk::of(&format!("{TABLE}{THREE}"));
    let line = r#"{"nome":"ANA","limit":1}"#;
    let Ok(Operation::Lookup(lookup)) = decode(line.as_bytes()).operation else { panic!("a lookup") };
    let first = Cursor::decode(&next(&desk, line)).unwrap();
    assert_eq!((first.position, first.question), (1, lookup.fingerprint()));
    let ask = |position: u64| -> Value {
        let cursor = Cursor { position, ..first }.encode();
        super::plain(desk.ask(&format!(r#"{{"nome":"ANA","limit":1000,"cursor":"{cursor}"}}"#)))
    };
    assert_eq!(ask(0)["rows"].as_array().unwrap().len(), 3);
    assert_eq!(ask(2)["rows"][0]["nome"], "ANA C");
    assert_eq!(ask(3).to_string(), r#"{"status":"ok","rows":[],"total":3,"next":null}"#);
    for beyond in [4, 1 << 40, u64::MAX - 1000, u64::MAX] {
        assert_eq!(ask(beyond).to_string(), r#"{"status":"error","code":"bad_request"}"#, "{beyond}");
    }
}
