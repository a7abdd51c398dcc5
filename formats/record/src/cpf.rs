//! `Cpf`: nine base digits and two check digits, read as the protocol reads them.
//!
//! It does not judge whether a CPF was ever issued, nor reject runs of one digit: only the arithmetic is checked.

use std::fmt;

/// Digits of a whole CPF.
const DIGITS: usize = 11;

/// How many bases there are: a base is a number of nine digits.
const BASES: u32 = 1_000_000_000;

/// A CPF as a key: its base (0 to 999,999,999) and the two check digits that were written beside it (0 to 99).
///
/// The check digits may be wrong. Such a CPF is a key of its own, other than the valid CPF on the same base.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cpf {
    base: u32,
    check: u8,
}

/// Why a text is no CPF. It never repeats the text: that may be a person's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CpfError {
    /// Something else than digits, `.`, `-`, `/` and white space.
    #[error("a CPF holds only digits, with `.`, `-`, `/` or blanks between them")]
    Character,
    /// No digit at all, or more than 11.
    #[error("a CPF has 1 to 11 digits")]
    Length,
    /// Fewer than 11 digits, and with the lost zeros put back the check digits do not hold.
    #[error("a CPF with fewer than 11 digits needs right check digits; write all 11")]
    CheckDigits,
}

impl Cpf {
    /// Reads a text: `.`, `-`, `/` and white space are dropped, 1 to 11 ASCII digits must remain. Eleven are taken as they
    /// are, fewer are padded on the left with zeros and then the check digits must hold.
    ///
    /// # Errors
    /// [`CpfError`] says which of these rules the text breaks.
    pub fn parse(text: &str) -> Result<Self, CpfError> {
        if let Some(number) = eleven_digits(text.as_bytes()) {
            return Self::from_digits(number, DIGITS);
        }
        let mut number = 0_u64;
        let mut digits = 0_usize;
        for c in text.chars() {
            match c {
                '0'..='9' => {
                    digits += 1;
                    if digits > DIGITS {
                        return Err(CpfError::Length);
                    }
                    number = number * 10 + u64::from(c as u32 - '0' as u32);
                }
                '.' | '-' | '/' => {}
                c if c.is_whitespace() => {}
                _ => return Err(CpfError::Character),
            }
        }
        Self::from_digits(number, digits)
    }

    /// Reads eleven ASCII digits and nothing else, which nearly all cells are; `None` for any other text, which may be a CPF all the same.
    pub(crate) fn from_eleven(text: &[u8]) -> Option<Self> {
        Self::from_digits(eleven_digits(text)?, DIGITS).ok()
    }

    /// Reads the text of a JSON number: digits alone, so neither a sign nor a fraction nor an exponent.
    ///
    /// # Errors
    /// [`CpfError`] says which rule the number breaks.
    pub fn parse_number(text: &str) -> Result<Self, CpfError> {
        if text.bytes().all(|b| b.is_ascii_digit()) { Self::parse(text) } else { Err(CpfError::Character) }
    }

    /// Reads a whole number as [`Cpf::parse_number`] reads its decimal text.
    ///
    /// # Errors
    /// [`CpfError`] for a negative number, for one of more than 11 digits, and for a shorter one whose check digits do not hold.
    pub fn from_integer(number: i64) -> Result<Self, CpfError> {
        let number = u64::try_from(number).map_err(|_| CpfError::Character)?;
        let digits = number.checked_ilog10().map_or(1, |log| log as usize + 1);
        if digits > DIGITS {
            return Err(CpfError::Length);
        }
        Self::from_digits(number, digits)
    }

    /// The valid CPF on `base` (0 to 999,999,999); `None` for a larger base.
    #[must_use]
    pub fn from_base(base: u32) -> Option<Self> {
        (base < BASES).then(|| Self { base, check: check_digits(base) })
    }

    /// Base: the first nine digits, 0 to 999,999,999.
    #[must_use]
    #[inline]
    pub fn base(self) -> u32 {
        self.base
    }

    /// Whether the check digits are those that the base asks for.
    #[must_use]
    #[inline]
    pub fn has_right_check_digits(self) -> bool {
        self.check == check_digits(self.base)
    }

    /// All eleven digits as one number, 0 to 99,999,999,999.
    #[must_use]
    #[inline]
    pub fn number(self) -> u64 {
        u64::from(self.base) * 100 + u64::from(self.check)
    }

    /// All eleven digits as ASCII, zeros in front included.
    #[must_use]
    pub fn digits(self) -> [u8; DIGITS] {
        let mut rest = self.number();
        let mut digits = [b'0'; DIGITS];
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        digits
    }

    fn from_digits(number: u64, digits: usize) -> Result<Self, CpfError> {
        if digits == 0 {
            return Err(CpfError::Length);
        }
        let cpf = Self { base: (number / 100) as u32, check: (number % 100) as u8 };
        if digits < DIGITS && !cpf.has_right_check_digits() {
            return Err(CpfError::CheckDigits);
        }
        Ok(cpf)
    }
}

/// `123.456.789-09`, as people write it.
impl fmt::Display for Cpf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (a, b, c) = (self.base / 1_000_000, self.base / 1_000 % 1_000, self.base % 1_000);
        write!(f, "{a:03}.{b:03}.{c:03}-{:02}", self.check)
    }
}

/// Masked, so that no log line prints a person's number by accident.
impl fmt::Debug for Cpf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cpf(***)")
    }
}

/// The number in eleven digits and nothing else: as most CPFs are written.
fn eleven_digits(text: &[u8]) -> Option<u64> {
    let digits: &[u8; DIGITS] = text.try_into().ok()?;
    let number = || digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    digits.iter().all(u8::is_ascii_digit).then(number)
}

/// Of three digits, 000 to 999: their sum, and their sum with the weights 1, 2 and 3.
const SUMS: [(u8, u8); 1000] = {
    let mut sums = [(0, 0); 1000];
    let mut digits = 0;
    while digits < 1000 {
        let (a, b, c) = (digits / 100, digits / 10 % 10, digits % 10);
        sums[digits] = ((a + b + c) as u8, (a + 2 * b + 3 * c) as u8);
        digits += 1;
    }
    sums
};

/// The two check digits of a base, by the two weighted sums modulo 11 of the Receita Federal.
#[inline]
fn check_digits(base: u32) -> u8 {
    let (mut first, mut second) = (0, 0);
    // From the first digit to the ninth, its weight is 1, 2, … 9 in the first sum and 0, 1, … 8 in the second. Three digits are looked up at once:
    // this is asked several times a lookup, and a division for each digit took four times as long.
    for (before, digits) in [(0, base / 1_000_000), (3, base / 1_000), (6, base)] {
        let (sum, weighted) = SUMS[(digits % 1_000) as usize];
        let weighted = u32::from(weighted) + before * u32::from(sum);
        first += weighted;
        second += weighted - u32::from(sum);
    }
    let first = first % 11 % 10;
    let second = (second + first * 9) % 11 % 10;
    (first * 10 + second) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, CpfError>) {
        assert_eq!(Cpf::parse(text).map(|cpf| cpf.to_string()), expected.map(str::to_owned), "{text:?}");
    }

    #[test]
    fn texts_of_the_protocol() {
        check("12345678909", Ok("123.456.789-09"));
        check("123.456.789-09", Ok("123.456.789-09"));
        check(" 123 456 789/09\u{a0}\t", Ok("123.456.789-09"));
        check("-12345678909", Ok("123.456.789-09"));
        check("12345678900", Ok("123.456.789-00"));
        check("191", Ok("000.000.001-91"));
        check("00000000191", Ok("000.000.001-91"));
        check("0", Ok("000.000.000-00"));
        check("11111111111", Ok("111.111.111-11"));
        check("192", Err(CpfError::CheckDigits));
        check("1234567890", Ok("012.345.678-90"));
        check("1234567891", Err(CpfError::CheckDigits));
        check("123456789012", Err(CpfError::Length));
        check("", Err(CpfError::Length));
        check(" .-/ ", Err(CpfError::Length));
        check("+12345678909", Err(CpfError::Character));
        check("1234567890a", Err(CpfError::Character));
        check("１２３４５６７８９０９", Err(CpfError::Character));
        check("1e10", Err(CpfError::Character));
    }

    #[test]
    fn numbers_of_the_protocol() {
        for (text, right) in
            [("12345678909", true), ("191", true), ("-191", false), ("191.0", false), ("1e2", false), ("", false)]
        {
            assert_eq!(Cpf::parse_number(text).is_ok(), right, "{text}");
        }
        assert_eq!(Cpf::from_integer(191), Cpf::parse("191"));
        assert_eq!(Cpf::from_integer(-191), Err(CpfError::Character));
        assert_eq!(Cpf::from_integer(i64::MAX), Err(CpfError::Length));
        assert_eq!(Cpf::from_integer(0), Cpf::parse("0"));
    }

    #[test]
    fn debug_hides_the_number() {
        assert_eq!(format!("{:?}", Cpf::from_base(123_456_789).unwrap()), "Cpf(***)");
    }

    /// The textbook definition: digits from left to right, weights 10 to 2, then 11 to 2.
    fn textbook(base: u32) -> String {
        let mut digits: Vec<u32> = format!("{base:09}").bytes().map(|b| u32::from(b - b'0')).collect();
        for _ in 0..2 {
            let top = digits.len() as u32 + 1;
            let sum: u32 = digits.iter().zip((2..=top).rev()).map(|(d, w)| d * w).sum();
            digits.push(match sum % 11 {
                0 | 1 => 0,
                rest => 11 - rest,
            });
        }
        digits.iter().map(u32::to_string).collect()
    }

    proptest! {
        #[test]
        fn check_digits_are_the_textbooks(base in 0..BASES) {
            let cpf = Cpf::from_base(base).unwrap();
            prop_assert_eq!(cpf.digits().map(char::from).into_iter().collect::<String>(), textbook(base));
            prop_assert!(cpf.has_right_check_digits());
        }

        #[test]
        fn display_and_digits_read_back(number in 0..100_000_000_000_u64) {
            let cpf = Cpf::parse(&format!("{number:011}")).unwrap();
            prop_assert_eq!(Cpf::parse(&cpf.to_string()), Ok(cpf));
            prop_assert_eq!(cpf.number(), number);
            prop_assert_eq!(Cpf::from_eleven(&cpf.digits()), Some(cpf));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            let kept: String = text.chars().filter(|c| !matches!(c, '.' | '-' | '/') && !c.is_whitespace()).collect();
            let digits = kept.bytes().all(|b| b.is_ascii_digit()) && (1..=11).contains(&kept.len());
            let parsed = Cpf::parse(&text);
            prop_assert!(Cpf::from_eleven(text.as_bytes()).is_none_or(|eleven| Ok(eleven) == parsed));
            prop_assert!(digits || parsed.is_err());
            if digits && kept.len() == 11 {
                let digits = parsed.unwrap().digits();
                prop_assert_eq!(digits.as_slice(), kept.as_bytes());
            }
        }
    }
}
