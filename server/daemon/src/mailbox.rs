//! `Mailbox`: where one connection's dear questions line up for the queue, and where their replies wait for the session.
//!
//! A connection has a share of the queue. Beyond it, and while its client does not take what it has already, its questions are put aside here: so it
//! holds about [`CONNECTION_BYTES_MAX`] of replies and one more for each query thread, and nobody else's place, however much it asks for.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use may::io::WaitIoWaker;

use crate::budget::Charge;
use crate::conversation::Ticket;
use crate::limits::{CONNECTION_BYTES_MAX, QUEUE_SHARE_MAX};
use crate::queries::Query;

/// A reply on its way back to its session.
pub(crate) struct Posted {
    pub(crate) ticket: Ticket,
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
}

#[derive(Default)]
struct State {
    posted: Vec<Posted>,
    posted_bytes: usize,
    /// Bytes of replies that the session has and the client has not taken.
    untaken_bytes: usize,
    /// The first place among the replies without `id` that is not answered.
    first_ordered: u64,
    /// Questions that are put aside, in their order.
    parked: VecDeque<Query>,
    /// Questions in the queue or being answered.
    queued: usize,
    /// The session is over: nothing is taken any more.
    closed: bool,
}

impl State {
    fn is_first(&self, query: &Query) -> bool {
        query.ticket() == Ticket::Ordered(self.first_ordered)
    }

    fn is_full(&self) -> bool {
        self.posted_bytes + self.untaken_bytes >= CONNECTION_BYTES_MAX
    }

    /// The next question that may go into the queue.
    fn next(&mut self) -> Option<Query> {
        if self.queued >= QUEUE_SHARE_MAX {
            return None;
        }
        let query = if self.is_full() {
            // Whatever waits behind the first place cannot be taken before it: the first never waits for the client.
            let first = self.parked.iter().position(|query| self.is_first(query))?;
            self.parked.remove(first)
        } else {
            self.parked.pop_front()
        };
        self.queued += usize::from(query.is_some());
        query
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
        state.parked.push_back(query);
        state.next()
    }

    /// Tells how many bytes of replies the session holds and which place is the first that is not answered. Returns the questions that may go
    /// into the queue now.
    pub(crate) fn settle(&self, untaken_bytes: usize, first_ordered: u64) -> Vec<Query> {
        let mut state = self.lock();
        state.untaken_bytes = untaken_bytes;
        state.first_ordered = first_ordered;
        std::iter::from_fn(|| state.next()).collect()
    }

    /// Gives the query, which comes from the queue, back if it may be answered now. Else puts it aside until the session settles; or forgets it
    /// where the session is over.
    pub(crate) fn admit(&self, query: Query) -> Option<Query> {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            query.forget();
            return None;
        }
        if !state.is_full() || state.is_first(&query) {
            return Some(query);
        }
        query.count_parked();
        state.queued = state.queued.saturating_sub(1);
        state.parked.push_front(query);
        None
    }

    /// Brings a reply.
    pub(crate) fn post(&self, posted: Posted) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        state.queued = state.queued.saturating_sub(1);
        state.posted_bytes += posted.reply.len();
        state.posted.push(posted);
        drop(state);
        self.wake();
    }

    /// The session is over: what is here is dropped, what comes is not taken.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let (posted, parked) = (std::mem::take(&mut state.posted), std::mem::take(&mut state.parked));
        // A query that is dropped comes back here.
        drop(state);
        drop(posted);
        parked.into_iter().for_each(Query::forget);
    }

    /// Wakes the session.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wakeup();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
