//! What a run came to, as Markdown.

use std::fmt::Write as _;

use super::Plan;
use super::trial::Came;
use crate::measure::machine;
use crate::measure::markdown::grouped;

/// Faults that are told of each row; the others are only counted.
const FAULTS_SHOWN: usize = 5;

/// Everything that was tried.
#[derive(Debug, Default)]
pub struct Report {
    /// Files of the index, and their bytes.
    pub(crate) index: (usize, u64),
    pub(crate) rows: Vec<Row>,
}

/// One line of the table.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) tried: u64,
    pub(crate) survived: u64,
    /// How long it took; `None` where it is in another line's time.
    pub(crate) seconds: Option<f64>,
    pub(crate) served: Served,
    pub(crate) faults: Vec<String>,
}

/// What servers did with the damaged indexes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Served {
    refused: u64,
    unavailable: u64,
    right: u64,
    /// Replies of those that started.
    replies: [u64; 2],
}

impl Row {
    pub(crate) fn new(what: String) -> Self {
        Self { what, seconds: Some(0.0), ..Self::default() }
    }

    /// Counts one damage.
    pub(crate) fn add(&mut self, came: Came) {
        self.tried += 1;
        self.survived += u64::from(came.faults.is_empty());
        *self.seconds.get_or_insert(0.0) += came.took.as_secs_f64();
        match came.answers {
            None => self.served.refused += 1,
            Some(answers) => {
                let count = if answers.unavailable > 0 { &mut self.served.unavailable } else { &mut self.served.right };
                *count += 1;
                self.served.replies[0] += answers.right;
                self.served.replies[1] += answers.unavailable;
            }
        }
        self.faults.extend(came.faults);
    }

    /// Adds what another job counted of the same.
    pub(crate) fn merge(&mut self, other: Self) {
        self.tried += other.tried;
        self.survived += other.survived;
        self.seconds = self.seconds.zip(other.seconds).map(|(a, b)| a + b);
        self.served.refused += other.served.refused;
        self.served.unavailable += other.served.unavailable;
        self.served.right += other.served.right;
        self.served.replies[0] += other.served.replies[0];
        self.served.replies[1] += other.served.replies[1];
        self.faults.extend(other.faults);
    }
}

impl Report {
    /// Whether everything was survived as promised.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.rows.iter().all(|row| row.survived == row.tried)
    }

    /// What was not survived, some of each row.
    pub fn faults(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().flat_map(|row| row.faults.iter().take(FAULTS_SHOWN).map(String::as_str))
    }

    /// Indexes that servers refused, that they answered in parts, and that they answered wholly.
    #[must_use]
    pub fn served(&self) -> [u64; 3] {
        let sum = |of: fn(&Served) -> u64| self.rows.iter().map(|row| of(&row.served)).sum();
        [sum(|served| served.refused), sum(|served| served.unavailable), sum(|served| served.right)]
    }

    /// The section of Markdown.
    #[must_use]
    pub fn markdown(&self, plan: &Plan) -> String {
        let mut out = String::new();
        // Writing to memory cannot fail.
        let _ = self.write(&mut out, plan, &machine::describe(), &machine::today());
        out
    }

    fn write(&self, out: &mut String, plan: &Plan, machine: &str, day: &str) -> std::fmt::Result {
        let Plan { make, flips, cuts, also, .. } = plan;
        let (rows, dirty, seed) = (make.rows, make.dirty, make.seed);
        writeln!(out, "## Faults\n")?;
        writeln!(
            out,
            "`faults --rows {rows} --dirty {dirty} --seed {seed} --flips {flips} --cuts {cuts}`, {day}, on {machine}. The index has {} \
             files of together {} bytes. After each damage `indexer verify` must end with 1 and name the file; a new `server serve` must \
             refuse to start and name it, or answer: some 200 to 400 questions, for keys that the damaged page may hold and for others, are \
             compared with a plain scan of the table, and each reply is right or `unavailable`. Seconds of a flip or cut are those of its \
             trials, several of which run at once.\n",
            self.index.0,
            grouped(self.index.1),
        )?;
        for command in also {
            writeln!(out, "Also `{command}`, whose seconds stand in its first line.\n")?;
        }
        writeln!(out, "| fault | tried | survived as promised | seconds |\n| --- | ---: | ---: | ---: |")?;
        for row in &self.rows {
            let seconds = row.seconds.map_or_else(String::new, |seconds| format!("{seconds:.1}"));
            writeln!(out, "| {} | {} | {} | {seconds} |", row.what, grouped(row.tried), grouped(row.survived))?;
        }
        writeln!(
            out,
            "\n| what servers did | refused | `unavailable` in parts | all right | replies right | replies `unavailable` |"
        )?;
        writeln!(out, "| --- | ---: | ---: | ---: | ---: | ---: |")?;
        for row in self.rows.iter().filter(|row| row.served.refused + row.served.unavailable + row.served.right > 0) {
            let Served { refused, unavailable, right, replies } = row.served;
            writeln!(
                out,
                "| {} | {refused} | {unavailable} | {right} | {} | {} |",
                row.what,
                grouped(replies[0]),
                grouped(replies[1])
            )?;
        }
        self.faults().try_for_each(|fault| writeln!(out, "\n- Not survived: {fault}"))
    }
}
