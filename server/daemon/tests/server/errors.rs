//! Every error that a client can bring about: its code, and whether the connection goes on.

use std::collections::BTreeSet;
use std::thread;

use serde_json::json;

use crate::connections::raise_descriptors;
use crate::peer::code;
use crate::process::Server;
use crate::registry::{PADDING, Registry, SMALL, dear};

#[test]
fn a_wrong_question_leaves_the_connection_open() {
    let registry = Registry::of(SMALL);
    let server = Server::start(&registry, &[]);
    let mut peer = server.peer();
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    let deep = format!(r#"{{"x":{deep}}}"#);
    for (question, expected) in [
        ("", "bad_json"),
        ("nonsense", "bad_json"),
        (r#"{"op":"ping","op":"ping"}"#, "bad_json"),
        (r#"{"nome":"\ud800"}"#, "bad_json"),
        (&deep, "bad_json"),
        ("[]", "bad_request"),
        ("{}", "bad_request"),
        (r#"{"op":"drop"}"#, "bad_request"),
        (r#"{"nome":"ANA","match":"like"}"#, "bad_request"),
        (r#"{"nome":"ANA","deadline_ms":0}"#, "bad_request"),
        (r#"{"op":"ping","deadline_ms":60001}"#, "bad_request"),
        (r#"{"nome":"ANA","where":{"mother":"ANA"}}"#, "bad_request"),
        (r#"{"nome":"ANA","limit":1001}"#, "bad_request"),
        (r#"{"nome":"ANA","cursor":"x"}"#, "bad_request"),
        (r#"{"cpf":"12345678908X"}"#, "invalid_cpf"),
        (r#"{"cpf":"192"}"#, "invalid_cpf"),
        (r#"{"cpf":-191}"#, "invalid_cpf"),
        (r#"{"nome":" ... "}"#, "invalid_name"),
    ] {
        let reply = peer.ask(question);
        assert_eq!((code(&reply), reply["status"].as_str()), (expected, Some("error")), "{question}");
        assert!(reply["message"].as_str().is_some_and(|message| !message.is_empty()), "{question}");
    }
    peer.send(b"{\"nome\":\"\xff\"}\n");
    assert_eq!(code(&peer.line()), "bad_json");
    assert_eq!(peer.ask(r#"{"id":"é","nome":""}"#)["id"], "é");
    assert_eq!(peer.ask(r#"{"op":"ping"}"#), json!({"status": "ok"}));
}

#[test]
fn a_cursor_does_not_outlive_its_generation() {
    let registry = Registry::of(SMALL);
    let server = Server::start(&registry, &[]);
    let cursor = server.peer().ask(r#"{"nome":"M","limit":1}"#)["next"].as_str().unwrap().to_owned();
    let other = format!(r#"{{"nome":"MA","cursor":"{cursor}"}}"#);
    let next = format!(r#"{{"id":5,"nome":"M","cursor":"{cursor}"}}"#);
    assert_eq!(code(&server.peer().ask(&other)), "bad_request");
    assert_eq!(server.peer().ask(&next)["rows"][0]["nome"], "MARIANA LIMA");
    drop(server);
    // The same rows, built again: another generation all the same.
    registry.build();
    let server = Server::start(&registry, &[]);
    let reply = server.peer().ask(&next);
    assert_eq!((code(&reply), &reply["id"]), ("stale_cursor", &json!(5)));
}

#[test]
fn a_line_too_long_is_told_and_closed_gently() {
    let registry = Registry::shared();
    let server = Server::start(&registry, &[]);
    let dear = dear(&registry);
    let mut peer = server.peer();
    // The dear question before it is answered first, without ids in order.
    peer.send(format!("{{{dear}}}\n"));
    let mut writer = peer.stream.try_clone().unwrap();
    let writing = thread::spawn(move || {
        use std::io::Write;
        // The client goes on for a whole megabyte; the server may have closed before it ends.
        (0..64).try_for_each(|_| writer.write_all(&[b'x'; 16_384]))
    });
    assert_eq!(peer.line()["rows"].as_array().map(Vec::len), Some(1000));
    assert_eq!(code(&peer.line()), "line_too_long");
    peer.assert_ended();
    let _ = writing.join().unwrap();
    // A line of the greatest length is a line.
    let mut peer = server.peer();
    let longest = format!(r#"{{"op":"ping","x":"{}"}}"#, "x".repeat(65_536 - 20));
    assert_eq!(longest.len(), 65_536);
    assert_eq!(peer.ask(&longest), json!({"status": "ok"}));
    assert_eq!(code(&peer.ask(&format!("{longest} "))), "line_too_long");
    peer.assert_ended();
}

#[test]
fn a_batch_has_ten_thousand_rows_at_most() {
    let registry = Registry::shared();
    let server = Server::start(&registry, &[]);
    let dear = dear(&registry);
    let items = vec![format!("{{{dear}}}"); 12].join(",");
    let reply = server.peer().ask(&format!(r#"{{"op":"batch","items":[{items},{{"id":"last","nome":"NINGUEM"}}]}}"#));
    let codes: Vec<_> = reply["results"].as_array().unwrap().iter().map(code).collect();
    assert_eq!(codes[..10], [""; 10]);
    assert_eq!(codes[10..], ["too_many_rows"; 3]);
    assert_eq!(reply["results"][12]["id"], "last");
}

#[test]
fn a_full_queue_is_told_and_nothing_is_lost() {
    const CONNECTIONS: usize = 400;
    const EACH: usize = 8;
    let registry = Registry::shared();
    let server = Server::start(&registry, &["--workers", "1"]);
    let letter = registry.dear_letter();
    // Long questions within a moment, of more connections than have room for their share in the queue.
    let questions: String =
        (0..EACH).map(|id| format!("{{\"id\":{id},\"nome\":\"{letter}\",\"limit\":200}}\n")).collect();
    raise_descriptors();
    let mut peers: Vec<_> = (0..CONNECTIONS).map(|_| server.peer()).collect();
    peers.iter_mut().for_each(|peer| peer.send(&questions));
    let mut other = server.peer();
    assert_eq!(other.ask(r#"{"op":"ping"}"#), json!({"status": "ok"}));
    let mut overloaded = 0;
    for peer in &mut peers {
        let mut ids = BTreeSet::new();
        for _ in 0..EACH {
            let reply = peer.line();
            assert!(ids.insert(reply["id"].as_u64().unwrap()));
            if code(&reply) == "overloaded" {
                assert!(reply["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0), "{reply}");
                overloaded += 1;
            } else {
                assert_eq!(reply["rows"].as_array().map(Vec::len), Some(200));
            }
        }
        // The connection is as good as before.
        assert_eq!(peer.ask(r#"{"op":"ping"}"#), json!({"status": "ok"}));
    }
    // Whatever fits the queue is answered, however late its threads get a core.
    assert!(overloaded > 0 && overloaded <= CONNECTIONS * EACH - 1024, "{overloaded}");
}

#[test]
fn a_row_that_changed_is_unavailable() {
    let registry = Registry::of(&format!("{SMALL}{PADDING}"));
    let server = Server::start(&registry, &[]);
    let mut peer = server.peer();
    let question = r#"{"id":1,"cpf":"12345678909"}"#;
    assert_eq!(peer.ask(question)["total"], 1);
    registry.write("UPDATE cpf SET cpf = '52998224725' WHERE rowid = 1");
    let reply = peer.ask(question);
    assert_eq!((code(&reply), reply.get("rows")), ("unavailable", None));
    let message = reply["message"].as_str().unwrap();
    assert!(message.contains("indexer verify") && !message.contains("basecpf"), "{message}");
    assert_eq!(peer.ask(r#"{"cpf":"191"}"#)["rows"][0]["nome"], "MARIANA LIMA");
}
