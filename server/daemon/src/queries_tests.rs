//! Tests of the queries on their way through mailbox and queue, without the threads that take them out.

use std::time::Duration;

use balcao_wire::decode;

use super::*;
use crate::limits::{CONNECTION_BYTES_MAX, HELD_BYTES_MAX};
use crate::serve::House;
use crate::test_house;

const LINE: &[u8] = br#"{"cpf":"12345678909"}"#;

fn query(house: &House, mailbox: &Arc<Mailbox>, ticket: Ticket) -> Query {
    query_in(Lane::Long, house, mailbox, ticket)
}

fn query_in(lane: Lane, house: &House, mailbox: &Arc<Mailbox>, ticket: Ticket) -> Query {
    asked(lane, LINE, Duration::ZERO, house, mailbox, ticket)
}

/// A query whose line was read so long ago.
fn asked(lane: Lane, line: &[u8], ago: Duration, house: &House, mailbox: &Arc<Mailbox>, ticket: Ticket) -> Query {
    let began = Instant::now().checked_sub(ago).unwrap();
    let asked = Asked { request: decode(line), ticket, lane, line_bytes: line.len(), began };
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

const LATE: &str = "deadline_exceeded";
const FOUND: &str = "12345678909";

#[test]
fn a_query_that_waited_too_long_is_told_so() {
    let (_folder, house) = test_house::open();
    let mailbox = Arc::<Mailbox>::default();
    let (usual, batch) = (u64::from(DEADLINE_MS_DEFAULT), u64::from(DEADLINE_MS_BATCH));
    // The times are half a minute apart from what they are compared with, or the waits are over: no machine is that slow.
    let (long, short) = (br#"{"cpf":"12345678909","deadline_ms":60000}"#, br#"{"cpf":"12345678909","deadline_ms":1}"#);
    let cases: [(&[u8], u64, &str); 5] =
        [(LINE, 0, FOUND), (LINE, usual, LATE), (long, usual + 10_000, FOUND), (long, 60_000, LATE), (short, 1, LATE)];
    for (line, ago_ms, expected) in cases {
        asked(Lane::Long, line, Duration::from_millis(ago_ms), &house, &mailbox, Ticket::Any).run();
        assert_eq!(taken(&mailbox), [(Ticket::Any, expected.to_owned())], "{ago_ms} ms");
    }
    assert_eq!(house.means.metrics.late_requests.get(), 3);
    let patience = |line: &str| patience(&decode(line.as_bytes())).as_millis() as u64;
    assert_eq!((patience(r#"{"op":"batch","items":[]}"#), patience(r#"{"nome":"A"}"#)), (batch, usual));
    assert_eq!(patience(r#"{"op":"batch","items":[],"deadline_ms":7}"#), 7);
}

#[test]
fn who_waits_is_told_when_the_time_is_over_not_when_the_turn_comes() {
    let (_folder, house) = test_house::open();
    let (mailbox, gone) = (Arc::<Mailbox>::default(), Arc::<Mailbox>::default());
    let lines = Lines(std::array::from_fn(|_| Queue::new(10)));
    let hour = Duration::from_secs(3600);
    for (place, (mailbox, ago)) in
        [(&mailbox, Duration::ZERO), (&mailbox, hour), (&gone, Duration::ZERO), (&mailbox, hour)]
            .into_iter()
            .enumerate()
    {
        let ticket = Ticket::Ordered(place as u64);
        let query = asked(Lane::Search, LINE, ago, &house, mailbox, ticket);
        assert!(lines.0[Lane::Search as usize].push(query).is_ok());
    }
    gone.close();
    lines.sweep(Instant::now());
    let late = |place| (Ticket::Ordered(place), LATE.to_owned());
    assert_eq!(taken(&mailbox), [late(1), late(3)]);
    assert_eq!(house.means.metrics.late_requests.get(), 2, "nobody waited for the one that is gone");
    assert_eq!(lines.0[Lane::Search as usize].len(), 1);
    lines.0[Lane::Search as usize].pop().unwrap().run();
    assert_eq!(taken(&mailbox), [(Ticket::Ordered(0), FOUND.to_owned())]);
    assert_eq!(house.means.budget.held(), 0);
}

#[test]
fn who_is_put_aside_is_told_too() {
    let (_folder, house) = test_house::open();
    let mailbox = Arc::<Mailbox>::default();
    assert!(mailbox.take_late(Instant::now()).is_empty());
    let line_up =
        |place, ago| mailbox.line_up(asked(Lane::Search, LINE, ago, &house, &mailbox, Ticket::Ordered(place)));
    let hour = Duration::from_secs(3600);
    let first: Vec<_> = [0, 1].into_iter().filter_map(|place| line_up(place, Duration::ZERO)).collect();
    assert_eq!(first.len(), SEARCH_SHARE_MAX);
    assert!([(2, hour), (3, Duration::ZERO), (4, hour)].into_iter().all(|(place, ago)| line_up(place, ago).is_none()));
    let late = mailbox.take_late(Instant::now());
    assert_eq!(late.iter().map(Query::ticket).collect::<Vec<_>>(), [2, 4].map(Ticket::Ordered));
    late.into_iter().for_each(Query::end);
    assert_eq!(taken(&mailbox), [2, 4].map(|place| (Ticket::Ordered(place), LATE.to_owned())));
    // Their answers took no place of those that are in the queue, and left none.
    assert!(mailbox.settle(0, 0, 0).is_empty());
    drop(first.into_iter().map(Query::answer).collect::<Vec<_>>());
    let next: Vec<_> = mailbox.settle(0, 0, 2).iter().map(Query::ticket).collect();
    assert_eq!(next, [Ticket::Ordered(3)]);
}

#[test]
fn a_full_queue_of_searches_is_full_for_searches() {
    let (_folder, house) = test_house::open();
    let mailbox = Arc::<Mailbox>::default();
    // Without threads: what is in it stays.
    let queries = Queries { lines: Arc::new(Lines(std::array::from_fn(|_| Queue::new(QUEUE_MAX)))) };
    let push = |lane| {
        queries.push(query_in(lane, &house, &mailbox, Ticket::Any));
        mailbox.take().len()
    };
    assert_eq!((0..QUEUE_MAX).map(|_| push(Lane::Search)).sum::<usize>(), 0);
    assert_eq!(Lane::ALL.map(push), [0, 0, 0, 1]);
    queries.push(query_in(Lane::Search, &house, &mailbox, Ticket::Any));
    assert_eq!(taken(&mailbox), [(Ticket::Any, "overloaded".to_owned())]);
    assert_eq!(Lane::ALL.map(|lane| queries.depth(lane)), [1, 1, 1, QUEUE_MAX]);
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
