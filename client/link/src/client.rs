//! `Client`: one connection, the questions in flight on it, and the calls that put a question and its reply together.
//!
//! It reads ahead no further than the questions it sent, and never sends more of them than `hello` allows.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use balcao_wire::PROTOCOL_VERSION;
use balcao_wire::client::{Hello, Limits, Question, Reply};
use serde::Deserialize;

use crate::ahead::{Ahead, Arrived};
use crate::answers::{Answers, Unread};
use crate::error::Error;
use crate::items::Items;
use crate::limits::{REPLY_VALUES_MAX, RETRY_WAIT_DEFAULT, RETRY_WAIT_MAX, few_values, sane};
use crate::page::{Name, Page, Pages, by_cpf, by_name};
use crate::received::{Envelope, Outline, Received};
use crate::socket::{Socket, Stopper};

/// How long to wait, and how often to ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// For the name to be resolved, and then for a connection to any of its addresses. Default 5 s.
    pub connect_timeout: Duration,
    /// For the next reply to be whole, and for each step forward of a question on its way out. Default 30 s.
    pub read_timeout: Duration,
    /// How often an `overloaded` question is asked again, after the time that the server names (at most
    /// [`RETRY_WAIT_MAX`]), before the reply is handed on. Default 0: at once.
    pub overloaded_retries: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(5), read_timeout: Duration::from_secs(30), overloaded_retries: 0 }
    }
}

/// A question in flight.
#[derive(Debug)]
struct Pending {
    /// The line to send again; empty where there are no retries left.
    line: Vec<u8>,
    retries_left: u32,
    /// It was answered `overloaded` and goes out again then.
    retry_at: Option<Instant>,
    /// Nobody waits for its reply any more.
    is_forgotten: bool,
}

/// One connection to a server. After an error that leaves the two sides out of step, every call says [`Error::Closed`]: connect anew.
#[derive(Debug)]
pub struct Client {
    socket: Socket,
    options: Options,
    id_next: u64,
    /// What `hello` told; asked before the first question.
    limits: Option<Limits>,
    pending: BTreeMap<u64, Pending>,
    /// Replies that came before the one waited for.
    arrived: VecDeque<Received>,
    broken: bool,
}

impl Client {
    /// Connects to `address`, `HOST:PORT`, trying each address that the host has. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Address`] and [`Error::Connect`].
    pub fn connect(address: &str, options: Options) -> Result<Self, Error> {
        let socket = Socket::connect(address, options.connect_timeout)?;
        Ok(Self {
            socket,
            options,
            id_next: 1,
            limits: None,
            pending: BTreeMap::new(),
            arrived: VecDeque::new(),
            broken: false,
        })
    }

    /// The address, as [`Client::connect`] was given it.
    #[must_use]
    pub fn address(&self) -> &str {
        self.socket.address()
    }

    /// A handle by which another thread can shut this connection.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn stopper(&self) -> Result<Stopper, Error> {
        self.socket.stopper()
    }

    /// Asks who the server is. Its limits hold from then on.
    ///
    /// # Errors
    /// [`Error::Version`] for another protocol, and what any question may end in.
    pub fn hello(&mut self) -> Result<Hello, Error> {
        if self.limits.is_some() { self.greet() } else { self.greet_first() }
    }

    /// The server's limits, each brought into a sane range; `hello` is asked where it was not yet.
    ///
    /// # Errors
    /// As [`Client::hello`].
    pub fn limits(&mut self) -> Result<Limits, Error> {
        match self.limits {
            Some(limits) => Ok(limits),
            None => self.greet_first().map(|hello| hello.limits),
        }
    }

    /// The greeting before any question. A server with too many connections answers it `overloaded` and closes this one.
    fn greet_first(&mut self) -> Result<Hello, Error> {
        let mut retries_left = self.options.overloaded_retries;
        loop {
            // Until `hello` has told more: one short question at a time.
            self.limits = Some(Limits {
                line_bytes: 256,
                limit_max: 1,
                batch_items: 1,
                batch_rows: 1,
                in_flight: 1,
                question_words: 1,
                deadline_ms: 1,
            });
            match self.greet() {
                Err(Error::Server(refusal)) if refusal.code == "overloaded" && self.broken && retries_left > 0 => {
                    retries_left -= 1;
                    thread::sleep(retry_wait(refusal.retry_after_ms));
                    *self = Self::connect(self.address(), self.options)?;
                }
                greeted => {
                    if greeted.is_err() {
                        self.limits = None;
                    }
                    return greeted;
                }
            }
        }
    }

    fn greet(&mut self) -> Result<Hello, Error> {
        #[derive(Deserialize)]
        struct Version {
            protocol: u32,
        }
        let received = self.ask(&Question { op: Some("hello"), ..Question::default() })?;
        self.refused(&received)?;
        // A server of another version may greet in another shape, so its number is read first.
        let version: Version = received.read(self.address())?;
        if version.protocol != PROTOCOL_VERSION {
            return Err(Error::Version { expected: PROTOCOL_VERSION, got: version.protocol });
        }
        let mut hello: Hello = received.read(self.address())?;
        hello.limits = sane(hello.limits);
        self.limits = Some(hello.limits);
        Ok(hello)
    }

    /// Asks whether the server is there.
    ///
    /// # Errors
    /// What any question may end in.
    pub fn ping(&mut self) -> Result<(), Error> {
        let received = self.ask(&Question { op: Some("ping"), ..Question::default() })?;
        self.refused(&received)
    }

    /// Rows by a CPF: the first page, of `limit` rows (1 to 1000; the server's 50 without).
    ///
    /// # Errors
    /// As [`Client::lookup`].
    pub fn cpf(&mut self, cpf: &str, limit: Option<usize>) -> Result<Page, Error> {
        self.lookup(&by_cpf(cpf, limit))
    }

    /// Rows by a name: the first page, of `limit` rows (1 to 1000; the server's 50 without).
    ///
    /// # Errors
    /// As [`Client::lookup`].
    pub fn name(&mut self, nome: &str, how: Option<Name>, limit: Option<usize>) -> Result<Page, Error> {
        self.lookup(&by_name(nome, how, limit))
    }

    /// One page of the answer to `question`, the one at its `cursor`.
    ///
    /// # Errors
    /// [`Error::Server`] where the server answers with a code; else what any question may end in.
    pub fn lookup(&mut self, question: &Question<'_>) -> Result<Page, Error> {
        let received = self.ask(question)?;
        self.page(received)
    }

    /// Every page of the answer to `question`, from its `cursor` on, one in memory at a time.
    pub fn pages<'a>(&'a mut self, question: &Question<'a>) -> Pages<'a> {
        Pages::new(self, question, None)
    }

    /// The pages that follow one whose `next` is `cursor`.
    pub fn pages_after<'a>(&'a mut self, question: &Question<'a>, cursor: String) -> Pages<'a> {
        Pages::new(self, question, Some(cursor))
    }

    /// Every page of the answer to `question`, from its `cursor` on, the next one asked for before the present one is handed over.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn ahead<'a>(&'a mut self, question: &Question<'a>) -> Result<Ahead<'a>, Error> {
        Ahead::new(self, question)
    }

    /// Asks several questions as one request. The replies stand in the order of `items`, each with a `status` of its own.
    ///
    /// # Errors
    /// [`Error::BatchTooLong`] and [`Error::QuestionTooLong`] where `items` are beyond the server's limits, [`Error::Server`] where
    /// the batch as a whole is refused; else what any question may end in.
    pub fn batch(&mut self, items: &[Question<'_>]) -> Result<Vec<Reply>, Error> {
        let id = self.send_batch(items)?;
        let received = self.receive_id(id)?;
        self.results(&received, items.len())
    }

    /// Sends a batch without waiting; [`Client::results`] reads its reply.
    ///
    /// # Errors
    /// As [`Client::send`], and [`Error::BatchTooLong`].
    pub fn send_batch(&mut self, items: &[Question<'_>]) -> Result<u64, Error> {
        let limit = self.limits()?.batch_items;
        if items.len() > limit {
            return Err(Error::BatchTooLong { items: items.len(), limit });
        }
        self.send(&Question { op: Some("batch"), items: Some(items), ..Question::default() })
    }

    /// Sends some of `items` as a batch, without waiting; [`Client::answers`] reads its reply.
    ///
    /// # Errors
    /// As [`Client::send_batch`].
    pub fn send_items(&mut self, items: &Items, range: Range<usize>, deadline_ms: Option<u32>) -> Result<u64, Error> {
        let limit = self.limits()?.batch_items;
        if range.len() > limit {
            return Err(Error::BatchTooLong { items: range.len(), limit });
        }
        let json = items.json(range);
        self.send_as(|id| {
            let deadline = deadline_ms.map_or_else(String::new, |ms| format!("\"deadline_ms\":{ms},"));
            let head = format!("{{\"id\":{id},\"op\":\"batch\",{deadline}\"items\":[");
            [head.as_bytes(), json, b"]}"].concat()
        })
    }

    /// Asks one question and waits for its reply, which may be an error's.
    ///
    /// # Errors
    /// What any question may end in.
    pub fn ask(&mut self, question: &Question<'_>) -> Result<Received, Error> {
        let id = self.send(question)?;
        self.receive_id(id)
    }

    /// How many more questions may be sent before a reply is received.
    ///
    /// # Errors
    /// As [`Client::hello`].
    pub fn room(&mut self) -> Result<usize, Error> {
        let limits = self.limits()?;
        Ok(limits.in_flight.saturating_sub(self.pending.len() + self.arrived.len()))
    }

    /// Sends a question without waiting for its reply, and says under which id that will come. An `id` in `question` is replaced.
    ///
    /// # Errors
    /// [`Error::Full`] when as many are in flight, or have a reply that was not received, as the server allows;
    /// [`Error::QuestionTooLong`]; and whatever befalls the connection.
    pub fn send(&mut self, question: &Question<'_>) -> Result<u64, Error> {
        // A question is texts and numbers: it always has a JSON form.
        self.send_as(|id| serde_json::to_vec(&Question { id: Some(id), ..question.clone() }).unwrap_or_default())
    }

    /// Sends the line that `write` makes for an id, which is given back.
    fn send_as(&mut self, write: impl FnOnce(u64) -> Vec<u8>) -> Result<u64, Error> {
        let limits = self.limits()?;
        if self.pending.len() + self.arrived.len() >= limits.in_flight {
            return Err(Error::Full { limit: limits.in_flight });
        }
        self.check_open()?;
        let id = self.id_next;
        let mut line = write(id);
        if line.len() > limits.line_bytes {
            return Err(Error::QuestionTooLong { bytes: line.len(), limit: limits.line_bytes });
        }
        line.push(b'\n');
        self.id_next += 1;
        self.write(&line)?;
        let retries_left = self.options.overloaded_retries;
        let line = if retries_left > 0 { line } else { Vec::new() };
        self.pending.insert(id, Pending { line, retries_left, retry_at: None, is_forgotten: false });
        Ok(id)
    }

    /// The next reply to any question sent, in whatever order the server answers.
    ///
    /// # Errors
    /// [`Error::NothingAsked`], [`Error::Timeout`], [`Error::Closed`], [`Error::NotBalcao`]; [`Error::Server`] where the server
    /// refuses the connection as a whole.
    pub fn receive(&mut self) -> Result<Received, Error> {
        self.take(|_| true)
    }

    /// The reply to the question `id`; other replies that come first are kept for later calls.
    ///
    /// # Errors
    /// As [`Client::receive`].
    pub fn receive_id(&mut self, id: u64) -> Result<Received, Error> {
        self.take(|received| received == id)
    }

    /// Gives up a question that is under way: its reply is dropped when it comes. Until then it counts as in flight.
    pub fn forget(&mut self, id: u64) {
        self.arrived.retain(|received| received.id != id);
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.is_forgotten = true;
        }
    }

    /// Whether questions can still be asked on this connection.
    pub(crate) fn is_open(&self) -> bool {
        !self.broken
    }

    /// Reads what stands around the rows of a reply to a lookup, and counts them.
    ///
    /// # Errors
    /// As [`Client::page`].
    pub fn arrived(&self, received: Received) -> Result<Arrived, Error> {
        let outline = Outline::read(&received.line, self.address())?;
        Ok(Arrived { received, outline })
    }

    /// Reads the rows of a reply, a batch's or a lookup's, into `answers`, in place of what they held.
    ///
    /// # Errors
    /// [`Error::OtherColumns`] where a row has others than `answers`; else as [`Client::page`]. An item's error is none of these.
    pub fn answers(&self, received: &Received, answers: &mut Answers) -> Result<(), Error> {
        if !few_values(received.line.as_bytes(), REPLY_VALUES_MAX) {
            return Err(Error::ReplyTooLarge { limit: REPLY_VALUES_MAX, unit: "values" });
        }
        answers.read(&received.line).map_err(|unread| match unread {
            Unread::OtherColumns => Error::OtherColumns,
            Unread::Refused(mut refusal) => {
                refusal.line.clone_from(&received.line);
                Error::Server(refusal)
            }
            Unread::NotBalcao => Error::not_balcao(self.address(), "a reply has neither rows nor an error"),
        })
    }

    /// Reads a reply as what it says, error or not.
    ///
    /// # Errors
    /// [`Error::NotBalcao`] where a member has another type than the protocol gives it; [`Error::ReplyTooLarge`].
    pub fn reply(&self, received: &Received) -> Result<Reply, Error> {
        received.read(self.address())
    }

    /// Reads the reply to a lookup as a page.
    ///
    /// # Errors
    /// [`Error::Server`] where it is an error; else as [`Client::reply`].
    pub fn page(&self, received: Received) -> Result<Page, Error> {
        let reply = self.reply(&received)?;
        Page::new(reply, received.line, self.address())
    }

    /// Reads an item's reply out of a batch as a page.
    ///
    /// # Errors
    /// As [`Client::page`].
    pub fn item(&self, reply: Reply) -> Result<Page, Error> {
        Page::new(reply, String::new(), self.address())
    }

    /// Reads the reply to a batch of `items` questions: a reply for each.
    ///
    /// # Errors
    /// As [`Client::page`], and [`Error::NotBalcao`] for another number of replies.
    pub fn results(&self, received: &Received, items: usize) -> Result<Vec<Reply>, Error> {
        self.refused(received)?;
        match self.reply(received)?.results {
            Some(results) if results.len() == items => Ok(results),
            _ => Err(Error::not_balcao(self.address(), "a batch has another number of results than of items")),
        }
    }

    /// The error for a reply that is none to what was asked; `reason` has no data in it.
    #[must_use]
    pub fn unlike(&self, reason: &'static str) -> Error {
        Error::not_balcao(self.address(), reason)
    }

    /// Whether a reply is no error.
    ///
    /// # Errors
    /// [`Error::Server`] where it is one; [`Error::NotBalcao`] where it is no reply.
    pub fn refused(&self, received: &Received) -> Result<(), Error> {
        let envelope = Envelope::read(&received.line, self.address())?;
        envelope.refusal(&received.line).map_or(Ok(()), |refusal| Err(Error::Server(Box::new(refusal))))
    }

    fn take(&mut self, wanted: impl Fn(u64) -> bool) -> Result<Received, Error> {
        let here = self.arrived.iter().position(|received| wanted(received.id));
        if let Some(received) = here.and_then(|at| self.arrived.remove(at)) {
            return Ok(received);
        }
        self.check_open()?;
        if !self.pending.keys().any(|&id| wanted(id)) {
            return Err(Error::NothingAsked);
        }
        loop {
            let received = self.arrive().inspect_err(|_| self.broken = true)?;
            if wanted(received.id) {
                return Ok(received);
            }
            self.arrived.push_back(received);
        }
    }

    /// Waits for the next reply from the socket; sends again what was answered `overloaded`, once its time has come.
    fn arrive(&mut self) -> Result<Received, Error> {
        let mut deadline = Instant::now() + self.options.read_timeout;
        loop {
            self.send_again()?;
            let retry_at = self.pending.values().filter_map(|pending| pending.retry_at).min();
            let Some(line) = self.socket.line(retry_at.map_or(deadline, |at| at.min(deadline)))? else {
                if Instant::now() >= deadline {
                    return Err(self.socket.timeout("answer", self.options.read_timeout));
                }
                continue;
            };
            let envelope = Envelope::read(&line, self.address())?;
            let Some(id) = envelope.id else {
                // Every question has an id, so what has none is about the connection.
                return Err(match envelope.refusal(&line) {
                    Some(refusal) => Error::Server(Box::new(refusal)),
                    None => Error::not_balcao(self.address(), "a reply has no id"),
                });
            };
            match self.pending.get_mut(&id) {
                Some(pending) if pending.retry_at.is_none() => {
                    if envelope.is_overloaded() && pending.retries_left > 0 {
                        pending.retries_left -= 1;
                        let at = Instant::now() + retry_wait(envelope.retry_after_ms());
                        pending.retry_at = Some(at);
                        deadline = deadline.max(at + self.options.read_timeout);
                        continue;
                    }
                }
                _ => return Err(Error::not_balcao(self.address(), "a reply to no question")),
            }
            if self.pending.remove(&id).is_some_and(|pending| !pending.is_forgotten) {
                return Ok(Received { id, line });
            }
        }
    }

    fn send_again(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        for pending in self.pending.values_mut() {
            if pending.retry_at.is_some_and(|at| at <= now) {
                pending.retry_at = None;
                self.socket.write(&pending.line, self.options.read_timeout)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, line: &[u8]) -> Result<(), Error> {
        let Err(error) = self.socket.write(line, self.options.read_timeout) else {
            return Ok(());
        };
        self.broken = true;
        // A server that closes says why before: that line may still be here, behind the replies to earlier questions.
        while let Error::Closed { .. } = error
            && let Ok(Some(line)) = self.socket.line(Instant::now() + Duration::from_millis(100))
        {
            let refusal = Envelope::read(&line, self.address()).ok().filter(|envelope| envelope.id.is_none());
            if let Some(refusal) = refusal.and_then(|envelope| envelope.refusal(&line)) {
                return Err(Error::Server(Box::new(refusal)));
            }
        }
        Err(error)
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.broken { Err(self.socket.closed("at an earlier question")) } else { Ok(()) }
    }
}

/// The server's hint, kept to what a person would wait for.
fn retry_wait(retry_after_ms: Option<u64>) -> Duration {
    retry_after_ms.map_or(RETRY_WAIT_DEFAULT, Duration::from_millis).min(RETRY_WAIT_MAX)
}
