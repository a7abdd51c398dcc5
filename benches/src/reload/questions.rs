//! The questions, and what every reply must be, byte for byte but for its `id` and the rows' marks: out of a scan of the table by the oracle's
//! reading. And the check: all marks of a reply are one, and that version was to be had while the question was on its way.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use serde_json::{Map, Value, json};

use super::versions::{MARK_DIGITS, MARKED, mark, read_mark};
use crate::load::{Answered, Check};
use crate::oracle::reading::check_digits_hold;
use crate::oracle::scan::{Cell, Table};
use crate::rng::Rng;

/// Questions by CPF.
const CPFS: usize = 40_000;

/// Questions by the beginning of a name: one in five.
const PREFIXES: usize = 10_000;

/// Rows of a reply. Those of more than eight go through the server's queue.
const ROWS_MAX: usize = 20;

/// Every question's reply, with the marks left open.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    /// Replies behind their `id`, one after the other, with the mark of version 0.
    text: Vec<u8>,
    /// Where each ends, and how many marks there are up to there.
    ends: Vec<(usize, usize)>,
    /// Where the marks begin, counted from their reply's beginning.
    marks: Vec<u32>,
}

impl Questions {
    /// Draws the questions and writes them into `path` as the load generator reads them.
    pub(crate) fn draw(table: &Table, seed: u64, path: &Path) -> anyhow::Result<Self> {
        let (mut questions, mut lines) = (Self::default(), String::new());
        let mut rng = Rng::new(seed, 3);
        let mut drawn = 0;
        // Rows that are dirty are the oracle's business: here a row is compared as it stands.
        while drawn < CPFS {
            let at = rng.below(table.cpfs.keys.len());
            let (cpf, rows) = (&table.cpfs.keys[at], table.cpfs.of(at));
            if questions.add(table, rows, !check_digits_hold(cpf)) {
                writeln!(lines, "{cpf}\t{}", rows.len())?;
            }
            drawn += 1;
        }
        while drawn < CPFS + PREFIXES {
            let name = rng.pick(&table.names.keys);
            let letters = name.chars().count();
            let prefix: String = name.chars().take(rng.between(letters / 2, letters).max(1)).collect();
            let prefix = prefix.trim_end();
            let rows = table.names.starting_with(prefix);
            if questions.add(table, rows, false) {
                writeln!(lines, "{}\t{}", json!({"nome": prefix}), rows.len())?;
            }
            drawn += 1;
        }
        ensure!(questions.ends.len() > (CPFS + PREFIXES) / 2, "too few rows of the registry are clean");
        std::fs::write(path, lines).context("cannot write the file of questions")?;
        Ok(questions)
    }

    /// Adds the reply with these rows; `false` where there are too many, or one is not plain text throughout.
    fn add(&mut self, table: &Table, rows: &[u32], warning: bool) -> bool {
        let shown: Option<Vec<Value>> = rows.iter().map(|&row| shown(table, row)).collect();
        let Some(shown) = shown.filter(|rows| (1..=ROWS_MAX).contains(&rows.len())) else { return false };
        let mut reply = json!({"status": "ok", "rows": shown, "total": rows.len(), "next": null});
        if warning {
            reply["warning"] = "check_digits".into();
        }
        let reply = format!(",{}\n", &reply.to_string()[1..]);
        let member = format!("\"{MARKED}\":\"");
        let marks = reply.match_indices(&member).map(|(at, member)| (at + member.len()) as u32);
        self.marks.extend(marks);
        self.text.extend_from_slice(reply.as_bytes());
        self.ends.push((self.text.len(), self.marks.len()));
        true
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The version that all rows of a reply are of.
    fn version_of(&self, question: usize, reply: &[u8]) -> Result<usize, &'static str> {
        let (text_start, mark_start) = if question == 0 { (0, 0) } else { self.ends[question - 1] };
        let (text_end, mark_end) = self.ends[question];
        let (expected, marks) = (&self.text[text_start..text_end], &self.marks[mark_start..mark_end]);
        let behind_id = reply.iter().position(|&byte| byte == b',').map(|at| &reply[at..]);
        let got = behind_id.filter(|got| got.len() == expected.len()).ok_or("wrong")?;
        let (mut version, mut at) = (None, 0);
        for &mark in marks {
            let mark = mark as usize;
            if got[at..mark] != expected[at..mark] {
                return Err("wrong");
            }
            at = mark + MARK_DIGITS;
            let read = read_mark(&got[mark..at]).ok_or("wrong")?;
            if *version.get_or_insert(read) != read {
                return Err("mixed");
            }
        }
        if got[at..] != expected[at..] {
            return Err("wrong");
        }
        version.ok_or("wrong")
    }
}

/// A row as the protocol shows it, with the mark of version 0; `None` where it is not plain text throughout.
fn shown(table: &Table, row: u32) -> Option<Value> {
    let mut members = Map::new();
    for (column, cell) in table.columns.iter().zip(&table.rows[row as usize].cells) {
        let Cell::Text(text) = cell else { return None };
        if text.chars().any(|c| c.is_control() || matches!(c, '"' | '\\' | '\u{fffd}')) {
            return None;
        }
        let text = if column == MARKED { mark(0).into() } else { Value::from(text.as_ref()) };
        members.insert(column.clone(), text);
    }
    Some(members.into())
}

/// When which version was to be had, in microseconds since the run began.
#[derive(Debug)]
pub(crate) struct Calendar {
    began: Instant,
    /// For each version: not before the first, and not to a question asked after the second.
    times: Vec<[AtomicU64; 2]>,
}

impl Calendar {
    /// Nothing is served yet.
    pub(crate) fn new(versions: usize) -> Self {
        let never = || [AtomicU64::new(u64::MAX), AtomicU64::new(u64::MAX)];
        Self { began: Instant::now(), times: (0..=versions).map(|_| never()).collect() }
    }

    /// From now on the version may be answered.
    pub(crate) fn may_begin(&self, version: usize) {
        self.times[version][0].store(self.at(Instant::now()), Ordering::SeqCst);
    }

    /// Questions that are asked from now on are answered from another version.
    pub(crate) fn has_ended(&self, version: usize) {
        self.times[version][1].store(self.at(Instant::now()), Ordering::SeqCst);
    }

    fn at(&self, instant: Instant) -> u64 {
        instant.saturating_duration_since(self.began).as_micros() as u64
    }

    fn judge(&self, version: usize, asked: Instant, answered: Instant) -> Result<(), &'static str> {
        let [from, until] = self.times.get(version).ok_or("wrong")?;
        if self.at(answered) < from.load(Ordering::SeqCst) {
            return Err("too_new");
        }
        if self.at(asked) > until.load(Ordering::SeqCst) { Err("too_old") } else { Ok(()) }
    }
}

/// Judges every good reply.
#[derive(Debug)]
pub(crate) struct Judge<'a> {
    pub(crate) questions: &'a Questions,
    pub(crate) calendar: &'a Calendar,
}

impl Check for Judge<'_> {
    fn check(&self, answered: &Answered<'_>) -> Result<(), &'static str> {
        let version = self.questions.version_of(answered.question, answered.reply)?;
        self.calendar.judge(version, answered.asked, answered.answered)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::table::Registry;

    #[test]
    fn a_reply_is_of_one_version_or_wrong() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let sql = "CREATE TABLE cpf(cpf TEXT, nome TEXT, nasc TEXT);
            INSERT INTO cpf VALUES ('1', 'ANA', '00000001'), ('2', 'ÂNA', '00000001'), ('3', NULL, 'x');";
        rusqlite::Connection::open(file.path()).unwrap().execute_batch(sql).unwrap();
        let table = Table::scan(&Registry::new(file.path())).unwrap();
        let mut questions = Questions::default();
        assert!(questions.add(&table, &[0], true) && questions.add(&table, &[0, 1], false));
        assert!(!questions.add(&table, &[2], false) && !questions.add(&table, &[], false));
        let row = |cpf: &str, nome: &str, nasc: &str| json!({"cpf": cpf, "nome": nome, "nasc": nasc});
        #[track_caller]
        fn check(questions: &Questions, rows: &[Value; 2], expected: Result<usize, &str>) {
            let reply = format!("{}\n", json!({"id": 77, "status": "ok", "rows": rows, "total": 2, "next": null}));
            assert_eq!(questions.version_of(1, reply.as_bytes()), expected);
        }
        let [ana, other] = [row("1", "ANA", "00000003"), row("2", "ÂNA", "00000003")];
        check(&questions, &[ana.clone(), other.clone()], Ok(3));
        check(&questions, &[ana.clone(), row("2", "ÂNA", "00000004")], Err("mixed"));
        check(&questions, &[other, ana.clone()], Err("wrong"));
        check(&questions, &[ana, row("2", "ANÂ", "00000003")], Err("wrong"));
    }

    #[test]
    fn a_version_has_its_time() {
        let mut calendar = Calendar::new(2);
        calendar.times[1] = [AtomicU64::new(5_000), AtomicU64::new(9_000)];
        let judge = |version, asked, answered| {
            let moment = |ms| calendar.began + Duration::from_millis(ms);
            calendar.judge(version, moment(asked), moment(answered))
        };
        assert_eq!(judge(1, 1, 4), Err("too_new"));
        assert_eq!(judge(1, 1, 5), Ok(()));
        assert_eq!(judge(1, 9, 20), Ok(()));
        assert_eq!(judge(1, 10, 20), Err("too_old"));
        assert_eq!(judge(2, 10, 20), Err("too_new"));
        assert_eq!(judge(3, 10, 20), Err("wrong"));
    }
}
