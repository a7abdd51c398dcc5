//! `spelling_key`: the class of the spellings that Brazilian Portuguese reads alike, as an ordered list of rewriting rules.
//!
//! It knows no dictionary and no accents: words come normalised, and so a Ç comes as a C.

/// The class of a normalised word: two words of one key are spellings of the same. Never empty for a word that is not; what is no letter from `A` to `Z`
/// stays as it is. The key of a key is the key itself.
#[must_use]
pub fn spelling_key(word: &str) -> String {
    let mut key = word.as_bytes().to_vec();
    for (_, rule) in RULES {
        rewrite(&mut key, rule);
    }
    if key.is_empty() && !word.is_empty() {
        // Nothing but silent letters: these are one class.
        key.push(b'H');
    }
    // Bytes that are no ASCII were neither removed nor written: what was UTF-8 still is.
    String::from_utf8_lossy(&key).into_owned()
}

/// What a rule makes of a letter: how many letters of the word it takes, and what it writes for them.
type Rewritten = (usize, Option<u8>);

/// A rule: of what is written before, the letter, and what comes after it.
type Rule = fn(&[u8], u8, &[u8]) -> Rewritten;

/// The rules in their order. Each goes over the whole word from left to right before the next one begins, and looks back at what it wrote itself.
const RULES: [(&str, Rule); 9] = [
    ("doubled letters", doubled),
    ("Y=I, W=V", letters),
    ("PH=F", ph),
    ("silent H", silent_h),
    ("M=N before a consonant", nasal),
    ("C", c),
    ("Q", q),
    ("Z", z),
    ("doubled letters", doubled),
];

/// Applies one rule, in place: no rule writes more than it takes.
fn rewrite(word: &mut Vec<u8>, rule: Rule) {
    let (mut read, mut written) = (0, 0);
    while read < word.len() {
        let (taken, letter) = rule(&word[..written], word[read], &word[read + 1..]);
        if let Some(letter) = letter {
            word[written] = letter;
            written += 1;
        }
        read += taken;
    }
    word.truncate(written);
}

fn doubled(before: &[u8], at: u8, _: &[u8]) -> Rewritten {
    let again = at.is_ascii_uppercase() && before.last() == Some(&at);
    (1, (!again).then_some(at))
}

fn letters(_: &[u8], at: u8, _: &[u8]) -> Rewritten {
    let letter = match at {
        b'Y' => b'I',
        b'W' => b'V',
        other => other,
    };
    (1, Some(letter))
}

fn ph(_: &[u8], at: u8, after: &[u8]) -> Rewritten {
    if at == b'P' && after.first() == Some(&b'H') { (2, Some(b'F')) } else { (1, Some(at)) }
}

/// An H stays in the digraphs CH, LH and NH, which stand before a vowel.
fn silent_h(before: &[u8], at: u8, after: &[u8]) -> Rewritten {
    let digraph = matches!(before.last(), Some(b'C' | b'L' | b'N')) && after.first().is_some_and(is_vowel);
    (1, (at != b'H' || digraph).then_some(at))
}

fn nasal(_: &[u8], at: u8, after: &[u8]) -> Rewritten {
    let changes = at == b'M' && after.first().is_some_and(|next| is_consonant(next) && *next != b'N');
    (1, Some(if changes { b'N' } else { at }))
}

/// Soft before E and I, and where it stands for a Ç for certain; a part of CH; else hard.
fn c(before: &[u8], at: u8, after: &[u8]) -> Rewritten {
    let cedilla = || match before {
        b"GON" => after.starts_with(b"AL"),
        b"LOUREN" | b"MENDON" => true,
        _ => after == b"AO" && before.last().is_some_and(|last| is_vowel(last) || matches!(last, b'N' | b'P')),
    };
    let letter = match after.first() {
        _ if at != b'C' => at,
        Some(b'H') => b'C',
        Some(b'E' | b'I') => b'S',
        _ if cedilla() => b'S',
        _ => b'K',
    };
    (1, Some(letter))
}

fn q(_: &[u8], at: u8, after: &[u8]) -> Rewritten {
    match (at, after) {
        (b'Q', [b'U', b'E' | b'I', ..]) => (2, Some(b'K')),
        (b'Q', _) => (1, Some(b'K')),
        _ => (1, Some(at)),
    }
}

/// A Z keeps its own sound only where it begins a syllable behind a consonant or begins the word.
fn z(before: &[u8], at: u8, after: &[u8]) -> Rewritten {
    let own = !before.last().is_some_and(is_vowel) && after.first().is_some_and(is_vowel);
    (1, Some(if at == b'Z' && !own { b'S' } else { at }))
}

fn is_vowel(letter: &u8) -> bool {
    matches!(letter, b'A' | b'E' | b'I' | b'O' | b'U')
}

fn is_consonant(letter: &u8) -> bool {
    letter.is_ascii_uppercase() && !is_vowel(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_one_class() {
        for (one, other) in [
            ("LUIZ", "LUIS"),
            ("THIAGO", "TIAGO"),
            ("SOUZA", "SOUSA"),
            ("PHELIPE", "FELIPE"),
            ("WALTER", "VALTER"),
            ("KATIA", "CATIA"),
        ] {
            assert_eq!(spelling_key(one), spelling_key(other));
        }
    }
}
