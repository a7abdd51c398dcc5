//! Made-up names, built of syllables: the long tail below the names of the census.
//!
//! They are put together by chance, not taken from anywhere; that one of them is also somebody's name cannot be ruled out.

use std::collections::HashSet;

use crate::random::Random;

/// What a syllable begins with; clusters are as rare as they are in the language.
const ONSETS: [&str; 48] = [
    "B", "B", "C", "C", "C", "D", "D", "F", "F", "G", "J", "L", "L", "L", "M", "M", "M", "N", "N", "N", "P", "P", "R",
    "R", "R", "R", "S", "S", "S", "T", "T", "T", "V", "V", "V", "Z", "BR", "CR", "FR", "GR", "PR", "TR", "CL", "FL",
    "CH", "LH", "NH", "QU",
];
const VOWELS: [&str; 8] = ["A", "E", "I", "O", "U", "A", "E", "O"];
const CODAS: [&str; 16] = ["", "", "", "", "", "", "", "", "", "", "", "", "R", "S", "L", "N"];

/// Given names of women end in A or E, those of men in O, N, L, R or U: no made-up name is both.
pub(crate) const ENDINGS_OF_WOMEN: [&str; 12] =
    ["A", "IA", "ANA", "INA", "ELA", "ILDA", "EIDE", "ENE", "IANE", "ICE", "ELLE", "ITA"];
pub(crate) const ENDINGS_OF_MEN: [&str; 12] =
    ["O", "IO", "ANO", "INO", "ELO", "ILDO", "EU", "SON", "EL", "ALDO", "OR", "ILTON"];
pub(crate) const ENDINGS_OF_SURNAMES: [&str; 20] = [
    "A", "O", "OS", "AS", "EIRA", "EIRO", "ES", "AL", "ADO", "INHO", "ANO", "IM", "AR", "AES", "EDO", "ENDES", "ELES",
    "ONDES", "UDA", "ENA",
];

/// What Portuguese readers would take amiss in somebody's name; chance builds it soon enough.
const AVOIDED: [&str; 30] = [
    "BICHA", "BOSTA", "BUCET", "BUNDA", "CACET", "CAGA", "CAGO", "CARALH", "CHOTA", "CORNO", "CUZ", "FEDE", "FEDO",
    "FEZES", "FOD", "FUDE", "MACAC", "MERD", "PEID", "PELAD", "PENTELH", "PICA", "PORRA", "PUTA", "PUTEIR", "PUTO",
    "RETAR", "ROLA", "TARAD", "VIAD",
];

/// `count` different names on one of `endings`, none of them in `taken`; they are added to it.
pub(crate) fn made_up(count: usize, endings: &[&str], taken: &mut HashSet<String>, random: &mut Random) -> Vec<String> {
    let mut names = Vec::with_capacity(count);
    while names.len() < count {
        let mut name = String::new();
        for _ in 0..1 + random.below(2) {
            name += random.choose(&ONSETS);
            name += random.choose(&VOWELS);
            name += random.choose(&CODAS);
        }
        let ending = random.choose(endings);
        if ending.starts_with(['A', 'E', 'I', 'O', 'U']) {
            name += random.choose(&ONSETS);
        }
        name += ending;
        let avoided = AVOIDED.iter().any(|part| name.contains(part));
        if !avoided && taken.insert(name.clone()) {
            names.push(name);
        }
    }
    names
}
