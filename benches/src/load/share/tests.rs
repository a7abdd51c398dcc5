//! The event loop against peers made for it: good ones, wrong ones, and one that hangs.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::Protocol;
use super::super::balcao::Balcao;
use super::super::resp::Resp;
use super::*;

/// How long the peer that hangs does so.
const STALL: Duration = Duration::from_millis(500);

/// Answers each connection by `serve` in a thread of its own.
fn listen(connections: usize, serve: impl Fn(StdStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(connections) {
            let (stream, serve) = (stream.unwrap(), serve.clone());
            stream.set_nodelay(true).unwrap();
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// A peer that answers each request line by `answer`, given its number on the connection and its `id`; `None` hangs up.
fn peer(connections: usize, answer: fn(usize, u64) -> Option<String>) -> SocketAddr {
    listen(connections, move |mut stream| {
        for (number, line) in BufReader::new(stream.try_clone().unwrap()).lines().enumerate() {
            let request: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            let Some(reply) = answer(number, request["id"].as_u64().unwrap()) else { return };
            stream.write_all(reply.as_bytes()).unwrap();
        }
    })
}

/// A peer that answers each `GET` by `answer`, given its number over all connections and its key, in pieces of `piece` bytes.
fn redis(
    connections: usize,
    piece: usize,
    answer: impl Fn(u64, &str) -> Vec<u8> + Clone + Send + 'static,
) -> (SocketAddr, Arc<AtomicU64>) {
    let asked = Arc::new(AtomicU64::new(0));
    let counter = asked.clone();
    let address = listen(connections, move |mut stream| {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
        while let (Some(words), Some(_), Some(get), Some(_), Some(key)) =
            (lines.next(), lines.next(), lines.next(), lines.next(), lines.next())
        {
            assert_eq!((&*words, &*get), ("*2", "GET"));
            let reply = answer(counter.fetch_add(1, Ordering::SeqCst), &key);
            if reply.chunks(piece).any(|piece| stream.write_all(piece).is_err()) {
                return;
            }
        }
    });
    (address, asked)
}

fn plan(server: SocketAddr, protocol: Protocol) -> Plan {
    Plan {
        server,
        protocol,
        connections: 3,
        pace: Pace::Closed,
        measured: Duration::from_millis(200),
        warmup: Duration::from_millis(20),
        threads: 2,
        pipeline: 1,
        keys: PathBuf::new(),
        seed: 1,
        expect_rows: true,
    }
}

fn asked<F: Framing>(plan: &Plan, framing: &F, keys: &str) -> Summary {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), keys).unwrap();
    run(plan, framing, &Keys::read(file.path(), 1, framing).unwrap(), None).unwrap()
}

fn ask(pipeline: usize, answer: fn(usize, u64) -> Option<String>) -> Summary {
    let plan = Plan { pipeline, ..plan(peer(3, answer), Protocol::Balcao) };
    asked(&plan, &Balcao, "191\n272\n{\"nome\":\"A\"}\n")
}

#[test]
fn good_answers_are_counted() {
    for pipeline in [1, 4] {
        let summary = ask(pipeline, |_, id| Some(format!("{{\"id\":{id},\"status\":\"ok\",\"rows\":[{{}}]}}\n")));
        assert_eq!(summary.errors_total(), 0, "{summary}");
        assert!(summary.requests > 0 && summary.latency_us[0] <= summary.latency_us[3], "{summary}");
        assert!(summary.reply_bytes >= summary.requests * 32, "{summary}");
        assert!(summary.offered_per_second.is_none() && summary.sending.is_none());
    }
}

#[test]
fn errors_are_counted_by_code() {
    let summary = ask(1, |number, id| {
        Some(match number {
            0 => format!("{{\"id\":{id},\"status\":\"error\",\"code\":\"overloaded\"}}\n"),
            1 => format!("{{\"id\":{id},\"status\":\"ok\",\"rows\":[]}}\n"),
            2 => {
                let reply = |id| format!("{{\"id\":{id},\"status\":\"ok\",\"rows\":[{{}}]}}\n");
                reply(id + 1) + &reply(id)
            }
            _ => return None,
        })
    });
    assert_eq!(summary.errors["overloaded"], 3, "{summary}");
    assert_eq!(summary.errors["no_rows"], 3, "{summary}");
    assert_eq!(summary.errors["unasked_reply"], 3, "{summary}");
}

#[test]
fn a_hang_up_is_an_error_for_each_request_it_loses() {
    let summary = ask(4, |_, _| None);
    let lost: u64 = summary.errors.values().sum();
    assert_eq!((summary.requests, lost), (0, 12), "{summary}");
}

#[test]
fn redis_is_asked_by_the_same_loop() {
    for (pipeline, piece, pace) in
        [(1, 1, Pace::Closed), (5, 3, Pace::Closed), (2, 100, Pace::Fixed { per_second: 500.0 })]
    {
        let value = |key: &str| format!("$3\r\n{}\r\n", &key[key.len() - 3..]).into_bytes();
        let (server, _) = redis(3, piece, move |_, key| value(key));
        let plan = Plan { pipeline, pace, ..plan(server, Protocol::Resp) };
        let summary = asked(&plan, &Resp, "00000000191\n00000000272\n");
        assert_eq!(summary.errors_total(), 0, "{summary}");
        assert!(summary.requests > 0, "{summary}");
        assert_eq!(summary.reply_bytes, summary.requests * 9, "{summary}");
    }
}

#[test]
fn wrong_replies_of_redis_are_errors() {
    let answers = ["$-1\r\n", "$0\r\n\r\n", "-LOADING wait\r\n", "+OK\r\n", "$1\r\nx\r\n$1\r\ny\r\n", "*0\r\n"];
    let (server, _) = redis(1, 100, move |number, _| answers[number as usize].into());
    let summary = asked(&Plan { connections: 1, ..plan(server, Protocol::Resp) }, &Resp, "191\n");
    for code in ["nil", "empty", "LOADING", "not_a_bulk_string", "unasked_reply", "not_a_reply"] {
        assert_eq!(summary.errors.get(code), Some(&1), "{code}: {summary}");
    }
}

/// A peer that hangs once, while it answers the hundredth question.
fn hanging() -> (SocketAddr, Arc<AtomicU64>) {
    redis(1, 100, |number, _| {
        if number == 100 {
            std::thread::sleep(STALL);
        }
        b"$1\r\nx\r\n".to_vec()
    })
}

#[test]
fn a_stall_is_in_the_latency_of_all_that_was_due_meanwhile() {
    let stall_us = STALL.as_micros() as u64;
    let run = |pace| {
        let (server, answered) = hanging();
        let (warmup, measured) = (Duration::ZERO, 2 * STALL);
        let plan = Plan { connections: 1, pace, warmup, measured, ..plan(server, Protocol::Resp) };
        let summary = asked(&plan, &Resp, "191\n");
        assert_eq!(summary.errors_total(), 0, "{summary}");
        (summary, answered.load(Ordering::SeqCst))
    };
    let (fixed, answered) = run(Pace::Fixed { per_second: 1000.0 });
    let sending = fixed.sending.unwrap();
    // Everything that was due was asked, also what was due while nothing could be sent.
    let due = (fixed.offered_per_second.unwrap() * fixed.seconds).round() as u64;
    assert_eq!((due, sending.never_sent), (answered, 0), "{fixed}");
    // The stall takes half of the time: what was due in its first tenths is a tenth of everything, and waited for most of it.
    assert!(fixed.latency_p90_us > stall_us / 2, "{fixed}");
    assert!(fixed.latency_us[3] >= stall_us, "{fixed}");
    // It shows as late sending, for which this program was awake.
    assert!(sending.lag_us[1] > stall_us / 2 && sending.noticed_us[1] < sending.lag_us[1], "{fixed}");
    // The same stall in a closed loop is one request's, and hardly to be seen.
    let (closed, _) = run(Pace::Closed);
    assert!(closed.latency_us[3] >= stall_us && closed.latency_us[1] < fixed.latency_p90_us, "{closed}");
}

#[test]
fn what_is_due_on_a_lost_connection_is_never_sent_and_an_error() {
    let (server, _) = redis(1, 100, |number, _| if number < 5 { b"$1\r\nx\r\n".to_vec() } else { b"!".to_vec() });
    let pace = Pace::Fixed { per_second: 1000.0 };
    let summary = asked(&Plan { connections: 1, pace, ..plan(server, Protocol::Resp) }, &Resp, "191\n");
    assert_eq!((summary.errors["not_a_reply"], summary.errors.len()), (1, 2), "{summary}");
    // The warm-up's share of the dues is counted too.
    let due = (summary.offered_per_second.unwrap() * summary.seconds).round() as u64;
    assert!(summary.errors["never_sent"] >= due - 5 && due > 100, "{summary}");
}

#[test]
fn what_is_given_up_counts_with_the_time_so_far() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let pace = Pace::Fixed { per_second: 1000.0 };
    let plan =
        Plan { connections: 2, threads: 1, pipeline: 3, pace, ..plan(listener.local_addr().unwrap(), Protocol::Resp) };
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "191\n").unwrap();
    let keys = Keys::read(file.path(), 1, &Resp).unwrap();
    let mut share = Share::open(&plan, &Resp, &keys, None, 0).unwrap();
    let start = Instant::now();
    (share.begin, share.end) = (start, start + STALL);
    share.schedule = Some(Schedule::new(1000.0, 1, 0, start, share.end));
    // Nobody answers: two connections with three places each, and the rest waits, in turns; the last part was not even looked at.
    share.send_due::<Resp>(start + STALL / 2);
    let waits: Vec<usize> = share.links.iter().map(|link| link.backlog.len()).collect();
    assert!(share.backlog > 100 && waits[0].abs_diff(waits[1]) <= 1, "{waits:?}");
    assert!(!share.is_over(share.end, false));
    assert!(share.is_over(share.end + STALL, true));
    let summary = Summary::new(&plan, share.tally, SystemTime::now());
    let due = (summary.offered_per_second.unwrap() * plan.measured.as_secs_f64()).round() as u64;
    assert_eq!((summary.errors["unanswered"], summary.requests), (6, 0), "{summary}");
    assert_eq!(summary.errors["never_sent"], due - 6, "{summary}");
    // Due within half a second, given up half a second behind its end.
    let stall_us = STALL.as_micros() as u64;
    assert!(summary.latency_us[0] >= stall_us && summary.latency_us[3] <= 2 * stall_us + stall_us / 100, "{summary}");
}

#[test]
fn requests_go_over_all_connections_in_turns() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    let counting = std::thread::spawn(move || {
        let mut streams: Vec<StdStream> = (0..3).map(|_| listener.accept().unwrap().0).collect();
        let mut bytes = Vec::new();
        for stream in &mut streams {
            let (mut buffer, mut read) = ([0; 4096], 0);
            while let Ok(more @ 1..) = stream.read(&mut buffer) {
                read += more;
            }
            bytes.push(read);
        }
        bytes
    });
    let plan = Plan { pipeline: 100, ..plan(server, Protocol::Resp) };
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "191\n").unwrap();
    let keys = Keys::read(file.path(), 1, &Resp).unwrap();
    let plan = Plan { threads: 1, pace: Pace::Fixed { per_second: 100.0 }, ..plan };
    let mut share = Share::open(&plan, &Resp, &keys, None, 0).unwrap();
    let start = Instant::now();
    (share.begin, share.end) = (start, start + STALL);
    share.schedule = Some(Schedule::new(100.0, 1, 0, start, share.end));
    share.send_due::<Resp>(share.end);
    drop(share);
    let bytes = counting.join().unwrap();
    let request = keys.body(0).len();
    let (least, most) = (bytes.iter().min().unwrap(), bytes.iter().max().unwrap());
    assert!(*least >= 10 * request && most - least <= request, "{bytes:?}");
}
