//! `Run`: the requests of a batch, their replies, and what is asked again. What a line is and where it goes is the other modules' affair.

use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::ops::Range;
use std::time::Duration;

use anyhow::Result;
use balcao_client::{Answer, Answers, Client, Error, Limits, Question};
use indicatif::ProgressBar;

use super::input::{Group, Input};
use super::output::Output;
use super::pace::Pace;
use super::tally::{SEVERAL, Tally};
use crate::interrupt::Interrupt;
use crate::screen;

/// Batch requests in flight: enough to keep all of the server's threads busy while rows are written here.
const REQUESTS_TOGETHER: usize = 6;

/// How often a group is asked again because it or single items of it were `overloaded` or out of time, one after another.
const ROUNDS_MAX: u32 = 20;

/// The longest wait before such a round.
const OVERLOADED_WAIT_MAX: Duration = Duration::from_secs(10);

/// The wait where the server names none.
const OVERLOADED_WAIT: Duration = Duration::from_millis(250);

/// A run over one file.
pub(super) struct Run<'a> {
    pub(super) client: Client,
    pub(super) limits: Limits,
    /// What all questions have in common.
    pub(super) pattern: Question<'static>,
    pub(super) deadline_ms: Option<u32>,
    pub(super) is_first_only: bool,
    /// Print the reply lines.
    pub(super) json: bool,
    /// The reply that is being written.
    pub(super) answers: Answers,
    /// A page of one of its items.
    pub(super) page: Answers,
    pub(super) pace: Pace,
    pub(super) output: Output,
    pub(super) tally: Tally,
    pub(super) interrupt: &'a Interrupt,
}

/// A request that was sent, or none where no line of the group asks anything.
struct Asked {
    id: Option<u64>,
    /// Which of the group's items it has.
    items: Range<usize>,
}

/// What came of a request.
enum Reply {
    /// An answer for each item, in `answers`; whether there was time for all of them.
    Answers { in_time: bool },
    /// An error for all of them.
    Refused(String),
    /// It took the server too long: ask for fewer at once.
    TooLong,
    /// Its rows were too many for any of them to have room: the same.
    TooMany,
    /// The server is busy: ask again after a while.
    Overloaded(Duration),
}

/// What became of a line.
enum Settled {
    /// It is written.
    Yes,
    /// Its item has to be asked again: it had no room in the reply.
    NoRoom,
    /// The same, after a while, since the server is busy.
    Overloaded(Duration),
    /// The same, among fewer, since there was no time left for it.
    NoTime,
}

/// What is wanted of an answer's pages.
enum Pages {
    /// All rows; so many are written.
    All(u64),
    /// The first row, and whether it is the only one.
    First(First),
}

/// What the pages so far say of an answer's first row.
#[derive(Debug, Default)]
struct First {
    row: Option<Vec<String>>,
    /// Rows that came.
    rows: usize,
    /// Rows of all pages, where the server counted them.
    total: Option<u64>,
    /// Rows that there are at least.
    total_at_least: u64,
}

impl First {
    /// Learns from the next page.
    fn page(&mut self, answers: &Answers, answer: &Answer) {
        if self.row.is_none() {
            self.row = answers.rows(answer).next().map(|row| row.map(str::to_owned).collect());
        }
        self.rows += answer.len();
        self.total = self.total.or(answer.total);
        self.total_at_least = self.total_at_least.max(answer.total_at_least.unwrap_or_default());
    }

    /// Whether the row is one of several, as far as is known.
    fn has_several(&self) -> bool {
        self.rows > 1 || self.total.unwrap_or(self.total_at_least) > 1
    }

    /// Whether no further page would tell more.
    fn is_known(&self) -> bool {
        self.row.is_some() && (self.has_several() || self.total.is_some())
    }
}

impl Run<'_> {
    /// Asks about every line of `input`.
    pub(super) fn all(&mut self, input: &mut Input, bar: &ProgressBar) -> Result<()> {
        // Room is left for one request more: the rest of the group that is being settled.
        let together = self.limits.in_flight.saturating_sub(1).clamp(1, REQUESTS_TOGETHER);
        let mut flying: VecDeque<(Group, Asked)> = VecDeque::new();
        let mut idle: Vec<Group> = Vec::new();
        loop {
            while flying.len() < together {
                let mut group = idle.pop().unwrap_or_default();
                if !input.group(&mut group, &self.limits, self.pace.items(), &self.pattern)? {
                    break;
                }
                let asked = self.send(&group, 0..group.items.len())?;
                flying.push_back((group, asked));
            }
            let Some((group, asked)) = flying.pop_front() else {
                return Ok(());
            };
            self.interrupt.check()?;
            self.settle(&group, asked)?;
            idle.push(group);
            bar.set_position(input.bytes_read());
            if !bar.is_hidden() {
                bar.set_message(format!("{} lines, {:.0} a second", self.tally.lines(), self.tally.lines_per_second()));
            }
        }
    }

    /// Asks some of the items of `group` as one request.
    fn send(&mut self, group: &Group, items: Range<usize>) -> Result<Asked> {
        let id = if items.is_empty() {
            None
        } else {
            Some(self.client.send_items(&group.items, items.clone(), self.deadline_ms)?)
        };
        Ok(Asked { id, items })
    }

    /// Writes all lines of a group. What its request did not answer, for want of room or time, is asked again.
    fn settle(&mut self, group: &Group, mut asked: Asked) -> Result<()> {
        let mut lines = 0..group.len();
        let mut rounds_left = ROUNDS_MAX;
        let mut items_max = usize::MAX;
        loop {
            let mut item = asked.items.start;
            match self.reply(&asked)? {
                Reply::TooLong => {
                    self.pace.too_long(asked.items.len());
                    items_max = half(asked.items.len());
                }
                Reply::TooMany => items_max = half(asked.items.len()),
                Reply::Overloaded(wait) if rounds_left > 0 => {
                    rounds_left -= 1;
                    self.interrupt.sleep(wait)?;
                }
                reply => {
                    let settled_before = item;
                    let end = self.write(group, &mut lines, &mut item, &asked, &reply, rounds_left > 0)?;
                    if item > settled_before {
                        rounds_left = ROUNDS_MAX;
                    }
                    match end {
                        Settled::Overloaded(wait) => {
                            rounds_left -= 1;
                            self.interrupt.sleep(wait)?;
                        }
                        Settled::NoTime => {
                            rounds_left -= 1;
                            // As many as there was time for; where there was time for none, it may have been a moment's affair.
                            let in_time = item - settled_before;
                            items_max = if in_time > 0 { in_time } else { half(asked.items.len()) };
                            self.pace.too_long(2 * items_max);
                        }
                        Settled::Yes | Settled::NoRoom => {}
                    }
                    if matches!(reply, Reply::Answers { in_time: true }) {
                        self.pace.in_time(asked.items.len());
                        items_max = items_max.saturating_mul(2);
                    }
                }
            }
            if lines.start >= lines.end {
                return Ok(());
            }
            let end = group.items.len().min(item.saturating_add(items_max));
            asked = self.send(group, item..end)?;
        }
    }

    /// Waits for the reply to a request, and reads it.
    fn reply(&mut self, asked: &Asked) -> Result<Reply> {
        let Some(id) = asked.id else {
            return Ok(Reply::Answers { in_time: true });
        };
        let received = self.client.receive_id(id)?;
        if self.json {
            let stdout = io::stdout();
            let is_terminal = stdout.is_terminal();
            // Whoever reads the reply lines may stop; the file is wanted all the same.
            self.json = screen::reply_line(&received.line, is_terminal, &mut stdout.lock()).is_ok();
        }
        match self.client.answers(&received, &mut self.answers) {
            Ok(()) if self.answers.items().len() == asked.items.len() => {
                let rows = self.answers.items().iter().map(Answer::len).sum();
                self.pace.answered(asked.items.len(), rows);
                let is_late = |answer: &Answer| {
                    answer.refusal.as_ref().is_some_and(|refusal| refusal.code == "deadline_exceeded")
                };
                Ok(Reply::Answers { in_time: !self.answers.items().iter().any(is_late) })
            }
            Ok(()) => Err(self.client.unlike("a batch has another number of results than of items").into()),
            Err(Error::Server(refusal)) => Ok(match refusal.code.as_str() {
                "deadline_exceeded" if asked.items.len() > 1 => Reply::TooLong,
                "too_many_rows" if asked.items.len() > 1 => Reply::TooMany,
                "overloaded" => Reply::Overloaded(wait(refusal.retry_after_ms)),
                _ => Reply::Refused(refusal.code),
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes the `lines` that a reply settles, and moves on `lines` and `item` behind them; why it ended where it did.
    fn write(
        &mut self,
        group: &Group,
        lines: &mut Range<usize>,
        item: &mut usize,
        asked: &Asked,
        reply: &Reply,
        may_wait: bool,
    ) -> Result<Settled> {
        while lines.start < lines.end {
            let line = lines.start;
            if let Some(status) = group.settled(line) {
                self.status(group, line, status)?;
            } else {
                if *item >= asked.items.end {
                    return Ok(Settled::NoRoom);
                }
                let settled = match reply {
                    Reply::Refused(code) => self.status(group, line, code).map(|()| Settled::Yes),
                    Reply::Overloaded(_) => self.status(group, line, "overloaded").map(|()| Settled::Yes),
                    _ => self.answer(group, line, *item - asked.items.start, asked, may_wait),
                }?;
                if !matches!(settled, Settled::Yes) {
                    return Ok(settled);
                }
                *item += 1;
            }
            self.output.settle();
            lines.start += 1;
        }
        Ok(Settled::Yes)
    }

    /// Writes one line with the answer at `place` in the reply, all pages of it.
    fn answer(&mut self, group: &Group, line: usize, place: usize, asked: &Asked, may_wait: bool) -> Result<Settled> {
        let Some(answer) = self.answers.items().get(place) else {
            return Ok(Settled::NoRoom);
        };
        if let Some(refusal) = &answer.refusal {
            match refusal.code.as_str() {
                // The first item had the batch's rows to itself: asked again, it would end as it did.
                "too_many_rows" if place > 0 => return Ok(Settled::NoRoom),
                // The same of one that was asked alone.
                "deadline_exceeded" if may_wait && asked.items.len() > 1 => return Ok(Settled::NoTime),
                "overloaded" if may_wait => return Ok(Settled::Overloaded(wait(refusal.retry_after_ms))),
                _ => {}
            }
            let code = refusal.code.clone();
            return self.status(group, line, &code).map(|()| Settled::Yes);
        }
        if answer.has_wrong_check_digits {
            self.tally.wrong_check_digits();
        }
        let cells = group.cells(line);
        if self.is_first_only {
            let mut first = First::default();
            first.page(&self.answers, answer);
            match answer.next.clone() {
                Some(next) if !first.is_known() => self.pages(group, line, &next, Pages::First(first))?,
                _ => self.first(group, line, &first)?,
            }
            return Ok(Settled::Yes);
        }
        for row in self.answers.rows(answer) {
            self.output.row(cells, "ok", row)?;
        }
        let shown = answer.len() as u64;
        match answer.next.clone() {
            Some(next) => self.pages(group, line, &next, Pages::All(shown))?,
            None => self.end(group, line, shown)?,
        }
        Ok(Settled::Yes)
    }

    /// Reads the pages behind the first of an answer, and writes what is wanted of them.
    fn pages(&mut self, group: &Group, line: usize, next: &str, mut pages: Pages) -> Result<()> {
        let Some(question) = group.question(line, &self.pattern) else {
            return Ok(());
        };
        let limit = if self.is_first_only { self.pattern.limit } else { Some(self.limits.limit_max) };
        let question = Question { limit, cursor: Some(next), deadline_ms: self.deadline_ms, ..question };
        let cells = group.cells(line);
        let mut ahead = self.client.ahead(&question)?;
        while let Some(page) = ahead.next() {
            self.interrupt.check()?;
            let read = page.and_then(|page| ahead.client().answers(&page.received, &mut self.page));
            match read {
                Ok(()) => {}
                Err(Error::Server(refusal)) => {
                    drop(ahead);
                    if let Pages::First(First { row: Some(row), .. }) = &pages {
                        self.output.row(group.cells(line), "ok", row.iter().map(String::as_str))?;
                    }
                    return self.status(group, line, &refusal.code);
                }
                Err(error) => return Err(error.into()),
            }
            for answer in self.page.items() {
                match &mut pages {
                    Pages::All(shown) => {
                        for row in self.page.rows(answer) {
                            self.output.row(cells, "ok", row)?;
                        }
                        *shown += answer.len() as u64;
                    }
                    Pages::First(first) => first.page(&self.page, answer),
                }
            }
            if matches!(&pages, Pages::First(first) if first.is_known()) {
                break;
            }
        }
        drop(ahead);
        match pages {
            Pages::All(shown) => self.end(group, line, shown),
            Pages::First(first) => self.first(group, line, &first),
        }
    }

    /// Ends a line of which only the first row is wanted.
    fn first(&mut self, group: &Group, line: usize, first: &First) -> Result<()> {
        let Some(row) = &first.row else {
            return self.status(group, line, "none");
        };
        let has_several = first.has_several();
        let status = if has_several { SEVERAL } else { "ok" };
        self.output.row(group.cells(line), status, row.iter().map(String::as_str))?;
        self.tally.found(has_several);
        Ok(())
    }

    /// Ends a line of which `shown` rows are written.
    fn end(&mut self, group: &Group, line: usize, shown: u64) -> Result<()> {
        if shown == 0 {
            return self.status(group, line, "none");
        }
        self.tally.found(shown > 1);
        Ok(())
    }

    fn status(&mut self, group: &Group, line: usize, status: &str) -> Result<()> {
        self.output.status(group.cells(line), status, self.answers.columns().len())?;
        self.tally.status(status);
        Ok(())
    }
}

/// The half of so many items, and at least one.
fn half(items: usize) -> usize {
    (items / 2).max(1)
}

/// The wait that a busy server asks for, within its bounds.
fn wait(retry_after_ms: Option<u64>) -> Duration {
    retry_after_ms.map_or(OVERLOADED_WAIT, Duration::from_millis).min(OVERLOADED_WAIT_MAX)
}
