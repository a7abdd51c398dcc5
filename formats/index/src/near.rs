//! `Near`: a word, and how many edits another may be away from it, as an automaton over UTF-8 bytes.
//!
//! The distance is the restricted Damerau–Levenshtein distance (optimal string alignment) over Unicode scalars: to insert, delete or replace one, or to
//! swap two neighbours, is one edit; what was swapped is not edited again. Of a word that is asked for as a prefix it is the smallest distance to any
//! beginning of the other word, the empty one too.

use std::sync::OnceLock;

use fst::Automaton;
use levenshtein_automata::{DFA, Distance, LevenshteinAutomatonBuilder, SINK_STATE};

/// Edits at most: the tables of the automata grow fast with them.
pub const NEAR_EDITS_MAX: u8 = 2;

/// The tables for one edit and for two: some milliseconds, once.
static BUILDERS: [OnceLock<LevenshteinAutomatonBuilder>; NEAR_EDITS_MAX as usize] = [const { OnceLock::new() }; 2];

/// What a word may be near to.
pub struct Near {
    word: Box<str>,
    is_prefix: bool,
    /// None where no edit is allowed.
    automaton: Option<NearAutomaton>,
}

impl std::fmt::Debug for Near {
    /// Without the word: it may be a part of a name.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Near").field("is_prefix", &self.is_prefix).finish_non_exhaustive()
    }
}

impl Near {
    /// For words at most `edits_max` (0 to 2, more counts as 2) edits away from `word`, or with a beginning that is.
    #[must_use]
    pub fn new(word: &str, edits_max: u8, is_prefix: bool) -> Self {
        let edits_max = edits_max.min(NEAR_EDITS_MAX);
        let builder = usize::from(edits_max).checked_sub(1).and_then(|at| BUILDERS.get(at));
        let automaton = builder.map(|builder| {
            let builder = builder.get_or_init(|| LevenshteinAutomatonBuilder::new(edits_max, true));
            NearAutomaton::new(word, builder, is_prefix)
        });
        Self { word: word.into(), is_prefix, automaton }
    }

    /// How far `word` is away; `None` where that is too far.
    #[must_use]
    pub fn distance(&self, word: &str) -> Option<u8> {
        let Some(automaton) = &self.automaton else {
            let is_near = if self.is_prefix { word.starts_with(&*self.word) } else { *word == *self.word };
            return is_near.then_some(0);
        };
        let mut state = automaton.start();
        for &byte in word.as_bytes() {
            if !automaton.can_match(&state) {
                return None;
            }
            state = automaton.accept(&state, byte);
        }
        automaton.distance(state)
    }

    pub(crate) fn word(&self) -> &str {
        &self.word
    }

    pub(crate) fn is_prefix(&self) -> bool {
        self.is_prefix
    }

    pub(crate) fn automaton(&self) -> Option<&NearAutomaton> {
        self.automaton.as_ref()
    }
}

/// Walks a word's bytes; of a prefix it remembers the smallest distance on the way.
///
/// The tables are made of letters by their number in the word that is asked for, and not of the letters: a table has a kilobyte for each of its states, and
/// of 64 letters of three bytes each, all different, it would have forty thousand of them.
pub(crate) struct NearAutomaton {
    whole: DFA,
    is_prefix: bool,
    /// The number of each letter below 128, as the letter that stands for it in `whole`.
    ascii: [char; 128],
    /// The same of all other letters of the word, in their order.
    others: Vec<(char, char)>,
}

/// Where a walk stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NearState {
    whole: u32,
    /// Of a prefix: the smallest distance so far.
    least: Option<u8>,
    /// Bytes that the letter at hand still lacks, and the bits of those before.
    lacking: u8,
    bits: u32,
}

/// Stands in `whole` for every letter that the word has not.
const STRANGE: char = '\0';

impl NearAutomaton {
    fn new(word: &str, builder: &LevenshteinAutomatonBuilder, is_prefix: bool) -> Self {
        let mut letters: Vec<char> = word.chars().collect();
        letters.sort_unstable();
        letters.dedup();
        // Up to 127 different letters take one byte each.
        let numbers = ('\u{1}'..=char::MAX).take(letters.len());
        let numbered: Vec<(char, char)> = letters.into_iter().zip(numbers).collect();
        let (few, others) = numbered.split_at(numbered.partition_point(|(letter, _)| letter.is_ascii()));
        let mut ascii = [STRANGE; 128];
        few.iter().for_each(|&(letter, number)| ascii[letter as usize] = number);
        let mut automaton = Self { whole: builder.build_dfa(""), is_prefix, ascii, others: others.to_vec() };
        let coded: String = word.chars().map(|letter| automaton.number(letter)).collect();
        automaton.whole = builder.build_dfa(&coded);
        automaton
    }

    /// The distance of the word that leads to this state.
    pub(crate) fn distance(&self, state: NearState) -> Option<u8> {
        if self.is_prefix { state.least } else { self.here(state.whole).filter(|_| state.lacking == 0) }
    }

    fn here(&self, state: u32) -> Option<u8> {
        match self.whole.distance(state) {
            Distance::Exact(distance) => Some(distance),
            Distance::AtLeast(_) => None,
        }
    }

    fn number(&self, letter: char) -> char {
        if let Some(&number) = self.ascii.get(letter as usize) {
            return number;
        }
        let found = self.others.binary_search_by_key(&letter, |&(other, _)| other);
        found.ok().and_then(|at| self.others.get(at)).map_or(STRANGE, |&(_, number)| number)
    }

    /// Where a whole letter leads.
    fn step(&self, state: &NearState, letter: char) -> NearState {
        let (mut whole, number) = (state.whole, self.number(letter));
        if number.is_ascii() {
            whole = self.whole.transition(whole, number as u8);
        } else {
            number.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| whole = self.whole.transition(whole, byte));
        }
        self.reached(whole, state.least)
    }

    fn reached(&self, whole: u32, before: Option<u8>) -> NearState {
        let least = match (self.here(whole).filter(|_| self.is_prefix), before) {
            (Some(here), Some(before)) => Some(here.min(before)),
            (here, before) => here.or(before),
        };
        NearState { whole, least, lacking: 0, bits: 0 }
    }
}

impl Automaton for &NearAutomaton {
    type State = NearState;

    fn start(&self) -> NearState {
        self.reached(self.whole.initial_state(), None)
    }

    fn is_match(&self, state: &NearState) -> bool {
        self.distance(*state).is_some()
    }

    fn can_match(&self, state: &NearState) -> bool {
        state.whole != SINK_STATE || state.least.is_some()
    }

    fn will_always_match(&self, state: &NearState) -> bool {
        state.least.is_some()
    }

    /// Words are UTF-8; other bytes come to some letter or other, and do no harm.
    fn accept(&self, state: &NearState, byte: u8) -> NearState {
        if state.lacking == 0 {
            if byte.is_ascii() {
                return self.step(state, char::from(byte));
            }
            let further = byte.leading_ones().clamp(2, 4) as u8 - 1;
            let bits = u32::from(byte) & (0x3f >> further);
            return NearState { lacking: further, bits, ..*state };
        }
        let (lacking, bits) = (state.lacking - 1, state.bits << 6 | u32::from(byte & 0x3f));
        if lacking > 0 {
            return NearState { lacking, bits, ..*state };
        }
        self.step(state, char::from_u32(bits).unwrap_or(char::REPLACEMENT_CHARACTER))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, cell by cell: distances of `asked` to every beginning of `word`.
    fn distances(asked: &[char], word: &[char]) -> Vec<usize> {
        let mut table = vec![vec![0; word.len() + 1]; asked.len() + 1];
        for i in 0..=asked.len() {
            for j in 0..=word.len() {
                table[i][j] = if i == 0 || j == 0 {
                    i + j
                } else {
                    let replaced = table[i - 1][j - 1] + usize::from(asked[i - 1] != word[j - 1]);
                    let mut least = replaced.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1);
                    if i > 1 && j > 1 && asked[i - 1] == word[j - 2] && asked[i - 2] == word[j - 1] {
                        least = least.min(table[i - 2][j - 2] + 1);
                    }
                    least
                };
            }
        }
        table.pop().unwrap()
    }

    /// The distance by the definition, where it is not above `edits_max`.
    pub(crate) fn distance(asked: &str, word: &str, edits_max: u8, is_prefix: bool) -> Option<u8> {
        let (asked, word): (Vec<char>, Vec<char>) = (asked.chars().collect(), word.chars().collect());
        let distances = distances(&asked, &word);
        let found = if is_prefix { distances.iter().min() } else { distances.last() };
        found.and_then(|&found| u8::try_from(found).ok()).filter(|&found| found <= edits_max)
    }

    #[track_caller]
    fn check(asked: &str, word: &str) {
        for edits_max in 0..=NEAR_EDITS_MAX {
            for is_prefix in [false, true] {
                let near = Near::new(asked, edits_max, is_prefix);
                let expected = distance(asked, word, edits_max, is_prefix);
                assert_eq!(near.distance(word), expected, "{asked:?} {word:?} {edits_max} {is_prefix}");
            }
        }
    }

    #[test]
    fn words_that_people_mistype() {
        for (asked, word) in [
            ("MARIA", "MAIRA"),
            ("MARIA", "AMRIA"),
            ("MARIA", "MARIANA"),
            ("MARI", "MARIANA"),
            ("SILVA", "SLIVAS"),
            // What was swapped is not edited again: three edits, not two.
            ("CA", "ABC"),
            ("ØRSTED", "ORSTED"),
            ("ØR", "RØSTED"),
            ("𪛖A", "A𪛖"),
            ("", "AB"),
            ("AB", ""),
            ("", ""),
        ] {
            check(asked, word);
        }
        assert_eq!(Near::new("CA", 2, false).distance("ABC"), None);
        assert_eq!(Near::new("MARIA", 2, false).distance("MAIRA"), Some(1));
    }

    /// All pairs of short words over two letters and one of two bytes.
    #[test]
    fn all_short_words() {
        let mut words = vec![String::new()];
        let mut from = 0;
        for _ in 0..5 {
            let end = words.len();
            for at in from..end {
                words.extend(["A", "B", "Ø"].map(|letter| format!("{}{letter}", words[at])));
            }
            from = end;
        }
        assert_eq!(words.len(), 364);
        for asked in &words {
            for edits_max in 1..=NEAR_EDITS_MAX {
                for is_prefix in [false, true] {
                    let near = Near::new(asked, edits_max, is_prefix);
                    for word in &words {
                        let expected = distance(asked, word, edits_max, is_prefix);
                        assert_eq!(near.distance(word), expected, "{asked:?} {word:?} {edits_max} {is_prefix}");
                    }
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_words(asked in "[ABC]{0,9}|[AØ𪛖é]{0,6}|\\PC{0,5}", word in "[ABC]{0,9}|[AØ𪛖é]{0,6}|\\PC{0,5}") {
            check(&asked, &word);
        }

        /// A word and the same with some edits.
        #[test]
        fn edited_words(
            asked in "[A-FØ]{1,12}",
            edits in prop::collection::vec((0..4_u8, any::<prop::sample::Index>(), prop::char::ranges(vec!['A'..='F'].into())), 0..4),
            tail in "[A-F]{0,6}",
        ) {
            let mut letters: Vec<char> = asked.chars().collect();
            for (kind, at, letter) in edits {
                let at = at.index(letters.len() + 1);
                match kind {
                    0 => letters.insert(at, letter),
                    1 if at < letters.len() => drop(letters.remove(at)),
                    2 if at < letters.len() => letters[at] = letter,
                    3 if at + 1 < letters.len() => letters.swap(at, at + 1),
                    _ => {}
                }
            }
            let word: String = letters.into_iter().collect();
            check(&asked, &word);
            check(&asked, &(word + &tail));
        }
    }

    /// Why the smallest distance is remembered here: the crate's own automaton for prefixes forgets some. Where this fails, it may serve.
    #[test]
    fn the_crates_own_prefixes_are_not_the_definition() {
        let crates = LevenshteinAutomatonBuilder::new(2, true).build_prefix_dfa("ABAA");
        assert_eq!(distance("ABAA", "BABB", 2, true), Some(2), "BAB is two edits away");
        assert_eq!(Near::new("ABAA", 2, true).distance("BABB"), Some(2));
        assert!(matches!(crates.eval("BABB"), Distance::AtLeast(_)));
    }

    /// The longest words that are asked for, of letters of any length: their tables are no larger than those of plain letters.
    #[test]
    fn tables_do_not_grow_with_the_bytes_of_letters() {
        let word = |base: u32| -> String { (0..64).filter_map(|i| char::from_u32(base + i)).collect() };
        let states = |word: &str| Near::new(word, 2, true).automaton.unwrap().whole.num_states();
        let plain = states(&word(48));
        for base in [0x4e00, 0x2_0000] {
            let word = word(base);
            assert_eq!(word.chars().count(), 64);
            assert_eq!(states(&word), plain);
            check(&word, &word.chars().skip(2).collect::<String>());
            check(&word, &word.chars().skip(3).collect::<String>());
        }
        // More letters than numbers of one byte.
        let all: String = ('\u{100}'..'\u{1c0}').collect();
        check(&all, &all);
        let swapped: Vec<char> = all.chars().rev().take(2).chain(all.chars().skip(2)).collect();
        check(&all, &swapped.into_iter().collect::<String>());
    }
}
