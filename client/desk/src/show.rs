//! `Show`: answers on standard output, as a table, as the reply lines or as CSV, and beside them how many rows there are.
//!
//! Nothing is kept of a page once it is written, and while one is written the next is under way.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use anyhow::{Context, Result};
use balcao_client::{Ahead, Answers, Arrived, Client, Error, Outline, Page, Question, Received};
use serde_json::Value;

use crate::args::Form;
use crate::interrupt::Interrupt;
use crate::progress::Rows as Progress;
use crate::screen::{self, UNWRITTEN};
use crate::sheet::Sheet;
use crate::table::Rows;

/// Bytes that are written at once: about a page of a thousand rows.
const BUFFER_BYTES: usize = 128 << 10;

/// The column that tells how far a row is from the question; its place is behind the registry's own.
const DISTANCE: &str = "distance";

/// What is shown of answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct What {
    /// Every page.
    pub(crate) all: bool,
    pub(crate) form: Form,
    /// Say how many rows there are even where all of them are shown.
    pub(crate) counts: bool,
    /// Answers tell distances.
    pub(crate) distances: bool,
}

/// Where answers go, and what became of them.
pub(crate) struct Show<'a> {
    out: BufWriter<StdoutLock<'static>>,
    is_terminal: bool,
    what: What,
    table: Rows,
    sheet: Sheet,
    /// The page that is being written, where it is read cell by cell.
    answers: Answers,
    interrupt: &'a Interrupt,
    /// The argument that is being answered, from 1; none where there is only one.
    position: Option<usize>,
    has_failed: bool,
}

impl<'a> Show<'a> {
    /// Rows will have `columns`.
    pub(crate) fn new(what: What, columns: Vec<String>, interrupt: &'a Interrupt) -> Self {
        let stdout = io::stdout().lock();
        let is_terminal = stdout.is_terminal();
        Self {
            out: BufWriter::with_capacity(BUFFER_BYTES, stdout),
            is_terminal,
            what,
            table: Rows::new(is_terminal && screen::is_colour_welcome()),
            sheet: Sheet::new(b','),
            answers: Answers::new(columns),
            interrupt,
            position: None,
            has_failed: false,
        }
    }

    /// Whether a question was not answered.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Which argument is answered next, from 1.
    pub(crate) fn place(&mut self, position: Option<usize>) {
        self.position = position;
    }

    /// Writes what stands above all answers.
    pub(crate) fn begin(&mut self) -> Result<()> {
        if self.what.form != Form::Csv {
            return Ok(());
        }
        for column in self.answers.columns() {
            self.sheet.cell(column.as_bytes());
        }
        if self.what.distances {
            let columns = self.answers.columns();
            self.sheet.cell(distance(|name| columns.iter().any(|column| column == name)).as_bytes());
        }
        self.sheet.end();
        self.sheet.write(&mut self.out).and_then(|()| self.out.flush()).context(UNWRITTEN)
    }

    /// Shows an answer: its first page, and the others where all are wanted.
    pub(crate) fn answer(&mut self, client: &mut Client, question: &Question<'_>, received: Received) -> Result<()> {
        let arrived = match client.arrived(received) {
            Ok(arrived) => arrived,
            Err(error) => return self.refused(error, 0),
        };
        let first = arrived.outline.clone();
        if first.has_wrong_check_digits {
            screen::warning(&self.placed(screen::WRONG_CHECK_DIGITS));
        }
        let Some(cursor) = first.next.as_deref().filter(|_| self.what.all) else {
            self.page(client, arrived)?;
            return self.close(first.rows, &first);
        };
        match client.ahead(&Question { cursor: Some(cursor), ..question.clone() }) {
            Ok(ahead) => self.pages(ahead, arrived),
            Err(error) => self.refused(error, 0),
        }
    }

    /// Asks, and shows every page of the answer.
    pub(crate) fn every_page(&mut self, client: &mut Client, question: &Question<'_>) -> Result<()> {
        let mut ahead = match client.ahead(question) {
            Ok(ahead) => ahead,
            Err(error) => return self.refused(error, 0),
        };
        match ahead.next() {
            Some(Ok(first)) => self.pages(ahead, first),
            Some(Err(error)) => self.refused(error, 0),
            None => Ok(()),
        }
    }

    /// Writes `first` and all pages behind it.
    fn pages(&mut self, mut ahead: Ahead<'_>, first: Arrived) -> Result<()> {
        let progress = Progress::start(&first.outline, self.is_terminal);
        let mut shown = 0;
        let mut arrived = Some(Ok(first));
        let broken_off = loop {
            match arrived {
                None => break None,
                Some(Err(error)) => break Some(error),
                Some(Ok(page)) => {
                    let rows = page.outline.rows;
                    self.page(ahead.client(), page)?;
                    shown += rows;
                    progress.rows(shown);
                }
            }
            arrived = ahead.next();
        };
        drop(progress);
        match broken_off {
            None => self.close(shown, &Outline::default()),
            Some(error) => self.refused(error, shown),
        }
    }

    /// Writes one page, whole unless the user wants an end before it begins.
    fn page(&mut self, client: &Client, page: Arrived) -> Result<()> {
        self.interrupt.check()?;
        match self.what.form {
            Form::Json => screen::reply_line(&page.received.line, self.is_terminal, &mut self.out),
            Form::Csv => {
                client.answers(&page.received, &mut self.answers)?;
                self.cells()
            }
            Form::Table => {
                let page = client.page(page.received)?;
                self.table.write(&with_distances(page), &mut self.out)
            }
        }
        .and_then(|()| self.out.flush())
        .context(UNWRITTEN)
    }

    /// Writes the page that was read into `answers`.
    fn cells(&mut self) -> io::Result<()> {
        let Some(answer) = self.answers.items().first() else { return Ok(()) };
        let mut distances = self.answers.distances(answer).unwrap_or_default().iter();
        for row in self.answers.rows(answer) {
            for cell in row {
                self.sheet.cell(cell.as_bytes());
            }
            if self.what.distances {
                let distance = distances.next().map(u8::to_string).unwrap_or_default();
                self.sheet.cell(distance.as_bytes());
            }
            self.sheet.end();
        }
        self.sheet.write(&mut self.out)
    }

    /// Says what the rows themselves do not: that there was nothing, or that there is more. `last` is the outline of what was shown last.
    fn close(&mut self, shown: u64, last: &Outline) -> Result<()> {
        let is_whole = last.next.is_none();
        if self.what.form == Form::Json {
            return Ok(());
        }
        if shown == 0 && is_whole {
            let text = self.placed("no row");
            if self.what.form == Form::Csv {
                screen::note(&text);
                return Ok(());
            }
            writeln!(self.out, "{text}").and_then(|()| self.out.flush()).context(UNWRITTEN)?;
        } else if !is_whole || self.what.counts {
            screen::note(&self.placed(&footer(shown, last)));
        }
        Ok(())
    }

    /// An answer that did not come, or broke off after `shown` rows. What the server says of one question does not stop the others; the
    /// rest does.
    fn refused(&mut self, error: Error, shown: u64) -> Result<()> {
        let Some(refusal) = error.refusal() else {
            let error = anyhow::Error::from(error);
            return Err(if shown > 0 { error.context(broken_off(shown)) } else { error });
        };
        if self.what.form == Form::Json {
            screen::reply_line(&refusal.line, self.is_terminal, &mut self.out)
                .and_then(|()| self.out.flush())
                .context(UNWRITTEN)?;
        }
        if shown > 0 {
            self.has_failed = true;
            screen::error(&self.placed(&format!("{}: {error}", broken_off(shown))));
        } else {
            self.failed(&error);
        }
        Ok(())
    }

    /// Says of one argument that there is no answer to it.
    pub(crate) fn failed(&mut self, error: &Error) {
        self.has_failed = true;
        screen::error(&self.placed(&error.to_string()));
    }

    /// `text`, and which of several arguments it is about.
    fn placed(&self, text: &str) -> String {
        self.position.map_or_else(|| text.to_owned(), |n| format!("value {n}: {text}"))
    }
}

/// The rows of a page, each with its distance where the page tells them.
fn with_distances(page: Page) -> Vec<balcao_client::Row> {
    let mut rows = page.rows;
    let name = distance(|name| rows.first().is_some_and(|row| row.contains_key(name)));
    for (row, distance) in rows.iter_mut().zip(page.distances.unwrap_or_default()) {
        row.insert(name.clone(), Value::from(distance));
    }
    rows
}

/// The name of the column of distances: where the registry has one of that name, with as many `_` behind it as it takes.
fn distance(is_taken: impl Fn(&str) -> bool) -> String {
    let mut name = DISTANCE.to_owned();
    // A registry has a bounded number of columns, so that this ends.
    while is_taken(&name) {
        name.push('_');
    }
    name
}

fn plural(n: u64) -> &'static str {
    if n == 1 { "row" } else { "rows" }
}

fn broken_off(shown: u64) -> String {
    format!("the answer broke off after {shown} {}, which are no whole answer", plural(shown))
}

fn footer(shown: u64, last: &Outline) -> String {
    let short = if last.is_bounded { "; the server stopped looking for this page before it was full" } else { "" };
    match (last.total, last.total_at_least) {
        _ if last.next.is_none() => format!("{shown} {}", plural(shown)),
        (Some(total), _) => format!("{shown} of {total} {}; --all shows every one{short}", plural(total)),
        (None, Some(total)) => {
            format!("{shown} of at least {total} {}; --all shows every one{short}", plural(total))
        }
        (None, None) => format!("{shown} {}, and there are more; --all shows every one{short}", plural(shown)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(shown: u64, total: Option<u64>, total_at_least: Option<u64>, is_whole: bool, expected: &str) {
        let mut last = Outline::default();
        (last.total, last.total_at_least) = (total, total_at_least);
        last.next = (!is_whole).then(|| "c".to_owned());
        assert_eq!(footer(shown, &last), expected);
        last.is_bounded = true;
        assert_eq!(footer(shown, &last).contains("stopped looking"), !is_whole);
    }

    #[test]
    fn footers_say_what_is_missing() {
        check(50, Some(812), None, false, "50 of 812 rows; --all shows every one");
        check(50, None, Some(812), false, "50 of at least 812 rows; --all shows every one");
        check(50, None, None, false, "50 rows, and there are more; --all shows every one");
        check(1, Some(1), None, true, "1 row");
        check(812, Some(812), None, true, "812 rows");
    }

    #[test]
    fn a_registry_may_have_a_column_of_that_name() {
        assert_eq!(distance(|_| false), "distance");
        assert_eq!(distance(|name| ["distance", "distance_"].contains(&name)), "distance__");
    }
}
