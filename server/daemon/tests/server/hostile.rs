//! Clients that mean no good, or are not clients at all: whatever they do, the server stays, answers the others, and keeps nothing of them.

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use socket2::SockRef;

use crate::peer::{Peer, code};
use crate::process::{PATIENCE, Server};
use crate::registry::{PADDING, Registry, dear};

const PING: &str = r#"{"op":"ping"}"#;

/// Descriptors of the server that are sockets: its listener, its connections, what its signals come through.
fn sockets(server: &Server) -> usize {
    let pid = server.process.pid().as_raw_pid();
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let shown = descriptors.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    shown.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

/// Private memory of the server, in bytes.
fn private_bytes(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.process.pid().as_raw_pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

/// Waits until the server has no more sockets than `before`.
#[track_caller]
fn wait_for_sockets(server: &Server, before: usize) {
    let deadline = Instant::now() + PATIENCE;
    while sockets(server) > before {
        assert!(Instant::now() < deadline, "{} sockets, {before} before", sockets(server));
        thread::sleep(Duration::from_millis(20));
    }
}

/// Leaves without a word: the server's next read or write finds the connection reset.
fn vanish(stream: &TcpStream) {
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}

#[test]
fn those_that_vanish_leave_nothing_behind() {
    let registry = Registry::shared();
    let server = Server::start(&registry, &[]);
    let dear = dear(&registry);
    let mut witness = server.peer();
    assert_eq!(witness.ask(PING), json!({"status": "ok"}));
    let before = sockets(&server);
    for number in 0..300 {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        match number % 3 {
            // In the middle of a request.
            0 => stream.write_all(br#"{"cpf":"123"#).unwrap(),
            // With requests in the queue.
            1 => stream.write_all(format!("{{{dear}}}\n").repeat(5).as_bytes()).unwrap(),
            // In the middle of a reply.
            _ => {
                stream.write_all(format!("{{{dear}}}\n").repeat(5).as_bytes()).unwrap();
                stream.read_exact(&mut [0; 1024]).unwrap();
            }
        }
        vanish(&stream);
        drop(stream);
        if number % 20 == 0 {
            assert_eq!(witness.ask(PING), json!({"status": "ok"}));
        }
    }
    wait_for_sockets(&server, before);
    assert_eq!(witness.ask(&format!("{{{dear}}}"))["rows"].as_array().map(Vec::len), Some(1000));
}

#[test]
fn thousands_opened_and_dropped() {
    let registry = Registry::shared();
    let server = Server::start(&registry, &[]);
    let mut witness = server.peer();
    assert_eq!(witness.ask(PING), json!({"status": "ok"}));
    let before = sockets(&server);
    for number in 0..5000 {
        let stream = TcpStream::connect(&server.address).unwrap();
        match number % 3 {
            0 => vanish(&stream),
            1 => stream.shutdown(Shutdown::Write).unwrap(),
            _ => {}
        }
        if number % 500 == 0 {
            assert_eq!(witness.ask(PING), json!({"status": "ok"}));
        }
    }
    wait_for_sockets(&server, before);
    assert_eq!(server.peer().ask(PING), json!({"status": "ok"}));
}

#[test]
fn those_that_speak_another_protocol() {
    let registry = Registry::shared();
    let server = Server::start(&registry, &[]);
    let before = sockets(&server);
    // A browser: each of its lines is no JSON, and the connection is still good for one that is.
    let mut browser = server.peer();
    browser.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for _ in 0..3 {
        assert_eq!(code(&browser.line()), "bad_json");
    }
    assert_eq!(browser.ask(PING), json!({"status": "ok"}));
    // TLS: the beginning of a ClientHello, which has no line's end; then the client gives up.
    let mut hello = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    hello.extend((0..506_u32).map(|at| (at * 7 + 11) as u8 | 0x80));
    let mut tls = server.peer();
    tls.send(&hello);
    tls.end_questions();
    tls.assert_ended();
    // The same with a line's end in it.
    hello.push(b'\n');
    let mut tls = server.peer();
    tls.send(&hello);
    assert_eq!(code(&tls.line()), "bad_json");
    assert_eq!(tls.ask(PING), json!({"status": "ok"}));
    drop((browser, tls));
    wait_for_sockets(&server, before);
}

#[test]
fn descriptors_run_out_and_come_back() {
    let registry = Registry::shared();
    let server = Server::start(&registry, &["--workers", "1"]);
    let dear = dear(&registry);
    let mut inside = server.peer();
    assert_eq!(inside.ask(&format!("{{{dear}}}"))["status"], "ok");
    let before = prlimit(Some(server.process.pid()), Resource::Nofile, limit_of(8)).unwrap();
    // Whoever comes first is let in: the listener waits with a descriptor in its hand.
    assert_eq!(server.peer().ask(PING), json!({"status": "ok"}));
    let mut knocking: Vec<Peer> = (0..5).map(|_| server.peer()).collect();
    for peer in &mut knocking {
        peer.send(format!("{PING}\n"));
    }
    server.process.wait_for_log("cannot be accepted");
    // Those that are in go on, with cheap and with dear questions, for longer than the server takes to look at its files again.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        assert_eq!(inside.ask(PING), json!({"status": "ok"}));
        let page = inside.ask(&format!("{{{dear}}}"));
        assert_eq!(page["rows"].as_array().map(Vec::len), Some(1000), "{}", page["message"]);
    }
    // Nobody who knocked has been answered or thrown out.
    for peer in &knocking {
        peer.stream.set_nonblocking(true).unwrap();
        assert_eq!(peer.stream.peek(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        peer.stream.set_nonblocking(false).unwrap();
    }
    prlimit(Some(server.process.pid()), Resource::Nofile, before).unwrap();
    for peer in &mut knocking {
        assert_eq!(peer.line(), json!({"status": "ok"}));
    }
    assert_eq!(server.peer().ask(PING), json!({"status": "ok"}));
}

/// No descriptor that is free in a running server is below `descriptors`; the hard limit stays, so that the soft one can be raised again.
fn limit_of(descriptors: u64) -> Rlimit {
    Rlimit { current: Some(descriptors), maximum: rustix::process::getrlimit(Resource::Nofile).maximum }
}

#[test]
fn one_that_never_reads_beside_one_that_does() {
    let registry = Registry::shared();
    let server = Server::start(&registry, &["--workers", "1"]);
    let (dear, person) = (dear(&registry), registry.rows("")[0].clone());
    let mut other = server.peer();
    assert_eq!(other.ask(&format!("{{{dear}}}"))["status"], "ok");
    let before = private_bytes(&server);
    let unread = server.peer();
    unread.stream.set_nonblocking(true).unwrap();
    let questions: String = (0..10_000).map(|id| format!("{{\"id\":{id},{dear}}}\n")).collect();
    let (mut sent, mut most) = (0, before);
    for _ in 0..300 {
        // What the socket takes, and a question of the other one in between.
        match (&unread.stream).write(&questions.as_bytes()[sent..]) {
            Ok(count) => sent += count,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        let reply = other.ask(&format!("{{\"cpf\":{}}}", person["cpf"]));
        assert_eq!((&reply["rows"][0], &reply["total"]), (&person, &json!(1)));
        assert_eq!(other.ask(PING), json!({"status": "ok"}));
        most = most.max(private_bytes(&server));
    }
    // All of its questions may lie in the sockets' buffers; few of them are answered as long as nobody reads that.
    let answered = other.ask(r#"{"op":"stats"}"#)["answers"]["ok"].as_u64().unwrap();
    assert!(answered < 5000, "{answered} answers, most of them for nobody");
    // Sixty-four replies of about a hundred kilobytes are in flight at most, and what the socket does not take lies twice for a moment.
    assert!(most < before + (32 << 20), "{} MiB for one client", (most - before) >> 20);
    assert_eq!(other.ask(&format!("{{{dear}}}"))["rows"].as_array().map(Vec::len), Some(1000));
}

#[test]
fn lines_too_long_hurt_nobody_else() {
    let registry = Registry::shared();
    let server = Server::start(&registry, &["--workers", "2"]);
    let person = registry.rows("")[0].clone();
    let (question, done) = (format!("{{\"cpf\":{}}}", person["cpf"]), AtomicBool::new(false));
    thread::scope(|scope| {
        let busy: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut peer = server.peer();
                    while !done.load(Ordering::Relaxed) {
                        assert_eq!(peer.ask(&question)["rows"][0], person);
                    }
                })
            })
            .collect();
        let mut line = vec![b'x'; 65_537];
        line.push(b'\n');
        for _ in 0..500 {
            let mut stream = TcpStream::connect(&server.address).unwrap();
            // The server may close before all of it is written, and takes its reply back with that.
            let _ = stream.write_all(&line).and_then(|()| stream.read(&mut [0]));
        }
        done.store(true, Ordering::Relaxed);
        for busy in busy {
            busy.join().unwrap();
        }
    });
    let stats = server.peer().ask(r#"{"op":"stats"}"#);
    assert_eq!((&stats["panics"], stats["answers"]["line_too_long"].as_u64()), (&json!(0), Some(500)), "{stats}");
}

/// Enough people of one letter that a thousand pages of them are more rows than a batch may have.
const MANY: &str = "CREATE TABLE cpf(cpf TEXT, nome TEXT, sexo TEXT, nasc TEXT);
    INSERT INTO cpf VALUES ('12345678909', 'MARIA DA SILVA', 'F', '19800101');
    WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 30)
    INSERT INTO cpf SELECT NULL, 'ANA ' || char(64 + n % 26), 'F', '20000101' FROM number;";

/// Codes that no client can bring about: there are no keys yet, and `internal` is a defect.
const NOT_OF_A_CLIENT: [&str; 2] = ["unauthorized", "internal"];

/// The codes of `docs/protocol.md`, out of its table.
fn codes_of_the_protocol() -> BTreeSet<String> {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/protocol.md")).unwrap();
    let table = text.split_once("\n## Codes\n").unwrap().1.split("\n## ").next().unwrap().to_owned();
    table.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned())).collect()
}

#[test]
fn every_code_of_the_protocol_comes_over_the_wire() {
    let registry = Registry::of(&format!("{MANY}{PADDING}"));
    let cursor = Server::start(&registry, &[]).peer().ask(r#"{"nome":"ANA","limit":1}"#)["next"].clone();
    registry.build();
    let forbidding = Server::start(&registry, &["--verifies-per-minute", "0"]);
    let server = Server::start(&registry, &["--connections", "2", "--verifies-per-minute", "1"]);
    let mut peer = server.peer();
    // It has the second place, and time: half a line waits for its deadline behind the answer.
    let mut half = server.peer();
    assert_eq!(half.ask(PING), json!({"status": "ok"}));
    half.send("{\"op\":");
    let batch = format!(r#"{{"op":"batch","items":[{}]}}"#, vec![r#"{"nome":"ANA"}"#; 1000].join(","));
    let stale = format!(r#"{{"nome":"ANA","cursor":{cursor}}}"#);
    let mut came = BTreeSet::new();
    let mut check = |reply: &Value, expected: &str| {
        assert_eq!((reply["status"].as_str(), code(reply)), (Some("error"), expected), "{reply}");
        assert!(reply["message"].as_str().is_some_and(|message| !message.is_empty()), "{reply}");
        came.insert(expected.to_owned());
    };
    for (question, expected) in [
        ("nonsense", "bad_json"),
        ("[]", "bad_request"),
        (r#"{"cpf":"1X"}"#, "invalid_cpf"),
        (r#"{"nome":"..."}"#, "invalid_name"),
        (&stale, "stale_cursor"),
    ] {
        check(&peer.ask(question), expected);
    }
    let verify = r#"{"op":"verify","cpf":"12345678909"}"#;
    check(&forbidding.peer().ask(verify), "forbidden");
    peer.send(format!("{verify}\n{verify}\n"));
    assert_eq!(code(&peer.line()), "");
    check(&peer.line(), "budget_exceeded");
    check(&peer.ask(&batch)["results"][999], "too_many_rows");
    check(&server.peer().line(), "overloaded");
    registry.write("UPDATE cpf SET cpf = '52998224725' WHERE rowid = 1");
    check(&peer.ask(r#"{"cpf":"12345678909"}"#), "unavailable");
    assert_eq!(peer.ask(PING), json!({"status": "ok"}));
    check(&peer.ask(&"x".repeat(65_537)), "line_too_long");
    peer.assert_ended();
    check(&half.line(), "deadline_exceeded");
    half.assert_ended();
    came.extend(NOT_OF_A_CLIENT.map(str::to_owned));
    assert_eq!(came, codes_of_the_protocol());
}
