//! The desk: decides which lane a request takes, and answers those of the cheap one.
//!
//! Cheap is what is bounded and touches few pages: everything that needs at most [`INLINE_ROWS_MAX`] rows of [`INLINE_BYTES_MAX`] bytes. It is answered in the session. The
//! rest goes to the bounded queue of the query threads, so that it holds up neither what stands behind it nor other connections.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use balcao_engine::{Answer, Snapshot};
use balcao_wire::{Code, Fault, Operation, Request, write_fault, write_stats};

use crate::conversation::{Desk, Outcome, Ticket};
use crate::limits::{INLINE_BYTES_MAX, INLINE_ROWS_MAX};
use crate::mailbox::Mailbox;
use crate::queries::{Query, no_room};
use crate::serve::House;

/// The desk as one session sees it, with the snapshot that its requests begin with.
pub(crate) struct SessionDesk<'a> {
    house: &'a House,
    mailbox: &'a Arc<Mailbox>,
    snapshot: Arc<Snapshot>,
    /// When the line that is answered next was read, or the one before it was answered.
    since: Cell<Instant>,
}

impl<'a> SessionDesk<'a> {
    /// The desk of the session with this mailbox, serving what is served now.
    pub(crate) fn new(house: &'a House, mailbox: &'a Arc<Mailbox>) -> Self {
        Self { house, mailbox, snapshot: house.snapshot(), since: Cell::new(Instant::now()) }
    }
}

impl Desk for SessionDesk<'_> {
    fn answer(&self, request: Request, line_bytes: usize, ticket: Ticket, out: &mut Vec<u8>) -> Outcome {
        let began = self.since.get();
        let cheap = guarded(&request, out, |out| self.answer_cheap(&request, out));
        let Some(answer) = cheap.or_else(|| self.queue(request, line_bytes, ticket, began, out)) else {
            return Outcome::Queued;
        };
        let now = Instant::now();
        self.house.means.metrics.answered(answer, now - began);
        self.since.set(now);
        Outcome::Answered
    }

    fn refused(&self, code: Code) {
        self.house.means.metrics.refused(code);
    }
}

impl SessionDesk<'_> {
    /// Answers a cheap request; `None` where it is dear, with nothing appended.
    fn answer_cheap(&self, request: &Request, out: &mut Vec<u8>) -> Option<Answer> {
        #[cfg(test)]
        crate::panic_tests::strike(request);
        match &request.operation {
            Ok(Operation::Batch(_)) => None,
            Ok(Operation::Stats) => {
                write_stats(out, &request.id, &self.house.stats());
                Some(Ok(()))
            }
            Ok(Operation::Lookup(lookup)) => match self.snapshot.plan(lookup) {
                Ok(plan) if plan.rows() > INLINE_ROWS_MAX => None,
                Ok(plan) => self.snapshot.write_short_page(&plan, &request.id, out, INLINE_BYTES_MAX),
                Err(fault) => {
                    write_fault(out, &request.id, &fault);
                    Some(Err(fault.code))
                }
            },
            _ => Some(self.snapshot.answer(request, out)),
        }
    }

    /// Has a dear request answered later: `None`. Where the server holds too much already, appends an error that says so.
    fn queue(
        &self,
        request: Request,
        line_bytes: usize,
        ticket: Ticket,
        began: Instant,
        out: &mut Vec<u8>,
    ) -> Option<Answer> {
        if self.house.means.budget.is_short() {
            let fault = no_room();
            write_fault(out, &request.id, &fault);
            return Some(Err(fault.code));
        }
        let (snapshot, mailbox) = (Arc::clone(&self.snapshot), Arc::clone(self.mailbox));
        let query = Query::new(request, line_bytes, ticket, began, snapshot, mailbox, self.house.means.clone());
        if let Some(next) = self.mailbox.line_up(query) {
            self.house.queries.push(next);
        }
        None
    }
}

/// Runs `answer`; a panic in it becomes this request's `internal`, and nobody else's business.
pub(crate) fn guarded(
    request: &Request,
    out: &mut Vec<u8>,
    answer: impl FnOnce(&mut Vec<u8>) -> Option<Answer>,
) -> Option<Answer> {
    let start = out.len();
    catch_unwind(AssertUnwindSafe(|| answer(out))).unwrap_or_else(|_| {
        // The panic hook has logged the place and counted it.
        out.truncate(start);
        let message = "the server failed at this request; tell its operator, the log has the place";
        write_fault(out, &request.id, &Fault::new(Code::Internal, message));
        Some(Err(Code::Internal))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use balcao_wire::decode;

    #[test]
    fn a_panic_is_one_requests_internal() {
        let request = decode(br#"{"id":7,"op":"ping"}"#);
        let mut out = b"before".to_vec();
        let answer = guarded(&request, &mut out, |out| {
            out.extend_from_slice(b"half a reply");
            panic!("as it may happen");
        });
        assert_eq!(answer, Some(Err(Code::Internal)));
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("before{\"id\":7,\"status\":\"error\",\"code\":\"internal\""), "{text}");
    }
}
