//! How far one word is away from another: what `Near` finds by its automaton, for one pair of words, letter by letter.
//!
//! An automaton takes up to a megabyte and a millisecond to make. It pays for a whole dictionary, not for the few words of the rows of a page or of a claim.

use balcao_index::NEAR_EDITS_MAX;
use balcao_wire::limits::FUZZY_LETTERS_MAX;

/// Letters of a word that matter: more than edits can bridge are looked at in no word.
const LETTERS_MAX: usize = FUZZY_LETTERS_MAX + NEAR_EDITS_MAX as usize;

/// A row of the table of distances, and beyond its ends a distance that is none.
type Row = [u8; LETTERS_MAX + 1];
const FAR: u8 = u8::MAX / 2;

/// The restricted Damerau–Levenshtein distance (optimal string alignment) of `asked`, of at most [`FUZZY_LETTERS_MAX`] letters, and `word`, or with
/// `is_prefix` the smallest to any beginning of `word`; `None` where it is above `edits_max`, at most [`NEAR_EDITS_MAX`].
pub(crate) fn distance(asked: &[char], word: &str, edits_max: u8, is_prefix: bool) -> Option<u8> {
    let edits = usize::from(edits_max.min(NEAR_EDITS_MAX));
    // A longer beginning is too far away, and so is a longer word.
    let reach = asked.len() + edits;
    let (mut letters, mut count) = (['\0'; LETTERS_MAX], 0);
    for letter in word.chars() {
        if count == reach || count == LETTERS_MAX {
            if is_prefix {
                break;
            }
            return None;
        }
        letters[count] = letter;
        count += 1;
    }
    if asked.len() > FUZZY_LETTERS_MAX || (!is_prefix && count + edits < asked.len()) {
        return None;
    }
    let letters = &letters[..count];
    let (mut before_last, mut last): (Row, Row) = ([FAR; _], [FAR; _]);
    for (at, cell) in last[..=count].iter_mut().enumerate() {
        *cell = at as u8;
    }
    for (i, &letter) in asked.iter().enumerate() {
        let mut row: Row = [FAR; _];
        row[0] = i as u8 + 1;
        // Farther from the diagonal there are more edits than are asked for.
        for j in i.saturating_sub(edits)..count.min(i + edits + 1) {
            let replaced = last[j] + u8::from(letter != letters[j]);
            let mut least = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && letter == letters[j - 1] && asked[i - 1] == letters[j] {
                least = least.min(before_last[j - 1] + 1);
            }
            row[j + 1] = least;
        }
        (before_last, last) = (last, row);
    }
    let found = if is_prefix { last[..=count].iter().min().copied() } else { Some(last[count]) };
    found.filter(|&found| usize::from(found) <= edits)
}

#[cfg(test)]
mod tests {
    use balcao_index::Near;

    use super::*;

    #[track_caller]
    fn check(asked: &str, word: &str) {
        let letters: Vec<char> = asked.chars().collect();
        for edits in 0..=NEAR_EDITS_MAX {
            for is_prefix in [false, true] {
                let expected = Near::new(asked, edits, is_prefix).distance(word);
                assert_eq!(distance(&letters, word, edits, is_prefix), expected, "{asked} {word} {edits} {is_prefix}");
            }
        }
    }

    #[test]
    fn as_the_automaton_has_it() {
        let long = "ABCDEFGH".repeat(8);
        for (asked, word) in [
            ("MARIA", "AMRAI"),
            ("CA", "ABC"),
            ("ØRSTED", "ORSTED"),
            ("𪛖A", "A𪛖"),
            ("", ""),
            ("", "AB"),
            ("AB", ""),
            ("SILVA", "SILVANALIA"),
            (&long, &long[2..]),
            (&long, &format!("{long}XY")),
            (&long, &format!("{long}XYZ")),
            (&long, &format!("X{}Y{}", &long[..30], &long[31..])),
        ] {
            check(asked, word);
        }
    }

    #[test]
    fn every_pair_of_short_words() {
        let mut words = vec![String::new()];
        for length in 1..=4 {
            for number in 0..3_usize.pow(length) {
                words.push((0..length).map(|at| char::from(b"ABC"[number / 3_usize.pow(at) % 3])).collect());
            }
        }
        for asked in &words {
            let letters: Vec<char> = asked.chars().collect();
            for (edits, is_prefix) in [(1, false), (1, true), (2, false), (2, true)] {
                let near = Near::new(asked, edits, is_prefix);
                for word in &words {
                    let found = distance(&letters, word, edits, is_prefix);
                    assert_eq!(found, near.distance(word), "{asked} {word} {edits} {is_prefix}");
                }
            }
        }
    }
}
