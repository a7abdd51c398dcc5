//! `Outflow`: whether a client takes what was written to its socket, judged by what the system still holds for it.
//!
//! A write that succeeds tells nothing of the client: the system took it. It is asked only when a deadline has passed, never for each reply.

use std::os::fd::AsRawFd;

/// What is known of one socket's way out.
#[derive(Debug, Default)]
pub(crate) struct Outflow {
    /// Something was written since the system was known to hold nothing.
    pending: bool,
    /// Bytes that it held at the last look, since the last write.
    seen: Option<usize>,
}

/// What a look comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// The client has all that was written.
    Done,
    /// Less waits than at the look before, or this is the first one.
    Moving,
    /// The client took nothing since the look before.
    Still,
}

impl Outflow {
    /// Something was written.
    pub(crate) fn wrote(&mut self) {
        (self.pending, self.seen) = (true, None);
    }

    /// Whether something may wait for the client in the system.
    pub(crate) fn is_pending(&self) -> bool {
        self.pending
    }

    /// Looks.
    pub(crate) fn look(&mut self, socket: &impl AsRawFd) -> Flow {
        self.judge(unsent_bytes(socket))
    }

    fn judge(&mut self, unsent: usize) -> Flow {
        if unsent == 0 {
            *self = Self::default();
            return Flow::Done;
        }
        match self.seen.replace(unsent) {
            Some(before) if unsent >= before => Flow::Still,
            _ => Flow::Moving,
        }
    }
}

/// Bytes in a socket that its peer has not acknowledged; 0 where the system does not tell.
fn unsent_bytes(socket: &impl AsRawFd) -> usize {
    let mut bytes: libc::c_int = 0;
    #[expect(unsafe_code, reason = "no safe interface has this ioctl")]
    // SAFETY: TIOCOUTQ writes one `int`, to a place that is one, and reads nothing. The descriptor is that of a socket that is borrowed.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result == 0 { usize::try_from(bytes).unwrap_or(0) } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn progress_is_what_the_peer_takes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut socket, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut outflow = Outflow::default();
        assert!(!outflow.is_pending());
        // Until nothing fits any more, on either side.
        let mut written = 0;
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(300) {
            match socket.write(&[7; 100_000]) {
                Ok(count) => {
                    written += count;
                    outflow.wrote();
                }
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        assert!(outflow.is_pending());
        assert_eq!((outflow.look(&socket), outflow.look(&socket)), (Flow::Moving, Flow::Still));
        let mut bytes = vec![0; written];
        peer.read_exact(&mut bytes[..written / 2]).unwrap();
        let moved = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            outflow.look(&socket) == Flow::Moving
        });
        assert!(moved);
        peer.read_exact(&mut bytes[..written - written / 2]).unwrap();
        let done = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            outflow.look(&socket) == Flow::Done
        });
        assert!(done && !outflow.is_pending());
    }
}
