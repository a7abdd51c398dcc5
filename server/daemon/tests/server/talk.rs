//! Plain talk: what a script with a socket sees, in whatever pieces it sends.

use balcao_client::Name;
use serde_json::json;

use crate::process::Server;
use crate::registry::{Registry, SMALL};

/// Questions and their replies as they stand on the wire.
const TRANSCRIPT: [(&str, &str); 8] = [
    (
        r#"{"id":1,"cpf":"123.456.789-09"}"#,
        r#"{"id":1,"status":"ok","rows":[{"cpf":"12345678909","nome":"MARIA DA SILVA","sexo":"F","nasc":"19800101"}],"total":1,"next":null}"#,
    ),
    (
        r#"{"id":"two","nome":"jose de souza","match":"exact"}"#,
        r#"{"id":"two","status":"ok","rows":[{"cpf":"52998224725","nome":"JOSÉ DE SOUZA","sexo":"M","nasc":"19751231"}],"total":1,"next":null}"#,
    ),
    (
        r#"{"cpf":191}"#,
        r#"{"status":"ok","rows":[{"cpf":"00000000191","nome":"MARIANA LIMA","sexo":"F","nasc":"20000229"}],"total":1,"next":null}"#,
    ),
    (r#"{"id":-4,"op":"ping"}"#, r#"{"id":-4,"status":"ok"}"#),
    (r#"{"id":null,"op":"ping","cpf":true,"unknown":[{}]}"#, r#"{"status":"ok"}"#),
    (r#"{"id":6,"nome":"NINGUEM"}"#, r#"{"id":6,"status":"ok","rows":[],"total":0,"next":null}"#),
    (
        r#"{"id":7,"cpf":"12345678900"}"#,
        r#"{"id":7,"status":"ok","rows":[],"total":0,"next":null,"warning":"check_digits"}"#,
    ),
    (
        r#"{"id":8,"nome":"MARIA ","limit":1000}"#,
        concat!(
            r#"{"id":8,"status":"ok","rows":[{"cpf":"12345678909","nome":"MARIA DA SILVA","sexo":"F","nasc":"19800101"},"#,
            r#"{"cpf":"00000000191","nome":"MARIANA LIMA","sexo":"F","nasc":"20000229"}],"total":2,"next":null}"#
        ),
    ),
];

fn joined(lines: impl Iterator<Item = &'static str>, end: &str) -> String {
    lines.map(|line| format!("{line}{end}")).collect()
}

#[test]
fn a_session_as_nc_has_it() {
    let registry = Registry::of(SMALL);
    let server = Server::start(&registry, &[]);
    let questions = joined(TRANSCRIPT.iter().map(|pair| pair.0), "\n");
    let replies = joined(TRANSCRIPT.iter().map(|pair| pair.1), "\n");
    let mut peer = server.peer();
    peer.send(&questions);
    peer.end_questions();
    assert_eq!(peer.text(), replies);
    // The same one question at a time: the connection stays open between them.
    let mut peer = server.peer();
    for (question, reply) in TRANSCRIPT {
        assert_eq!(peer.ask(question).to_string(), reply);
    }
}

#[test]
fn lines_in_odd_pieces() {
    let registry = Registry::of(SMALL);
    // One worker too: whoever sends slowly must not hold it.
    for args in [&[][..], &["--workers", "1"]] {
        let server = Server::start(&registry, args);
        let replies = joined(TRANSCRIPT.iter().map(|pair| pair.1), "\n");
        for end in ["\n", "\r\n"] {
            let questions = joined(TRANSCRIPT.iter().map(|pair| pair.0), end);
            for size in [1, 3, 100] {
                let (mut slow, mut other) = (server.peer(), server.peer());
                for (number, piece) in questions.as_bytes().chunks(size).enumerate() {
                    slow.send(piece);
                    if number % 50 == 0 {
                        // A round trip in the middle of a line: the pieces do arrive as pieces.
                        assert_eq!(other.ask(r#"{"op":"ping"}"#), json!({"status": "ok"}));
                    }
                }
                slow.end_questions();
                assert_eq!(slow.text(), replies, "pieces of {size}");
            }
        }
    }
}

#[test]
fn the_client_library_and_the_server_agree() {
    let registry = Registry::shared();
    let server = Server::start(&registry, &[]);
    let mut client = server.client();
    let hello = client.hello().unwrap();
    assert_eq!((hello.protocol, hello.rows), (1, 12_000));
    assert_eq!(hello.columns, ["cpf", "nome", "sexo", "nasc"]);
    assert_eq!((hello.limits.line_bytes, hello.limits.limit_max, hello.limits.batch_items), (65_536, 1000, 1000));
    client.ping().unwrap();

    let letter = registry.dear_letter();
    let expected = registry.rows(&letter);
    for limit in [Some(1000), Some(8), None] {
        let question = balcao_client::by_name(&letter, Some(Name::Prefix), limit);
        let mut rows = Vec::new();
        // Pages of eight rows take the cheap lane, pages of fifty and a thousand the queue; of the small ones some will do.
        for page in client.pages(&question).take(100) {
            let page = page.unwrap();
            assert_eq!(page.total, Some(expected.len() as u64));
            rows.extend(page.rows.into_iter().map(serde_json::Value::Object));
        }
        let whole = limit == Some(1000);
        assert!(rows.len() == expected.len() || !whole);
        assert_eq!(rows[..], expected[..rows.len()], "limit {limit:?}");
    }

    let cpfs: Vec<&str> = expected.iter().take(500).map(|row| row["cpf"].as_str().unwrap()).collect();
    let items: Vec<_> = cpfs.iter().map(|cpf| balcao_client::by_cpf(cpf, None)).collect();
    for (reply, expected) in client.batch(&items).unwrap().into_iter().zip(&expected) {
        assert_eq!(reply.rows.map(serde_json::Value::from), Some(json!([expected])));
    }
}
