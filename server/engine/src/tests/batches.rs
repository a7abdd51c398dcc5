//! Batches: order, ids, items that fail alone, and the limits of rows and of bytes.

use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::Duration;

use balcao_wire::decode;
use serde_json::Value;

use super::{Desk, TABLE};

fn codes(reply: &Value) -> Vec<&str> {
    let results = reply["results"].as_array().unwrap_or_else(|| panic!("{reply}"));
    results.iter().map(|result| result["code"].as_str().unwrap_or("ok")).collect()
}

fn batch(items: &[String]) -> String {
    format!(r#"{{"op":"batch","items":[{}]}}"#, items.join(","))
}

#[test]
fn a_reply_for_each_item_in_order() {
    let desk = Desk::of(
        "CREATE TABLE cpf(nome, cpf); INSERT INTO cpf VALUES ('ANA', 191), ('EVA', 12345678909), ('EVA', 191);",
    );
    desk.check(
        r#"{"id":6,"op":"batch","items":[{"cpf":"12345678909"},{"id":"b","nome":"eva","limit":1},{"id":3,"cpf":"x"},{"op":"ping"},7,
            {"nome":"-"},{"id":true,"nome":"EVA"},{"nome":"NINGUEM"},{"id":-9,"cpf":"12345678900"}]}"#
            .replace('\n', "")
            .as_str(),
        r#"{"id":6,"status":"ok","results":[
            {"status":"ok","rows":[{"nome":"EVA","cpf":12345678909}],"total":1,"next":null},
            {"id":"b","status":"ok","rows":[{"nome":"EVA","cpf":12345678909}],"total":2,"next":"more"},
            {"id":3,"status":"error","code":"invalid_cpf"},
            {"status":"error","code":"bad_request"},
            {"status":"error","code":"bad_request"},
            {"status":"error","code":"invalid_name"},
            {"status":"error","code":"bad_request"},
            {"status":"ok","rows":[],"total":0,"next":null},
            {"id":-9,"status":"ok","rows":[],"total":0,"next":null,"warning":"check_digits"}]}"#,
    );
    desk.check(r#"{"op":"batch","items":[]}"#, r#"{"status":"ok","results":[]}"#);
    for wrong in [r#"{"op":"batch"}"#, r#"{"op":"batch","items":{}}"#, r#"{"op":"batch","items":null}"#] {
        desk.check(wrong, r#"{"status":"error","code":"bad_request"}"#);
    }
    // An item's page goes on with its cursor, in a batch or alone.
    let reply = desk.ask(r#"{"op":"batch","items":[{"nome":"eva","limit":1}]}"#);
    let next = reply["results"][0]["next"].as_str().unwrap();
    desk.check_rows(&format!(r#"{{"nome":"eva","cursor":"{next}"}}"#), &["EVA"], 2);
}

/// A thousand rows under one name, and one under another.
fn thousand() -> Desk {
    Desk::of(&format!(
        "{TABLE} WITH RECURSIVE k(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM k WHERE n < 1000)
            INSERT INTO cpf SELECT '191', 'MUITOS', NULL, NULL FROM k;
         INSERT INTO cpf VALUES ('12345678909', 'UM', NULL, NULL);"
    ))
}

#[test]
fn a_thousand_items() {
    let desk = thousand();
    let items: Vec<String> = (0..1000)
        .map(|id| format!(r#"{{"id":{id},"nome":"{}"}}"#, if id % 2 == 0 { "UM" } else { "NINGUEM" }))
        .collect();
    let reply = desk.ask(&batch(&items));
    let results = reply["results"].as_array().unwrap();
    assert_eq!(results.len(), 1000);
    for (id, result) in results.iter().enumerate() {
        assert_eq!((&result["id"], &result["total"]), (&id.into(), &((id + 1) % 2).into()));
    }
    let one_more = [&items[..], &items[..1]].concat();
    desk.check(&batch(&one_more), r#"{"status":"error","code":"bad_request"}"#);
}

#[test]
fn ten_thousand_rows_and_not_one_more() {
    let desk = thousand();
    let (many, one, none) = (r#"{"nome":"MUITOS","limit":1000}"#, r#"{"id":1,"nome":"UM"}"#, r#"{"nome":"NINGUEM"}"#);
    let ask = |items: &[&[&str]]| {
        let items: Vec<String> = items.concat().iter().map(ToString::to_string).collect();
        desk.ask(&batch(&items))
    };
    let ten = [many; 10];
    // Exactly so many, and what takes no row, fits.
    let reply = ask(&[&ten, &[none]]);
    assert_eq!(codes(&reply), ["ok"; 11]);
    assert_eq!(reply["results"][9]["rows"].as_array().unwrap().len(), 1000);
    // One more does not, and nothing behind it does; errors stay what they are.
    let reply = ask(&[&ten, &[none, one, none, r#"{"cpf":"x"}"#, many]]);
    let mut expected = vec!["ok"; 11];
    expected.extend(["too_many_rows", "too_many_rows", "invalid_cpf", "too_many_rows"]);
    assert_eq!(codes(&reply), expected);
    assert_eq!(reply["results"][11]["id"], 1);
    // Also where a smaller one would still have fitted.
    let reply = ask(&[&ten[..9], &[r#"{"nome":"MUITOS","limit":999}"#, many, one]]);
    assert_eq!(codes(&reply)[9..], ["ok", "too_many_rows", "too_many_rows"]);
    // The rows of the page count, not the total.
    let reply = ask(&[&[r#"{"nome":"MUITOS","limit":10}"#; 1000]]);
    assert_eq!(codes(&reply), ["ok"; 1000]);
}

#[test]
fn a_reply_has_64_mib_at_most() {
    let desk = Desk::of(&format!(
        "{TABLE} WITH RECURSIVE k(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM k WHERE n < 70)
            INSERT INTO cpf SELECT '191', 'GRANDE', CAST(zeroblob(524288) AS TEXT) || hex(zeroblob(100000)), NULL FROM k;"
    ));
    // A NUL is six bytes in JSON: each row is more than 3 MiB.
    let too_many = r#"{"id":1,"status":"error","code":"too_many_rows"}"#;
    desk.check(r#"{"id":1,"nome":"GRANDE","limit":1000}"#, too_many);
    desk.check(r#"{"id":1,"cpf":"191"}"#, too_many);
    let reply = desk.ask(r#"{"nome":"GRANDE","limit":15}"#);
    assert_eq!((reply["rows"].as_array().map(Vec::len), &reply["total"]), (Some(15), &70.into()));
    // In a batch: of one item too long, that item; of all together too long, the batch.
    let item = |limit: usize| format!(r#"{{"id":1,"nome":"GRANDE","limit":{limit}}}"#);
    let reply = desk.ask(&batch(&[item(1000), item(1)]));
    assert_eq!(codes(&reply), ["too_many_rows", "ok"]);
    let items = vec![item(10); 200];
    assert_eq!(super::plain(desk.ask(&batch(&items))).to_string(), r#"{"status":"error","code":"too_many_rows"}"#);
}

#[test]
fn a_batch_without_searches_waits_for_none() {
    let desk = thousand();
    let search = batch(&[r#"{"nome":"MUITOS","match":"fuzzy"}"#.to_owned(), r#"{"cpf":"191"}"#.to_owned()]);
    let plain = batch(&vec![r#"{"nome":"UM"}"#.to_owned(); 200]);
    let plain = decode(plain.as_bytes());
    // One for each thread of the pool: all of it would be taken.
    let searching = rayon::current_num_threads();
    let (begun, ended) = (Barrier::new(searching + 1), Barrier::new(searching + 1));
    let replied = thread::scope(|scope| {
        for _ in 0..searching {
            scope.spawn(|| {
                let first = std::sync::Once::new();
                // Its first piece of work takes until the other batch is answered.
                let goes_on = || {
                    first.call_once(|| {
                        begun.wait();
                        ended.wait();
                    });
                    true
                };
                let mut out = Vec::new();
                assert_eq!(desk.snapshot.answer_while(&decode(search.as_bytes()), &mut out, &goes_on), Ok(()));
            });
        }
        begun.wait();
        let (answered, reply) = mpsc::channel();
        let snapshot = &desk.snapshot;
        scope.spawn(move || {
            let mut out = Vec::new();
            let answer = snapshot.answer(&plain, &mut out);
            answered.send((answer, out)).unwrap();
        });
        // No machine is that slow: beyond it, it waits for the searches, which wait for it.
        let replied = reply.recv_timeout(Duration::from_secs(60));
        ended.wait();
        replied
    });
    let (answer, out) = replied.expect("the batch waited for searches");
    assert_eq!(answer, Ok(()));
    assert_eq!(codes(&serde_json::from_slice(&out).unwrap()), ["ok"; 200]);
}
