//! Other ways to write the same key, and keys that are none, as users and spreadsheets bring them forth.
//!
//! What a spelling means is not decided here but by the oracle's own reading.

use serde_json::Value;

use super::reading::check_digits_hold;
use crate::rng::Rng;

/// What may stand between digits.
const SEPARATORS: [char; 8] = ['.', '-', '/', ' ', '\t', '\u{a0}', '\u{2003}', '\n'];

/// A longer text is not written in escapes: its line might pass the limit.
const ESCAPED_BYTES_MAX: usize = 1000;

/// A CPF as it is written in a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Text(String),
    /// The number's text.
    Number(String),
}

impl Written {
    /// As JSON.
    pub(crate) fn json(&self, rng: &mut Rng) -> String {
        match self {
            Self::Text(text) => json_text(text, rng),
            Self::Number(number) => number.clone(),
        }
    }
}

/// `text` as JSON; now and then every character of it as an escape.
pub(crate) fn json_text(text: &str, rng: &mut Rng) -> String {
    if text.len() > ESCAPED_BYTES_MAX || !rng.one_in(16) {
        return Value::from(text).to_string();
    }
    let escapes: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    format!("\"{escapes}\"")
}

/// The eleven digits `key` in another spelling.
pub(crate) fn other_cpf(key: &str, rng: &mut Rng) -> Written {
    let zeros = key.bytes().take_while(|&byte| byte == b'0').count().min(key.len() - 1);
    match rng.below(4) {
        0 if zeros == 0 || check_digits_hold(key) => Written::Number(key[zeros..].to_owned()),
        1 | 2 if zeros > 0 && check_digits_hold(key) => {
            let short = &key[rng.between(1, zeros)..];
            Written::Text(if rng.one_in(2) { short.to_owned() } else { separated(short, rng) })
        }
        3 => Written::Text(separated(key, rng)),
        _ => Written::Text(format!("{}.{}.{}-{}", &key[..3], &key[3..6], &key[6..9], &key[9..])),
    }
}

/// `digits` with separators between and around them.
fn separated(digits: &str, rng: &mut Rng) -> String {
    let mut text = String::new();
    for digit in digits.chars() {
        while rng.one_in(4) {
            text.push(*rng.pick(&SEPARATORS));
        }
        text.push(digit);
    }
    text + [" ", "", "\t", "-"][rng.below(4)]
}

/// Something near a CPF that is mostly none.
pub(crate) fn strange_cpf(key: &str, rng: &mut Rng) -> Written {
    let number = key.trim_start_matches('0');
    let number = if number.is_empty() { "0" } else { number };
    match rng.below(12) {
        0 => Written::Number(format!("-{number}")),
        1 => Written::Number(format!("{number}.0")),
        2 => Written::Number(format!("{number}e0")),
        // Not behind a zero: a JSON number has none in front.
        3 if number != "0" => Written::Number(format!("{number}000")),
        4 => Written::Number("1".repeat(rng.between(12, 300))),
        5 => Written::Text(format!("{key}{}", rng.below(10))),
        6 => Written::Text(format!("{key}{}", rng.pick(&['a', 'O', '+', ',', '_', '٣', '１', '\u{fffd}', '\0']))),
        7 => Written::Text(format!("+{key}")),
        8 => Written::Text(key[..rng.below(key.len())].to_owned()),
        9 => Written::Text(SEPARATORS[..rng.below(SEPARATORS.len())].iter().collect()),
        _ => {
            let alphabet: Vec<char> = "00112345678999.-/ x\u{2009}".chars().collect();
            Written::Text((0..rng.between(1, 14)).map(|_| *rng.pick(&alphabet)).collect())
        }
    }
}

/// A short text of characters on which normalisation has something to say.
pub(crate) fn strange_name(rng: &mut Rng) -> String {
    let alphabet: Vec<char> =
        "AaÉç'’`´ʼ‘＇ -_.\t\u{1}ﬁºª½ßŉǅØø…—ＡＭ\u{301}\u{20dd}\u{93e}김İı\u{fffd}²Ⅷ😀".chars().collect();
    (0..rng.between(1, 8)).map(|_| *rng.pick(&alphabet)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::reading::{read_cpf, read_cpf_number};

    #[test]
    fn other_spellings_mean_the_same_key() {
        let mut rng = Rng::new(1, 0);
        for key in ["12345678909", "12345678900", "00000000191", "00000000192", "01234567890", "00000000000"] {
            for _ in 0..200 {
                let written = other_cpf(key, &mut rng);
                let read = match &written {
                    Written::Text(text) => read_cpf(text),
                    Written::Number(number) => read_cpf_number(number),
                };
                assert_eq!(read.as_deref(), Some(key), "{written:?}");
            }
        }
    }

    #[test]
    fn strange_cpfs_are_json() {
        let mut rng = Rng::new(3, 0);
        for key in ["12345678909", "00000000191", "00000000000"] {
            for _ in 0..500 {
                let json = strange_cpf(key, &mut rng).json(&mut rng);
                assert!(serde_json::from_str::<Value>(&json).is_ok(), "{json}");
            }
        }
    }

    #[test]
    fn escapes_are_the_same_text() {
        let mut rng = Rng::new(2, 0);
        for _ in 0..200 {
            let name = strange_name(&mut rng);
            let json = json_text(&name, &mut rng);
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), name);
        }
    }
}
