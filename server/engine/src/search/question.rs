//! `Question`: what `words` and `fuzzy` ask of a name, word by word, and how well a name answers.
//!
//! It reads no index: terms find names by it, and every row is held against it once more before it goes out.

use std::collections::HashSet;

use balcao_index::Near;
use balcao_record::{edits_max, spelling_key, words};
use balcao_wire::{Last, Spelling};

use super::edits::distance;

/// Bytes of a name from which on each distinct word is looked at once; in a shorter one to remember the words costs more than to look at one twice.
const LONG_NAME: usize = 256;

/// How a word of a name answers a word of the question, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Grade {
    /// As `words` would have it.
    Exact,
    /// Another spelling of the same.
    Spelling,
    /// One edit away.
    One,
    /// Two edits away.
    Two,
}

impl Grade {
    /// All of them, the best first.
    pub(crate) const ALL: [Self; 4] = [Self::Exact, Self::Spelling, Self::One, Self::Two];

    /// The grade of what is `distance` edits away; there is none beyond two.
    pub(crate) fn of_distance(distance: u8) -> Self {
        match distance {
            0 => Self::Exact,
            1 => Self::One,
            _ => Self::Two,
        }
    }

    /// What it adds to a name's distance.
    pub(crate) fn distance(self) -> u8 {
        match self {
            Self::Exact | Self::Spelling => 0,
            Self::One => 1,
            Self::Two => 2,
        }
    }
}

/// One distinct word of a question.
pub(crate) struct Demand {
    pub(crate) word: Box<str>,
    /// The beginning of a name's word is enough.
    pub(crate) is_prefix: bool,
    /// How many edits are allowed, and of what.
    edits: u8,
    letters: Box<[char]>,
    /// The key of its spellings, where they count.
    pub(crate) spelling: Option<Box<str>>,
}

impl Demand {
    fn new(word: &str, is_prefix: bool, fuzzy: Option<Spelling>) -> Self {
        let edits = if fuzzy.is_some() { edits_max(word) } else { 0 };
        Self {
            word: word.into(),
            is_prefix,
            edits,
            letters: if edits > 0 { word.chars().collect() } else { Box::default() },
            spelling: (fuzzy == Some(Spelling::Portuguese)).then(|| spelling_key(word).into()),
        }
    }

    /// What is near, where an edit is allowed: for the dictionary, and not kept longer than it is asked. Sixteen of the longest words take as many megabytes,
    /// and a batch has hundreds of questions.
    pub(crate) fn near(&self) -> Option<Near> {
        (self.edits > 0).then(|| Near::new(&self.word, self.edits, self.is_prefix))
    }

    /// Whether a word of a name answers as `words` would have it.
    pub(crate) fn is_exact(&self, word: &[u8]) -> bool {
        if self.is_prefix { word.starts_with(self.word.as_bytes()) } else { word == self.word.as_bytes() }
    }

    /// How a word answers; `spelled` keeps its spelling key for the next demand.
    fn grade(&self, word: &str, spelled: &mut Option<String>) -> Option<Grade> {
        if self.is_exact(word.as_bytes()) {
            return Some(Grade::Exact);
        }
        if let Some(key) = &self.spelling {
            let found = spelled.get_or_insert_with(|| spelling_key(word));
            if if self.is_prefix { found.starts_with(&**key) } else { **found == **key } {
                return Some(Grade::Spelling);
            }
        }
        if self.edits == 0 {
            return None;
        }
        distance(&self.letters, word, self.edits, self.is_prefix).map(Grade::of_distance)
    }
}

/// The distinct words of a question, each with what it demands.
pub(crate) struct Question {
    pub(crate) demands: Vec<Demand>,
    is_fuzzy: bool,
}

impl Question {
    /// As `match: words` asks for `name`, which is normalised.
    pub(crate) fn words(name: &str, last: Last) -> Self {
        Self { demands: demands(name, last, None), is_fuzzy: false }
    }

    /// As `match: fuzzy` asks for it.
    pub(crate) fn fuzzy(name: &str, last: Last, spelling: Spelling) -> Self {
        Self { demands: demands(name, last, Some(spelling)), is_fuzzy: true }
    }

    /// Whether names have more than one level.
    pub(crate) fn is_fuzzy(&self) -> bool {
        self.is_fuzzy
    }

    /// The level of a normalised name: 0 where every word is answered exactly, else one more than the sum of the distances; `None` where a word is not
    /// answered.
    pub(crate) fn level(&self, name: &str) -> Option<u8> {
        let mut best = vec![None; self.demands.len()];
        let mut seen = HashSet::new();
        for word in words(name) {
            if best.iter().all(|best| *best == Some(Grade::Exact)) {
                break;
            }
            if name.len() > LONG_NAME && !seen.insert(word) {
                continue;
            }
            let mut spelled = None;
            for (demand, best) in self.demands.iter().zip(&mut best).filter(|(_, best)| **best != Some(Grade::Exact)) {
                let grade = demand.grade(word, &mut spelled);
                *best = [*best, grade].into_iter().flatten().min();
            }
        }
        let (mut is_exact, mut sum) = (true, 0_u8);
        for grade in best {
            let grade = grade?;
            is_exact &= grade == Grade::Exact;
            sum = sum.saturating_add(grade.distance());
        }
        Some(if is_exact { 0 } else { sum.saturating_add(1) })
    }
}

/// A last word that also stands earlier is demanded whole: then its beginning is there, too.
fn demands(name: &str, last: Last, fuzzy: Option<Spelling>) -> Vec<Demand> {
    let mut distinct: Vec<&str> = Vec::new();
    for word in words(name) {
        if !distinct.contains(&word) {
            distinct.push(word);
        }
    }
    let typed_last = words(name).last();
    let is_repeated = words(name).filter(|word| Some(*word) == typed_last).count() > 1;
    let is_prefix = |word: &str| last == Last::Prefix && !is_repeated && Some(word) == typed_last;
    distinct.iter().map(|word| Demand::new(word, is_prefix(word), fuzzy)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each word of a long name is answered as in a short one, however often it stands there, and wherever.
    #[test]
    fn names_of_many_words() {
        let question = |name| Question::fuzzy(name, Last::Whole, Spelling::Portuguese);
        let many = "MARIA SOUSA ".repeat(200_000);
        for (asked, behind, expected) in [
            ("MARIA SOUSA", "", Some(0)),
            ("MARIA SOUZA", "", Some(1)),
            ("MARIA SOUZA", "SOUZA", Some(0)),
            ("MARIO SOUSA", "", Some(2)),
            ("MARIO SOUSA", "MARIO", Some(0)),
            ("MARIA TIAGO", "", None),
            ("MARIA TIAGO", "THIAGO", Some(1)),
            ("MARIA TIAGO", "TIAGA", Some(2)),
        ] {
            for name in [&*many, "MARIA SOUSA "] {
                let name = format!("{name}{behind}");
                assert_eq!(question(asked).level(name.trim_end()), expected, "{asked} {behind}");
            }
        }
    }
}
