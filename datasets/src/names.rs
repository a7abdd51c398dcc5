//! Names of people as the registry writes them: upper-case ASCII, one or two given names, surnames with or without particle.
//!
//! Given names and surnames are drawn apart from each other: no family, no region and no fashion of a year is modelled.

use std::collections::HashSet;
use std::sync::OnceLock;

use crate::random::{Purpose, Random, StreamKey};
use crate::syllables::{ENDINGS_OF_MEN, ENDINGS_OF_SURNAMES, ENDINGS_OF_WOMEN, made_up};
use crate::weighted::{Weighted, tail_weights};

/// Counts of the most frequent names: kind, name, sex, count, source. The README says what of it is approximate.
const CENSUS: &str = include_str!("../data/census-names.csv");

/// Women and men of the census of 2010, which counted the given names (IBGE).
const WOMEN: u64 = 97_348_809;
const MEN: u64 = 93_406_990;
/// People of the census of 2022, which counted the surnames (IBGE), and the surnames they bear if [`SURNAMES`] holds.
const PEOPLE: u64 = 203_080_756;
const SURNAMES_BORNE: u64 = PEOPLE * 18 / 10;

/// How many made-up names stand below those of the census.
const TAIL_GIVEN: usize = 3_000;
const TAIL_SURNAMES: usize = 40_000;

/// Shares out of 256. A second given name is common behind the frequent names and rare behind the others.
const SECOND_AFTER_LISTED: u8 = 150;
const SECOND_AFTER_OTHER: u8 = 30;
/// One surname, or two; the rest of the 256 has three. With two given names there are fewer surnames.
const SURNAMES: [u8; 2] = [64, 222];
const SURNAMES_AFTER_SECOND: [u8; 2] = [104, 248];

/// The particle that goes with a surname of the census; made-up surnames get theirs by their ending.
const PARTICLES: [(&str, &str); 12] = [
    ("SILVA", "DA"),
    ("SANTOS", "DOS"),
    ("OLIVEIRA", "DE"),
    ("SOUZA", "DE"),
    ("LIMA", "DE"),
    ("COSTA", "DA"),
    ("SOUSA", "DE"),
    ("NASCIMENTO", "DO"),
    ("ARAUJO", "DE"),
    ("ALMEIDA", "DE"),
    ("JESUS", "DE"),
    ("ROCHA", "DA"),
];

/// The column `sexo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sex {
    /// `F`.
    Woman,
    /// `M`.
    Man,
}

impl Sex {
    /// The letter in the registry, `F` or `M`.
    #[must_use]
    pub fn letter(self) -> &'static str {
        match self {
            Sex::Woman => "F",
            Sex::Man => "M",
        }
    }
}

/// Everything names are drawn from; the same for every seed.
pub(crate) struct Names {
    women: Words,
    men: Words,
    surnames: Words,
}

/// Weighted words in one run of text, each with a blank in front: ` CLARA`, ` DA SILVA`.
struct Words {
    text: Vec<u8>,
    entries: Vec<Entry>,
    weights: Weighted,
    /// Entries before this one are from the census.
    listed: usize,
}

/// Where a word is, and how much of its front a rendering without particle leaves out.
struct Entry {
    start: u32,
    particle_len: u8,
    len: u8,
}

impl Names {
    /// Built at first use, in some milliseconds.
    pub(crate) fn get() -> &'static Self {
        static NAMES: OnceLock<Names> = OnceLock::new();
        NAMES.get_or_init(Self::build)
    }

    fn build() -> Self {
        let (women, men, surnames) = (census("given", "F"), census("given", "M"), census("surname", ""));
        let mut random = StreamKey::new(0, Purpose::MadeUpNames).stream(0);
        let mut taken: HashSet<String> =
            women.iter().chain(&men).chain(&surnames).map(|(name, _)| (*name).to_owned()).collect();
        let mut tail = |count, endings: &[&str]| made_up(count, endings, &mut taken, &mut random);
        let tail_women = tail(TAIL_GIVEN, &ENDINGS_OF_WOMEN);
        let tail_men = tail(TAIL_GIVEN, &ENDINGS_OF_MEN);
        let tail_surnames = tail(TAIL_SURNAMES, &ENDINGS_OF_SURNAMES);
        Self {
            women: Words::new(&women, &tail_women, WOMEN, |_| ""),
            men: Words::new(&men, &tail_men, MEN, |_| ""),
            surnames: Words::new(&surnames, &tail_surnames, SURNAMES_BORNE, particle),
        }
    }

    /// Draws somebody's sex and appends their name to `out`.
    pub(crate) fn draw(&self, random: &mut Random, out: &mut Vec<u8>) -> Sex {
        // One draw serves all the small decisions: 32 bits for the sex, then a byte each.
        let dice = random.bits();
        let [.., second, surnames, a, b] = dice.to_be_bytes();
        let woman = ((dice >> 32) * (WOMEN + MEN)) >> 32 < WOMEN;
        let given = if woman { &self.women } else { &self.men };

        let first = given.weights.pick(random.bits());
        out.extend_from_slice(&given.text(first, true)[1..]);
        let second_share = if first < given.listed { SECOND_AFTER_LISTED } else { SECOND_AFTER_OTHER };
        let mut surname_shares = SURNAMES;
        if second < second_share {
            let other = given.weights.pick(random.bits());
            if other != first {
                out.extend_from_slice(given.text(other, true));
                surname_shares = SURNAMES_AFTER_SECOND;
            }
        }

        let count = 1 + surname_shares.iter().filter(|&&share| surnames >= share).count();
        // A surname that has a particle is written with it three times out of four.
        for particle_bits in [a & 3, a >> 2 & 3, b & 3].into_iter().take(count) {
            let surname = self.surnames.weights.pick(random.bits());
            out.extend_from_slice(self.surnames.text(surname, particle_bits != 0));
        }
        if woman { Sex::Woman } else { Sex::Man }
    }
}

impl Words {
    /// The census entries, then the tail, with the weights that bring the sum to `total`.
    fn new(listed: &[(&str, u64)], tail: &[String], total: u64, particle: impl Fn(&str) -> &'static str) -> Self {
        let mut weights: Vec<u64> = listed.iter().map(|(_, count)| *count).collect();
        let last = weights.iter().copied().min().unwrap_or(1);
        let missing = total.saturating_sub(weights.iter().sum());
        weights.extend(tail_weights(last, missing, tail.len() as u64));
        let (mut text, mut entries) = (Vec::new(), Vec::new());
        for word in listed.iter().map(|(name, _)| *name).chain(tail.iter().map(String::as_str)) {
            let start = text.len();
            let particle = particle(word);
            if !particle.is_empty() {
                text.push(b' ');
                text.extend_from_slice(particle.as_bytes());
            }
            let particle_len = text.len() - start;
            text.push(b' ');
            text.extend_from_slice(word.as_bytes());
            let len = text.len() - start;
            entries.push(Entry { start: start as u32, particle_len: particle_len as u8, len: len as u8 });
        }
        Self { text, entries, weights: Weighted::new(&weights), listed: listed.len() }
    }

    /// The word with a blank in front, and with its particle if it has one and is to have it.
    fn text(&self, index: usize, with_particle: bool) -> &[u8] {
        let entry = &self.entries[index];
        let (start, end) = (entry.start as usize, entry.start as usize + usize::from(entry.len));
        &self.text[if with_particle { start } else { start + usize::from(entry.particle_len) }..end]
    }
}

/// The census entries of one kind and sex, in the order of the file.
fn census(kind: &str, sex: &str) -> Vec<(&'static str, u64)> {
    let mut entries = Vec::new();
    for line in CENSUS.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        // The file is part of the program and the tests read all of it.
        let [line_kind, name, line_sex, count, _] = fields[..] else { panic!("census-names.csv: {line:?}") };
        if line_kind == kind && line_sex == sex {
            entries.push((name, count.parse().expect("counts in census-names.csv are whole numbers")));
        }
    }
    entries
}

/// The particle of a surname, or nothing. About a quarter of the made-up ones have one, told by their length.
fn particle(surname: &str) -> &'static str {
    if let Some((_, particle)) = PARTICLES.iter().find(|(name, _)| *name == surname) {
        return particle;
    }
    let listed = CENSUS.contains(&format!(",{surname},"));
    if listed || !surname.len().is_multiple_of(4) {
        return "";
    }
    match surname.as_bytes() {
        [.., b'A', b'S'] => "DAS",
        [.., b'O', b'S'] => "DOS",
        [.., b'A'] => "DA",
        [.., b'O'] => "DO",
        _ => "DE",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_census_is_read_whole() {
        let read = census("given", "F").len() + census("given", "M").len() + census("surname", "").len();
        assert_eq!(read, CENSUS.lines().count() - 1);
        assert!(PARTICLES.iter().all(|(name, _)| census("surname", "").iter().any(|(listed, _)| listed == name)));
    }

    #[test]
    fn made_up_names_are_different_and_tell_the_sex() {
        let names = Names::get();
        let mut seen = HashSet::new();
        for (words, last_letters) in [(&names.women, "AE"), (&names.men, "ONLRU"), (&names.surnames, "AOSLMR")] {
            for index in words.listed..words.entries.len() {
                let word = str::from_utf8(&words.text(index, false)[1..]).unwrap();
                assert!(word.bytes().all(|byte| byte.is_ascii_uppercase()), "{word}");
                assert!(word.ends_with(|last| last_letters.contains(last)), "{word}");
                assert!(seen.insert(word), "{word} twice");
            }
        }
        assert_eq!(seen.len(), 2 * TAIL_GIVEN + TAIL_SURNAMES);
    }
}
