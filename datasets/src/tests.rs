//! What a registry promises, seen through the public face.
//!
//! No test asserts a time. Statistical bounds are five standard deviations: a failure is a fault, not bad luck, for rows are seeded.

use crate::{Recipe, Row};

mod clean;
mod dirt;
mod file;

fn rows(rows: u64, seed: u64, dirty: f64) -> Vec<Row> {
    Recipe::new(rows, seed, dirty).unwrap().rows().collect()
}

fn text(cell: &Option<Vec<u8>>) -> &str {
    str::from_utf8(cell.as_deref().expect("a text")).expect("UTF-8")
}

#[track_caller]
fn near(got: usize, of: usize, probability: f64) {
    let (mean, deviation) = (of as f64 * probability, (of as f64 * probability * (1.0 - probability)).sqrt());
    assert!((got as f64 - mean).abs() <= 5.0 * deviation, "{got} of {of}, expected {mean:.0} ± {deviation:.0}");
}

/// Year, month, day of `YYYYMMDD`, if the calendar has such a day.
fn date(digits: &str) -> Option<(u32, u32, u32)> {
    let eight = digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u32 = digits.parse().ok().filter(|_| eight)?;
    let (year, month, day) = (number / 10_000, number / 100 % 100, number % 100);
    let leap = year % 4 == 0 && year % 100 != 0 || year % 400 == 0;
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day).then_some((year, month, day))
}
