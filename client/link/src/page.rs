//! `Page` and `Pages`: the rows of an answer, one page or all of them, never more than one page in memory.

use balcao_wire::client::{Question, Reply};
use serde_json::{Map, Value};

use crate::client::Client;
use crate::error::{Error, Refusal};

/// A row: the table's columns by name, in the table's order.
pub type Row = Map<String, Value>;

/// How a name is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Name {
    /// The whole normalised name.
    Exact,
    /// Its beginning.
    Prefix,
    /// Its words, in any order.
    Words,
    /// A name near to it.
    Fuzzy,
}

impl Name {
    /// The text on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Prefix => "prefix",
            Self::Words => "words",
            Self::Fuzzy => "fuzzy",
        }
    }
}

/// The question for rows by a CPF, written in any way the protocol reads; `limit` rows a page (1 to 1000), the server's 50 without.
#[must_use]
pub fn by_cpf(cpf: &str, limit: Option<usize>) -> Question<'_> {
    Question { cpf: Some(cpf), limit, ..Question::default() }
}

/// The question for rows by a name; without `how` the server's default, prefix. `limit` as in [`by_cpf`].
#[must_use]
pub fn by_name(nome: &str, how: Option<Name>, limit: Option<usize>) -> Question<'_> {
    Question { nome: Some(nome), r#match: how.map(Name::as_str), limit, ..Question::default() }
}

/// One page of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// At most `limit` rows, all with the same columns.
    pub rows: Vec<Row>,
    /// Rows of all pages, where the server counted them.
    pub total: Option<u64>,
    /// Rows that there are at least, where it did not.
    pub total_at_least: Option<u64>,
    /// How far each row is from the question, for [`Name::Fuzzy`]; 0 is nearest.
    pub distances: Option<Vec<u8>>,
    /// Whether the page is short because the work for it was bounded; `next` goes on from there.
    pub is_bounded: bool,
    /// The cursor of the following page; none at the end.
    pub next: Option<String>,
    /// `check_digits` where those of the CPF asked for do not hold.
    pub warning: Option<String>,
    /// The reply line as it came, without its `\n`; empty for an item of a batch.
    pub line: String,
}

impl Page {
    /// A reply as a page: [`Error::Server`] where it is an error, [`Error::NotBalcao`] where it has no rows or unlike rows.
    pub(crate) fn new(reply: Reply, line: String, address: &str) -> Result<Self, Error> {
        if !reply.is_ok() {
            let refusal = Refusal::new(reply.code, reply.message, reply.retry_after_ms, line);
            return Err(Error::Server(Box::new(refusal)));
        }
        let Some(rows) = reply.rows else {
            return Err(Error::not_balcao(address, "the answer to a question has no rows"));
        };
        if let Some(first) = rows.first()
            && rows.iter().any(|row| !row.keys().eq(first.keys()))
        {
            return Err(Error::not_balcao(address, "the rows of one answer have different columns"));
        }
        if reply.distances.as_ref().is_some_and(|distances| distances.len() != rows.len()) {
            return Err(Error::not_balcao(address, "an answer has not a distance for each row"));
        }
        Ok(Self {
            rows,
            total: reply.total,
            total_at_least: reply.total_at_least,
            distances: reply.distances,
            is_bounded: reply.bounded,
            next: reply.next,
            warning: reply.warning,
            line,
        })
    }
}

/// The pages of an answer, each asked for when it is wanted; ends after the last one and after an error.
///
/// Each row comes once. When the server begins to serve another generation between two pages, the error's code is `stale_cursor`.
#[derive(Debug)]
pub struct Pages<'a> {
    client: &'a mut Client,
    question: Question<'a>,
    cursor: Option<String>,
    done: bool,
}

impl<'a> Pages<'a> {
    pub(crate) fn new(client: &'a mut Client, question: &Question<'a>, cursor: Option<String>) -> Self {
        Self { client, question: question.clone(), cursor, done: false }
    }

    fn page(&mut self) -> Result<Page, Error> {
        let before = self.cursor.as_deref().or(self.question.cursor);
        let page = self.client.lookup(&Question { cursor: before, ..self.question.clone() })?;
        if page.next.is_some() && page.next.as_deref() == before {
            return Err(Error::not_balcao(self.client.address(), "a page's next is its own cursor"));
        }
        Ok(page)
    }
}

impl Iterator for Pages<'_> {
    type Item = Result<Page, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let page = self.page();
        self.cursor = page.as_ref().ok().and_then(|page| page.next.clone());
        self.done = self.cursor.is_none();
        Some(page)
    }
}
