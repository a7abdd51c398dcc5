//! `Sheet`: lines of CSV, quoted as RFC 4180 has it where a cell needs it, collected in memory and written out whole.
//!
//! Lines end with `\n`. Cells are written as they are: one that a spreadsheet would take for a formula is not changed, since the file is
//! for programs too, which want what the registry holds.

use std::io::{self, Write};

/// Lines that are being made.
#[derive(Debug)]
pub(crate) struct Sheet {
    lines: Vec<u8>,
    separator: u8,
    /// Bytes that need quotes around their cell.
    is_special: [bool; 256],
    /// Where the line that is being made began.
    line_start: usize,
}

impl Sheet {
    /// No line yet; `separator` stands between cells.
    pub(crate) fn new(separator: u8) -> Self {
        let mut is_special = [false; 256];
        for byte in [separator, b'"', b'\n', b'\r'] {
            is_special[usize::from(byte)] = true;
        }
        Self { lines: Vec::new(), separator, is_special, line_start: 0 }
    }

    /// Adds a cell to the line.
    pub(crate) fn cell(&mut self, cell: &[u8]) {
        if cell.iter().any(|&byte| self.is_special[usize::from(byte)]) {
            self.lines.push(b'"');
            for piece in cell.split_inclusive(|&byte| byte == b'"') {
                self.lines.extend_from_slice(piece);
                if piece.ends_with(b"\"") {
                    self.lines.push(b'"');
                }
            }
            self.lines.push(b'"');
        } else {
            self.lines.extend_from_slice(cell);
        }
        self.lines.push(self.separator);
    }

    /// Adds cells that were made by another sheet with the same separator, each with the separator behind it.
    pub(crate) fn ready(&mut self, cells: &[u8]) {
        self.lines.extend_from_slice(cells);
    }

    /// Adds so many cells without anything in them.
    pub(crate) fn blanks(&mut self, cells: usize) {
        self.lines.extend(std::iter::repeat_n(self.separator, cells));
    }

    /// Ends the line.
    pub(crate) fn end(&mut self) {
        // The separator behind the last cell. A line of one blank cell needs its quotes, else it would be no line.
        self.lines.pop();
        if self.lines.len() == self.line_start {
            self.lines.extend_from_slice(b"\"\"");
        }
        self.lines.push(b'\n');
        self.line_start = self.lines.len();
    }

    /// Bytes of the lines so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.lines
    }

    /// Forgets the lines, and keeps their room.
    pub(crate) fn clear(&mut self) {
        self.lines.clear();
        self.line_start = 0;
    }

    /// Writes the lines, and forgets them.
    pub(crate) fn write(&mut self, out: &mut impl Write) -> io::Result<()> {
        let written = out.write_all(&self.lines);
        self.clear();
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(separator: u8, lines: &[&[&str]], expected: &str) {
        let mut sheet = Sheet::new(separator);
        for line in lines {
            for cell in *line {
                sheet.cell(cell.as_bytes());
            }
            sheet.end();
        }
        let mut out = Vec::new();
        sheet.write(&mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        assert!(sheet.bytes().is_empty());
        // What other readers make of it.
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(separator)
            .from_reader(expected.as_bytes());
        let read: Vec<Vec<String>> =
            reader.records().map(|line| line.unwrap().iter().map(str::to_owned).collect()).collect();
        assert_eq!(read, lines);
    }

    #[test]
    fn cells_are_quoted_where_they_must() {
        check(b',', &[&["a", "b c", ""], &["", "", ""]], "a,b c,\n,,\n");
        check(
            b';',
            &[&["a;b", "a,b", "\"", "x\"\"y", "\n", "a\rb"]],
            "\"a;b\";a,b;\"\"\"\";\"x\"\"\"\"y\";\"\n\";\"a\rb\"\n",
        );
        check(b'\t', &[&[""], &["é\t"], &["=1+1"]], "\"\"\n\"é\t\"\n=1+1\n");
    }
}
