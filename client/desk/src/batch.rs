//! `client batch`: a CSV file of CPFs and names in, the same lines with their rows out.
//!
//! Lines are grouped into `op: batch` requests that keep to the server's limits, a few of them in flight. What is held at any time is
//! those groups and one page, however long the file is. Lines are written in order, so a group is settled whole before the next one.

mod input;
mod output;
mod tally;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use balcao_client::{Client, Error, Limits, Name, Page, Question, Reply};
use indicatif::{ProgressBar, ProgressStyle};

use crate::args;
use crate::screen;
use input::{Input, Line};
use output::Output;
use tally::Tally;

/// Batch requests in flight: enough to keep the server busy while rows are written here.
const REQUESTS_TOGETHER: usize = 4;

/// How often a group is asked again because single items of it were `overloaded`.
const OVERLOADED_ROUNDS: u32 = 20;

/// The longest wait before such a round.
const OVERLOADED_WAIT_MAX: Duration = Duration::from_secs(10);

/// Answers each line of a file; whether none got an error code. `connect` is called once the files are known to be usable.
pub(crate) fn run(connect: impl FnOnce() -> Result<Client, Error>, args: &args::Batch, json: bool) -> Result<bool> {
    let shown = args.input.display();
    let advice = || format!("cannot read {shown}; name a CSV file that is there and readable");
    let file = File::open(&args.input).with_context(advice)?;
    let bytes = file.metadata().with_context(advice)?.len();
    output::check(&args.input, &args.out)?;
    let mut input = Input::open(file, args.how.into()).with_context(|| format!("{shown} cannot be asked"))?;
    let output = Output::create(&args.out, input.separator())?;
    let mut client = connect()?;
    let hello = client.hello()?;
    let mut batch = Batch {
        client,
        limits: hello.limits,
        how: args.how.into(),
        json,
        columns: hello.columns,
        output,
        tally: Tally::start(),
    };
    batch.output.header(input.header(), &batch.columns)?;
    let bar = progress(bytes);
    let done = batch.all(&mut input, &bar);
    bar.finish_and_clear();
    done?;
    batch.output.publish()?;
    screen::note(&batch.tally.summary());
    for remark in input.remarks() {
        screen::warning(&remark);
    }
    Ok(batch.tally.errors() == 0)
}

/// A bar over the bytes of the input, for a person who waits.
fn progress(bytes: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {percent}% {bytes}/{total_bytes}, {eta} left");
    ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A run over one file.
struct Batch {
    client: Client,
    limits: Limits,
    how: Name,
    json: bool,
    columns: Vec<String>,
    output: Output,
    tally: Tally,
}

impl Batch {
    fn all(&mut self, input: &mut Input<File>, bar: &ProgressBar) -> Result<()> {
        // Room is left for one request more: the rest of the group that is being settled.
        let together = self.limits.in_flight.saturating_sub(1).clamp(1, REQUESTS_TOGETHER);
        let mut flying = VecDeque::new();
        loop {
            while flying.len() < together {
                let Some(group) = input.group(&self.limits)? else {
                    break;
                };
                let asked = self.send(&group, usize::MAX)?;
                flying.push_back((group, asked));
            }
            let Some((group, asked)) = flying.pop_front() else {
                return Ok(());
            };
            self.settle(&group, asked)?;
            bar.set_position(input.bytes_read());
        }
    }

    /// Asks the first `items_max` questions of `lines` as one request.
    fn send(&mut self, lines: &[Line], items_max: usize) -> Result<Asked> {
        let items: Vec<Question<'_>> =
            lines.iter().filter_map(|line| line.question(self.how)).take(items_max).collect();
        let id = if items.is_empty() { None } else { Some(self.client.send_batch(&items)?) };
        Ok(Asked { id, items: items.len() })
    }

    /// Writes all lines of a group. What its request did not answer, for want of room or time, is asked again.
    fn settle(&mut self, group: &[Line], mut asked: Asked) -> Result<()> {
        let mut rest = group;
        let mut rounds_left = OVERLOADED_ROUNDS;
        let mut items_max = usize::MAX;
        loop {
            match self.answers(&asked)? {
                Answers::Replies(replies) => {
                    let (written, end) = self.write(rest, replies, rounds_left > 0)?;
                    rest = &rest[written..];
                    if let End::Overloaded(wait) = end {
                        rounds_left -= 1;
                        thread::sleep(wait);
                    }
                }
                Answers::TooMuch => items_max = asked.items / 2,
            }
            if rest.is_empty() {
                return Ok(());
            }
            asked = self.send(rest, items_max)?;
        }
    }

    /// Waits for the replies to a request.
    fn answers(&mut self, asked: &Asked) -> Result<Answers> {
        let Some(id) = asked.id else {
            return Ok(Answers::Replies(Vec::new()));
        };
        let received = self.client.receive_id(id)?;
        // Whoever reads the reply lines may stop; the file is wanted all the same.
        self.json = self.json && print(&received.line).is_ok();
        match self.client.results(&received, asked.items) {
            Ok(replies) => Ok(Answers::Replies(replies)),
            Err(Error::Server(refusal)) if refusal.code == "deadline_exceeded" && asked.items > 1 => {
                Ok(Answers::TooMuch)
            }
            Err(Error::Server(refusal)) => {
                let reply = Reply { status: "error".to_owned(), code: Some(refusal.code), ..Reply::default() };
                Ok(Answers::Replies(vec![reply; asked.items]))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Writes the lines that `replies` settle; how many these are, and why it ended there.
    fn write(&mut self, lines: &[Line], replies: Vec<Reply>, may_wait: bool) -> Result<(usize, End)> {
        let mut is_first = true;
        let mut replies = replies.into_iter();
        for (n, line) in lines.iter().enumerate() {
            let Some(question) = line.question(self.how) else {
                self.status(line, line.settled())?;
                continue;
            };
            let Some(reply) = replies.next() else {
                return Ok((n, End::Unasked));
            };
            match reply.code.as_deref() {
                // The first item had the batch's rows to itself: asked again, it would end as it did.
                Some("too_many_rows") if !is_first => return Ok((n, End::Unasked)),
                Some("overloaded") if may_wait => {
                    let wait = Duration::from_millis(reply.retry_after_ms.unwrap_or(250)).min(OVERLOADED_WAIT_MAX);
                    return Ok((n, End::Overloaded(wait)));
                }
                _ => self.answer(line, &question, reply)?,
            }
            is_first = false;
        }
        Ok((lines.len(), End::Whole))
    }

    /// Writes one line with its answer, all pages of it.
    fn answer(&mut self, line: &Line, question: &Question<'_>, reply: Reply) -> Result<()> {
        let page = match self.client.item(reply) {
            Ok(page) => page,
            Err(Error::Server(refusal)) => return self.status(line, &refusal.code),
            Err(error) => return Err(error.into()),
        };
        if page.warning.as_deref() == Some("check_digits") {
            self.tally.wrong_check_digits();
        }
        if page.next.is_some() {
            return self.pages(line, question);
        }
        if page.rows.is_empty() {
            return self.status(line, "none");
        }
        Self::rows(&mut self.output, &self.columns, line, &page)?;
        self.tally.line("ok");
        Ok(())
    }

    /// Writes an answer of several pages. It is asked anew from the first one on, since larger pages are another question.
    fn pages(&mut self, line: &Line, question: &Question<'_>) -> Result<()> {
        let question = Question { limit: Some(self.limits.limit_max), ..question.clone() };
        for page in self.client.pages(&question) {
            match page {
                Ok(page) => Self::rows(&mut self.output, &self.columns, line, &page)?,
                Err(Error::Server(refusal)) => return self.status(line, &refusal.code),
                Err(error) => return Err(error.into()),
            }
        }
        self.tally.line("ok");
        Ok(())
    }

    fn rows(output: &mut Output, columns: &[String], line: &Line, page: &Page) -> Result<()> {
        if let Some(row) = page.rows.first()
            && !row.keys().eq(columns)
        {
            bail!("the registry's columns have changed since the run began; run it again");
        }
        for row in &page.rows {
            output.row(line.cells(), row)?;
        }
        Ok(())
    }

    fn status(&mut self, line: &Line, status: &str) -> Result<()> {
        self.output.status(line.cells(), status, self.columns.len())?;
        self.tally.line(status);
        Ok(())
    }
}

/// Prints a reply line as it came, but a terminal is not to obey it.
fn print(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let line = if stdout.is_terminal() { screen::printable_json(line) } else { Cow::Borrowed(line) };
    writeln!(stdout, "{line}")
}

/// A request that was sent, or none where no line of the group asks anything.
struct Asked {
    id: Option<u64>,
    items: usize,
}

/// What came of a request.
enum Answers {
    /// A reply for each item.
    Replies(Vec<Reply>),
    /// It took the server too long: ask for fewer at once.
    TooMuch,
}

/// Why lines are left to be asked again.
enum End {
    /// None are left.
    Whole,
    /// Their items were not in this request, or had no room in its rows.
    Unasked,
    /// The server was busy.
    Overloaded(Duration),
}
