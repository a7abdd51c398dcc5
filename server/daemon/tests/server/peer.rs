//! `Peer`: a client with no manners of its own. It sends the bytes it is told to and reads lines.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};

use serde_json::Value;

use crate::process::PATIENCE;

/// One connection.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Peer {
    pub(crate) fn connect(address: &str) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        Self { stream, reader }
    }

    /// Sends bytes in one call.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends a line and reads one.
    #[track_caller]
    pub(crate) fn ask(&mut self, question: &str) -> Value {
        self.send(format!("{question}\n"));
        self.line()
    }

    /// The next line.
    #[track_caller]
    pub(crate) fn line(&mut self) -> Value {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "the connection ended with {line:?}");
        serde_json::from_str(&line).unwrap()
    }

    /// Says that no further question comes.
    pub(crate) fn end_questions(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Everything up to the connection's end.
    #[track_caller]
    pub(crate) fn text(&mut self) -> String {
        let mut text = String::new();
        self.reader.read_to_string(&mut text).unwrap();
        text
    }

    /// Every line up to the connection's end.
    #[track_caller]
    pub(crate) fn lines(&mut self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The server says nothing more and closes.
    #[track_caller]
    pub(crate) fn assert_ended(&mut self) {
        assert_eq!(self.text(), "");
    }
}

/// The code of an error reply; empty for another one.
pub(crate) fn code(reply: &Value) -> &str {
    reply["code"].as_str().unwrap_or_default()
}
