//! Idle connections: opened, answered once, then held open without a word.
//!
//! It speaks our protocol only and measures nothing: what they cost the server is read off the server.

use std::fmt;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{PATIENCE, balcao};

/// What became of the idle connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Connections that were opened.
    pub connections: usize,
    /// Those that did not answer the first ping.
    pub errors_before: usize,
    /// Those that did not answer the second one, after the time.
    pub errors_after: usize,
}

impl Held {
    /// Whether every connection answered both times.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.errors_before + self.errors_after == 0
    }

    /// The counts as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"connections": self.connections, "errors_before": self.errors_before, "errors_after": self.errors_after})
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "held          {} connections; {} without an answer before, {} after",
            self.connections, self.errors_before, self.errors_after
        )
    }
}

pub(crate) fn run(
    server: SocketAddr,
    connections: usize,
    time: Duration,
    holding: impl FnOnce(),
) -> anyhow::Result<Held> {
    let mut streams = Vec::with_capacity(connections);
    for _ in 0..connections {
        let stream = TcpStream::connect_timeout(&server, PATIENCE)
            .with_context(|| format!("cannot connect to {server}: is the server running?"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        streams.push(stream);
    }
    let errors_before = streams.iter().filter(|stream| !answers(stream)).count();
    holding();
    std::thread::sleep(time);
    let errors_after = streams.iter().filter(|stream| !answers(stream)).count();
    Ok(Held { connections, errors_before, errors_after })
}

/// Whether the connection answers a ping.
fn answers(mut stream: &TcpStream) -> bool {
    let mut line = String::new();
    // One reply to one request: the reader cannot take anything of a later one with it.
    stream.write_all(balcao::PING).is_ok()
        && BufReader::new(stream).read_line(&mut line).is_ok()
        && serde_json::from_str::<Value>(&line).is_ok_and(|reply| reply["status"] == "ok")
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_connection_that_is_dropped_is_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let peer = std::thread::spawn(move || {
            let mut streams: Vec<TcpStream> = (0..3).map(|_| listener.accept().unwrap().0).collect();
            let mut pong = |stream: &mut TcpStream| {
                let mut line = String::new();
                BufReader::new(&*stream).read_line(&mut line).unwrap();
                stream.write_all(b"{\"status\":\"ok\"}\n").unwrap();
            };
            streams.iter_mut().for_each(&mut pong);
            streams.pop();
            streams.iter_mut().for_each(&mut pong);
        });
        let mut held = false;
        let outcome = run(address, 3, Duration::from_millis(20), || held = true).unwrap();
        peer.join().unwrap();
        assert!(held && !outcome.is_well());
        assert_eq!(outcome, Held { connections: 3, errors_before: 0, errors_after: 1 });
    }
}
