//! Every kind of value that a cell may hold: in a column of no meaning, as a CPF, as a name.

use balcao_wire::{Id, Operation, decode};

use super::Desk;

#[test]
fn any_value_as_the_database_holds_it() {
    #[track_caller]
    fn check(desk: &Desk, value: &str, expected: &str) {
        // The value's own SQL is the name it is found by.
        let name = value.replace(|c: char| !c.is_ascii_alphanumeric(), "x");
        let question = format!(r#"{{"nome":"{name}","match":"exact"}}"#);
        let row = format!(r#"{{"cpf":"00000000191","nome":"{name}","v":{expected}}}"#);
        desk.check(&question, &format!(r#"{{"status":"ok","rows":[{row}],"total":1,"next":null}}"#));
    }
    let values = [
        ("NULL", "null"),
        ("0", "0"),
        ("-1", "-1"),
        ("9223372036854775807", "9223372036854775807"),
        ("-9223372036854775807-1", "-9223372036854775808"),
        ("1.5", "1.5"),
        ("2.0", "2.0"),
        ("1e300", "1e300"),
        ("4.9e-324", "5e-324"),
        ("9e999", r#""Inf""#),
        ("-9e999", r#""-Inf""#),
        ("9e999-9e999", "null"),
        ("''", r#""""#),
        ("'plain'", r#""plain""#),
        (r#"'quote " back \ line' || char(10) || 'é'"#, r#""quote \" back \\ line\né""#),
        ("char(0)", r#""\u0000""#),
        ("CAST(x'410042' AS TEXT)", r#""A\u0000B""#),
        ("CAST(x'41ff42' AS TEXT)", r#""A\ufffdB""#),
        ("CAST(x'c3' AS TEXT)", r#""\ufffd""#),
        ("CAST(x'eda080' AS TEXT)", r#""\ufffd\ufffd\ufffd""#),
        ("x''", r#"{"base64":""}"#),
        ("x'00ff'", r#"{"base64":"AP8="}"#),
        ("zeroblob(5)", r#"{"base64":"AAAAAAA="}"#),
    ];
    for encoding in ["UTF-8", "UTF-16le"] {
        let mut sql = format!("PRAGMA encoding = '{encoding}'; CREATE TABLE cpf(cpf, nome, v);");
        for (value, _) in values {
            let name = value.replace(|c: char| !c.is_ascii_alphanumeric(), "x");
            sql.push_str(&format!("INSERT INTO cpf VALUES ('00000000191', '{name}', {value});"));
        }
        let desk = Desk::of(&sql);
        for (value, expected) in values {
            // A text of UTF-16 has been through SQLite's own reading of those bytes.
            if encoding == "UTF-8" || !value.contains("AS TEXT") {
                check(&desk, value, expected);
            }
        }
    }
}

#[test]
fn a_cpf_of_any_kind() {
    let desk = Desk::of(
        "CREATE TABLE cpf(nome, cpf);
         INSERT INTO cpf VALUES ('text', '00000000191'), ('dots', ' 000.000.001-91'), ('lost zeros', '191'), ('integer', 191),
            ('real', 191.0), ('blob', CAST('191' AS BLOB)), ('null', NULL), ('letters', '0000000019I'), ('twelve', '000000000191'),
            ('nothing', ''), ('invalid', CAST(x'31393100ff' AS TEXT)), ('nul', CAST(x'31393100' AS TEXT)), ('negative', -191),
            ('long integer', 12345678909), ('wrong integer', 12345678900), ('short and wrong', 192), ('huge', 123456789090);",
    );
    for question in
        [r#"{"cpf":"191"}"#, r#"{"cpf":191}"#, r#"{"cpf":"000.000.001-91"}"#, r#"{"cpf":" 0 0 0 00000191 "}"#]
    {
        desk.check_rows(question, &["text", "dots", "lost zeros", "integer"], 4);
    }
    desk.check_rows(r#"{"cpf":12345678909}"#, &["long integer"], 1);
    // Rows without a CPF key are found by their name all the same, and a number stays a number.
    for (name, value) in [
        ("real", "191.0"),
        ("blob", r#"{"base64":"MTkx"}"#),
        ("null", "null"),
        ("letters", r#""0000000019I""#),
        ("twelve", r#""000000000191""#),
        ("nothing", r#""""#),
        ("invalid", r#""191\u0000\ufffd""#),
        ("nul", r#""191\u0000""#),
        ("negative", "-191"),
        ("long integer", "12345678909"),
        ("short and wrong", "192"),
        ("huge", "123456789090"),
    ] {
        let expected = format!(r#"{{"status":"ok","rows":[{{"nome":"{name}","cpf":{value}}}],"total":1,"next":null}}"#);
        desk.check(&format!(r#"{{"nome":"{name}","match":"exact"}}"#), &expected);
    }
}

#[test]
fn wrong_check_digits_are_a_key_of_their_own() {
    let desk = Desk::of(
        "CREATE TABLE cpf(nome, cpf);
         INSERT INTO cpf VALUES ('right', '12345678909'), ('wrong', '123.456.789-00'), ('wrong too', 12345678900), ('other', '12345678999');",
    );
    desk.check_rows(r#"{"cpf":"12345678909"}"#, &["right"], 1);
    desk.check(
        r#"{"id":1,"cpf":"12345678900"}"#,
        r#"{"id":1,"status":"ok","rows":[{"nome":"wrong","cpf":"123.456.789-00"},{"nome":"wrong too","cpf":12345678900}],
            "total":2,"next":null,"warning":"check_digits"}"#,
    );
    desk.check_rows(r#"{"cpf":"12345678999"}"#, &["other"], 1);
    let nobody = r#"{"status":"ok","rows":[],"total":0,"next":null,"warning":"check_digits"}"#;
    desk.check(r#"{"cpf":"12345678901"}"#, nobody);
    // With fewer digits the check digits must hold: the zeros before them are a guess.
    desk.check(r#"{"cpf":"1234567800"}"#, r#"{"status":"error","code":"invalid_cpf"}"#);
}

#[test]
fn a_name_of_any_kind() {
    let desk = Desk::of(
        "CREATE TABLE cpf(cpf, nome);
         INSERT INTO cpf VALUES (1, 'José  da   Conceição '), (2, 'D''Ávila'), (3, 12), (4, -12), (5, 1.5), (6, CAST('ANA' AS BLOB)),
            (7, NULL), (8, '…—!'), (9, CAST(x'414e41ff4c494d41' AS TEXT)), (10, CAST(x'414e41004c494d41' AS TEXT)), (11, 'ＭＡＲＩＡ'),
            (12, 'ana_lima'), (13, 'Weiß');",
    );
    desk.check_rows(r#"{"nome":"jose da conceicao","match":"exact"}"#, &["1"], 1);
    desk.check_rows(r#"{"nome":"JOSE\tDA CONCEIÇA\u0303O","match":"exact"}"#, &["1"], 1);
    desk.check_rows(r#"{"nome":"D\u2019AVILA"}"#, &["2"], 1);
    desk.check_rows(r#"{"nome":"12","match":"exact"}"#, &["3", "4"], 2);
    // What is no letter and no number is a blank, be it an underscore, a NUL or a byte that is not UTF-8.
    desk.check_rows(r#"{"nome":"ANA LIMA","match":"exact"}"#, &["9", "10", "12"], 3);
    desk.check_rows(r#"{"nome":"maria"}"#, &["11"], 1);
    desk.check_rows(r#"{"nome":"WEISS"}"#, &["13"], 1);
    for nothing in ["1 5", "1.5", "ANA", "NULL"] {
        let expected: &[&str] = if nothing == "ANA" { &["9", "10", "12"] } else { &[] };
        desk.check_rows(&format!(r#"{{"nome":"{nothing}"}}"#), expected, expected.len() as u64);
    }
    for nothing in ["", " ", "…—!", "'", "\\u0301"] {
        desk.check(&format!(r#"{{"nome":"{nothing}"}}"#), r#"{"status":"error","code":"invalid_name"}"#);
    }
}

/// Cells that no reply has room for, each with a row of its own, beside one that is answered.
#[test]
fn values_longer_than_a_reply() {
    let long = [
        "zeroblob(70000000)",
        // Written out as base64 and as escapes these are longer than they are in the file.
        "zeroblob(60000000)",
        "CAST(zeroblob(20000000) AS TEXT)",
        "replace(hex(zeroblob(17000000)), '0', '\"')",
        "hex(zeroblob(34000000))",
    ];
    let mut sql =
        "CREATE TABLE cpf(cpf TEXT, nome TEXT, v, w); INSERT INTO cpf VALUES ('191', 'ANA', 'x', 1);".to_owned();
    for (at, value) in long.iter().enumerate() {
        sql.push_str(&format!("INSERT INTO cpf VALUES ('0', 'LONG {}', {value}, 1);", "A".repeat(at + 1)));
    }
    // Each fits, both do not.
    sql.push_str("INSERT INTO cpf VALUES ('0', 'LONG Z', zeroblob(30000000), zeroblob(30000000));");
    let desk = Desk::of(&sql);
    let names = (1..=long.len()).map(|count| "A".repeat(count)).chain(["Z".to_owned()]);
    for name in names {
        let reply = desk.ask(&format!(r#"{{"nome":"LONG {name}","match":"exact"}}"#));
        assert_eq!(reply["code"], "too_many_rows", "{name}");
        assert!(reply["message"].as_str().unwrap().contains("64 MiB"), "{name}: {}", reply["message"]);
    }
    desk.check(
        r#"{"nome":"ANA"}"#,
        r#"{"status":"ok","rows":[{"cpf":"191","nome":"ANA","v":"x","w":1}],"total":1,"next":null}"#,
    );
}

/// The check of a reply's room looks at the bytes as they are written: a short page takes what fits it, to the last byte.
#[test]
fn a_short_page_has_room_to_the_last_byte() {
    for value in ["'plain'", "char(1)", r#"'"\' || char(10)"#, "zeroblob(100)", "CAST(x'41ff42' AS TEXT)", "7", "NULL"]
    {
        let desk = Desk::of(&format!(
            "CREATE TABLE cpf(cpf TEXT, nome TEXT, v); INSERT INTO cpf VALUES ('191', 'ANA', {value});"
        ));
        let request = decode(br#"{"nome":"ANA"}"#);
        let Ok(Operation::Lookup(lookup)) = &request.operation else { panic!("a question") };
        let plan = desk.snapshot.plan(lookup).unwrap();
        let mut whole = Vec::new();
        desk.snapshot.write_page(&plan, &Id::Absent, &mut whole).unwrap();
        // What ends the reply is written behind the rows.
        let end = br#"],"total":1,"next":null}"#.len();
        for (bytes_max, fits) in [(whole.len() - end, true), (whole.len() - end - 1, false)] {
            let mut out = Vec::new();
            let answer = desk.snapshot.write_short_page(&plan, &Id::Absent, &mut out, bytes_max);
            assert_eq!((answer.is_some(), out == whole, out.is_empty()), (fits, fits, !fits), "{value} {bytes_max}");
        }
    }
}

/// What does not fit is found out before it is written, or a reply would take as much memory as the database's longest cells.
#[test]
fn what_is_too_long_is_not_written_first() {
    const ROOM: usize = 64 << 10;
    for values in [
        "zeroblob(1000000), 1",
        "hex(zeroblob(500000)), 1",
        // Each of these is shorter than the room, and longer once it is written out, or both together.
        "zeroblob(60000), 1",
        "CAST(zeroblob(60000) AS TEXT), 1",
        "hex(zeroblob(30000)), hex(zeroblob(30000))",
    ] {
        let sql = "CREATE TABLE cpf(cpf TEXT, nome TEXT, v, w); INSERT INTO cpf VALUES ('191', 'ANA', ";
        let desk = Desk::of(&format!("{sql}{values});"));
        let request = decode(br#"{"nome":"ANA"}"#);
        let Ok(Operation::Lookup(lookup)) = &request.operation else { panic!("a question") };
        let plan = desk.snapshot.plan(lookup).unwrap();
        let mut out = Vec::with_capacity(ROOM);
        assert!(desk.snapshot.write_short_page(&plan, &Id::Absent, &mut out, ROOM).is_none(), "{values}");
        // Had it been written, the buffer would have grown.
        assert_eq!((out.len(), out.capacity()), (0, ROOM), "{values}");
        assert_eq!(desk.ask(r#"{"nome":"ANA"}"#)["status"], "ok", "{values}");
    }
}
