//! Searches: the questions whose answers are no run of ranks. `words` and `fuzzy` find ranks by the word index, and `where` leaves some of them out.
//!
//! A page is found first, as ranks and levels; then its rows are fetched and compared with the question like all others.

mod cpf;
mod edits;
mod filters;
mod pages;
mod question;
mod terms;
mod walk;
mod work;

pub(crate) use filters::{FilterPlaces, RowFilter};
pub(crate) use question::Question;
pub(crate) use work::{Bounds, Stop, Work, late};

use balcao_index::{Filters, Part, cluster_rowid};
use balcao_wire::limits::{QUESTION_WORDS_MAX, REPLY_BYTES_MAX};
use balcao_wire::{Code, Cursor, Ending, Fault, Id, Key, Lookup, Match, RowsWriter, SearchPlace};

use crate::asked::Asked;
use crate::lookup::{cursor_beyond, foreign_cursor};
use crate::rows::RowError;
use crate::snapshot::{Answer, Snapshot, refuse, unavailable};
use pages::{Page, Place};
use walk::{LEVELS_MAX, Source, Walk};

/// A page whose ranks are known, and whose rows are not fetched yet.
pub(crate) struct SearchPage<'a> {
    key: &'a Key,
    question: Option<Question>,
    filter: RowFilter,
    part: Part,
    page: Page,
    next: Option<Cursor>,
}

impl SearchPage<'_> {
    /// Rows of the page.
    pub(crate) fn rows(&self) -> usize {
        self.page.ranks.len()
    }
}

impl Snapshot {
    /// Finds the page that a search asks for.
    ///
    /// # Errors
    /// The fault to answer with.
    pub(crate) fn search<'a>(
        &self,
        lookup: &'a Lookup,
        goes_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<SearchPage<'a>, Fault> {
        self.trust()?;
        let found = self.find_page(lookup, &mut Work::new(self.bounds, goes_on));
        // What a failed map gave is not believed, neither as ranks nor as damage.
        self.trust()?;
        Ok(found?)
    }

    fn find_page<'a>(&self, lookup: &'a Lookup, work: &mut Work<'_>) -> Result<SearchPage<'a>, Stop> {
        let place = self.place(lookup)?;
        let filter = RowFilter::resolve(&lookup.filters, self.generation.filters().map(Filters::columns))?;
        let question = match &lookup.key {
            Key::Name { r#match: Match::Words { last }, name } => Some(Question::words(name, *last)),
            Key::Name { r#match: Match::Fuzzy { last, spelling }, name } => {
                Some(Question::fuzzy(name, *last, *spelling))
            }
            Key::Name { .. } | Key::Cpf(_) => None,
        };
        let (part, page) = match &lookup.key {
            Key::Cpf(cpf) => (Part::Cpf, self.cpf_page(*cpf, &filter, &place, lookup.limit, work)?),
            Key::Name { r#match, name } => {
                let source = match (&question, r#match) {
                    (Some(question), _) => self.terms(question, work)?,
                    (None, Match::Exact) => Source::Run(self.generation.name_ranks(name)?),
                    (None, _) => Source::Run(self.generation.prefix_ranks(name)?),
                };
                let filters = self.generation.filters().filter(|_| !lookup.filters.is_empty());
                let filter = filters.map(|filters| (filters, filter));
                let is_fuzzy = question.as_ref().is_some_and(Question::is_fuzzy);
                let mut walk = Walk::new(source, filter, self.generation.name_rows(), is_fuzzy);
                (Part::Name, pages::turn(&mut walk, &place, lookup.limit, work)?)
            }
        };
        let next = page.next.map(|(level, position)| Cursor {
            generation: self.generation.tag(),
            question: lookup.fingerprint(),
            position,
            search: Some(SearchPlace {
                level,
                total: page.total,
                given: place.given.saturating_add(page.ranks.len() as u64),
            }),
        });
        Ok(SearchPage { key: &lookup.key, question, filter, part, page, next })
    }

    /// Looks the words of a question up; a word that nothing answers leaves no rank.
    fn terms<'i>(&'i self, question: &'i Question, work: &mut Work<'_>) -> Result<Source<'i>, Stop> {
        let Some(index) = self.generation.word_index() else {
            let message = "this index has no words; build it without `--no-words` for `words` and `fuzzy`";
            return Err(Fault::new(Code::BadRequest, message).into());
        };
        if question.demands.len() > QUESTION_WORDS_MAX {
            return Err(Fault::new(Code::BadRequest, "a question has at most 16 distinct words").into());
        }
        Ok(Walk::terms(index, question, work)?.unwrap_or(Source::Run(0..0)))
    }

    /// Where the page begins.
    fn place(&self, lookup: &Lookup) -> Result<Place, Fault> {
        let Some(cursor) = self.check_cursor(lookup)? else { return Ok(Place::FIRST) };
        let Some(SearchPlace { level, total, given }) = cursor.search else {
            return Err(foreign_cursor());
        };
        if cursor.position > self.generation.name_rows().max(self.generation.manifest().rows)
            || usize::from(level) >= LEVELS_MAX
        {
            return Err(cursor_beyond());
        }
        Ok(Place { level, position: cursor.position, given, total: Some(total) })
    }

    /// Fetches the rows of a page and appends the reply.
    pub(crate) fn write_search(
        &self,
        found: &SearchPage<'_>,
        id: &Id,
        out: &mut Vec<u8>,
        goes_on: &(dyn Fn() -> bool + Sync),
    ) -> Answer {
        if !goes_on() {
            return refuse(out, id, &late());
        }
        let start = out.len();
        let written = self.try_write_search(found, id, out, start.saturating_add(REPLY_BYTES_MAX));
        let fault = match (self.trust(), written) {
            (Ok(()), Ok(())) => return Ok(()),
            // What a failed map gave is not believed, neither as rows nor as damage.
            (Err(fault), _) => fault,
            (Ok(()), Err(RowError::TooLong)) => {
                let message = "the rows of this page take more than 64 MiB; ask with a smaller `limit`";
                Fault::new(Code::TooManyRows, message)
            }
            (Ok(()), Err(error)) => unavailable(&error),
        };
        out.truncate(start);
        refuse(out, id, &fault)
    }

    fn try_write_search(
        &self,
        found: &SearchPage<'_>,
        id: &Id,
        out: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<(), RowError> {
        let SearchPage { key, question, filter, part, page, next } = found;
        let copy = self.cluster.as_ref().filter(|_| *part == Part::Name);
        let rowid =
            |&rank: &u64| if copy.is_some() { Ok(cluster_rowid(rank)) } else { self.generation.rowid(*part, rank) };
        let rowids = page.ranks.iter().map(rowid).collect::<Result<Vec<_>, _>>()?;
        let asked = match question {
            Some(question) => Asked::question(question, &page.levels),
            None => Asked::key(key),
        }
        .filtered(filter, &self.places);
        let mut rows = RowsWriter::begin(out, id);
        copy.unwrap_or(&self.rows).write(&rowids, &asked, &mut rows, bytes_max)?;
        let is_fuzzy = question.as_ref().is_some_and(Question::is_fuzzy);
        let distances: Option<Vec<u8>> =
            is_fuzzy.then(|| page.levels.iter().map(|level| level.saturating_sub(1)).collect());
        rows.finish_search(&Ending {
            total: page.total,
            next: next.as_ref().map(Cursor::encode).as_deref(),
            check_digits_warning: matches!(key, Key::Cpf(cpf) if !cpf.has_right_check_digits()),
            distances: distances.as_deref(),
            bounded: page.bounded,
        });
        Ok(())
    }
}
