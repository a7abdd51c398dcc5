//! What a filter asks of a cell: days of birth and sexes as the protocol defines them, written down a second time.

use super::reading::normalise;

/// A day as year, month and day of the month; in that order, days are in theirs.
pub(crate) type Day = (u32, u32, u32);

/// The years that a day of birth may lie in.
const YEARS: std::ops::RangeInclusive<u32> = 1800..=2157;

/// The day that `text` writes as `YYYYMMDD`, `YYYY-MM-DD` or `DD/MM/YYYY`, blanks around it or none.
pub(crate) fn read_day(text: &str) -> Option<Day> {
    let text: Vec<char> = text.trim().chars().collect();
    let shape: String = text.iter().map(|c| if c.is_ascii_digit() { '9' } else { *c }).collect();
    let places = match shape.as_str() {
        "99999999" => [0..4, 4..6, 6..8],
        "9999-99-99" => [0..4, 5..7, 8..10],
        "99/99/9999" => [6..10, 3..5, 0..2],
        _ => return None,
    };
    let [year, month, day] = places.map(|place| text[place].iter().collect::<String>());
    let day = (year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
    is_real(day).then_some(day)
}

fn is_real((year, month, day): Day) -> bool {
    YEARS.contains(&year) && (1..=12).contains(&month) && (1..=days_of_month(year, month)).contains(&day)
}

/// The day after `day`; that day itself where it is the last one.
pub(crate) fn following(day: Day) -> Day {
    let (year, month, of_month) = day;
    let days = [(year, month, of_month + 1), (year, month + 1, 1), (year + 1, 1, 1)];
    days.into_iter().find(|day| is_real(*day)).unwrap_or(day)
}

fn days_of_month(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(400) || year.is_multiple_of(4) && !year.is_multiple_of(100) => 29,
        2 => 28,
        _ => 31,
    }
}

/// The sex that `text` writes: the first letter or digit of it, as a name is normalised, where that is A to Z or 0 to 9.
pub(crate) fn read_sex(text: &str) -> Option<char> {
    normalise(text).chars().next().filter(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
}

/// What a question demands of a row besides its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Where {
    pub(crate) sex: Option<char>,
    pub(crate) born: Option<(Option<Day>, Option<Day>)>,
}

impl Where {
    /// Whether a row of this sex and this day of birth is wanted.
    pub(crate) fn matches(&self, sex: Option<char>, birth: Option<Day>) -> bool {
        let is_sex = self.sex.is_none() || self.sex == sex;
        let is_born = self.born.is_none_or(|(from, to)| {
            birth.is_some_and(|day| from.is_none_or(|from| from <= day) && to.is_none_or(|to| day <= to))
        });
        is_sex && is_born
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_the_protocol() {
        let table = [
            ("19800101", Some((1980, 1, 1))),
            ("1980-01-02", Some((1980, 1, 2))),
            ("02/01/1980", Some((1980, 1, 2))),
            (" 19800101\t", Some((1980, 1, 1))),
            ("20000229", Some((2000, 2, 29))),
            ("19000229", None),
            ("2024-02-29", Some((2024, 2, 29))),
            ("2023-02-29", None),
            ("18000101", Some((1800, 1, 1))),
            ("17991231", None),
            ("21571231", Some((2157, 12, 31))),
            ("21580101", None),
            ("31/04/1980", None),
            ("19801301", None),
            ("19800001", None),
            ("19800100", None),
            ("1980/01/02", None),
            ("02-01-1980", None),
            ("1/1/1980", None),
            ("198001011", None),
            ("1980 01 01", None),
            ("１９８００１０１", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(read_day(text), expected, "{text:?}");
        }
    }

    #[test]
    fn days_follow_one_another() {
        let table = [
            ((2023, 2, 28), (2023, 3, 1)),
            ((2024, 2, 28), (2024, 2, 29)),
            ((1999, 12, 31), (2000, 1, 1)),
            ((1980, 4, 30), (1980, 5, 1)),
            ((2157, 12, 31), (2157, 12, 31)),
        ];
        for (day, expected) in table {
            assert_eq!(following(day), expected);
        }
    }

    #[test]
    fn sexes_of_the_protocol() {
        let table = [
            ("F", Some('F')),
            ("f", Some('F')),
            (" feminino", Some('F')),
            ("Ｍ", Some('M')),
            ("Ê", Some('E')),
            ("(1)", Some('1')),
            ("-2", Some('2')),
            ("Ø", None),
            ("?", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(read_sex(text), expected, "{text:?}");
        }
    }

    #[test]
    fn both_ends_of_a_range_are_in_it() {
        let [first, second, third] = [(1980, 1, 1), (1980, 1, 31), (1980, 2, 1)];
        let born = |from, to| Where { sex: None, born: Some((from, to)) };
        let matches = |filter: &Where, day| filter.matches(Some('F'), Some(day));
        assert!(matches(&born(Some(second), Some(second)), second));
        assert!(!matches(&born(Some(second), Some(second)), first) && !matches(&born(None, Some(second)), third));
        assert!(matches(&born(Some(first), None), third) && !matches(&born(Some(second), None), first));
        assert!(!born(None, None).matches(None, None), "what is no day is in no range, not even in the open one");
        let sex = Where { sex: Some('F'), born: None };
        assert!(sex.matches(Some('F'), None) && !sex.matches(Some('M'), None) && !sex.matches(None, None));
        assert!(Where::default().matches(None, None));
    }
}
