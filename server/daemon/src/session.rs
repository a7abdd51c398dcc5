//! A session: one connection as a coroutine. It alone touches the socket: reads what is there, has its lines answered together, writes once,
//! and waits for the socket, for a queued reply or for its deadline.

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use balcao_wire::Code;
use may::io::{CoIo, WaitIo};

use crate::budget::Charge;
use crate::conversation::Conversation;
use crate::desk::SessionDesk;
use crate::limits::{
    BYTES_BEFORE_YIELD, HALF_LINE_BYTES_TIGHT, LINE_DEADLINE, LINGER, READ_BYTES, ROUNDS_BEFORE_YIELD, STALL_SHORT,
    WRITE_STALL,
};
use crate::outflow::{Flow, Outflow};
use crate::serve::House;
use crate::sweep::Entry;

thread_local! {
    /// What a worker reads into. Sessions use it between two waits only, so that a quiet connection holds no buffer.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// Lends the buffer of the worker that runs this session now.
///
/// Never inlined: after a wait a session may run on another worker, and a compiler that sees the wait and this in one function may keep the address
/// of the former worker's buffer. Two sessions on two workers would then read into one.
#[inline(never)]
fn with_scratch<T>(read: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| read(scratch))
}

/// epoll's words for a peer that will send nothing more, as `wait_io` hands them out.
const PEER_CLOSED: usize = 0x2000 | PEER_GONE;

/// Its words for one that will not take anything either: a reset, or an error, of a connection of which we have closed no half.
const PEER_GONE: usize = 0x10 | 0x8;

/// The connection's socket, held twice: `CoIo` closes what it wraps before it takes the descriptor out of epoll, and by then the next
/// connection may have the same descriptor. The second hold closes it afterwards.
struct Held(Arc<TcpStream>);

impl AsRawFd for Held {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// What reading came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Input {
    /// As many bytes as fit: there may be more at once.
    More,
    /// Some bytes, fewer than fit.
    Short,
    /// Nothing more for now: the socket said so, and will say when that changes.
    Waiting,
    /// The socket was not looked at, since there is no room for more.
    Full,
    /// Nothing more ever.
    Ended,
    /// The connection broke.
    Broken,
}

/// Serves one connection until it ends; turns it away with a word where it is not welcome. Runs on a coroutine.
pub(crate) fn run(stream: TcpStream, entry: &Entry, house: &House) {
    let stream = Arc::new(stream);
    let Ok(io) = CoIo::new(Held(Arc::clone(&stream))) else {
        tracing::warn!("a connection could not be watched and was dropped");
        return;
    };
    entry.watch.mailbox.wake_with(io.waker());
    // On the heap: of a quiet connection's stack then one page of memory was ever used, not two.
    let mut session = Box::new(Session {
        stream: &stream,
        io,
        entry,
        house,
        talk: Conversation::default(),
        charge: Charge::new(&house.means.budget, 0),
        half_line: None,
        stalled_since: None,
        outflow: Outflow::default(),
        quiet_since: None,
    });
    if !entry.welcome {
        session.talk.turn_away();
        house.means.metrics.refused(Code::Overloaded);
    }
    session.serve();
    // The order matters, see `Held`.
    drop(session);
    drop(stream);
}

/// A duration on the house's clock.
fn ms(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

struct Session<'a> {
    stream: &'a TcpStream,
    io: CoIo<Held>,
    entry: &'a Entry,
    house: &'a House,
    talk: Conversation,
    /// What the connection holds of the house's memory.
    charge: Charge,
    /// The number of the line that is not whole, and when it began; on the house's clock.
    half_line: Option<(u64, u64)>,
    /// When the client last took a byte, as far as is known, while something waits for it.
    stalled_since: Option<u64>,
    /// What the system holds for the client.
    outflow: Outflow,
    /// Since when the connection owes nothing and says nothing.
    quiet_since: Option<u64>,
}

impl<'a> Session<'a> {
    fn serve(&mut self) {
        let (mut ended, mut peer_closed, mut rounds) = (false, false, 0);
        loop {
            for posted in self.entry.watch.mailbox.take() {
                self.talk.complete(posted.ticket, posted.reply, posted.line_bytes);
                // Before the reply's own charge goes with `posted`: at no moment does nobody answer for it.
                self.charge.set(self.talk.held_bytes());
            }
            self.talk.set_tight(self.house.means.budget.is_short());
            let stopping = self.house.sessions.is_stopping();
            let input = if ended { Input::Ended } else { self.read() };
            match input {
                Input::Broken => return,
                Input::Ended => ended = true,
                // What arrived before the stop is answered, what comes after it is not read.
                Input::Waiting | Input::Full if stopping => ended = true,
                _ => {}
            }
            if !self.write() {
                return;
            }
            self.settle();
            // Writing may have made room for lines that waited, also when nothing more is read.
            if self.talk.output().is_empty() && self.talk.has_backlog() && self.resume() {
                // Lines that were read at once may have replies for many rounds: the others of this worker go in between.
                rounds += 1;
                if rounds % ROUNDS_BEFORE_YIELD == 0 {
                    may::coroutine::yield_now();
                }
                continue;
            }
            if self.talk.is_quiet() && (ended || self.talk.is_closing()) {
                if self.talk.is_closing() || stopping {
                    self.linger();
                }
                return;
            }
            // Only a socket that said so is waited for: epoll tells each change once, and a change that came while there was no room, or
            // with the last bytes, was told already.
            let more = match input {
                Input::More => true,
                Input::Short => peer_closed,
                Input::Full => self.talk.wants_input(),
                Input::Waiting => {
                    peer_closed = false;
                    false
                }
                Input::Ended | Input::Broken => false,
            };
            if more {
                rounds += 1;
                if rounds % ROUNDS_BEFORE_YIELD == 0 {
                    may::coroutine::yield_now();
                }
                continue;
            }
            rounds = 0;
            self.set_deadline();
            let events = self.io.wait_io();
            if events & PEER_GONE != 0 {
                // Seen also where there is no room to read: what it asked for is not worth another moment.
                return;
            }
            peer_closed |= events & PEER_CLOSED != 0;
            if self.is_late() {
                return;
            }
        }
    }

    /// The desk, with what is served now.
    fn desk(&self) -> SessionDesk<'a> {
        SessionDesk::new(self.house, &self.entry.watch.mailbox, &self.entry.verifies)
    }

    /// Tells what the connection holds, and has those of its questions answered that waited for that to shrink.
    fn settle(&mut self) {
        self.charge.set(self.talk.held_bytes());
        if self.talk.in_flight() == 0 {
            return;
        }
        let (untaken, waiting) = (self.talk.output().len(), self.talk.waiting_bytes());
        for query in self.entry.watch.mailbox.settle(untaken, waiting, self.talk.first_ordered()) {
            self.house.queries.push(query);
        }
    }

    /// Answers what waited for room; whether there was something.
    fn resume(&mut self) -> bool {
        let desk = self.desk();
        self.talk.resume(&desk)
    }

    /// Answers what waited for room, then reads once and answers that.
    fn read(&mut self) -> Input {
        let desk = self.desk();
        self.talk.resume(&desk);
        if !self.talk.wants_input() {
            return if self.talk.is_closing() { Input::Ended } else { Input::Full };
        }
        let at_once = if self.house.means.budget.is_short() { HALF_LINE_BYTES_TIGHT } else { READ_BYTES };
        with_scratch(|scratch| match self.stream.read(&mut scratch[..at_once]) {
            Ok(0) => Input::Ended,
            Ok(count) => {
                self.quiet_since = None;
                self.talk.receive(&scratch[..count], &desk);
                if count == at_once { Input::More } else { Input::Short }
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => Input::Waiting,
                ErrorKind::Interrupted => Input::More,
                _ => Input::Broken,
            },
        })
    }

    /// Writes what the socket takes; `false` where the connection broke.
    fn write(&mut self) -> bool {
        let mut since_yield = 0;
        while !self.talk.output().is_empty() {
            match self.stream.write(self.talk.output()) {
                Ok(0) => return false,
                Ok(count) => {
                    self.talk.written(count);
                    self.stalled_since = None;
                    self.outflow.wrote();
                    since_yield += count;
                    if since_yield >= BYTES_BEFORE_YIELD {
                        since_yield = 0;
                        may::coroutine::yield_now();
                    }
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return true,
                    ErrorKind::Interrupted => {}
                    _ => return false,
                },
            }
        }
        true
    }

    /// Tells the sweep when to wake this session at the latest.
    fn set_deadline(&mut self) {
        let now = self.house.sessions.now_ms();
        let half = self.talk.half_line();
        let (owes, was_stalled) = (!self.talk.output().is_empty(), self.stalled_since.is_some());
        if owes && !was_stalled {
            // From here on it is judged whether the client takes anything.
            self.outflow.look(self.stream);
        }
        let stalls = owes || self.outflow.is_pending();
        // Each line has its own time: a client whose packets end in the middle of lines is not slow.
        self.half_line = half.map(|line| self.half_line.filter(|half| half.0 == line).unwrap_or((line, now)));
        self.stalled_since = stalls.then(|| self.stalled_since.unwrap_or(now));
        let is_quiet = half.is_none() && self.talk.is_quiet();
        self.quiet_since = is_quiet.then(|| self.quiet_since.unwrap_or(now));
        let line = self.half_line.map(|(_, since)| since + ms(LINE_DEADLINE));
        let stall = self.stalled_since.map(|since| since + ms(WRITE_STALL));
        let idle = self.quiet_since.map(|since| since + ms(self.house.idle));
        let watch = &self.entry.watch;
        watch.set_deadline(line.into_iter().chain(stall).chain(idle).min());
        let large_half = self.half_line.filter(|_| self.talk.is_half_line_large()).map(|(_, since)| since);
        watch.set_stalled(self.stalled_since.into_iter().chain(large_half).min());
        watch.set_held_back(large_half.is_some() && !self.talk.wants_input());
    }

    /// Looks at the deadlines; `true` where the connection is to be dropped.
    fn is_late(&mut self) -> bool {
        let now = self.house.sessions.now_ms();
        let late = |since: Option<u64>, limit| since.is_some_and(|since| now >= since + ms(limit));
        let metrics = &self.house.means.metrics;
        let is_short = self.house.means.budget.is_short();
        let stall = if is_short { STALL_SHORT } else { WRITE_STALL };
        if late(self.stalled_since, stall) {
            if self.outflow.look(self.stream) == Flow::Still {
                metrics.write_stalls.add_one();
                tracing::info!("a client took no byte of its replies for too long; its connection is closed");
                return true;
            }
            // It reads, however slowly; or it has read all.
            self.stalled_since = self.outflow.is_pending().then_some(now);
        }
        if late(self.quiet_since, self.house.idle) {
            // What has just arrived may lie in the socket: it is no longer quiet then.
            match self.read() {
                Input::Waiting => {
                    metrics.idle.add_one();
                    tracing::debug!("a connection was quiet for too long and is closed");
                    self.linger();
                    return true;
                }
                Input::Broken => return true,
                _ => self.quiet_since = None,
            }
        }
        let rest = if is_short && self.talk.is_half_line_large() { STALL_SHORT } else { LINE_DEADLINE };
        if late(self.half_line.map(|(_, since)| since), rest) {
            let number = self.half_line.take().map(|(number, _)| number);
            // The rest of the line may lie in the socket: only one that is still half after one more read is late.
            if self.read() != Input::Broken && self.talk.half_line() == number {
                metrics.late_lines.add_one();
                metrics.refused(Code::DeadlineExceeded);
                self.talk.expire_line();
            }
        }
        false
    }

    /// Closes gently: says that nothing more comes, and reads on for a moment, since a close over unread bytes would take the last reply
    /// back.
    fn linger(&mut self) {
        if self.stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let deadline = self.house.sessions.now_ms() + LINGER.as_millis() as u64;
        self.entry.watch.set_deadline(Some(deadline));
        let mut rounds = 0;
        while self.house.sessions.now_ms() < deadline {
            rounds += 1;
            if rounds % ROUNDS_BEFORE_YIELD == 0 {
                may::coroutine::yield_now();
            }
            let read = with_scratch(|scratch| self.stream.read(scratch));
            match read {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.io.wait_io();
                }
                Err(_) => return,
            }
        }
    }
}
