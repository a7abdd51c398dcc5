//! `spelling_key`: the class of the spellings that Brazilian Portuguese reads alike, as an ordered list of rewriting rules.
//!
//! It knows no dictionary and no accents: words come normalised, so that a Ç comes as a C. The table stands in `docs/protocol.md` too, for those who
//! write it a second time. Each rule follows one of these:
//!
//! - \[V\] A. R. Gonçalves Viana and G. de Vasconcellos Abreu, *Bases da ortografia portuguesa*, 1885, II a, on letters without a sound of their own:
//!   th = t, ph = f, y = i, doubled consonants, `Christo` = `Cristo`
//!   (<https://bitlit.ru/page/pt/a-r-goncalves-viana-g-de-vasconcellos-abreu/bases-da-ortografia-portuguesa/9>, and 10).
//! - \[F11\] *Formulário Ortográfico* of 1911, I: k is qu before e and i, c elsewhere; w is u or v; y is i; III: an h inside a word only in ch, lh, nh
//!   (<https://pt.m.wikisource.org/wiki/Formul%C3%A1rio_Ortogr%C3%A1fico_de_1911>).
//! - \[F43\] *Formulário Ortográfico* of 1943, VII, 25: a nasal is m before b and p, n before every other consonant
//!   (<http://www.portaldalinguaportuguesa.org/acordo.php?action=acordo&id=7-25&version=1943&template=print>).
//! - \[M\] Metaphone for Brazilian Portuguese, of the town of Várzea Paulista and C. C. Jordão: the sounds of C, CH, H, PH, Q, SC, TH, W, Y and of a
//!   final Z (<https://github.com/carlosjordao/metaphone-ptbr>).

/// The class of a normalised word: two words of one key are spellings of the same. Never empty for a word that is not; what is no letter from `A` to `Z`
/// stays as it is. The key of a key is the key itself.
#[must_use]
pub fn spelling_key(word: &str) -> String {
    let mut key = word.as_bytes().to_vec();
    for rule in RULES {
        rewrite(&mut key, rule);
    }
    if key.is_empty() && !word.is_empty() {
        // Nothing but silent letters: these are one class.
        key.push(b'H');
    }
    // Bytes that are no ASCII were neither removed nor written: what was UTF-8 still is.
    String::from_utf8_lossy(&key).into_owned()
}

/// What a rule makes of a place in a word: how many letters it takes there, and what it writes for them.
type Rewritten = (usize, Option<u8>);

/// A rule: of what it has written, the letter it stands at, and what comes after that.
type Rule = fn(&[u8], u8, &[u8]) -> Rewritten;

/// The rules in their order. Each goes over the whole word from left to right before the next one begins.
const RULES: [Rule; 9] = [single_letters, ph, silent_h, doubled, nasal, c, q, z, doubled];

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

/// Y is I, W is V. \[V\], \[F11\], \[M\]
fn single_letters(_: &[u8], at: u8, _: &[u8]) -> Rewritten {
    let letter = match at {
        b'Y' => b'I',
        b'W' => b'V',
        other => other,
    };
    (1, Some(letter))
}

/// PH is F, and so is PPH. \[V\], \[M\]
fn ph(_: &[u8], at: u8, after: &[u8]) -> Rewritten {
    match (at, after) {
        (b'P', [b'H', ..]) => (2, Some(b'F')),
        (b'P', [b'P', b'H', ..]) => (3, Some(b'F')),
        _ => (1, Some(at)),
    }
}

/// An H is silent but in CH, LH and NH before a vowel. So TH is T, and CHR is CR. \[V\], \[F11\], \[M\]
fn silent_h(before: &[u8], at: u8, after: &[u8]) -> Rewritten {
    let digraph = matches!(before.last(), Some(b'C' | b'L' | b'N')) && after.first().is_some_and(is_vowel);
    (1, (at != b'H' || digraph).then_some(at))
}

/// A doubled letter is one. \[V\]
fn doubled(before: &[u8], at: u8, _: &[u8]) -> Rewritten {
    let again = at.is_ascii_uppercase() && before.last() == Some(&at);
    (1, (!again).then_some(at))
}

/// M is N before a consonant: which of them is written says nothing but which consonant comes. MN are two sounds. \[F43\]
fn nasal(_: &[u8], at: u8, after: &[u8]) -> Rewritten {
    let changes = at == b'M' && after.first().is_some_and(|next| is_consonant(next) && *next != b'N');
    (1, Some(if changes { b'N' } else { at }))
}

/// C is S before E and I, and stays in CH; before anything else it is K, but where it is a Ç for certain. \[F11\], \[M\]
fn c(before: &[u8], at: u8, after: &[u8]) -> Rewritten {
    let letter = match after.first() {
        _ if at != b'C' => at,
        Some(b'H') => b'C',
        Some(b'E' | b'I') => b'S',
        _ if is_cedilla(before, after) => b'S',
        _ => b'K',
    };
    (1, Some(letter))
}

/// Normalisation makes a C of Ç. It is told by the ending -ÇÃO, where a C is one after a vowel, N and P (CONCEIÇÃO, ASSUNÇÃO, but FALCÃO), and in three
/// stems of surnames that many people have.
fn is_cedilla(before: &[u8], after: &[u8]) -> bool {
    let in_a_stem = match before {
        b"GON" => after.starts_with(b"AL"),
        _ => matches!(before, b"LOUREN" | b"MENDON"),
    };
    let in_the_ending =
        || after == b"AO" && before.last().is_some_and(|last| is_vowel(last) || matches!(last, b'N' | b'P'));
    in_a_stem || in_the_ending()
}

/// QU is K before E and I; any other Q is K. \[F11\], \[M\]
fn q(_: &[u8], at: u8, after: &[u8]) -> Rewritten {
    match (at, after) {
        (b'Q', [b'U', b'E' | b'I', ..]) => (2, Some(b'K')),
        (b'Q', _) => (1, Some(b'K')),
        _ => (1, Some(at)),
    }
}

/// Z is S between vowels and wherever no vowel follows; its own sound is left where it begins the word or stands behind a consonant. \[M\] has the end
/// of a word; between vowels S has the sound of Z.
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
    use crate::name::normalize;
    use proptest::prelude::*;

    /// Spellings of one name, rule by rule.
    const ALIKE: [&[&str]; 46] = [
        // Y=I, W=V.
        &["YASMIN", "IASMIN"],
        &["THAYNARA", "TAINARA", "TAYNARA", "THAINARA"],
        &["WALTER", "VALTER", "WALTHER"],
        &["WAGNER", "VAGNER"],
        &["IVY", "IWI"],
        // PH=F.
        &["PHELIPE", "FELIPE", "PHELIPPE", "FELLIPE"],
        &["RAPHAEL", "RAFAEL"],
        &["SAPPHIRA", "SAFIRA", "SAFFIRA"],
        &["SOPHIA", "SOFIA"],
        // TH=T, and an H elsewhere.
        &["THIAGO", "TIAGO", "THYAGO"],
        &["MATHEUS", "MATTHEUS", "MATEUS"],
        &["ARTHUR", "ARTUR"],
        &["HELENA", "ELENA", "HELLENA"],
        &["HEITOR", "EITOR"],
        &["DEBORAH", "DEBORA"],
        &["RHUAN", "RUAN"],
        &["ABRAHAO", "ABRAAO"],
        &["CHRISTIAN", "CRISTIAN", "KRISTIAN", "KRYSTIAN"],
        &["ELIZABETH", "ELISABETH", "ELISABET", "ELIZABET"],
        // Doubled letters.
        &["ANNA", "ANA"],
        &["ISABELLA", "IZABELA", "ISABELA"],
        &["FERREIRA", "FEREIRA"],
        &["ISAAC", "ISAC", "IZAAC", "IZAK"],
        &["LETTICIA", "LETICIA"],
        // K=C/QU.
        &["KATIA", "CATIA", "KATHIA", "CATHYA"],
        &["KEILA", "QUEILA", "KEYLA"],
        &["ERICK", "ERIC", "ERIK"],
        &["JACQUELINE", "JAQUELINE", "JAKELINE", "JACKELINE"],
        &["FREDERICO", "FREDERIKO"],
        &["QUARESMA", "KUARESMA", "CUARESMA"],
        &["OLIVEIRA", "OLYVEIRA"],
        // A soft C, S, SS and Z between vowels.
        &["SOUZA", "SOUSA", "SOUSSA", "SOUZZA"],
        &["MACEDO", "MASSEDO", "MASEDO"],
        &["LUIZA", "LUISA", "LUYZA"],
        &["JESSICA", "JESICA", "JESSIKA"],
        &["NASCIMENTO", "NACIMENTO", "NASSIMENTO"],
        &["CINTIA", "CYNTHIA", "SINTIA"],
        // Ç where it is told from C.
        &["CONCEICAO", "CONCEISSAO", "CONSEISAO"],
        &["ASSUNCAO", "ASUNSAO"],
        &["GONCALVES", "GOMCALVES", "GONSALVES", "GONCALVEZ"],
        &["LOURENCO", "LOURENSO"],
        &["MENDONCA", "MENDONSA"],
        // Final Z and S, and one before a consonant.
        &["LUIZ", "LUIS", "LUYS"],
        &["THOMAZ", "TOMAS", "THOMAS"],
        &["IZMAEL", "ISMAEL"],
        // N and M before a consonant.
        &["CAMPOS", "CANPOS", "KAMPOS"],
    ];

    /// Names that stay apart.
    const APART: [(&str, &str); 26] = [
        ("ANA", "ANNE"),
        ("MARIA", "MARIO"),
        ("MARIANA", "MARIANE"),
        ("CHAVES", "CAVES"),
        ("CHAVES", "XAVES"),
        ("FILHO", "FILO"),
        ("CUNHA", "CUNA"),
        ("ZECA", "SECA"),
        ("ZELIA", "CELIA"),
        ("MARZIO", "MARCIO"),
        ("CARLA", "SARLA"),
        ("CESAR", "KESAR"),
        ("FALCAO", "FALSAO"),
        ("FRANCO", "FRANSO"),
        ("BIANCA", "BIANSA"),
        ("MONICA", "MONISA"),
        ("GONCALA", "GONCAS"),
        ("JOAQUIM", "JOAQUIN"),
        ("QUELI", "CUELI"),
        ("GISELE", "JISELE"),
        ("VALDIR", "UALDIR"),
        ("PAULO", "FAULO"),
        ("TIAGO", "DIAGO"),
        ("AMNERIS", "ANERIS"),
        ("LUIZ", "LUIZA"),
        ("JOSE", "JOSEFA"),
    ];

    #[test]
    fn spellings_of_one_name() {
        for names in ALIKE {
            for name in names {
                assert_eq!(normalize(name), *name);
                assert_eq!(spelling_key(name), spelling_key(names[0]), "{name} {}", names[0]);
            }
        }
    }

    #[test]
    fn names_that_stay_apart() {
        for (one, other) in APART {
            assert_ne!(spelling_key(one), spelling_key(other), "{one} {other}");
        }
    }

    /// The keys themselves: an index keeps them.
    #[test]
    fn keys() {
        for (word, key) in [
            ("", ""),
            ("H", "H"),
            ("HHH", "H"),
            ("THIAGO", "TIAGO"),
            ("GONCALVES", "GONSALVES"),
            ("CONCEICAO", "KONSEISAO"),
            ("GONCAO", "GONSAO"),
            ("GONCA", "GONKA"),
            ("CHRISTOPHER", "KRISTOFER"),
            ("HEINRICH", "EINRIK"),
            ("SCHMIDT", "SKMIDT"),
            ("SHIRLEY", "SIRLEI"),
            ("CARVALHO", "KARVALHO"),
            ("CHAGAS", "CHAGAS"),
            ("CUNHA", "KUNHA"),
            ("ZULEICA", "ZULEIKA"),
            ("GARCEZ", "GARSES"),
            ("SCHULZ", "SCHULS"),
            ("ACCIOLY", "ASIOLI"),
            ("II", "I"),
            ("11", "11"),
            ("ØØYH", "ØØI"),
            ("김김", "김김"),
        ] {
            assert_eq!(spelling_key(word), key, "{word}");
        }
    }

    proptest! {
        #[test]
        fn the_key_of_a_key_is_itself(word in "[A-Z]{0,12}", few in "[ACEHIKLMNOPQSUWYZ]{0,12}") {
            for word in [word, few] {
                let key = spelling_key(&word);
                prop_assert_eq!(&spelling_key(&key), &key, "{}", word);
                prop_assert!(key.len() <= word.len() && key.is_empty() == word.is_empty());
            }
        }

        /// Whatever is no letter from A to Z stays, and stays where it is among the others.
        #[test]
        fn others_stay(word in any::<String>()) {
            let word = normalize(&word).replace(' ', "");
            let others = |text: &str| text.chars().filter(|c| !c.is_ascii_uppercase()).collect::<String>();
            let key = spelling_key(&word);
            prop_assert_eq!(others(&key), others(&word));
            prop_assert_eq!(key.is_empty(), word.is_empty());
            prop_assert_eq!(&spelling_key(&key), &key);
        }

        /// Letters that the table does not name, in words without doubled ones, are their own key.
        #[test]
        fn what_the_table_does_not_name_stays(word in "([ABDEFGIJKLNORSTUVX][0-9]?){0,8}") {
            let mut letters = word.chars().collect::<Vec<_>>();
            letters.dedup();
            let word: String = letters.into_iter().collect();
            prop_assert_eq!(spelling_key(&word), word);
        }
    }
}
