//! `Input`: the lines of the file asked about, and their grouping into requests. It sends nothing.

use std::io::{BufRead, BufReader, Read};

use anyhow::{Context, Result, bail};
use balcao_client::{Limits, Name, Question, by_cpf, by_name};
use balcao_wire::Code;
use csv::{ByteRecord, ReaderBuilder};

/// Bytes read from the file at once, and those in which the header's separator is looked for.
const BUFFER_BYTES: usize = 64 << 10;

/// Bytes of a batch request around its items: `{"id":…,"op":"batch","items":[…]}`, with the longest id.
const ENVELOPE_BYTES: usize = 64;

/// A group ends when its lines have this many bytes, so that wide files do not make large groups.
const GROUP_BYTES_MAX: usize = 1 << 20;

/// The separators that spreadsheets write. The first wins a draw.
const SEPARATORS: [u8; 3] = *b",;\t";

const UTF8_BOM: &[u8] = b"\xef\xbb\xbf";

/// One line: its cells, as many as the header has, and what it asks.
#[derive(Debug)]
pub(crate) struct Line {
    cells: ByteRecord,
    ask: Ask,
}

/// What a line asks.
#[derive(Debug, PartialEq)]
enum Ask {
    Cpf(String),
    Name(String),
    /// Nothing: its status is known without the server.
    Settled(Code),
}

impl Line {
    /// The input's cells.
    pub(crate) fn cells(&self) -> &ByteRecord {
        &self.cells
    }

    /// The question for the server, where there is one.
    pub(crate) fn question(&self, how: Name) -> Option<Question<'_>> {
        match &self.ask {
            Ask::Cpf(cpf) => Some(by_cpf(cpf, None)),
            Ask::Name(name) => Some(by_name(name, Some(how), None)),
            Ask::Settled(_) => None,
        }
    }

    /// The status of a line that has no question; empty for one that has.
    pub(crate) fn settled(&self) -> &'static str {
        match &self.ask {
            Ask::Settled(code) => code.as_str(),
            Ask::Cpf(_) | Ask::Name(_) => "",
        }
    }
}

/// The file, its header read.
pub(crate) struct Input<R> {
    reader: csv::Reader<BufReader<R>>,
    header: ByteRecord,
    separator: u8,
    how: Name,
    /// Places of the columns that are asked by.
    cpf: Option<usize>,
    nome: Option<usize>,
    /// Read already, but the group before was full.
    ahead: Option<Line>,
    not_utf8: u64,
    overlong: u64,
}

impl<R: Read> Input<R> {
    /// Reads the header of `file`; names will be compared as `how` says.
    pub(crate) fn open(file: R, how: Name) -> Result<Self> {
        let mut file = BufReader::with_capacity(BUFFER_BYTES, file);
        let start = file.fill_buf()?;
        if start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff") {
            bail!("it is in UTF-16; save it as CSV in UTF-8");
        }
        let bom = if start.starts_with(UTF8_BOM) { UTF8_BOM.len() } else { 0 };
        let separator = separator(&start[bom..]);
        file.consume(bom);
        let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).delimiter(separator).from_reader(file);
        let mut header = ByteRecord::new();
        reader.read_byte_record(&mut header)?;
        let cpf = column(&header, "cpf")?;
        let nome = column(&header, "nome")?;
        if cpf.is_none() && nome.is_none() {
            bail!("its first line names neither `cpf` nor `nome`; give the column to ask by one of these names");
        }
        Ok(Self { reader, header, separator, how, cpf, nome, ahead: None, not_utf8: 0, overlong: 0 })
    }

    /// The input's column names.
    pub(crate) fn header(&self) -> &ByteRecord {
        &self.header
    }

    /// What stands between two cells.
    pub(crate) fn separator(&self) -> u8 {
        self.separator
    }

    /// Bytes of the file that were read.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.reader.position().byte()
    }

    /// What the user should know about the file, once it is read.
    pub(crate) fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.not_utf8 > 0 {
            remarks.push(format!(
                "{} values are not UTF-8 and were not asked; save the file as CSV in UTF-8",
                self.not_utf8
            ));
        }
        if self.overlong > 0 {
            remarks.push(format!(
                "{} lines have more cells than the header; the cells beyond it were left out",
                self.overlong
            ));
        }
        remarks
    }

    /// The next lines that fit one request together; `None` at the end.
    pub(crate) fn group(&mut self, limits: &Limits) -> Result<Option<Vec<Line>>> {
        let mut group = Vec::new();
        let (mut request_bytes, mut group_bytes) = (ENVELOPE_BYTES, 0);
        while let Some(mut line) = self.line()? {
            let item_bytes = self.item_bytes(&line);
            if ENVELOPE_BYTES + item_bytes > limits.line_bytes {
                line.ask = Ask::Settled(Code::LineTooLong);
            } else if request_bytes + item_bytes > limits.line_bytes {
                self.ahead = Some(line);
                break;
            } else {
                request_bytes += item_bytes;
            }
            group_bytes += line.cells.as_slice().len();
            group.push(line);
            if group.len() >= limits.batch_items || group_bytes >= GROUP_BYTES_MAX {
                break;
            }
        }
        Ok((!group.is_empty()).then_some(group))
    }

    /// Bytes of the line's question among the items of a request, with a comma.
    fn item_bytes(&self, line: &Line) -> usize {
        let item = line.question(self.how);
        item.and_then(|item| serde_json::to_vec(&item).ok()).map_or(0, |json| json.len() + 1)
    }

    fn line(&mut self) -> Result<Option<Line>> {
        if let Some(line) = self.ahead.take() {
            return Ok(Some(line));
        }
        let mut cells = ByteRecord::new();
        if !self
            .reader
            .read_byte_record(&mut cells)
            .context("the file cannot be read to its end; OUT was not written")?
        {
            return Ok(None);
        }
        let ask = self.ask(&cells);
        if cells.iter().skip(self.header.len()).any(|cell| !cell.is_empty()) {
            self.overlong += 1;
        }
        cells.truncate(self.header.len());
        while cells.len() < self.header.len() {
            cells.push_field(b"");
        }
        Ok(Some(Line { cells, ask }))
    }

    fn ask(&mut self, cells: &ByteRecord) -> Ask {
        let asked_by = [(self.cpf, Code::InvalidCpf), (self.nome, Code::InvalidName)];
        for (column, invalid) in asked_by {
            let cell = column.and_then(|at| cells.get(at)).unwrap_or_default();
            match std::str::from_utf8(cell) {
                Ok(text) if text.trim().is_empty() => {}
                Ok(text) if invalid == Code::InvalidCpf => return Ask::Cpf(text.to_owned()),
                Ok(text) => return Ask::Name(text.to_owned()),
                Err(_) => {
                    self.not_utf8 += 1;
                    return Ask::Settled(invalid);
                }
            }
        }
        Ask::Settled(if self.cpf.is_some() { Code::InvalidCpf } else { Code::InvalidName })
    }
}

/// The separator that the first line has most of.
fn separator(start: &[u8]) -> u8 {
    let line = start.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let count = |separator: u8| line.iter().filter(|&&byte| byte == separator).count();
    // `max_by_key` takes the last of equals.
    SEPARATORS.into_iter().rev().max_by_key(|&separator| count(separator)).unwrap_or(b',')
}

/// The place of the column `name`, in any case, if the header has it.
fn column(header: &ByteRecord, name: &str) -> Result<Option<usize>> {
    let mut places =
        header.iter().enumerate().filter(|(_, cell)| cell.trim_ascii().eq_ignore_ascii_case(name.as_bytes()));
    let place = places.next().map(|(at, _)| at);
    if places.next().is_some() {
        bail!("its first line names `{name}` twice; rename the one that is not to be asked by");
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        line_bytes: 200,
        limit_max: 1000,
        batch_items: 3,
        batch_rows: 10,
        in_flight: 4,
        question_words: 16,
        deadline_ms: 2000,
    };

    fn open(text: &[u8]) -> Result<Input<&[u8]>> {
        Input::open(text, Name::Exact)
    }

    fn cpf(text: &str) -> Ask {
        Ask::Cpf(text.to_owned())
    }

    fn name(text: &str) -> Ask {
        Ask::Name(text.to_owned())
    }

    /// The groups of a file: what each line asks, and that its cells are as many as the header's.
    #[track_caller]
    fn check(text: &[u8], expected: &[&[Ask]]) -> Vec<String> {
        let mut input = open(text).unwrap();
        let mut groups = Vec::new();
        while let Some(group) = input.group(&LIMITS).unwrap() {
            assert!(group.iter().all(|line| line.cells.len() == input.header.len()));
            let items: Vec<_> = group.iter().filter_map(|line| line.question(Name::Exact)).collect();
            let request =
                Question { id: Some(u64::MAX), op: Some("batch"), items: Some(&items), ..Question::default() };
            assert!(serde_json::to_vec(&request).unwrap().len() <= LIMITS.line_bytes);
            groups.push(group.into_iter().map(|line| line.ask).collect::<Vec<_>>());
        }
        assert_eq!(groups, expected);
        input.remarks()
    }

    #[test]
    fn lines_ask_by_cpf_first_and_by_name_else() {
        let (no_cpf, no_name) = (Ask::Settled(Code::InvalidCpf), Ask::Settled(Code::InvalidName));
        check(b"cpf\n1\n\n  \n2\n", &[&[cpf("1"), Ask::Settled(Code::InvalidCpf), cpf("2")]]);
        check(b"\xef\xbb\xbfNome ,x\r\nANA,1\r\n,2\r\n", &[&[name("ANA"), no_name]]);
        check(b"x;NOME;Cpf\na;ANA;1\na;ANA; \na\n", &[&[cpf("1"), name("ANA"), no_cpf]]);
        check(b"nome\tcpf\n\"A\tB\"\t\n", &[&[name("A\tB")]]);
        check(b"cpf\n", &[]);
    }

    #[test]
    fn groups_keep_to_items_and_to_bytes() {
        check(b"cpf\n1\n2\n3\n4\n", &[&[cpf("1"), cpf("2"), cpf("3")], &[cpf("4")]]);
        let (long, overlong) = ("\"".repeat(40), "x".repeat(200));
        let doubled = long.replace('"', "\"\"");
        let text = format!("nome\n\"{doubled}\"\n\"{doubled}\"\n{overlong}\nA\n");
        check(text.as_bytes(), &[&[name(&long)], &[name(&long), Ask::Settled(Code::LineTooLong)], &[name("A")]]);
    }

    #[test]
    fn what_cannot_be_asked_is_remarked() {
        let remarks = check(
            b"nome,x\nJOS\xc9,1\nANA,1,2\nANA,1,\n",
            &[&[Ask::Settled(Code::InvalidName), name("ANA"), name("ANA")]],
        );
        assert!(remarks[0].starts_with("1 values are not UTF-8"), "{remarks:?}");
        assert!(remarks[1].starts_with("1 lines have more cells"), "{remarks:?}");
    }

    #[test]
    fn headers_that_do_not_do() {
        for (text, advice) in [
            (b"name\n1\n".as_slice(), "neither"),
            (b"", "neither"),
            (b"cpf,CPF\n1,2\n", "twice"),
            (b"\xff\xfec\0p\0f\0", "UTF-16"),
        ] {
            let error = open(text).err().unwrap().to_string();
            assert!(error.contains(advice), "{error}");
        }
    }

    #[test]
    fn wide_lines_end_a_group() {
        let wide = "x".repeat(GROUP_BYTES_MAX / 2);
        let text = format!("cpf,x\n1,{wide}\n2,{wide}\n3,\n");
        check(text.as_bytes(), &[&[cpf("1"), cpf("2")], &[cpf("3")]]);
    }
}
