//! The desk: decides which lane a request takes, and answers those of the cheap one.
//!
//! Cheap is what is bounded and touches few pages: everything that needs at most [`INLINE_ROWS_MAX`] rows of [`INLINE_BYTES_MAX`] bytes. It is answered in the session. The
//! rest goes to the bounded queue of the query threads, so that it holds up neither what stands behind it nor other connections.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use balcao_engine::Snapshot;
use balcao_wire::{Code, Fault, Operation, Request, write_fault};

use crate::conversation::{Desk, Outcome, Ticket};
use crate::limits::{INLINE_BYTES_MAX, INLINE_ROWS_MAX, RETRY_AFTER_MS};
use crate::queries::{Mailbox, Queries, Query};

/// The desk as one session sees it, with the snapshot that its requests begin with.
pub(crate) struct SessionDesk<'a> {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) queries: &'a Queries,
    pub(crate) mailbox: &'a Arc<Mailbox>,
}

impl Desk for SessionDesk<'_> {
    fn answer(&self, request: Request, ticket: Ticket, out: &mut Vec<u8>) -> Outcome {
        if guarded(&request, out, |out| self.answer_cheap(&request, out)) {
            return Outcome::Answered;
        }
        let query = Query::new(request, ticket, Arc::clone(&self.snapshot), Arc::clone(self.mailbox));
        match self.queries.push(query) {
            Ok(()) => Outcome::Queued,
            Err(request) => {
                let fault = Fault::overloaded("the queue of queries is full; ask again later", RETRY_AFTER_MS);
                write_fault(out, &request.id, &fault);
                Outcome::Answered
            }
        }
    }
}

impl SessionDesk<'_> {
    /// Answers a cheap request; `false` where it is dear, with nothing appended.
    fn answer_cheap(&self, request: &Request, out: &mut Vec<u8>) -> bool {
        match &request.operation {
            Ok(Operation::Batch(_)) => return false,
            Ok(Operation::Lookup(lookup)) => match self.snapshot.plan(lookup) {
                Ok(plan) if plan.rows() > INLINE_ROWS_MAX => return false,
                Ok(plan) => return self.snapshot.write_short_page(&plan, &request.id, out, INLINE_BYTES_MAX),
                Err(fault) => write_fault(out, &request.id, &fault),
            },
            _ => self.snapshot.answer(request, out),
        }
        true
    }
}

/// Runs `answer`; a panic in it becomes this request's `internal`, and nobody else's business.
pub(crate) fn guarded(request: &Request, out: &mut Vec<u8>, answer: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
    let start = out.len();
    match catch_unwind(AssertUnwindSafe(|| answer(out))) {
        Ok(answered) => answered,
        Err(_) => {
            // The panic hook has logged the place.
            out.truncate(start);
            let message = "the server failed at this request; tell its operator, the log has the place";
            write_fault(out, &request.id, &Fault::new(Code::Internal, message));
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use balcao_wire::decode;

    #[test]
    fn a_panic_is_one_requests_internal() {
        let request = decode(br#"{"id":7,"op":"ping"}"#);
        let mut out = b"before".to_vec();
        assert!(guarded(&request, &mut out, |out| {
            out.extend_from_slice(b"half a reply");
            panic!("as it may happen");
        }));
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("before{\"id\":7,\"status\":\"error\",\"code\":\"internal\""), "{text}");
    }
}
