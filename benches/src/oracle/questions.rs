//! Every question of a run, made on demand from its number: what is asked, and which rows or which error must come.
//!
//! Expectations come from the scanned table alone.

use super::Plan;
use super::filters::Where;
use super::reading::{check_digits_hold, normalise, read_cpf, read_cpf_number};
use super::scan::Table;
use super::search::{Agreement, Rows, Searchable, is_allowed};
use super::search_questions::Search;
use super::spelling::{Written, json_text, other_cpf, strange_cpf, strange_name};
use super::words::{Likeness, demands};
use super::{claims, filter_questions, prefixes, search_questions};
use crate::rng::Rng;

/// Rows of a page where a question does not say.
const LIMIT_DEFAULT: usize = 50;

/// Rows of the largest page.
const LIMIT_MAX: usize = 1000;

/// An answer is asked in about so many pages at most.
const PAGES_MAX: usize = 40;

/// A strange name with more rows than this is asked by `exact` instead.
const STRANGE_ROWS_MAX: usize = 1000;

/// A search with more rows than this is long: mostly it is not paged to its end.
pub(crate) const SEARCH_ROWS_MAX: usize = 4000;

/// One long search in so many is, in the largest pages; not all of them, so that a run stays short.
const PAGED_ALL_ONE_IN: usize = 4;

/// Pages of the others.
const SEARCH_PAGES_MAX: usize = 5;

/// Patience that searches are asked with, in milliseconds: the most that the protocol has. This is no measure of speed.
const DEADLINE_MS: u32 = 60_000;

/// How many kinds there are in [`Kind::ASKED`].
const KINDS_ASKED: usize = 16;

/// What a question is about; the kinds of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A CPF of the table in its eleven digits.
    Cpf,
    /// A CPF of the table, written otherwise.
    CpfSpelled,
    /// A normalised name of the table, exact.
    NameExact,
    /// A prefix.
    Prefix,
    /// Eleven random digits, mostly of nobody.
    CpfAbsent,
    /// Something near a CPF, mostly invalid.
    CpfStrange,
    /// A text of odd characters, mostly of nobody or without a letter.
    NameStrange,
    /// Words in any order.
    Words,
    /// Words that may be misspelt.
    Fuzzy,
    /// Words that may be misspelt or spelt otherwise.
    FuzzySpelling,
    /// A CPF with `where`.
    FilteredCpf,
    /// A name, exact, with `where`.
    FilteredExact,
    /// A prefix with `where`.
    FilteredPrefix,
    /// Words with `where`.
    FilteredWords,
    /// Words that may be misspelt, or spelt otherwise, with `where`.
    FilteredFuzzy,
    /// `verify`.
    Claim,
    /// `hello`, `ping`, broken lines, misused cursors; one after the other.
    Manners,
}

impl Kind {
    /// The kinds that are asked over all connections at once, in the order of their numbers.
    const ASKED: [Self; KINDS_ASKED] = [
        Self::Cpf,
        Self::CpfSpelled,
        Self::NameExact,
        Self::Prefix,
        Self::CpfAbsent,
        Self::CpfStrange,
        Self::NameStrange,
        Self::Words,
        Self::Fuzzy,
        Self::FuzzySpelling,
        Self::FilteredCpf,
        Self::FilteredExact,
        Self::FilteredPrefix,
        Self::FilteredWords,
        Self::FilteredFuzzy,
        Self::Claim,
    ];

    /// Its name in a report.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpf => "cpf",
            Self::CpfSpelled => "cpf spelled otherwise",
            Self::NameExact => "name exact",
            Self::Prefix => "name prefix",
            Self::CpfAbsent => "cpf at random",
            Self::CpfStrange => "cpf strange",
            Self::NameStrange => "name strange",
            Self::Words => "words",
            Self::Fuzzy => "fuzzy",
            Self::FuzzySpelling => "fuzzy, spelling pt",
            Self::FilteredCpf => "cpf, filtered",
            Self::FilteredExact => "name exact, filtered",
            Self::FilteredPrefix => "name prefix, filtered",
            Self::FilteredWords => "words, filtered",
            Self::FilteredFuzzy => "fuzzy, filtered",
            Self::Claim => "verify",
            Self::Manners => "manners",
        }
    }
}

/// What must come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected<'a> {
    /// These rows in this order, and `"warning":"check_digits"` or none.
    Rows { rows: &'a [u32], warning: bool },
    /// The rows of a search, and the warning or none.
    Found { found: &'a Rows, warning: bool },
    /// What is told of a claim.
    Agreement(Agreement),
    /// An error of this code.
    Code(&'static str),
}

impl Expected<'_> {
    /// How many rows must come on all pages.
    pub(crate) fn rows(self) -> usize {
        match self {
            Self::Rows { rows, .. } => rows.len(),
            Self::Found { found, .. } => found.rows.len(),
            Self::Agreement(_) | Self::Code(_) => 0,
        }
    }

    /// Whether something is found: rows, or the row of a claim.
    pub(crate) fn is_found(self) -> bool {
        self.rows() > 0 || matches!(self, Self::Agreement(agreement) if agreement.cpf)
    }
}

/// What must come, as it is kept.
#[derive(Debug)]
pub(crate) enum Answer<'a> {
    Rows { rows: &'a [u32], warning: bool },
    Found { found: Rows, warning: bool },
    Agreement(Agreement),
    Code(&'static str),
}

/// A question, to be asked page by page.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    pub(crate) kind: Kind,
    /// The members that name the key.
    key: String,
    answer: Answer<'a>,
    /// Pages that are asked for at most.
    pages_max: usize,
    rng: Rng,
}

impl Question<'_> {
    pub(crate) fn expected(&self) -> Expected<'_> {
        match &self.answer {
            Answer::Rows { rows, warning } => Expected::Rows { rows, warning: *warning },
            Answer::Found { found, warning } => Expected::Found { found, warning: *warning },
            Answer::Agreement(agreement) => Expected::Agreement(*agreement),
            Answer::Code(code) => Expected::Code(code),
        }
    }

    /// The next request: its members behind the `id`, and how many rows its page may have.
    pub(crate) fn request(&mut self, cursor: Option<&str>) -> (String, usize) {
        let rows = self.expected().rows();
        let mut members = self.key.clone();
        if self.kind == Kind::Claim {
            return (members, LIMIT_DEFAULT);
        }
        let limit = match self.rng.below(8) {
            _ if self.is_long() && self.pages_max == usize::MAX => {
                members.push_str(&format!(",\"limit\":{LIMIT_MAX}"));
                LIMIT_MAX
            }
            0 if rows <= LIMIT_DEFAULT * PAGES_MAX => {
                members.push_str(["", ",\"limit\":null"][self.rng.below(2)]);
                LIMIT_DEFAULT
            }
            choice => {
                let low = (rows / PAGES_MAX).clamp(1, LIMIT_MAX);
                let high = if choice % 2 == 0 { (low + 9).min(LIMIT_MAX) } else { LIMIT_MAX };
                let limit = self.rng.between(low, high);
                members.push_str(&format!(",\"limit\":{limit}"));
                limit
            }
        };
        match cursor {
            Some(cursor) => members.push_str(&format!(",\"cursor\":{}", serde_json::Value::from(cursor))),
            None if self.rng.one_in(16) => members.push_str(",\"cursor\":null"),
            None => {}
        }
        if self.rng.one_in(32) {
            members.push_str(",\"unknown\":[1,{\"deep\":null}]");
        }
        (members, limit)
    }

    /// Whether it is a search with so many rows that it is mostly not paged to its end.
    pub(crate) fn is_long(&self) -> bool {
        matches!(&self.answer, Answer::Found { found, .. } if found.rows.len() > SEARCH_ROWS_MAX)
    }

    /// Whether it is not asked further behind `pages` pages.
    pub(crate) fn is_enough(&self, pages: usize) -> bool {
        pages >= self.pages_max
    }

    /// The member, with a comma in front, that says how long the answer may take.
    pub(crate) fn patience(&self) -> String {
        match self.kind {
            kind if kind < Kind::Words || matches!(kind, Kind::Claim | Kind::Manners) => String::new(),
            _ => format!(",\"deadline_ms\":{DEADLINE_MS}"),
        }
    }

    /// Whether it may be an item of a batch.
    pub(crate) fn is_item(&self) -> bool {
        self.kind != Kind::Claim
    }
}

/// All questions of a run.
pub(crate) struct Catalogue<'a> {
    table: &'a Table,
    searchable: &'a Searchable<'a>,
    seed: u64,
    prefixes: Vec<String>,
    /// The numbers of those CPFs that several rows carry.
    shared_cpfs: Vec<u32>,
    /// How many there are of each of [`Kind::ASKED`].
    counts: [usize; KINDS_ASKED],
    /// In which order they are asked: kinds mixed, so that dear and cheap ones share a connection.
    order: Vec<u32>,
}

impl<'a> Catalogue<'a> {
    pub(crate) fn new(searchable: &'a Searchable<'a>, plan: &Plan) -> Self {
        let table = searchable.table;
        let prefixes = prefixes::draw(table, plan.prefixes, plan.prefix_rows_max, plan.seed);
        let (cpfs, names) = (table.cpfs.keys.len(), table.names.keys.len());
        // Half of the fuzzy questions are about spelling too. What is made out of rows needs some.
        let of = |count: usize, tenths: usize| if names * cpfs > 0 { count * tenths / 10 } else { 0 };
        let counts = [
            cpfs,
            cpfs,
            names,
            prefixes.len(),
            plan.absent,
            plan.strange,
            plan.strange,
            of(plan.words, 10),
            of(plan.fuzzy, 5),
            of(plan.fuzzy, 10) - of(plan.fuzzy, 5),
            of(plan.filtered, 2),
            of(plan.filtered, 1),
            of(plan.filtered, 2),
            of(plan.filtered, 10) - of(plan.filtered, 5) - of(plan.filtered, 2),
            of(plan.filtered, 2),
            of(plan.claims, 10),
        ];
        let shared_cpfs = (0..cpfs).filter(|&at| table.cpfs.of(at).len() > 1).map(|at| at as u32).collect();
        let mut order: Vec<u32> = (0..counts.iter().sum::<usize>() as u32).collect();
        Rng::new(plan.seed, 2).shuffle(&mut order);
        Self { table, searchable, seed: plan.seed, prefixes, shared_cpfs, counts, order }
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// The question that is asked as number `at`.
    pub(crate) fn question(&self, at: usize) -> Question<'a> {
        let number = self.order[at] as usize;
        let mut rng = Rng::new(self.seed, 16 + number as u64);
        let (kind, within) = self.kind_of(number);
        let (key, answer) = match kind {
            Kind::Cpf => self.cpf(&Written::Text(self.table.cpfs.keys[within].clone()), &mut rng),
            Kind::CpfSpelled => self.cpf(&other_cpf(&self.table.cpfs.keys[within], &mut rng), &mut rng),
            Kind::CpfAbsent => {
                let digits = format!("{:011}", rng.below(100_000_000_000));
                self.cpf(&Written::Text(digits), &mut rng)
            }
            Kind::CpfStrange => {
                let keys = &self.table.cpfs.keys;
                let near = if keys.is_empty() { "00000000191" } else { rng.pick(keys) };
                self.cpf(&strange_cpf(near, &mut rng), &mut rng)
            }
            Kind::NameExact => {
                let text = self.name_text(within, &mut rng);
                self.name(&text, true, &mut rng)
            }
            Kind::Prefix => self.name(&self.prefixes[within], false, &mut rng),
            Kind::Words => self.words(Likeness::Same, &mut rng),
            Kind::Fuzzy => self.words(Likeness::Edits, &mut rng),
            Kind::FuzzySpelling => self.words(Likeness::EditsOrSpelling, &mut rng),
            Kind::FilteredCpf => self.filtered_cpf(&mut rng),
            Kind::FilteredExact | Kind::FilteredPrefix | Kind::FilteredWords | Kind::FilteredFuzzy => {
                self.filtered_name(kind, &mut rng)
            }
            Kind::Claim => claims::draw(self.searchable, &self.shared_cpfs, &mut rng),
            Kind::NameStrange | Kind::Manners => {
                let text = strange_name(&mut rng);
                let exact = self.table.names.starting_with(&normalise(&text)).len() > STRANGE_ROWS_MAX;
                self.name(&text, exact || rng.one_in(2), &mut rng)
            }
        };
        let mut question = Question { kind, key, answer, pages_max: usize::MAX, rng };
        if question.is_long() && !question.rng.one_in(PAGED_ALL_ONE_IN) {
            question.pages_max = question.rng.between(1, SEARCH_PAGES_MAX);
        }
        question
    }

    /// Which kind question `number` is of, and the how-manieth of its kind it is.
    fn kind_of(&self, number: usize) -> (Kind, usize) {
        let mut rest = number;
        for (kind, count) in Kind::ASKED.into_iter().zip(self.counts) {
            if rest < count {
                return (kind, rest);
            }
            rest -= count;
        }
        unreachable!("question {number} of {}", self.len())
    }

    /// A text that means name key number `at`: the key itself, or as one of its rows spells it.
    fn name_text(&self, at: usize, rng: &mut Rng) -> String {
        let key = &self.table.names.keys[at];
        // A few keys do not mean themselves: ŉ decomposes into an apostrophe letter, which a question would lose.
        if rng.one_in(2) || normalise(key) != *key {
            self.table.name_of(*rng.pick(self.table.names.of(at)))
        } else {
            key.clone()
        }
    }

    fn cpf(&self, written: &Written, rng: &mut Rng) -> (String, Answer<'a>) {
        let read = match written {
            Written::Text(text) => read_cpf(text),
            Written::Number(number) => read_cpf_number(number),
        };
        let answer = match read {
            None => Answer::Code("invalid_cpf"),
            Some(key) => Answer::Rows { rows: self.table.cpfs.exact(&key), warning: !check_digits_hold(&key) },
        };
        (format!("\"cpf\":{}", written.json(rng)), answer)
    }

    fn name(&self, text: &str, exact: bool, rng: &mut Rng) -> (String, Answer<'a>) {
        let key = normalise(text);
        let names = &self.table.names;
        let answer = match key.as_str() {
            "" => Answer::Code("invalid_name"),
            key if exact => Answer::Rows { rows: names.exact(key), warning: false },
            key => Answer::Rows { rows: names.starting_with(key), warning: false },
        };
        let matching = match exact {
            true => ",\"match\":\"exact\"",
            false => ["", ",\"match\":\"prefix\"", ",\"match\":null"][rng.below(3)],
        };
        (format!("\"nome\":{}{matching}", json_text(text, rng)), answer)
    }

    /// A question by words, and what it must find.
    fn words(&self, likeness: Likeness, rng: &mut Rng) -> (String, Answer<'a>) {
        let search = search_questions::draw(self.searchable, likeness, rng);
        let (members, answer) = self.search(&search, &Where::default(), rng);
        // A filter that asks for nothing is none.
        (members + ["", "", "", ",\"where\":null", ",\"where\":{}"][rng.below(5)], answer)
    }

    fn search(&self, search: &Search, filter: &Where, rng: &mut Rng) -> (String, Answer<'a>) {
        let question = normalise(&search.text);
        let demands = demands(&question, search.last_is_prefix);
        let answer = match question.as_str() {
            "" => Answer::Code("invalid_name"),
            _ if !is_allowed(&demands, search.likeness) => Answer::Code("bad_request"),
            _ => Answer::Found { found: self.searchable.search(&demands, search.likeness, filter), warning: false },
        };
        (format!("\"nome\":{}{}", json_text(&search.text, rng), search.members(rng)), answer)
    }

    /// A question by name, with a filter that the row which it is made of mostly passes.
    fn filtered_name(&self, kind: Kind, rng: &mut Rng) -> (String, Answer<'a>) {
        let name = rng.below(self.table.names.keys.len());
        let key = &self.table.names.keys[name];
        let row = *rng.pick(self.table.names.of(name));
        let (r#where, filter) = filter_questions::draw(self.searchable, row, rng);
        let likeness = match kind {
            Kind::FilteredFuzzy => Some(*rng.pick(&[Likeness::Edits, Likeness::EditsOrSpelling])),
            Kind::FilteredWords => Some(Likeness::Same),
            _ => None,
        };
        let (members, answer) = match likeness {
            Some(likeness) => {
                let search = search_questions::draw_from(self.searchable, key, likeness, rng);
                self.search(&search, &filter, rng)
            }
            None if kind == Kind::FilteredExact => self.name(&self.name_text(name, rng), true, rng),
            None => {
                let letters = rng.between(1, 8);
                self.name(&key.chars().take(letters).collect::<String>(), false, rng)
            }
        };
        (members + &r#where, self.sieved(answer, &filter))
    }

    /// A CPF, mostly one that several rows carry, with a filter that one of them mostly passes.
    fn filtered_cpf(&self, rng: &mut Rng) -> (String, Answer<'a>) {
        let cpf = match self.shared_cpfs.as_slice() {
            [_, ..] if !rng.one_in(3) => *rng.pick(&self.shared_cpfs) as usize,
            _ => rng.below(self.table.cpfs.keys.len()),
        };
        let row = *rng.pick(self.table.cpfs.of(cpf));
        let (r#where, filter) = filter_questions::draw(self.searchable, row, rng);
        let (members, answer) = self.cpf(&other_cpf(&self.table.cpfs.keys[cpf], rng), rng);
        (members + &r#where, self.sieved(answer, &filter))
    }

    /// The rows of `answer` that the filter lets through; those of a search have passed it.
    fn sieved(&self, answer: Answer<'a>, filter: &Where) -> Answer<'a> {
        match answer {
            Answer::Rows { rows, warning } => Answer::Found { found: self.searchable.filtered(rows, filter), warning },
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_search_that_is_paged_to_its_end_has_the_largest_pages() {
        let question = |rows: u32, pages_max| {
            let found = Rows { rows: (0..rows).collect(), distances: None, postings: u64::from(rows) };
            let answer = Answer::Found { found, warning: false };
            Question { kind: Kind::Words, key: String::new(), answer, pages_max, rng: Rng::new(1, 1) }
        };
        let limits = |mut question: Question<'static>| (0..50).map(move |_| question.request(Some("a")).1);
        let long = SEARCH_ROWS_MAX as u32 + 1;
        assert!(question(long, usize::MAX).is_long() && !question(long - 1, usize::MAX).is_long());
        assert!(limits(question(long, usize::MAX)).all(|limit| limit == LIMIT_MAX));
        assert!(limits(question(long, 3)).any(|limit| limit < LIMIT_MAX));
        assert!(limits(question(long - 1, usize::MAX)).any(|limit| limit < LIMIT_MAX));
    }
}
