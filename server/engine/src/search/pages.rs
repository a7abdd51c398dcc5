//! `Page`: which ranks a page of a search has, where the next one begins, and what is known of the whole answer.

use balcao_wire::Total;

use super::walk::{Pass, Walk, Wanted};
use super::work::{Stop, Work};

/// Where a page begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) level: u8,
    /// The least rank of that level that was not given.
    pub(crate) position: u64,
    /// Rows of the pages before.
    pub(crate) given: u64,
    /// What the first page told; none on the first page itself.
    pub(crate) total: Option<Total>,
}

impl Place {
    /// The first page's.
    pub(crate) const FIRST: Self = Self { level: 0, position: 0, given: 0, total: None };
}

/// A page's ranks, in order.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) ranks: Vec<u64>,
    /// The level of each.
    pub(crate) levels: Vec<u8>,
    pub(crate) total: Total,
    /// Level and rank at which the next page begins.
    pub(crate) next: Option<(u8, u64)>,
    /// The page is not full, and ends where its work was spent.
    pub(crate) bounded: bool,
}

/// What was found for a page.
#[derive(Debug, Default)]
pub(super) struct Finds {
    /// Level and rank, in order: of the page, and one more to see that the answer goes on.
    pub(super) rows: Vec<(u8, u64)>,
    /// Where the work was spent.
    pub(super) cut: Option<(u8, u64)>,
    /// All that were counted, on a first page that counts.
    pub(super) counted: u64,
}

impl Finds {
    /// Adds what a pass found, level by level, as far as the order is certain: behind a cut, of its first level only.
    fn add(&mut self, first_level: u8, pass: &Pass, most: usize) {
        let certain = if pass.cut.is_some() { 1 } else { pass.levels.len() };
        for (level, found) in (first_level..).zip(&pass.levels[..certain]) {
            let room = most - self.rows.len();
            self.rows.extend(found.ranks.iter().take(room).map(|&rank| (level, rank)));
        }
        self.cut = pass.cut.map(|rank| (first_level, rank));
    }

    /// The page of at most `limit` rows that begins at `place`.
    pub(super) fn page(mut self, place: &Place, limit: usize) -> Page {
        let next = self.rows.get(limit).copied();
        self.rows.truncate(limit);
        let known = place.given.saturating_add(self.rows.len() as u64).saturating_add(next.is_some().into());
        let total = match place.total {
            None if self.cut.is_none() && next.is_none() => Total::Exact(known.max(self.counted)),
            None if self.cut.is_none() && self.counted > 0 => Total::Exact(self.counted),
            None => Total::AtLeast(known.max(self.counted)),
            Some(Total::Exact(total)) => Total::Exact(total),
            Some(Total::AtLeast(total)) => Total::AtLeast(total.max(known)),
        };
        let bounded = self.cut.is_some() && self.rows.len() < limit;
        let (levels, ranks) = self.rows.into_iter().unzip();
        Page { ranks, levels, total, next: next.or(self.cut), bounded }
    }
}

/// Finds a page of at most `limit` rows.
pub(super) fn turn(walk: &mut Walk<'_>, place: &Place, limit: usize, work: &mut Work<'_>) -> Result<Page, Stop> {
    let (top, most) = (walk.top(), limit + 1);
    // Whether everything can be gone over in one pass: a matter of the lists' lengths alone.
    let is_cheap = walk.count() <= work.bounds.postings;
    let mut finds = Finds::default();
    if place.total.is_none() && (top == 0 || is_cheap) {
        let pass = walk.pass(&Wanted { from: 0, levels: 0..=top, ranks: most, counts: true }, work)?;
        finds.counted = pass.levels.iter().map(|found| found.count).sum();
        finds.add(0, &pass, most);
        return Ok(finds.page(place, limit));
    }
    let (mut level, mut from) = (place.level, place.position);
    while level <= top && finds.rows.len() < most && finds.cut.is_none() {
        // A level that was begun is ended first; then all further ones are looked for at once, where that is cheap.
        let last = if is_cheap && from == 0 { top } else { level };
        if last > level || walk.may_have(level) {
            let ranks = most - finds.rows.len();
            let pass = walk.pass(&Wanted { from, levels: level..=last, ranks, counts: false }, work)?;
            finds.add(level, &pass, most);
        }
        (level, from) = (last + 1, 0);
    }
    Ok(finds.page(place, limit))
}
