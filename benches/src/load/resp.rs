//! RESP as Redis 7 speaks it: a key is asked for with `GET`, and a bulk string is its answer. And filling a Redis with what is asked for.
//!
//! Only the replies that `GET` and `SET` may have are known; any other kind is damage.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context as _, bail, ensure};

use super::PATIENCE;
use super::framing::{Damaged, Framing, Judged, REPLY_BYTES_MAX, number, printable};

/// A first line of more bytes is damage: a length, or an error's text.
const LINE_BYTES_MAX: usize = 4096;

/// Pairs that are sent before their replies are read, and bytes after which fewer are.
const FILL_PAIRS: u64 = 1000;
const FILL_BYTES: usize = 256 * 1024;

/// The protocol.
#[derive(Debug)]
pub(crate) struct Resp;

impl Framing for Resp {
    fn prepare(&self, line: &str) -> Result<Vec<u8>, &'static str> {
        let mut body = Vec::new();
        command(&mut body, &[b"GET", line.as_bytes()]);
        Ok(body)
    }

    fn request(out: &mut Vec<u8>, _id: u64, body: &[u8]) {
        out.extend_from_slice(body);
    }

    /// A bulk string tells its length: its bytes are not looked at. `scanned` is how far the first line was searched for its end.
    fn split(input: &[u8], scanned: &mut usize) -> Result<Option<usize>, Damaged> {
        let Some(&kind) = input.first() else { return Ok(None) };
        if !b"$+-:_".contains(&kind) {
            return Err(Damaged("not_a_reply"));
        }
        let searched = &input[..input.len().min(LINE_BYTES_MAX)];
        let Some(end) = memchr::memchr(b'\n', &searched[*scanned..]).map(|at| *scanned + at + 1) else {
            *scanned = searched.len();
            return if searched.len() == LINE_BYTES_MAX { Err(Damaged("reply_line_too_long")) } else { Ok(None) };
        };
        let line = input[1..end].strip_suffix(b"\r\n").ok_or(Damaged("not_a_reply"))?;
        if kind != b'$' || line == b"-1" {
            return Ok(Some(end));
        }
        // The line's end is found again when more has come, at once.
        *scanned = end - 1;
        let length = number(line).ok_or(Damaged("not_a_reply"))?;
        let length = usize::try_from(length).ok().filter(|&length| length <= REPLY_BYTES_MAX);
        let whole = end + length.ok_or(Damaged("reply_too_long"))? + 2;
        match input.get(whole - 2..whole) {
            None => Ok(None),
            Some(b"\r\n") => Ok(Some(whole)),
            Some(_) => Err(Damaged("not_a_reply")),
        }
    }

    /// Absent keys and empty values are errors with or without `rows_expected`: what is asked for was put in.
    fn judge(reply: &[u8], _rows_expected: bool, _total: Option<u32>) -> Judged {
        match reply {
            [b'$', b'-', ..] | [b'_', ..] => Judged::wrong(None, "nil"),
            [b'$', b'0', b'\r', ..] => Judged::wrong(None, "empty"),
            [b'$', ..] => Judged::well(None),
            [b'-', text @ ..] => Judged::wrong(None, error_code(text)),
            _ => Judged::wrong(None, "not_a_bulk_string"),
        }
    }
}

/// The first word of an error, which is its code.
fn error_code(text: &[u8]) -> std::borrow::Cow<'static, str> {
    printable(text.split(u8::is_ascii_whitespace).next().unwrap_or_default())
}

/// Appends a command.
fn command(out: &mut Vec<u8>, words: &[&[u8]]) {
    // Writing to memory cannot fail.
    let _ = write!(out, "*{}\r\n", words.len());
    for word in words {
        let _ = write!(out, "${}\r\n", word.len());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// Puts each pair of key and value into the Redis at `server` with `SET`; returns how many there were.
///
/// # Errors
/// When `server` is not this machine, cannot be reached, or answers anything but `OK`.
pub fn fill(server: SocketAddr, pairs: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> anyhow::Result<u64> {
    ensure!(server.ip().is_loopback(), "{server} is not this machine: only a server on loopback is filled");
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)
        .with_context(|| format!("cannot connect to {server}: is Redis running?"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let mut unsent = Vec::with_capacity(FILL_BYTES * 2);
    let (mut put, mut waiting) = (0, 0);
    for (key, value) in pairs {
        command(&mut unsent, &[b"SET", &key, &value]);
        waiting += 1;
        if waiting == FILL_PAIRS || unsent.len() >= FILL_BYTES {
            settle(&mut stream, &mut unsent, waiting)?;
            put += std::mem::take(&mut waiting);
        }
    }
    settle(&mut stream, &mut unsent, waiting)?;
    Ok(put + waiting)
}

/// Sends what is unsent and reads so many replies, all of which must be `OK`.
fn settle(stream: &mut TcpStream, unsent: &mut Vec<u8>, mut waiting: u64) -> anyhow::Result<()> {
    stream.write_all(unsent).context("Redis does not take what is put into it: does it still run?")?;
    unsent.clear();
    let (mut input, mut buffer, mut scanned) = (Vec::new(), [0; 16 * 1024], 0);
    while waiting > 0 {
        let bytes = stream.read(&mut buffer).context("Redis does not answer: does it still run?")?;
        ensure!(bytes > 0, "Redis hung up while it was filled: look at its log, and at its limit of memory");
        input.extend_from_slice(&buffer[..bytes]);
        let mut at = 0;
        loop {
            match Resp::split(&input[at..], &mut scanned) {
                Ok(None) => break,
                Ok(Some(length)) if &input[at..at + length] == b"+OK\r\n" && waiting > 0 => {
                    (at, scanned, waiting) = (at + length, 0, waiting - 1);
                }
                Ok(Some(length)) => {
                    let reply = Resp::judge(&input[at..at + length], false, None).error.unwrap_or_default();
                    bail!("Redis did not take a pair ({reply}): look at its log, and at its limit of memory");
                }
                Err(Damaged(why)) => bail!("{} does not speak as Redis does ({why}): is it one?", stream.peer_addr()?),
            }
        }
        input.drain(..at);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::framing::check_every_split;
    use super::*;

    #[test]
    fn a_key_becomes_a_get() {
        let mut out = Vec::new();
        Resp::request(&mut out, 7, &Resp.prepare("João 1").unwrap());
        assert_eq!(String::from_utf8(out).unwrap(), "*2\r\n$3\r\nGET\r\n$7\r\nJoão 1\r\n");
    }

    #[test]
    fn replies_are_found_wherever_a_read_ends() {
        let replies = ["$5\r\na\r\nbc\r\n", "$0\r\n\r\n", "$-1\r\n", "-ERR no\r\n", "+OK\r\n", ":12\r\n", "_\r\n"];
        let lengths: Vec<usize> = replies.iter().map(|reply| reply.len()).collect();
        check_every_split::<Resp>(replies.concat().as_bytes(), &lengths);
    }

    #[test]
    fn replies_are_judged() {
        #[track_caller]
        fn check(reply: &str, error: Option<&'static str>) {
            assert_eq!(Resp::split(reply.as_bytes(), &mut 0), Ok(Some(reply.len())), "{reply}");
            let judged = Resp::judge(reply.as_bytes(), false, None);
            assert_eq!(judged, Judged { id: None, error: error.map(Into::into) }, "{reply}");
        }
        check("$1\r\nx\r\n", None);
        check("$01\r\nx\r\n", None);
        check("$-1\r\n", Some("nil"));
        check("_\r\n", Some("nil"));
        check("$0\r\n\r\n", Some("empty"));
        check("-WRONGTYPE Operation against\r\n", Some("WRONGTYPE"));
        check("-\r\n", Some("error_without_code"));
        check("+OK\r\n", Some("not_a_bulk_string"));
        check(":0\r\n", Some("not_a_bulk_string"));
    }

    #[test]
    fn damage_is_an_error_and_nothing_worse() {
        #[track_caller]
        fn check(input: &[u8], why: &'static str) {
            assert_eq!(Resp::split(input, &mut 0), Err(Damaged(why)), "{}", input.escape_ascii());
        }
        check(b"*1\r\n$1\r\nx\r\n", "not_a_reply");
        check(b"{\"id\":1}\n", "not_a_reply");
        check(b"\r\n", "not_a_reply");
        check(b"$1\nx\r\n", "not_a_reply");
        check(b"$x\r\n", "not_a_reply");
        check(b"$-2\r\n", "not_a_reply");
        check(b"$\r\n\r\n", "not_a_reply");
        check(b"$1\r\nxyz", "not_a_reply");
        check(b"$99999999999999999999999\r\n", "not_a_reply");
        check(b"$999999999999999999\r\n", "reply_too_long");
        check(&[b'$'; LINE_BYTES_MAX], "reply_line_too_long");
        check(&[b'-'; 2 * LINE_BYTES_MAX], "reply_line_too_long");
    }

    /// A peer that answers the `SET` with number n by `answer(n)`.
    fn redis(answer: fn(u64) -> &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let (mut buffer, mut ends, mut count) = ([0; 1000], 0, 0);
            while let Ok(bytes @ 1..) = stream.read(&mut buffer) {
                ends += buffer[..bytes].iter().filter(|&&byte| byte == b'\n').count();
                while ends >= 7 {
                    ends -= 7;
                    if stream.write_all(answer(count).as_bytes()).is_err() {
                        return;
                    }
                    count += 1;
                }
            }
        });
        address
    }

    #[test]
    fn every_pair_is_put_or_the_first_that_was_not_is_told() {
        let pairs = || (0..3 * FILL_PAIRS + 7).map(|n| (n.to_string().into_bytes(), vec![b'v'; 40]));
        assert_eq!(fill(redis(|_| "+OK\r\n"), pairs()).unwrap(), 3 * FILL_PAIRS + 7);
        assert_eq!(fill(redis(|_| "+OK\r\n"), std::iter::empty()).unwrap(), 0);
        let full = fill(redis(|n| if n == 2500 { "-OOM full\r\n" } else { "+OK\r\n" }), pairs()).unwrap_err();
        assert!(full.to_string().contains("OOM"), "{full}");
        let damaged = fill(redis(|_| "HTTP/1.1 400\r\n"), pairs()).unwrap_err();
        assert!(damaged.to_string().contains("is it one?"), "{damaged}");
        let far = fill("192.0.2.1:6379".parse().unwrap(), pairs()).unwrap_err();
        assert!(far.to_string().contains("not this machine"), "{far}");
    }
}
