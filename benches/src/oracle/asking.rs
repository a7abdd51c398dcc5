//! One connection that asks many questions at once and pages each to its end.
//!
//! A connection that breaks is a difference too, and is not opened again.

use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use super::judging::{Differs, Step, judge};
use super::questions::{Catalogue, Kind, Question};
use super::report::{Difference, Report};
use super::scan::Table;

/// A server that says nothing for so long is taken to have lost the questions.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes that are sent without being answered. More could fill both directions of a socket, and both sides would wait for room.
const UNANSWERED_BYTES_MAX: usize = 64 * 1024;

/// One question in so many is asked as a batch of one item.
const BATCH_ONE_IN: u64 = 48;

/// No question has so many pages: a server that goes on beyond them goes on for ever.
const PAGES_MAX: usize = 100_000;

/// A question that is being asked.
struct Asked<'a> {
    question: Question<'a>,
    /// The request behind its `id`, to be sent again where the server was overloaded.
    members: String,
    limit: usize,
    taken: usize,
    /// Pages that came.
    pages: usize,
    /// Whether its `id` is a text.
    text_id: bool,
    /// Whether it is the one item of a batch.
    in_batch: bool,
}

/// What may be told of a question: not its key.
impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} bytes, behind {} rows", self.question.kind.as_str(), self.members.len(), self.taken)
    }
}

/// Lines to the server and back.
pub(crate) struct Line {
    reader: BufReader<TcpStream>,
    writer: BufWriter<TcpStream>,
}

impl Line {
    pub(crate) fn open(server: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(server)
            .with_context(|| format!("cannot connect to {server}: is the server running?"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let reader = BufReader::with_capacity(256 * 1024, stream.try_clone()?);
        Ok(Self { reader, writer: BufWriter::new(stream) })
    }

    pub(crate) fn write(&mut self, line: &[u8]) -> std::io::Result<()> {
        self.writer.write_all(line)?;
        self.writer.write_all(b"\n")
    }

    /// Sends what was written and reads one line, without its end, into `line`.
    pub(crate) fn read(&mut self, line: &mut Vec<u8>) -> std::io::Result<()> {
        self.writer.flush()?;
        line.clear();
        self.reader.read_until(b'\n', line)?;
        if line.pop() == Some(b'\n') { Ok(()) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// Asks questions of the catalogue, each number that `next` hands out, until none is left; returns what was found.
pub(crate) fn ask(
    table: &Table,
    catalogue: &Catalogue<'_>,
    next: &AtomicUsize,
    server: SocketAddr,
    pipeline: usize,
) -> anyhow::Result<Report> {
    let mut asker = Asker {
        table,
        line: Line::open(server)?,
        waiting: HashMap::new(),
        unanswered_bytes: 0,
        next_id: 1,
        report: Report::default(),
    };
    if let Err(error) = asker.run(catalogue, next, pipeline) {
        let waiting: Vec<String> = asker.waiting.values().map(Asked::to_string).collect();
        let what = format!("the connection ended with {} unanswered ({}): {error}", waiting.len(), waiting.join(", "));
        asker.report.add(Difference { kind: Kind::Manners, rowid: None, what });
    }
    Ok(asker.report)
}

struct Asker<'a> {
    table: &'a Table,
    line: Line,
    waiting: HashMap<u64, Asked<'a>>,
    unanswered_bytes: usize,
    next_id: u64,
    report: Report,
}

impl<'a> Asker<'a> {
    fn run(&mut self, catalogue: &Catalogue<'a>, next: &AtomicUsize, pipeline: usize) -> std::io::Result<()> {
        let mut line = Vec::new();
        loop {
            while self.waiting.len() < pipeline && self.unanswered_bytes < UNANSWERED_BYTES_MAX {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= catalogue.len() {
                    break;
                }
                let mut question = catalogue.question(at);
                self.report.count(question.kind).questions += 1;
                self.report.long += u64::from(question.is_long());
                let (members, limit) = question.request(None);
                self.send(Asked { question, members, limit, taken: 0, pages: 0, text_id: false, in_batch: false })?;
            }
            if self.waiting.is_empty() {
                return Ok(());
            }
            self.line.read(&mut line)?;
            self.receive(&line)?;
        }
    }

    fn send(&mut self, mut asked: Asked<'a>) -> std::io::Result<()> {
        let id = self.next_id;
        self.next_id += 1;
        asked.text_id = id.is_multiple_of(16);
        asked.in_batch = id % BATCH_ONE_IN == 5 && asked.question.is_item();
        let id_text = if asked.text_id { format!("\"{id}\"") } else { id.to_string() };
        let (members, patience) = (&asked.members, asked.question.patience());
        let request = match asked.in_batch {
            true => format!("{{\"id\":{id_text},\"op\":\"batch\",\"items\":[{{{members}}}]{patience}}}"),
            false => format!("{{\"id\":{id_text},{members}{patience}}}"),
        };
        self.report.count(asked.question.kind).requests += 1;
        self.unanswered_bytes += asked.members.len();
        self.waiting.insert(id, asked);
        self.line.write(request.as_bytes())
    }

    /// Judges one reply, and asks for the following page.
    fn receive(&mut self, line: &[u8]) -> std::io::Result<()> {
        let Some((mut reply, mut asked)) = self.find(line) else { return Ok(()) };
        self.unanswered_bytes -= asked.members.len();
        if asked.in_batch
            && let Some([of_item]) = reply["results"].as_array_mut().map(Vec::as_mut_slice)
        {
            reply = of_item.take();
        }
        self.report.bounded += u64::from(reply["bounded"] == true);
        self.report.uncounted += u64::from(reply["total_at_least"].is_u64());
        let kind = asked.question.kind;
        match judge(self.table, asked.question.expected(), asked.taken, asked.limit, &reply) {
            Ok(Step::Done) => {
                self.report.paged += u64::from(asked.question.is_long());
                self.came(&asked.question, asked.question.expected().rows());
                Ok(())
            }
            Ok(Step::Next { rows, .. }) if asked.question.is_enough(asked.pages + 1) => {
                self.came(&asked.question, asked.taken + rows);
                Ok(())
            }
            Ok(Step::Next { .. }) if asked.pages > PAGES_MAX => {
                let what = format!("no end after {PAGES_MAX} pages");
                self.report.add(Difference { kind, rowid: None, what });
                Ok(())
            }
            Ok(Step::Next { cursor, rows }) => {
                asked.taken += rows;
                asked.pages += 1;
                (asked.members, asked.limit) = asked.question.request(Some(&cursor));
                self.send(asked)
            }
            Ok(Step::Again { after_ms }) => {
                self.report.overloaded += 1;
                std::thread::sleep(Duration::from_millis(after_ms));
                self.send(asked)
            }
            Err(Differs { rowid, what }) => {
                self.report.add(Difference { kind, rowid, what });
                Ok(())
            }
        }
    }

    /// A question was answered rightly, with so many rows.
    fn came(&mut self, question: &Question<'_>, rows: usize) {
        let count = self.report.count(question.kind);
        count.found += u64::from(question.expected().is_found());
        count.rows += rows as u64;
    }

    /// The reply in a line and the question that it answers; what is neither is noted.
    fn find(&mut self, line: &[u8]) -> Option<(Value, Asked<'a>)> {
        let reply = serde_json::from_slice::<Value>(line).unwrap_or_default();
        let (id, text_id) = match &reply["id"] {
            Value::String(id) => (id.parse().ok(), true),
            id => (id.as_u64(), false),
        };
        let found = id.filter(|id| self.waiting.get(id).is_some_and(|asked| asked.text_id == text_id));
        let Some(asked) = found.and_then(|id| self.waiting.remove(&id)) else {
            let what = match reply.is_object() {
                true => format!(
                    "a reply that nobody waits for: id {}, status {}, code {}",
                    reply["id"], reply["status"], reply["code"]
                ),
                false => "a line that is no JSON object".to_owned(),
            };
            self.report.add(Difference { kind: Kind::Manners, rowid: None, what });
            return None;
        };
        Some((reply, asked))
    }
}
