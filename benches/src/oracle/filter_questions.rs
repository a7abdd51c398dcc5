//! Filters as questions bring them: made around a row, so that they let some rows through, at their very ends too.

use super::filters::{Day, Where, following};
use super::search::{BIRTH_COLUMN, SEX_COLUMN, Searchable};
use super::spelling::json_text;
use crate::rng::Rng;

/// Years that a range reaches beyond its row's day at most.
const YEARS_BEYOND_MAX: u32 = 30;

/// Draws the member `where`, with a comma in front, and what it demands; `row` passes most of them.
pub(crate) fn draw(searchable: &Searchable<'_>, row: u32, rng: &mut Rng) -> (String, Where) {
    let (sex, birth) = (searchable.sexes[row as usize], searchable.births[row as usize]);
    let mut filter = Where::default();
    let mut members = Vec::new();
    let which = rng.below(3);
    if which != 0 {
        let sex = sex.filter(|_| !rng.one_in(8)).unwrap_or(*rng.pick(&['F', 'M', 'I', '1', '2', 'X']));
        filter.sex = Some(sex);
        members.push(format!("\"{SEX_COLUMN}\":{}", json_text(&sex_text(sex, rng), rng)));
    }
    if which != 1 {
        let around = birth.filter(|_| !rng.one_in(8)).unwrap_or_else(|| any_day(rng));
        let (text, range) = range(around, rng);
        filter.born = Some(range);
        members.push(format!("\"{BIRTH_COLUMN}\":{text}"));
    }
    // A member that is null asks for nothing.
    match which {
        0 if rng.one_in(4) => members.push(format!("\"{SEX_COLUMN}\":null")),
        1 if rng.one_in(4) => members.push(format!("\"{BIRTH_COLUMN}\":null")),
        _ => {}
    }
    rng.shuffle(&mut members);
    (format!(",\"where\":{{{}}}", members.join(",")), filter)
}

/// A day as a question may write it.
pub(crate) fn day_text((year, month, day): Day, rng: &mut Rng) -> String {
    match rng.below(12) {
        0..=3 => format!("{year:04}{month:02}{day:02}"),
        4..=7 => format!("{year:04}-{month:02}-{day:02}"),
        8 => format!(" {day:02}/{month:02}/{year:04}\u{a0}"),
        _ => format!("{day:02}/{month:02}/{year:04}"),
    }
}

/// Some day of somebody's birth.
pub(crate) fn any_day(rng: &mut Rng) -> Day {
    (rng.between(1905, 2025) as u32, rng.between(1, 12) as u32, rng.between(1, 28) as u32)
}

fn sex_text(sex: char, rng: &mut Rng) -> String {
    match rng.below(6) {
        0 => sex.to_lowercase().to_string(),
        1 => format!(" {sex}"),
        2 => format!("{sex}eminino"),
        3 => format!("({sex})"),
        _ => sex.to_string(),
    }
}

/// One day or a range that mostly has `around` in it, as JSON and as what it means.
fn range(around: Day, rng: &mut Rng) -> (String, (Option<Day>, Option<Day>)) {
    let (year, month, day) = around;
    let earlier = (year.saturating_sub(rng.below(YEARS_BEYOND_MAX as usize) as u32).max(1800), month, day.min(28));
    let later = ((year + rng.below(YEARS_BEYOND_MAX as usize) as u32).min(2157), month, day.max(1));
    let later = if month == 2 && day == 29 { (later.0, 3, 1) } else { later };
    let mut ends = match rng.below(10) {
        0 => return (json_text(&day_text(around, rng), rng), (Some(around), Some(around))),
        1 => (Some(around), None),
        2 => (None, Some(around)),
        3 => (Some(around), Some(around)),
        4 => (Some(earlier), Some(around)),
        5 => (Some(around), Some(later)),
        // Just beside it.
        6 => (Some(following(around)), None),
        7 => (Some(following(around)), Some(following(following(around)))),
        8 => (Some((1800, 1, 1)), Some((2157, 12, 31))),
        _ => (Some(earlier), Some(later)),
    };
    if ends.0 > ends.1 && ends.1.is_some() {
        ends = (ends.1, ends.0);
    }
    let mut members = Vec::new();
    for (name, end) in [("from", ends.0), ("to", ends.1)] {
        match end {
            Some(end) => members.push(format!("\"{name}\":{}", json_text(&day_text(end, rng), rng))),
            None if rng.one_in(4) => members.push(format!("\"{name}\":null")),
            None => {}
        }
    }
    (format!("{{{}}}", members.join(",")), ends)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::oracle::filters::read_day;

    #[test]
    fn a_range_is_written_as_what_it_means() {
        let mut rng = Rng::new(1, 0);
        for around in [(2000, 2, 29), (1980, 12, 31), (1800, 1, 1), (2157, 12, 31)] {
            for _ in 0..300 {
                let (text, (from, to)) = range(around, &mut rng);
                let read = |value: &Value| value.as_str().map(|text| read_day(text).expect(text));
                let value: Value = serde_json::from_str(&text).expect(&text);
                let meant = if value.is_string() {
                    (read(&value), read(&value))
                } else {
                    (read(&value["from"]), read(&value["to"]))
                };
                assert_eq!(meant, (from, to), "{text}");
                assert!(from.is_none_or(|from| to.is_none_or(|to| from <= to)), "{text}");
            }
        }
    }
}
