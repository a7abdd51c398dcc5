//! Which rows an answer has and in which order: exact names, prefixes, CPFs on several rows.

use super::{Desk, cpf};

/// Rows by a number in their first column, in the order of writing.
fn desk(names: &[&str]) -> Desk {
    let mut sql = String::from("CREATE TABLE cpf(n, cpf, nome);");
    for (number, name) in names.iter().enumerate() {
        sql.push_str(&format!("INSERT INTO cpf VALUES ({number}, '{}', '{name}');", cpf(number as u32)));
    }
    Desk::of(&sql)
}

#[test]
fn by_the_bytes_of_the_normalised_name_then_by_rowid() {
    //               0        1       2      3         4      5      6       7      8      9      10
    let desk = desk(&["zé", "MARIA", "Øyvind", "maria", "ana", "Ana.", "ÁN A", "ANA B", "ANAB", "𪛖", "ß"]);
    desk.check_rows(r#"{"nome":"A"}"#, &["6", "4", "5", "7", "8"], 5);
    desk.check_rows(r#"{"nome":"ana"}"#, &["4", "5", "7", "8"], 4);
    desk.check_rows(r#"{"nome":"ana","match":"exact"}"#, &["4", "5"], 2);
    desk.check_rows(r#"{"nome":"Mária","match":"exact"}"#, &["1", "3"], 2);
    desk.check_rows(r#"{"nome":"ss"}"#, &["10"], 1);
    desk.check_rows(r#"{"nome":"z"}"#, &["0"], 1);
    // The last letters that there are: nothing is above them.
    desk.check_rows(r#"{"nome":"Ø"}"#, &["2"], 1);
    desk.check_rows(r#"{"nome":"𪛖"}"#, &["9"], 1);
    desk.check_rows(r#"{"nome":"𪛗"}"#, &[], 0);
}

#[test]
fn a_prefix_is_normalised_as_a_name_is() {
    let desk = desk(&["MARIANA", "MARIA", "MARIA DA SILVA", "MARIAA", "MARI", "MARIB", "MARIA"]);
    let all = ["1", "6", "2", "3", "0"];
    for prefix in ["MARIA", "MARIA ", " maria", "maria-", "Mar'ia", "ＭＡＲＩＡ", "MARÍA_"] {
        desk.check_rows(&format!(r#"{{"nome":"{prefix}"}}"#), &all, 5);
        desk.check_rows(&format!(r#"{{"nome":"{prefix}","match":"prefix"}}"#), &all, 5);
        desk.check_rows(&format!(r#"{{"nome":"{prefix}","match":"exact"}}"#), &["1", "6"], 2);
    }
    desk.check_rows(r#"{"nome":"MARIA D"}"#, &["2"], 1);
    desk.check_rows(r#"{"nome":"MARIA DA SILVA DE"}"#, &[], 0);
    desk.check_rows(r#"{"nome":"MARIA","limit":2}"#, &["1", "6"], 5);
    desk.check_rows(r#"{"nome":"M","limit":1}"#, &["4"], 7);
}

#[test]
fn one_cpf_on_several_rows() {
    let desk = Desk::of(
        "CREATE TABLE cpf(id INTEGER PRIMARY KEY, cpf, nome);
         INSERT INTO cpf VALUES (70, '191', 'C'), (-3, '00000000191', 'B'), (5, 191, 'A'), (6, '52998224725', 'D'), (7, ' 191 ', NULL);",
    );
    desk.check_rows(r#"{"cpf":191}"#, &["-3", "5", "7", "70"], 4);
    desk.check_rows(r#"{"cpf":191,"limit":2}"#, &["-3", "5"], 4);
    desk.check_rows(r#"{"cpf":"529.982.247-25"}"#, &["6"], 1);
}

#[test]
fn the_members_of_a_reply() {
    let desk = desk(&["ANA", "ANA"]);
    let row = |number: u32| format!(r#"{{"n":{number},"cpf":"{}","nome":"ANA"}}"#, cpf(number));
    desk.check(
        r#"{"id":9007199254740992,"nome":"ANA","limit":1}"#,
        &format!(r#"{{"id":9007199254740992,"status":"ok","rows":[{}],"total":2,"next":"more"}}"#, row(0)),
    );
    desk.check(
        r#"{"id":"a\"b","nome":"ANA"}"#,
        &format!(r#"{{"id":"a\"b","status":"ok","rows":[{},{}],"total":2,"next":null}}"#, row(0), row(1)),
    );
    desk.check(r#"{"id":3,"op":"ping"}"#, r#"{"id":3,"status":"ok"}"#);
    desk.check(r#"{"id":4,"nome":""}"#, r#"{"id":4,"status":"error","code":"invalid_name"}"#);
    desk.check("[1]", r#"{"status":"error","code":"bad_request"}"#);
    let hello = desk.ask(r#"{"id":5,"op":"hello"}"#);
    let members: Vec<&String> = hello.as_object().unwrap().keys().collect();
    assert_eq!(
        members,
        ["id", "status", "protocol", "server", "generation", "rows", "columns", "matches", "filters", "limits"]
    );
    assert_eq!((&hello["protocol"], &hello["generation"]), (&1.into(), &"g000001".into()));
}

#[test]
fn many_threads_at_once() {
    let names: Vec<String> = (0..300).map(|number| format!("PESSOA {:03}", number * 7 % 300)).collect();
    let desk = desk(&names.iter().map(|name| &**name).collect::<Vec<_>>());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let desk = &desk;
            scope.spawn(move || {
                for number in (0..300).skip(thread) {
                    let found = desk.ask(&format!(r#"{{"nome":"PESSOA {number:03}"}}"#));
                    assert_eq!(found["rows"][0]["nome"], format!("PESSOA {number:03}"));
                    let found = desk.ask(&format!(r#"{{"cpf":"{}"}}"#, cpf(number)));
                    assert_eq!(found["rows"][0]["n"], number);
                }
            });
        }
    });
}
