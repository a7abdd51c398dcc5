//! The end: what is in hand is answered, nothing new is taken, and it does not take long.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::peer::Peer;
use crate::process::{PATIENCE, Server};
use crate::registry::{Registry, dear};

/// The contract says five seconds; the rest is for a machine that does something else.
const END_WITHIN: Duration = Duration::from_secs(8);

/// Connects until that is refused.
fn wait_until_refused(address: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect(address) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return,
            _ => assert!(Instant::now() < deadline, "new connections were never refused"),
        }
    }
}

/// Sends questions and a ping behind them; when the ping is answered, all of them are in the server's hands.
fn put_in_hand(peer: &mut Peer, questions: &str) {
    peer.send(format!("{questions}{{\"id\":\"ping\",\"op\":\"ping\"}}\n"));
    assert_eq!(peer.line(), json!({"id": "ping", "status": "ok"}));
}

#[track_caller]
fn check(signal: Signal, workers: &str) {
    let registry = Registry::shared();
    let mut server = Server::start(&registry, &["--workers", workers]);
    let dear = dear(&registry);
    let [mut many, mut few, mut idle, mut half] = std::array::from_fn(|_| server.peer());
    let batch = format!(r#"{{"op":"batch","items":[{}]}}"#, vec![format!("{{{dear}}}"); 10].join(","));
    put_in_hand(&mut many, &format!("{batch}\n").repeat(12));
    put_in_hand(&mut few, &format!("{{\"id\":7,{dear}}}\n"));
    half.send(r#"{"op":"#);

    let began = Instant::now();
    server.process.signal(signal);
    // Megabytes of replies wait to be read here, so that the server has to be there still while it takes nobody else.
    wait_until_refused(&server.address);
    assert!(server.process.is_running());
    let replies = many.lines();
    assert_eq!(replies.len(), 12);
    for reply in replies {
        let rows = reply["results"].as_array().unwrap().iter().map(|result| result["rows"].as_array().unwrap().len());
        assert_eq!(rows.sum::<usize>(), 10_000);
    }
    assert_eq!(few.lines().len(), 1);
    idle.assert_ended();
    half.assert_ended();
    let ended = server.process.ended();
    assert!(began.elapsed() < END_WITHIN, "{:?}", began.elapsed());
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    // One line it was, the one with the address.
    assert_eq!(ended.out, format!("ready {}\n", server.address));
}

#[test]
fn sigterm() {
    check(Signal::TERM, "2");
}

#[test]
fn ctrl_c_with_one_worker() {
    check(Signal::INT, "1");
}

#[test]
fn a_client_that_never_reads_does_not_keep_the_server() {
    let registry = Registry::shared();
    let server = Server::start(&registry, &[]);
    let dear = dear(&registry);
    let mut unread = server.peer();
    let batch = format!(r#"{{"op":"batch","items":[{}]}}"#, vec![format!("{{{dear}}}"); 10].join(","));
    put_in_hand(&mut unread, &format!("{batch}\n").repeat(40));
    let (ended, took) = server.stop(Signal::TERM);
    assert!(took < END_WITHIN, "{took:?}");
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    drop(unread);
}

#[test]
fn nobody_there() {
    let registry = Registry::shared();
    let server = Server::start(&registry, &[]);
    drop(server.peer());
    let (ended, took) = server.stop(Signal::TERM);
    assert!(took < END_WITHIN, "{took:?}");
    assert_eq!((ended.code, ended.out.lines().count()), (Some(0), 1));
}
