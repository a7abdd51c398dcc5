//! Replies: each written whole onto the end of a buffer, without the `\n`, so that an item of a batch and a line are the same thing.
//!
//! Rows are written value by value as the database holds them: nothing is built first and copied then.

use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::PROTOCOL_VERSION;
use crate::code::Fault;
use crate::cursor::Total;
use crate::limits::{
    BATCH_ITEMS_MAX, BATCH_ROWS_MAX, DEADLINE_MS_DEFAULT, IN_FLIGHT_MAX, LIMIT_MAX, LINE_BYTES_MAX, QUESTION_WORDS_MAX,
};
use crate::request::Id;
use crate::stats::Stats;

/// What `hello` tells beside the protocol's own limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Name and version of the server, as `name/version`.
    pub server: String,
    /// The name of the generation that is served.
    pub generation: String,
    /// Rows of the table when it was indexed.
    pub rows: u64,
    /// The table's columns, in their order.
    pub columns: Vec<String>,
    /// The values of `match` that this generation answers.
    pub matches: Vec<&'static str>,
    /// What it filters by, `sex` or `birth`, and the name of the column in `where`.
    pub filters: Vec<(&'static str, String)>,
}

/// What stands behind the rows of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending<'a> {
    /// Rows of all pages.
    pub total: Total,
    /// The cursor of the following page.
    pub next: Option<&'a str>,
    /// Whether the check digits of the CPF asked for do not hold.
    pub check_digits_warning: bool,
    /// For `fuzzy`: the sum of the distances of each row.
    pub distances: Option<&'a [u8]>,
    /// Whether the page ended because it had cost enough.
    pub bounded: bool,
}

/// Writes the answer to `ping`.
pub fn write_pong(out: &mut Vec<u8>, id: &Id) {
    open_ok(out, id);
    out.push(b'}');
}

/// Writes the answer to `hello`.
pub fn write_greeting(out: &mut Vec<u8>, id: &Id, greeting: &Greeting) {
    open_ok(out, id);
    print(out, format_args!(",\"protocol\":{PROTOCOL_VERSION},\"server\":"));
    string(out, &greeting.server);
    out.extend_from_slice(b",\"generation\":");
    string(out, &greeting.generation);
    print(out, format_args!(",\"rows\":{},\"columns\":[", greeting.rows));
    separated(out, &greeting.columns, |out, column| string(out, column));
    out.extend_from_slice(b"],\"matches\":[");
    separated(out, &greeting.matches, |out, name| string(out, name));
    out.extend_from_slice(b"],\"filters\":{");
    separated(out, &greeting.filters, |out, (what, column)| {
        string(out, what);
        out.push(b':');
        string(out, column);
    });
    print(
        out,
        format_args!(
            "}},\"limits\":{{\"line_bytes\":{LINE_BYTES_MAX},\"limit_max\":{LIMIT_MAX},\"batch_items\":{BATCH_ITEMS_MAX},\
             \"batch_rows\":{BATCH_ROWS_MAX},\"in_flight\":{IN_FLIGHT_MAX},\"question_words\":{QUESTION_WORDS_MAX},\
             \"deadline_ms\":{DEADLINE_MS_DEFAULT}}}}}"
        ),
    );
}

/// Writes the answer to `stats`.
pub fn write_stats(out: &mut Vec<u8>, id: &Id, stats: &Stats) {
    open_ok(out, id);
    let start = out.len();
    // Numbers and texts to memory: this cannot fail. Its brace becomes the comma behind `status`.
    let _ = serde_json::to_writer(&mut *out, stats);
    if let Some(brace) = out.get_mut(start) {
        *brace = b',';
    }
}

/// Writes an error reply.
pub fn write_fault(out: &mut Vec<u8>, id: &Id, fault: &Fault) {
    open(out, id);
    out.extend_from_slice(b"\"status\":\"error\",\"code\":\"");
    out.extend_from_slice(fault.code.as_str().as_bytes());
    out.extend_from_slice(b"\",\"message\":");
    string(out, &fault.message);
    if let Some(ms) = fault.retry_after_ms {
        print(out, format_args!(",\"retry_after_ms\":{ms}"));
    }
    out.push(b'}');
}

/// Writes the answer to a batch; `results` are the items' replies, separated by commas.
pub fn write_batch(out: &mut Vec<u8>, id: &Id, results: &[u8]) {
    open_ok(out, id);
    out.extend_from_slice(b",\"results\":[");
    out.extend_from_slice(results);
    out.extend_from_slice(b"]}");
}

/// Writes an answer with rows: [`RowsWriter::row`] for each, then [`RowsWriter::finish`].
pub struct RowsWriter<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> RowsWriter<'a> {
    /// Begins the answer to the request with this `id`.
    pub fn begin(out: &'a mut Vec<u8>, id: &Id) -> Self {
        open_ok(out, id);
        out.extend_from_slice(b",\"rows\":[");
        Self { out, first: true }
    }

    /// Begins the next row.
    pub fn row(&mut self) -> RowWriter<'_> {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        RowWriter { out: self.out, opener: b'{' }
    }

    /// Bytes of the whole buffer so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.out.len()
    }

    /// Ends the answer. `total` counts the rows of all pages, `next` is the cursor of the following one.
    pub fn finish(self, total: u64, next: Option<&str>, check_digits_warning: bool) {
        let (distances, bounded) = (None, false);
        self.finish_search(&Ending { total: Total::Exact(total), next, check_digits_warning, distances, bounded });
    }

    /// Ends the answer of a search, whose total may be known from below only.
    pub fn finish_search(self, ending: &Ending<'_>) {
        let (member, total): (&[u8], _) = match ending.total {
            Total::Exact(total) => (b"],\"total\":", total),
            Total::AtLeast(total) => (b"],\"total_at_least\":", total),
        };
        self.out.extend_from_slice(member);
        number(self.out, total);
        self.out.extend_from_slice(b",\"next\":");
        match ending.next {
            Some(cursor) => string(self.out, cursor),
            None => self.out.extend_from_slice(b"null"),
        }
        if let Some(distances) = ending.distances {
            self.out.extend_from_slice(b",\"distances\":[");
            separated(self.out, distances, |out, distance| number(out, *distance));
            self.out.push(b']');
        }
        if ending.bounded {
            self.out.extend_from_slice(b",\"bounded\":true");
        }
        close(self.out, ending.check_digits_warning);
    }
}

/// Writes one row: name and value of each column in turn, then [`RowWriter::finish`].
pub struct RowWriter<'a> {
    out: &'a mut Vec<u8>,
    opener: u8,
}

impl RowWriter<'_> {
    /// A column's name, already as JSON with its quotes and colon: the table's columns are encoded once, not for each row.
    pub fn name(&mut self, encoded: &[u8]) -> &mut Self {
        self.out.push(self.opener);
        self.opener = b',';
        self.out.extend_from_slice(encoded);
        self
    }

    /// Encodes a column's name for [`RowWriter::name`].
    #[must_use]
    pub fn encode_name(name: &str) -> Box<[u8]> {
        let mut encoded = Vec::new();
        string(&mut encoded, name);
        encoded.push(b':');
        encoded.into()
    }

    /// NULL.
    pub fn null(&mut self) {
        self.out.extend_from_slice(b"null");
    }

    /// An integer.
    pub fn integer(&mut self, value: i64) {
        number(self.out, value);
    }

    /// A double; an infinite one becomes the text `Inf` or `-Inf`, as SQLite prints it.
    pub fn real(&mut self, value: f64) {
        if value.is_finite() {
            // Writing a finite number to memory cannot fail.
            let _ = serde_json::to_writer(&mut *self.out, &value);
        } else {
            let text: &[u8] = match value {
                f64::INFINITY => b"\"Inf\"",
                f64::NEG_INFINITY => b"\"-Inf\"",
                _ => b"\"NaN\"",
            };
            self.out.extend_from_slice(text);
        }
    }

    /// A text; what is not UTF-8 becomes U+FFFD.
    pub fn text(&mut self, value: &[u8]) {
        // Looked through to the end, so that it goes many bytes at a time.
        if value.iter().fold(true, |plain, &b| plain & is_plain(b)) {
            self.out.push(b'"');
            self.out.extend_from_slice(value);
            self.out.push(b'"');
        } else {
            string(self.out, &String::from_utf8_lossy(value));
        }
    }

    /// A BLOB, as `{"base64":"…"}`.
    pub fn blob(&mut self, value: &[u8]) {
        print(self.out, format_args!("{{\"base64\":\"{}\"}}", STANDARD.encode(value)));
    }

    /// Ends the row.
    pub fn finish(self) {
        if self.opener == b'{' {
            self.out.push(b'{');
        }
        self.out.push(b'}');
    }
}

/// Opens a reply: `{` and, where there is one, the `id` with a comma behind it.
fn open(out: &mut Vec<u8>, id: &Id) {
    out.push(b'{');
    match id {
        Id::Absent => {}
        Id::Integer(id) => {
            out.extend_from_slice(b"\"id\":");
            number(out, *id);
            out.push(b',');
        }
        Id::Text(id) => {
            out.extend_from_slice(b"\"id\":");
            string(out, id);
            out.push(b',');
        }
    }
}

pub(crate) fn open_ok(out: &mut Vec<u8>, id: &Id) {
    open(out, id);
    out.extend_from_slice(b"\"status\":\"ok\"");
}

/// Closes an answer to a question by CPF.
pub(crate) fn close(out: &mut Vec<u8>, check_digits_warning: bool) {
    if check_digits_warning {
        out.extend_from_slice(b",\"warning\":\"check_digits\"");
    }
    out.push(b'}');
}

/// Writes `items` with commas between them.
fn separated<T>(out: &mut Vec<u8>, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(out, item);
    }
}

fn string(out: &mut Vec<u8>, text: &str) {
    // Writing a string to memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}

/// What JSON takes as it is, but for what is not ASCII.
fn is_plain(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte) & (byte != b'"') & (byte != b'\\')
}

/// An integer, without the machinery of formatting.
fn number(out: &mut Vec<u8>, value: impl serde::Serialize) {
    // Writing an integer to memory cannot fail.
    let _ = serde_json::to_writer(out, &value);
}

pub(crate) fn print(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    // Writing to memory cannot fail.
    let _ = out.write_fmt(arguments);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::Code;

    #[track_caller]
    fn check(write: impl FnOnce(&mut Vec<u8>), expected: &str) {
        let mut out = Vec::new();
        write(&mut out);
        let line = String::from_utf8(out).unwrap();
        assert_eq!(line, expected);
        serde_json::from_str::<serde_json::Value>(&line).unwrap();
    }

    #[test]
    fn golden_lines() {
        check(|out| write_pong(out, &Id::Absent), r#"{"status":"ok"}"#);
        check(|out| write_pong(out, &Id::Text("a\"".into())), r#"{"id":"a\"","status":"ok"}"#);
        check(
            |out| write_fault(out, &Id::Integer(1), &Fault::new(Code::InvalidCpf, "say \"why\"")),
            r#"{"id":1,"status":"error","code":"invalid_cpf","message":"say \"why\""}"#,
        );
        check(
            |out| write_fault(out, &Id::Absent, &Fault::overloaded("full", 250)),
            r#"{"status":"error","code":"overloaded","message":"full","retry_after_ms":250}"#,
        );
        check(
            |out| write_fault(out, &Id::Integer(2), &Fault::budget_exceeded("slower", 1000)),
            r#"{"id":2,"status":"error","code":"budget_exceeded","message":"slower","retry_after_ms":1000}"#,
        );
        check(
            |out| write_batch(out, &Id::Integer(6), br#"{"status":"ok"},{"status":"ok"}"#),
            r#"{"id":6,"status":"ok","results":[{"status":"ok"},{"status":"ok"}]}"#,
        );
        let greeting = Greeting {
            server: "balcao/0".to_owned(),
            generation: "g".to_owned(),
            rows: 3,
            columns: vec!["cpf".to_owned(), "no\"me".to_owned()],
            matches: vec!["exact", "prefix"],
            filters: vec![("sex", "se\"xo".to_owned()), ("birth", "nasc".to_owned())],
        };
        check(
            |out| write_greeting(out, &Id::Integer(4), &greeting),
            concat!(
                r#"{"id":4,"status":"ok","protocol":1,"server":"balcao/0","generation":"g","rows":3,"columns":["cpf","no\"me"],"#,
                r#""matches":["exact","prefix"],"filters":{"sex":"se\"xo","birth":"nasc"},"#,
                r#""limits":{"line_bytes":65536,"limit_max":1000,"batch_items":1000,"batch_rows":10000,"in_flight":64,"#,
                r#""question_words":16,"deadline_ms":2000}}"#
            ),
        );
    }

    #[test]
    fn stats_stand_beside_the_status() {
        let stats = Stats { server: "balcao/0".to_owned(), rows: 3, ..Stats::default() };
        let mut out = Vec::new();
        write_stats(&mut out, &Id::Integer(5), &stats);
        let line = String::from_utf8(out).unwrap();
        assert!(line.starts_with(r#"{"id":5,"status":"ok","server":"balcao/0","uptime_s":0,"#), "{line}");
        assert_eq!(serde_json::from_str::<Stats>(&line).unwrap(), stats);
    }

    #[test]
    fn rows_carry_every_kind_of_value() {
        check(
            |out| {
                let mut rows = RowsWriter::begin(out, &Id::Integer(1));
                let mut row = rows.row();
                row.name(&RowWriter::encode_name("a")).null();
                row.name(&RowWriter::encode_name("b")).integer(i64::MIN);
                row.name(&RowWriter::encode_name("c")).real(1.0);
                row.name(&RowWriter::encode_name("d")).real(f64::NEG_INFINITY);
                row.name(&RowWriter::encode_name("e")).text("É\"\n".as_bytes());
                row.name(&RowWriter::encode_name("f")).text(b"A\xffB");
                row.name(&RowWriter::encode_name("g")).blob(b"\x00\xff");
                row.finish();
                rows.row().finish();
                rows.finish(2, Some("abc"), true);
            },
            concat!(
                r#"{"id":1,"status":"ok","rows":[{"a":null,"b":-9223372036854775808,"c":1.0,"d":"-Inf","e":"É\"\n","f":"A�B","#,
                r#""g":{"base64":"AP8="}},{}],"total":2,"next":"abc","warning":"check_digits"}"#
            ),
        );
        check(
            |out| RowsWriter::begin(out, &Id::Absent).finish(0, None, false),
            r#"{"status":"ok","rows":[],"total":0,"next":null}"#,
        );
    }

    #[test]
    fn endings_of_searches() {
        let ending = Ending {
            total: Total::AtLeast(7),
            next: Some("abc"),
            check_digits_warning: false,
            distances: None,
            bounded: true,
        };
        check(
            |out| RowsWriter::begin(out, &Id::Integer(1)).finish_search(&ending),
            r#"{"id":1,"status":"ok","rows":[],"total_at_least":7,"next":"abc","bounded":true}"#,
        );
        let ending = Ending { total: Total::Exact(2), next: None, distances: Some(&[0, 32]), bounded: false, ..ending };
        check(
            |out| {
                let mut rows = RowsWriter::begin(out, &Id::Absent);
                rows.row().finish();
                rows.row().finish();
                rows.finish_search(&ending);
            },
            r#"{"status":"ok","rows":[{},{}],"total":2,"next":null,"distances":[0,32]}"#,
        );
        let ending = Ending { total: Total::Exact(0), check_digits_warning: true, distances: Some(&[]), ..ending };
        check(
            |out| RowsWriter::begin(out, &Id::Absent).finish_search(&ending),
            r#"{"status":"ok","rows":[],"total":0,"next":null,"distances":[],"warning":"check_digits"}"#,
        );
    }
}
