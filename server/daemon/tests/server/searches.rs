//! Searches have a lane of their own: nobody waits for them but searches, they end when their time is over or nobody wants them any more, and however many
//! are asked they take little memory.

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::SockRef;

use crate::peer::{Peer, code};
use crate::process::{PATIENCE, Server};
use crate::registry::Registry;

const STATS: &str = r#"{"op":"stats"}"#;

/// As many words as a question may have, each of so many letters, like none of the registry and near to many: about as dear as one question can be.
fn dear_words(letters: usize) -> String {
    let word = |number: usize| {
        let letter = |at: usize| char::from(b"AEIOURSLMN"[(at * 7 + number * 3 + at * number) % 10]);
        (0..letters).map(letter).collect::<String>()
    };
    (0..16).map(word).collect::<Vec<_>>().join(" ")
}

/// A search as a line, with further members.
fn search(members: &str) -> String {
    format!("{{{members}\"nome\":\"{}\",\"match\":\"fuzzy\",\"last\":\"whole\"}}\n", dear_words(8))
}

/// A line of as many dear searches as it holds.
fn dear_batch(members: &str) -> String {
    batch_of(members, search("").trim())
}

/// A line of as many of these items as it holds.
fn batch_of(members: &str, item: &str) -> String {
    let mut items = String::new();
    while items.len() + item.len() < 65_000 {
        let _ = write!(items, "{item},");
    }
    format!("{{{members}\"op\":\"batch\",\"items\":[{}]}}\n", items.trim_end_matches(','))
}

/// What a lane's figure is now.
fn lane(peer: &mut Peer, lane: &str, figure: &str) -> u64 {
    peer.ask(STATS)["queue"]["lanes"][lane][figure].as_u64().unwrap()
}

/// Asks until it is so.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn cheap_questions_overtake_searches_of_their_own_connection() {
    let registry = Registry::shared();
    let server = Server::start(&registry, &["--workers", "1"]);
    let person = registry.rows("")[0].clone();
    let mut peer = server.peer();
    let mut lines = String::new();
    for id in 0..20 {
        lines += &search(&format!("\"id\":\"search {id}\",\"deadline_ms\":60000,"));
        let _ = writeln!(lines, "{{\"id\":{id},\"cpf\":{}}}", person["cpf"]);
    }
    peer.send(lines);
    let replies: Vec<Value> = (0..40).map(|_| peer.line()).collect();
    for reply in &replies {
        assert_eq!(reply["status"], "ok", "{reply}");
        assert!(reply["id"].is_string() || reply["rows"][0] == person, "{reply}");
    }
    let last = |is: fn(&Value) -> bool| replies.iter().rposition(|reply| is(&reply["id"])).unwrap();
    assert!(last(Value::is_number) < last(Value::is_string), "the searches came first");
    // Without `id` the order stands, whatever it costs.
    peer.send(format!("{}{{\"cpf\":{}}}\n", search("\"deadline_ms\":60000,"), person["cpf"]));
    assert_eq!([peer.line(), peer.line()].map(|reply| reply["rows"] == json!([person])), [false, true]);
}

#[test]
fn nobody_waits_for_those_who_search_without_end() {
    let registry = Registry::shared();
    let server = Server::start(&registry, &[]);
    let (person, letter, done) = (registry.rows("")[0].clone(), registry.dear_letter(), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut peer = server.peer();
                let line = search("\"id\":1,\"deadline_ms\":60000,");
                peer.send(line.repeat(8));
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(peer.line()["status"], "ok");
                    peer.send(&line);
                }
            });
        }
        let mut peer = server.peer();
        wait_until("searches that wait", || lane(&mut peer, "search", "depth") >= 16);
        let before = lane(&mut peer, "search", "answered");
        for _ in 0..100 {
            assert_eq!(peer.ask(&format!("{{\"cpf\":{}}}", person["cpf"]))["rows"], json!([person]));
            assert_eq!(peer.ask(&format!("{{\"nome\":\"{letter}\"}}"))["rows"].as_array().map(Vec::len), Some(50));
        }
        let searched = lane(&mut peer, "search", "answered") - before;
        // Each of the two hundred would have had at least sixteen searches before it, had it waited for its turn among them.
        assert!(searched < 200 * 16 / 4, "{searched} searches were answered before 200 cheap questions");
        // Long pages have their own lane too.
        let page = peer.ask(&format!("{{\"nome\":\"{letter}\",\"limit\":1000}}"));
        assert_eq!(page["rows"].as_array().map(Vec::len), Some(1000));
        let stats = peer.ask(STATS);
        done.store(true, Ordering::Relaxed);
        assert_eq!((&stats["answers"]["overloaded"], &stats["answers"]["deadline_exceeded"]), (&json!(0), &json!(0)));
        // Of each connection two are in the queue or being answered.
        assert!(stats["queue"]["lanes"]["search"]["depth"].as_u64().unwrap() <= 32, "{stats}");
    });
}

#[test]
fn nobody_waits_for_batches_of_searches() {
    let registry = Registry::shared();
    let server = Server::start(&registry, &["--workers", "1"]);
    let person = registry.rows("")[0].clone();
    let mut hostile: Vec<Peer> = (0..12).map(|_| server.peer()).collect();
    for peer in &mut hostile {
        peer.send(dear_batch("\"id\":1,\"deadline_ms\":60000,").repeat(2));
    }
    let mut peer = server.peer();
    wait_until("batches that wait", || lane(&mut peer, "search", "depth") >= 6);
    // A single search, and a batch without any: both are answered before what came before them.
    assert_eq!(peer.ask(search("\"deadline_ms\":60000,").trim())["status"], "ok");
    assert!(lane(&mut peer, "search", "depth") >= 1, "the search waited for all batches");
    // Not more items than a batch may have.
    let item = format!("{{\"cpf\":{}{}}}", person["cpf"], " ".repeat(60));
    let plain = batch_of("\"deadline_ms\":60000,", &item);
    let reply = peer.ask(plain.trim());
    assert_eq!(reply["results"][0]["rows"], json!([person]), "{}", code(&reply));
    assert!(lane(&mut peer, "search", "depth") >= 1, "the batch waited for batches of searches");
}

#[test]
fn a_search_that_waits_is_told_when_its_time_is_over() {
    let registry = Registry::shared();
    let server = Server::start(&registry, &["--workers", "1"]);
    let mut peer = server.peer();
    // Two for the one thread, of which one waits; and others behind them, in the queue of another connection and put aside in that of this one.
    peer.send(dear_batch("\"id\":\"dear\",\"deadline_ms\":60000,").repeat(2));
    let mut other = server.peer();
    wait_until("a search that waits", || lane(&mut other, "search", "depth") >= 1);
    let hurried = dear_batch("\"id\":\"hurried\",\"deadline_ms\":1,");
    peer.send(hurried.repeat(3));
    assert_eq!(code(&other.ask(hurried.trim())), "deadline_exceeded");
    // On a machine of many cores the dear ones may be done by then.
    let mut came = Vec::new();
    for _ in 0..5 {
        let reply = peer.line();
        came.push(format!("{}{}", reply["id"].as_str().unwrap(), code(&reply)));
    }
    came.sort_unstable();
    let late = "hurrieddeadline_exceeded";
    assert_eq!(came, ["dear", "dear", late, late, late]);
    assert_eq!(other.ask(STATS)["deadlines"]["request"], 4);
    assert_eq!(peer.ask(r#"{"id":"ping","op":"ping"}"#), json!({"id": "ping", "status": "ok"}));
}

#[test]
fn a_search_ends_when_its_time_is_over() {
    let registry = Registry::shared();
    let server = Server::start(&registry, &["--workers", "1"]);
    let mut peer = server.peer();
    // What it did not come to is said of each item.
    let reply = peer.ask(dear_batch("\"deadline_ms\":5,").trim());
    let late = |reply: &Value| code(reply) == "deadline_exceeded";
    let is_late = late(&reply) || reply["results"].as_array().is_some_and(|items| items.iter().any(late));
    assert!(is_late, "{reply}");
    assert_eq!(peer.ask(r#"{"op":"ping"}"#), json!({"status": "ok"}));
}

#[test]
fn those_that_vanish_take_their_searches_along() {
    let registry = Registry::shared();
    let server = Server::start(&registry, &["--workers", "1"]);
    let mut witness = server.peer();
    const ASKED: u64 = 40;
    let gone = server.peer();
    let mut writing = gone.stream.try_clone().unwrap();
    let lines = dear_batch("\"id\":1,\"deadline_ms\":60000,");
    // More than the server reads at once: the rest waits in the sockets.
    let writer = thread::spawn(move || {
        for _ in 0..ASKED {
            if writing.write_all(lines.as_bytes()).is_err() {
                return;
            }
        }
    });
    wait_until("a search that waits", || lane(&mut witness, "search", "depth") >= 1);
    SockRef::from(&gone.stream).set_linger(Some(Duration::ZERO)).unwrap();
    gone.stream.shutdown(std::net::Shutdown::Both).unwrap();
    writer.join().unwrap();
    drop(gone);
    assert_eq!(witness.ask(search("\"deadline_ms\":60000,").trim())["status"], "ok");
    // It does not wait for their batches: these leave with the sweep.
    wait_until("their leave", || {
        lane(&mut witness, "search", "depth") == 0 && witness.ask(STATS)["connections"]["open"] == 1
    });
    let stats = witness.ask(STATS);
    let answered = stats["queue"]["lanes"]["search"]["answered"].as_u64().unwrap();
    assert!(answered < ASKED / 4, "{answered} searches were answered, for nobody but one");
    assert_eq!((&stats["queue"]["lanes"]["search"]["depth"], &stats["connections"]["open"]), (&json!(0), &json!(1)));
    wait_until("their memory", || witness.ask(STATS)["memory"]["held_bytes"] == 0);
}

/// Connections that ask without reading.
const HOSTILE: u64 = 40;

#[test]
fn the_dearest_questions_from_many_at_once() {
    let registry = Registry::shared();
    let server = Server::start(&registry, &[]);
    let person = registry.rows("")[0].clone();
    let mut witness = server.peer();
    let private_mib = |witness: &mut Peer| witness.ask(STATS)["memory"]["private_bytes"].as_u64().unwrap() >> 20;
    let (before, mut most) = (private_mib(&mut witness), 0);
    let line = format!("{{\"id\":1,\"nome\":\"{}\",\"match\":\"fuzzy\",\"limit\":1000}}\n", dear_words(60));
    let batch = batch_of("\"id\":2,", line.trim());
    let lines = format!("{line}{line}{line}{batch}").repeat(30);
    let hostile: Vec<Peer> = (0..HOSTILE).map(|_| server.peer()).collect();
    let mut sent = vec![0; hostile.len()];
    for _ in 0..20 {
        for (peer, sent) in hostile.iter().zip(&mut sent) {
            // What the socket takes. None of them reads a reply.
            peer.stream.set_nonblocking(true).unwrap();
            match (&peer.stream).write(&lines.as_bytes()[*sent..]) {
                Ok(count) => *sent += count,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        let reply = witness.ask(&format!("{{\"cpf\":{}}}", person["cpf"]));
        assert_eq!(reply["rows"], json!([person]));
        most = most.max(private_mib(&mut witness));
    }
    // Lines of a mebibyte for each, and a search for each thread, of which a batch of the dearest once took nine hundred.
    assert!(most < before + HOSTILE + 100, "{most} MiB, {before} before");
    drop(hostile);
    wait_until("their end", || witness.ask(STATS)["connections"]["open"] == 1);
    assert_eq!(witness.ask(search("\"deadline_ms\":60000,").trim())["status"], "ok");
}
