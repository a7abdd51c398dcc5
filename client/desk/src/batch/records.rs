//! `Records`: the lines of a CSV file, each with its cells, also where a line is none. It knows no columns and no questions.
//!
//! A quote that is never closed would take the rest of the file for one cell. So a record has its bounds, and one that does not fit the
//! header although it goes over several lines is taken for its first line alone: the next one begins anew.

use std::io;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use memchr::{memchr, memchr2, memchr2_iter};

use super::encoding::Text;

/// Bytes of a record at most: the widest lines of real tables have some ten thousand.
pub(crate) const RECORD_BYTES_MAX: usize = 1 << 20;

/// Lines of a record at most, by the line ends in its quoted cells: an address has a few, and a text that somebody typed some dozens.
const RECORD_LINES_MAX: usize = 100;

/// Bytes after which a record that has not ended yet is looked at.
const STEP_BYTES: usize = 4 << 10;

/// Bytes of cells for which room is made first.
const CELLS_BYTES: usize = 1 << 10;

/// The separators that spreadsheets write. The first wins a draw.
const SEPARATORS: [u8; 4] = *b",;\t|";

/// The cells of one line.
#[derive(Debug, Default)]
pub(crate) struct Record {
    text: Vec<u8>,
    ends: Vec<usize>,
    text_bytes: usize,
    cells: usize,
    /// The line is none: its cells are what could be made of it.
    pub(crate) is_bad: bool,
}

impl Record {
    /// How many cells there are.
    pub(crate) fn len(&self) -> usize {
        self.cells
    }

    /// All cells as one text.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text[..self.text_bytes]
    }

    /// A cell; blank where there is none.
    pub(crate) fn cell(&self, at: usize) -> &[u8] {
        if at >= self.cells {
            return b"";
        }
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[at]]
    }

    fn clear(&mut self) {
        (self.text_bytes, self.cells, self.is_bad) = (0, 0, false);
    }
}

/// What became of a try to read a record.
enum Tried {
    /// It is there: so many bytes, over so many lines.
    Whole { bytes: usize, lines: usize },
    /// It goes beyond its bounds.
    Boundless,
    /// The file ended.
    End,
}

/// The lines of a file.
pub(crate) struct Records {
    text: Text,
    parser: Reader,
    separator: u8,
    /// A line of fewer cells than the header is one where it has so many.
    needed: usize,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are done with.
    taken: usize,
    is_at_end: bool,
}

impl Records {
    /// Begins with the first line, by which the separator is seen.
    pub(crate) fn open(text: Text) -> io::Result<Self> {
        let mut records = Self {
            text,
            parser: Reader::new(),
            separator: b',',
            needed: usize::MAX,
            buffer: Vec::new(),
            taken: 0,
            is_at_end: false,
        };
        while memchr2(b'\n', b'\r', &records.buffer).is_none()
            && records.buffer.len() < RECORD_BYTES_MAX
            && records.more()?
        {}
        records.separator = separator(&records.buffer);
        records.parser = ReaderBuilder::new().delimiter(records.separator).build();
        Ok(records)
    }

    /// From now on, a line that goes over no other may leave out the cells behind the first `cells`: spreadsheets leave blank ones at the end
    /// away.
    pub(crate) fn need(&mut self, cells: usize) {
        self.needed = cells;
    }

    /// What stands between two cells.
    pub(crate) fn separator(&self) -> u8 {
        self.separator
    }

    /// Whether the file began with a mark of its byte order.
    pub(crate) fn has_bom(&self) -> bool {
        self.text.has_bom()
    }

    /// Bytes of the file that were read.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.text.bytes_read()
    }

    /// Goes on from this place of the buffer again: what was read since is read once more.
    pub(crate) fn peek(
        &mut self,
        lines_max: usize,
        width: Option<usize>,
        mut visit: impl FnMut(&Record),
    ) -> io::Result<()> {
        while self.buffer.len() - self.taken < RECORD_BYTES_MAX && self.more()? {}
        let place = self.taken;
        let mut record = Record::default();
        // Nothing is dropped from the buffer while it has all that is wanted.
        let keeps = std::mem::replace(&mut self.is_at_end, true);
        for _ in 0..lines_max {
            // The last line may be cut where the buffer ends.
            if self.taken == self.buffer.len() || !self.next(&mut record, width)? {
                break;
            }
            visit(&record);
        }
        self.is_at_end = keeps;
        self.taken = place;
        self.parser.reset();
        Ok(())
    }

    /// Reads the next line that is not blank into `record`; whether there was one. It is bad if it is no text, or has not `width` cells, where
    /// blank ones beyond do not count; without `width`, it may have any number.
    pub(crate) fn next(&mut self, record: &mut Record, width: Option<usize>) -> io::Result<bool> {
        match self.attempt(record)? {
            Tried::End => return Ok(false),
            Tried::Whole { bytes, lines } => {
                let is_one_line = self.first_line(bytes) == bytes;
                let raw = &self.buffer[self.taken..self.taken + bytes];
                let fits = bytes <= RECORD_BYTES_MAX
                    && lines <= RECORD_LINES_MAX
                    && if is_one_line {
                        let is_short = self.needed <= record.len() && Some(record.len()) < width;
                        fits(record, width) || is_short && is_well_quoted(raw, self.separator)
                    } else {
                        fits(record, width) && is_well_quoted(raw, self.separator)
                    };
                if fits || is_one_line {
                    record.is_bad = !fits || std::str::from_utf8(record.text()).is_err();
                    self.taken += bytes;
                    return Ok(true);
                }
            }
            Tried::Boundless => {}
        }
        // What was taken for one record is several lines, or one without end.
        self.alone(record)?;
        record.is_bad = true;
        Ok(true)
    }

    /// Reads a record from the present place on, which stays.
    fn attempt(&mut self, record: &mut Record) -> io::Result<Tried> {
        record.clear();
        self.pass_blank_lines()?;
        let (mut bytes, mut lines, mut last) = (0, 0, 0);
        loop {
            let from = self.taken + bytes;
            let input = &self.buffer[from..self.buffer.len().min(from + STEP_BYTES)];
            if input.is_empty() && !self.is_at_end {
                self.more()?;
                continue;
            }
            let (result, read) = parse(&mut self.parser, input, record);
            // CRLF is one line end, also where the two come apart.
            let before = |at: usize| at.checked_sub(1).map_or(last, |at| input[at]);
            let ends = memchr2_iter(b'\n', b'\r', &input[..read]);
            lines += ends.filter(|&at| input[at] == b'\r' || before(at) != b'\r').count();
            last = input[..read].last().copied().unwrap_or(last);
            bytes += read;
            match result {
                ReadRecordResult::Record => return Ok(Tried::Whole { bytes, lines }),
                ReadRecordResult::End => return Ok(Tried::End),
                _ if bytes > RECORD_BYTES_MAX || lines > RECORD_LINES_MAX => return Ok(Tried::Boundless),
                _ => {}
            }
        }
    }

    /// How many bytes of the next `bytes` are the first line and its end.
    fn first_line(&self, bytes: usize) -> usize {
        memchr2(b'\n', b'\r', &self.buffer[self.taken..self.taken + bytes]).map_or(bytes, |end| end + 1)
    }

    /// Passes over blank lines, however many there are.
    fn pass_blank_lines(&mut self) -> io::Result<()> {
        loop {
            match self.buffer[self.taken..].iter().position(|byte| !b"\r\n".contains(byte)) {
                Some(blank) => {
                    self.taken += blank;
                    return Ok(());
                }
                None => self.taken = self.buffer.len(),
            }
            if !self.more()? {
                return Ok(());
            }
        }
    }

    /// Reads the first line as if nothing followed it, and passes over it. Where it is too long, its cells are left out.
    fn alone(&mut self, record: &mut Record) -> io::Result<()> {
        self.parser.reset();
        record.clear();
        let bytes = self.first_line((self.buffer.len() - self.taken).min(RECORD_BYTES_MAX));
        let line = &self.buffer[self.taken..self.taken + bytes];
        if bytes < RECORD_BYTES_MAX {
            let (mut result, read) = parse(&mut self.parser, line.trim_ascii_end(), record);
            let mut rest = line.get(read..).unwrap_or_default();
            // Without input it ends what it has.
            while result == ReadRecordResult::InputEmpty {
                rest = &rest[..0];
                (result, _) = parse(&mut self.parser, rest, record);
            }
            self.taken += bytes;
        } else {
            self.pass_line()?;
        }
        self.parser.reset();
        Ok(())
    }

    /// Goes behind the next line end, however far it is.
    fn pass_line(&mut self) -> io::Result<()> {
        loop {
            if let Some(end) = memchr2(b'\n', b'\r', &self.buffer[self.taken..]) {
                self.taken += end + 1;
                return Ok(());
            }
            self.taken = self.buffer.len();
            if !self.more()? {
                return Ok(());
            }
        }
    }

    /// Reads on in the file; whether anything came.
    fn more(&mut self) -> io::Result<bool> {
        if self.is_at_end {
            return Ok(false);
        }
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.is_at_end = !self.text.read(&mut self.buffer)?;
        Ok(!self.is_at_end)
    }
}

/// Parses `input` into `record`, behind what that has.
fn parse(parser: &mut Reader, input: &[u8], record: &mut Record) -> (ReadRecordResult, usize) {
    let mut read = 0;
    loop {
        let (result, bytes, text_bytes, cells) =
            parser.read_record(&input[read..], &mut record.text[record.text_bytes..], &mut record.ends[record.cells..]);
        read += bytes;
        record.text_bytes += text_bytes;
        record.cells += cells;
        match result {
            ReadRecordResult::OutputFull => record.text.resize((record.text.len() * 2).max(CELLS_BYTES), 0),
            ReadRecordResult::OutputEndsFull => record.ends.resize((record.ends.len() * 2).max(16), 0),
            result => return (result, read),
        }
    }
}

fn fits(record: &Record, width: Option<usize>) -> bool {
    let Some(width) = width else { return true };
    record.len() == width || record.len() > width && (width..record.len()).all(|at| record.cell(at).is_empty())
}

/// Whether each closing quote of a record ends its cell. One that does not is a quote that opens a cell of a later line.
fn is_well_quoted(mut record: &[u8], separator: u8) -> bool {
    let is_end = |byte: &u8| *byte == separator || b"\r\n".contains(byte);
    while let Some((first, rest)) = record.split_first() {
        if *first == b'"' {
            record = rest;
            loop {
                let Some(quote) = memchr(b'"', record) else { return false };
                record = &record[quote + 1..];
                match record.strip_prefix(b"\"") {
                    Some(doubled) => record = doubled,
                    None => break,
                }
            }
            if !record.first().is_none_or(is_end) {
                return false;
            }
        }
        let end = record.iter().position(is_end).unwrap_or(record.len());
        record = record.get(end + 1..).unwrap_or_default();
    }
    true
}

/// The separator that the first line has most of, outside of quotes.
fn separator(start: &[u8]) -> u8 {
    let line = start.split(|byte| b"\r\n".contains(byte)).next().unwrap_or_default();
    // A doubled quote ends a quoted part and begins the next.
    let unquoted = || line.split(|&byte| byte == b'"').step_by(2).flatten();
    let count = |separator: u8| unquoted().filter(|&&byte| byte == separator).count();
    // `max_by_key` takes the last of equals.
    SEPARATORS.into_iter().rev().max_by_key(|&separator| count(separator)).unwrap_or(b',')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn open(text: &[u8]) -> Records {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        Records::open(Text::open(file).unwrap()).unwrap()
    }

    /// The lines of a text with two columns; a bad one has a `!` before its cells.
    fn lines(text: &[u8]) -> Vec<String> {
        let mut records = open(text);
        let mut record = Record::default();
        let mut lines = Vec::new();
        while records.next(&mut record, Some(2)).unwrap() {
            let cells: Vec<_> = (0..record.len()).map(|at| String::from_utf8_lossy(record.cell(at))).collect();
            lines.push(format!("{}{}", if record.is_bad { "!" } else { "" }, cells.join("~")));
        }
        lines
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(lines(text.as_bytes()), expected, "{text:?}");
        // Windows and old Macs end lines in other ways.
        for end in ["\r\n", "\r"] {
            let text = text.replace('\n', end);
            let expected: Vec<_> = expected.iter().map(|line| line.replace('\n', end)).collect();
            assert_eq!(lines(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn lines_and_their_cells() {
        check("a,b\n1,2\n\n\n3,4", &["a~b", "1~2", "3~4"]);
        // A draw of separators goes to the comma.
        check("a;b,c\n1;2\n", &["a;b~c", "!1;2"]);
        check("a;b\n\"x;\"\"y\"\"\";\"1\n2\"\n", &["a~b", "x;\"y\"~1\n2"]);
        check("a\tb\n=\"001\"\t\"=\"\"002\"\"\"\n", &["a~b", "=\"001\"~=\"002\""]);
        check("a|b\n1|2|\n1|2||\n1|2|3\n1\n", &["a~b", "1~2~", "1~2~~", "!1~2~3", "!1"]);
        check("", &[]);
        check("\n\n", &[]);
        check("\n\na,b\n", &["a~b"]);
    }

    #[test]
    fn separators_in_quotes_are_none() {
        check("\"a,b,c\";d\n1;2\n", &["a,b,c~d", "1~2"]);
        check("\"a\"\",,\";d\n1;2\n", &["a\",,~d", "1~2"]);
    }

    #[test]
    fn a_cell_of_many_lines_has_as_many_with_every_line_end() {
        for end in ["\n", "\r\n", "\r"] {
            let cell = format!("{}{end}", "x".repeat(70)).repeat(RECORD_LINES_MAX - 10);
            assert_eq!(lines(format!("a,b\n1,\"{cell}\"\n").as_bytes()), ["a~b".to_owned(), format!("1~{cell}")]);
        }
    }

    #[test]
    fn cells_at_the_end_may_be_left_out_once_it_is_known_which_count() {
        let mut records = open(b"a,b,c,d\n1,2\n1\n\"1,2\",3\n1,2,3\n1,\"2");
        let mut record = Record::default();
        assert!(records.next(&mut record, None).unwrap());
        records.need(2);
        let mut seen = Vec::new();
        while records.next(&mut record, Some(4)).unwrap() {
            seen.push((record.is_bad, record.len(), record.cell(3).to_vec()));
        }
        let expected = [(false, 2), (true, 1), (false, 2), (false, 3), (true, 2)];
        assert_eq!(seen, expected.map(|(is_bad, cells)| (is_bad, cells, Vec::new())));
    }

    #[test]
    fn an_open_quote_costs_its_own_line() {
        check("a,b\n\"1,2\n3,4\n5,6\n", &["a~b", "!1,2", "3~4", "5~6"]);
        check("a,b\n1,\"2\n3,4\n5,\"6\"\n", &["a~b", "!1~2", "3~4", "5~6"]);
        let many = "3,4\n".repeat(RECORD_LINES_MAX + 1);
        let read = lines(format!("a,b\n1,\"2\n{many}5,6\"\n").as_bytes());
        assert_eq!(read.len(), RECORD_LINES_MAX + 4);
        assert_eq!((read[1].as_str(), read[2].as_str()), ("!1~2", "3~4"));
    }

    #[test]
    fn long_lines_are_bad_and_the_next_is_not() {
        let long = "x".repeat(3 * RECORD_BYTES_MAX);
        assert_eq!(lines(format!("a,b\n1,{long}\n3,4\n").as_bytes()), ["a~b", "!", "3~4"]);
        assert_eq!(lines(format!("a,b\n1,{long}").as_bytes()), ["a~b", "!"]);
        let wide = "x".repeat(RECORD_BYTES_MAX - 10);
        let read = lines(format!("a,b\n1,{wide}\n1,\"{wide}\n3,4\n").as_bytes());
        assert_eq!(read.iter().map(String::len).collect::<Vec<_>>(), [3, wide.len() + 2, wide.len() + 3, 3]);
        assert!(read[2].starts_with("!1~x"));
    }

    #[test]
    fn bytes_that_are_no_text_are_bad() {
        let text = ["a,É\n1,2\n".as_bytes(), b"1,\xc9\n3,4\n"].concat();
        assert_eq!(lines(&text), ["a~É", "1~2", "!1~\u{fffd}", "3~4"]);
    }

    #[test]
    fn what_is_peeked_at_comes_again() {
        let mut records = open(b"a,b\n1,2\n3,4\n5,6");
        let mut record = Record::default();
        records.next(&mut record, Some(2)).unwrap();
        let mut seen = Vec::new();
        records.peek(2, Some(2), |record| seen.push(record.cell(0).to_vec())).unwrap();
        assert_eq!(seen, [b"1", b"3"]);
        records.peek(9, Some(2), |_| seen.clear()).unwrap();
        for first in [b"1", b"3", b"5"] {
            assert!(records.next(&mut record, Some(2)).unwrap());
            assert_eq!(record.cell(0), first);
        }
        assert!(!records.next(&mut record, Some(2)).unwrap());
    }
}
