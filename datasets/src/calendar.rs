//! Dates of birth: an age out of a pyramid, then a day of that year.
//!
//! No clock: ages are counted at the end of a fixed year, so that a registry made next year is the same.

use std::sync::OnceLock;

use crate::random::Random;
use crate::weighted::Weighted;

/// Ages are counted on 31 December of this year, so that somebody of age a was born in `REFERENCE_YEAR` - a.
pub const REFERENCE_YEAR: u32 = 2025;

/// The highest age, in years; the lowest is 0.
pub const AGE_MAX: u32 = 105;

/// Thousands of people by groups of five years, from 0–4 on: the shape of the census of 2022, approximate. The last group is
/// 100–105, and each age of a group weighs the same.
const PYRAMID: [u64; 21] = [
    12_700, 13_700, 13_700, 14_400, 15_600, 16_200, 15_700, 16_600, 16_200, 13_800, 12_800, 11_900, 10_200, 8_200,
    6_200, 4_000, 2_700, 1_400, 600, 200, 40,
];

/// Days before each month of a common year.
const DAYS_BEFORE: [u32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];

/// A real day of the Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Date {
    pub(crate) year: u32,
    pub(crate) month: u32,
    pub(crate) day: u32,
}

impl Date {
    /// The date of birth of somebody at random.
    pub(crate) fn birth(random: &mut Random) -> Self {
        static AGES: OnceLock<Weighted> = OnceLock::new();
        let ages = AGES.get_or_init(|| {
            let weights: Vec<u64> =
                (0..=AGE_MAX as usize).map(|age| PYRAMID[(age / 5).min(PYRAMID.len() - 1)]).collect();
            Weighted::new(&weights)
        });
        let year = REFERENCE_YEAR - ages.pick(random.bits()) as u32;
        Self::of_year_day(year, random.below(365 + usize::from(is_leap(year))) as u32)
    }

    /// The day number `day` (0 to 364, or 365 in a leap year) of a year.
    fn of_year_day(year: u32, day: u32) -> Self {
        let leap = u32::from(is_leap(year));
        let before = |month: usize| DAYS_BEFORE[month] + if month >= 2 { leap } else { 0 };
        let month = (0..12).rev().find(|&month| before(month) <= day).unwrap_or(0);
        Self { year, month: month as u32 + 1, day: day - before(month) + 1 }
    }

    /// `YYYYMMDD` in ASCII.
    pub(crate) fn digits(self) -> [u8; 8] {
        let digit = |number: u32| b'0' + (number % 10) as u8;
        let Self { year, month, day } = self;
        [
            digit(year / 1000),
            digit(year / 100),
            digit(year / 10),
            digit(year),
            digit(month / 10),
            digit(month),
            digit(day / 10),
            digit(day),
        ]
    }
}

fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_a_year_follows_the_one_before() {
        for (year, days) in [(1900, 365), (2000, 366), (2023, 365), (2024, 366)] {
            let mut expected = Date { year, month: 1, day: 1 };
            for day in 0..days {
                assert_eq!(Date::of_year_day(year, day), expected);
                let last = match expected.month {
                    2 => days - 337,
                    4 | 6 | 9 | 11 => 30,
                    _ => 31,
                };
                expected = if expected.day == last {
                    Date { month: expected.month + 1, day: 1, ..expected }
                } else {
                    Date { day: expected.day + 1, ..expected }
                };
            }
            assert_eq!(expected.month, 13, "{year} has {days} days");
        }
    }

    #[test]
    fn digits_are_year_month_day() {
        assert_eq!(Date { year: 1980, month: 2, day: 9 }.digits(), *b"19800209");
    }
}
