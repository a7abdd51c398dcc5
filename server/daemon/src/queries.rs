//! The queue of queries: bounded, and served by threads of its own.
//!
//! A query that is dropped unanswered, whatever the reason, answers `internal`: no request is ever left without a reply.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use balcao_engine::{Answer, Snapshot};
use balcao_wire::{Code, Fault, Id, Request, write_fault};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::budget::{Budget, Charge};
use crate::conversation::Ticket;
use crate::desk::guarded;
use crate::limits::{QUEUE_MAX, REQUEST_DEADLINE, RETRY_AFTER_MS};
use crate::mailbox::{Mailbox, Posted};
use crate::metrics::Metrics;
use crate::threads;

/// What every query needs of the house.
#[derive(Clone)]
pub(crate) struct Means {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) budget: Arc<Budget>,
}

/// A request on its way to a query thread.
pub(crate) struct Query {
    /// Taken when it is answered.
    request: Option<Request>,
    ticket: Ticket,
    snapshot: Arc<Snapshot>,
    mailbox: Arc<Mailbox>,
    means: Means,
    /// When its line was read, and since when it waits for a thread.
    began: Instant,
    queued: Instant,
    /// Bytes of its line: what it holds is about that much.
    line_bytes: usize,
    _charge: Charge,
}

impl Query {
    pub(crate) fn new(
        request: Request,
        line_bytes: usize,
        ticket: Ticket,
        began: Instant,
        snapshot: Arc<Snapshot>,
        mailbox: Arc<Mailbox>,
        means: Means,
    ) -> Self {
        let charge = Charge::new(&means.budget, line_bytes);
        let request = Some(request);
        Self { request, ticket, snapshot, mailbox, means, began, queued: Instant::now(), line_bytes, _charge: charge }
    }

    /// Its place among its connection's requests.
    pub(crate) fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Counts that it was put aside.
    pub(crate) fn count_parked(&self) {
        self.means.metrics.parked.add_one();
    }

    /// Answers it, unless it waited too long, or its client takes no replies: then it is put aside.
    fn run(self) {
        #[cfg(test)]
        self.request.iter().for_each(crate::panic_tests::strike_thread);
        if self.queued.elapsed() >= REQUEST_DEADLINE {
            self.means.metrics.late_requests.add_one();
            let message = "the question waited too long for its turn; ask again, and less at once";
            return self.refuse(&Fault::new(Code::DeadlineExceeded, message));
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
            let answer = guarded(&request, &mut reply, |out| {
                #[cfg(test)]
                crate::panic_tests::strike_query(&request);
                Some(self.snapshot.answer(&request, out))
            });
            self.post(reply, answer.unwrap_or(Ok(())));
        }
    }

    /// Answers with an error.
    pub(crate) fn refuse(mut self, fault: &Fault) {
        self.refuse_once(fault);
    }

    /// Its request, unanswered: whoever takes it answers it.
    pub(crate) fn give_back(mut self) -> Request {
        // It is only ever taken together with the query itself.
        self.request.take().unwrap_or(Request { id: Id::Absent, operation: Err(queue_full()) })
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

    fn post(&self, reply: Vec<u8>, answer: Answer) {
        self.means.metrics.answered(answer, self.began.elapsed());
        let charge = Charge::new(&self.means.budget, reply.len());
        self.mailbox.post(Posted { ticket: self.ticket, reply, line_bytes: self.line_bytes, _charge: charge });
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

/// The answer to a dear question that finds the queue full.
pub(crate) fn queue_full() -> Fault {
    Fault::overloaded("the queue of queries is full; ask again later", RETRY_AFTER_MS)
}

/// The queue's entrance.
pub(crate) struct Queries {
    sender: Sender<Query>,
}

impl Queries {
    /// Starts `count` query threads. They are plain threads, so that a cold disk blocks none of the sessions' workers.
    pub(crate) fn start(count: usize, metrics: &Arc<Metrics>) -> io::Result<Self> {
        let (sender, receiver) = bounded(QUEUE_MAX);
        for number in 0..count {
            let receiver: Receiver<Query> = receiver.clone();
            threads::start(format!("query-{number}"), metrics, move || receiver.iter().for_each(Query::run))?;
        }
        Ok(Self { sender })
    }

    /// Puts a query into the queue; gives it back where the queue is full.
    pub(crate) fn push(&self, mut query: Query) -> Result<(), Box<Query>> {
        query.queued = Instant::now();
        match self.sender.try_send(query) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(query) | TrySendError::Disconnected(query)) => Err(Box::new(query)),
        }
    }

    /// Queries that wait for a thread.
    pub(crate) fn depth(&self) -> usize {
        self.sender.len()
    }
}
