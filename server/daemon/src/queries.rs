//! The queues of queries: bounded, and served by threads of their own. Short ones have a lane apart, so that a page of fifty rows does not wait
//! for those of a thousand; and single rows have one, so that they do not wait for pages.
//!
//! A query that is dropped unanswered, whatever the reason, answers `internal`: no request is ever left without a reply.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use balcao_engine::{Answer, Snapshot};
use balcao_wire::{Code, Fault, Request, write_fault};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::budget::{Budget, Charge};
use crate::conversation::Ticket;
use crate::desk::guarded;
use crate::limits::{QUEUE_MAX, REQUEST_DEADLINE, RETRY_AFTER_MS, WAITING_THREADS_MIN};
use crate::mailbox::{Mailbox, Posted};
use crate::metrics::Metrics;
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
}

impl Lane {
    /// The one whose questions cost least first.
    pub(crate) const ALL: [Self; 3] = [Self::Single, Self::Short, Self::Long];

    /// How many there are.
    pub(crate) const COUNT: usize = Self::ALL.len();
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
    /// When its line was read, and since when it waits for a thread.
    began: Instant,
    queued: Instant,
    line_bytes: usize,
    charge: Charge,
}

impl Query {
    pub(crate) fn new(asked: Asked, snapshot: Arc<Snapshot>, mailbox: Arc<Mailbox>, means: Means) -> Self {
        let Asked { request, ticket, lane, line_bytes, began } = asked;
        let charge = Charge::new(&means.budget, line_bytes);
        let (request, queued) = (Some(request), Instant::now());
        Self { request, ticket, lane, snapshot, mailbox, means, began, queued, line_bytes, charge }
    }

    /// Where it is answered.
    pub(crate) fn lane(&self) -> Lane {
        self.lane
    }

    /// Its place among its connection's requests.
    pub(crate) fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// When its line was read.
    pub(crate) fn began(&self) -> Instant {
        self.began
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
                if self.means.warmth.is_cold() {
                    self.snapshot.fetch_ahead(&request);
                }
                Ok::<_, Infallible>(self.snapshot.answer(&request, out))
            });
            let Ok(answer) = answer;
            self.post(reply, answer);
        }
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

/// The queues' entrance.
pub(crate) struct Queries {
    senders: [Sender<Query>; Lane::COUNT],
}

impl Queries {
    /// Threads of all lanes, where there are so many workers.
    pub(crate) fn threads(workers: usize) -> usize {
        2 * workers.max(WAITING_THREADS_MIN) + workers
    }

    /// Starts the threads of each lane. They are plain threads, so that a cold disk blocks none of the sessions' workers.
    pub(crate) fn start(workers: usize, metrics: &Arc<Metrics>) -> io::Result<Self> {
        let single = start_lane("single", workers.max(WAITING_THREADS_MIN), metrics, || {})?;
        let short = start_lane("short", workers.max(WAITING_THREADS_MIN), metrics, || {})?;
        let long = start_lane("long", workers, metrics, threads::let_others_first)?;
        Ok(Self { senders: [single, short, long] })
    }

    /// Puts a query into its lane's queue; where that is full, its reply says so.
    pub(crate) fn push(&self, mut query: Query) {
        query.queued = Instant::now();
        let sender = &self.senders[query.lane as usize];
        if let Err(TrySendError::Full(query) | TrySendError::Disconnected(query)) = sender.try_send(query) {
            query.refuse(&Fault::overloaded("the queue of queries is full; ask again later", RETRY_AFTER_MS));
        }
    }

    /// Queries that wait for a thread.
    pub(crate) fn depth(&self) -> usize {
        self.senders.iter().map(Sender::len).sum()
    }
}

fn start_lane(name: &str, count: usize, metrics: &Arc<Metrics>, prepare: fn()) -> io::Result<Sender<Query>> {
    let (sender, receiver) = bounded(QUEUE_MAX);
    for number in 0..count {
        let receiver: Receiver<Query> = receiver.clone();
        threads::start(format!("{name}-{number}"), metrics, move || {
            prepare();
            receiver.iter().for_each(Query::run);
        })?;
    }
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use balcao_wire::decode;

    use super::*;
    use crate::limits::{CONNECTION_BYTES_MAX, HELD_BYTES_MAX, QUEUE_SHARE_MAX};
    use crate::serve::House;
    use crate::test_house;

    const LINE: &[u8] = br#"{"cpf":"12345678909"}"#;

    fn query(house: &House, mailbox: &Arc<Mailbox>, ticket: Ticket) -> Query {
        query_in(Lane::Long, house, mailbox, ticket)
    }

    fn query_in(lane: Lane, house: &House, mailbox: &Arc<Mailbox>, ticket: Ticket) -> Query {
        let (request, line_bytes, began) = (decode(LINE), LINE.len(), Instant::now());
        let asked = Asked { request, ticket, lane, line_bytes, began };
        Query::new(asked, house.snapshot(), Arc::clone(mailbox), house.means.clone())
    }

    /// The replies that came, each as its ticket and its first code or column.
    fn taken(mailbox: &Mailbox) -> Vec<(Ticket, String)> {
        let word = |reply: &serde_json::Value| match reply["code"].as_str() {
            Some(code) => code.to_owned(),
            None => reply["rows"][0]["cpf"].as_str().unwrap().to_owned(),
        };
        let reply = |posted: Posted| (posted.ticket, word(&serde_json::from_slice(&posted.reply).unwrap()));
        mailbox.take().into_iter().map(reply).collect()
    }

    #[test]
    fn a_query_that_waited_too_long_is_told_so() {
        let (_folder, house) = test_house::open();
        let mailbox = Arc::<Mailbox>::default();
        let mut late = query(&house, &mailbox, Ticket::Any);
        late.queued = Instant::now().checked_sub(REQUEST_DEADLINE).unwrap();
        late.run();
        let mut in_time = query(&house, &mailbox, Ticket::Any);
        in_time.queued = Instant::now().checked_sub(REQUEST_DEADLINE - Duration::from_secs(5)).unwrap();
        in_time.run();
        let answers = [(Ticket::Any, "deadline_exceeded".to_owned()), (Ticket::Any, "12345678909".to_owned())];
        assert_eq!(taken(&mailbox), answers);
        assert_eq!(house.means.metrics.late_requests.get(), 1);
    }

    /// Lines a query up and runs what may go into the queue.
    fn line_up(house: &House, mailbox: &Arc<Mailbox>, ticket: Ticket) {
        mailbox.line_up(query(house, mailbox, ticket)).into_iter().for_each(Query::run);
    }

    #[test]
    fn a_client_that_takes_nothing_is_not_answered_more() {
        let (_folder, house) = test_house::open();
        let mailbox = Arc::<Mailbox>::default();
        let answered = |ticket| (ticket, "12345678909".to_owned());
        let run = |queries: Vec<Query>| queries.into_iter().for_each(Query::run);
        // Two are in the queue already when the client is found to take nothing.
        let in_the_queue: Vec<_> = [Ticket::Any, Ticket::Ordered(8)]
            .into_iter()
            .filter_map(|ticket| mailbox.line_up(query(&house, &mailbox, ticket)))
            .collect();
        assert_eq!(in_the_queue.len(), 2);
        assert!(mailbox.settle(CONNECTION_BYTES_MAX, 0, 7).is_empty());
        run(in_the_queue);
        // Also not the one whose turn it is: it is the client that is waited for.
        line_up(&house, &mailbox, Ticket::Ordered(7));
        assert!(taken(&mailbox).is_empty());
        assert_eq!(house.means.metrics.parked.get(), 3);
        // The client took what it had, and is owed replies that wait for that one: were it put aside, nobody would ever be answered.
        run(mailbox.settle(CONNECTION_BYTES_MAX - 1, CONNECTION_BYTES_MAX, 7));
        assert_eq!(taken(&mailbox), [answered(Ticket::Ordered(7))]);
        run(mailbox.settle(0, CONNECTION_BYTES_MAX, 8));
        assert_eq!(taken(&mailbox), [answered(Ticket::Ordered(8))]);
        run(mailbox.settle(CONNECTION_BYTES_MAX - 1, 0, 9));
        assert_eq!(taken(&mailbox), [answered(Ticket::Any)]);
        // Replies that the session has not fetched count too.
        let reply = vec![b'x'; CONNECTION_BYTES_MAX];
        let _charge = Charge::new(&house.means.budget, 0);
        mailbox.post(Posted { ticket: Ticket::Any, lane: Lane::Short, reply, line_bytes: 0, _charge });
        line_up(&house, &mailbox, Ticket::Any);
        assert_eq!(mailbox.take().len(), 1);
        assert_eq!(mailbox.settle(0, 0, 9).len(), 1);
        assert!(house.means.budget.held() < 1000, "what was answered is held no more");
    }

    #[test]
    fn a_connection_has_its_share_of_the_queue() {
        let (_folder, house) = test_house::open();
        let mailbox = Arc::<Mailbox>::default();
        let tickets = |queries: &[Query]| queries.iter().map(Query::ticket).collect::<Vec<_>>();
        let all: Vec<_> = (0..QUEUE_SHARE_MAX as u64 + 3).map(Ticket::Ordered).collect();
        let mut queued: Vec<_> =
            all.iter().filter_map(|&ticket| mailbox.line_up(query(&house, &mailbox, ticket))).collect();
        assert_eq!(tickets(&queued), all[..QUEUE_SHARE_MAX]);
        assert!(mailbox.settle(0, 0, 0).is_empty());
        // The other lane has a share of its own.
        let short = mailbox.line_up(query_in(Lane::Short, &house, &mailbox, Ticket::Any));
        assert_eq!(short.map(|query| (query.lane(), query.forget())), Some((Lane::Short, ())));
        // Each answer, of whatever kind, makes room for the next in the line.
        queued.remove(0).run();
        queued.remove(0).refuse(&no_room());
        let next = mailbox.settle(0, 0, 0);
        assert_eq!(tickets(&next), all[QUEUE_SHARE_MAX..QUEUE_SHARE_MAX + 2]);
        drop(queued.remove(0));
        let last = mailbox.settle(0, 0, 0);
        assert_eq!(tickets(&last), all[QUEUE_SHARE_MAX + 2..]);
        assert_eq!(taken(&mailbox).len(), 3);
    }

    #[test]
    fn nobody_answers_a_client_that_is_gone() {
        let (_folder, house) = test_house::open();
        let mailbox = Arc::<Mailbox>::default();
        assert!(mailbox.settle(CONNECTION_BYTES_MAX, 0, 0).is_empty());
        line_up(&house, &mailbox, Ticket::Any);
        assert!(house.means.budget.held() > 0);
        mailbox.close();
        query(&house, &mailbox, Ticket::Any).run();
        drop(query(&house, &mailbox, Ticket::Any));
        assert!(taken(&mailbox).is_empty());
        assert_eq!((house.means.budget.held(), Arc::strong_count(&mailbox)), (0, 1));
    }

    #[test]
    fn where_room_is_short_dear_questions_are_refused() {
        let (_folder, house) = test_house::open();
        let mailbox = Arc::<Mailbox>::default();
        let others = Charge::new(&house.means.budget, HELD_BYTES_MAX + 1);
        query(&house, &mailbox, Ticket::Any).run();
        drop(others);
        query(&house, &mailbox, Ticket::Any).run();
        let answers = [(Ticket::Any, "overloaded".to_owned()), (Ticket::Any, "12345678909".to_owned())];
        assert_eq!(taken(&mailbox), answers);
    }
}
