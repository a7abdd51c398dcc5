//! The event loop: each thread drives its share of the connections over one epoll, in a closed loop or by a schedule.
//!
//! A connection that fails is counted and not opened again: a server that drops connections must not look fast. By the schedule a request
//! belongs to the connection whose turn it is, and waits there while that has no free place: a connection that hangs holds up what is due on it.

use std::io::{ErrorKind, Read as _};
use std::net::TcpStream as StdStream;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Barrier;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};

use super::framing::Framing;
use super::keys::Keys;
use super::link::{Link, Waiting};
use super::schedule::{Schedule, set_timer};
use super::summary::{Summary, Tally};
use super::{Answered, Check, PATIENCE, Pace, Plan};

/// How long unanswered requests are waited for after the last one was due.
const DRAIN: Duration = Duration::from_secs(10);

/// A thread looks at the clock at least so often.
const TICK: Duration = Duration::from_millis(50);

/// What is read at once, in bytes.
const READ_BYTES: usize = 64 * 1024;

/// Due times that wait on the connections of one thread, 16 bytes each. When there are more, the schedule waits: it keeps their times.
const BACKLOG_MAX: usize = 1 << 20;

/// What epoll names the timer.
const TIMER: Token = Token(usize::MAX);

/// Runs every thread and adds up what they counted.
pub(crate) fn run<F: Framing>(
    plan: &Plan,
    framing: &F,
    keys: &Keys,
    check: Option<&dyn Check>,
) -> anyhow::Result<Summary> {
    let threads = plan.threads.min(plan.connections);
    let mut shares = Vec::new();
    for thread in 0..threads {
        shares.push(Share::open(plan, framing, keys, check, thread)?);
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
                    share.drive::<F>(Instant::now())
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

/// The connections of one thread.
struct Share<'a> {
    plan: &'a Plan,
    keys: &'a Keys,
    check: Option<&'a dyn Check>,
    thread: usize,
    next_key: usize,
    poll: Poll,
    links: Vec<Link>,
    tally: Tally,
    /// What is due when; `None` in a closed loop.
    schedule: Option<Schedule>,
    timer: OwnedFd,
    /// For when the timer is set.
    rings_at: Option<Instant>,
    /// Whose turn it is in the schedule.
    turn: usize,
    /// Due times that wait on all connections.
    backlog: usize,
    /// Answers before this instant are not measured, those after `end` neither, and nothing is due after it.
    begin: Instant,
    end: Instant,
}

impl<'a> Share<'a> {
    fn open<F: Framing>(
        plan: &'a Plan,
        framing: &F,
        keys: &'a Keys,
        check: Option<&'a dyn Check>,
        thread: usize,
    ) -> anyhow::Result<Self> {
        let threads = plan.threads.min(plan.connections);
        let connections = plan.connections / threads + usize::from(thread < plan.connections % threads);
        let poll = Poll::new().context("cannot make an epoll")?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)
            .context("cannot make a timer")?;
        poll.registry().register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)?;
        let mut links = Vec::with_capacity(connections);
        for token in 0..connections {
            let mut stream = StdStream::connect_timeout(&plan.server, PATIENCE)
                .with_context(|| format!("cannot connect to {}: is the server running?", plan.server))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            framing.greet(&mut stream)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(token), Interest::READABLE)?;
            links.push(Link::new(stream, plan.pipeline));
        }
        let now = Instant::now();
        Ok(Self {
            plan,
            keys,
            check,
            thread,
            next_key: keys.len() / threads * thread,
            poll,
            links,
            tally: Tally::new(),
            schedule: None,
            timer,
            rings_at: None,
            turn: 0,
            backlog: 0,
            begin: now,
            end: now,
        })
    }

    /// Asks until the time is over and the last reply is in.
    fn drive<F: Framing>(mut self, start: Instant) -> anyhow::Result<Tally> {
        self.begin = start + self.plan.warmup;
        self.end = self.begin + self.plan.measured;
        let give_up = self.end + DRAIN;
        match self.plan.pace {
            Pace::Closed => (0..self.links.len()).for_each(|link| self.ask::<F>(link, Instant::now())),
            Pace::Fixed { per_second } => {
                // Each thread's part of the rate is that of its connections.
                let own = per_second * self.links.len() as f64 / self.plan.connections as f64;
                self.schedule = Some(Schedule::new(own, self.plan.seed, self.thread, start, self.end));
            }
        }
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; READ_BYTES];
        loop {
            self.wait::<F>(&mut events)?;
            for event in &events {
                let Token(link) = event.token();
                if event.token() == TIMER {
                    self.rings_at = None;
                    self.send_due::<F>(Instant::now());
                    continue;
                }
                if event.is_writable() {
                    self.send(link);
                }
                if event.is_readable() || event.is_read_closed() || event.is_error() {
                    self.receive::<F>(link, &mut buffer);
                }
            }
            let now = Instant::now();
            if self.is_over(now, now > give_up) {
                return Ok(self.tally);
            }
        }
    }

    /// Sends what is due and waits for something to happen or to become due.
    fn wait<F: Framing>(&mut self, events: &mut Events) -> anyhow::Result<()> {
        if self.schedule.is_some() {
            self.send_due::<F>(Instant::now());
            let next = self.schedule.as_ref().and_then(Schedule::next).filter(|_| self.backlog < BACKLOG_MAX);
            if let Some(next) = next.filter(|next| self.rings_at != Some(*next)) {
                set_timer(&self.timer, next.saturating_duration_since(Instant::now())).context("cannot set a timer")?;
                self.rings_at = Some(next);
            }
        }
        match self.poll.poll(events, Some(TICK)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                events.clear();
                Ok(())
            }
            outcome => outcome.context("cannot wait for events"),
        }
    }

    /// Whether nothing more is to come. Where it is `given_up`, what has not come is counted.
    fn is_over(&mut self, now: Instant, given_up: bool) -> bool {
        if self.links.iter().all(|link| !link.open) {
            let (schedule, end) = (self.schedule.take(), self.end);
            let rest = schedule.into_iter().flat_map(|mut schedule| std::iter::from_fn(move || schedule.take(end)));
            self.never_sent(rest, None);
            return true;
        }
        if now < self.end {
            return false;
        }
        let scheduled = self.schedule.as_ref().is_some_and(|schedule| schedule.next().is_some());
        let any_left = scheduled || self.links.iter().any(|link| !link.waiting.is_empty() || !link.backlog.is_empty());
        if any_left && given_up {
            self.give_up(now);
        }
        !any_left || given_up
    }

    /// Counts what was not answered and what was not even sent. By a schedule their latency so far is recorded: it is not less.
    fn give_up(&mut self, now: Instant) {
        let schedule = self.schedule.take();
        let (mut unanswered, mut backlog) = (Vec::new(), Vec::new());
        for link in &mut self.links {
            unanswered.extend(link.waiting.drain(..).map(|waiting| waiting.due));
            backlog.extend(link.backlog.drain(..));
        }
        for due in unanswered.iter().filter(|due| schedule.is_some() && **due >= self.begin) {
            self.tally.latency(now - *due);
        }
        self.tally.error("unanswered", unanswered.len() as u64);
        let rest = schedule.into_iter().flat_map(|mut schedule| std::iter::from_fn(move || schedule.take(now)));
        self.never_sent(backlog.into_iter().chain(rest), Some(now));
    }

    /// Counts what was due at these times and is not asked any more; with its latency so far where it was `given_up` for the time.
    fn never_sent(&mut self, due: impl Iterator<Item = Instant>, given_up: Option<Instant>) {
        let mut count = 0;
        for due in due {
            count += 1;
            if due >= self.begin {
                self.tally.due += 1;
                given_up.inspect(|now| self.tally.latency(*now - due));
            }
        }
        self.tally.never_sent += count;
        self.tally.error("never_sent", count);
    }

    /// Gives every request that is due by `now` to the connection whose turn it is.
    fn send_due<F: Framing>(&mut self, now: Instant) {
        while self.backlog < BACKLOG_MAX
            && let Some(due) = self.schedule.as_mut().and_then(|schedule| schedule.take(now))
        {
            let link = self.turn;
            self.turn = (self.turn + 1) % self.links.len();
            if due >= self.begin {
                self.tally.noticed(now - due);
            }
            if !self.links[link].open {
                // The client behind a lost connection cannot ask.
                self.never_sent(std::iter::once(due), None);
                continue;
            }
            self.links[link].backlog.push_back(due);
            self.backlog += 1;
            self.ask::<F>(link, now);
        }
    }

    /// Fills the free places of one connection: with what is due, or in a closed loop with the next keys.
    fn ask<F: Framing>(&mut self, link: usize, now: Instant) {
        let state = &mut self.links[link];
        let before = state.waiting.len();
        while state.open && state.waiting.len() < self.plan.pipeline {
            let due = match self.plan.pace {
                Pace::Closed if now < self.end => now,
                Pace::Closed => break,
                Pace::Fixed { .. } => {
                    let Some(due) = state.backlog.pop_front() else { break };
                    self.backlog -= 1;
                    if due >= self.begin {
                        self.tally.due += 1;
                        self.tally.lag(now - due);
                    }
                    due
                }
            };
            F::request(&mut state.unsent, state.next_id, self.keys.body(self.next_key));
            state.waiting.push_back(Waiting { id: state.next_id, key: self.next_key, due, asked: now });
            state.next_id += 1;
            self.next_key += 1;
        }
        if state.waiting.len() > before {
            self.send(link);
        }
    }

    /// Writes what is unsent; epoll tells when there is room for what does not fit.
    fn send(&mut self, link: usize) {
        let state = &mut self.links[link];
        if !state.open {
            return;
        }
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
    fn receive<F: Framing>(&mut self, link: usize, buffer: &mut [u8]) {
        while self.links[link].open {
            match self.links[link].stream.read(buffer) {
                Ok(0) => {
                    let why = F::last_words(&self.links[link].partial).unwrap_or("connection_closed".into());
                    self.close(link, &why);
                }
                Ok(bytes) => {
                    // One look at the clock for all that came together.
                    let now = Instant::now();
                    self.take::<F>(link, &buffer[..bytes], now);
                    self.ask::<F>(link, now);
                    // Handling many answers takes its time: what becomes due meanwhile does not wait for the last of them.
                    self.send_due::<F>(now);
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

    /// Judges every whole reply in what was read and keeps the beginning of the next one.
    fn take<F: Framing>(&mut self, link: usize, bytes: &[u8], now: Instant) {
        let mut held = std::mem::take(&mut self.links[link].partial);
        let is_fresh = held.is_empty();
        if !is_fresh {
            held.extend_from_slice(bytes);
        }
        let input = if is_fresh { bytes } else { &held };
        let mut at = 0;
        let outcome = loop {
            match F::split(&input[at..], &mut self.links[link].scanned) {
                Ok(Some(length)) => {
                    self.links[link].scanned = 0;
                    self.count::<F>(link, &input[at..at + length], now);
                    at += length;
                }
                outcome => break outcome,
            }
        };
        if is_fresh {
            held.extend_from_slice(&bytes[at..]);
        } else {
            held.drain(..at);
        }
        self.links[link].partial = held;
        if let Err(damaged) = outcome {
            self.close(link, damaged.0);
        }
    }

    /// Counts one reply.
    fn count<F: Framing>(&mut self, link: usize, reply: &[u8], now: Instant) {
        let waiting = &mut self.links[link].waiting;
        let oldest = waiting.front().map(|first| self.keys.expected(first.key).1);
        let mut judged = F::judge(reply, self.plan.expect_rows, oldest.flatten());
        let found = match judged.id {
            Some(id) => waiting.iter().position(|waiting| waiting.id == id),
            // Without an id it answers the oldest: so other protocols have it, and so our loop goes on where a reply is damaged.
            None => (!waiting.is_empty()).then_some(0),
        };
        let Some((at, Waiting { key, due, asked, .. })) = found.and_then(|at| Some((at, waiting.remove(at)?))) else {
            self.tally.error("unasked_reply", 1);
            return;
        };
        let (question, total) = self.keys.expected(key);
        if at > 0 {
            // It overtook the one whose total it was compared with.
            judged = F::judge(reply, self.plan.expect_rows, total);
        }
        let checked = match self.check {
            Some(check) if judged.error.is_none() => check.check(&Answered { question, reply, asked, answered: now }),
            _ => Ok(()),
        };
        let error = judged.error.as_deref().or(checked.err());
        let is_within = now >= self.begin && now < self.end;
        if is_within {
            self.tally.answered(now - self.begin, now - due, reply.len(), error.is_none());
        }
        // By a schedule every request counts that was due in the measured time, however late its answer comes.
        let counts = if self.schedule.is_some() { due >= self.begin } else { is_within };
        if counts {
            self.tally.latency(now - due);
        }
        if let Some(code) = error {
            self.tally.error(code, 1);
        }
    }

    /// Gives a connection up; each request that waits on it is an error.
    fn close(&mut self, link: usize, why: &str) {
        let state = &mut self.links[link];
        state.open = false;
        let lost = state.waiting.len().max(1) as u64;
        state.waiting.clear();
        // The socket may be gone already.
        let _ = self.poll.registry().deregister(&mut state.stream);
        let unsent = std::mem::take(&mut state.backlog);
        self.backlog -= unsent.len();
        self.never_sent(unsent.into_iter(), None);
        self.tally.error(why, lost);
    }
}

#[cfg(test)]
mod tests;
