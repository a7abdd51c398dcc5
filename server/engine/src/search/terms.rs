//! `Term`: one word of a question, with the posting lists of everything in the dictionary that answers it.
//!
//! It knows one window of ranks at a time, as a bitmap for each grade.

use std::ops::{ControlFlow, Range};

use balcao_index::{IndexError, Near, PostingCursor, Postings, WordIndex};

use super::question::{Demand, Grade};
use super::work::{Stop, Work};

/// A list at least this long has blocks that can be passed over; a shorter one is read from its beginning.
const LONG_LIST: u64 = 128;

/// What a seek costs, in postings that are marked one behind the other: it opens a block of 128.
const SEEK_COST: u64 = 128;

/// What is asked of the terms about one window.
pub(crate) struct View<'a> {
    /// It begins at a multiple of 64.
    pub(crate) window: Range<u32>,
    /// Ranks of the whole index.
    pub(crate) ranks: u64,
    /// Lists of a worse grade are not looked at.
    pub(crate) worst: Grade,
    /// The ranks, ascending, that must be right; all of the window without them.
    pub(crate) candidates: Option<&'a [u32]>,
}

impl View<'_> {
    /// Whether so many candidates are looked for one by one in a list of `count` postings: then this costs less than to mark all of its postings in the window.
    fn is_few(&self, candidates: usize, count: u64) -> bool {
        let length = u64::from(self.window.end - self.window.start);
        let here = u128::from(count) * u128::from(length) / u128::from(self.ranks.max(1));
        count >= LONG_LIST && u128::from(candidates as u64 * SEEK_COST) < here
    }
}

/// A list, and what it answers.
struct Entry<'i> {
    postings: Postings<'i>,
    grade: Grade,
    /// Where the list is read on, once it was begun.
    cursor: Option<Box<PostingCursor<'i>>>,
    /// No posting that is not looked at yet lies below.
    next: u32,
}

/// Where a term's lists are.
enum Lists<'i> {
    /// The only one, read from one end to the other.
    One(Postings<'i>, Box<PostingCursor<'i>>),
    Kept(Vec<Entry<'i>>),
    /// Too many to keep.
    Walked,
}

/// One word of a question in one generation.
pub(crate) struct Term<'i> {
    index: &'i WordIndex,
    demand: &'i Demand,
    /// What is near the word, where its lists are walked again and again.
    near: Option<Near>,
    lists: Lists<'i>,
    /// Postings of all lists.
    count: u64,
    /// Lists that are being read on.
    cursors: usize,
    /// The grades that there are lists of.
    grades: [bool; Grade::ALL.len()],
    /// The window, a bit for each rank.
    bits: [Vec<u64>; Grade::ALL.len()],
}

impl<'i> Term<'i> {
    /// Looks the word up; `None` where nothing in the dictionary answers it.
    pub(crate) fn find(index: &'i WordIndex, demand: &'i Demand, work: &mut Work<'_>) -> Result<Option<Self>, Stop> {
        // Where a word has few lists, or none, nobody else asks.
        work.look()?;
        let mut entries = Vec::new();
        let (mut count, mut grades, mut too_many) = (0_u64, [false; Grade::ALL.len()], false);
        let lists_max = work.lists_left;
        let near = demand.near();
        each_list(index, demand, near.as_ref(), work, |grade, postings, _| {
            count = count.saturating_add(postings.count());
            grades[grade as usize] = true;
            too_many |= entries.len() >= lists_max;
            if too_many {
                entries = Vec::new();
            } else {
                entries.push(Entry { postings, grade, cursor: None, next: 0 });
            }
            Ok(())
        })?;
        let lists = match &entries[..] {
            _ if too_many => Lists::Walked,
            [] => return Ok(None),
            [only] if only.grade == Grade::Exact => Lists::One(only.postings, Box::new(only.postings.cursor())),
            _ => Lists::Kept(entries),
        };
        if let Lists::Kept(entries) = &lists {
            work.lists_left -= entries.len();
        }
        let near = near.filter(|_| too_many);
        let (cursors, bits) = (0, Default::default());
        Ok(Some(Self { index, demand, near, lists, count, cursors, grades, bits }))
    }

    /// How many lists are gone through for each window.
    pub(crate) fn lists(&self) -> usize {
        match &self.lists {
            Lists::One(..) => 1,
            Lists::Kept(entries) => entries.len(),
            Lists::Walked => usize::MAX,
        }
    }

    /// Postings of all lists together.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Whether there are lists of a grade.
    pub(crate) fn has(&self, grade: Grade) -> bool {
        self.grades[grade as usize]
    }

    /// Begins at the lowest rank again.
    pub(crate) fn rewind(&mut self) {
        match &mut self.lists {
            Lists::One(postings, cursor) => **cursor = postings.cursor(),
            Lists::Kept(entries) => {
                self.cursors = 0;
                entries.iter_mut().for_each(|entry| (entry.next, entry.cursor) = (0, None));
            }
            Lists::Walked => {}
        }
    }

    /// A rank at or above `rank`; between the two the lists of the grades up to `worst` have none. `None` where none lies at or above.
    pub(crate) fn jump(&mut self, rank: u32, worst: Grade, work: &mut Work<'_>) -> Result<Option<u32>, Stop> {
        match &mut self.lists {
            Lists::One(_, cursor) => {
                let before = cursor.touched();
                let found = cursor.seek(rank)?;
                work.touch(cursor.touched() - before);
                Ok(found)
            }
            Lists::Kept(entries) => {
                let next = entries.iter().filter(|entry| entry.grade <= worst).map(|entry| entry.next).min();
                Ok(next.filter(|&next| next < u32::MAX).map(|next| next.max(rank)))
            }
            Lists::Walked => Ok(Some(rank)),
        }
    }

    /// Sets the bits of a window for the lists of the grades up to the view's worst.
    pub(crate) fn mark(&mut self, view: &View<'_>, work: &mut Work<'_>) -> Result<(), Stop> {
        let words = (view.window.end - view.window.start).div_ceil(64) as usize;
        for grade in Grade::ALL.into_iter().filter(|&grade| grade <= view.worst && self.grades[grade as usize]) {
            let bits = &mut self.bits[grade as usize];
            bits.clear();
            bits.resize(words, 0);
        }
        let bits = &mut self.bits;
        let end = view.window.end;
        match &mut self.lists {
            Lists::One(postings, cursor) => {
                let before = cursor.touched();
                let bits = &mut bits[Grade::Exact as usize];
                mark_list(cursor, postings.count(), view, bits)?;
                work.touch(cursor.touched() - before);
            }
            Lists::Kept(entries) => {
                for entry in entries.iter_mut().filter(|entry| entry.grade <= view.worst && entry.next < end) {
                    work.step()?;
                    let bits = &mut bits[entry.grade as usize];
                    let count = entry.postings.count();
                    if entry.cursor.is_none() && self.cursors < work.bounds.cursors {
                        self.cursors += 1;
                        entry.cursor = Some(Box::new(entry.postings.cursor()));
                    }
                    let mut fresh = None;
                    let cursor = match &mut entry.cursor {
                        Some(cursor) => &mut **cursor,
                        None => fresh.insert(entry.postings.cursor()),
                    };
                    let before = cursor.touched();
                    mark_list(cursor, count, view, bits)?;
                    // In a long list this might open a block that nobody needs.
                    entry.next = if count < LONG_LIST { cursor.seek(end)?.unwrap_or(u32::MAX) } else { end };
                    work.touch(cursor.touched() - before);
                }
            }
            Lists::Walked => each_list(self.index, self.demand, self.near.as_ref(), work, |grade, postings, work| {
                if grade <= view.worst {
                    let mut cursor = postings.cursor();
                    mark_list(&mut cursor, postings.count(), view, &mut bits[grade as usize])?;
                    work.touch(cursor.touched());
                }
                Ok(())
            })?,
        }
        Ok(())
    }

    /// 64 ranks of the window: those of a grade, and of none that is better.
    pub(crate) fn bits(&self, grade: Grade, at: usize) -> u64 {
        self.bits[grade as usize].get(at).copied().unwrap_or(0)
    }

    /// The ranks of every grade up to `worst` that has lists.
    pub(crate) fn all_bits(&self, worst: Grade) -> impl Iterator<Item = &[u64]> {
        Grade::ALL
            .iter()
            .filter(move |&&grade| grade <= worst && self.has(grade))
            .map(|&grade| &self.bits[grade as usize][..])
    }
}

/// Visits every list that answers `demand`; one that does so in two ways may come twice.
fn each_list<'i>(
    index: &'i WordIndex,
    demand: &Demand,
    near: Option<&Near>,
    work: &mut Work<'_>,
    mut visit: impl FnMut(Grade, Postings<'i>, &mut Work<'_>) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut stop = None;
    // A list without a grade is counted like all others, and not visited.
    let mut take = |grade: Option<Grade>, postings| {
        if stop.is_some() {
            return ControlFlow::Break(());
        }
        work.touch(1);
        match work.step().and_then(|()| grade.map_or(Ok(()), |grade| visit(grade, postings, work))) {
            Ok(()) => ControlFlow::Continue(()),
            Err(cause) => {
                stop = Some(cause);
                ControlFlow::Break(())
            }
        }
    };
    let word = demand.word.as_bytes();
    match near {
        Some(near) => index.near(near, |_, distance, postings| take(Some(Grade::of_distance(distance)), postings))?,
        None if demand.is_prefix => index.prefixed(word, |_, postings| take(Some(Grade::Exact), postings))?,
        None => {
            if let Some(postings) = index.word(word)? {
                let _ = take(Some(Grade::Exact), postings);
            }
        }
    }
    if let Some(key) = &demand.spelling {
        index.spelled(key.as_bytes(), demand.is_prefix, |word, postings| {
            // Of these the exact ones came before.
            take((!demand.is_exact(word)).then_some(Grade::Spelling), postings)
        })?;
    }
    stop.map_or(Ok(()), Err)
}

/// Sets the bits of a window for one list: its own, or where candidates are few those of the candidates that it has.
fn mark_list(cursor: &mut PostingCursor<'_>, count: u64, view: &View<'_>, bits: &mut [u64]) -> Result<(), IndexError> {
    let window = &view.window;
    let Some(candidates) = view.candidates.filter(|candidates| view.is_few(candidates.len(), count)) else {
        return cursor.mark(window.clone(), bits);
    };
    let mut found = None;
    for &candidate in candidates {
        if found.is_none_or(|found| found < candidate) {
            found = cursor.seek(candidate)?;
        }
        match found {
            None => break,
            Some(found) if found == candidate => {
                let at = (candidate - window.start) as usize;
                bits[at / 64] |= 1 << (at % 64);
            }
            Some(_) => {}
        }
    }
    Ok(())
}
