//! `Ahead`: the pages of an answer, each following one asked for before the present one is handed over, so that the server works while
//! its reader writes. Never more than two pages are under way.

use balcao_wire::client::Question;
use balcao_wire::limits::LIMIT_DEFAULT;

use crate::client::Client;
use crate::error::Error;
use crate::received::{Outline, Received};

/// How often a page that the server had not the time for is asked again, each time for half as many rows.
const DEADLINE_RETRIES: u32 = 4;

/// So many pages in time, one after another, and the next one has twice the rows again. A page that fails costs a whole deadline, so that
/// growing at once would cost every other page one where the server stays busy.
const GROW_AFTER: u32 = 4;

/// Pages that have no row and are still not the last, one after another, before the peer is taken for one that goes in a circle. A bounded
/// page looks at millions of names, so that honest ones come to an end long before.
const EMPTY_PAGES_MAX: u32 = 100_000;

/// A page that arrived, whose rows are not read yet.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// The reply as it came; [`Client::page`] and [`Client::answers`] read its rows.
    pub received: Received,
    /// What stands around the rows.
    pub outline: Outline,
}

/// The pages of an answer; ends after the last one and after an error. Each row comes once.
#[derive(Debug)]
pub struct Ahead<'a> {
    client: &'a mut Client,
    question: Question<'a>,
    /// Rows that a page may have, in time or not.
    limit: usize,
    /// Pages that were in time since the last one that was not, or since pages grew.
    in_time: u32,
    /// Where the page that is under way begins.
    cursor: Option<String>,
    /// The question that is under way.
    id: Option<u64>,
    empty_pages: u32,
}

impl<'a> Ahead<'a> {
    pub(crate) fn new(client: &'a mut Client, question: &Question<'a>) -> Result<Self, Error> {
        let limit = question.limit.unwrap_or(LIMIT_DEFAULT);
        let question = question.clone();
        let mut ahead = Self { client, question, limit, in_time: 0, cursor: None, id: None, empty_pages: 0 };
        ahead.send()?;
        Ok(ahead)
    }

    /// The next page; none after the last. The one that follows is under way by then.
    ///
    /// # Errors
    /// As [`Client::lookup`]; nothing follows. The code `stale_cursor` says that another generation is served since the first page.
    #[expect(clippy::should_implement_trait, reason = "the reading of a page borrows what hands it over")]
    pub fn next(&mut self) -> Option<Result<Arrived, Error>> {
        let mut retries_left = DEADLINE_RETRIES;
        loop {
            match self.arrive(self.id?) {
                Err(error)
                    if error.code() == Some("deadline_exceeded") && retries_left > 0 && self.client.is_open() =>
                {
                    retries_left -= 1;
                    self.in_time = 0;
                    self.question.limit = Some((self.question.limit.unwrap_or(LIMIT_DEFAULT) / 2).max(1));
                    if let Err(error) = self.send() {
                        return Some(Err(error));
                    }
                }
                arrived => return Some(arrived),
            }
        }
    }

    /// The client that asks, to read what arrived with.
    #[must_use]
    pub fn client(&self) -> &Client {
        self.client
    }

    fn arrive(&mut self, id: u64) -> Result<Arrived, Error> {
        self.id = None;
        let received = self.client.receive_id(id)?;
        let Arrived { received, outline } = self.client.arrived(received)?;
        if outline.next.is_some() && outline.next == self.cursor {
            return Err(Error::not_balcao(self.client.address(), "a page's next is its own cursor"));
        }
        self.empty_pages = if outline.rows == 0 { self.empty_pages + 1 } else { 0 };
        if self.empty_pages > EMPTY_PAGES_MAX {
            return Err(Error::not_balcao(self.client.address(), "pages without a row come without end"));
        }
        self.grow();
        if let Some(next) = &outline.next {
            self.cursor = Some(next.clone());
            self.send()?;
        }
        Ok(Arrived { received, outline })
    }

    /// Brings pages that were made smaller back to what was asked for, in steps.
    fn grow(&mut self) {
        self.in_time += 1;
        if let Some(limit) = self.question.limit.filter(|&limit| limit < self.limit && self.in_time >= GROW_AFTER) {
            self.question.limit = Some(limit.saturating_mul(2).min(self.limit));
            self.in_time = 0;
        }
    }

    fn send(&mut self) -> Result<(), Error> {
        let cursor = self.cursor.as_deref().or(self.question.cursor);
        self.id = Some(self.client.send(&Question { cursor, ..self.question.clone() })?);
        Ok(())
    }
}

impl Drop for Ahead<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.client.forget(id);
        }
    }
}
