//! What a connection sends while there is no room for it waits in its socket; it must be read when there is room, though no new word of the
//! socket comes then.

use crate::process::Server;
use crate::registry::{Registry, dear};

/// A batch of a thousand short pages, without an id: about a megabyte of reply.
fn batch(registry: &Registry) -> String {
    let item = format!(r#"{{"nome":"{}","limit":10}}"#, registry.dear_letter());
    format!("{{\"op\":\"batch\",\"items\":[{}]}}\n", vec![item; 1000].join(","))
}

const PING: &str = "{\"op\":\"ping\"}\n";

#[test]
fn what_came_while_replies_waited_is_answered() {
    let registry = Registry::shared();
    let server = Server::start(&registry, &["--workers", "1"]);
    let (mut busy, mut other) = (server.peer(), server.peer());
    busy.send(batch(&registry).repeat(10));
    // One query thread takes one question after the other: when this one is answered, the batches are.
    assert_eq!(other.ask(&format!("{{{}}}", dear(&registry)))["status"], "ok");
    busy.send(PING.repeat(3));
    for _ in 0..20 {
        assert_eq!(other.ask(PING.trim())["status"], "ok");
    }
    for _ in 0..10 {
        assert_eq!(busy.line()["results"].as_array().map(Vec::len), Some(1000));
    }
    for _ in 0..3 {
        assert_eq!(busy.line()["status"], "ok");
    }
    assert_eq!(busy.ask(PING.trim())["status"], "ok");
}

#[test]
fn an_end_that_came_while_there_was_no_room_is_seen() {
    let registry = Registry::shared();
    let server = Server::start(&registry, &[]);
    for pings in [10, 63, 64, 500, 1000, 1060, 1120, 5000] {
        let mut peer = server.peer();
        peer.send(batch(&registry) + &PING.repeat(pings));
        peer.end_questions();
        assert_eq!(peer.lines().len(), 1 + pings);
    }
}
