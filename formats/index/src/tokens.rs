//! Tokens: what a name is cut into, and a table that numbers the distinct ones.
//!
//! A token is one word, or a particle with the word behind it. Names compare by their tokens, one after the other, as they do by their bytes:
//! a blank is below every letter and digit, and a particle is a token of its own only where the name ends.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use crate::words::WORD_BYTES_MAX;

/// Writes the end of each token of `name`, a normalised one, into `ends`: words at blanks, a particle together with its next word.
pub fn token_ends(name: &[u8], ends: &mut Vec<u32>) {
    ends.clear();
    let mut start = 0;
    for (at, &byte) in name.iter().enumerate() {
        // A particle opens its token: one that another word opened has a blank already.
        if byte == b' ' && !is_particle(&name[start..at]) {
            ends.push(at as u32);
            start = at + 1;
        }
    }
    if !name.is_empty() {
        ends.push(name.len() as u32);
    }
}

/// Particles that make one token with the word behind them.
fn is_particle(word: &[u8]) -> bool {
    matches!(word, b"DA" | b"DE" | b"DO" | b"DOS" | b"DAS" | b"E")
}

/// How many leading tokens two names share.
pub(crate) fn shared_tokens(a: &[u8], a_ends: &[u32], b: &[u8], b_ends: &[u32]) -> usize {
    let same = a.iter().zip(b).take_while(|(x, y)| x == y).count() as u32;
    a_ends.iter().zip(b_ends).take_while(|&(x, y)| x == y && *x <= same).count()
}

/// Bytes of memory that a numbered token takes, about: its end, its count, its place in the order, its places in a table that is two thirds
/// full at most, and what is held twice while they grow.
const TOKEN_BYTES: usize = 192;

/// Bytes of text that a table has room for, for each token.
const TEXT_BYTES: usize = 32;

/// Tokens of a table at most: so many that the numbers of hundreds of tables, doubled, fit 32 bits.
const TOKENS_MAX: usize = 1 << 22;

/// Tokens, and bytes of their names, that wait for their numbers at most, but for those of one name.
const WAITING_TOKENS: usize = 128;
const WAITING_BYTES: usize = 16 * 1024;

/// A token that is not longer than this is found by one look at one place; nearly all are not.
const SHORT_BYTES: usize = 24;

/// A short token as big-endian numbers, filled with zeros: equal for equal tokens, and in the order of the tokens.
type Short = [u64; SHORT_BYTES / 8];

/// What to keep of the numbers behind which further bytes stand, by the token's length.
const KEPT: [Short; SHORT_BYTES + 1] = {
    let mut kept = [[0; SHORT_BYTES / 8]; SHORT_BYTES + 1];
    let mut bit = 0;
    while bit < SHORT_BYTES * 8 {
        let mut length = bit / 8 + 1;
        while length <= SHORT_BYTES {
            kept[length][bit / 64] |= 1 << (63 - bit % 64);
            length += 1;
        }
        bit += 1;
    }
    kept
};

/// Where a short token is kept; one that holds nothing has number 0.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    short: Short,
    /// The token's number plus one.
    number: u32,
}

/// A token that waits for its number.
#[derive(Clone, Copy, Debug)]
struct Cut {
    short: Short,
    hash: u64,
    start: u32,
    length: u32,
}

/// Distinct tokens, numbered from 0 as they come, and how often each was counted.
#[derive(Debug)]
pub struct TokenTable {
    /// A power of two of places.
    places: Vec<Place>,
    /// The numbers of those that are longer.
    long: HashMap<Box<[u8]>, u32>,
    ends: Vec<u32>,
    counts: Vec<u32>,
    text: Vec<u8>,
    tokens_max: usize,
    /// First bytes and numbers of the tokens, in their order, as far as they were ordered.
    order: Vec<(u64, u32)>,
    /// So that nobody can write a registry whose tokens all want one place.
    seeds: Short,
    /// Tokens that wait for their numbers, and the bytes of their names, with zeros behind them.
    cut: Vec<Cut>,
    padded: Vec<u8>,
    cut_bytes: usize,
}

impl TokenTable {
    /// A table that takes about `memory` bytes. What does not fit in there, of random texts perhaps, has no number.
    #[must_use]
    pub fn new(memory: usize) -> Self {
        let random = RandomState::new();
        Self {
            places: vec![Place::default(); 16],
            long: HashMap::new(),
            ends: Vec::new(),
            counts: Vec::new(),
            text: Vec::new(),
            tokens_max: (memory / (TOKEN_BYTES + TEXT_BYTES)).min(TOKENS_MAX),
            order: Vec::new(),
            seeds: [0, 1, 2].map(|seed| random.hash_one(seed)),
            cut: Vec::new(),
            padded: Vec::new(),
            cut_bytes: 0,
        }
    }

    /// Cuts a normalised name into its tokens, which wait for their numbers then: how many they are.
    pub fn cut(&mut self, name: &[u8]) -> usize {
        self.padded.truncate(self.cut_bytes);
        self.padded.extend_from_slice(name);
        self.padded.extend_from_slice(&[0; SHORT_BYTES]);
        let (mut start, mut from, end) = (self.cut_bytes, self.cut_bytes, self.cut_bytes + name.len());
        let before = self.cut.len();
        while from <= end && start < self.padded.len() && !name.is_empty() {
            let at = blank(&self.padded, from).min(end);
            from = at + 1;
            if at < end && is_particle(&self.padded[start..at]) {
                continue;
            }
            let length = at - start;
            let short = KEPT.get(length).map_or([0; 3], |kept| short(&self.padded[start..], kept));
            self.cut.push(Cut { short, hash: self.hash(&short), start: start as u32, length: length as u32 });
            start = at + 1;
        }
        self.cut_bytes = end;
        self.cut.len() - before
    }

    /// How many tokens wait for their numbers.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.cut.len()
    }

    /// Whether so many tokens wait that they are worth numbering, or so long ones that they must be.
    #[must_use]
    pub fn is_full_of_waiting(&self) -> bool {
        self.cut.len() >= WAITING_TOKENS || self.cut_bytes >= WAITING_BYTES
    }

    /// Gives `take` each token that was cut since the last time, in their order, with its number: a new one where it has none yet, `None` where
    /// it gets none.
    pub fn number_waiting(&mut self, mut take: impl FnMut(Option<u32>, &[u8])) {
        let (mut cut, padded) = (std::mem::take(&mut self.cut), std::mem::take(&mut self.padded));
        // The places are all over the memory: looked at one behind the other, without a decision between, they come side by side.
        let mask = self.places.len() - 1;
        let touched = cut.iter().fold(0, |touched, cut| touched ^ self.places[cut.hash as usize & mask].number);
        std::hint::black_box(touched);
        for token in &cut {
            let text = &padded[token.start as usize..][..token.length as usize];
            let short = text.len() <= SHORT_BYTES;
            take(if short { self.short_number(token, text) } else { self.long_number(text) }, text);
        }
        cut.clear();
        (self.cut, self.padded, self.cut_bytes) = (cut, padded, 0);
    }

    /// Counts an occurrence of a token by its number.
    pub fn count(&mut self, number: u32) {
        let count = &mut self.counts[number as usize];
        *count = count.saturating_add(1);
    }

    /// The token of a number below [`TokenTable::len`].
    #[must_use]
    pub fn token(&self, number: u32) -> &[u8] {
        let number = number as usize;
        let start = if number == 0 { 0 } else { self.ends[number - 1] };
        &self.text[start as usize..self.ends[number] as usize]
    }

    /// How often the token of a number was counted.
    #[must_use]
    pub fn counted(&self, number: u32) -> u32 {
        self.counts[number as usize]
    }

    /// How many tokens have a number.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether no token has a number.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Brings the tokens that came since the last time into the order.
    pub fn sort(&mut self) {
        let ordered = self.order.len() as u32;
        let mut order = std::mem::take(&mut self.order);
        order.extend((ordered..self.len() as u32).map(|number| (first_bytes(self.token(number)), number)));
        let compare = |a: &(u64, u32), b: &(u64, u32)| {
            // Equal first bytes say all of tokens that end within them.
            a.0.cmp(&b.0).then_with(|| self.token(a.1).cmp(self.token(b.1)))
        };
        order[ordered as usize..].sort_unstable_by(compare);
        // A stable sort finds both halves in order already, and merges them.
        order.sort_by(compare);
        self.order = order;
    }

    /// The tokens' [`first_bytes`] and their numbers: all that were there at the last
    /// [`TokenTable::sort`], in the order of the tokens.
    #[must_use]
    pub fn order(&self) -> &[(u64, u32)] {
        &self.order
    }

    fn short_number(&mut self, &Cut { short, hash, .. }: &Cut, token: &[u8]) -> Option<u32> {
        let mask = self.places.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let place = &self.places[at];
            if place.number == 0 {
                break;
            }
            if place.short == short {
                return Some(place.number - 1);
            }
            at = (at + 1) & mask;
        }
        let number = self.add(token)?;
        self.places[at] = Place { short, number: number + 1 };
        if self.ends.len() * 3 > self.places.len() * 2 {
            self.grow();
        }
        Some(number)
    }

    fn long_number(&mut self, token: &[u8]) -> Option<u32> {
        if let Some(&number) = self.long.get(token) {
            return Some(number);
        }
        if token.len() > WORD_BYTES_MAX {
            return None;
        }
        let number = self.add(token)?;
        self.long.insert(token.into(), number);
        Some(number)
    }

    fn add(&mut self, token: &[u8]) -> Option<u32> {
        let number = self.ends.len();
        if number >= self.tokens_max || self.text.len() + token.len() > self.tokens_max * TEXT_BYTES {
            return None;
        }
        self.text.extend_from_slice(token);
        self.ends.push(self.text.len() as u32);
        self.counts.push(0);
        Some(number as u32)
    }

    fn grow(&mut self) {
        let mask = self.places.len() * 2 - 1;
        let mut places = vec![Place::default(); mask + 1];
        for place in self.places.iter().filter(|place| place.number > 0) {
            let mut at = self.hash(&place.short) as usize & mask;
            while places[at].number > 0 {
                at = (at + 1) & mask;
            }
            places[at] = *place;
        }
        self.places = places;
    }

    fn hash(&self, short: &Short) -> u64 {
        let fold = |a: u64, b: u64| {
            let product = u128::from(a) * u128::from(b);
            product as u64 ^ (product >> 64) as u64
        };
        fold(fold(short[0] ^ self.seeds[0], short[1] ^ self.seeds[1]) ^ short[2], self.seeds[2] | 1)
    }
}

/// Where the first blank at or behind `from` is, or a place behind all of `padded` but its zeros.
fn blank(padded: &[u8], mut from: usize) -> usize {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    const BLANKS: u64 = u64::from_ne_bytes([b' '; 8]);
    while let Some(bytes) = padded[from..].first_chunk() {
        // The lowest byte that is zero now was a blank; above it there may be false ones.
        let others = u64::from_le_bytes(*bytes) ^ BLANKS;
        let found = others.wrapping_sub(EACH) & !others & (EACH << 7);
        if found != 0 {
            return from + found.trailing_zeros() as usize / 8;
        }
        from += 8;
    }
    padded.len()
}

/// The token at the beginning of `padded`, as numbers.
fn short(padded: &[u8], kept: &Short) -> Short {
    let mut short = *kept;
    for (number, bytes) in short.iter_mut().zip(padded.as_chunks::<8>().0) {
        *number &= u64::from_be_bytes(*bytes);
    }
    short
}

/// The first eight bytes of a token, as a big-endian number filled with zeros: numbers compare as the tokens do as far as they go.
#[must_use]
pub fn first_bytes(text: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let length = text.len().min(8);
    bytes[..length].copy_from_slice(&text[..length]);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn tokens(name: &str) -> Vec<&[u8]> {
        let mut ends = Vec::new();
        token_ends(name.as_bytes(), &mut ends);
        let mut start = 0;
        let token = |&end: &u32| {
            let token = &name.as_bytes()[start..end as usize];
            start = end as usize + 1;
            token
        };
        ends.iter().map(token).collect()
    }

    proptest! {
        /// What the build sorts by.
        #[test]
        fn tokens_are_in_the_order_of_the_bytes(a in "(A|DA|DAS|E|EA|ØD)( (A|DA|DAS|E|EA|ØD)){0,5} ?", b in "(A|DA|DAS|E|EA|ØD)( (A|DA|DAS|E|EA|ØD)){0,5} ?") {
            prop_assert_eq!(tokens(&a).cmp(&tokens(&b)), a.as_bytes().cmp(b.as_bytes()));
        }

        #[test]
        fn numbers_are_kept(names in prop::collection::vec("[A-D]{1,3}( [AB]{1,30}){0,3}", 0..200)) {
            let mut table = TokenTable::new(1 << 20);
            let mut model: HashMap<Vec<u8>, u32> = HashMap::new();
            for name in &names {
                let mut found = Vec::new();
                let other = if name.len() % 2 == 0 { "DA OTHER A" } else { "" };
                let counts = (table.cut(name.as_bytes()), table.cut(other.as_bytes()));
                prop_assert_eq!(counts, (tokens(name).len(), tokens(other).len()));
                table.number_waiting(|number, token| found.push((number, token.to_vec())));
                prop_assert_eq!(table.waiting(), 0);
                let cut = found.iter().map(|(_, token)| token.as_slice());
                prop_assert!(cut.eq(tokens(name).into_iter().chain(tokens(other))));
                for (number, token) in found {
                    let next = model.len() as u32;
                    let expected = *model.entry(token.clone()).or_insert(next);
                    prop_assert_eq!(number, Some(expected));
                    prop_assert_eq!(table.token(expected), token);
                }
                if name.len() % 3 == 0 {
                    table.sort();
                    let ordered: Vec<_> = table.order().iter().map(|&(_, number)| table.token(number)).collect();
                    prop_assert_eq!(ordered.len(), table.len());
                    prop_assert!(ordered.is_sorted());
                }
            }
            prop_assert_eq!(table.len(), model.len());
        }
    }

    fn number(table: &mut TokenTable, token: &[u8]) -> Option<u32> {
        let mut found = None;
        assert_eq!(table.cut(token), 1);
        table.number_waiting(|number, _| found = number);
        found
    }

    #[test]
    fn random_texts_do_not_fill_the_memory() {
        let mut table = TokenTable::new(100 * (TOKEN_BYTES + TEXT_BYTES));
        let text = |i: usize| format!("R{}", i * 7919).into_bytes();
        for i in 0..10_000 {
            assert_eq!(number(&mut table, &text(i)), (i < 100).then_some(i as u32));
        }
        assert_eq!(number(&mut table, &text(7)), Some(7));
        // Nor do long ones.
        let mut table = TokenTable::new(100 * (TOKEN_BYTES + TEXT_BYTES));
        let numbered = (0..100).filter(|i| number(&mut table, format!("{i:060}").as_bytes()).is_some()).count();
        assert_eq!(numbered, 100 * TEXT_BYTES / 60);
        assert_eq!(number(&mut table, &[b'A'; WORD_BYTES_MAX + 1]), None);
        table.count(3);
        assert_eq!((table.counted(3), table.counted(4)), (1, 0));
    }
}
