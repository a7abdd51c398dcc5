//! `Tally`: what became of the lines, and how long it took.

use std::collections::BTreeMap;
use std::time::Instant;

use balcao_wire::Code;

/// Counts of a run.
#[derive(Debug)]
pub(crate) struct Tally {
    start: Instant,
    ok: u64,
    none: u64,
    /// By code; a code that this client does not know counts as `other`, so that a server cannot make this grow.
    errors: BTreeMap<&'static str, u64>,
    wrong_check_digits: u64,
}

impl Tally {
    /// Nothing counted; the clock runs.
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), ok: 0, none: 0, errors: BTreeMap::new(), wrong_check_digits: 0 }
    }

    /// Counts a line by its status.
    pub(crate) fn line(&mut self, status: &str) {
        match status {
            "ok" => self.ok += 1,
            "none" => self.none += 1,
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

    /// Lines with an error code.
    pub(crate) fn errors(&self) -> u64 {
        self.errors.values().sum()
    }

    /// One line for a person.
    pub(crate) fn summary(&self) -> String {
        let lines = self.ok + self.none + self.errors();
        let codes: Vec<String> = self.errors.iter().map(|(code, n)| format!("{code} {n}")).collect();
        let codes = if codes.is_empty() { String::new() } else { format!(" ({})", codes.join(", ")) };
        let digits = match self.wrong_check_digits {
            0 => String::new(),
            n => format!("; {n} with wrong check digits, looked up as they are"),
        };
        let noun = if lines == 1 { "line" } else { "lines" };
        format!(
            "{lines} {noun} in {:.1} s: {} ok, {} none, {} with an error{codes}{digits}",
            self.start.elapsed().as_secs_f64(),
            self.ok,
            self.none,
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
        for status in ["ok", "none", "ok", "invalid_name", "invalid_cpf", "invalid_cpf", "new_code", "\u{1b}[2J"] {
            tally.line(status);
        }
        tally.wrong_check_digits();
        let summary = tally.summary();
        assert!(summary.starts_with("8 lines in "), "{summary}");
        let end = " s: 2 ok, 1 none, 5 with an error (invalid_cpf 2, invalid_name 1, other 2); 1 with wrong check digits, looked up as they are";
        assert!(summary.ends_with(end), "{summary}");
        assert_eq!(tally.errors(), 5);
    }
}
