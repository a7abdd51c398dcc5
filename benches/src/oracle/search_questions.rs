//! Questions by words, fuzzy or not, made out of the table's own names so that most of them find something.
//!
//! Words are left out, put into another order, cut, misspelt and written in other letters. What a question finds is not decided here.

use super::fuzzy::edits_max;
use super::search::{QUESTION_WORDS_MAX, Searchable};
use super::words::Likeness;
use crate::rng::Rng;

/// What a misspelt word may get for a letter.
const LETTERS: [char; 30] = [
    'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O', 'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W',
    'X', 'Y', 'Z', 'A', 'E', 'O', 'Ø',
];

/// Letters that are written one for the other: some that sound alike and some that do not.
const SPELLINGS: [(&str, &str); 34] = [
    ("PH", "F"),
    ("F", "PH"),
    ("TH", "T"),
    ("T", "TH"),
    ("Y", "I"),
    ("I", "Y"),
    ("W", "V"),
    ("V", "W"),
    ("K", "C"),
    ("C", "K"),
    ("QU", "K"),
    ("C", "QU"),
    ("QU", "C"),
    ("LL", "L"),
    ("L", "LL"),
    ("N", "NN"),
    ("NN", "N"),
    ("TT", "T"),
    ("R", "RR"),
    ("RR", "R"),
    ("SS", "S"),
    ("S", "SS"),
    ("S", "Z"),
    ("Z", "S"),
    ("SS", "C"),
    ("C", "SS"),
    ("Z", "ZZ"),
    ("H", ""),
    ("A", "HA"),
    ("E", "HE"),
    ("N", "M"),
    ("M", "N"),
    ("G", "GU"),
    ("X", "CH"),
];

/// Letters with the accents that people give them.
const ACCENTED: [(char, &str); 8] =
    [('A', "ÁÂÃÀ"), ('E', "ÉÊ"), ('I', "Í"), ('O', "ÓÔÕ"), ('U', "ÚÜ"), ('C', "Ç"), ('N', "Ñ"), ('Y', "Ý")];

/// What stands between words besides blanks.
const BETWEEN: [&str; 8] = ["  ", " - ", "-", ".", "_", "\t", ", ", "\u{3000}"];

/// A question as it is written, and what its words demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Search {
    /// What a user wrote.
    pub(crate) text: String,
    pub(crate) last_is_prefix: bool,
    pub(crate) likeness: Likeness,
}

impl Search {
    /// Its members besides the name, with those that may be left out left out at times.
    pub(crate) fn members(&self, rng: &mut Rng) -> String {
        let mut members = match self.likeness {
            Likeness::Same => ",\"match\":\"words\"".to_owned(),
            Likeness::Edits => {
                format!(",\"match\":\"fuzzy\"{}", ["", "", ",\"spelling\":null"][rng.below(3)])
            }
            Likeness::EditsOrSpelling => ",\"match\":\"fuzzy\",\"spelling\":\"pt\"".to_owned(),
        };
        members.push_str(match self.last_is_prefix {
            true => ["", "", ",\"last\":\"prefix\"", ",\"last\":null"][rng.below(4)],
            false => ",\"last\":\"whole\"",
        });
        members
    }
}

/// Draws a question by words of this likeness.
pub(crate) fn draw(searchable: &Searchable<'_>, likeness: Likeness, rng: &mut Rng) -> Search {
    let names = &searchable.table.names.keys;
    let name = if names.is_empty() { "ANA" } else { rng.pick(names) };
    draw_from(searchable, name, likeness, rng)
}

/// Draws a question by words that mostly finds `name`.
pub(crate) fn draw_from(searchable: &Searchable<'_>, name: &str, likeness: Likeness, rng: &mut Rng) -> Search {
    let last_is_prefix = !rng.one_in(3);
    let mut words = some_words(searchable, name, rng);
    // A cut word is found by its beginning alone; now and then where a whole one is asked for.
    if rng.one_in(2) && (last_is_prefix || rng.one_in(8)) {
        cut_last(&mut words, rng);
    }
    if likeness != Likeness::Same {
        for word in &mut words {
            match rng.below(4) {
                0 | 1 => {}
                2 if likeness == Likeness::EditsOrSpelling || rng.one_in(4) => *word = respelt(word, rng),
                _ => *word = misspelt(word, rng),
            }
        }
    }
    Search { text: dressed(&words.join(" "), rng), last_is_prefix, likeness }
}

/// Some words of `name` in some order, and at times some of others.
fn some_words(searchable: &Searchable<'_>, name: &str, rng: &mut Rng) -> Vec<String> {
    let mut words: Vec<String> = name.split(' ').map(str::to_owned).collect();
    rng.shuffle(&mut words);
    let all = words.len();
    let anything = |rng: &mut Rng| searchable.lexicon.word(rng.below(searchable.lexicon.len())).to_owned();
    match rng.below(20) {
        0 => words.truncate(1),
        1 => words.push(nobodys(rng)),
        // Of another name: first words are the most common ones, and two of them seldom meet.
        2 => {
            let other = rng.pick(&searchable.table.names.keys);
            words.truncate(1);
            words.extend(other.split(' ').next().map(str::to_owned));
        }
        3 => {
            words.truncate(rng.between(1, all));
            words.push((*rng.pick(&LETTERS)).to_string());
        }
        // As many as a question may have, of nobody most likely; or the same ones again and again, which count once.
        4 if rng.one_in(4) => {
            while words.len() < QUESTION_WORDS_MAX {
                words.push(anything(rng));
            }
            words.truncate(QUESTION_WORDS_MAX);
        }
        4 => {
            words.truncate(rng.between(1, all.min(QUESTION_WORDS_MAX)));
            words = vec![words; rng.between(2, 9)].concat();
        }
        5 if rng.one_in(2) => words.push(anything(rng)),
        5 => words = vec![anything(rng)],
        6 => {
            let common = &searchable.common_words;
            let count = if rng.one_in(8) { QUESTION_WORDS_MAX } else { rng.between(1, 4) };
            words = (0..count).map(|_| searchable.lexicon.word(*rng.pick(common)).to_owned()).collect();
        }
        // Two words are what people mostly type.
        7..=12 => words.truncate(2),
        _ => words.truncate(rng.between(1, all)),
    }
    words
}

/// Leaves the last word only its beginning, from one letter on.
fn cut_last(words: &mut [String], rng: &mut Rng) {
    if let Some(last) = words.last_mut() {
        let letters = rng.between(1, last.chars().count().max(1));
        *last = last.chars().take(letters).collect();
    }
}

/// Letters of `word` inserted, deleted, substituted or swapped, the first one as well as any other: mostly no more of them than are forgiven.
pub(crate) fn misspelt(word: &str, rng: &mut Rng) -> String {
    let mut letters: Vec<char> = word.chars().collect();
    let forgiven = usize::from(edits_max(&letters));
    let edits = if rng.one_in(10) { forgiven + 1 } else { rng.between(forgiven.min(1), forgiven) };
    for _ in 0..edits {
        let at = if rng.one_in(4) { 0 } else { rng.below(letters.len()) };
        match rng.below(4) {
            0 => letters.insert(at, *rng.pick(&LETTERS)),
            1 if letters.len() > 1 => drop(letters.remove(at)),
            2 if at + 1 < letters.len() => letters.swap(at, at + 1),
            _ => letters[at] = *rng.pick(&LETTERS),
        }
    }
    letters.into_iter().collect()
}

/// Up to three places of `word` written otherwise, as people spell names.
pub(crate) fn respelt(word: &str, rng: &mut Rng) -> String {
    let mut word = word.to_owned();
    for _ in 0..rng.between(1, 3) {
        let places: Vec<(usize, &str, &str)> = SPELLINGS
            .iter()
            .flat_map(|(from, to)| word.match_indices(from).map(move |(at, _)| (at, *from, *to)))
            .collect();
        if places.is_empty() {
            return word;
        }
        let (at, from, to) = *rng.pick(&places);
        let spelt = format!("{}{to}{}", &word[..at], &word[at + from.len()..]);
        if !spelt.is_empty() {
            word = spelt;
        }
    }
    word
}

/// Letters that nobody's name has, most likely.
fn nobodys(rng: &mut Rng) -> String {
    (0..rng.between(3, 9)).map(|_| *rng.pick(&['Q', 'X', 'Z', 'W', '9'])).collect()
}

/// The same words in letters, accents and punctuation as people write them.
pub(crate) fn dressed(text: &str, rng: &mut Rng) -> String {
    match rng.below(10) {
        0 => text.to_lowercase(),
        1 => text.split(' ').map(title_case).collect::<Vec<_>>().join(" "),
        2 => text.chars().map(|c| accented(c, rng)).collect(),
        // Decomposed: the mark is a character of its own.
        3 => text.chars().flat_map(|c| [Some(c), rng.one_in(6).then_some('\u{301}')]).flatten().collect(),
        4 => text.replace(' ', rng.pick::<&str>(&BETWEEN)),
        5 => {
            let at = rng.below(text.chars().count() + 1);
            let (before, after): (String, String) = (text.chars().take(at).collect(), text.chars().skip(at).collect());
            format!("{before}’{after}")
        }
        6 => format!(" {text} "),
        _ => text.to_owned(),
    }
}

fn title_case(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(String::from).unwrap_or_default() + &letters.as_str().to_lowercase()
}

fn accented(letter: char, rng: &mut Rng) -> char {
    let forms = ACCENTED.iter().find(|(plain, _)| *plain == letter && rng.one_in(2)).map(|(_, forms)| *forms);
    forms.map_or(letter, |forms| *rng.pick(&forms.chars().collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::reading::normalise;

    #[test]
    fn a_dressed_text_has_the_same_words() {
        let mut rng = Rng::new(1, 0);
        for _ in 0..1000 {
            assert_eq!(normalise(&dressed("MARIA DA CONCEICAO", &mut rng)), "MARIA DA CONCEICAO");
        }
    }

    #[test]
    fn misspelt_words_are_words() {
        let mut rng = Rng::new(1, 1);
        for word in ["A", "DA", "ANA", "MARIA", "PHILIPPE", "H", "Ø"] {
            for _ in 0..500 {
                for spelt in [misspelt(word, &mut rng), respelt(word, &mut rng)] {
                    assert!(!spelt.is_empty() && normalise(&spelt) == spelt, "{word} {spelt}");
                }
            }
        }
    }
}
