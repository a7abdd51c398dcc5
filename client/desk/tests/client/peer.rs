//! The peer: it answers by what a name says, and the running of the client against it.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

/// So often a batch with `full` in it is refused: more often than a client's link asks again by itself.
pub(crate) const REFUSED_FIRST: usize = 14;

/// Rows of a batch in this peer.
const BATCH_ROWS: usize = 6;

fn greeting() -> Value {
    json!({
        "status": "ok", "protocol": 1, "server": "peer/1", "generation": "g1", "rows": 3, "columns": ["cpf", "nome"],
        "filters": {"sex": "sexo", "birth": "nasc"},
        "limits": {"line_bytes": 300, "limit_max": 4, "batch_items": 5, "batch_rows": BATCH_ROWS, "in_flight": 2},
    })
}

fn error(code: &str) -> Value {
    json!({"status": "error", "code": code, "message": "because\u{9b}", "retry_after_ms": 1})
}

/// What the peer does with a question.
enum Does {
    Answer(Value),
    /// Nothing, for ever.
    Hang,
    /// It closes the connection.
    Close,
}

/// What became of the peer's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It does not answer any more.
    Hangs,
    /// The client is gone.
    Closed,
}

/// A peer for as many connections as come.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) address: String,
    /// Questions other than `hello` and batches, as they came.
    pub(crate) asked: Arc<Mutex<Vec<Value>>>,
    /// How many items each batch had.
    pub(crate) batches: Arc<Mutex<Vec<usize>>>,
    /// Batches with `full` in them that were refused.
    refused: Arc<AtomicUsize>,
    /// What is done the first time only was done.
    was_there: Arc<AtomicBool>,
}

impl Peer {
    pub(crate) fn start() -> (Self, Receiver<Event>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let peer = Self {
            address,
            asked: Arc::default(),
            batches: Arc::default(),
            refused: Arc::default(),
            was_there: Arc::default(),
        };
        let (events, inbox) = channel();
        let serving = peer.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (serving, events) = (serving.clone(), events.clone());
                thread::spawn(move || {
                    // A client may leave whenever it likes, and a test may not listen.
                    let _ = serving.serve(stream.unwrap(), &events);
                    let _ = events.send(Event::Closed);
                });
            }
        });
        (peer, inbox)
    }

    /// Whether this is the first time that something is done once.
    fn is_first_time(&self) -> bool {
        !self.was_there.swap(true, Ordering::SeqCst)
    }

    fn lookup(&self, ask: &Value) -> Does {
        let text = ask["cpf"].as_str().or(ask["nome"].as_str()).unwrap();
        if let Some(code) = text.strip_prefix("code ") {
            return Does::Answer(error(code));
        }
        let (kind, total) = text.rsplit_once(' ').unwrap_or(("", text));
        let total: usize = total.parse().unwrap();
        let limit = ask["limit"].as_u64().map_or(2, |limit| usize::try_from(limit).unwrap());
        let from: usize = ask["cursor"].as_str().map_or(0, |cursor| cursor.trim_end_matches('b').parse().unwrap());
        match kind {
            "stale" if from > 0 => return Does::Answer(error("stale_cursor")),
            "late" if limit > 1 => return Does::Answer(error("deadline_exceeded")),
            "hang" if from > 0 && self.is_first_time() => return Does::Hang,
            "gone" if from > 0 => return Does::Close,
            _ => {}
        }
        let end = total.min(from + limit);
        let rows: Vec<Value> = (from..end).map(|n| json!({"cpf": n, "nome": text})).collect();
        let next = (end < total).then(|| end.to_string());
        Does::Answer(match kind {
            // The first page is empty, and still not the last.
            "bounded" if ask["cursor"].is_null() => {
                json!({"status": "ok", "rows": [], "total_at_least": total, "next": "0b", "bounded": true})
            }
            "bounded" => json!({"status": "ok", "rows": rows, "total_at_least": total, "next": next}),
            // Nothing is counted, and the last page is an empty one.
            "least" => {
                let next = (from < total).then(|| end.to_string());
                json!({"status": "ok", "rows": rows, "total_at_least": total.min(1), "next": next})
            }
            "near" => {
                let distances: Vec<usize> = (from..end).collect();
                json!({"status": "ok", "rows": rows, "total": total, "next": next, "distances": distances})
            }
            _ => json!({"status": "ok", "rows": rows, "total": total, "next": next}),
        })
    }

    /// A batch with `slow` in it is too slow for more than two items; of one with `faint` no item has time the first time; one with `full` is
    /// refused at first, and one with `crowd` where it has more than two items; one with `busy` is refused the first time; one with `hang` hangs the
    /// first time, and one with `gone` is the end.
    fn batch(&self, items: &[Value], was_busy: &mut bool) -> Does {
        let has =
            |word: &str| items.iter().any(|item| item["nome"].as_str().is_some_and(|nome| nome.starts_with(word)));
        if has("slow") && items.len() > 2 {
            return Does::Answer(error("deadline_exceeded"));
        }
        if has("full") && self.refused.fetch_add(1, Ordering::SeqCst) < REFUSED_FIRST {
            return Does::Answer(error("overloaded"));
        }
        if has("crowd") && items.len() > 2 {
            return Does::Answer(error("too_many_rows"));
        }
        if has("faint") && self.is_first_time() {
            let results: Vec<Value> = items.iter().map(|_| error("deadline_exceeded")).collect();
            return Does::Answer(json!({"status": "ok", "results": results}));
        }
        if has("hang") && self.is_first_time() {
            return Does::Hang;
        }
        if has("gone") {
            return Does::Close;
        }
        let mut left = BATCH_ROWS;
        let mut is_late = false;
        let mut results = Vec::new();
        for item in items {
            let is = |kind: &str| item["nome"].as_str().is_some_and(|nome| nome.starts_with(kind));
            // In one batch, there is time for one of them.
            let had_no_time = is("tired") && std::mem::replace(&mut is_late, true);
            results.push(if item["nome"] == "busy 1" && !std::mem::replace(was_busy, true) {
                error("overloaded")
            } else if had_no_time {
                error("deadline_exceeded")
            } else {
                let Does::Answer(reply) = self.lookup(item) else { return Does::Close };
                let rows = reply["rows"].as_array().map_or(0, Vec::len);
                if rows > left {
                    left = 0;
                    error("too_many_rows")
                } else {
                    left -= rows;
                    reply
                }
            });
        }
        Does::Answer(json!({"status": "ok", "results": results}))
    }

    fn serve(&self, stream: TcpStream, events: &Sender<Event>) -> std::io::Result<()> {
        let mut out = stream.try_clone()?;
        let mut was_busy = false;
        for line in BufReader::new(stream).lines() {
            let line = line?;
            assert!(line.len() <= 300);
            let ask: Value = serde_json::from_str(&line).unwrap();
            let does = match ask["op"].as_str() {
                Some("hello") => Does::Answer(greeting()),
                Some("batch") => {
                    let items = ask["items"].as_array().unwrap();
                    self.batches.lock().unwrap().push(items.len());
                    self.batch(items, &mut was_busy)
                }
                op => {
                    self.asked.lock().unwrap().push(ask.clone());
                    match op {
                        Some("verify") => Does::Answer(verify(&ask)),
                        _ => self.lookup(&ask),
                    }
                }
            };
            match does {
                Does::Answer(mut reply) => {
                    reply["id"] = ask["id"].clone();
                    writeln!(out, "{reply}")?;
                }
                Does::Hang => events.send(Event::Hangs).unwrap(),
                Does::Close => return out.shutdown(std::net::Shutdown::Both),
            }
        }
        Ok(())
    }
}

/// The name agrees as it says itself.
fn verify(ask: &Value) -> Value {
    if ask["cpf"] == "9" {
        return error("budget_exceeded");
    }
    let mut reply = json!({"status": "ok", "cpf": ask["cpf"] == "1", "warning": "check_digits"});
    if let Some(nome) = ask["nome"].as_str() {
        reply["nome"] = json!(nome);
    }
    if let Some(nasc) = ask["nasc"].as_str() {
        reply["nasc"] = json!(nasc == "19800101");
    }
    reply
}

pub(crate) fn client(server: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.args(args).env("BALCAO_SERVER", server).stdin(Stdio::null());
    plain(&mut command);
    command
}

/// Keeps the options of whoever runs the tests out of them.
pub(crate) fn plain(command: &mut Command) {
    let options = [
        "TIMEOUT",
        "JSON",
        "LIMIT",
        "ALL",
        "CSV",
        "DEADLINE_MS",
        "MATCH",
        "LAST",
        "SPELLING",
        "SEX",
        "BORN_FROM",
        "BORN_TO",
        "BATCH_MATCH",
        "OUT",
        "COLUMN",
        "FIRST",
    ];
    for option in options {
        command.env_remove(format!("BALCAO_{option}"));
    }
}

#[track_caller]
pub(crate) fn check(args: &[&str], code: i32, stdout: &str, stderr: &str) {
    let (peer, _events) = Peer::start();
    let Output { status, stdout: out, stderr: err } = client(&peer.address, args).output().unwrap();
    let (out, err) = (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap());
    assert_eq!((status.code(), out.as_str(), err.as_str()), (Some(code), stdout, stderr));
}
