//! The words of a normalised name, and how far a word may be from another one that is meant.
//!
//! It measures no distance: that is done where words are looked up.

/// Words of this many letters and more may be two edits away.
const LONG_WORD_LETTERS: usize = 6;

/// Words of this many letters and more, up to the long ones, may be one edit away; shorter ones none, since half of all would match.
const SHORT_WORD_LETTERS: usize = 3;

/// The words of a normalised name, in their order; the same word may come several times.
pub fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split(' ').filter(|word| !word.is_empty())
}

/// How many edits away `word` may be from the one that is meant: 0 for 1 and 2 letters (Unicode scalars), 1 for 3 to 5, 2 for 6 and more.
#[must_use]
pub fn edits_max(word: &str) -> u8 {
    match word.chars().take(LONG_WORD_LETTERS).count() {
        LONG_WORD_LETTERS.. => 2,
        SHORT_WORD_LETTERS.. => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_name() {
        assert_eq!(words("MARIA DA SILVA DA").collect::<Vec<_>>(), ["MARIA", "DA", "SILVA", "DA"]);
        assert_eq!(words("").count(), 0);
    }

    #[test]
    fn edits_by_letters() {
        for (word, expected) in [
            ("", 0),
            ("A", 0),
            ("DA", 0),
            ("ANA", 1),
            ("SILVA", 1),
            ("SOUZAS", 2),
            ("ØØ", 0),
            ("ØØØ", 1),
            ("김김김김", 1),
        ] {
            assert_eq!(edits_max(word), expected, "{word}");
        }
        assert_eq!(edits_max(&"A".repeat(1000)), 2);
    }
}
