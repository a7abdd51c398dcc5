//! The words of names and of questions, and how near each word of the table is to one that is asked for.
//!
//! A table repeats its words very often: each distinct one is compared once with a word of a question, and names look the outcome
//! up. It knows nothing of rows, filters and pages.

use std::collections::{BTreeMap, BTreeSet};

use super::fuzzy::{distance, edits_max};
use super::spelling_key::spelling_key;

/// A word of a question, and how it must occur.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Demand {
    pub(crate) word: String,
    /// Whether it need only be the beginning of a name's word.
    pub(crate) is_prefix: bool,
}

/// The words that a normalised question demands: each once, and where its last one is a prefix, that one as such unless it stands earlier too.
pub(crate) fn demands(question: &str, last_is_prefix: bool) -> Vec<Demand> {
    let words: Vec<&str> = question.split(' ').filter(|word| !word.is_empty()).collect();
    let mut demands: Vec<Demand> = Vec::new();
    for (at, word) in words.iter().enumerate() {
        if demands.iter().all(|demand| demand.word != *word) {
            let is_prefix = last_is_prefix && at == words.len() - 1;
            demands.push(Demand { word: (*word).to_owned(), is_prefix });
        }
    }
    demands
}

/// How words of a name may differ from those of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Likeness {
    /// Not at all: `words`.
    Same,
    /// By edits: `fuzzy`.
    Edits,
    /// By edits, or by spelling alone: `fuzzy` with `"spelling":"pt"`.
    EditsOrSpelling,
}

/// A number for how near a word is to what is demanded: the smaller the nearer.
type Nearness = u8;

/// The word occurs as it is demanded.
const OCCURS: Nearness = 0;

/// The word is at a distance of what this number is less than its nearness.
const DISTANT: Nearness = 1;

/// The word is too far off.
const FAR: Nearness = Nearness::MAX;

/// One distinct word of the table.
#[derive(Debug)]
struct Word {
    text: String,
    letters: Vec<char>,
    spelling: String,
    /// In how many names of rows it is.
    rows: u64,
}

impl Word {
    fn nearness(&self, demand: &Demand, asked: &[char], spelling: &str, likeness: Likeness) -> Nearness {
        let occurs = match demand.is_prefix {
            true => self.text.starts_with(&demand.word),
            false => self.text == demand.word,
        };
        let is_spelt_alike = match demand.is_prefix {
            true => self.spelling.starts_with(spelling),
            false => self.spelling == spelling,
        };
        if occurs {
            return OCCURS;
        }
        if likeness == Likeness::Same {
            return FAR;
        }
        if likeness == Likeness::EditsOrSpelling && is_spelt_alike {
            return DISTANT;
        }
        distance(asked, &self.letters, demand.is_prefix, edits_max(asked)).map_or(FAR, |edits| DISTANT + edits)
    }
}

/// A name that a question finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The number of its key among all names.
    pub(crate) name: usize,
    /// Whether every word occurs in it as it is demanded.
    pub(crate) is_exact: bool,
    /// The sum of the distances.
    pub(crate) distance: u8,
}

/// All words of all names.
#[derive(Debug, Default)]
pub(crate) struct Lexicon {
    /// In their order.
    words: Vec<Word>,
    /// The words of the first name, then of the second, and so on, by number.
    of_names: Vec<u32>,
    /// Where each name's words begin; one more at the end.
    starts: Vec<usize>,
}

impl Lexicon {
    /// The words of these normalised names, each with how many rows bear it.
    pub(crate) fn new<'a>(names: impl Iterator<Item = (&'a str, usize)> + Clone) -> Self {
        let mut rows = BTreeMap::<&str, u64>::new();
        for (name, count) in names.clone() {
            for word in name.split(' ').collect::<BTreeSet<_>>() {
                *rows.entry(word).or_default() += count as u64;
            }
        }
        let word = |(text, rows): (&str, u64)| Word {
            text: text.to_owned(),
            letters: text.chars().collect(),
            spelling: spelling_key(text),
            rows,
        };
        let mut lexicon = Self { words: rows.into_iter().map(word).collect(), of_names: Vec::new(), starts: vec![0] };
        for (name, _) in names {
            for word in name.split(' ') {
                lexicon.of_names.extend(lexicon.number(word));
            }
            lexicon.starts.push(lexicon.of_names.len());
        }
        lexicon
    }

    fn number(&self, word: &str) -> Option<u32> {
        self.words.binary_search_by(|have| have.text.as_str().cmp(word)).ok().map(|at| at as u32)
    }

    /// How many distinct words there are.
    pub(crate) fn len(&self) -> usize {
        self.words.len()
    }

    /// Distinct word number `at`.
    pub(crate) fn word(&self, at: usize) -> &str {
        &self.words[at].text
    }

    /// The numbers of the `count` words that most rows have.
    pub(crate) fn most_common(&self, count: usize) -> Vec<usize> {
        let mut words: Vec<usize> = (0..self.words.len()).collect();
        words.sort_by_key(|&at| std::cmp::Reverse(self.words[at].rows));
        words.truncate(count);
        words
    }

    /// The names that meet all demands, in their order, and how many postings a search of all words that are near enough has to do with.
    pub(crate) fn search(&self, demands: &[Demand], likeness: Likeness) -> (Vec<Found>, u64) {
        let mut postings = 0;
        let mut nearness = Vec::new();
        for demand in demands {
            let asked: Vec<char> = demand.word.chars().collect();
            let spelling = spelling_key(&demand.word);
            let of_words: Vec<Nearness> =
                self.words.iter().map(|word| word.nearness(demand, &asked, &spelling, likeness)).collect();
            let near = self.words.iter().zip(&of_words).filter(|(_, nearness)| **nearness != FAR);
            postings += near.map(|(word, _)| word.rows).sum::<u64>();
            nearness.push(of_words);
        }
        let found = (0..self.starts.len() - 1).filter_map(|name| self.judge(name, &nearness)).collect();
        (found, postings)
    }

    /// Name number `name` against the nearness of every word to every demand.
    fn judge(&self, name: usize, nearness: &[Vec<Nearness>]) -> Option<Found> {
        let words = &self.of_names[self.starts[name]..self.starts[name + 1]];
        let mut found = Found { name, is_exact: true, distance: 0 };
        for of_words in nearness {
            let nearest = words.iter().map(|&word| of_words[word as usize]).min()?;
            if nearest == FAR {
                return None;
            }
            if nearest != OCCURS {
                found.is_exact = false;
                found.distance += nearest - DISTANT;
            }
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_words_are_demanded_once_and_whole_where_one_is() {
        let table = [
            ("MARIA SIL", true, vec![("MARIA", false), ("SIL", true)]),
            ("MARIA SIL", false, vec![("MARIA", false), ("SIL", false)]),
            ("SIL MARIA SIL", true, vec![("SIL", false), ("MARIA", false)]),
            ("DA DA", true, vec![("DA", false)]),
            ("A", true, vec![("A", true)]),
        ];
        for (question, last_is_prefix, expected) in table {
            let expected: Vec<Demand> =
                expected.into_iter().map(|(word, is_prefix)| Demand { word: word.to_owned(), is_prefix }).collect();
            assert_eq!(demands(question, last_is_prefix), expected, "{question}");
        }
    }

    const NAMES: [&str; 8] = [
        "ANA LIMA",
        "ANA MARIA DA SILVA",
        "MARIA ANA SILVEIRA",
        "MARIA DA SILVA",
        "MARIANA SILVA",
        "MARTA SILVA",
        "SILVA",
        "THIAGO SILVA SILVA",
    ];

    /// What `question` finds in [`NAMES`]: the name's number, and its distance where not every word occurs.
    #[track_caller]
    fn check(question: &str, last_is_prefix: bool, likeness: Likeness, expected: &[(usize, Option<u8>)]) {
        let lexicon = Lexicon::new(NAMES.into_iter().map(|name| (name, 1)));
        let (found, _) = lexicon.search(&demands(question, last_is_prefix), likeness);
        let found: Vec<(usize, Option<u8>)> =
            found.iter().map(|found| (found.name, (!found.is_exact).then_some(found.distance))).collect();
        assert_eq!(found, expected, "{question}");
    }

    #[test]
    fn words_occur_in_any_order() {
        let same = Likeness::Same;
        check("SILVA MARIA", false, same, &[(1, None), (3, None)]);
        check("SILVA MARIA", true, same, &[(1, None), (3, None), (4, None)]);
        check("MARIA SILV", true, same, &[(1, None), (2, None), (3, None)]);
        check("MARIA SILV", false, same, &[]);
        // One word of the name serves several.
        check("SILVA S", true, same, &[(1, None), (3, None), (4, None), (5, None), (6, None), (7, None)]);
        check("SILVA SILVA", true, same, &[(1, None), (3, None), (4, None), (5, None), (6, None), (7, None)]);
        check("X", true, same, &[]);
    }

    #[test]
    fn fuzzy_words_have_the_least_distance_to_any_word() {
        let edits = Likeness::Edits;
        check("MARIA LIMA", false, edits, &[]);
        check("MRAIA SLIVA", false, edits, &[(1, Some(2)), (3, Some(2))]);
        check("MARIA SILVA", false, edits, &[(1, None), (3, None), (5, Some(1))]);
        check("MARTA SIL", true, edits, &[(1, Some(1)), (2, Some(1)), (3, Some(1)), (5, None)]);
        check("NA", false, edits, &[]);
        check("TIAGO", false, edits, &[(7, Some(1))]);
        check("TIAGO", false, Likeness::EditsOrSpelling, &[(7, Some(0))]);
        check("SILVA TIA", true, Likeness::EditsOrSpelling, &[(7, Some(0))]);
    }

    #[test]
    fn postings_are_those_of_all_near_words() {
        let lexicon = Lexicon::new([("ANA ANA", 2), ("ANA LIMA", 3), ("LIMEIRA", 5)].into_iter());
        assert_eq!((lexicon.len(), lexicon.word(1)), (3, "LIMA"));
        assert_eq!(lexicon.most_common(2), [0, 2]);
        assert_eq!(lexicon.search(&demands("ANA LIM", true), Likeness::Same).1, 5 + 8);
        assert_eq!(lexicon.search(&demands("AN", false), Likeness::Edits).1, 0);
    }
}
