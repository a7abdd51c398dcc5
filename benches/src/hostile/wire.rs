//! `Wire`: a client's end of a connection that never blocks its thread, and that may leave without manners.
//!
//! It knows bytes and line ends; what is in a line is the business of its crowd.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

/// How long a connection may take to open: on loopback that is at once, unless the listener's queue is full.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// What is read at once.
const READ_BYTES: usize = 64 * 1024;

/// What reading came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) bytes: usize,
    /// Ends of lines among them.
    pub(crate) lines: usize,
    /// Nothing more comes: the server closed, or the connection broke.
    pub(crate) ended: bool,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    unsent: Vec<u8>,
    pub(crate) since: Instant,
}

impl Wire {
    /// Connects; `None` where the server takes nobody at the moment.
    pub(crate) fn connect(server: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect_timeout(&server, CONNECT_WITHIN).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_nonblocking(true).ok()?;
        Some(Self { stream, unsent: Vec::new(), since: Instant::now() })
    }

    /// Sends `bytes` behind what is unsent; `false` where the connection is broken.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.unsent.extend_from_slice(bytes);
        self.flush()
    }

    /// Sends what the socket takes; `false` where the connection is broken.
    pub(crate) fn flush(&mut self) -> bool {
        let mut sent = 0;
        while sent < self.unsent.len() {
            match self.stream.write(&self.unsent[sent..]) {
                Ok(0) => return false,
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        self.unsent.drain(..sent);
        true
    }

    /// Whether the socket took everything.
    pub(crate) fn is_flushed(&self) -> bool {
        self.unsent.is_empty()
    }

    /// Reads up to `most` bytes of what is there.
    pub(crate) fn read(&mut self, most: usize) -> Read {
        let mut buffer = [0; READ_BYTES];
        let mut outcome = Read::default();
        while outcome.bytes < most {
            let room = READ_BYTES.min(most - outcome.bytes);
            match self.stream.read(&mut buffer[..room]) {
                Ok(0) => outcome.ended = true,
                Ok(count) => {
                    outcome.bytes += count;
                    outcome.lines += buffer[..count].iter().filter(|&&byte| byte == b'\n').count();
                    // Fewer than fit: the socket is empty.
                    if count == room {
                        continue;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => outcome.ended = error.kind() != ErrorKind::WouldBlock,
            }
            break;
        }
        outcome
    }

    /// Vanishes: the other end learns it by a reset, not by an end.
    pub(crate) fn reset(self) {
        // Without it the connection is closed in the ordinary way, which is less hostile and nothing worse.
        let _ = set_socket_linger(&self.stream, Some(Duration::ZERO));
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// Reads until `wanted` holds of what came so far.
    fn read_until(wire: &mut Wire, wanted: impl Fn(Read) -> bool) -> Read {
        let (began, mut all) = (Instant::now(), Read::default());
        while !wanted(all) {
            assert!(began.elapsed() < Duration::from_secs(30), "{all:?}");
            let got = wire.read(usize::MAX);
            all = Read { bytes: all.bytes + got.bytes, lines: all.lines + got.lines, ended: got.ended };
        }
        all
    }

    #[test]
    fn bytes_lines_and_ends_are_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut wire = Wire::connect(listener.local_addr().unwrap()).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        assert!(wire.send(b"question") && wire.is_flushed());
        peer.read_exact(&mut [0; 8]).unwrap();
        assert_eq!(wire.read(10), Read::default());
        peer.write_all(b"one\ntwo\nthr").unwrap();
        assert_eq!(read_until(&mut wire, |all| all.bytes == 11), Read { bytes: 11, lines: 2, ended: false });
        drop(peer);
        assert!(read_until(&mut wire, |all| all.ended).ended);
    }

    #[test]
    fn who_vanishes_is_seen_as_a_reset() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wire = Wire::connect(listener.local_addr().unwrap()).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        wire.reset();
        assert_eq!(peer.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}
