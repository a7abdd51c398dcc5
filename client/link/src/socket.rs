//! `Socket`: lines out, lines in, each within a deadline. It knows that a reply begins with `{` and ends with `\n`, and no more.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::error::Error;
use crate::limits::REPLY_BYTES_MAX;

/// Bytes taken from the system at once.
const CHUNK_BYTES: usize = 64 << 10;

/// A write that makes no progress for this long looks whether the peer waits for us to read.
const WRITE_SLICE: Duration = Duration::from_millis(20);

/// The shortest wait that every system takes for a time and not for "for ever".
const WAIT_MIN: Duration = Duration::from_millis(1);

/// A connection, and what was read from it but not asked for yet.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    address: String,
    /// Read from the peer; the first `taken` bytes are done with.
    input: Vec<u8>,
    taken: usize,
    /// Up to here no `\n` was seen.
    searched: usize,
    chunk: Box<[u8]>,
}

impl Socket {
    /// Connects to the first of the addresses behind `address` that takes it, all of them within `timeout`.
    pub(crate) fn connect(address: &str, timeout: Duration) -> Result<Self, Error> {
        let deadline = Instant::now() + timeout;
        let addresses =
            resolve(address, timeout).map_err(|cause| Error::Address { address: address.to_owned(), cause })?;
        let mut last = io::Error::new(ErrorKind::NotFound, "no address");
        for (i, socket_address) in addresses.iter().enumerate() {
            // What one dead address does not use is left to the others.
            let share = left(deadline) / u32::try_from(addresses.len() - i).unwrap_or(u32::MAX);
            match TcpStream::connect_timeout(socket_address, share.max(WAIT_MIN)) {
                Ok(stream) => return Self::new(stream, address),
                Err(error) => last = error,
            }
        }
        Err(Error::Connect { address: address.to_owned(), cause: last })
    }

    fn new(stream: TcpStream, address: &str) -> Result<Self, Error> {
        let ready = stream.set_nodelay(true).and_then(|()| stream.set_write_timeout(Some(WRITE_SLICE)));
        ready.map_err(|cause| Error::Io { address: address.to_owned(), cause })?;
        Ok(Self {
            stream,
            address: address.to_owned(),
            input: Vec::new(),
            taken: 0,
            searched: 0,
            chunk: vec![0; CHUNK_BYTES].into_boxed_slice(),
        })
    }

    /// Writes all of `bytes`, with at most `timeout` between two steps forward.
    ///
    /// A server may stop reading until we have read its replies, so what arrives meanwhile is taken in, up to [`REPLY_BYTES_MAX`].
    pub(crate) fn write(&mut self, mut bytes: &[u8], timeout: Duration) -> Result<(), Error> {
        let mut deadline = Instant::now() + timeout;
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(0) => return Err(self.closed("while it was asked")),
                Ok(n) => {
                    bytes = &bytes[n..];
                    deadline = Instant::now() + timeout;
                }
                Err(error) if is_timeout(&error) => {
                    if left(deadline).is_zero() {
                        return Err(self.timeout("read the question", timeout));
                    }
                    while self.input.len() - self.taken < REPLY_BYTES_MAX && self.read(WAIT_MIN)? {
                        deadline = Instant::now() + timeout;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error, "while it was asked")),
            }
        }
        Ok(())
    }

    /// The next line without its `\n`, or `None` when it is not whole by `deadline`.
    pub(crate) fn line(&mut self, deadline: Instant) -> Result<Option<String>, Error> {
        loop {
            if let Some(line) = self.buffered()? {
                return Ok(Some(line));
            }
            let left = left(deadline);
            if left.is_zero() {
                return Ok(None);
            }
            self.read(left)?;
        }
    }

    /// A line that is here already.
    fn buffered(&mut self) -> Result<Option<String>, Error> {
        let end = memchr::memchr(b'\n', &self.input[self.searched..]).map(|at| self.searched + at);
        let line = &self.input[self.taken..end.unwrap_or(self.input.len())];
        if line.len() > REPLY_BYTES_MAX {
            return Err(Error::ReplyTooLarge { limit: REPLY_BYTES_MAX, unit: "bytes" });
        }
        // Another protocol's greeting may never end its line: the first byte tells it.
        if line.first().is_some_and(|&first| first != b'{') || (line.is_empty() && end.is_some()) {
            return Err(Error::not_balcao(&self.address, "a line is no JSON object"));
        }
        let Some(end) = end else {
            self.searched = self.input.len();
            return Ok(None);
        };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = std::str::from_utf8(line).map_err(|_| Error::not_balcao(&self.address, "a line is not UTF-8"))?;
        let line = line.to_owned();
        self.taken = end + 1;
        self.searched = self.taken;
        if self.taken == self.input.len() {
            self.input.clear();
            self.input.shrink_to(CHUNK_BYTES);
            (self.taken, self.searched) = (0, 0);
        }
        Ok(Some(line))
    }

    /// Takes in what arrives within `wait`; whether anything did.
    fn read(&mut self, wait: Duration) -> Result<bool, Error> {
        if let Err(error) = self.stream.set_read_timeout(Some(wait.max(WAIT_MIN))) {
            return Err(self.failed(error, "before it answered"));
        }
        match self.stream.read(&mut self.chunk) {
            Ok(0) if self.taken < self.input.len() => Err(self.closed("in the middle of a reply")),
            Ok(0) => Err(self.closed("before it answered")),
            Ok(n) => {
                if self.taken > self.input.len() / 2 {
                    self.input.drain(..self.taken);
                    self.searched -= self.taken;
                    self.taken = 0;
                }
                self.input.extend_from_slice(&self.chunk[..n]);
                Ok(true)
            }
            Err(error) if is_timeout(&error) || error.kind() == ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(self.failed(error, "before it answered")),
        }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// A handle by which another thread can shut the connection.
    pub(crate) fn stopper(&self) -> Result<Stopper, Error> {
        self.stream.try_clone().map(Stopper).map_err(|error| self.failed(error, "before it was asked"))
    }

    pub(crate) fn timeout(&self, awaited: &'static str, after: Duration) -> Error {
        Error::Timeout { address: self.address.clone(), awaited, after }
    }

    pub(crate) fn closed(&self, when: &'static str) -> Error {
        Error::Closed { address: self.address.clone(), when }
    }

    fn failed(&self, error: io::Error, when: &'static str) -> Error {
        match error.kind() {
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => self.closed(when),
            _ => Error::Io { address: self.address.clone(), cause: error },
        }
    }
}

/// Shuts a connection from another thread, for instance on Ctrl-C.
#[derive(Debug)]
pub struct Stopper(TcpStream);

impl Stopper {
    /// Shuts both directions at once: the client's calls end in [`Error::Closed`], and the server drops what it has in hand once the sockets are closed.
    pub fn stop(&self) {
        // Closed by a reset: a plain end would say that no question follows, and those that were sent be answered.
        let _ = SockRef::from(&self.0).set_linger(Some(Duration::ZERO));
        // It may be shut already, and then all is as wanted.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// The addresses behind `HOST:PORT`. The system's resolver knows no deadline, so a name is looked up on a thread that may be left behind.
fn resolve(address: &str, timeout: Duration) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = address.parse() {
        return Ok(vec![address]);
    }
    let (found, inbox) = mpsc::channel();
    let name = address.to_owned();
    thread::Builder::new().name("resolve".to_owned()).spawn(move || {
        // Nobody listens any more once the time is over.
        let _ = found.send(name.to_socket_addrs().map(Vec::from_iter));
    })?;
    let timed_out = |_| io::Error::new(ErrorKind::TimedOut, "the name was not resolved in time");
    let addresses = inbox.recv_timeout(timeout).map_err(timed_out)??;
    if addresses.is_empty() {
        Err(io::Error::new(ErrorKind::NotFound, "the name has no address"))
    } else {
        Ok(addresses)
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// A blocking socket's timeout is one kind on Unix and another on Windows.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
