//! How the keys of runs are packed and read: numbers as gaps, names as the tokens that they do not share with the name before.
//!
//! A packed name: a byte with the shared tokens (high four bits) and the further ones (low four bits), 15 where a varint of the rest
//! follows; then the further tokens, each as its number plus one, or 0, its length and its bytes; all numbers as varints.

use std::cmp::Ordering;

use balcao_index::varint;

use crate::ranking::{Ranking, place};
use crate::run::{Keys, Whole};

/// Bytes of a name that a stretch remembers. Names that share them all are not cut apart: no great loss, where a shard is a part of all names.
const BEGINNING_BYTES: usize = 64;

/// Bytes that an allocation takes beside those asked for, about.
const ALLOCATION_BYTES: usize = 16;

/// Numbers: CPF codes, and rows.
#[derive(Debug, Default)]
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    /// Packs a number behind the one `before`, which is 0 at the beginning of a stretch.
    pub(crate) fn pack(out: &mut Vec<u8>, before: u64, number: u64) {
        varint::write(out, number - before);
    }
}

impl Whole for u64 {
    fn beginning(&self) -> Self {
        *self
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}

impl Keys for Numbers {
    type Whole = u64;

    fn restart(&mut self) {
        self.0 = 0;
    }

    fn read(&mut self, bytes: &mut &[u8]) -> Option<u64> {
        let number = self.0.checked_add(varint::read(bytes)?)?;
        let row = varint::read(bytes)?;
        self.0 = number;
        Some(row)
    }

    fn head(&self) -> u64 {
        self.0
    }

    fn head_of(&self, key: &u64) -> u64 {
        *key
    }

    fn compare(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }

    fn compare_whole(&self, key: &u64) -> Ordering {
        self.0.cmp(key)
    }
}

/// Where a number of tokens does not fit its four bits.
const MORE: usize = 15;

/// Packs the head of a name: how many tokens it shares, and how many follow.
pub(crate) fn pack_name(out: &mut Vec<u8>, shared: usize, further: usize) {
    out.push((shared.min(MORE) << 4 | further.min(MORE)) as u8);
    for count in [shared, further] {
        if count >= MORE {
            varint::write(out, (count - MORE) as u64);
        }
    }
}

/// Packs a token that has a number.
pub(crate) fn pack_number(out: &mut Vec<u8>, number: u32) {
    varint::write(out, u64::from(number) + 1);
}

/// Packs a token that has none.
pub(crate) fn pack_text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(0);
    varint::write(out, text.len() as u64);
    out.extend_from_slice(text);
}

/// What a stretch remembers of the name with these tokens.
pub(crate) fn name_beginning<'t>(tokens: impl Iterator<Item = &'t [u8]>) -> Vec<u8> {
    let mut name = Vec::with_capacity(BEGINNING_BYTES);
    for (at, token) in tokens.enumerate() {
        if at > 0 {
            name.push(b' ');
        }
        name.extend_from_slice(&token[..token.len().min(BEGINNING_BYTES)]);
        if name.len() >= BEGINNING_BYTES {
            break;
        }
    }
    name.beginning()
}

impl Whole for Vec<u8> {
    fn beginning(&self) -> Self {
        self[..self.len().min(BEGINNING_BYTES)].to_vec()
    }

    fn heap_bytes(&self) -> usize {
        self.capacity() + ALLOCATION_BYTES
    }
}

/// Names of one thread's runs, by the ranks of their tokens.
#[derive(Clone)]
pub(crate) struct NameKeys<'r> {
    ranking: &'r Ranking<'r>,
    /// By the numbers of the run's thread.
    numbers: &'r [u32],
    ranks: Vec<u32>,
    /// The texts of the tokens that have odd ranks, with their places in the name.
    texts: Vec<(usize, Vec<u8>)>,
}

impl<'r> NameKeys<'r> {
    pub(crate) fn new(ranking: &'r Ranking<'r>, thread: usize) -> Self {
        Self { ranking, numbers: ranking.ranks(thread), ranks: Vec::new(), texts: Vec::new() }
    }

    /// Becomes a copy of `other`, of another thread's run maybe: to be compared, and not to be read on.
    pub(crate) fn copy(&mut self, other: &Self) {
        self.ranks.clone_from(&other.ranks);
        self.texts.clone_from(&other.texts);
    }

    /// How many tokens there are.
    pub(crate) fn len(&self) -> usize {
        self.ranks.len()
    }

    /// The leading tokens that both share.
    pub(crate) fn shared(&self, other: &Self) -> usize {
        let same = |&at: &usize| {
            let rank = self.ranks[at];
            rank == other.ranks[at] && (rank & 1 == 0 || self.text(at) == other.text(at))
        };
        (0..self.len().min(other.len())).take_while(same).count()
    }

    /// Where in the ranking the token at a place of the name stands, if it does.
    pub(crate) fn place(&self, at: usize) -> Option<usize> {
        place(self.ranks[at])
    }

    /// The token at a place of the name.
    pub(crate) fn token(&self, at: usize) -> &[u8] {
        self.place(at).map_or_else(|| self.text(at), |place| self.ranking.token(place))
    }

    fn text(&self, at: usize) -> &[u8] {
        self.texts.binary_search_by_key(&at, |(at, _)| *at).map_or(&[], |found| &self.texts[found].1)
    }

    fn read_tokens(&mut self, bytes: &mut &[u8], further: usize) -> Option<()> {
        for _ in 0..further {
            let number = varint::read(bytes)?;
            let rank = match number.checked_sub(1) {
                Some(number) => *self.numbers.get(usize::try_from(number).ok()?)?,
                None => {
                    let length = usize::try_from(varint::read(bytes)?).ok()?;
                    let (text, rest) = bytes.split_at_checked(length)?;
                    *bytes = rest;
                    let rank = self.ranking.rank_of(text);
                    if rank & 1 == 1 {
                        self.texts.push((self.ranks.len(), text.to_vec()));
                    }
                    rank
                }
            };
            self.ranks.push(rank);
        }
        Some(())
    }
}

fn read_count(bytes: &mut &[u8], count: u8) -> Option<usize> {
    let count = usize::from(count);
    if count < MORE { Some(count) } else { count.checked_add(usize::try_from(varint::read(bytes)?).ok()?) }
}

impl Keys for NameKeys<'_> {
    type Whole = Vec<u8>;

    fn restart(&mut self) {
        self.ranks.clear();
        self.texts.clear();
    }

    fn read(&mut self, bytes: &mut &[u8]) -> Option<u64> {
        let (&head, rest) = bytes.split_first()?;
        *bytes = rest;
        let shared = read_count(bytes, head >> 4)?;
        let further = read_count(bytes, head & 15)?;
        self.ranks.truncate(shared);
        if self.texts.last().is_some_and(|(at, _)| *at >= shared) {
            self.texts.retain(|(at, _)| *at < shared);
        }
        self.read_tokens(bytes, further)?;
        varint::read(bytes)
    }

    fn head(&self) -> u64 {
        self.ranking.head(self.ranks.iter().copied())
    }

    fn head_of(&self, key: &Vec<u8>) -> u64 {
        self.ranking.head_of(key)
    }

    fn compare(&self, other: &Self) -> Ordering {
        if self.texts.is_empty() && other.texts.is_empty() {
            return self.ranks.cmp(&other.ranks);
        }
        let shared = self.shared(other);
        let token = |keys: &Self| keys.ranks.get(shared).map(|&rank| (rank, keys.text(shared).to_vec()));
        token(self).cmp(&token(other))
    }

    fn compare_whole(&self, key: &Vec<u8>) -> Ordering {
        let mut name = Vec::with_capacity(key.len());
        for at in 0..self.len() {
            if at > 0 {
                name.push(b' ');
            }
            name.extend_from_slice(self.token(at));
            // What comes behind does not count.
            if name.len() > key.len() {
                break;
            }
        }
        name.cmp(key)
    }
}
