//! `BirthDay`: a calendar day as a number of days, and the shapes of dates in which registries hold it.
//!
//! It knows no clock: a day in the future is a day.

use std::fmt;

/// The first year that is read; 0 is its first day.
const YEAR_FIRST: u32 = 1800;

/// The last year that is read: with it, all days and one more number fit 17 bits.
const YEAR_LAST: u32 = 2157;

/// How many days there are, from 1800-01-01 to 2157-12-31.
pub const BIRTH_DAYS: u32 = days_before(YEAR_LAST + 1);

/// Bits that hold every [`BirthDay::days`] plus one, 0 being left for none.
pub const BIRTH_BITS: u32 = 17;

const _: () = assert!(BIRTH_DAYS < 1 << BIRTH_BITS);

/// Days of a year before its months, in a year of 365 days.
const DAYS_BEFORE_MONTH: [u32; 13] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];

/// Days since 1800-01-01. Only real days of the years 1800 to 2157 have one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BirthDay(u32);

impl BirthDay {
    /// Reads `YYYYMMDD`, `YYYY-MM-DD` or `DD/MM/YYYY` in ASCII digits, with white space around it dropped. `None` for anything else, and for what is no
    /// day of the Gregorian calendar of the years 1800 to 2157.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_bytes(text.trim().as_bytes())
    }

    /// Reads the shapes of [`BirthDay::parse`], without anything around them.
    pub(crate) fn from_bytes(text: &[u8]) -> Option<Self> {
        let (year, month, day) = match text {
            &[a, b, c, d, m, n, x, y]
            | &[a, b, c, d, b'-', m, n, b'-', x, y]
            | &[x, y, b'/', m, n, b'/', a, b, c, d] => ([a, b, c, d], [m, n], [x, y]),
            _ => return None,
        };
        Self::of(number(&year)?, number(&month)?, number(&day)?)
    }

    /// Reads the integer that the digits `YYYYMMDD` are.
    pub(crate) fn from_integer(number: i64) -> Option<Self> {
        let number = u32::try_from(number).ok()?;
        Self::of(number / 10_000, number / 100 % 100, number % 100)
    }

    fn of(year: u32, month: u32, day: u32) -> Option<Self> {
        if !(YEAR_FIRST..=YEAR_LAST).contains(&year) || !(1..=12).contains(&month) {
            return None;
        }
        let leap = u32::from(is_leap(year));
        let before = |month: usize| DAYS_BEFORE_MONTH[month] + if month >= 2 { leap } else { 0 };
        let month = month as usize;
        let days = before(month) - before(month - 1);
        (1..=days).contains(&day).then(|| Self(days_before(year) + before(month - 1) + day - 1))
    }

    /// Days since 1800-01-01, below [`BIRTH_DAYS`].
    #[must_use]
    pub fn days(self) -> u32 {
        self.0
    }

    /// The day that is `days` after 1800-01-01; `None` for [`BIRTH_DAYS`] and more.
    #[must_use]
    pub fn from_days(days: u32) -> Option<Self> {
        (days < BIRTH_DAYS).then_some(Self(days))
    }
}

/// A birth day is a person's data: it never shows in a log by accident.
impl fmt::Debug for BirthDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BirthDay(***)")
    }
}

fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

/// Days from 1800-01-01 to the first one of `year`.
const fn days_before(year: u32) -> u32 {
    const fn leaps_before(year: u32) -> u32 {
        (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400
    }
    (year - YEAR_FIRST) * 365 + leaps_before(year) - leaps_before(YEAR_FIRST)
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expected: Option<u32>) {
        assert_eq!(BirthDay::parse(text).map(BirthDay::days), expected, "{text:?}");
    }

    #[test]
    fn shapes() {
        for text in ["18000101", "1800-01-01", "01/01/1800", " 18000101\t", "\u{a0}01/01/1800\n"] {
            check(text, Some(0));
        }
        check("18000102", Some(1));
        check("1801-01-01", Some(365));
        check("29/02/2000", Some(73_107));
        check("19700101", Some(62_091));
        check("31/12/2157", Some(BIRTH_DAYS - 1));
    }

    #[test]
    fn what_is_no_day() {
        for text in [
            "",
            " ",
            "0",
            "17991231",
            "21580101",
            "19000229",
            "19010229",
            "20000230",
            "19800431",
            "19801301",
            "19800001",
            "19800100",
            "1980-1-1",
            "1980/01/01",
            "01-01-1980",
            "1/1/1980",
            "01/01/80",
            "1980-01-01T00:00",
            "1980 01 01",
            "+1980101",
            "-9800101",
            "１９８００１０１",
            "198001011",
            "1980010",
            "1980-01/01",
            "32/01/1980",
            "00000000",
        ] {
            check(text, None);
        }
    }

    /// The calendar, day by day.
    #[test]
    fn every_day_in_its_order() {
        let mut days = 0;
        for year in YEAR_FIRST..=YEAR_LAST {
            for month in 1..=12 {
                let length = match month {
                    2 if year % 400 == 0 || year % 4 == 0 && year % 100 != 0 => 29,
                    2 => 28,
                    4 | 6 | 9 | 11 => 30,
                    _ => 31,
                };
                for day in 1..=length {
                    check(&format!("{year:04}{month:02}{day:02}"), Some(days));
                    assert_eq!(
                        BirthDay::from_integer(i64::from(year * 10_000 + month * 100 + day)),
                        BirthDay::from_days(days)
                    );
                    days += 1;
                }
                check(&format!("{year:04}-{month:02}-{:02}", length + 1), None);
            }
        }
        assert_eq!(days, BIRTH_DAYS);
        assert_eq!(BirthDay::from_days(BIRTH_DAYS), None);
    }

    #[test]
    fn debug_hides_the_day() {
        assert_eq!(format!("{:?}", BirthDay::parse("19800101")), "Some(BirthDay(***))");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in any::<String>(), integer: i64) {
            let _ = BirthDay::parse(&text);
            let _ = BirthDay::from_integer(integer);
        }

        #[test]
        fn nearly_dates(text in "[0-9/-]{8,10}") {
            if let Some(day) = BirthDay::parse(&text) {
                prop_assert!(day.days() < BIRTH_DAYS);
            }
        }
    }
}
