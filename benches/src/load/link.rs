//! One connection of the load generator: what is in flight on it, what is due, and what is half written or half read.
//!
//! It knows no protocol and keeps no time.

use std::collections::VecDeque;
use std::io::{ErrorKind, Write as _};
use std::time::Instant;

use mio::net::TcpStream;

/// One connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) stream: TcpStream,
    /// What could not be written yet.
    pub(crate) unsent: Vec<u8>,
    /// The beginning of a reply whose end has not come.
    pub(crate) partial: Vec<u8>,
    /// How far that was looked at.
    pub(crate) scanned: usize,
    pub(crate) waiting: VecDeque<Waiting>,
    /// When the requests were due that found no place in flight, the oldest first.
    pub(crate) backlog: VecDeque<Instant>,
    pub(crate) next_id: u64,
    /// Whether epoll is to tell when there is room to write.
    pub(crate) awaits_room: bool,
    pub(crate) open: bool,
}

/// A request that waits for its reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) id: u64,
    /// Which of the keys it asks for.
    pub(crate) key: usize,
    /// When it was to be sent; in a closed loop, when it was.
    pub(crate) due: Instant,
    /// When it was written.
    pub(crate) asked: Instant,
}

impl Link {
    pub(crate) fn new(stream: TcpStream, pipeline: usize) -> Self {
        Self {
            stream,
            unsent: Vec::new(),
            partial: Vec::new(),
            scanned: 0,
            waiting: VecDeque::with_capacity(pipeline),
            backlog: VecDeque::new(),
            next_id: 1,
            awaits_room: false,
            open: true,
        }
    }

    /// Writes what fits; whether that was all.
    pub(crate) fn write(&mut self) -> std::io::Result<bool> {
        let mut sent = 0;
        while sent < self.unsent.len() {
            match self.stream.write(&self.unsent[sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(bytes) => sent += bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.unsent.drain(..sent);
        Ok(self.unsent.is_empty())
    }
}
