//! How each defect is made: a clean cell in, the spoilt cell out.
//!
//! It does not decide which row is dirty nor counts what it did.

use balcao_record::Cpf;

use crate::calendar::Date;
use crate::defect::Defect;
use crate::random::Random;

/// Every apostrophe that name normalisation deletes.
pub const APOSTROPHES: [char; 7] = ['\u{27}', '\u{60}', '\u{b4}', '\u{2bc}', '\u{2018}', '\u{2019}', '\u{ff07}'];

/// CPFs that people enter when they have none. Their check digits hold: only their look gives them away.
pub const PLACEHOLDERS: [&str; 11] = [
    "00000000000",
    "11111111111",
    "22222222222",
    "33333333333",
    "44444444444",
    "55555555555",
    "66666666666",
    "77777777777",
    "88888888888",
    "99999999999",
    "12345678909",
];

const HYPHENS: [&str; 4] = ["-", "\u{2010}", "\u{2011}", "\u{2013}"];
const CONTROLS: [&str; 6] = ["\t", "\n", "\r\n", "\u{1}", "\t\u{1}", "\u{7f}"];
const ONLY_PUNCTUATION: [&str; 8] = [".", "-", "...", "***", "?", " ", "   ", "\u{2026}\u{2014}!"];
const NO_DATE: [&str; 12] = [
    "00000000",
    "99999999",
    "0",
    "N/I",
    "IGNORADO",
    "??/??/1970",
    "19800230",
    "19991399",
    "31/02/1975",
    "1980",
    "29221",
    "19O50712",
];
const NO_CPF: [&str; 4] = ["ISENTO", "NAO TEM", "N/A", "ESTRANGEIRO"];

/// Letters with the mark that may stand on them: letter, composed form, combining mark.
const MARKED: [(u8, char, char); 13] = [
    (b'A', '\u{c1}', '\u{301}'),
    (b'A', '\u{c2}', '\u{302}'),
    (b'A', '\u{c3}', '\u{303}'),
    (b'A', '\u{c0}', '\u{300}'),
    (b'C', '\u{c7}', '\u{327}'),
    (b'E', '\u{c9}', '\u{301}'),
    (b'E', '\u{ca}', '\u{302}'),
    (b'I', '\u{cd}', '\u{301}'),
    (b'O', '\u{d3}', '\u{301}'),
    (b'O', '\u{d4}', '\u{302}'),
    (b'O', '\u{d5}', '\u{303}'),
    (b'U', '\u{da}', '\u{301}'),
    (b'U', '\u{dc}', '\u{308}'),
];

/// What a cell is: the bytes that were appended, or NULL.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Text,
    Null,
}

/// Appends the CPF of a row with this defect. For [`Defect::CpfShared`] the caller passes the other row's CPF.
pub(crate) fn cpf(defect: Defect, cpf: Cpf, random: &mut Random, out: &mut Vec<u8>) -> Content {
    let digits = cpf.digits();
    match defect {
        Defect::CpfPunctuation => punctuated(cpf, random, out),
        Defect::CpfLostZeros => {
            let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
            out.extend_from_slice(&digits[zeros.min(digits.len() - 1)..]);
        }
        Defect::CpfCheckDigits => {
            let wrong = (cpf.number() % 100 + 1 + random.below(99) as u64) % 100;
            out.extend_from_slice(&digits[..9]);
            out.extend_from_slice(&[b'0' + (wrong / 10) as u8, b'0' + (wrong % 10) as u8]);
        }
        Defect::CpfLetters => {
            if random.below(4) == 0 {
                out.extend_from_slice(random.choose(&NO_CPF).as_bytes());
            } else {
                let mut digits = digits;
                let digit = &mut digits[random.below(11)];
                *digit = match *digit {
                    b'0' => b'O',
                    b'1' => b'l',
                    b'5' => b'S',
                    b'8' => b'B',
                    _ => b'X',
                };
                out.extend_from_slice(&digits);
            }
        }
        Defect::CpfEmpty => {}
        Defect::CpfNull => return Content::Null,
        Defect::NeitherCpfNorName => return nothing(random),
        Defect::CpfPlaceholder => out.extend_from_slice(random.choose(&PLACEHOLDERS).as_bytes()),
        _ => out.extend_from_slice(&digits),
    }
    Content::Text
}

/// Appends the name of a row with this defect; `clean` is upper-case ASCII of at least two words.
pub(crate) fn name(defect: Defect, clean: &[u8], random: &mut Random, out: &mut Vec<u8>) -> Content {
    match defect {
        Defect::Accents => accents(clean, random, out),
        Defect::LowerCase => out.extend(clean.iter().map(u8::to_ascii_lowercase)),
        Defect::TitleCase => title_case(clean, out),
        Defect::DoubleBlanks => {
            let blanks = random.choose(&["  ", "   "]);
            instead_of_a_blank(clean, blanks.as_bytes(), random, out);
        }
        Defect::TrailingBlanks => {
            out.extend_from_slice(clean);
            out.extend_from_slice(&b"    "[random.below(4)..]);
        }
        Defect::ControlCharacters => {
            let control = random.choose(&CONTROLS).as_bytes();
            match random.below(3) {
                0 => instead_of_a_blank(clean, control, random, out),
                1 => out.extend([clean, control].into_iter().flatten()),
                _ => out.extend([control, clean].into_iter().flatten()),
            }
        }
        Defect::Apostrophe => apostrophe(clean, random, out),
        Defect::Hyphen => {
            let hyphen = random.choose(&HYPHENS);
            instead_of_a_blank(clean, hyphen.as_bytes(), random, out);
        }
        Defect::FullWidth => {
            for &byte in clean {
                // U+FF21 is the full-width A, U+3000 the blank of the same width.
                let wide = if byte == b' ' { '\u{3000}' } else { wide_letter(byte) };
                push(wide, out);
            }
        }
        Defect::NameInvalidUtf8 => invalid_utf8(clean, random, out),
        Defect::NameNull => return Content::Null,
        Defect::NameEmpty => {}
        Defect::NeitherCpfNorName => return nothing(random),
        Defect::NamePunctuation => out.extend_from_slice(random.choose(&ONLY_PUNCTUATION).as_bytes()),
        _ => out.extend_from_slice(clean),
    }
    Content::Text
}

/// Appends the date of birth of a row with this defect.
pub(crate) fn birth(defect: Defect, date: Date, random: &mut Random, out: &mut Vec<u8>) -> Content {
    let digits = date.digits();
    let (year, month, day) = (&digits[..4], &digits[4..6], &digits[6..]);
    match defect {
        Defect::DateIso => out.extend([year, b"-", month, b"-", day].into_iter().flatten()),
        Defect::DateBrazilian => out.extend([day, b"/", month, b"/", year].into_iter().flatten()),
        Defect::DateEmpty => {}
        Defect::DateNull => return Content::Null,
        Defect::DateGarbage => out.extend_from_slice(random.choose(&NO_DATE).as_bytes()),
        _ => out.extend_from_slice(&digits),
    }
    Content::Text
}

/// NULL or an empty text.
fn nothing(random: &mut Random) -> Content {
    if random.below(2) == 0 { Content::Null } else { Content::Text }
}

fn punctuated(cpf: Cpf, random: &mut Random, out: &mut Vec<u8>) {
    let text = cpf.to_string();
    let written = match random.below(5) {
        0 => text.replace('-', "/"),
        1 => text.replace('.', ""),
        2 => text.replace(['.', '-'], " "),
        3 => format!(" {text} "),
        _ => text,
    };
    out.extend_from_slice(written.as_bytes());
}

/// One letter that can bear a mark gets one, each further one in one case out of eight.
fn accents(clean: &[u8], random: &mut Random, out: &mut Vec<u8>) {
    let can = |byte: u8| MARKED.iter().any(|&(letter, _, _)| letter == byte);
    let candidates = clean.iter().filter(|&&byte| can(byte)).count();
    let chosen = random.below(candidates);
    let decomposed = random.below(4) == 0;
    let mut candidate = 0;
    for &byte in clean {
        let here = can(byte) && {
            candidate += 1;
            candidate - 1 == chosen || random.below(8) == 0
        };
        if !here {
            out.push(byte);
            continue;
        }
        let first = MARKED.iter().position(|&(letter, _, _)| letter == byte).unwrap_or(0);
        let forms = MARKED[first..].iter().take_while(|&&(letter, _, _)| letter == byte).count();
        let (letter, composed, mark) = MARKED[first + random.below(forms)];
        if decomposed {
            out.push(letter);
            push(mark, out);
        } else {
            push(composed, out);
        }
    }
}

fn title_case(clean: &[u8], out: &mut Vec<u8>) {
    for (number, word) in clean.split(|&byte| byte == b' ').enumerate() {
        if number > 0 {
            out.push(b' ');
        }
        let start = out.len();
        out.extend(word.iter().map(u8::to_ascii_lowercase));
        if !matches!(word, b"DA" | b"DE" | b"DO" | b"DAS" | b"DOS") {
            out[start].make_ascii_uppercase();
        }
    }
}

/// Before a vowel of the last word, so that it looks like D'AVILA.
fn apostrophe(clean: &[u8], random: &mut Random, out: &mut Vec<u8>) {
    let word = clean.iter().rposition(|&byte| byte == b' ').map_or(0, |blank| blank + 1);
    let vowel = clean[word + 1..].iter().position(|byte| b"AEIOU".contains(byte)).unwrap_or(0);
    let (before, after) = clean.split_at(word + 1 + vowel);
    out.extend_from_slice(before);
    push(random.choose(&APOSTROPHES), out);
    out.extend_from_slice(after);
}

fn invalid_utf8(clean: &[u8], random: &mut Random, out: &mut Vec<u8>) {
    match random.below(3) {
        // The first letter of a two-byte sequence, cut off.
        0 => out.extend([clean, b"\xc3"].into_iter().flatten()),
        1 => instead_of_a_blank(clean, b"\xff", random, out),
        // A Latin-1 letter: as UTF-8 it opens a sequence that the ASCII behind it, or the end, breaks off.
        _ => {
            let latin1 = |byte: u8| MARKED.iter().find(|&&(letter, _, _)| letter == byte).map(|&(_, c, _)| c as u8);
            let candidates = clean.iter().filter(|&&byte| latin1(byte).is_some()).count();
            let chosen = random.below(candidates);
            let mut candidate = 0;
            for &byte in clean {
                match latin1(byte) {
                    Some(spoilt) => {
                        out.push(if candidate == chosen { spoilt } else { byte });
                        candidate += 1;
                    }
                    None => out.push(byte),
                }
            }
        }
    }
}

/// Puts `instead` in the place of one of the blanks between words.
fn instead_of_a_blank(clean: &[u8], instead: &[u8], random: &mut Random, out: &mut Vec<u8>) {
    let blanks = clean.iter().filter(|&&byte| byte == b' ').count();
    let chosen = random.below(blanks);
    for (number, word) in clean.split(|&byte| byte == b' ').enumerate() {
        if number > 0 {
            out.extend_from_slice(if number - 1 == chosen { instead } else { b" " });
        }
        out.extend_from_slice(word);
    }
}

fn wide_letter(byte: u8) -> char {
    char::from_u32(0xff21 + u32::from(byte - b'A')).unwrap_or('\u{ff21}')
}

fn push(c: char, out: &mut Vec<u8>) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}
