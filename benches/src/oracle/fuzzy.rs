//! How far two words lie apart, written down from the textbook's recurrence, and how far they may.
//!
//! Deliberately without automata, which the product uses: a table of numbers for each pair of words. It knows nothing of spelling.

/// Room for the beginnings of a word: 64 letters are the most that a question's word may have, and what is longer by more than the edits that
/// are allowed is not looked at.
const ROW_LENGTH: usize = 80;

/// How many edits a question's word of so many letters may lie away: none up to two letters, one up to five, two beyond.
pub(crate) fn edits_max(word: &[char]) -> u8 {
    match word.len() {
        0..=2 => 0,
        3..=5 => 1,
        _ => 2,
    }
}

/// The distance of `asked` to `word`, or with `is_prefix` to whichever beginning of `word` is nearest, the empty one among them, where it is at
/// most `most`.
///
/// Optimal string alignment: inserting, deleting or substituting a letter and swapping two neighbours cost one each, and what was
/// swapped is not edited again.
pub(crate) fn distance(asked: &[char], word: &[char], is_prefix: bool, most: u8) -> Option<u8> {
    let edits_most = usize::from(most);
    // Each letter that one of them has more is an edit. A beginning that is much longer than what was asked is never the nearest.
    if asked.len() > word.len() + edits_most || !is_prefix && word.len() > asked.len() + edits_most {
        return None;
    }
    let word = &word[..word.len().min(asked.len() + edits_most)];
    assert!(word.len() < ROW_LENGTH, "a question's word has {} letters, more than the protocol allows", asked.len());
    // A row for each beginning of `asked`, a number in it for each beginning of `word`; two rows before it suffice.
    let (mut before_last, mut last, mut row) = ([0_u8; ROW_LENGTH], [0; ROW_LENGTH], [0; ROW_LENGTH]);
    for (edits, j) in last.iter_mut().zip(0..) {
        *edits = j;
    }
    for i in 1..=asked.len() {
        row[0] = i as u8;
        for j in 1..=word.len() {
            let substituted = last[j - 1] + u8::from(asked[i - 1] != word[j - 1]);
            row[j] = substituted.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && asked[i - 1] == word[j - 2] && asked[i - 2] == word[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        // A row's least number never falls from one row to the next.
        if row[..=word.len()].iter().all(|&edits| edits > most) {
            return None;
        }
        (before_last, last, row) = (last, row, before_last);
    }
    let edits = if is_prefix { last[..=word.len()].iter().min() } else { Some(&last[word.len()]) };
    edits.copied().filter(|&edits| edits <= most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn letters(word: &str) -> Vec<char> {
        word.chars().collect()
    }

    #[test]
    fn edits_go_by_letters_not_bytes() {
        for (word, edits) in [("D", 0), ("DA", 0), ("ØØ", 0), ("ANA", 1), ("ØØØ", 1), ("MARIA", 1), ("THIAGO", 2)]
        {
            assert_eq!(edits_max(&letters(word)), edits, "{word}");
        }
    }

    #[test]
    fn distances_to_words() {
        let table = [
            ("MARIA", "MARIA", 0),
            ("MARIA", "MARTA", 1),
            ("MARIA", "MARI", 1),
            ("MARIA", "MARIAN", 1),
            ("MARIA", "MRAIA", 1),
            ("MARIA", "AMRIA", 1),
            ("MARIA", "NARIA", 1),
            ("MARIA", "ARIA", 1),
            ("MARIA", "MAIRIA", 1),
            ("MARIA", "ARMAI", 3),
            ("MARIA", "", 5),
            // What was swapped is not edited again: two by Damerau's own distance.
            ("CA", "ABC", 3),
            ("ABCD", "BADC", 2),
            ("KITTEN", "SITTING", 3),
            ("ØÉ", "ØE", 1),
        ];
        for (a, b, edits) in table {
            assert_eq!(distance(&letters(a), &letters(b), false, 9), Some(edits), "{a} {b}");
            assert_eq!(distance(&letters(b), &letters(a), false, 9), Some(edits), "{b} {a}");
            assert_eq!(distance(&letters(a), &letters(b), false, edits), Some(edits), "{a} {b}");
            if edits > 0 {
                assert_eq!(distance(&letters(a), &letters(b), false, edits - 1), None, "{a} {b}");
            }
        }
    }

    #[test]
    fn distances_to_beginnings() {
        let table = [
            ("MAR", "MARIANA", 0),
            ("MRA", "MARIANA", 1),
            ("MARIANA", "MARI", 3),
            ("XAR", "MARIANA", 1),
            ("AR", "MARIANA", 1),
            ("MARIXANA", "MARIANA", 1),
            ("XYZ", "MARIANA", 3),
            ("ABC", "", 3),
        ];
        for (asked, word, edits) in table {
            assert_eq!(distance(&letters(asked), &letters(word), true, 9), Some(edits), "{asked} {word}");
        }
    }

    /// The recurrence over whole tables, without a limit and without a way out.
    fn unlimited(a: &[char], b: &[char]) -> usize {
        let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
        for i in 0..=a.len() {
            for j in 0..=b.len() {
                table[i][j] = if i == 0 || j == 0 {
                    i + j
                } else {
                    let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                    let swapped = if swapped { table[i - 2][j - 2] + 1 } else { usize::MAX };
                    let substituted = table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                    substituted.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1).min(swapped)
                };
            }
        }
        table[a.len()][b.len()]
    }

    #[test]
    fn a_limit_changes_no_distance_below_it() {
        let mut rng = Rng::new(1, 0);
        for _ in 0..20_000 {
            let [a, b] = [(); 2].map(|()| {
                let length = rng.below(9);
                (0..length).map(|_| *rng.pick(&['A', 'B', 'C'])).collect::<Vec<char>>()
            });
            let whole = unlimited(&a, &b);
            let beginning = (0..=b.len()).map(|end| unlimited(&a, &b[..end])).min().unwrap();
            for most in 0..4 {
                let limited = |edits: usize| (edits <= usize::from(most)).then_some(edits as u8);
                assert_eq!(distance(&a, &b, false, most), limited(whole), "{a:?} {b:?}");
                assert_eq!(distance(&a, &b, true, most), limited(beginning), "{a:?} {b:?}");
            }
        }
    }
}
