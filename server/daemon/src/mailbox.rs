//! `Mailbox`: where one connection's dear questions line up for the queue, and where their replies wait for the session.
//!
//! A connection has a share of each lane's queue. Beyond it, and while its client does not take what it has already, its questions are put aside here: so it
//! holds about [`CONNECTION_BYTES_MAX`] of replies and one more for each query thread, and nobody else's place, however much it asks for.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use may::io::WaitIoWaker;

use crate::budget::Charge;
use crate::conversation::Ticket;
use crate::limits::CONNECTION_BYTES_MAX;
use crate::queries::{Lane, Query};

/// A reply on its way back to its session.
pub(crate) struct Posted {
    pub(crate) ticket: Ticket,
    pub(crate) lane: Lane,
    pub(crate) reply: Vec<u8>,
    /// Bytes of the request's line, which is in hand no more.
    pub(crate) line_bytes: usize,
    /// Until the session holds it.
    pub(crate) _charge: Charge,
}

/// One connection's mailbox.
#[derive(Default)]
pub(crate) struct Mailbox {
    state: Mutex<State>,
    waker: OnceLock<WaitIoWaker>,
    /// The session is over: nothing is taken any more. Changed with the state locked, looked at without: a running search asks all the time.
    closed: AtomicBool,
    /// Whether questions are put aside, as it was when the state was last unlocked: the sweep need not lock those of all connections.
    has_parked: AtomicBool,
}

#[derive(Default)]
struct State {
    posted: Vec<Posted>,
    posted_bytes: usize,
    /// Bytes of replies that the client may take and has not taken.
    untaken_bytes: usize,
    /// Bytes of replies that wait for an earlier one.
    waiting_bytes: usize,
    /// The first place among the replies without `id` that is not answered.
    first_ordered: u64,
    /// One for each lane.
    lines: [Line; Lane::COUNT],
}

/// The questions of one lane.
#[derive(Default)]
struct Line {
    /// Those that are put aside, in their order.
    parked: VecDeque<Query>,
    /// How many are in the queue or being answered.
    queued: usize,
}

impl State {
    fn is_full(&self) -> bool {
        self.posted_bytes + self.untaken_bytes + self.waiting_bytes >= CONNECTION_BYTES_MAX
    }

    /// The place whose question may be answered all the same: the one that the others wait for, as long as not the client is what they wait for.
    fn exempt(&self) -> Option<Ticket> {
        (self.untaken_bytes < CONNECTION_BYTES_MAX).then_some(Ticket::Ordered(self.first_ordered))
    }

    /// The next question of a lane that may go into its queue.
    fn next(&mut self, lane: Lane) -> Option<Query> {
        let (is_full, exempt) = (self.is_full(), self.exempt());
        let line = &mut self.lines[lane as usize];
        if line.queued >= lane.share_max() {
            return None;
        }
        let query = if is_full {
            let at = line.parked.iter().position(|query| Some(query.ticket()) == exempt)?;
            line.parked.remove(at)
        } else {
            line.parked.pop_front()
        };
        line.queued += usize::from(query.is_some());
        query
    }

    /// A question of this lane has left the queue.
    fn left(&mut self, lane: Lane) -> &mut Line {
        let line = &mut self.lines[lane as usize];
        line.queued = line.queued.saturating_sub(1);
        line
    }
}

impl Mailbox {
    /// From now on the session is woken when a reply comes.
    pub(crate) fn wake_with(&self, waker: WaitIoWaker) {
        // A session does this once, before its first request.
        let _ = self.waker.set(waker);
    }

    /// Takes the replies that came.
    pub(crate) fn take(&self) -> Vec<Posted> {
        let mut state = self.lock();
        state.posted_bytes = 0;
        std::mem::take(&mut state.posted)
    }

    /// Lines a question up. Returns the next one that may go into the queue, this or one before it.
    pub(crate) fn line_up(&self, query: Query) -> Option<Query> {
        let mut state = self.lock();
        if state.is_full() {
            query.count_parked();
        }
        let lane = query.lane();
        state.lines[lane as usize].parked.push_back(query);
        let next = state.next(lane);
        self.note(&state);
        next
    }

    /// Tells how many bytes of replies the session holds that the client may take, and that wait for an earlier one, and which place is the first
    /// that is not answered. Returns the questions that may go into the queue now.
    pub(crate) fn settle(&self, untaken_bytes: usize, waiting_bytes: usize, first_ordered: u64) -> Vec<Query> {
        let mut state = self.lock();
        state.untaken_bytes = untaken_bytes;
        state.waiting_bytes = waiting_bytes;
        state.first_ordered = first_ordered;
        let mut next = Vec::new();
        for lane in Lane::ALL {
            next.extend(std::iter::from_fn(|| state.next(lane)));
        }
        self.note(&state);
        next
    }

    /// Takes out the questions that are put aside and whose deadline has passed: each is to be answered as those that come from the queue.
    pub(crate) fn take_late(&self, now: Instant) -> Vec<Query> {
        if !self.has_parked.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut state = self.lock();
        let mut late = Vec::new();
        for line in &mut state.lines {
            if line.parked.iter().any(|query| query.is_late(now)) {
                let (over, rest): (Vec<_>, _) = line.parked.drain(..).partition(|query| query.is_late(now));
                line.parked = rest.into();
                line.queued += over.len();
                late.extend(over);
            }
        }
        self.note(&state);
        late
    }

    /// Gives the query, which comes from the queue, back if it may be answered now. Else puts it aside until the session settles; or forgets it
    /// where the session is over.
    pub(crate) fn admit(&self, query: Query) -> Option<Query> {
        let mut state = self.lock();
        if self.is_closed() {
            drop(state);
            query.forget();
            return None;
        }
        if !state.is_full() || state.exempt() == Some(query.ticket()) {
            return Some(query);
        }
        query.count_parked();
        // The eldest first, as before.
        let parked = &mut state.left(query.lane()).parked;
        let at = parked.iter().position(|other| other.began() > query.began()).unwrap_or(parked.len());
        parked.insert(at, query);
        self.note(&state);
        None
    }

    /// Brings a reply.
    pub(crate) fn post(&self, posted: Posted) {
        let mut state = self.lock();
        if self.is_closed() {
            return;
        }
        state.left(posted.lane);
        state.posted_bytes += posted.reply.len();
        state.posted.push(posted);
        drop(state);
        self.wake();
    }

    /// The session is over: what is here is dropped, what comes is not taken.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        self.closed.store(true, Ordering::Relaxed);
        let (posted, lines) = (std::mem::take(&mut state.posted), std::mem::take(&mut state.lines));
        self.note(&state);
        // A query that is dropped comes back here.
        drop(state);
        drop(posted);
        lines.into_iter().flat_map(|line| line.parked).for_each(Query::forget);
    }

    /// Whether the session is over.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Wakes the session.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wakeup();
        }
    }

    fn note(&self, state: &State) {
        let has_parked = state.lines.iter().any(|line| !line.parked.is_empty());
        self.has_parked.store(has_parked, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
