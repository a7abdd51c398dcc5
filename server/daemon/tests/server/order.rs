//! Which reply comes when: ids, the order of replies without one, and more questions than are taken at once.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::json;

use crate::process::Server;
use crate::registry::{Registry, dear};

#[test]
fn replies_without_id_come_in_order() {
    let registry = Registry::shared();
    let server = Server::start(&registry, &[]);
    let (dear, cpf) = (dear(&registry), registry.rows("")[0]["cpf"].clone());
    let mut peer = server.peer();
    let mut questions = String::new();
    for _ in 0..5 {
        write!(questions, "{{{dear}}}\n{{\"op\":\"ping\"}}\n{{\"cpf\":{cpf}}}\nnonsense\n").unwrap();
    }
    peer.send(&questions);
    for _ in 0..5 {
        assert_eq!(peer.line()["rows"].as_array().map(Vec::len), Some(1000));
        assert_eq!(peer.line(), json!({"status": "ok"}));
        assert_eq!(peer.line()["rows"][0]["cpf"], cpf);
        assert_eq!(peer.line()["code"], "bad_json");
    }
}

#[test]
fn what_is_cheap_and_has_an_id_overtakes() {
    let registry = Registry::shared();
    let server = Server::start(&registry, &["--workers", "1"]);
    let (dear, cpf) = (dear(&registry), registry.rows("")[0]["cpf"].clone());
    let mut peer = server.peer();
    // In one packet: the server reads all of it before any dear reply can come back.
    let mut questions: String = (0..20).map(|id| format!("{{\"id\":{id},{dear}}}\n")).collect();
    questions.push_str(&format!("{{\"id\":\"cheap\",\"cpf\":{cpf}}}\n{{\"id\":\"ping\",\"op\":\"ping\"}}\n"));
    peer.send(&questions);
    assert_eq!(peer.line()["id"], "cheap");
    assert_eq!(peer.line()["id"], "ping");
    let ids: BTreeSet<u64> = (0..20).map(|_| peer.line()["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, (0..20).collect());
}

#[test]
fn other_connections_are_not_held_up() {
    let registry = Registry::shared();
    let server = Server::start(&registry, &["--workers", "1"]);
    let dear = dear(&registry);
    let (mut busy, mut other) = (server.peer(), server.peer());
    let batch = format!(r#"{{"op":"batch","items":[{}]}}"#, vec![format!("{{{dear}}}"); 10].join(","));
    busy.send(format!("{batch}\n").repeat(20));
    let done = AtomicBool::new(false);
    let pongs = thread::scope(|scope| {
        let pinging = scope.spawn(|| {
            let mut pongs = 0;
            while !done.load(Ordering::Relaxed) {
                assert_eq!(other.ask(r#"{"op":"ping"}"#), json!({"status": "ok"}));
                pongs += 1;
            }
            pongs
        });
        for _ in 0..20 {
            assert_eq!(busy.line()["results"].as_array().map(Vec::len), Some(10));
        }
        done.store(true, Ordering::Relaxed);
        pinging.join().unwrap()
    });
    // Behind the batches in one queue there would have been one pong or two.
    assert!(pongs > 20, "{pongs}");
}

#[test]
fn more_questions_than_are_taken_at_once() {
    let registry = Registry::shared();
    let server = Server::start(&registry, &[]);
    let dear = dear(&registry);
    let mut peer = server.peer();
    peer.send((0..200).map(|id| format!("{{\"id\":{id},{dear}}}\n")).collect::<String>());
    let mut ids = BTreeSet::new();
    for _ in 0..200 {
        let reply = peer.line();
        assert_eq!(reply["rows"].as_array().map(Vec::len), Some(1000), "{}", reply["code"]);
        assert!(ids.insert(reply["id"].as_u64().unwrap()));
    }
    // Without ids, and cheap ones between them, with the end of questions behind them.
    peer.send(format!("{{{dear}}}\n{{\"op\":\"ping\"}}\n").repeat(100));
    peer.end_questions();
    let replies = peer.lines();
    assert_eq!(replies.len(), 200);
    for (at, reply) in replies.iter().enumerate() {
        assert_eq!(reply.get("rows").is_some(), at % 2 == 0, "reply {at}");
    }
}

#[test]
fn half_a_connection_gets_all_its_answers() {
    let registry = Registry::shared();
    for workers in ["1", "2"] {
        let server = Server::start(&registry, &["--workers", workers]);
        let dear = dear(&registry);
        let mut peer = server.peer();
        let batch = format!(r#"{{"id":"batch","op":"batch","items":[{{{dear}}},{{{dear}}}]}}"#);
        peer.send(format!(
            "{{\"id\":1,{dear}}}\n{batch}\n{{\"id\":3,\"op\":\"ping\"}}\n{{\"id\":4,{dear}}}\n{{\"half\":"
        ));
        peer.end_questions();
        let mut replies = peer.lines();
        replies.sort_by_key(|reply| reply["id"].to_string());
        let sizes: Vec<_> = replies.iter().map(|reply| reply["rows"].as_array().map_or(0, Vec::len)).collect();
        // The line that was left half is no question.
        assert_eq!(sizes, [0, 1000, 0, 1000], "batch, 1, 3, 4");
        assert_eq!(replies[0]["results"][1]["rows"].as_array().map(Vec::len), Some(1000));
    }
}
