//! The words, spellings, days and sexes of `docs/protocol.md`, a second time: as the page puts them, without a thought of speed.

use crate::record::name_key;

/// The different words of a normalised name, in the order in which each comes first.
pub(crate) fn different_words(name: &str) -> Vec<&str> {
    let mut words: Vec<&str> = Vec::new();
    for word in name.split(' ').filter(|word| !word.is_empty()) {
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words
}

/// The page's table of edits.
pub(crate) fn edits(word: &str) -> u8 {
    match word.chars().count() {
        0..=2 => 0,
        3..=5 => 1,
        _ => 2,
    }
}

fn is_vowel(c: Option<char>) -> bool {
    c.is_some_and(|c| "AEIOU".contains(c))
}

fn is_consonant(c: Option<char>) -> bool {
    c.is_some_and(|c| c.is_ascii_uppercase()) && !is_vowel(c)
}

/// The page's nine rules of spelling.
pub(crate) fn spelling(word: &str) -> String {
    // Of each letter: what is written before, and what is not read yet; whether it is written, and as what.
    let pass = |word: &str, rule: &dyn Fn(&str, char, &str) -> Option<char>| {
        let mut written = String::new();
        for (at, c) in word.char_indices() {
            if let Some(c) = rule(&written, c, &word[at + c.len_utf8()..]) {
                written.push(c);
            }
        }
        written
    };
    let first = |text: &str| text.chars().next();
    let last = |text: &str| text.chars().next_back();
    let single = |before: &str, c: char, _: &str| (!c.is_ascii_uppercase() || last(before) != Some(c)).then_some(c);
    let mut key = word.replace('Y', "I").replace('W', "V").replace("PPH", "F").replace("PH", "F");
    key = pass(&key, &|before, c, after| {
        let stays = before.ends_with(['C', 'L', 'N']) && is_vowel(first(after));
        (c != 'H' || stays).then_some(c)
    });
    key = pass(&key, &single);
    key = pass(&key, &|_, c, after| {
        Some(if c == 'M' && is_consonant(first(after)) && !after.starts_with('N') { 'N' } else { c })
    });
    key = pass(&key, &|before, c, after| {
        if c != 'C' || after.starts_with('H') {
            return Some(c);
        }
        let stem = before == "GON" && after.starts_with("AL") || before == "LOUREN" || before == "MENDON";
        let ending = after == "AO" && (is_vowel(last(before)) || before.ends_with(['N', 'P']));
        Some(if after.starts_with(['E', 'I']) || stem || ending { 'S' } else { 'K' })
    });
    key = key.replace("QUE", "KE").replace("QUI", "KI").replace('Q', "K");
    key = pass(&key, &|before, c, after| {
        let stays = is_vowel(first(after)) && !is_vowel(last(before));
        Some(if c == 'Z' && !stays { 'S' } else { c })
    });
    key = pass(&key, &single);
    if key.is_empty() && !word.is_empty() { "H".to_owned() } else { key }
}

/// Days from 1800-01-01 to the day that a text is, counted one month after the other.
pub(crate) fn day(text: &str) -> Option<u32> {
    let text: Vec<char> = text.trim().chars().collect();
    let shape: String = text.iter().map(|c| if c.is_ascii_digit() { '0' } else { *c }).collect();
    let places = match shape.as_str() {
        "00000000" => [0..4, 4..6, 6..8],
        "0000-00-00" => [0..4, 5..7, 8..10],
        "00/00/0000" => [6..10, 3..5, 0..2],
        _ => return None,
    };
    let [year, month, day] = places.map(|place| text[place].iter().collect::<String>().parse::<u32>().unwrap_or(0));
    if !(1800..=2157).contains(&year) || !(1..=12).contains(&month) || !(1..=days_of(year, month)).contains(&day) {
        return None;
    }
    let years: u32 = (1800..year).map(|year| (1..=12).map(|month| days_of(year, month)).sum::<u32>()).sum();
    Some(years + (1..month).map(|month| days_of(year, month)).sum::<u32>() + day - 1)
}

fn days_of(year: u32, month: u32) -> u32 {
    let leap = if year.is_multiple_of(100) { year.is_multiple_of(400) } else { year.is_multiple_of(4) };
    [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month as usize - 1]
}

/// The code of a text's sex: A to Z from 1, then 0 to 9.
pub(crate) fn sex(text: &str) -> Option<u8> {
    let first = name_key(text).chars().next()?;
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789".find(first).map(|at| at as u8 + 1)
}
