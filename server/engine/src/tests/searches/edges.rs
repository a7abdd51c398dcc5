//! What is asked wrongly, or at the edge of what is answered.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use balcao_indexer::SearchPlan;
use balcao_wire::{Cursor, SearchPlace, Total, decode};
use serde_json::Value;

use super::super::{Desk, TABLE, ask, plain};
use crate::Snapshot;
use crate::search::Bounds;

/// Made up people; the last one's cells are no values of a filter.
const PEOPLE: &str = "INSERT INTO cpf VALUES
    ('191', 'MARIA DA SILVA', 'F', '19800131'), ('12345678909', 'Maria Silva', 'f', '1981-02-01'),
    ('191', 'JOAO SILVA', 'Masculino', '01/03/1982'), ('272', 'TIAGO SOUZA', 'M', 19830401),
    ('353', 'THIAGO SOUSA', 'M', '1984-05-01'), ('434', 'TIAGA SOUZA', 'F', '1985-06-01'),
    ('515', 'MARIANA SILVEIRA', NULL, 'nunca'), ('191', NULL, 'F', '19800131');";

fn people() -> Desk {
    Desk::of(&format!("{TABLE}{PEOPLE}"))
}

/// The names of the rows that are found.
#[track_caller]
fn names(desk: &Desk, line: &str) -> String {
    let reply = desk.ask(line);
    let rows = reply["rows"].as_array().unwrap_or_else(|| panic!("{line}: {reply}"));
    let names: Vec<&str> = rows.iter().map(|row| row["nome"].as_str().unwrap_or("-")).collect();
    names.join(", ")
}

#[test]
fn questions_of_the_page() {
    let desk = people();
    for (line, expected) in [
        (r#"{"nome":"silva maria","match":"words"}"#, "MARIA DA SILVA, Maria Silva"),
        (r#"{"nome":"silv maria","match":"words","last":"whole"}"#, ""),
        (r#"{"nome":"silva mari","match":"words"}"#, "MARIA DA SILVA, Maria Silva"),
        (r#"{"nome":"mari","match":"words"}"#, "MARIA DA SILVA, Maria Silva, MARIANA SILVEIRA"),
        (r#"{"nome":"maria maria","match":"words"}"#, "MARIA DA SILVA, Maria Silva"),
        (
            r#"{"nome":"tiago souza","match":"fuzzy","last":"whole","spelling":"pt"}"#,
            "TIAGO SOUZA, THIAGO SOUSA, TIAGA SOUZA",
        ),
        (r#"{"nome":"tiago souza","match":"fuzzy","last":"whole"}"#, "TIAGO SOUZA, TIAGA SOUZA, THIAGO SOUSA"),
        (r#"{"nome":"s","where":{"sexo":"F"}}"#, ""),
        (r#"{"nome":"maria","where":{"sexo":"F"}}"#, "MARIA DA SILVA, Maria Silva"),
        (r#"{"nome":"maria","where":{"sexo":"feminino","nasc":"01/02/1981"}}"#, "Maria Silva"),
        (r#"{"nome":"maria da silva","match":"exact","where":{"nasc":{"to":"19800131"}}}"#, "MARIA DA SILVA"),
        (r#"{"nome":"maria da silva","match":"exact","where":{"nasc":{"from":"19800201"}}}"#, ""),
        (r#"{"nome":"t","where":{"nasc":{"from":"1983-04-01","to":"1984-05-01"}}}"#, "THIAGO SOUSA, TIAGO SOUZA"),
        (r#"{"nome":"silva","match":"words","where":{"sexo":"M"}}"#, "JOAO SILVA"),
        (
            r#"{"nome":"siva","match":"fuzzy","last":"whole","where":{"nasc":{"from":"1981-01-01"}}}"#,
            "JOAO SILVA, Maria Silva",
        ),
        (r#"{"cpf":"191","where":{"sexo":"F"}}"#, "MARIA DA SILVA, -"),
        (r#"{"cpf":"191","where":{"sexo":"M","nasc":{"from":"1982-03-01"}}}"#, "JOAO SILVA"),
    ] {
        assert_eq!(names(&desk, line), expected, "{line}");
    }
    desk.check(
        r#"{"cpf":"192","where":{"sexo":"M"},"id":1,"cpf":"00000000192"}"#,
        r#"{"status":"error","code":"bad_json"}"#,
    );
    let reply = desk.ask(r#"{"nome":"tiago souza","match":"fuzzy","last":"whole","spelling":"pt"}"#);
    assert_eq!((&reply["distances"].to_string()[..], &reply["total"]), ("[0,0,1]", &3.into()));
    desk.check(
        r#"{"id":1,"cpf":"00000000192","where":{"sexo":"M"}}"#,
        r#"{"id":1,"status":"ok","rows":[],"total":0,"next":null,"warning":"check_digits"}"#,
    );
    desk.check(
        r#"{"nome":"xyzxyzxyz","match":"fuzzy"}"#,
        r#"{"status":"ok","rows":[],"total":0,"next":null,"distances":[]}"#,
    );
}

#[test]
fn what_the_index_has_not() {
    let desk = people();
    let hello = desk.ask(r#"{"op":"hello"}"#);
    assert_eq!(hello["matches"].to_string(), r#"["exact","prefix","words","fuzzy"]"#);
    assert_eq!(hello["filters"].to_string(), r#"{"sex":"sexo","birth":"nasc"}"#);
    for wrong in [
        r#"{"nome":"a","where":{"cpf":"1"}}"#,
        r#"{"nome":"a","where":{"SEXO":"F"}}"#,
        r#"{"nome":"a","where":{"sexo":"?"}}"#,
        r#"{"nome":"a","where":{"sexo":{"from":"1980-01-01"}}}"#,
        r#"{"nome":"a","where":{"nasc":"1980-02-30"}}"#,
        r#"{"cpf":"191","where":{"nasc":"F"}}"#,
        r#"{"cpf":"191","where":{"nome":"ANA"}}"#,
    ] {
        desk.check(wrong, r#"{"status":"error","code":"bad_request"}"#);
    }
    let bare = Desk::built(&format!("{TABLE}{PEOPLE}"), desk.table.clone(), |plan| {
        plan.search = SearchPlan { words: false, sex_column: Some(String::new()), birth_column: Some(String::new()) };
    });
    assert_eq!(bare.ask(r#"{"op":"hello"}"#)["matches"].to_string(), r#"["exact","prefix"]"#);
    assert_eq!(bare.ask(r#"{"op":"hello"}"#)["filters"].to_string(), "{}");
    for wrong in [
        r#"{"nome":"a","match":"words"}"#,
        r#"{"nome":"a","match":"fuzzy","last":"whole"}"#,
        r#"{"nome":"a","where":{"sexo":"F"}}"#,
        r#"{"op":"verify","cpf":"191","nasc":"1980-01-31"}"#,
    ] {
        bare.check(wrong, r#"{"status":"error","code":"bad_request"}"#);
        assert!(bare.ask(wrong)["message"].as_str().unwrap().contains("build it"), "{wrong}");
    }
    bare.check(r#"{"op":"verify","cpf":"191","nome":"joao silva"}"#, r#"{"status":"ok","cpf":true,"nome":"exact"}"#);
}

#[test]
fn cursors_that_do_not_belong() {
    let mut desk = people();
    let lines = [
        r#""nome":"silva","match":"words""#,
        r#""nome":"silva","match":"words","last":"whole""#,
        r#""nome":"silva","match":"fuzzy""#,
        r#""nome":"silva","match":"fuzzy","spelling":"pt""#,
        r#""nome":"maria""#,
        r#""nome":"maria","where":{"sexo":"F"}"#,
        r#""nome":"maria","where":{"nasc":{"from":"1980-01-01"}}"#,
        r#""cpf":"191""#,
        r#""cpf":"191","where":{"sexo":"F"}"#,
    ];
    let next =
        |desk: &Desk, line: &str| desk.ask(&format!(r#"{{{line},"limit":1}}"#))["next"].as_str().unwrap().to_owned();
    let cursors = lines.map(|line| next(&desk, line));
    for (at, line) in lines.iter().enumerate() {
        for (other, cursor) in cursors.iter().enumerate() {
            let reply = desk.ask(&format!(r#"{{{line},"limit":1,"cursor":"{cursor}"}}"#));
            assert_eq!(reply["code"].as_str(), (at != other).then_some("bad_request"), "{line} {other}");
        }
    }
    // Right for the question, and out of anybody's hands.
    let first = Cursor::decode(&cursors[2]).unwrap();
    let place = first.search.unwrap();
    let ask =
        |cursor: Cursor| -> Value { plain(desk.ask(&format!(r#"{{{},"cursor":"{}"}}"#, lines[2], cursor.encode()))) };
    let total = Total::Exact(u64::MAX);
    let wild = Cursor { position: 8, search: Some(SearchPlace { level: 33, total, given: u64::MAX }), ..first };
    assert_eq!(ask(wild)["rows"].to_string(), "[]");
    for beyond in [
        Cursor { position: 9, ..first },
        Cursor { position: u64::MAX, ..first },
        Cursor { search: Some(SearchPlace { level: 34, ..place }), ..first },
        Cursor { search: Some(SearchPlace { level: 255, ..place }), ..first },
        Cursor { search: None, ..first },
    ] {
        assert_eq!(ask(beyond).to_string(), r#"{"status":"error","code":"bad_request"}"#, "{beyond:?}");
    }
    desk.rebuild();
    for (line, cursor) in lines.iter().zip(&cursors) {
        desk.check(&format!(r#"{{{line},"cursor":"{cursor}"}}"#), r#"{"status":"error","code":"stale_cursor"}"#);
    }
}

/// A placeholder's many rows, every third of them of a woman.
#[test]
fn many_rows_of_one_cpf() {
    let mut desk = Desk::of(&format!(
        "{TABLE} WITH RECURSIVE k(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM k WHERE n < 900)
         INSERT INTO cpf SELECT '191', 'PESSOA ' || n, iif(n % 3, 'M', 'F'), '19800131' FROM k;"
    ));
    for (postings, window) in [(1 << 22, 1 << 18), (0, 64), (20_000, 64)] {
        desk.snapshot.bounds = Bounds { postings, window, ..Bounds::default() };
        for limit in [1, 7, 300, 1000] {
            let (mut found, mut cursor, mut bounded) = (Vec::new(), String::new(), 0);
            loop {
                let line = format!(r#"{{"cpf":"191","where":{{"sexo":"F"}},"limit":{limit}{cursor}}}"#);
                let reply = desk.ask(&line);
                found.extend(reply["rows"].as_array().unwrap().iter().map(|row| row["nome"].to_string()));
                bounded += u32::from(reply["bounded"] == true);
                assert!(reply["total"].as_u64().is_none_or(|total| total == 300), "{line}");
                assert!(reply["total_at_least"].as_u64().is_none_or(|least| least <= 300), "{line}");
                let Some(next) = reply["next"].as_str() else { break };
                cursor = format!(r#","cursor":"{next}""#);
            }
            let expected: Vec<_> = (1..=300).map(|third| format!("\"PESSOA {}\"", 3 * third)).collect();
            assert_eq!(found, expected, "{postings} {limit}");
            assert_eq!(bounded > 0, postings < 100_000 && limit > 20, "{postings} {limit} {bounded}");
        }
    }
}

#[test]
fn claims() {
    let desk = people();
    for (claim, expected) in [
        (r#""cpf":"191""#, r#""cpf":true"#),
        (r#""cpf":"191","nome":"Maria da Silva","nasc":"31/01/1980""#, r#""cpf":true,"nome":"exact","nasc":true"#),
        (r#""cpf":"191","nome":"silva maria","nasc":"1980-01-31""#, r#""cpf":true,"nome":"words","nasc":true"#),
        (r#""cpf":"191","nome":"maria sliva""#, r#""cpf":true,"nome":"fuzzy""#),
        // Each agrees with a row of its own: one row is told of.
        (r#""cpf":"191","nome":"joao silva","nasc":"1980-01-31""#, r#""cpf":true,"nome":"exact","nasc":false"#),
        (r#""cpf":"191","nome":"PEDRO","nasc":"1980-01-31""#, r#""cpf":true,"nome":"no","nasc":true"#),
        (r#""cpf":"191","nasc":"1980-01-31""#, r#""cpf":true,"nasc":true"#),
        (r#""cpf":"191","nasc":"1980-01-30""#, r#""cpf":true,"nasc":false"#),
        (r#""cpf":"353","nome":"tiago souza""#, r#""cpf":true,"nome":"fuzzy""#),
        (r#""cpf":"353","nome":"joaquim souza""#, r#""cpf":true,"nome":"no""#),
        (r#""cpf":"353","nome":"tyago souza","spelling":"pt""#, r#""cpf":true,"nome":"fuzzy""#),
        (r#""cpf":"515","nome":"mariana silveira","nasc":"1980-01-31""#, r#""cpf":true,"nome":"exact","nasc":false"#),
        (r#""cpf":"604","nome":"maria","nasc":"1980-01-31""#, r#""cpf":false,"nome":"no","nasc":false"#),
        (r#""cpf":"604""#, r#""cpf":false"#),
        (r#""cpf":"00000000192","nome":"a""#, r#""cpf":false,"nome":"no","warning":"check_digits""#),
    ] {
        let claim = format!(r#"{{"id":1,"op":"verify",{claim}}}"#);
        desk.check(&claim, &format!(r#"{{"id":1,"status":"ok",{expected}}}"#));
    }
}

/// A placeholder's 1001 rows are read 64 at a time, and all but the last are looked at.
#[test]
fn claims_about_a_cpf_of_many_rows() {
    for (place, name, birth) in
        [(1, "exact", true), (64, "exact", true), (65, "exact", true), (1000, "exact", true), (1001, "no", false)]
    {
        let desk = Desk::of(&format!(
            "{TABLE} WITH RECURSIVE k(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM k WHERE n < 1001)
             INSERT INTO cpf SELECT '191', iif(n = {place}, 'ANA LIMA', 'PEDRO ROCHA'), 'F',
                iif(n = {place}, '1980-01-31', '1970-01-31') FROM k;"
        ));
        let expected = format!(r#"{{"status":"ok","cpf":true,"nome":"{name}","nasc":{birth}}}"#);
        desk.check(r#"{"op":"verify","cpf":"191","nome":"ana lima","nasc":"1980-01-31"}"#, &expected);
        let expected = format!(r#"{{"status":"ok","cpf":true,"nasc":{birth}}}"#);
        desk.check(r#"{"op":"verify","cpf":"191","nasc":"1980-01-31"}"#, &expected);
    }
}

/// Of rows that agree equally well by name the birth day decides, in whichever order they stand.
#[test]
fn claims_between_rows_of_one_name() {
    let desk = Desk::of(&format!(
        "{TABLE} INSERT INTO cpf VALUES ('191', 'ANA LIMA', 'F', '1980-01-31'), ('191', 'ANA LIMA', 'F', '1981-02-01');"
    ));
    for (birth, agrees) in [("1980-01-31", true), ("1981-02-01", true), ("1982-03-01", false)] {
        desk.check(
            &format!(r#"{{"op":"verify","cpf":"191","nome":"ana lima","nasc":"{birth}"}}"#),
            &format!(r#"{{"status":"ok","cpf":true,"nome":"exact","nasc":{agrees}}}"#),
        );
    }
}

#[test]
fn a_row_that_was_changed_is_not_given() {
    let desk = people();
    for (change, lines) in [
        (
            "nome = 'MARIA DA SELVA' WHERE nome = 'MARIA DA SILVA'",
            &[r#"{"nome":"silva da","match":"words"}"#, r#"{"nome":"maria silva","match":"fuzzy"}"#][..],
        ),
        ("sexo = 'M' WHERE nome = 'TIAGA SOUZA'", &[r#"{"nome":"tiaga","where":{"sexo":"F"}}"#]),
        (
            "nasc = '1885-06-01' WHERE nome = 'TIAGA SOUZA'",
            &[r#"{"nome":"tiaga","match":"words","where":{"nasc":"1985-06-01"}}"#],
        ),
        (
            "cpf = '604' WHERE nome = 'JOAO SILVA'",
            &[r#"{"cpf":"191","where":{"sexo":"M"}}"#, r#"{"op":"verify","cpf":"191"}"#],
        ),
    ] {
        desk.write(&format!("UPDATE cpf SET {change};"));
        for line in lines {
            desk.check(line, r#"{"status":"error","code":"unavailable"}"#);
        }
    }
}

/// Asked to go on so many times, then not any more.
fn answer_for(snapshot: &Snapshot, line: &str, looks: u64) -> Value {
    let asked = AtomicU64::new(0);
    let mut out = Vec::new();
    let _ =
        snapshot.answer_while(&decode(line.as_bytes()), &mut out, &|| asked.fetch_add(1, Ordering::Relaxed) < looks);
    plain(serde_json::from_slice(&out).unwrap())
}

#[test]
fn who_does_not_wait_any_longer() {
    let mut desk = super::desk(600, 9);
    desk.snapshot.bounds.window = 64;
    let sql = "SELECT cpf FROM cpf WHERE length(cpf) = 11 AND cpf NOT GLOB '*[^0-9]*' AND sexo = 'F' LIMIT 1";
    let db = rusqlite::Connection::open(desk.db()).unwrap();
    let cpf: String = db.query_row(sql, [], |row| row.get(0)).unwrap();
    for line in [
        r#"{"nome":"m","match":"words"}"#,
        r#"{"nome":"maria silva","match":"fuzzy"}"#,
        r#"{"nome":"a","where":{"sexo":"F"}}"#,
        r#"{"nome":"a"}"#,
        // The dictionary has nothing near, or only what is not taken.
        r#"{"nome":"xyzxyzxyz qqqqqqqqq","match":"fuzzy"}"#,
        r#"{"nome":"xyzxyzxyz","match":"words","last":"whole"}"#,
        &format!(r#"{{"cpf":"{cpf}","where":{{"sexo":"F"}}}}"#),
        &format!(r#"{{"op":"verify","cpf":"{cpf}","nome":"a"}}"#),
    ] {
        let whole = plain(desk.ask(line));
        assert!(whole["cpf"] == true || whole["rows"][0].is_object() || line.contains("xyz"), "{line} {whole}");
        let needed = (0..100_000).find(|&looks| {
            let reply = answer_for(&desk.snapshot, line, looks);
            let is_whole = reply == whole;
            assert!(is_whole || reply["code"] == "deadline_exceeded", "{line}");
            is_whole
        });
        assert!(needed.is_some_and(|needed| needed > 0), "{line}");
    }
    let batch = r#"{"op":"batch","items":[{"nome":"m","match":"words"},{"nome":"a"},{"cpf":"x"}]}"#;
    let late = r#"{"status":"error","code":"deadline_exceeded"}"#;
    let codes = |reply: &Value| -> Vec<String> {
        reply["results"].as_array().unwrap().iter().map(|result| result["code"].to_string()).collect()
    };
    assert_eq!(
        codes(&answer_for(&desk.snapshot, batch, 0)),
        ["\"deadline_exceeded\"", "\"deadline_exceeded\"", "\"invalid_cpf\""]
    );
    assert_eq!(answer_for(&desk.snapshot, batch, 0)["results"][0].to_string(), late);
    assert_eq!(answer_for(&desk.snapshot, batch, u64::MAX), plain(desk.ask(batch)));
}

#[test]
fn items_of_a_batch() {
    let desk = people();
    let items = [
        r#"{"nome":"silva","match":"words"}"#,
        r#"{"nome":"tiago souza","match":"fuzzy","limit":1}"#,
        r#"{"nome":"a","match":"words","where":{"x":"F"}}"#,
        r#"{"cpf":"191","where":{"sexo":"F"}}"#,
        r#"{"nome":"maria"}"#,
    ];
    let batch = desk.ask(&format!(r#"{{"op":"batch","items":[{}]}}"#, items.join(",")));
    for (item, result) in items.iter().zip(batch["results"].as_array().unwrap()) {
        assert_eq!(result, &desk.ask(item), "{item}");
    }
    // The limit of rows counts those of searches, too.
    let many = Desk::of(&format!(
        "{TABLE} WITH RECURSIVE k(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM k WHERE n < 1000)
         INSERT INTO cpf SELECT '191', 'ANA LIMA', 'F', '19800131' FROM k;"
    ));
    let item = r#"{"nome":"lima","match":"words","limit":1000}"#;
    let batch = many.ask(&format!(r#"{{"op":"batch","items":[{}]}}"#, [item; 12].join(",")));
    let codes: Vec<_> = batch["results"].as_array().unwrap().iter().map(|result| result["code"].as_str()).collect();
    assert_eq!(codes, [[None; 10].as_slice(), &[Some("too_many_rows"); 2]].concat());
}

/// Bytes of the word index and the columns, flipped one by one: nothing is answered that is not so.
#[test]
fn damaged_words_and_columns() {
    let desk = super::desk(300, 12);
    let lines = [
        r#"{"nome":"da m","match":"words"}"#,
        r#"{"nome":"marai silva","match":"fuzzy","spelling":"pt"}"#,
        r#"{"nome":"d","match":"words","where":{"sexo":"F","nasc":{"from":"1950-01-01"}},"limit":1000}"#,
    ];
    let whole = lines.map(|line| plain(desk.ask(line)));
    assert!(whole.iter().all(|reply| reply["rows"][0].is_object()));
    let folder = Snapshot::open(&desk.db(), &desk.index()).unwrap().generation.folder().to_owned();
    let (mut refused, mut unavailable, mut unchanged) = (0, 0, 0);
    for file in ["words.index", "name-0000.cols"] {
        let path = folder.join(file);
        let bytes = fs::read(&path).unwrap();
        for at in (0..bytes.len()).step_by(61) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            fs::write(&path, damaged).unwrap();
            let Ok(snapshot) = desk.reopen() else {
                refused += 1;
                continue;
            };
            for (line, whole) in lines.iter().zip(&whole) {
                let reply = plain(ask(&snapshot, line));
                match reply["code"].as_str() {
                    Some("unavailable") => unavailable += 1,
                    _ => {
                        assert_eq!(&reply, whole, "{file} {at} {line}");
                        unchanged += 1;
                    }
                }
            }
        }
        fs::write(&path, bytes).unwrap();
    }
    assert!(refused > 0 && unavailable > 0, "{refused} {unavailable} {unchanged}");
}
