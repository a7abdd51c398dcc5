//! `Sex`: the one letter or digit by which a registry tells it.
//!
//! It knows no meaning of the letters: `F`, `M`, `1` and `9` are what the table's owner made of them.

use std::fmt;

use crate::name::first_kept;

/// Bits that hold every [`Sex::code`], and 0 for none.
pub const SEX_BITS: u32 = 6;

/// Codes of the letters, A being 1.
const LETTERS: u8 = 26;

/// The greatest code, that of the digit 9.
const CODE_MAX: u8 = LETTERS + 10;

const _: () = assert!(CODE_MAX < 1 << SEX_BITS);

/// The first letter or digit of a normalised text, where it is `A` to `Z` or `0` to `9`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sex(u8);

impl Sex {
    /// Reads a text: `F`, `fem.` and ` Feminino` are one. `None` where nothing is left after normalisation, or something else comes first.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // No step of the normalisation looks at the characters beside one: the first that is kept is all there is to know.
        first_kept(text).and_then(Self::of)
    }

    /// A to Z are 1 to 26, 0 to 9 are 27 to 36.
    #[must_use]
    pub fn code(self) -> u8 {
        self.0
    }

    /// Reads back a [`Sex::code`]; `None` for 0 and for more than 36.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        (1..=CODE_MAX).contains(&code).then_some(Self(code))
    }

    /// Of a letter in upper case, or a digit.
    pub(crate) fn of(c: char) -> Option<Self> {
        match c {
            'A'..='Z' => Some(Self(c as u8 - b'A' + 1)),
            '0'..='9' => Some(Self(c as u8 - b'0' + 1 + LETTERS)),
            _ => None,
        }
    }
}

/// A person's data: it never shows in a log by accident.
impl fmt::Debug for Sex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sex(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::normalize;
    use proptest::prelude::*;

    #[test]
    fn texts() {
        for (text, expected) in [
            ("F", 6),
            ("f", 6),
            (" Feminino", 6),
            ("'F'", 6),
            ("-M", 13),
            ("Á", 1),
            ("ß", 19),
            ("Ａ", 1),
            ("0", 27),
            ("9", 36),
            ("½", 28),
        ] {
            assert_eq!(Sex::parse(text).map(Sex::code), Some(expected), "{text}");
        }
        for text in ["", " ", "?", "Ø", "김F", "…"] {
            assert_eq!(Sex::parse(text), None, "{text}");
        }
    }

    #[test]
    fn codes() {
        let known: Vec<_> = ('A'..='Z').chain('0'..='9').map(|c| Sex::of(c).unwrap().code()).collect();
        assert_eq!(known, (1..=36).collect::<Vec<_>>());
        assert!(known.iter().all(|&code| Sex::from_code(code).unwrap().code() == code));
        assert_eq!((Sex::from_code(0), Sex::from_code(37)), (None, None));
        assert_eq!(format!("{:?}", Sex::parse("F")), "Some(Sex(***))");
    }

    proptest! {
        #[test]
        fn the_first_of_the_normalised_text(text in any::<String>()) {
            prop_assert_eq!(Sex::parse(&text), normalize(&text).chars().next().and_then(Sex::of));
        }
    }
}
