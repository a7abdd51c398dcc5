//! `Walk`: the ranks that answer a question, found window by window, with the levels they belong to.
//!
//! It turns no pages: whoever asks says from which rank on, for which levels, and how many.

use std::ops::{Range, RangeInclusive};

use balcao_index::Filters;

use super::filters::RowFilter;
use super::question::{Grade, Question};
use super::terms::{Term, View};
use super::work::{Stop, Work};

/// Candidates of a window that are taken out of its bitmap, so that the next term's lists can be asked for them one by one.
const CANDIDATES_MAX: u32 = 4096;

/// A term with more lists has them gone through less often, in windows that are so much wider.
const MANY_LISTS: usize = 256;
const WIDER: u64 = 4;

/// Of 64 ranks so many are looked up in the filters' columns one behind the other, with those between them; fewer one by one.
const DENSE_RANKS: u32 = 12;

/// What the ranks of an answer are found among.
pub(crate) enum Source<'i> {
    /// The names that have all words: the term with the fewest postings first.
    Terms(Vec<Term<'i>>),
    /// These ranks.
    Run(Range<u64>),
}

/// A question in one generation.
pub(crate) struct Walk<'i> {
    pub(crate) source: Source<'i>,
    pub(crate) filter: Option<(&'i Filters, RowFilter)>,
    /// Ranks of the whole index.
    pub(crate) ranks: u64,
    pub(crate) is_fuzzy: bool,
    candidates: Vec<u64>,
    listed: Vec<u32>,
}

/// What a pass found of one level.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// How many ranks, as far as they were counted.
    pub(crate) count: u64,
    /// The first of them.
    pub(crate) ranks: Vec<u64>,
}

/// What a pass found.
#[derive(Debug)]
pub(crate) struct Pass {
    /// For each level that was asked for.
    pub(crate) levels: Vec<Found>,
    /// The rank at which the work was spent; everything below was looked at.
    pub(crate) cut: Option<u64>,
}

/// What a pass is to find.
pub(crate) struct Wanted {
    /// The first rank of the first level.
    pub(crate) from: u64,
    pub(crate) levels: RangeInclusive<u8>,
    /// Ranks of each level.
    pub(crate) ranks: usize,
    /// Whether to go on counting when the first level has its ranks.
    pub(crate) counts: bool,
}

impl<'i> Walk<'i> {
    pub(crate) fn new(
        source: Source<'i>,
        filter: Option<(&'i Filters, RowFilter)>,
        ranks: u64,
        is_fuzzy: bool,
    ) -> Self {
        Self { source, filter, ranks, is_fuzzy, candidates: Vec::new(), listed: Vec::new() }
    }

    /// Looks up the words of a question; `None` where one of them answers to nothing.
    pub(crate) fn terms(
        index: &'i balcao_index::WordIndex,
        question: &'i Question,
        work: &mut Work<'_>,
    ) -> Result<Option<Source<'i>>, Stop> {
        let mut terms = Vec::with_capacity(question.demands.len());
        for demand in &question.demands {
            match Term::find(index, demand, work)? {
                Some(term) => terms.push(term),
                None => return Ok(None),
            }
        }
        terms.sort_by_key(Term::count);
        Ok(Some(Source::Terms(terms)))
    }

    /// Postings, or ranks, that one pass over everything may touch at most, as far as the lists tell.
    pub(crate) fn count(&self) -> u64 {
        match &self.source {
            Source::Terms(terms) => terms.iter().fold(0, |sum, term| sum.saturating_add(term.count())),
            Source::Run(run) => run.end - run.start,
        }
    }

    /// The highest level that there may be.
    pub(crate) fn top(&self) -> u8 {
        let Source::Terms(terms) = &self.source else { return 0 };
        if !self.is_fuzzy {
            return 0;
        }
        let worst = |term: &Term<'_>| Grade::ALL.into_iter().rev().find(|&grade| term.has(grade));
        let sum = terms.iter().filter_map(worst).map(Grade::distance).sum::<u8>();
        if sum > 0 || terms.iter().any(|term| term.has(Grade::Spelling)) { sum + 1 } else { 0 }
    }

    /// Whether there may be names of a level.
    pub(crate) fn may_have(&self, level: u8) -> bool {
        let Source::Terms(terms) = &self.source else { return level == 0 };
        let best = |term: &Term<'_>| Grade::ALL.into_iter().find(|&grade| term.has(grade));
        match level {
            0 => terms.iter().all(|term| term.has(Grade::Exact)),
            1 if !terms.iter().any(|term| term.has(Grade::Spelling)) => false,
            _ => terms.iter().filter_map(best).map(Grade::distance).sum::<u8>() < level,
        }
    }

    /// Goes over the ranks once.
    pub(crate) fn pass(&mut self, wanted: &Wanted, work: &mut Work<'_>) -> Result<Pass, Stop> {
        let mut pass = Pass { levels: vec![Found::default(); wanted.levels.clone().count()], cut: None };
        // A name that is further away by any word cannot be of these levels.
        let worst = match wanted.levels.end() {
            0 => Grade::Exact,
            1 => Grade::Spelling,
            2 => Grade::One,
            _ => Grade::Two,
        };
        if let Source::Terms(terms) = &mut self.source {
            terms.iter_mut().for_each(Term::rewind);
        }
        let length = self.window(work);
        let mut start = wanted.from;
        while let Some(next) = self.jump(start, worst, work)? {
            start = next & !63;
            if work.is_spent() {
                pass.cut = Some(next.max(wanted.from));
                break;
            }
            work.look()?;
            let window = start..self.ranks.min(start + length);
            if self.find_candidates(&window, worst, work)? {
                self.collect(&window, wanted, &mut pass, work)?;
            }
            work.moved();
            if !wanted.counts && pass.levels[0].ranks.len() >= wanted.ranks {
                break;
            }
            start = window.end;
        }
        Ok(pass)
    }

    /// Ranks of a window: more where a term has so many lists that to go through them is dearer than a bitmap beyond the nearest cache.
    fn window(&self, work: &Work<'_>) -> u64 {
        let Source::Terms(terms) = &self.source else { return work.bounds.window };
        let most = terms.iter().map(Term::lists).max().unwrap_or(0);
        if most > MANY_LISTS { work.bounds.window * WIDER } else { work.bounds.window }
    }

    /// The first rank at or above `start` that may be found.
    fn jump(&mut self, start: u64, worst: Grade, work: &mut Work<'_>) -> Result<Option<u64>, Stop> {
        let next = match &mut self.source {
            Source::Run(run) => (start < run.end).then(|| start.max(run.start)),
            Source::Terms(terms) => match (terms.first_mut(), u32::try_from(start)) {
                (Some(rarest), Ok(start)) => rarest.jump(start, worst, work)?.map(u64::from),
                _ => None,
            },
        };
        Ok(next.filter(|&next| next < self.ranks))
    }

    /// Sets the bits of all ranks of a window that have every word; whether there is any.
    fn find_candidates(&mut self, window: &Range<u64>, worst: Grade, work: &mut Work<'_>) -> Result<bool, Stop> {
        let words = (window.end - window.start).div_ceil(64) as usize;
        let all = &mut self.candidates;
        all.clear();
        all.resize(words, u64::MAX);
        let terms = match &mut self.source {
            Source::Run(run) => {
                for (base, bits) in (window.start..).step_by(64).zip(all.iter_mut()) {
                    *bits = ones_below(run.end.saturating_sub(base)) & !ones_below(run.start.saturating_sub(base));
                }
                return Ok(true);
            }
            Source::Terms(terms) => terms,
        };
        // A word index has no rank beyond.
        let (Ok(first), Ok(end)) = (u32::try_from(window.start), u32::try_from(window.end)) else { return Ok(false) };
        for (number, term) in terms.iter_mut().enumerate() {
            let count: u32 = if number == 0 { u32::MAX } else { all.iter().map(|bits| bits.count_ones()).sum() };
            if count == 0 {
                return Ok(false);
            }
            let few = count <= CANDIDATES_MAX;
            if few {
                self.listed.clear();
                self.listed.extend(ones(all).map(|at| first + at));
            }
            let candidates = few.then_some(&self.listed[..]);
            term.mark(&View { window: first..end, ranks: self.ranks, worst, candidates }, work)?;
            keep_common(all, term, worst);
        }
        Ok(all.iter().any(|&bits| bits != 0))
    }

    /// Sorts the candidates of a window into their levels.
    fn collect(
        &mut self,
        window: &Range<u64>,
        wanted: &Wanted,
        pass: &mut Pass,
        work: &mut Work<'_>,
    ) -> Result<(), Stop> {
        let mut of_levels = [0; LEVELS_MAX];
        for (at, (&candidates, base)) in self.candidates.iter().zip((window.start..).step_by(64)).enumerate() {
            let candidates = candidates & !ones_below(wanted.from.saturating_sub(base));
            if candidates == 0 {
                continue;
            }
            match &self.source {
                Source::Terms(terms) if self.is_fuzzy => split(terms, at, candidates, &mut of_levels),
                _ => of_levels[0] = candidates,
            }
            let levels = &mut of_levels[usize::from(*wanted.levels.start())..=usize::from(*wanted.levels.end())];
            if let Some((filters, filter)) = &self.filter {
                let asked = levels.iter().fold(0, |all, bits| all | bits);
                let passed = filter.pass(filters, base, asked, work)?;
                levels.iter_mut().for_each(|bits| *bits &= passed);
            }
            for (found, &bits) in pass.levels.iter_mut().zip(&*levels) {
                found.count += u64::from(bits.count_ones());
                let room = wanted.ranks - found.ranks.len();
                found.ranks.extend(ones(&[bits]).take(room).map(|at| base + u64::from(at)));
            }
            if !wanted.counts && pass.levels[0].ranks.len() >= wanted.ranks {
                break;
            }
        }
        Ok(())
    }
}

/// Levels of a question at most: one for exact words, one for each sum of the distances.
pub(crate) const LEVELS_MAX: usize = 2 + 2 * balcao_wire::limits::QUESTION_WORDS_MAX;

/// Keeps of the candidates those that a term has, too.
fn keep_common(all: &mut [u64], term: &Term<'_>, worst: Grade) {
    let mut sets = term.all_bits(worst);
    let (first, second) = (sets.next(), sets.next());
    match (first, second) {
        (Some(first), None) => all.iter_mut().zip(first).for_each(|(all, bits)| *all &= bits),
        (Some(first), Some(second)) => {
            let (third, fourth) = (sets.next().unwrap_or(second), sets.next().unwrap_or(second));
            let sets = first.iter().zip(second).zip(third).zip(fourth);
            all.iter_mut().zip(sets).for_each(|(all, (((a, b), c), d))| *all &= a | b | c | d);
        }
        (None, _) => all.fill(0),
    }
}

/// Splits 64 ranks into their levels. A level beyond those of the terms stays as it was: nobody asks for it.
fn split(terms: &[Term<'_>], at: usize, candidates: u64, levels: &mut [u64; LEVELS_MAX]) {
    // Level 0 becomes the exact ones; the sums stand one place behind.
    levels.fill(0);
    let (mut exact, mut top) = (candidates, 0);
    levels[1] = candidates;
    for term in terms {
        let is_exact = term.bits(Grade::Exact, at);
        let near = is_exact | term.bits(Grade::Spelling, at);
        let one = term.bits(Grade::One, at) & !near;
        let two = term.bits(Grade::Two, at) & !near & !one;
        exact &= is_exact;
        top = (top + 2).min(LEVELS_MAX - 2);
        for sum in (0..=top).rev() {
            let below = |by: usize| if sum >= by { levels[1 + sum - by] } else { 0 };
            levels[1 + sum] = below(0) & near | below(1) & one | below(2) & two;
        }
    }
    levels[0] = exact;
    levels[1] &= !exact;
}

/// The places of all bits that are set, ascending.
fn ones(words: &[u64]) -> impl Iterator<Item = u32> {
    words.iter().zip((0_u32..).step_by(64)).flat_map(|(&bits, base)| {
        let mut rest = bits;
        std::iter::from_fn(move || {
            let at = (rest != 0).then(|| rest.trailing_zeros())?;
            rest &= rest - 1;
            Some(base + at)
        })
    })
}

/// The lowest `count` bits.
fn ones_below(count: u64) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}

/// Whether so many of 64 ranks are looked up with those between them.
pub(crate) fn is_dense(bits: u64) -> bool {
    bits.count_ones() >= DENSE_RANKS
}
