//! Version 3 of PostgreSQL's protocol, as far as one prepared statement needs it: each question binds its one text parameter and executes it.
//!
//! It knows the server only as one that trusts this machine: it has no password and no encryption. Rows are counted, not read.

use std::borrow::Cow;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context as _, bail, ensure};

use super::Statement;
use super::framing::{Damaged, Framing, Judged, REPLY_BYTES_MAX, printable};

/// Version 3.0 of the protocol, as the first message names it.
const VERSION: i32 = 3 << 16;

/// A message's kind and length, which counts itself but not the kind.
const HEADER_BYTES: usize = 5;
const LENGTH_BYTES: usize = 4;

/// Asks for the end of what was sent since the last one; its reply is the last of all.
const SYNC: &[u8] = b"S\0\0\0\x04";

/// More bytes of greeting are none: PostgreSQL's are some hundred.
const GREETING_BYTES_MAX: usize = 1 << 20;

/// The name of the prepared statement on each connection.
const NAME: &[u8] = b"load\0";

/// The protocol, and what is asked over it.
#[derive(Debug)]
pub(crate) struct Postgres<'a>(pub(crate) &'a Statement);

impl Framing for Postgres<'_> {
    /// Logs in and prepares the statement.
    fn greet(&self, stream: &mut TcpStream) -> anyhow::Result<()> {
        let Statement { user, database, sql } = self.0;
        let is_text = [user, database, sql].iter().all(|text| !text.contains('\0'));
        ensure!(is_text, "user, database and statement must not hold a zero byte");
        let mut body = VERSION.to_be_bytes().to_vec();
        for text in ["user", user, "database", database, "client_encoding", "UTF8", ""] {
            body.extend_from_slice(text.as_bytes());
            body.push(0);
        }
        let mut out = Vec::new();
        untagged(&mut out, &body);
        stream.write_all(&out).context("PostgreSQL does not take a connection")?;
        let reply = read_reply(stream).context("cannot log in to PostgreSQL")?;
        for (kind, body) in messages(&reply) {
            // Zero is "you are in"; anything else asks for a secret, and is followed by no end.
            ensure!(kind != b'R' || body == [0; 4], "{NEEDS_TRUST}");
        }
        refuse_error(&reply).context("cannot log in to PostgreSQL; check user and database")?;
        out.clear();
        message(&mut out, b'P', &[NAME, sql.as_bytes(), b"\0", &[0, 0]]);
        message(&mut out, b'D', &[b"S", NAME]);
        out.extend_from_slice(SYNC);
        stream.write_all(&out).context("PostgreSQL does not take a statement")?;
        let reply = read_reply(stream).context("cannot prepare the statement")?;
        refuse_error(&reply).context("cannot prepare the statement; check its SQL")?;
        let parameters = messages(&reply).find(|(kind, _)| *kind == b't').map(|(_, body)| body.get(..2));
        let is_one = parameters == Some(Some(&[0, 1]));
        ensure!(is_one, "the statement must have one parameter: write $1 where the key belongs, and no $2");
        Ok(())
    }

    fn prepare(&self, line: &str) -> Result<Vec<u8>, &'static str> {
        if line.contains('\0') {
            return Err("a key with a zero byte");
        }
        let length = i32::try_from(line.len()).map_err(|_| "a key of more than 2 GB")?.to_be_bytes();
        let mut body = Vec::new();
        // The unnamed portal; parameters as text; one parameter; results as text.
        message(&mut body, b'B', &[b"\0", NAME, &[0, 0], &[0, 1], &length, line.as_bytes(), &[0, 0]]);
        // All rows of it.
        message(&mut body, b'E', &[b"\0", &[0; 4]]);
        body.extend_from_slice(SYNC);
        Ok(body)
    }

    fn request(out: &mut Vec<u8>, _id: u64, body: &[u8]) {
        out.extend_from_slice(body);
    }

    /// A reply ends with `ReadyForQuery`. `scanned` is where the first message begins that is not whole.
    fn split(input: &[u8], scanned: &mut usize) -> Result<Option<usize>, Damaged> {
        while let Some((kind, length)) = header(&input[*scanned..]) {
            let length = length.ok_or(Damaged("not_a_reply"))?;
            // What a server never sends outside of a greeting or of what we do not use is no message of this reply.
            let is_known = b"23CDEINSZAn".contains(&kind) || b"1KRTtv".contains(&kind);
            if !is_known || (kind == b'Z' && length != HEADER_BYTES + 1) {
                return Err(Damaged("not_a_reply"));
            }
            let end = *scanned + length;
            if end > REPLY_BYTES_MAX {
                return Err(Damaged("reply_too_long"));
            }
            if input.len() < end {
                return Ok(None);
            }
            *scanned = end;
            if kind == b'Z' {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    fn judge(reply: &[u8], rows_expected: bool, _total: Option<u32>) -> Judged {
        let mut rows = 0_u64;
        let mut is_complete = false;
        for (kind, body) in messages(reply) {
            match kind {
                b'D' => rows += 1,
                b'C' => is_complete = true,
                b'E' => return Judged::wrong(None, sqlstate(body)),
                _ => {}
            }
        }
        match (is_complete, rows) {
            (false, _) => Judged::wrong(None, "not_executed"),
            (true, 0) if rows_expected => Judged::wrong(None, "no_rows"),
            _ => Judged::well(None),
        }
    }

    fn rows(reply: &[u8]) -> u64 {
        messages(reply).filter(|(kind, _)| *kind == b'D').count() as u64
    }

    /// A server that ends tells why before it hangs up, and no end of a reply follows.
    fn last_words(input: &[u8]) -> Option<Cow<'static, str>> {
        messages(input).find(|(kind, _)| *kind == b'E').map(|(_, body)| sqlstate(body))
    }
}

/// What to do where the server wants more than a name.
const NEEDS_TRUST: &str =
    "PostgreSQL asks for a password, which this program has not: let pg_hba.conf `trust` this user on loopback";

/// Appends a message of this kind.
fn message(out: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    out.push(kind);
    untagged(out, &parts.concat());
}

/// Appends a body behind its length.
fn untagged(out: &mut Vec<u8>, body: &[u8]) {
    let length = u32::try_from(LENGTH_BYTES + body.len()).expect("keys and statements are below 4 GB");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(body);
}

/// The kind of the first message and its whole length, where that can be one; `None` where its header is not whole.
fn header(input: &[u8]) -> Option<(u8, Option<usize>)> {
    let (&kind, rest) = input.split_first()?;
    let length = u32::from_be_bytes(*rest.first_chunk()?) as usize;
    Some((kind, (LENGTH_BYTES..=REPLY_BYTES_MAX).contains(&length).then_some(length + 1)))
}

/// The whole messages at the beginning of `input`: their kinds and bodies.
fn messages(mut input: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (kind, length) = header(input)?;
        let (message, rest) = input.split_at_checked(length?)?;
        input = rest;
        Some((kind, &message[HEADER_BYTES..]))
    })
}

/// The field of an error that `code` names: `C` is its SQLSTATE, `M` its text.
fn field(error: &[u8], code: u8) -> &[u8] {
    let mut fields = error.split(|&byte| byte == 0);
    fields.find_map(|field| field.strip_prefix(&[code])).unwrap_or_default()
}

fn sqlstate(error: &[u8]) -> Cow<'static, str> {
    printable(field(error, b'C'))
}

/// Reads until the server is ready for more, asks for a secret, or says why it is not.
fn read_reply(stream: &mut TcpStream) -> anyhow::Result<Vec<u8>> {
    let (mut reply, mut buffer, mut scanned) = (Vec::new(), [0; 4096], 0);
    loop {
        let bytes = stream.read(&mut buffer).context("it does not answer: does it still run?")?;
        if bytes == 0 {
            refuse_error(&reply)?;
            bail!("it hung up: is it PostgreSQL, and without `ssl` forced on loopback?");
        }
        reply.extend_from_slice(&buffer[..bytes]);
        let ends = Postgres::split(&reply, &mut scanned);
        let ends = ends.map_err(|Damaged(why)| anyhow::anyhow!("it does not speak as PostgreSQL does ({why})"))?;
        let asks = messages(&reply).any(|(kind, body)| kind == b'R' && body != [0; 4]);
        if ends.is_some() || asks {
            return Ok(reply);
        }
        ensure!(reply.len() <= GREETING_BYTES_MAX, "it greets without an end: is it PostgreSQL?");
    }
}

/// The first error of a reply as one of ours.
fn refuse_error(reply: &[u8]) -> anyhow::Result<()> {
    let Some((_, error)) = messages(reply).find(|(kind, _)| *kind == b'E') else { return Ok(()) };
    bail!("{}: {}", sqlstate(error), String::from_utf8_lossy(field(error, b'M')))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use super::super::framing::check_every_split;
    use super::*;

    const READY: &[u8] = b"Z\0\0\0\x05I";

    fn built(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        message(&mut out, kind, &[body]);
        out
    }

    fn row() -> Vec<u8> {
        built(b'D', b"\0\x01\0\0\0\x03Z\0I")
    }

    fn done() -> Vec<u8> {
        [&built(b'C', b"SELECT 1\0")[..], READY].concat()
    }

    fn failure(code: &str) -> Vec<u8> {
        built(b'E', format!("SERROR\0C{code}\0Mno such thing\0\0").as_bytes())
    }

    #[test]
    fn a_key_is_bound_and_executed() {
        let statement = Statement { user: "u".into(), database: "d".into(), sql: "s".into() };
        let body = Postgres(&statement).prepare("Zé").unwrap();
        let bind = b"B\0\0\0\x17\0load\0\0\0\0\x01\0\0\0\x03Z\xc3\xa9\0\0";
        assert_eq!(body, [&bind[..], b"E\0\0\0\x09\0\0\0\0\0", SYNC].concat());
        assert!(Postgres(&statement).prepare("a\0b").is_err());
    }

    #[test]
    fn replies_are_found_wherever_a_read_ends() {
        let bound = built(b'2', b"");
        let one = [&bound[..], &row(), &done()].concat();
        let two = [&failure("22P02")[..], READY].concat();
        check_every_split::<Postgres<'_>>(
            &[&one[..], &two, &one, b"D\0\0"].concat(),
            &[one.len(), two.len(), one.len()],
        );
    }

    #[test]
    fn replies_are_judged() {
        #[track_caller]
        fn check(reply: &[&[u8]], rows_expected: bool, error: Option<&'static str>) {
            let judged = Postgres::judge(&reply.concat(), rows_expected, None);
            assert_eq!(judged, Judged { id: None, error: error.map(Into::into) });
        }
        check(&[&built(b'2', b""), &row(), &row(), &done()], true, None);
        check(&[&built(b'2', b""), &done()], true, Some("no_rows"));
        check(&[&built(b'2', b""), &done()], false, None);
        check(&[&failure("22P02"), READY], false, Some("22P02"));
        // An error behind a row is one all the same.
        check(&[&row(), &failure("57014"), READY], false, Some("57014"));
        check(&[&built(b'E', b""), READY], false, Some("error_without_code"));
        check(&[READY], false, Some("not_executed"));
        assert_eq!(Postgres::last_words(&failure("57P01")).as_deref(), Some("57P01"));
        assert_eq!(Postgres::last_words(&failure("57P01")[..9]), None);
    }

    #[test]
    fn damage_is_an_error_and_nothing_worse() {
        #[track_caller]
        fn check(input: &[u8], why: &'static str) {
            assert_eq!(Postgres::split(input, &mut 0), Err(Damaged(why)), "{}", input.escape_ascii());
        }
        check(b"D\0\0\0\x03", "not_a_reply");
        check(b"D\xff\xff\xff\xff", "not_a_reply");
        check(b"Z\0\0\0\x06II", "not_a_reply");
        check(b"HTTP/1.1 400", "not_a_reply");
        check(b"+OK\r\n", "not_a_reply");
        let half = u32::try_from(REPLY_BYTES_MAX / 2 + 100).unwrap().to_be_bytes();
        let mut two = [b"D", &half[..]].concat();
        two.resize(half.len() + 1 + REPLY_BYTES_MAX / 2 + 96, 0);
        two.extend_from_slice(&[b"D", &half[..]].concat());
        check(&two, "reply_too_long");
    }

    /// A peer that reads what there is and answers with the next of `replies`, then hangs up.
    fn greeted(replies: &[Vec<u8>]) -> anyhow::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let replies = replies.to_vec();
        let peer = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            for reply in replies {
                let read = stream.read(&mut [0; 4096]).unwrap();
                assert!(read > 0);
                stream.write_all(&reply).unwrap();
            }
        });
        let statement = Statement { user: "u".into(), database: "d".into(), sql: "SELECT $1".into() };
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let outcome = Postgres(&statement).greet(&mut stream);
        drop(stream);
        peer.join().unwrap();
        outcome
    }

    #[test]
    fn a_greeting_ends_well_or_says_why_not() {
        #[track_caller]
        fn check(replies: &[Vec<u8>], expected: Option<&str>) {
            let outcome = greeted(replies);
            let told = outcome.as_ref().err().map(|error| format!("{error:#}"));
            assert_eq!(told.is_some(), expected.is_some(), "{told:?}");
            assert!(told.unwrap_or_default().contains(expected.unwrap_or_default()), "{outcome:?}");
        }
        let status = built(b'S', b"client_encoding\0UTF8\0");
        let login = [&built(b'R', &[0; 4])[..], &status, &built(b'K', &[0; 8]), READY].concat();
        let prepared = |parameters: u8| {
            let count = [0, parameters];
            let types = vec![0; 4 * usize::from(parameters)];
            let described = built(b't', &[&count[..], &types].concat());
            [&built(b'1', b"")[..], &described, &built(b'n', b""), READY].concat()
        };
        check(&[login.clone(), prepared(1)], None);
        check(&[login.clone(), prepared(2)], Some("one parameter"));
        check(&[login.clone(), [&failure("42601")[..], READY].concat()], Some("42601: no such thing"));
        check(&[built(b'R', &[0, 0, 0, 10])], Some("trust"));
        check(&[failure("3D000")], Some("3D000"));
        check(&[b"-ERR unknown command\r\n".to_vec()], Some("does not speak"));
        check(&[Vec::new()], Some("PostgreSQL"));
    }
}
