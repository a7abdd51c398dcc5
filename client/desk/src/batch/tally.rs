//! `Tally`: what became of the lines, and how long it took.

use std::collections::BTreeMap;
use std::time::Instant;

use balcao_wire::Code;

use super::input::BAD_LINE;

/// The status of a line of which only the first of several rows is shown.
pub(crate) const SEVERAL: &str = "several";

/// Counts of a run.
#[derive(Debug)]
pub(crate) struct Tally {
    start: Instant,
    found: u64,
    several: u64,
    none: u64,
    bad: u64,
    /// By code; a code that this client does not know counts as `other`, so that a server cannot make this grow.
    errors: BTreeMap<&'static str, u64>,
    wrong_check_digits: u64,
}

impl Tally {
    /// Nothing counted; the clock runs.
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
            found: 0,
            several: 0,
            none: 0,
            bad: 0,
            errors: BTreeMap::new(),
            wrong_check_digits: 0,
        }
    }

    /// Counts a line that has rows, and whether it has more than one.
    pub(crate) fn found(&mut self, has_several: bool) {
        self.found += 1;
        self.several += u64::from(has_several);
    }

    /// Counts a line without rows by its status.
    pub(crate) fn status(&mut self, status: &str) {
        match status {
            "none" => self.none += 1,
            BAD_LINE => self.bad += 1,
            code => {
                let known = Code::ALL.iter().map(|known| known.as_str()).find(|known| *known == code);
                *self.errors.entry(known.unwrap_or("other")).or_default() += 1;
            }
        }
    }

    /// Counts a line whose CPF has wrong check digits, beside its status.
    pub(crate) fn wrong_check_digits(&mut self) {
        self.wrong_check_digits += 1;
    }

    /// Lines that are bad or have an error code.
    pub(crate) fn failed(&self) -> u64 {
        self.bad + self.errors()
    }

    fn errors(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Lines so far.
    pub(crate) fn lines(&self) -> u64 {
        self.found + self.none + self.failed()
    }

    /// Lines a second so far.
    pub(crate) fn lines_per_second(&self) -> f64 {
        self.lines() as f64 / self.start.elapsed().as_secs_f64().max(1e-9)
    }

    /// One line for a person.
    pub(crate) fn summary(&self) -> String {
        let lines = self.lines();
        let codes: Vec<String> = self.errors.iter().map(|(code, n)| format!("{code} {n}")).collect();
        let codes = if codes.is_empty() { String::new() } else { format!(" ({})", codes.join(", ")) };
        let digits = match self.wrong_check_digits {
            0 => String::new(),
            n => format!("; {n} with wrong check digits, looked up as they are"),
        };
        format!(
            "{lines} {} in {:.1} s, {:.0} a second: {} found ({} with several rows), {} none, {} bad, {} with an error{codes}{digits}",
            if lines == 1 { "line" } else { "lines" },
            self.start.elapsed().as_secs_f64(),
            self.lines_per_second(),
            self.found,
            self.several,
            self.none,
            self.bad,
            self.errors(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_names_the_codes() {
        let mut tally = Tally::start();
        tally.found(false);
        tally.found(true);
        for status in ["none", "invalid_name", "invalid_cpf", "invalid_cpf", "new_code", "\u{1b}[2J", BAD_LINE] {
            tally.status(status);
        }
        tally.wrong_check_digits();
        let summary = tally.summary();
        assert!(summary.starts_with("9 lines in "), "{summary}");
        let end = " a second: 2 found (1 with several rows), 1 none, 1 bad, 5 with an error (invalid_cpf 2, invalid_name 1, other 2); 1 with wrong check digits, looked up as they are";
        assert!(summary.ends_with(end), "{summary}");
        assert_eq!((tally.failed(), tally.lines()), (6, 9));
    }
}
