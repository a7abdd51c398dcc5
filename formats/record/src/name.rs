//! How names are compared: the normalisation of the protocol, version 1.
//!
//! It knows nothing of word order, nicknames or spelling: two names are the same key or they are not.

use std::borrow::Cow;
use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

/// Names normalised by another version may not be compared: an index says with which one it was built. It counts the rules of
/// [`spelling_key`](crate::spelling_key) too, since an index keeps their keys.
pub const NORMALIZATION_VERSION: u32 = 1;

/// A question in which no letter and no number is left after normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name needs at least one letter or number")]
pub struct NameError;

/// Normalises `name`: apostrophes are deleted; NFKD; marks are dropped; full upper case; letters and numbers stay, every run of
/// anything else is one blank; trimmed. Borrows where `name` is normalised already. Empty when nothing is left.
#[must_use]
pub fn normalize(name: &str) -> Cow<'_, str> {
    if is_normalized_ascii(name.as_bytes()) {
        return Cow::Borrowed(name);
    }
    let mut out = String::with_capacity(name.len());
    normalize_into(name, &mut out);
    Cow::Owned(out)
}

/// Replaces the content of `out` by the normalised `name`, see [`normalize`]. Where `name` is ASCII and `out` has room for it,
/// nothing is allocated.
pub fn normalize_into(name: &str, out: &mut String) {
    out.clear();
    if is_normalized_ascii(name.as_bytes()) {
        out.push_str(name);
        return;
    }
    if name.is_ascii() {
        // Most of them need their letters raised and nothing else, and raising goes many bytes at a time.
        out.push_str(name);
        out.make_ascii_uppercase();
        if is_normalized_ascii(out.as_bytes()) {
            return;
        }
        out.clear();
    }
    let mut sink = Sink { out, blank: false };
    for c in name.chars() {
        match c {
            'A'..='Z' | 'a'..='z' | '0'..='9' => sink.put(c.to_ascii_uppercase()),
            c => match LATIN.get(c as usize) {
                Some(found) => found.chars().for_each(|c| sink.put(c)),
                None => normalize_char(c, |c| sink.put(c)),
            },
        }
    }
}

/// The first character of the normalised `name`, without the rest of it.
pub(crate) fn first_kept(name: &str) -> Option<char> {
    let mut first = None;
    for c in name.chars() {
        normalize_char(c, |kept| {
            if kept != ' ' && first.is_none() {
                first = Some(kept);
            }
        });
        if first.is_some() {
            break;
        }
    }
    first
}

/// Gives what a character comes to: what is kept of it in upper case, a blank for each that is not. No step of the normalisation looks at the
/// characters beside it: NFKD reorders marks alone, and those go.
fn normalize_char(c: char, mut put: impl FnMut(char)) {
    if is_apostrophe(c) {
        return;
    }
    for c in std::iter::once(c).nfkd().filter(|c| c.general_category_group() != GeneralCategoryGroup::Mark) {
        for upper in c.to_uppercase() {
            match upper.general_category_group() {
                GeneralCategoryGroup::Letter | GeneralCategoryGroup::Number => put(upper),
                _ => put(' '),
            }
        }
    }
}

/// What each character below U+0250 comes to, so that accents of European languages cost no decomposition.
static LATIN: LazyLock<Vec<Box<str>>> = LazyLock::new(|| {
    let of = |c| {
        let mut text = String::new();
        normalize_char(c, |c| text.push(c));
        text.into_boxed_str()
    };
    ('\0'..'\u{250}').map(of).collect()
});

/// Writes kept characters, and one blank for each run of dropped ones that stands between two of them.
struct Sink<'a> {
    out: &'a mut String,
    blank: bool,
}

impl Sink<'_> {
    /// Takes a kept character, or a blank for a dropped one.
    fn put(&mut self, c: char) {
        if c == ' ' {
            self.blank = true;
            return;
        }
        if self.blank && !self.out.is_empty() {
            self.out.push(' ');
        }
        self.blank = false;
        self.out.push(c);
    }
}

/// The apostrophes that are deleted, so that D'Ávila and DAVILA are one name.
fn is_apostrophe(c: char) -> bool {
    matches!(c, '\u{27}' | '\u{60}' | '\u{b4}' | '\u{2bc}' | '\u{2018}' | '\u{2019}' | '\u{ff07}')
}

/// Upper case ASCII letters and digits with single blanks between them: what normalisation would not change.
pub(crate) fn is_normalized_ascii(name: &[u8]) -> bool {
    let (Some(&first), Some(&last)) = (name.first(), name.last()) else { return true };
    // Neither loop ends early, so that both go many bytes at a time.
    let kept = name.iter().fold(true, |kept, byte| kept & is_kept(*byte));
    let apart = name.iter().zip(&name[1..]).fold(true, |apart, (a, b)| apart & ((a | b) != b' '));
    kept && apart && first != b' ' && last != b' '
}

/// Upper case letters and digits, and the blank. Of these, `a | b` is a blank only where both are.
fn is_kept(byte: u8) -> bool {
    byte.is_ascii_uppercase() | byte.is_ascii_digit() | (byte == b' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(name: &str, expected: &str) {
        assert_eq!(normalize(name), expected, "{name:?}");
    }

    #[test]
    fn table_of_the_protocol() {
        check("José  da   Conceição ", "JOSE DA CONCEICAO");
        check("D'Ávila", "DAVILA");
        check("D’Ávila", "DAVILA");
        check("D´Ávila", "DAVILA");
        check("SANT`ANNA", "SANTANNA");
        check("Maria-Clara", "MARIA CLARA");
        check("ＭＡＲＩＡ", "MARIA");
        check("ﬁlho", "FILHO");
        check("João\t\u{1}Neto", "JOAO NETO");
        check("Ana_Paula", "ANA PAULA");
        check("Weiß", "WEISS");
        check("Øyvind", "ØYVIND");
        check("2º Sargento", "2O SARGENTO");
        check("…—!", "");
    }

    #[test]
    fn every_apostrophe_is_deleted() {
        for c in ['\u{27}', '\u{60}', '\u{b4}', '\u{2bc}', '\u{2018}', '\u{2019}', '\u{ff07}'] {
            check(&format!("D{c}AGUA"), "DAGUA");
            check(&format!("É{c}B"), "EB");
        }
    }

    #[test]
    fn edges() {
        check("", "");
        check("  ", "");
        check(" MARIA ", "MARIA");
        check("MARIA  SILVA", "MARIA SILVA");
        check("\u{fffd}ANA\u{fffd}\u{fffd}LIMA", "ANA LIMA");
        check("e\u{301}\u{301}", "E");
        check("\u{301}", "");
        // Marks of all three kinds go: a nonspacing, a spacing and an enclosing one.
        check("क\u{93e}A\u{20dd}B", "कAB");
        check("Ⅷ", "VIII");
        check("½", "1 2");
        check("김", "김".nfkd().collect::<String>().as_str());
    }

    #[test]
    fn borrows_what_is_normalised() {
        assert!(matches!(normalize("MARIA DA SILVA"), Cow::Borrowed(_)));
        assert!(matches!(normalize("Maria"), Cow::Owned(_)));
    }

    #[test]
    fn plain_ascii_allocates_nothing() {
        let mut out = String::with_capacity(64);
        let before = (out.as_ptr(), out.capacity());
        normalize_into("  Maria-Clara  d'Avila_2 ", &mut out);
        assert_eq!(out, "MARIA CLARA DAVILA 2");
        assert_eq!((out.as_ptr(), out.capacity()), before);
    }

    /// The definition, step by step over whole strings, with none of the shortcuts.
    fn definition(name: &str) -> String {
        let without: String = name.chars().filter(|&c| !is_apostrophe(c)).collect();
        let decomposed: String = without.nfkd().collect();
        let bare: String =
            decomposed.chars().filter(|c| c.general_category_group() != GeneralCategoryGroup::Mark).collect();
        let upper = bare.to_uppercase();
        let kept: String = upper
            .chars()
            .map(|c| match c.general_category_group() {
                GeneralCategoryGroup::Letter | GeneralCategoryGroup::Number => c,
                _ => ' ',
            })
            .collect();
        kept.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    }

    proptest! {
        #[test]
        fn shortcuts_keep_the_definition(name in any::<String>()) {
            prop_assert_eq!(normalize(&name), definition(&name));
        }

        #[test]
        fn ascii_keeps_the_definition(name in "[ -~\\t\\n]{0,40}") {
            prop_assert_eq!(normalize(&name), definition(&name));
        }

        #[test]
        fn latin_keeps_the_definition(name in "[A-Za-z \\u{c0}-\\u{24f}\\u{300}-\\u{36f}'’-]{0,40}") {
            prop_assert_eq!(normalize(&name), definition(&name));
        }

        /// One exception: ŉ decomposes into an apostrophe letter and n, after the apostrophes were deleted.
        #[test]
        fn twice_is_once(name in any::<String>()) {
            let once = normalize(&name).into_owned();
            prop_assume!(!once.contains('\u{2bc}'));
            prop_assert_eq!(normalize(&once), once.as_str());
        }
    }
}
