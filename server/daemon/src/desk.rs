//! The desk: decides which lane a request takes, and answers those of the cheap one.
//!
//! Cheap is what is bounded and waits for nothing: everything that needs at most [`SHORT_ROWS_MAX`] rows of [`INLINE_BYTES_MAX`] bytes which are in memory. It is answered
//! in the session. The rest goes to the bounded queues of the query threads, so that it holds up neither what stands behind it nor other
//! connections: single rows that have to come from the disk into one, pages that have to, or that are many, into the second, long pages and batches into
//! the third, and whatever has to be searched for into the fourth, unplanned.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use balcao_engine::{Answer, Plan, Snapshot, holds_search};
use balcao_wire::limits::LIMIT_MAX;
use balcao_wire::{Claim, Code, Fault, Key, Lookup, Operation, Request, write_fault, write_stats};

use crate::allowance::Allowance;
use crate::conversation::{Desk, Outcome, Ticket};
use crate::limits::{INLINE_BYTES_MAX, ROWS_A_READ_MAX, SHORT_ROWS_MAX, SQLITE_ROWS_MAX};
use crate::mailbox::Mailbox;
use crate::queries::{Asked, Lane, Query, no_room};
use crate::serve::House;

/// The desk as one session sees it, with the snapshot that its requests begin with.
pub(crate) struct SessionDesk<'a> {
    house: &'a House,
    mailbox: &'a Arc<Mailbox>,
    /// What the connection may still have verified.
    verifies: &'a Allowance,
    snapshot: Arc<Snapshot>,
    /// When the line that is answered next was read, or the one before it was answered.
    since: Cell<Instant>,
    /// Rows of pages that may still be answered in the session.
    rows_left: Cell<usize>,
}

impl<'a> SessionDesk<'a> {
    /// The desk of the session with this mailbox and allowance, serving what is served now.
    pub(crate) fn new(house: &'a House, mailbox: &'a Arc<Mailbox>, verifies: &'a Allowance) -> Self {
        let (since, rows_left) = (Cell::new(Instant::now()), Cell::new(ROWS_A_READ_MAX));
        Self { house, mailbox, verifies, snapshot: house.snapshot(), since, rows_left }
    }
}

impl Desk for SessionDesk<'_> {
    fn answer(&self, request: Request, line_bytes: usize, ticket: Ticket, out: &mut Vec<u8>) -> Outcome {
        let began = self.since.get();
        let outcome = guarded(&request, out, |out| self.answer_cheap(&request, out));
        let outcome = outcome.or_else(|lane| self.queue(Asked { request, ticket, lane, line_bytes, began }, out));
        let Ok(answer) = outcome else { return Outcome::Queued };
        let now = Instant::now();
        self.house.means.metrics.answered(answer, now - began);
        self.house.means.warmth.answered_in(now - began);
        self.since.set(now);
        Outcome::Answered
    }

    fn refused(&self, code: Code) {
        self.house.means.metrics.refused(code);
    }
}

impl SessionDesk<'_> {
    /// Answers a cheap request; where it is dear, tells its lane, with nothing appended.
    fn answer_cheap(&self, request: &Request, out: &mut Vec<u8>) -> Result<Answer, Lane> {
        #[cfg(test)]
        crate::panic_tests::strike(request);
        match &request.operation {
            Ok(Operation::Batch(items)) => Err(if holds_search(items) { Lane::Search } else { Lane::Long }),
            Ok(Operation::Lookup(lookup)) if lookup.is_search() => Err(Lane::Search),
            Ok(Operation::Verify(claim)) => self.verify(request, claim, out),
            Ok(Operation::Stats) => {
                write_stats(out, &request.id, &self.house.stats());
                Ok(Ok(()))
            }
            // Names lie all over an index that is several times as large as that of the CPFs: also where they are may have to come from the disk.
            Ok(Operation::Lookup(lookup)) if matches!(lookup.key, Key::Name { .. }) && self.is_cold() => {
                Err(if lookup.limit > SHORT_ROWS_MAX { Lane::Long } else { Lane::Short })
            }
            Ok(Operation::Lookup(lookup)) => match self.snapshot.plan(lookup) {
                Ok(plan) if plan.rows() > SHORT_ROWS_MAX => Err(Lane::Long),
                Ok(plan) if !self.takes(&plan, plan.rows()) => Err(Lane::of_rows(plan.rows())),
                Ok(plan) => self.snapshot.write_short_page(&plan, &request.id, out, INLINE_BYTES_MAX).ok_or(Lane::Long),
                Err(fault) => {
                    write_fault(out, &request.id, &fault);
                    Ok(Err(fault.code))
                }
            },
            _ => Ok(self.snapshot.answer(request, out)),
        }
    }

    /// Answers whether a claim agrees, if the connection may still ask that, by the way of its CPF.
    fn verify(&self, request: &Request, claim: &Claim, out: &mut Vec<u8>) -> Result<Answer, Lane> {
        if let Err(fault) = self.allow_verify(claim) {
            write_fault(out, &request.id, &fault);
            return Ok(Err(fault.code));
        }
        let lookup = Lookup { key: Key::Cpf(claim.cpf), filters: Box::default(), limit: LIMIT_MAX, cursor: None };
        // Names are compared word by word: the longest take as long as some pages do.
        let weight = if claim.name.is_some() { SHORT_ROWS_MAX } else { 1 };
        match self.snapshot.plan(&lookup) {
            Ok(plan) if plan.rows() > SHORT_ROWS_MAX => Err(Lane::Long),
            Ok(plan) if !self.takes(&plan, weight) => Err(Lane::of_rows(plan.rows())),
            // Also where there is no plan: it says why.
            _ => Ok(self.snapshot.answer(request, out)),
        }
    }

    /// Counts a verification, or tells why there is none.
    fn allow_verify(&self, claim: &Claim) -> Result<(), Fault> {
        let per_minute = self.house.verifies_per_minute;
        if per_minute == 0 {
            let message = "this server verifies nothing; its operator may allow it with `--verifies-per-minute`";
            return Err(Fault::new(Code::Forbidden, message));
        }
        if claim.birth.is_some() && !self.snapshot.greeting().filters.iter().any(|(what, _)| *what == "birth") {
            // It is refused in any case, and tells nothing of anybody: it costs nothing.
            return Ok(());
        }
        self.verifies.take(per_minute, self.house.sessions.now_us()).map_err(|retry_after_ms| {
            let message = "this connection has had as much verified as it may for now; ask again later";
            Fault::budget_exceeded(message, retry_after_ms)
        })
    }

    fn is_cold(&self) -> bool {
        self.house.means.warmth.is_cold()
    }

    /// Whether what costs as much as a page of `weight` rows is answered in the session: where nothing of it has to be fetched from the disk, and not too
    /// much else was before it.
    fn takes(&self, plan: &Plan<'_>, weight: usize) -> bool {
        if self.is_cold() {
            match self.snapshot.is_at_hand(plan) {
                Some(true) => {}
                Some(false) => {
                    self.house.means.warmth.chill();
                    return false;
                }
                // It may be: a thread answers, and it does not stay cold for that.
                None => return false,
            }
        }
        if plan.rows() > SQLITE_ROWS_MAX && !self.snapshot.reads_pages(plan) {
            return false;
        }
        let left = (weight <= 1).then(|| self.rows_left.get()).or_else(|| self.rows_left.get().checked_sub(weight));
        left.map(|left| self.rows_left.set(left)).is_some()
    }

    /// Has a dear request answered later. Where the server holds too much already, appends an error that says so.
    #[inline(never)]
    fn queue(&self, asked: Asked, out: &mut Vec<u8>) -> Result<Answer, Outcome> {
        if self.house.means.budget.is_short() {
            if matches!(asked.request.operation, Ok(Operation::Verify(_))) {
                self.verifies.give_back(self.house.verifies_per_minute);
            }
            let fault = no_room();
            write_fault(out, &asked.request.id, &fault);
            return Ok(Err(fault.code));
        }
        let (snapshot, mailbox) = (Arc::clone(&self.snapshot), Arc::clone(self.mailbox));
        let query = Query::new(asked, snapshot, mailbox, self.house.means.clone());
        if let Some(next) = self.mailbox.line_up(query) {
            self.house.queries.push(next);
        }
        Err(Outcome::Queued)
    }
}

/// Runs `answer`; a panic in it becomes this request's `internal`, and nobody else's business.
pub(crate) fn guarded<E>(
    request: &Request,
    out: &mut Vec<u8>,
    answer: impl FnOnce(&mut Vec<u8>) -> Result<Answer, E>,
) -> Result<Answer, E> {
    let start = out.len();
    catch_unwind(AssertUnwindSafe(|| answer(out))).unwrap_or_else(|_| {
        // The panic hook has logged the place and counted it.
        out.truncate(start);
        let message = "the server failed at this request; tell its operator, the log has the place";
        write_fault(out, &request.id, &Fault::new(Code::Internal, message));
        Ok(Err(Code::Internal))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_house;
    use balcao_wire::decode;

    #[test]
    fn where_it_is_cold_a_name_is_not_looked_for_in_the_session() {
        let (_folder, house) = test_house::open();
        let (mailbox, verifies) = (Arc::<Mailbox>::default(), Allowance::default());
        let desk = || SessionDesk::new(&house, &mailbox, &verifies);
        let lane = |line: &[u8]| desk().answer_cheap(&decode(line), &mut Vec::new());
        let (page, long) = (br#"{"nome":"A","match":"prefix"}"#, br#"{"nome":"A","match":"prefix","limit":51}"#);
        assert_eq!((lane(page), lane(long)), (Ok(Ok(())), Ok(Ok(()))), "few rows, and in memory");
        let lane = |line| {
            house.means.warmth.chill();
            lane(line)
        };
        assert_eq!((lane(page), lane(long)), (Err(Lane::Short), Err(Lane::Long)));
    }

    #[test]
    fn what_has_to_be_searched_for_has_its_lane() {
        let (_folder, house) = test_house::open();
        let (mailbox, verifies) = (Arc::<Mailbox>::default(), Allowance::default());
        let search = r#"{"nome":"MARIA","match":"fuzzy"}"#;
        let batch = |items: &str| format!(r#"{{"op":"batch","items":[{items}]}}"#);
        let cases = [
            (search.to_owned(), Lane::Search),
            (r#"{"nome":"MARIA","match":"words","limit":1}"#.to_owned(), Lane::Search),
            (r#"{"nome":"MARIA","match":"exact","where":{"sexo":"F"}}"#.to_owned(), Lane::Search),
            (r#"{"cpf":"12345678909","where":{"sexo":"F"}}"#.to_owned(), Lane::Search),
            (batch(r#"{"cpf":"12345678909"},{"cpf":"x"}"#), Lane::Long),
            (batch(&format!(r#"{{"cpf":"x"}},{search}"#)), Lane::Search),
        ];
        for (line, expected) in cases {
            let desk = SessionDesk::new(&house, &mailbox, &verifies);
            let mut out = Vec::new();
            assert_eq!(desk.answer_cheap(&decode(line.as_bytes()), &mut out), Err(expected), "{line}");
            assert!(out.is_empty(), "{line}");
        }
    }

    #[test]
    fn a_verification_takes_the_way_of_its_cpf() {
        let (_folder, house) = test_house::open();
        let (mailbox, verifies) = (Arc::<Mailbox>::default(), Allowance::default());
        let desk = SessionDesk::new(&house, &mailbox, &verifies);
        let request = decode(br#"{"op":"verify","cpf":"12345678909","nome":"MARIA"}"#);
        let mut out = Vec::new();
        // As lines of one read: a few in the session, for the others their row is one of a single CPF.
        let mut answer = || {
            out.clear();
            desk.answer_cheap(&request, &mut out)
        };
        let inline = ROWS_A_READ_MAX / SHORT_ROWS_MAX;
        assert_eq!((0..inline).map(|_| answer()).collect::<Vec<_>>(), vec![Ok(Ok(())); inline]);
        assert_eq!(answer(), Err(Lane::Single));
        // Some may come back meanwhile.
        let granted = inline + 1 + (0..10_000).take_while(|_| answer() != Ok(Err(Code::BudgetExceeded))).count();
        assert!((house.verifies_per_minute as usize..10_000).contains(&granted), "{granted}");
        let reply: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert!(reply["retry_after_ms"].as_u64().is_some_and(|ms| (1..=1000).contains(&ms)), "{reply}");
    }

    #[test]
    fn a_verification_that_is_not_made_costs_nothing() {
        let (_folder, house) = test_house::open();
        let (mailbox, verifies) = (Arc::<Mailbox>::default(), Allowance::default());
        let desk = SessionDesk::new(&house, &mailbox, &verifies);
        let more = 2 * house.verifies_per_minute as usize;
        // There are no birth days in this house.
        let request = decode(br#"{"op":"verify","cpf":"12345678909","nasc":"1980-01-01"}"#);
        for _ in 0..more {
            assert_eq!(desk.answer_cheap(&request, &mut Vec::new()), Ok(Err(Code::BadRequest)));
        }
        // Beyond the first of a read they are for the threads, to which nothing goes while too much is held.
        let full = crate::budget::Charge::new(&house.means.budget, crate::limits::HELD_BYTES_MAX + 1);
        let line = br#"{"op":"verify","cpf":"12345678909","nome":"MARIA"}"#;
        let mut out = Vec::new();
        for _ in 0..more {
            assert!(matches!(desk.answer(decode(line), line.len(), Ticket::Any, &mut out), Outcome::Answered));
        }
        drop(full);
        let replies = String::from_utf8(out).unwrap();
        let inline = ROWS_A_READ_MAX / SHORT_ROWS_MAX;
        assert_eq!(
            (replies.matches("\"ok\"").count(), replies.matches("\"overloaded\"").count()),
            (inline, more - inline)
        );
    }

    #[test]
    fn a_panic_is_one_requests_internal() {
        let request = decode(br#"{"id":7,"op":"ping"}"#);
        let mut out = b"before".to_vec();
        let answer = guarded(&request, &mut out, |out| {
            out.extend_from_slice(b"half a reply");
            panic!("as it may happen");
            #[expect(unreachable_code, reason = "it tells the type")]
            Err(())
        });
        assert_eq!(answer, Ok(Err(Code::Internal)));
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("before{\"id\":7,\"status\":\"error\",\"code\":\"internal\""), "{text}");
    }
}
