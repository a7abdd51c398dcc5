//! `Input`: what each line of a file asks, and the grouping of lines into requests. It sends nothing.

use std::borrow::Cow;
use std::fs::File;
use std::ops::Range;

use anyhow::{Context, Result, bail};
use balcao_client::{Items, Limits, Question};
use balcao_wire::Code;

use super::columns::{self, Asked};
use super::encoding::Text;
use super::records::{Record, Records};
use super::value::{self, Value};
use crate::args::Column;
use crate::sheet::Sheet;

/// Bytes of a batch request around its items: `{"id":…,"op":"batch","deadline_ms":…,"items":[…]}`, with the longest numbers.
const ENVELOPE_BYTES: usize = 96;

/// A group ends when its lines have this many bytes, so that wide files do not make large groups.
const GROUP_BYTES_MAX: usize = 1 << 20;

/// The status of a line that is none.
pub(crate) const BAD_LINE: &str = "bad_line";

/// What a line asks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ask {
    /// The next of the group's items, by a CPF; where its text stands.
    Cpf(Range<usize>),
    /// The next of the group's items, by a name.
    Name(Range<usize>),
    /// Nothing: the status is known without the server.
    Settled(&'static str),
}

/// One line: its cells, as OUT has them, and what it asks.
#[derive(Debug)]
pub(crate) struct Line {
    /// Where its cells end; they begin where those of the line before do.
    cells_end: usize,
    ask: Ask,
}

/// Lines that are asked about together. Its room is used again.
#[derive(Debug, Default)]
pub(crate) struct Group {
    lines: Vec<Line>,
    /// The cells of all lines, quoted for OUT, each with its separator.
    cells: Vec<u8>,
    /// The values asked by.
    values: String,
    pub(crate) items: Items,
}

impl Group {
    /// How many lines there are.
    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// The cells of a line, as OUT has them.
    pub(crate) fn cells(&self, line: usize) -> &[u8] {
        let end_of = |line: usize| self.lines.get(line).map_or(self.cells.len(), |line| line.cells_end);
        let start = line.checked_sub(1).map_or(0, end_of);
        self.cells.get(start..end_of(line)).unwrap_or_default()
    }

    /// The status of a line that asks nothing.
    pub(crate) fn settled(&self, line: usize) -> Option<&'static str> {
        match self.lines.get(line)?.ask {
            Ask::Settled(status) => Some(status),
            _ => None,
        }
    }

    /// The question of a line, made from `pattern`, where it asks one.
    pub(crate) fn question<'a>(&'a self, line: usize, pattern: &Question<'a>) -> Option<Question<'a>> {
        let value = |range: &Range<usize>| self.values.get(range.clone());
        match &self.lines.get(line)?.ask {
            Ask::Cpf(range) => Some(question(value(range), None, pattern)),
            Ask::Name(range) => Some(question(None, value(range), pattern)),
            Ask::Settled(_) => None,
        }
    }

    fn clear(&mut self) {
        self.lines.clear();
        self.cells.clear();
        self.values.clear();
        self.items.clear();
    }
}

/// A question by one of the two, and else as `pattern`, whose `match` is of names alone.
fn question<'a>(cpf: Option<&'a str>, nome: Option<&'a str>, pattern: &Question<'a>) -> Question<'a> {
    Question { cpf, nome, r#match: nome.and(pattern.r#match), limit: pattern.limit, ..Question::default() }
}

/// The file, its header read.
pub(crate) struct Input {
    records: Records,
    header: Vec<Vec<u8>>,
    asked: Asked,
    /// The line that is being read; it comes again where it did not fit the group before.
    record: Record,
    is_ahead: bool,
    cells: Sheet,
    scientific: u64,
}

impl Input {
    /// Reads the header of `file`. `named` are the columns that the user names.
    pub(crate) fn open(file: File, named: &[Column]) -> Result<Self> {
        let unreadable = "it cannot be read; name a CSV file, and no pipe";
        let mut records = Records::open(Text::open(file).context(unreadable)?).context(unreadable)?;
        let mut record = Record::default();
        if !records.next(&mut record, None).context(unreadable)? {
            bail!("it is empty; its first line must name the columns");
        }
        if std::str::from_utf8(record.text()).is_err() {
            bail!("its first line is no text; save the file as CSV in UTF-8");
        }
        let header: Vec<Vec<u8>> = (0..record.len()).map(|at| record.cell(at).to_vec()).collect();
        let asked = columns::asked(&header, named, &mut records).context("its columns do not do")?;
        records.need(asked.cpf.max(asked.name).map_or(0, |last| last + 1));
        let cells = Sheet::new(records.separator());
        Ok(Self { records, header, asked, record, is_ahead: false, cells, scientific: 0 })
    }

    /// The input's column names.
    pub(crate) fn header(&self) -> impl Iterator<Item = &[u8]> {
        self.header.iter().map(Vec::as_slice)
    }

    /// What stands between two cells.
    pub(crate) fn separator(&self) -> u8 {
        self.records.separator()
    }

    /// Whether the file began with a mark of its byte order.
    pub(crate) fn has_bom(&self) -> bool {
        self.records.has_bom()
    }

    /// Bytes of the file that were read.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.records.bytes_read()
    }

    /// What the user should know about the file, once it is read.
    pub(crate) fn remark(&self) -> Option<String> {
        (self.scientific > 0).then(|| {
            format!(
                "{} CPFs are in scientific notation and have lost digits; make the column text where the file comes from, and save it again",
                self.scientific
            )
        })
    }

    /// Passes over so many lines; whether there were as many.
    pub(crate) fn skip(&mut self, lines: u64) -> Result<bool> {
        for _ in 0..lines {
            if !self.line()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Fills `group` with the next lines that fit one request together, of at most `items_max` questions; whether there are any.
    pub(crate) fn group(
        &mut self,
        group: &mut Group,
        limits: &Limits,
        items_max: usize,
        pattern: &Question<'_>,
    ) -> Result<bool> {
        group.clear();
        let mut request_bytes = ENVELOPE_BYTES;
        while group.lines.len() < limits.batch_items
            && group.items.len() < items_max
            && group.cells.len() < GROUP_BYTES_MAX
            && (self.is_ahead || self.line()?)
        {
            self.is_ahead = false;
            let mut ask = self.ask(&mut group.values)?;
            if let Ask::Cpf(range) | Ask::Name(range) = &ask {
                let value = group.values.get(range.clone());
                let (cpf, nome) = if matches!(ask, Ask::Cpf(_)) { (value, None) } else { (None, value) };
                let item_bytes = group.items.push(&question(cpf, nome, pattern));
                if ENVELOPE_BYTES + item_bytes > limits.line_bytes {
                    group.items.pop();
                    group.values.truncate(range.start);
                    ask = Ask::Settled(Code::LineTooLong.as_str());
                } else if request_bytes + item_bytes > limits.line_bytes {
                    group.items.pop();
                    group.values.truncate(range.start);
                    self.is_ahead = true;
                    break;
                } else {
                    request_bytes += item_bytes;
                }
            }
            self.add(group, ask);
        }
        Ok(group.len() > 0)
    }

    fn line(&mut self) -> Result<bool> {
        self.records
            .next(&mut self.record, Some(self.header.len()))
            .context("IN cannot be read to its end; look at its disk")
    }

    /// Adds the line that was read to `group`: its cells, as many as the header has.
    fn add(&mut self, group: &mut Group, ask: Ask) {
        self.cells.clear();
        for at in 0..self.header.len() {
            let cell = self.record.cell(at);
            if self.record.is_bad {
                self.cells.cell(String::from_utf8_lossy(cell).as_bytes());
            } else {
                self.cells.cell(cell);
            }
        }
        group.cells.extend_from_slice(self.cells.bytes());
        group.lines.push(Line { cells_end: group.cells.len(), ask });
    }

    /// What the line that was read asks; its value goes to the end of `values`.
    fn ask(&mut self, values: &mut String) -> Result<Ask> {
        if self.record.is_bad {
            return Ok(Ask::Settled(BAD_LINE));
        }
        let start = values.len();
        let mut put = |text: &str| {
            values.push_str(text);
            start..values.len()
        };
        if let Some(cell) = self.asked.cpf.map(|at| text(&self.record, at)) {
            match value::cpf(&cell) {
                Value::Blank => {}
                Value::Text(cpf) => return Ok(Ask::Cpf(put(cpf))),
                Value::Scientific => {
                    self.scientific += 1;
                    return Ok(Ask::Settled(Code::InvalidCpf.as_str()));
                }
            }
        }
        if let Some(cell) = self.asked.name.map(|at| text(&self.record, at))
            && let Value::Text(name) = value::name(&cell)
        {
            return Ok(Ask::Name(put(name)));
        }
        Ok(Ask::Settled(if self.asked.cpf.is_some() { Code::InvalidCpf } else { Code::InvalidName }.as_str()))
    }
}

/// A cell of a line that is text.
fn text(record: &Record, at: usize) -> Cow<'_, str> {
    String::from_utf8_lossy(record.cell(at))
}

#[cfg(test)]
#[path = "input_tests.rs"]
mod tests;
