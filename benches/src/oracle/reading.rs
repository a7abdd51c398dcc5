//! CPFs and names as the protocol defines them, written down step by step a second time.
//!
//! Deliberately without the product's own reading (`balcao-record`) and without a shortcut: what both get wrong in the same way
//! could not be seen.

use unicode_normalization::UnicodeNormalization as _;
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory as _};

/// Digits of a whole CPF.
const DIGITS: usize = 11;

/// The eleven digits of the CPF in `text`; `None` where a question would be `invalid_cpf`.
pub(crate) fn read_cpf(text: &str) -> Option<String> {
    let kept: String = text.chars().filter(|c| !matches!(c, '.' | '-' | '/') && !c.is_whitespace()).collect();
    if kept.is_empty() || kept.len() > DIGITS || !kept.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let padded = format!("{kept:0>DIGITS$}");
    (kept.len() == DIGITS || check_digits_hold(&padded)).then_some(padded)
}

/// Reads the CPF in a JSON number, given as its text: digits and nothing else.
pub(crate) fn read_cpf_number(text: &str) -> Option<String> {
    if text.chars().all(|c| c.is_ascii_digit()) { read_cpf(text) } else { None }
}

/// Whether the last two of eleven digits follow from the first nine: weights 10 to 2 over nine digits, then 11 to 2 over ten.
pub(crate) fn check_digits_hold(digits: &str) -> bool {
    let digits: Vec<u32> = digits.chars().filter_map(|c| c.to_digit(10)).collect();
    let expected = |count: usize| {
        let sum: u32 =
            digits[..count].iter().zip((2..=count as u32 + 1).rev()).map(|(digit, weight)| digit * weight).sum();
        match sum % 11 {
            0 | 1 => 0,
            rest => 11 - rest,
        }
    };
    digits.len() == DIGITS && digits[9] == expected(9) && digits[10] == expected(10)
}

/// The name as it is compared; empty where nothing is left of it.
pub(crate) fn normalise(name: &str) -> String {
    let apostrophes = ['\u{27}', '\u{60}', '\u{b4}', '\u{2bc}', '\u{2018}', '\u{2019}', '\u{ff07}'];
    let without_apostrophes: String = name.chars().filter(|c| !apostrophes.contains(c)).collect();
    let decomposed: String = without_apostrophes.nfkd().collect();
    let without_marks: String =
        decomposed.chars().filter(|c| c.general_category_group() != GeneralCategoryGroup::Mark).collect();
    let upper = without_marks.to_uppercase();
    let words: Vec<&str> = upper.split(|c| !is_letter_or_number(c)).filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

fn is_letter_or_number(c: char) -> bool {
    matches!(c.general_category_group(), GeneralCategoryGroup::Letter | GeneralCategoryGroup::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_protocol() {
        let table = [
            ("José  da   Conceição ", "JOSE DA CONCEICAO"),
            ("D'Ávila", "DAVILA"),
            ("D’Ávila", "DAVILA"),
            ("D´Ávila", "DAVILA"),
            ("SANT`ANNA", "SANTANNA"),
            ("Maria-Clara", "MARIA CLARA"),
            ("ＭＡＲＩＡ", "MARIA"),
            ("ﬁlho", "FILHO"),
            ("João\t\u{1}Neto", "JOAO NETO"),
            ("Ana_Paula", "ANA PAULA"),
            ("Weiß", "WEISS"),
            ("Øyvind", "ØYVIND"),
            ("2º Sargento", "2O SARGENTO"),
            ("…—!", ""),
            ("MARIA ", "MARIA"),
            ("", ""),
        ];
        for (name, expected) in table {
            assert_eq!(normalise(name), expected, "{name:?}");
        }
    }

    #[test]
    fn cpfs_of_the_protocol() {
        let table = [
            ("123.456.789-09", Some("12345678909")),
            (" 123 456 789/09\u{a0}\t", Some("12345678909")),
            ("12345678900", Some("12345678900")),
            ("191", Some("00000000191")),
            ("0", Some("00000000000")),
            ("192", None),
            ("1234567890", Some("01234567890")),
            ("1234567891", None),
            ("123456789012", None),
            ("", None),
            (" .-/ ", None),
            ("+12345678909", None),
            ("1234567890a", None),
            ("１２３４５６７８９０９", None),
        ];
        for (text, expected) in table {
            assert_eq!(read_cpf(text).as_deref(), expected, "{text:?}");
        }
        assert_eq!(read_cpf_number("191").as_deref(), Some("00000000191"));
        for number in ["-191", "191.0", "1e2", "12345678909e0"] {
            assert_eq!(read_cpf_number(number), None, "{number}");
        }
    }
}
