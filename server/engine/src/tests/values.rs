//! Every kind of value that a cell may hold: in a column of no meaning, as a CPF, as a name.

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
