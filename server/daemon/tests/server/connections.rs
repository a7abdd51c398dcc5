//! How many connections there are at once: the limit, and a thousand of them.

use std::time::Instant;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use crate::peer::{Peer, code};
use crate::process::{PATIENCE, Server};
use crate::registry::{Registry, SMALL, dear};

#[test]
fn one_connection_too_many_is_told_so() {
    let registry = Registry::of(SMALL);
    let server = Server::start(&registry, &["--connections", "5"]);
    let mut peers: Vec<Peer> = (0..5).map(|_| server.peer()).collect();
    let pong = json!({"status": "ok"});
    for peer in &mut peers {
        assert_eq!(peer.ask(r#"{"op":"ping"}"#), pong);
    }
    for _ in 0..3 {
        let mut sixth = server.peer();
        let reply = sixth.line();
        assert_eq!(code(&reply), "overloaded");
        assert!(reply["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0), "{reply}");
        sixth.assert_ended();
    }
    for peer in &mut peers {
        assert_eq!(peer.ask(r#"{"op":"ping"}"#), pong);
    }
    // The place of one that left is free a moment later.
    drop(peers.pop());
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut next = server.peer();
        // The server tells one too many before it asks anything: whatever is said, there is a line.
        next.send("{\"op\":\"ping\"}\n");
        if next.line() == pong {
            break;
        }
        assert!(Instant::now() < deadline, "the place never became free");
    }
    for peer in &mut peers {
        assert_eq!(peer.ask(r#"{"op":"ping"}"#), pong);
    }
}

#[test]
fn those_that_are_turned_away_take_nobody_s_place() {
    let registry = Registry::of(SMALL);
    let server = Server::start(&registry, &["--connections", "5"]);
    let mut peers: Vec<Peer> = (0..5).map(|_| server.peer()).collect();
    for peer in &mut peers {
        assert_eq!(peer.ask(r#"{"op":"ping"}"#)["status"], "ok");
    }
    // More than there are places keep on knocking, and none of them hangs up when it is told to.
    let mut turned_away: Vec<Peer> = (0..20).map(|_| server.peer()).collect();
    for peer in &mut turned_away {
        assert_eq!(code(&peer.line()), "overloaded");
    }
    drop(peers);
    // Each is waited for a second at most: were they counted, whoever comes now would be turned away and counted in turn.
    let began = Instant::now();
    loop {
        let mut next = server.peer();
        next.send("{\"op\":\"ping\"}\n");
        if next.line()["status"] == "ok" {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "all places are free, and none was to be had");
        turned_away.push(next);
        if turned_away.len() > 100 {
            turned_away.remove(0);
        }
    }
}

/// Makes room for the tests' own ends of many connections; the server raises its own limit.
pub(crate) fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Some(8192.min(limit.maximum.unwrap_or(8192)));
    if limit.current < wanted {
        setrlimit(Resource::Nofile, Rlimit { current: wanted, maximum: limit.maximum }).unwrap();
    }
}

#[test]
fn a_thousand_at_once() {
    raise_descriptors();
    let registry = Registry::shared();
    let people = registry.rows("");
    let dear = dear(&registry);
    for workers in ["1", "2"] {
        let server = Server::start(&registry, &["--workers", workers]);
        let mut peers: Vec<Peer> = (0..1000).map(|_| server.peer()).collect();
        for round in 0..3 {
            let person = |number: usize| &people[(number * 7 + round) % people.len()];
            for (number, peer) in peers.iter_mut().enumerate() {
                peer.send(format!("{{\"id\":{number},\"cpf\":{}}}\n", person(number)["cpf"]));
                // Some ask what takes longer, right behind it.
                if number % 50 == 0 {
                    peer.send(format!("{{\"id\":\"dear\",{dear}}}\n"));
                }
            }
            for (number, peer) in peers.iter_mut().enumerate() {
                let expected =
                    json!({"id": number, "status": "ok", "rows": [person(number)], "total": 1, "next": null});
                assert_eq!(peer.line(), expected);
                if number % 50 == 0 {
                    assert_eq!(peer.line()["rows"].as_array().map(Vec::len), Some(1000));
                }
            }
        }
    }
}
