//! A list of questions, each asked once, in the order of its file, over some connections that take the next one when they are answered.
//!
//! For sides that differ a hundredfold in speed: whoever is slow gets less far in the list, and those who are compared are compared over the part
//! that both got through. It waits for every answer, however long that takes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use super::framing::Framing;
use super::{PATIENCE, Protocol, balcao, postgres, resp};

/// How long one answer may take: a similarity search of a peer takes seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);

/// What is read at once, in bytes.
const READ_BYTES: usize = 64 * 1024;

/// What to ask whom.
#[derive(Clone, Debug)]
pub struct List {
    /// The server; a loopback address.
    pub server: std::net::SocketAddr,
    /// What it speaks.
    pub protocol: Protocol,
    /// Connections, at least 1, each with a thread here.
    pub connections: usize,
    /// The questions, one a line as for [`super::Plan`]; a list that ends goes on at its beginning.
    pub keys: PathBuf,
    /// The first question, from 0, modulo those that there are.
    pub first: usize,
    /// So many questions at most.
    pub at_most: usize,
    /// Nothing is asked after so long. Each connection asks one question at least.
    pub within: Duration,
}

/// What came of a list.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// Microseconds of each question that was asked, from the first one of the list on.
    pub took_us: Vec<u64>,
    /// Rows of all answers together, where the protocol tells them.
    pub rows: u64,
    /// Errors by code; their times are among the others.
    pub errors: BTreeMap<String, u64>,
}

impl Listed {
    /// What came of questions in the order in which they were answered: place in the list and microseconds.
    fn of(mut took: Vec<(usize, u64)>) -> Vec<u64> {
        took.sort_unstable();
        took.into_iter().map(|(_, us)| us).collect()
    }
}

/// Asks it.
///
/// # Errors
/// When the questions cannot be read, a connection cannot be opened, is closed, or does not answer in two minutes.
pub fn ask(list: &List) -> anyhow::Result<Listed> {
    match &list.protocol {
        Protocol::Balcao => ask_framed(list, &balcao::Balcao),
        Protocol::Resp => ask_framed(list, &resp::Resp),
        Protocol::Postgres(statement) => ask_framed(list, &postgres::Postgres(statement)),
    }
}

fn ask_framed<F: Framing>(list: &List, framing: &F) -> anyhow::Result<Listed> {
    let text = std::fs::read_to_string(&list.keys)
        .with_context(|| format!("cannot read the questions {}", list.keys.display()))?;
    let bodies = text.lines().filter(|line| !line.is_empty()).map(|line| framing.prepare(line));
    let bodies: Vec<Vec<u8>> = bodies.collect::<Result<_, _>>().map_err(anyhow::Error::msg)?;
    ensure!(!bodies.is_empty(), "{} holds no question", list.keys.display());
    let mut links = Vec::new();
    for _ in 0..list.connections {
        links.push(Link::open(list, framing)?);
    }
    let (next, began) = (AtomicUsize::new(0), Instant::now());
    let outcomes: Vec<anyhow::Result<Outcome>> = std::thread::scope(|scope| {
        let askers: Vec<_> =
            links.into_iter().map(|link| scope.spawn(|| link.ask_on::<F>(list, &bodies, &next, began))).collect();
        askers.into_iter().map(|asker| asker.join().expect("an asking thread panicked")).collect()
    });
    let (mut listed, mut took) = (Listed::default(), Vec::new());
    for outcome in outcomes {
        let outcome = outcome?;
        took.extend(outcome.took);
        listed.rows += outcome.rows;
        outcome.errors.into_iter().for_each(|code| *listed.errors.entry(code).or_default() += 1);
    }
    listed.took_us = Listed::of(took);
    Ok(listed)
}

/// What one connection came to.
#[derive(Default)]
struct Outcome {
    took: Vec<(usize, u64)>,
    rows: u64,
    errors: Vec<String>,
}

/// One connection.
struct Link {
    stream: TcpStream,
    sent: Vec<u8>,
    received: Vec<u8>,
}

impl Link {
    fn open<F: Framing>(list: &List, framing: &F) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect_timeout(&list.server, PATIENCE).context("cannot connect to the server")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        framing.greet(&mut stream)?;
        Ok(Self { stream, sent: Vec::new(), received: Vec::new() })
    }

    /// Takes the next question of the list as long as there is one and time.
    fn ask_on<F: Framing>(
        mut self,
        list: &List,
        bodies: &[Vec<u8>],
        next: &AtomicUsize,
        began: Instant,
    ) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome::default();
        while outcome.took.is_empty() || began.elapsed() < list.within {
            let place = next.fetch_add(1, Ordering::Relaxed);
            if place >= list.at_most {
                break;
            }
            let asked = Instant::now();
            self.send::<F>(place, &bodies[(list.first + place) % bodies.len()])?;
            let length = self.receive::<F>()?;
            outcome.took.push((place, u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)));
            let reply = &self.received[..length];
            outcome.rows += F::rows(reply);
            outcome.errors.extend(F::judge(reply, false, None).error.map(Cow::into_owned));
        }
        Ok(outcome)
    }

    fn send<F: Framing>(&mut self, place: usize, body: &[u8]) -> anyhow::Result<()> {
        self.sent.clear();
        F::request(&mut self.sent, place as u64, body);
        self.stream.write_all(&self.sent).context("the server takes no more questions")
    }

    /// The length of the reply, which then lies at the beginning of what was received.
    fn receive<F: Framing>(&mut self) -> anyhow::Result<usize> {
        self.received.clear();
        let (mut scanned, mut buffer) = (0, [0; READ_BYTES]);
        loop {
            let bytes = self.stream.read(&mut buffer).context("the server does not answer")?;
            ensure!(bytes > 0, "the server closed a connection that waited for an answer");
            self.received.extend_from_slice(&buffer[..bytes]);
            match F::split(&self.received, &mut scanned) {
                Ok(Some(length)) => return Ok(length),
                Ok(None) => {}
                Err(damaged) => bail!("the server sent no reply: {}", damaged.0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::net::TcpListener;

    use super::*;

    /// A server whose answer tells the length of the question in rows, and refuses those of one letter.
    fn server() -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                std::thread::spawn(move || {
                    let mut out = stream.try_clone().unwrap();
                    for line in BufReader::new(stream).lines() {
                        let request: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
                        let (id, length) = (&request["id"], request["nome"].as_str().unwrap().len());
                        let reply = match length {
                            1 => format!("{{\"id\":{id},\"status\":\"error\",\"code\":\"bad_request\"}}\n"),
                            _ => {
                                let rows = vec!["{\"nome\":\"A\"}"; length].join(",");
                                format!("{{\"id\":{id},\"status\":\"ok\",\"rows\":[{rows}],\"total\":{length}}}\n")
                            }
                        };
                        out.write_all(reply.as_bytes()).unwrap();
                    }
                });
            }
        });
        address
    }

    fn list(connections: usize, first: usize, at_most: usize) -> Listed {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for length in 1..=4 {
            writeln!(file, "{{\"nome\":\"{}\"}}", "A".repeat(length)).unwrap();
        }
        let (keys, within) = (file.path().to_owned(), Duration::from_secs(60));
        ask(&List { server: server(), protocol: Protocol::Balcao, connections, keys, first, at_most, within }).unwrap()
    }

    #[test]
    fn every_question_is_asked_once_and_in_order() {
        for connections in [1, 3] {
            let listed = list(connections, 1, 3);
            assert_eq!((listed.took_us.len(), listed.rows, listed.errors.len()), (3, 2 + 3 + 4, 0));
        }
        // Round and round.
        let listed = list(2, 3, 6);
        assert_eq!((listed.took_us.len(), listed.rows), (6, 4 + 2 + 3 + 4));
        assert_eq!(listed.errors, BTreeMap::from([("bad_request".to_owned(), 2)]));
        assert_eq!(Listed::of(vec![(2, 9), (0, 5), (1, 7)]), [5, 7, 9]);
    }

    #[test]
    fn time_ends_it_but_each_connection_asks_once() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "{{\"nome\":\"AA\"}}").unwrap();
        let (keys, within) = (file.path().to_owned(), Duration::ZERO);
        let list =
            List { server: server(), protocol: Protocol::Balcao, connections: 2, keys, first: 0, at_most: 9, within };
        assert_eq!(ask(&list).unwrap().took_us.len(), 2);
    }
}
