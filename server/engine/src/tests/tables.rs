//! Tables of other shapes: other names, other columns, any rowids, no rows, rows without keys.

use super::{Desk, TABLE, cpf};

#[test]
fn names_that_need_quotes() {
    let desk = Desk::with(
        r#"CREATE TABLE "o "" 'd]" ("select" INTEGER, "C P F" TEXT, "no""me\" TEXT, "é" REAL, rowid TEXT);
           INSERT INTO "o "" 'd]" VALUES (1, '191', 'ANA', 2, 'not a rowid');"#,
        "O \" 'D]",
        "c p f",
        "NO\"ME\\",
    );
    let row = r#"{"select":1,"C P F":"191","no\"me\\":"ANA","é":2.0,"rowid":"not a rowid"}"#;
    let expected = format!(r#"{{"status":"ok","rows":[{row}],"total":1,"next":null}}"#);
    desk.check(r#"{"cpf":"191"}"#, &expected);
    desk.check(r#"{"nome":"ana"}"#, &expected);
    let hello = desk.ask(r#"{"op":"hello"}"#);
    assert_eq!(hello["columns"], serde_json::json!(["select", "C P F", "no\"me\\", "é", "rowid"]));
}

#[test]
fn any_rowids() {
    let (min, max) = (i64::MIN, i64::MAX);
    let rowids = [min, min + 1, -1_000_000_007, -1, 0, 1, 2, 4_294_967_296, max - 1, max];
    let mut sql = String::from("CREATE TABLE cpf(id INTEGER PRIMARY KEY, cpf TEXT, nome TEXT);");
    for (number, rowid) in rowids.iter().enumerate() {
        // Written backwards: the order of an answer is the rowids', not that of writing.
        let number = 1 + number as u32;
        sql.push_str(&format!("INSERT INTO cpf VALUES ({rowid}, '{}', 'PESSOA {number}');", cpf(number % 2)));
    }
    let desk = Desk::of(&sql);
    let expected = |keep: fn(usize) -> bool| -> Vec<String> {
        rowids.iter().enumerate().filter(|(at, _)| keep(*at)).map(|(_, rowid)| rowid.to_string()).collect()
    };
    let (odd, even) = (expected(|at| at % 2 == 0), expected(|at| at % 2 == 1));
    let texts = |rowids: &[String]| -> Vec<String> { rowids.to_vec() };
    desk.check_rows(&format!(r#"{{"cpf":"{}"}}"#, cpf(1)), &texts(&odd).iter().map(|s| &**s).collect::<Vec<_>>(), 5);
    desk.check_rows(&format!(r#"{{"cpf":"{}"}}"#, cpf(0)), &texts(&even).iter().map(|s| &**s).collect::<Vec<_>>(), 5);
    let first = format!(r#"{{"id":{min},"cpf":"{}","nome":"PESSOA 1"}}"#, cpf(1));
    desk.check(
        r#"{"nome":"PESSOA 1","match":"exact"}"#,
        &format!(r#"{{"status":"ok","rows":[{first}],"total":1,"next":null}}"#),
    );
    assert_eq!(desk.ask(r#"{"nome":"PESSOA","limit":1000}"#)["total"], 10);
}

#[test]
fn generated_columns_and_other_tables_beside() {
    let desk = Desk::of(
        "CREATE TABLE other(cpf, nome); INSERT INTO other VALUES ('191', 'WRONG TABLE');
         CREATE TABLE cpf(cpf TEXT, nome TEXT, upper TEXT GENERATED ALWAYS AS (upper(nome)), stored GENERATED ALWAYS AS (length(nome)) STORED);
         CREATE INDEX beside ON cpf(nome DESC); INSERT INTO cpf(cpf, nome) VALUES ('191', 'Ana');",
    );
    desk.check(
        r#"{"cpf":"191"}"#,
        r#"{"status":"ok","rows":[{"cpf":"191","nome":"Ana","upper":"ANA","stored":3}],"total":1,"next":null}"#,
    );
}

#[test]
fn one_column_for_both() {
    let desk = Desk::with("CREATE TABLE t(x TEXT); INSERT INTO t VALUES ('191'), ('ANA');", "t", "x", "x");
    desk.check_rows(r#"{"cpf":"191"}"#, &["191"], 1);
    desk.check_rows(r#"{"nome":"1"}"#, &["191"], 1);
    desk.check_rows(r#"{"nome":"A"}"#, &["ANA"], 1);
}

#[test]
fn no_rows_at_all() {
    let desk = Desk::of(TABLE);
    let nothing = r#"{"status":"ok","rows":[],"total":0,"next":null}"#;
    for question in
        [r#"{"cpf":"191"}"#, r#"{"nome":"A"}"#, r#"{"nome":"Z","match":"exact"}"#, r#"{"nome":"é","limit":1000}"#]
    {
        desk.check(question, nothing);
    }
    desk.check(
        r#"{"op":"batch","items":[{"cpf":"191"},{"nome":"A"}]}"#,
        &format!(r#"{{"status":"ok","results":[{nothing},{nothing}]}}"#),
    );
    assert_eq!(desk.ask(r#"{"op":"hello"}"#)["rows"], 0);
}

#[test]
fn rows_that_no_key_reaches() {
    let desk = Desk::of(&format!(
        "{TABLE} INSERT INTO cpf VALUES (NULL, NULL, 'F', NULL), ('191', 'ANA', 'F', NULL), ('', ' . ', 'M', NULL), ('x', '', 'M', NULL);"
    ));
    assert_eq!(desk.ask(r#"{"op":"hello"}"#)["rows"], 4);
    desk.check_rows(r#"{"nome":"ANA"}"#, &["191"], 1);
    desk.check_rows(r#"{"cpf":191}"#, &["191"], 1);
    // Only such rows.
    let desk = Desk::of(&format!("{TABLE} INSERT INTO cpf VALUES (NULL, NULL, NULL, NULL), ('x', '-', NULL, NULL);"));
    desk.check_rows(r#"{"nome":"X"}"#, &[], 0);
    desk.check_rows(r#"{"cpf":191}"#, &[], 0);
}

#[test]
fn wide_rows() {
    let columns: Vec<String> = (0..500).map(|number| format!("c{number}")).collect();
    let desk = Desk::of(&format!(
        "CREATE TABLE cpf(cpf, nome, {}); INSERT INTO cpf(cpf, nome, c0, c499) VALUES ('191', 'ANA', 'first', 'last');",
        columns.join(", ")
    ));
    let reply = desk.ask(r#"{"cpf":"191"}"#);
    let row = reply["rows"][0].as_object().unwrap();
    assert_eq!((row.len(), &row["c0"], &row["c250"], &row["c499"]), (502, &"first".into(), &().into(), &"last".into()));
}
