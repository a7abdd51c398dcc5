//! The queues of queries: bounded, and served by threads of their own. Short ones have a lane apart, so that a page of fifty rows does not wait
//! for those of a thousand; single rows have one, so that they do not wait for pages; and searches have one, so that nobody waits for them but searches; of its threads one takes no batches, so
//! that a single search does not wait for those.
//!
//! A query that is dropped unanswered, whatever the reason, answers `internal`: no request is ever left without a reply.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use balcao_engine::{Answer, Snapshot};
use balcao_wire::limits::{DEADLINE_MS_BATCH, DEADLINE_MS_DEFAULT};
use balcao_wire::{Code, Fault, Operation, Request, write_fault};

use crate::budget::{Budget, Charge};
use crate::conversation::Ticket;
use crate::desk::guarded;
use crate::limits::{
    DEAR_NICENESS, QUEUE_MAX, QUEUE_SHARE_MAX, RETRY_AFTER_MS, SEARCH_SHARE_MAX, SEARCH_THREADS_MIN,
    WAITING_THREADS_MIN,
};
use crate::mailbox::{Mailbox, Posted};
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::rest::Rest;
use crate::threads;
use crate::warmth::Warmth;

/// What every query needs of the house.
#[derive(Clone)]
pub(crate) struct Means {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) warmth: Arc<Warmth>,
}

/// Which queue a query goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// A single row by its CPF that has to come from the disk.
    Single,
    /// A page that a person reads.
    Short,
    /// Long pages and batches: whatever a program asks.
    Long,
    /// Whatever has to be searched for: words, what is like them, filters; and batches that hold such an item.
    Search,
}

impl Lane {
    /// The one whose questions cost least first.
    pub(crate) const ALL: [Self; 4] = [Self::Single, Self::Short, Self::Long, Self::Search];

    /// How many there are.
    pub(crate) const COUNT: usize = Self::ALL.len();

    /// Where a short page goes that is not answered in the session.
    pub(crate) fn of_rows(rows: usize) -> Self {
        if rows <= 1 { Self::Single } else { Self::Short }
    }

    /// As its threads and its figures are called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Short => "short",
            Self::Long => "long",
            Self::Search => "search",
        }
    }

    /// Questions of one connection that are in its queue or being answered, at most.
    pub(crate) fn share_max(self) -> usize {
        if self == Self::Search { SEARCH_SHARE_MAX } else { QUEUE_SHARE_MAX }
    }

    /// Its threads, where there are so many workers.
    fn threads(self, workers: usize) -> usize {
        match self {
            Self::Single | Self::Short => workers.max(WAITING_THREADS_MIN),
            Self::Long => workers,
            Self::Search => workers.max(SEARCH_THREADS_MIN),
        }
    }

    /// Whether its thread of this number, from 0 on, takes no batches.
    fn leaves_batches(self, number: usize) -> bool {
        self == Self::Search && number == 0
    }

    /// By how much its threads let others go first.
    fn niceness(self) -> i32 {
        match self {
            Self::Single | Self::Short => 0,
            Self::Long | Self::Search => DEAR_NICENESS,
        }
    }
}

/// How long after its line was read a request is answered at the latest, or told that it is not.
pub(crate) fn patience(request: &Request) -> Duration {
    let usual =
        if matches!(request.operation, Ok(Operation::Batch(_))) { DEADLINE_MS_BATCH } else { DEADLINE_MS_DEFAULT };
    Duration::from_millis(request.deadline_ms.unwrap_or(usual).into())
}

/// A request that is not answered in its session.
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) ticket: Ticket,
    pub(crate) lane: Lane,
    /// Bytes of its line: what it holds is about that much.
    pub(crate) line_bytes: usize,
    /// When its line was read.
    pub(crate) began: Instant,
}

/// A request on its way to a query thread.
pub(crate) struct Query {
    /// Taken when it is answered.
    request: Option<Request>,
    ticket: Ticket,
    lane: Lane,
    snapshot: Arc<Snapshot>,
    mailbox: Arc<Mailbox>,
    means: Means,
    /// When its line was read, and until when it is to be answered.
    began: Instant,
    deadline: Instant,
    line_bytes: usize,
    charge: Charge,
}

impl Query {
    pub(crate) fn new(asked: Asked, snapshot: Arc<Snapshot>, mailbox: Arc<Mailbox>, means: Means) -> Self {
        let Asked { request, ticket, lane, line_bytes, began } = asked;
        let charge = Charge::new(&means.budget, line_bytes);
        let (deadline, request) = (began + patience(&request), Some(request));
        Self { request, ticket, lane, snapshot, mailbox, means, began, deadline, line_bytes, charge }
    }

    /// Where it is answered.
    pub(crate) fn lane(&self) -> Lane {
        self.lane
    }

    /// Its place among its connection's requests.
    pub(crate) fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Whether it is a batch.
    fn is_batch(&self) -> bool {
        self.request.as_ref().is_some_and(|request| matches!(request.operation, Ok(Operation::Batch(_))))
    }

    /// When its line was read.
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// Whether its deadline has passed by `now`.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        now >= self.deadline
    }

    /// Whether nobody waits for its answer any more.
    fn is_over(&self, now: Instant) -> bool {
        self.is_late(now) || self.mailbox.is_closed()
    }

    /// Counts that it was put aside.
    pub(crate) fn count_parked(&self) {
        self.means.metrics.parked.add_one();
    }

    /// Answers it, unless it waited too long, or its client takes no replies: then it is put aside.
    fn run(self) {
        #[cfg(test)]
        self.request.iter().for_each(crate::panic_tests::strike_thread);
        if self.is_over(Instant::now()) {
            return self.end();
        }
        if self.means.budget.is_short() {
            return self.refuse(&no_room());
        }
        let mailbox = Arc::clone(&self.mailbox);
        if let Some(query) = mailbox.admit(self) {
            query.answer();
        }
    }

    fn answer(mut self) {
        if let Some(request) = self.request.take() {
            let mut reply = Vec::new();
            let (mailbox, deadline) = (&self.mailbox, self.deadline);
            let rest = (self.lane == Lane::Search).then(|| Rest::new(&self.means.metrics));
            let goes_on = || {
                rest.iter().for_each(Rest::take);
                !mailbox.is_closed() && Instant::now() < deadline
            };
            let answer = guarded(&request, &mut reply, |out| {
                #[cfg(test)]
                crate::panic_tests::strike_query(&request);
                // What a search reads is known only when it was read.
                if self.lane != Lane::Search && self.means.warmth.is_cold() {
                    self.snapshot.fetch_ahead(&request);
                }
                Ok::<_, Infallible>(self.snapshot.answer_while(&request, out, &goes_on))
            });
            let Ok(answer) = answer;
            if self.mailbox.is_closed() {
                return;
            }
            if answer == Err(Code::DeadlineExceeded) {
                self.means.metrics.late_requests.add_one();
            }
            self.post(reply, answer);
        }
    }

    /// Answers it as one whose deadline has passed; one that nobody waits for is let go.
    pub(crate) fn end(self) {
        if self.mailbox.is_closed() {
            return self.forget();
        }
        self.means.metrics.late_requests.add_one();
        let message =
            "the question waited too long for its turn; ask again, and less at once, or with a longer `deadline_ms`";
        self.refuse(&Fault::new(Code::DeadlineExceeded, message));
    }

    /// Answers with an error.
    fn refuse(mut self, fault: &Fault) {
        self.refuse_once(fault);
    }

    /// Lets it go unanswered: there is nobody any more to answer to.
    pub(crate) fn forget(mut self) {
        self.request = None;
    }

    fn refuse_once(&mut self, fault: &Fault) {
        if let Some(request) = self.request.take() {
            let mut reply = Vec::new();
            write_fault(&mut reply, &request.id, fault);
            self.post(reply, Err(fault.code));
        }
    }

    fn post(&mut self, reply: Vec<u8>, answer: Answer) {
        // Before the reply can be seen: whoever has it finds its question held no more.
        self.charge.set(0);
        self.means.metrics.answered(answer, self.began.elapsed());
        self.means.metrics.lanes[self.lane as usize].add_one();
        let charge = Charge::new(&self.means.budget, reply.capacity());
        let (ticket, lane, line_bytes) = (self.ticket, self.lane, self.line_bytes);
        self.mailbox.post(Posted { ticket, lane, reply, line_bytes, _charge: charge });
    }
}

impl Drop for Query {
    fn drop(&mut self) {
        let message = "the server stopped before it came to this request; ask again";
        self.refuse_once(&Fault::new(Code::Internal, message));
    }
}

/// The answer to a dear question where the server holds too much already.
pub(crate) fn no_room() -> Fault {
    Fault::overloaded("the server holds as many replies as it may; ask again later", RETRY_AFTER_MS)
}

/// The queues, one for each lane.
pub(crate) struct Lines([Queue<Query>; Lane::COUNT]);

impl Lines {
    /// Waits for what the lane's thread of this number is to answer next.
    fn pop(&self, lane: Lane, number: usize) -> Option<Query> {
        let queue = &self.0[lane as usize];
        if lane.leaves_batches(number) { queue.pop_only(|query| !query.is_batch()) } else { queue.pop() }
    }

    /// Answers those whose deadline has passed while they wait, and lets those go that nobody waits for, so that they take nobody's place.
    pub(crate) fn sweep(&self, now: Instant) {
        let over = self.0.iter().flat_map(|queue| queue.take_out(|query| query.is_over(now)));
        over.for_each(Query::end);
    }
}

/// The queues' entrance. Dropped, their threads end with what is in them.
pub(crate) struct Queries {
    lines: Arc<Lines>,
}

impl Drop for Queries {
    fn drop(&mut self) {
        self.lines.0.iter().for_each(Queue::close);
    }
}

impl Queries {
    /// Threads of all lanes, where there are so many workers.
    pub(crate) fn threads(workers: usize) -> usize {
        Lane::ALL.iter().map(|lane| lane.threads(workers)).sum()
    }

    /// Starts the threads of each lane. They are plain threads, so that a cold disk blocks none of the sessions' workers.
    pub(crate) fn start(workers: usize, metrics: &Arc<Metrics>) -> io::Result<Self> {
        let lines = Arc::new(Lines(std::array::from_fn(|_| Queue::new(QUEUE_MAX))));
        let queries = Self { lines: Arc::clone(&lines) };
        for lane in Lane::ALL {
            for number in 0..lane.threads(workers) {
                let lines = Arc::clone(&lines);
                threads::start(format!("{}-{number}", lane.name()), metrics, move || {
                    threads::let_others_first(lane.niceness());
                    std::iter::from_fn(|| lines.pop(lane, number)).for_each(Query::run);
                })?;
            }
        }
        Ok(queries)
    }

    /// What the sweep looks at.
    pub(crate) fn lines(&self) -> Arc<Lines> {
        Arc::clone(&self.lines)
    }

    /// Puts a query into its lane's queue; where that is full, its reply says so.
    pub(crate) fn push(&self, query: Query) {
        if let Err(query) = self.lines.0[query.lane as usize].push(query) {
            query.refuse(&Fault::overloaded("the queue of queries is full; ask again later", RETRY_AFTER_MS));
        }
    }

    /// Queries of a lane that wait for a thread.
    pub(crate) fn depth(&self, lane: Lane) -> usize {
        self.lines.0[lane as usize].len()
    }
}

#[cfg(test)]
#[path = "queries_tests.rs"]
mod tests;
