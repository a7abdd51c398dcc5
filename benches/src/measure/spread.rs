//! Several measurements of the same thing: median, least, greatest.
//!
//! No mean: one disturbed round would move it.

use std::fmt;

use super::markdown::grouped;

/// Measurements in ascending order, at least one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spread(Vec<f64>);

impl Spread {
    /// The measurements; `None` where there is none.
    pub(crate) fn new(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        (!values.is_empty()).then_some(Self(values))
    }

    /// The middle one, or the mean of the two in the middle.
    pub(crate) fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        if self.0.len() % 2 == 1 { self.0[middle] } else { (self.0[middle - 1] + self.0[middle]) / 2.0 }
    }
}

impl Spread {
    /// The least and the greatest one.
    pub(crate) fn bounds(&self) -> [f64; 2] {
        [self.0[0], self.0[self.0.len() - 1]]
    }

    /// As it is displayed, without decimals and with a comma before every three digits.
    pub(crate) fn grouped(&self) -> String {
        let [least, greatest] = self.bounds();
        let text = |value: f64| grouped(value.round() as u64);
        format!("{} ({}–{})", text(self.median()), text(least), text(greatest))
    }
}

/// `median (least–greatest)`, with as many decimals as the format asks for.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = f.precision().unwrap_or(2);
        let [least, greatest] = self.bounds();
        write!(f, "{:.decimals$} ({least:.decimals$}–{greatest:.decimals$})", self.median())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_told_with_its_bounds() {
        assert_eq!(Spread::new([]), None);
        assert_eq!(format!("{:.1}", Spread::new([3.0, 1.0, 2.0]).unwrap()), "2.0 (1.0–3.0)");
        assert_eq!(Spread::new([4.0, 1.0]).unwrap().median(), 2.5);
        assert_eq!(Spread::new([84_000.4, 9.0, 1234.0]).unwrap().grouped(), "1,234 (9–84,000)");
    }
}
