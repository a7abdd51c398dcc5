//! The closed loop: each thread drives its share of the connections over one epoll.
//!
//! A connection that fails is counted and not opened again: a server that drops connections must not look fast.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream as StdStream;
use std::sync::Barrier;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::framing;
use super::keys::Keys;
use super::summary::{Summary, Tally};
use super::{Answered, Check, PATIENCE, Plan};

/// How long unanswered requests are waited for after the last one was sent.
const DRAIN: Duration = Duration::from_secs(10);

/// A thread looks at the clock at least so often.
const TICK: Duration = Duration::from_millis(50);

/// What is read at once, in bytes.
const READ_BYTES: usize = 64 * 1024;

/// Runs every thread and adds up what they counted.
pub(crate) fn run(plan: &Plan, keys: &Keys, check: Option<&dyn Check>) -> anyhow::Result<Summary> {
    let threads = plan.threads.min(plan.connections);
    let mut shares = Vec::new();
    for thread in 0..threads {
        let connections = plan.connections / threads + usize::from(thread < plan.connections % threads);
        shares.push(Share::open(plan, keys, check, connections, keys.len() / threads * thread)?);
    }
    let start_line = Barrier::new(threads);
    let began = SystemTime::now() + plan.warmup;
    let tallies = std::thread::scope(|scope| {
        let workers: Vec<_> = shares
            .into_iter()
            .map(|share| {
                let start_line = &start_line;
                scope.spawn(move || {
                    start_line.wait();
                    share.drive(Instant::now())
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("a load thread panicked")).collect::<Vec<_>>()
    });
    let mut total = Tally::new();
    for tally in tallies {
        total.add(&tally?);
    }
    Ok(Summary::new(plan, total, began))
}

/// One connection.
#[derive(Debug)]
struct Link {
    stream: TcpStream,
    /// What could not be written yet.
    unsent: Vec<u8>,
    /// The beginning of a reply whose end has not come.
    partial: Vec<u8>,
    waiting: VecDeque<Waiting>,
    next_id: u64,
    /// Whether epoll is to tell when there is room to write.
    awaits_room: bool,
    open: bool,
}

/// A request that waits for its reply.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    id: u64,
    /// Which of the keys it asks for.
    key: usize,
    /// When it was written.
    asked: Instant,
}

/// The connections of one thread.
struct Share<'a> {
    plan: &'a Plan,
    keys: &'a Keys,
    check: Option<&'a dyn Check>,
    next_key: usize,
    poll: Poll,
    links: Vec<Link>,
    tally: Tally,
    /// Answers before this instant are not measured, those after `end` neither, and nothing is asked after it.
    begin: Instant,
    end: Instant,
}

impl<'a> Share<'a> {
    fn open(
        plan: &'a Plan,
        keys: &'a Keys,
        check: Option<&'a dyn Check>,
        connections: usize,
        first_key: usize,
    ) -> anyhow::Result<Self> {
        let poll = Poll::new().context("cannot make an epoll")?;
        let mut links = Vec::with_capacity(connections);
        for token in 0..connections {
            let stream = StdStream::connect_timeout(&plan.server, PATIENCE)
                .with_context(|| format!("cannot connect to {}: is the server running?", plan.server))?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(token), Interest::READABLE)?;
            links.push(Link {
                stream,
                unsent: Vec::new(),
                partial: Vec::new(),
                waiting: VecDeque::with_capacity(plan.pipeline),
                next_id: 1,
                awaits_room: false,
                open: true,
            });
        }
        let now = Instant::now();
        Ok(Self { plan, keys, check, next_key: first_key, poll, links, tally: Tally::new(), begin: now, end: now })
    }

    /// Asks until the time is over and the last reply is in.
    fn drive(mut self, start: Instant) -> anyhow::Result<Tally> {
        self.begin = start + self.plan.warmup;
        self.end = self.begin + self.plan.measured;
        let give_up = self.end + DRAIN;
        for link in 0..self.links.len() {
            self.ask(link, self.plan.pipeline);
        }
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match self.poll.poll(&mut events, Some(TICK)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                outcome => outcome.context("cannot wait for events")?,
            }
            for event in &events {
                let Token(link) = event.token();
                if event.is_writable() {
                    self.send(link);
                }
                if event.is_readable() || event.is_read_closed() || event.is_error() {
                    self.receive(link, &mut buffer);
                }
            }
            if self.is_over(give_up) {
                return Ok(self.tally);
            }
        }
    }

    /// Whether nothing more is to come, or has not come until `give_up`.
    fn is_over(&mut self, give_up: Instant) -> bool {
        let now = Instant::now();
        if now < self.end {
            return self.links.iter().all(|link| !link.open);
        }
        let waiting: usize = self.links.iter().map(|link| link.waiting.len()).sum();
        if waiting > 0 && now > give_up {
            self.tally.error("unanswered", waiting as u64);
        }
        waiting == 0 || now > give_up
    }

    /// Sends `count` more requests on one connection.
    fn ask(&mut self, link: usize, count: usize) {
        let state = &mut self.links[link];
        let now = Instant::now();
        if !state.open || count == 0 || now >= self.end {
            return;
        }
        for _ in 0..count {
            framing::request(&mut state.unsent, state.next_id, self.keys.body(self.next_key));
            state.waiting.push_back(Waiting { id: state.next_id, key: self.next_key, asked: now });
            state.next_id += 1;
            self.next_key += 1;
        }
        self.send(link);
    }

    /// Writes what is unsent; epoll tells when there is room for what does not fit.
    fn send(&mut self, link: usize) {
        let state = &mut self.links[link];
        let Ok(all_sent) = state.write() else {
            return self.close(link, "connection_failed");
        };
        let awaits_room = !all_sent;
        if awaits_room != state.awaits_room {
            state.awaits_room = awaits_room;
            let interest = if awaits_room { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            if self.poll.registry().reregister(&mut state.stream, Token(link), interest).is_err() {
                self.close(link, "connection_failed");
            }
        }
    }

    /// Reads what is there. A read that does not fill the buffer has emptied the socket: epoll tells of what comes later.
    fn receive(&mut self, link: usize, buffer: &mut [u8]) {
        while self.links[link].open {
            match self.links[link].stream.read(buffer) {
                Ok(0) => self.close(link, "connection_closed"),
                Ok(bytes) => {
                    let answered = self.take(link, &buffer[..bytes]);
                    self.ask(link, answered);
                    if bytes < buffer.len() {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.close(link, "connection_failed"),
            }
        }
    }

    /// Judges every whole reply in what was read; returns how many there were.
    fn take(&mut self, link: usize, mut bytes: &[u8]) -> usize {
        let mut answered = 0;
        while let Some(length) = framing::reply_bytes(bytes) {
            let (reply, rest) = bytes.split_at(length);
            bytes = rest;
            let whole = if self.links[link].partial.is_empty() {
                Cow::Borrowed(reply)
            } else {
                let mut whole = std::mem::take(&mut self.links[link].partial);
                whole.extend_from_slice(reply);
                Cow::Owned(whole)
            };
            answered += usize::from(self.count(link, &whole));
        }
        self.links[link].partial.extend_from_slice(bytes);
        answered
    }

    /// Counts one reply; whether it answers a request of this connection.
    fn count(&mut self, link: usize, reply: &[u8]) -> bool {
        let waiting = &mut self.links[link].waiting;
        let oldest = waiting.front().map(|first| self.keys.expected(first.key).1);
        let mut judged = framing::judge(reply, self.plan.expect_rows, oldest.flatten());
        let found = match judged.id {
            Some(id) => waiting.iter().position(|waiting| waiting.id == id),
            // Without an id nothing says which request it answers; the oldest is taken for it, so that the loop goes on.
            None => (!waiting.is_empty()).then_some(0),
        };
        let Some((at, Waiting { key, asked, .. })) = found.and_then(|at| Some((at, waiting.remove(at)?))) else {
            self.tally.error("unasked_reply", 1);
            return false;
        };
        let (question, total) = self.keys.expected(key);
        if at > 0 {
            // It overtook the one whose total it was compared with.
            judged = framing::judge(reply, self.plan.expect_rows, total);
        }
        let answered = Instant::now();
        let checked = match self.check {
            Some(check) if judged.error.is_none() => check.check(&Answered { question, reply, asked, answered }),
            _ => Ok(()),
        };
        let error = judged.error.as_deref().or(checked.err());
        if answered >= self.begin && answered < self.end {
            self.tally.answered(answered - self.begin, answered - asked, error.is_none());
        }
        if let Some(code) = error {
            self.tally.error(code, 1);
        }
        true
    }

    /// Gives a connection up; each request that waits on it is an error.
    fn close(&mut self, link: usize, why: &str) {
        let state = &mut self.links[link];
        state.open = false;
        let lost = state.waiting.len().max(1) as u64;
        state.waiting.clear();
        // The socket may be gone already.
        let _ = self.poll.registry().deregister(&mut state.stream);
        self.tally.error(why, lost);
    }
}

impl Link {
    /// Writes what fits; whether that was all.
    fn write(&mut self) -> std::io::Result<bool> {
        let mut sent = 0;
        while sent < self.unsent.len() {
            match self.stream.write(&self.unsent[sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(bytes) => sent += bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.unsent.drain(..sent);
        Ok(self.unsent.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::net::{SocketAddr, TcpListener};
    use std::path::PathBuf;

    use super::*;

    /// A peer that answers each request line by `answer`, given its number on the connection and its `id`; `None` hangs up.
    fn peer(connections: usize, answer: fn(usize, u64) -> Option<String>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().take(connections) {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    for (number, line) in BufReader::new(stream.try_clone().unwrap()).lines().enumerate() {
                        let request: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
                        let Some(reply) = answer(number, request["id"].as_u64().unwrap()) else { return };
                        stream.write_all(reply.as_bytes()).unwrap();
                    }
                });
            }
        });
        address
    }

    fn ask(pipeline: usize, answer: fn(usize, u64) -> Option<String>) -> Summary {
        let plan = Plan {
            server: peer(3, answer),
            connections: 3,
            measured: Duration::from_millis(200),
            warmup: Duration::from_millis(20),
            threads: 2,
            pipeline,
            keys: PathBuf::new(),
            seed: 1,
            expect_rows: true,
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "191\n272\n{\"nome\":\"A\"}\n").unwrap();
        run(&plan, &Keys::read(file.path(), 1).unwrap(), None).unwrap()
    }

    #[test]
    fn good_answers_are_counted() {
        for pipeline in [1, 4] {
            let summary = ask(pipeline, |_, id| Some(format!("{{\"id\":{id},\"status\":\"ok\",\"rows\":[{{}}]}}\n")));
            assert_eq!(summary.errors_total(), 0, "{summary}");
            assert!(summary.requests > 0 && summary.latency_us[0] <= summary.latency_us[3], "{summary}");
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
}
