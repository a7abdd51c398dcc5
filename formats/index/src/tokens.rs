//! Tokens: what a name is cut into, and a table that numbers the distinct ones.
//!
//! A token is one word, or a particle with the word behind it. Names compare by their tokens, one after the other, as they do by their bytes:
//! a blank is below every letter and digit, and a particle is a token of its own only where the name ends.

use std::hash::{BuildHasher, RandomState};

use xxhash_rust::xxh3::xxh3_64_with_seed;

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

/// Bytes of memory that a numbered token takes, about: its end, its count, its places in a table that is half full after it grew, and
/// what is held twice while they grow.
const TOKEN_BYTES: usize = 96;

/// Bytes of text that a table has room for, for each token.
const TEXT_BYTES: usize = 32;

/// Tokens of a table at most: so many that the numbers of hundreds of tables, doubled, fit 32 bits.
const TOKENS_MAX: usize = 1 << 22;

/// Distinct tokens, numbered from 0 as they come, and how often each was counted.
#[derive(Debug)]
pub struct TokenTable {
    /// The high half of a token's hash, and its number plus one; zero where nothing is. A power of two of places.
    places: Vec<u64>,
    ends: Vec<u32>,
    counts: Vec<u32>,
    text: Vec<u8>,
    tokens_max: usize,
    /// So that nobody can write a registry whose tokens all want one place.
    seed: u64,
}

impl TokenTable {
    /// A table that takes about `memory` bytes. What does not fit in there, of random texts perhaps, has no number.
    #[must_use]
    pub fn new(memory: usize) -> Self {
        let tokens_max = (memory / (TOKEN_BYTES + TEXT_BYTES)).min(TOKENS_MAX);
        Self {
            places: vec![0; 16],
            ends: Vec::new(),
            counts: Vec::new(),
            text: Vec::new(),
            tokens_max,
            seed: RandomState::new().hash_one(0),
        }
    }

    /// The number of a token, a new one where it has none yet; `None` where it has none and gets none.
    pub fn number(&mut self, token: &[u8]) -> Option<u32> {
        if token.len() > WORD_BYTES_MAX {
            return None;
        }
        let hash = xxh3_64_with_seed(token, self.seed);
        let mask = self.places.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let place = self.places[at];
            if place == 0 {
                return self.add(token, hash, at);
            }
            if (place ^ hash) >> 32 == 0 {
                let number = place as u32 - 1;
                if self.token(number) == token {
                    return Some(number);
                }
            }
            at = (at + 1) & mask;
        }
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

    fn add(&mut self, token: &[u8], hash: u64, at: usize) -> Option<u32> {
        let number = self.ends.len();
        if number >= self.tokens_max || self.text.len() + token.len() > self.tokens_max * TEXT_BYTES {
            return None;
        }
        self.text.extend_from_slice(token);
        self.ends.push(self.text.len() as u32);
        self.counts.push(0);
        self.places[at] = place_of(hash, number);
        if self.ends.len() * 2 > self.places.len() {
            self.grow();
        }
        Some(number as u32)
    }

    fn grow(&mut self) {
        let mask = self.places.len() * 2 - 1;
        self.places = vec![0; mask + 1];
        for number in 0..self.ends.len() {
            let hash = xxh3_64_with_seed(self.token(number as u32), self.seed);
            let mut at = hash as usize & mask;
            while self.places[at] != 0 {
                at = (at + 1) & mask;
            }
            self.places[at] = place_of(hash, number);
        }
    }
}

fn place_of(hash: u64, number: usize) -> u64 {
    hash >> 32 << 32 | (number as u64 + 1)
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
        fn numbers_are_kept(names in prop::collection::vec("[A-D]{0,3}", 0..300)) {
            let mut table = TokenTable::new(1 << 20);
            let mut model = HashMap::new();
            for name in &names {
                let next = model.len() as u32;
                let expected = *model.entry(name).or_insert(next);
                prop_assert_eq!(table.number(name.as_bytes()), Some(expected));
                prop_assert_eq!(table.token(expected), name.as_bytes());
            }
            prop_assert_eq!(table.len(), model.len());
        }
    }

    #[test]
    fn random_texts_do_not_fill_the_memory() {
        let mut table = TokenTable::new(100 * (TOKEN_BYTES + TEXT_BYTES));
        let text = |i: usize| format!("R{}", i * 7919).into_bytes();
        for i in 0..10_000 {
            assert_eq!(table.number(&text(i)), (i < 100).then_some(i as u32));
        }
        assert_eq!(table.number(&text(7)), Some(7));
        // Nor do long ones.
        let mut table = TokenTable::new(100 * (TOKEN_BYTES + TEXT_BYTES));
        let numbered = (0..100).filter(|i| table.number(format!("{i:060}").as_bytes()).is_some()).count();
        assert_eq!(numbered, 100 * TEXT_BYTES / 60);
        assert_eq!(table.number(&[b'A'; WORD_BYTES_MAX + 1]), None);
        table.count(3);
        assert_eq!((table.counted(3), table.counted(4)), (1, 0));
    }
}
