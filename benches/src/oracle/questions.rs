//! Every question of a run, made on demand from its number: what is asked, and which rows or which error must come.
//!
//! Expectations come from the scanned table alone.

use super::Plan;
use super::prefixes;
use super::reading::{check_digits_hold, normalise, read_cpf, read_cpf_number};
use super::scan::Table;
use super::spelling::{Written, json_text, other_cpf, strange_cpf, strange_name};
use crate::rng::Rng;

/// Rows of a page where a question does not say.
const LIMIT_DEFAULT: usize = 50;

/// Rows of the largest page.
const LIMIT_MAX: usize = 1000;

/// An answer is asked in about so many pages at most.
const PAGES_MAX: usize = 40;

/// A strange name with more rows than this is asked by `exact` instead.
const STRANGE_ROWS_MAX: usize = 1000;

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
    /// `hello`, `ping`, broken lines, misused cursors; one after the other.
    Manners,
}

impl Kind {
    /// The kinds that are asked over all connections at once, in the order of their numbers.
    const ASKED: [Self; 7] = [
        Self::Cpf,
        Self::CpfSpelled,
        Self::NameExact,
        Self::Prefix,
        Self::CpfAbsent,
        Self::CpfStrange,
        Self::NameStrange,
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
            Self::Manners => "manners",
        }
    }
}

/// What must come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected<'a> {
    /// These rows in this order, and `"warning":"check_digits"` or none.
    Rows { rows: &'a [u32], warning: bool },
    /// An error of this code.
    Code(&'static str),
}

/// A question, to be asked page by page.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    pub(crate) kind: Kind,
    /// The members that name the key.
    key: String,
    pub(crate) expected: Expected<'a>,
    rng: Rng,
}

impl Question<'_> {
    /// The next request: its members behind the `id`, and how many rows its page may have.
    pub(crate) fn request(&mut self, cursor: Option<&str>) -> (String, usize) {
        let rows = if let Expected::Rows { rows, .. } = self.expected { rows.len() } else { 0 };
        let mut members = self.key.clone();
        let limit = match self.rng.below(8) {
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
}

/// All questions of a run.
pub(crate) struct Catalogue<'a> {
    table: &'a Table,
    seed: u64,
    prefixes: Vec<String>,
    /// How many there are of each of [`Kind::ASKED`].
    counts: [usize; 7],
    /// In which order they are asked: kinds mixed, so that dear and cheap ones share a connection.
    order: Vec<u32>,
}

impl<'a> Catalogue<'a> {
    pub(crate) fn new(table: &'a Table, plan: &Plan) -> Self {
        let prefixes = prefixes::draw(table, plan.prefixes, plan.prefix_rows_max, plan.seed);
        let (cpfs, names) = (table.cpfs.keys.len(), table.names.keys.len());
        let counts = [cpfs, cpfs, names, prefixes.len(), plan.absent, plan.strange, plan.strange];
        let mut order: Vec<u32> = (0..counts.iter().sum::<usize>() as u32).collect();
        Rng::new(plan.seed, 2).shuffle(&mut order);
        Self { table, seed: plan.seed, prefixes, counts, order }
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// The question that is asked as number `at`.
    pub(crate) fn question(&self, at: usize) -> Question<'a> {
        let number = self.order[at] as usize;
        let mut rng = Rng::new(self.seed, 16 + number as u64);
        let (kind, within) = self.kind_of(number);
        let (key, expected) = match kind {
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
            _ => {
                let text = strange_name(&mut rng);
                let exact = self.table.names.starting_with(&normalise(&text)).len() > STRANGE_ROWS_MAX;
                self.name(&text, exact || rng.one_in(2), &mut rng)
            }
        };
        Question { kind, key, expected, rng }
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

    fn cpf(&self, written: &Written, rng: &mut Rng) -> (String, Expected<'a>) {
        let read = match written {
            Written::Text(text) => read_cpf(text),
            Written::Number(number) => read_cpf_number(number),
        };
        let expected = match read {
            None => Expected::Code("invalid_cpf"),
            Some(key) => Expected::Rows { rows: self.table.cpfs.exact(&key), warning: !check_digits_hold(&key) },
        };
        (format!("\"cpf\":{}", written.json(rng)), expected)
    }

    fn name(&self, text: &str, exact: bool, rng: &mut Rng) -> (String, Expected<'a>) {
        let key = normalise(text);
        let names = &self.table.names;
        let expected = match key.as_str() {
            "" => Expected::Code("invalid_name"),
            key if exact => Expected::Rows { rows: names.exact(key), warning: false },
            key => Expected::Rows { rows: names.starting_with(key), warning: false },
        };
        let matching = match exact {
            true => ",\"match\":\"exact\"",
            false => ["", ",\"match\":\"prefix\"", ",\"match\":null"][rng.below(3)],
        };
        (format!("\"nome\":{}{matching}", json_text(text, rng)), expected)
    }
}
