//! Commands of others, mostly tests, that print what they tried: their lines come into the table.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, ensure};

use super::report::Row;
use crate::processes;

/// What such a line begins with, or what stands in it behind the name of a test.
const MARK: &str = "fault table: ";

/// Runs a shell command; a row for each of its lines `fault table: WHAT: N tried, N survived`. Their seconds are those of the whole command.
pub(crate) fn run(command: &str) -> anyhow::Result<Vec<Row>> {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).stdin(Stdio::null());
    let started = Instant::now();
    let printed = processes::output(shell).with_context(|| format!("`{command}` failed"))?;
    let mut rows: Vec<Row> = printed.lines().filter_map(read).collect();
    ensure!(!rows.is_empty(), "`{command}` printed no line `{MARK}WHAT: N tried, N survived`");
    rows[0].seconds = Some(started.elapsed().as_secs_f64());
    Ok(rows)
}

fn read(line: &str) -> Option<Row> {
    let (_, told) = line.split_once(MARK)?;
    let (what, counts) = told.rsplit_once(": ")?;
    let (tried, survived) = counts.split_once(" tried, ")?;
    let number = |text: &str| text.trim().replace(',', "").parse().ok();
    let survived = number(survived.trim().strip_suffix(" survived")?)?;
    Some(Row { what: what.to_owned(), tried: number(tried)?, survived, ..Row::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let row = read("test a::b ... fault table: kills: while writing: 250 tried, 249 survived").unwrap();
        assert_eq!((row.what.as_str(), row.tried, row.survived), ("kills: while writing", 250, 249));
        for line in
            ["", "kills: 1 tried, 1 survived", "fault table: kills: 1 tried", "fault table: x: a tried, 1 survived"]
        {
            assert!(read(line).is_none(), "{line}");
        }
    }

    #[test]
    fn a_command_without_a_line_is_refused() {
        let rows =
            run("echo x; echo 'fault table: a: 2 tried, 1 survived'; echo 'fault table: b: 3 tried, 3 survived'")
                .unwrap();
        assert_eq!(rows.iter().map(|row| row.tried).collect::<Vec<_>>(), [2, 3]);
        assert!(rows[0].seconds.is_some() && rows[1].seconds.is_none());
        assert!(run("echo nothing").is_err());
        assert!(run("echo 'fault table: a: 2 tried, 2 survived'; exit 3").is_err());
    }
}
