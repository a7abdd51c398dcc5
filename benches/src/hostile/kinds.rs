//! The kinds of hostility, each with its pace. The paces are such that the clients themselves take little of a machine that they share with
//! the server: what is measured is what the server makes of them.

use std::time::Duration;

use super::crowd::{Crowd, Target};
use super::crowds::{Askers, Exhausted, Stayers, Unread, Visits};
use crate::rng::Rng;

/// One kind.
pub(crate) struct Kind {
    /// A word for `--only`.
    pub(crate) word: &'static str,
    /// What they do, and how much of it.
    pub(crate) what: &'static str,
    pub(crate) start: fn(&Target) -> anyhow::Result<Box<dyn Crowd>>,
}

/// Half a question.
const HALF: &[u8] = b"{\"cpf\":\"123.456";

/// Questions that a client that never reads pipelines on each of its connections.
const PIPELINED: usize = 10_000;

/// Batches that a client that never reads pipelines: each has a request line of some 24 KB and a reply of a megabyte.
const BATCHES_PIPELINED: usize = 200;

/// Bytes of a line that is one byte too long.
const LINE_TOO_LONG: usize = 65_537;

/// Every kind, in the order of the table.
pub(crate) const KINDS: [Kind; 15] = [
    Kind {
        word: "half",
        what: "half a line, then silence: 200 connections",
        start: |target| Ok(stay(target, 200, HALF, b"", 4096, 100)),
    },
    Kind {
        word: "drip",
        what: "a line a byte a second: 200 connections",
        start: |target| Ok(stay(target, 200, b"{", b" ", 4096, 1000)),
    },
    Kind {
        word: "unread-pages",
        what: "never reads: 20 connections, 10,000 pages of 1000 rows asked on each",
        start: unread_pages,
    },
    Kind {
        word: "unread-batches",
        what: "never reads: 20 connections, 200 batches of 1000 items asked on each",
        start: unread_batches,
    },
    Kind { word: "vanish-request", what: "vanishes in the middle of a request: 500 a second", start: vanish_request },
    Kind { word: "vanish-reply", what: "asks for 1000 rows, reads 1 KiB, vanishes: 50 a second", start: vanish_reply },
    Kind { word: "open-drop", what: "opened and dropped: 10,000 in all, 1,000 a second", start: open_drop },
    Kind { word: "slow", what: "asks for 50 rows, reads a byte in 100 ms: 1000 connections", start: slow },
    Kind {
        word: "descriptors",
        what: "descriptors exhausted, 50 knock a second",
        start: |target| Ok(Box::new(Exhausted::new(target)?)),
    },
    Kind { word: "tls", what: "TLS ClientHello: 100 a second", start: tls },
    Kind { word: "http", what: "HTTP GET: 100 a second", start: http },
    Kind { word: "random", what: "4 KiB of random bytes: 100 a second", start: random },
    Kind { word: "long", what: "lines of 65,537 bytes: 50 a second", start: long },
    Kind {
        word: "codes",
        what: "every error code that a question can cause: 1000 a second on 8 connections",
        start: codes,
    },
    Kind { word: "storm", what: "pages of 1000 rows, 8 connections with 64 in flight each that do read", start: storm },
];

fn stay(
    target: &Target,
    connections: usize,
    first: &[u8],
    drip: &'static [u8],
    reads: usize,
    every_ms: u64,
) -> Box<dyn Crowd> {
    let (target, every) = (target.clone(), Duration::from_millis(every_ms));
    Box::new(Stayers { target, connections, first: first.to_vec(), drip, reads, every, open: Vec::new() })
}

fn slow(target: &Target) -> anyhow::Result<Box<dyn Crowd>> {
    let question = format!("{{{}}}\n", target.dear.replace("1000", "50"));
    Ok(stay(target, 1000, question.as_bytes(), b"", 1, 100))
}

fn dear(target: &Target, id: usize) -> Vec<u8> {
    format!("{{\"id\":{id},{}}}\n", target.dear).into_bytes()
}

/// A batch of a thousand items whose pages have so many rows.
fn batch(target: &Target, rows: usize) -> Vec<u8> {
    let item = format!("{{{}}}", target.dear.replace("1000", &rows.to_string()));
    format!("{{\"id\":1,\"op\":\"batch\",\"items\":[{}]}}\n", vec![item; 1000].join(",")).into_bytes()
}

fn unread_pages(target: &Target) -> anyhow::Result<Box<dyn Crowd>> {
    let questions = (0..PIPELINED).flat_map(|id| dear(target, id)).collect();
    Ok(Box::new(Unread { target: target.clone(), connections: 20, questions, open: Vec::new() }))
}

fn unread_batches(target: &Target) -> anyhow::Result<Box<dyn Crowd>> {
    let questions = batch(target, 10).repeat(BATCHES_PIPELINED);
    Ok(Box::new(Unread { target: target.clone(), connections: 20, questions, open: Vec::new() }))
}

fn vanish_request(target: &Target) -> anyhow::Result<Box<dyn Crowd>> {
    Ok(Box::new(Visits::new(target, 500.0, |_| HALF.to_vec()).vanishing()))
}

fn vanish_reply(target: &Target) -> anyhow::Result<Box<dyn Crowd>> {
    let question = dear(target, 1);
    Ok(Box::new(Visits::new(target, 50.0, move |_| question.clone()).reading(1024).vanishing()))
}

fn open_drop(target: &Target) -> anyhow::Result<Box<dyn Crowd>> {
    Ok(Box::new(Visits::new(target, 1000.0, |_| Vec::new())))
}

fn tls(target: &Target) -> anyhow::Result<Box<dyn Crowd>> {
    let seed = target.seed;
    let hello = move |number| {
        // Record header, handshake header, version; then the client's random, session and extensions, which are noise to anybody.
        let mut bytes = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
        bytes.extend(noise(seed, number, 517 - 11));
        bytes
    };
    Ok(Box::new(Visits::new(target, 100.0, hello).reading(1)))
}

fn http(target: &Target) -> anyhow::Result<Box<dyn Crowd>> {
    let get = b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: browser\r\nAccept: */*\r\n\r\n";
    Ok(Box::new(Visits::new(target, 100.0, |_| get.to_vec()).reading(1)))
}

fn random(target: &Target) -> anyhow::Result<Box<dyn Crowd>> {
    let seed = target.seed;
    Ok(Box::new(Visits::new(target, 100.0, move |number| noise(seed, number, 4096)).reading(1)))
}

fn noise(seed: u64, number: u64, bytes: usize) -> Vec<u8> {
    let mut rng = Rng::new(seed, number);
    (0..bytes.div_ceil(8)).flat_map(|_| rng.next_u64().to_le_bytes()).take(bytes).collect()
}

fn long(target: &Target) -> anyhow::Result<Box<dyn Crowd>> {
    Ok(Box::new(Visits::new(target, 50.0, |_| too_long()).reading(1)))
}

fn too_long() -> Vec<u8> {
    let mut line = vec![b'x'; LINE_TOO_LONG];
    line.push(b'\n');
    line
}

fn codes(target: &Target) -> anyhow::Result<Box<dyn Crowd>> {
    let cheap: [&[u8]; 9] = [
        b"nonsense\n",
        b"{\"nome\":\"\xff\"}\n",
        b"{\"op\":\"ping\",\"op\":\"ping\"}\n",
        b"[]\n",
        b"{\"op\":\"drop\"}\n",
        b"{\"nome\":\"ANA\",\"limit\":1001}\n",
        b"{\"cpf\":\"12345678908X\"}\n",
        b"{\"nome\":\" ... \"}\n",
        b"\n",
    ];
    let mut questions: Vec<Vec<u8>> = cheap.iter().map(|question| question.to_vec()).collect();
    questions.push(format!("{{{}}}\n", target.stale).into_bytes());
    let mut questions: Vec<_> = std::iter::repeat_n(questions, 20).flatten().collect();
    // These two are dearer for whoever sends and reads them, and the first ends its connection: once in two hundred.
    questions.insert(50, too_long());
    questions.insert(150, batch(target, 11));
    Ok(Box::new(Askers::new(target, 8, 4, questions).at(1000.0)))
}

fn storm(target: &Target) -> anyhow::Result<Box<dyn Crowd>> {
    let questions = (0..64).map(|id| dear(target, id)).collect();
    Ok(Box::new(Askers::new(target, 8, 64, questions)))
}
