//! Tests of the conversation: with a desk that answers `ping` at once and keeps everything else.

use super::*;
use balcao_wire::{Operation, write_pong};
use std::cell::RefCell;

/// Answers pings, queues the rest.
#[derive(Default)]
struct Counter {
    queued: RefCell<Vec<(Ticket, Id)>>,
}

impl Desk for Counter {
    fn answer(&self, request: Request, _: usize, ticket: Ticket, out: &mut Vec<u8>) -> Outcome {
        match &request.operation {
            Ok(Operation::Ping) => write_pong(out, &request.id),
            Err(fault) => write_fault(out, &request.id, fault),
            Ok(_) => {
                self.queued.borrow_mut().push((ticket, request.id));
                return Outcome::Queued;
            }
        }
        Outcome::Answered
    }

    fn refused(&self, _: Code) {}
}

fn take(conversation: &mut Conversation) -> String {
    let text = String::from_utf8(conversation.output().to_vec()).unwrap();
    conversation.written(text.len());
    text
}

const PING: &str = "{\"op\":\"ping\"}\n";
const PONG: &str = "{\"status\":\"ok\"}\n";

#[test]
fn lines_in_any_pieces() {
    let text = format!("{PING}{{\"id\":1,\"op\":\"ping\"}}\r\n{PING}");
    for size in [1, 2, 7, 1000] {
        let (mut conversation, desk) = (Conversation::default(), Counter::default());
        for piece in text.as_bytes().chunks(size) {
            conversation.receive(piece, &desk);
        }
        assert_eq!(take(&mut conversation), format!("{PONG}{{\"id\":1,\"status\":\"ok\"}}\n{PONG}"));
        assert!(conversation.is_quiet() && conversation.half_line().is_none());
    }
}

#[test]
fn replies_without_id_keep_their_order() {
    let (mut conversation, desk) = (Conversation::default(), Counter::default());
    let text = format!("{{\"nome\":\"A\"}}\n{PING}{{\"id\":9,\"op\":\"ping\"}}\n{{\"nome\":\"B\"}}\n{PING}");
    conversation.receive(text.as_bytes(), &desk);
    // What has an id overtakes; what has none waits for the first.
    assert_eq!(take(&mut conversation), "{\"id\":9,\"status\":\"ok\"}\n");
    let queued = desk.queued.borrow().clone();
    conversation.complete(queued[1].0, b"second".to_vec(), 0);
    assert_eq!(take(&mut conversation), "");
    conversation.complete(queued[0].0, b"first".to_vec(), 0);
    assert_eq!(take(&mut conversation), format!("first\n{PONG}second\n{PONG}"));
    assert!(conversation.is_quiet());
}

#[test]
fn at_the_limit_lines_wait_and_none_is_lost() {
    let (mut conversation, desk) = (Conversation::default(), Counter::default());
    let lines = IN_FLIGHT_MAX + 10;
    for id in 0..lines {
        conversation.receive(format!("{{\"id\":{id},\"nome\":\"A\"}}\n").as_bytes(), &desk);
    }
    assert_eq!(desk.queued.borrow().len(), IN_FLIGHT_MAX);
    assert!(!conversation.wants_input() && conversation.half_line().is_none());
    let mut answered = 0;
    while answered < lines {
        let (ticket, _) = desk.queued.borrow()[answered].clone();
        conversation.complete(ticket, b"x".to_vec(), 0);
        conversation.resume(&desk);
        answered += 1;
    }
    assert_eq!(take(&mut conversation), "x\n".repeat(lines));
    let ids: Vec<_> = desk.queued.borrow().iter().map(|(_, id)| id.clone()).collect();
    assert_eq!(ids, (0..lines as i64).map(Id::Integer).collect::<Vec<_>>());
}

#[test]
fn a_client_that_does_not_read_is_not_read_from() {
    let (mut conversation, desk) = (Conversation::default(), Counter::default());
    let pings = PING.repeat(READ);
    const READ: usize = 1000;
    let mut fed = 0;
    while conversation.wants_input() {
        conversation.receive(pings.as_bytes(), &desk);
        fed += READ;
    }
    assert!(conversation.output().len() < OUT_BYTES_MAX + 100);
    let mut replies = 0;
    while !conversation.is_quiet() {
        replies += take(&mut conversation).lines().count();
        conversation.resume(&desk);
    }
    assert_eq!(replies, fed);
}

#[test]
fn the_longest_line_and_a_longer_one() {
    let mut line = format!("{{\"op\":\"ping\",\"x\":\"{}\"}}", "x".repeat(LINE_BYTES_MAX)).into_bytes();
    line.drain(20..20 + line.len() - LINE_BYTES_MAX);
    line.push(b'\n');
    let (mut conversation, desk) = (Conversation::default(), Counter::default());
    conversation.receive(&line, &desk);
    assert_eq!(take(&mut conversation), PONG);
    line.insert(20, b'x');
    for size in [1, 1000, 100_000] {
        let mut conversation = Conversation::default();
        line.chunks(size).for_each(|piece| conversation.receive(piece, &desk));
        assert!(take(&mut conversation).contains("line_too_long"));
        assert!(conversation.is_closing() && !conversation.wants_input());
        conversation.receive(PING.as_bytes(), &desk);
        assert_eq!(take(&mut conversation), "");
    }
}

#[test]
fn the_last_word_comes_last() {
    let (mut conversation, desk) = (Conversation::default(), Counter::default());
    conversation.receive(b"{\"nome\":\"A\"}\n{\"half", &desk);
    assert_eq!(conversation.half_line(), Some(1));
    conversation.expire_line();
    assert_eq!(take(&mut conversation), "");
    let ticket = desk.queued.borrow()[0].0;
    conversation.complete(ticket, b"first".to_vec(), 0);
    let text = take(&mut conversation);
    assert!(text.starts_with("first\n{\"status\":\"error\",\"code\":\"deadline_exceeded\""), "{text}");
    assert!(conversation.is_quiet() && conversation.is_closing());
}

#[test]
fn each_half_line_is_another_one() {
    let (mut conversation, desk) = (Conversation::default(), Counter::default());
    conversation.receive(b"{\"op\":", &desk);
    assert_eq!(conversation.half_line(), Some(0));
    conversation.receive(b"\"ping\"}\n{\"op\":", &desk);
    assert_eq!(conversation.half_line(), Some(1));
}

#[test]
fn a_quiet_connection_is_small() {
    let (mut conversation, desk) = (Conversation::default(), Counter::default());
    conversation.receive(PING.repeat(500).as_bytes(), &desk);
    conversation.receive(&b" ".repeat(60_000), &desk);
    conversation.receive(PING.as_bytes(), &desk);
    take(&mut conversation);
    assert!(conversation.out.capacity() <= KEPT_BYTES && conversation.backlog.capacity() <= KEPT_BYTES);
}

#[test]
fn where_room_is_short_one_reply_at_a_time() {
    let (mut conversation, desk) = (Conversation::default(), Counter::default());
    conversation.set_tight(true);
    conversation.receive(PING.repeat(3).as_bytes(), &desk);
    for _ in 0..2 {
        assert_eq!(take(&mut conversation), PONG);
        assert!(conversation.resume(&desk));
    }
    assert_eq!(take(&mut conversation), PONG);
    assert!(!conversation.resume(&desk) && conversation.wants_input());
}

#[test]
fn lines_in_hand_are_bounded_by_their_bytes_too() {
    let (mut conversation, desk) = (Conversation::default(), Counter::default());
    let line = format!("{{\"op\":\"hello\",\"x\":\"{}\"}}\n", "x".repeat(60_000));
    let fitting = CONNECTION_BYTES_MAX.div_ceil(line.len() - 1);
    assert!(fitting < IN_FLIGHT_MAX);
    conversation.receive(line.repeat(fitting + 1).as_bytes(), &desk);
    assert_eq!(desk.queued.borrow().len(), fitting);
    assert!(!conversation.wants_input() && conversation.held_bytes() >= line.len());
    // A reply to one makes room for the next.
    let (ticket, _) = desk.queued.borrow_mut().remove(0);
    conversation.complete(ticket, b"first".to_vec(), line.len() - 1);
    assert_eq!(take(&mut conversation), "first\n");
    assert!(conversation.resume(&desk));
    assert_eq!(desk.queued.borrow().len(), fitting);
    assert_eq!((conversation.waiting_bytes(), conversation.first_ordered()), (0, 1));
}

#[test]
fn what_is_left_of_much_holds_little() {
    let (mut conversation, desk) = (Conversation::default(), Counter::default());
    // A long line comes to its end, and one byte of the next is there.
    conversation.receive(&b"x".repeat(65_000), &desk);
    assert!(conversation.held_bytes() >= 65_000);
    conversation.receive(b"\nx", &desk);
    take(&mut conversation);
    assert!(conversation.held_bytes() <= KEPT_BYTES, "{}", conversation.backlog.capacity());
    // A long reply, taken but for its end: all its room counts, most of it goes back.
    conversation.receive(b"\n{\"id\":1,\"nome\":\"A\"}\n", &desk);
    take(&mut conversation);
    conversation.complete(Ticket::Any, vec![b'x'; 16 << 20], 0);
    assert!(conversation.held_bytes() >= 16 << 20);
    while conversation.output().len() > 1 << 20 {
        conversation.written(100_000);
        assert!(conversation.held_bytes() >= conversation.out.capacity());
        assert!(
            conversation.out.capacity() <= (16 << 20) + 1
                || conversation.out.capacity() <= 8 * conversation.output().len()
        );
    }
    assert!(conversation.held_bytes() <= 8 << 20, "{}", conversation.out.capacity());
    let rest = conversation.output().len();
    conversation.written(rest);
    assert_eq!(conversation.held_bytes(), 0);
    // A reply that waits for an earlier one counts with its room too.
    conversation.receive(b"{\"nome\":\"A\"}\n{\"nome\":\"B\"}\n", &desk);
    let second = desk.queued.borrow().last().unwrap().0;
    let mut reply = Vec::with_capacity(1 << 20);
    reply.push(b'x');
    conversation.complete(second, reply, 0);
    assert!(conversation.held_bytes() >= 1 << 20);
}

#[test]
fn where_room_is_short_no_more_of_a_large_half_line() {
    let (mut conversation, desk) = (Conversation::default(), Counter::default());
    conversation.set_tight(true);
    conversation.receive(&b" ".repeat(HALF_LINE_BYTES_TIGHT), &desk);
    assert!(conversation.wants_input() && !conversation.is_half_line_large());
    conversation.receive(b" ", &desk);
    assert!(!conversation.wants_input() && conversation.is_half_line_large());
    conversation.set_tight(false);
    assert!(conversation.wants_input());
    conversation.receive(PING.as_bytes(), &desk);
    conversation.set_tight(true);
    assert_eq!(take(&mut conversation), PONG);
    assert!(conversation.wants_input());
}
