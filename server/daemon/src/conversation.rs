//! `Conversation`: one connection's protocol, without the connection. Bytes go in, complete lines are asked at a desk, replies come out.
//!
//! It holds the order of replies, the number of requests in flight, and the limits of a line. It knows no socket, no clock and no thread.

use std::collections::VecDeque;

use balcao_wire::limits::{IN_FLIGHT_MAX, LINE_BYTES_MAX};
use balcao_wire::{Code, Fault, Id, Request, decode, write_fault};

use crate::limits::{
    CONNECTION_BYTES_MAX, HALF_LINE_BYTES_TIGHT, KEPT_BYTES, OUT_BYTES_MAX, REPLY_BYTES_ABOUT, RETRY_AFTER_MS,
};

/// Where a reply that comes later belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ticket {
    /// Anywhere: it carries an `id`.
    Any,
    /// In this place among the replies without `id`.
    Ordered(u64),
}

/// Whether a request was answered at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The reply was appended.
    Answered,
    /// The reply will come with the request's ticket.
    Queued,
}

/// Who answers.
pub(crate) trait Desk {
    /// Answers `request`, whose line had `line_bytes`, into `out`, or sees to it that its reply comes later with `ticket`.
    fn answer(&self, request: Request, line_bytes: usize, ticket: Ticket, out: &mut Vec<u8>) -> Outcome;

    /// A line was refused that is no request.
    fn refused(&self, code: Code);
}

/// One connection's state.
#[derive(Debug, Default)]
pub(crate) struct Conversation {
    /// Bytes that are not understood yet: lines that wait for room, and the beginning of a line.
    backlog: Vec<u8>,
    /// Bytes at the backlog's front that hold no line's end.
    searched: usize,
    /// Replies, ready to be written, and how many of their bytes are written already.
    out: Vec<u8>,
    sent: usize,
    /// Requests with `id` that are not answered.
    unordered: usize,
    /// Requests without `id` from the first unanswered one on, with the replies of those behind it that are ready.
    ordered: VecDeque<Option<Vec<u8>>>,
    /// The place of the first of them.
    first_ordered: u64,
    /// Bytes of the lines of requests that are queued, and of the buffers of replies that wait for an earlier one.
    asked_bytes: usize,
    ordered_bytes: usize,
    /// Lines that were answered or queued so far.
    lines: u64,
    /// The server holds too much: one reply at a time.
    tight: bool,
    /// No line is read any more.
    closing: bool,
}

impl Conversation {
    /// Takes bytes in and answers what they complete.
    pub(crate) fn receive(&mut self, bytes: &[u8], desk: &impl Desk) {
        if self.closing {
            return;
        }
        // Here, not where a reply grows: that is deep in the stack, and a quiet connection's would keep a page of memory for it.
        self.out.reserve(REPLY_BYTES_ABOUT);
        if self.backlog.is_empty() {
            // The common case copies nothing: whole lines are answered where they were read.
            let used = self.answer_lines(bytes, desk);
            if !self.closing {
                self.backlog.extend_from_slice(&bytes[used..]);
            }
        } else {
            self.backlog.extend_from_slice(bytes);
            self.resume(desk);
        }
    }

    /// Answers the lines that waited for room; whether there was one.
    pub(crate) fn resume(&mut self, desk: &impl Desk) -> bool {
        if self.backlog.is_empty() || !self.has_room() {
            return false;
        }
        let mut backlog = std::mem::take(&mut self.backlog);
        let used = self.answer_lines(&backlog, desk);
        if !self.closing {
            backlog.drain(..used);
            give_back(&mut backlog);
            self.backlog = backlog;
        }
        used > 0 || self.closing
    }

    /// A reply that was queued, to a line of `line_bytes`.
    pub(crate) fn complete(&mut self, ticket: Ticket, reply: Vec<u8>, line_bytes: usize) {
        self.asked_bytes = self.asked_bytes.saturating_sub(line_bytes);
        match ticket {
            Ticket::Any => {
                self.unordered = self.unordered.saturating_sub(1);
                self.out.extend_from_slice(&reply);
                self.out.push(b'\n');
            }
            Ticket::Ordered(place) => {
                let at = place.wrapping_sub(self.first_ordered) as usize;
                if let Some(slot) = self.ordered.get_mut(at) {
                    self.ordered_bytes += reply.capacity();
                    *slot = Some(reply);
                }
                while let Some(Some(_)) = self.ordered.front() {
                    if let Some(Some(reply)) = self.ordered.pop_front() {
                        self.ordered_bytes -= reply.capacity();
                        self.out.extend_from_slice(&reply);
                        self.out.push(b'\n');
                        self.first_ordered += 1;
                    }
                }
            }
        }
    }

    /// There is no room for this connection: says so and closes, whatever was asked.
    pub(crate) fn turn_away(&mut self) {
        self.refuse(&Fault::overloaded("all connections are taken; connect again later", RETRY_AFTER_MS));
    }

    /// The rest of a line did not come in time: says so and closes.
    pub(crate) fn expire_line(&mut self) {
        self.refuse(&Fault::new(Code::DeadlineExceeded, "the rest of the line did not come in time; connect again"));
    }

    /// Reads no further line, answers what it has.
    pub(crate) fn close(&mut self) {
        self.closing = true;
        self.backlog = Vec::new();
    }

    /// Replies to be written.
    pub(crate) fn output(&self) -> &[u8] {
        &self.out[self.sent..]
    }

    /// The first `count` bytes of the output were written.
    pub(crate) fn written(&mut self, count: usize) {
        self.sent += count;
        if self.sent >= self.out.len() {
            self.sent = 0;
            self.out.clear();
            give_back(&mut self.out);
        } else if self.sent > self.out.len() / 2 {
            // Moved once for at least as many bytes as are left: a long reply costs no more for being written in pieces.
            self.out.drain(..self.sent);
            self.sent = 0;
            give_back(&mut self.out);
        }
    }

    /// Whether the server holds too much for all connections together: while it does, this one answers a line only when the replies before it
    /// were taken.
    pub(crate) fn set_tight(&mut self, tight: bool) {
        self.tight = tight;
    }

    /// Bytes of replies that wait for an earlier one.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.ordered_bytes
    }

    /// Bytes held: of buffers, however little of them is filled, since that is what memory they take. Those of queued requests are not counted, their
    /// queries hold them; nor is what every quiet connection keeps.
    pub(crate) fn held_bytes(&self) -> usize {
        let room = |buffer: &Vec<u8>| if buffer.capacity() > KEPT_BYTES { buffer.capacity() } else { 0 };
        room(&self.out) + room(&self.backlog) + self.ordered_bytes
    }

    /// The first place among the replies without `id` that is not answered.
    pub(crate) fn first_ordered(&self) -> u64 {
        self.first_ordered
    }

    /// Whether more bytes should be read.
    pub(crate) fn wants_input(&self) -> bool {
        !self.closing && self.has_room() && !(self.tight && self.is_half_line_large())
    }

    /// Whether bytes wait that are not understood yet.
    pub(crate) fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// The number of the line that began and is not whole yet, where nothing but its rest is waited for.
    pub(crate) fn half_line(&self) -> Option<u64> {
        (!self.backlog.is_empty() && self.has_room()).then_some(self.lines)
    }

    /// Whether the line that is not whole yet takes so much that others may need its room.
    pub(crate) fn is_half_line_large(&self) -> bool {
        self.backlog.len() > HALF_LINE_BYTES_TIGHT && self.half_line().is_some()
    }

    /// Whether no request waits for its answer and no reply to be written.
    pub(crate) fn is_quiet(&self) -> bool {
        self.output().is_empty() && self.in_flight() == 0
    }

    /// Whether the connection is to be closed once it is quiet.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Requests that are not answered, and replies that wait for one of them.
    pub(crate) fn in_flight(&self) -> usize {
        // Replies that wait for an earlier one count too: they take memory.
        self.unordered + self.ordered.len()
    }

    fn has_room(&self) -> bool {
        let out_bytes_max = if self.tight { 1 } else { OUT_BYTES_MAX };
        self.in_flight() < IN_FLIGHT_MAX
            && self.output().len() < out_bytes_max
            && self.asked_bytes + self.ordered_bytes < CONNECTION_BYTES_MAX
    }

    /// Answers whole lines while there is room: how many bytes they had.
    fn answer_lines(&mut self, bytes: &[u8], desk: &impl Desk) -> usize {
        let mut start = 0;
        let mut searched = std::mem::take(&mut self.searched);
        while self.has_room() {
            let rest = &bytes[start..];
            let Some(end) = memchr::memchr(b'\n', &rest[searched.min(rest.len())..]).map(|at| searched + at) else {
                if rest.len() > LINE_BYTES_MAX {
                    self.refuse_line(desk);
                } else {
                    self.searched = rest.len();
                }
                return start;
            };
            searched = 0;
            if end > LINE_BYTES_MAX {
                self.refuse_line(desk);
                return start;
            }
            self.answer_line(&rest[..end], desk);
            self.lines += 1;
            start += end + 1;
        }
        start
    }

    fn answer_line(&mut self, line: &[u8], desk: &impl Desk) {
        let request = decode(line);
        if request.id != Id::Absent {
            match desk.answer(request, line.len(), Ticket::Any, &mut self.out) {
                Outcome::Answered => self.out.push(b'\n'),
                Outcome::Queued => {
                    self.unordered += 1;
                    self.asked_bytes += line.len();
                }
            }
            return;
        }
        let ticket = Ticket::Ordered(self.first_ordered + self.ordered.len() as u64);
        if self.ordered.is_empty() {
            match desk.answer(request, line.len(), ticket, &mut self.out) {
                Outcome::Answered => {
                    self.out.push(b'\n');
                    self.first_ordered += 1;
                }
                Outcome::Queued => {
                    self.ordered.push_back(None);
                    self.asked_bytes += line.len();
                }
            }
        } else {
            let mut reply = Vec::new();
            match desk.answer(request, line.len(), ticket, &mut reply) {
                Outcome::Answered => {
                    self.ordered_bytes += reply.capacity();
                    self.ordered.push_back(Some(reply));
                }
                Outcome::Queued => {
                    self.ordered.push_back(None);
                    self.asked_bytes += line.len();
                }
            }
        }
    }

    fn refuse_line(&mut self, desk: &impl Desk) {
        desk.refused(Code::LineTooLong);
        self.refuse(&Fault::new(
            Code::LineTooLong,
            "a request line has at most 65536 bytes; split the batch and connect again",
        ));
    }

    /// Ends the conversation with an error that belongs to no request, behind the replies of those before it.
    fn refuse(&mut self, fault: &Fault) {
        self.close();
        if self.ordered.is_empty() {
            write_fault(&mut self.out, &Id::Absent, fault);
            self.out.push(b'\n');
        } else {
            let mut reply = Vec::new();
            write_fault(&mut reply, &Id::Absent, fault);
            self.ordered_bytes += reply.capacity();
            self.ordered.push_back(Some(reply));
        }
    }
}

/// Gives the room of a buffer back that a large line or reply took: all of it where nothing is left, so that a quiet connection is small; else where
/// most of it is empty, so that a few bytes do not hold many.
fn give_back(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEPT_BYTES.max(4 * buffer.len()) {
        buffer.shrink_to_fit();
    }
}

#[cfg(test)]
#[path = "conversation_tests.rs"]
mod tests;
