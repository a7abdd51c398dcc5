//! `client cpf` and `client nome`: one question or a few, and their rows on standard output.
//!
//! Questions go out together and are shown in the order given. Nothing is kept of a page once it is written.

use std::collections::VecDeque;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use anyhow::{Context, Result};
use balcao_client::{Client, Error, Page, Question, Received, by_cpf, by_name};

use crate::args::{Cpf, Nome, Paging};
use crate::screen;
use crate::table::Rows;

/// What to say when rows cannot be written; a closed pipe is passed over in `main`.
const UNWRITTEN: &str = "cannot write to standard output; make room where it leads";

/// Asks for each CPF; whether every one was answered.
pub(crate) fn cpf(client: &mut Client, args: &Cpf, json: bool) -> Result<bool> {
    let mut show = Show::new(args.paging.all, json, false);
    let limit = page_rows(client, args.paging)?;
    let questions: Vec<Question<'_>> = args.values.iter().map(|value| by_cpf(value, limit)).collect();
    // Room is left for one question more: the next page of what is being shown.
    let together = client.limits()?.in_flight.saturating_sub(1).max(1);
    let mut sent = VecDeque::new();
    let mut unsent = questions.iter();
    for (n, question) in questions.iter().enumerate() {
        while sent.len() < together
            && let Some(question) = unsent.next()
        {
            sent.push_back(match client.send(question) {
                Err(Error::QuestionTooLong { bytes, limit }) => Err(Error::QuestionTooLong { bytes, limit }),
                sent => Ok(sent?),
            });
        }
        show.position = (questions.len() > 1).then_some(n + 1);
        match sent.pop_front() {
            Some(Ok(id)) => {
                let received = client.receive_id(id)?;
                show.answer(client, question, received)?;
            }
            Some(Err(error)) => show.failed(&error),
            None => break,
        }
    }
    Ok(!show.has_failed)
}

/// Asks for a name; whether it was answered.
pub(crate) fn nome(client: &mut Client, args: &Nome, json: bool) -> Result<bool> {
    let mut show = Show::new(args.paging.all, json, true);
    let limit = page_rows(client, args.paging)?;
    let question = by_name(&args.text, Some(args.how.into()), limit);
    let received = client.ask(&question)?;
    show.answer(client, &question, received)?;
    Ok(!show.has_failed)
}

/// Rows of a page: as the user said; else as many as the server gives where all are wanted, and its default where not.
fn page_rows(client: &mut Client, paging: Paging) -> Result<Option<usize>> {
    let most = client.limits()?.limit_max;
    Ok(match paging.limit {
        None if paging.all => Some(most),
        limit => limit,
    })
}

/// Where answers go, and what became of them.
struct Show {
    out: BufWriter<StdoutLock<'static>>,
    is_terminal: bool,
    json: bool,
    all: bool,
    counts: bool,
    table: Rows,
    /// The argument that is being answered, from 1; none where there is only one.
    position: Option<usize>,
    has_failed: bool,
}

impl Show {
    /// `counts`: say how many rows there are even where all of them are shown.
    fn new(all: bool, json: bool, counts: bool) -> Self {
        let stdout = io::stdout().lock();
        let is_terminal = stdout.is_terminal();
        Self {
            out: BufWriter::new(stdout),
            is_terminal,
            json,
            all,
            counts,
            table: Rows::new(is_terminal && screen::is_colour_welcome()),
            position: None,
            has_failed: false,
        }
    }

    /// Shows an answer: its first page, and the others where all are wanted.
    fn answer(&mut self, client: &mut Client, question: &Question<'_>, received: Received) -> Result<()> {
        let first = match client.page(received) {
            Ok(page) => page,
            Err(error) => return self.refused(error),
        };
        self.page(&first)?;
        if first.warning.as_deref() == Some("check_digits") {
            let text =
                "the check digits of this CPF do not hold; it was looked up as it is, so look for a typing error";
            screen::warning(&self.placed(text));
        }
        let mut shown = first.rows.len() as u64;
        let mut is_whole = true;
        match first.next {
            Some(cursor) if self.all => {
                for page in client.pages_after(question, cursor) {
                    match page {
                        Ok(page) => {
                            self.page(&page)?;
                            shown += page.rows.len() as u64;
                        }
                        Err(error) => return self.refused(error),
                    }
                }
            }
            next => is_whole = next.is_none(),
        }
        self.close(shown, first.total, is_whole)
    }

    fn page(&mut self, page: &Page) -> Result<()> {
        let written = if self.json { self.line(&page.line) } else { self.table.write(&page.rows, &mut self.out) };
        written.and_then(|()| self.out.flush()).context(UNWRITTEN)
    }

    /// A reply line: as it came, but a terminal is not to obey it.
    fn line(&mut self, line: &str) -> io::Result<()> {
        if self.is_terminal {
            writeln!(self.out, "{}", screen::printable_json(line))
        } else {
            writeln!(self.out, "{line}")
        }
    }

    /// Says what the table itself does not: that there was nothing, or that there is more.
    fn close(&mut self, shown: u64, total: Option<u64>, is_whole: bool) -> Result<()> {
        if self.json {
            return Ok(());
        }
        if shown == 0 && is_whole {
            let text = self.placed("no row");
            writeln!(self.out, "{text}").and_then(|()| self.out.flush()).context(UNWRITTEN)?;
        } else if !is_whole || self.counts {
            screen::note(&self.placed(&footer(shown, total, is_whole)));
        }
        Ok(())
    }

    /// An answer that did not come. What the server says of one question does not stop the others; the rest does.
    fn refused(&mut self, error: Error) -> Result<()> {
        let Some(refusal) = error.refusal() else {
            return Err(error.into());
        };
        if self.json {
            self.line(&refusal.line).and_then(|()| self.out.flush()).context(UNWRITTEN)?;
        }
        self.failed(&error);
        Ok(())
    }

    fn failed(&mut self, error: &Error) {
        self.has_failed = true;
        screen::error(&self.placed(&error.to_string()));
    }

    /// `text`, and which of several arguments it is about.
    fn placed(&self, text: &str) -> String {
        self.position.map_or_else(|| text.to_owned(), |n| format!("value {n}: {text}"))
    }
}

fn footer(shown: u64, total: Option<u64>, is_whole: bool) -> String {
    let rows = |n: u64| if n == 1 { "row" } else { "rows" };
    match total {
        _ if is_whole => format!("{shown} {}", rows(shown)),
        Some(total) => format!("{shown} of {total} {}; --all shows every one", rows(total)),
        None => format!("{shown} {}, and there are more; --all shows every one", rows(shown)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn footers_say_what_is_missing() {
        for (shown, total, is_whole, expected) in [
            (50, Some(812), false, "50 of 812 rows; --all shows every one"),
            (50, None, false, "50 rows, and there are more; --all shows every one"),
            (1, Some(1), true, "1 row"),
            (812, Some(812), true, "812 rows"),
        ] {
            assert_eq!(footer(shown, total, is_whole), expected);
        }
    }
}
