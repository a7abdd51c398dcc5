//! `Output`: the answered lines, whole ones at any time. A run that ends early leaves what belongs to the lines that were answered whole.
//!
//! A new OUT grows in a file beside its place and takes it at the end, however early that comes; one that is added to grows in place. Lines are
//! written in blocks, and where in a block each line of the input ends is known, so that a full disk can be cut back to one of them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::{NamedTempFile, TempPath};

use crate::sheet::Sheet;

/// Bytes that are written at once.
const BLOCK_BYTES: usize = 256 << 10;

/// The file that is, or becomes, OUT.
pub(crate) struct Output {
    file: File,
    place: PathBuf,
    /// Where the file is until it takes its place; none where it has it.
    beside: Option<TempPath>,
    sheet: Sheet,
    /// Bytes of the file that are written.
    written: u64,
    /// Where lines of the input end, in bytes of the file, of those that are not written yet.
    ends: Vec<u64>,
    /// The last of those that are.
    whole_bytes: u64,
    whole_lines: u64,
    /// Lines whose answers are all here, written or not.
    settled: u64,
    /// A block was not written to its end.
    has_failed: bool,
}

/// Refuses an OUT that this run would spoil.
pub(crate) fn check(input: &Path, out: &Path) -> Result<()> {
    let Ok(metadata) = fs::metadata(out) else {
        return Ok(());
    };
    let shown = out.display();
    if !metadata.is_file() {
        bail!("{shown} is there but is no file; name a file for the answers");
    }
    if fs::canonicalize(input).ok() == fs::canonicalize(out).ok() {
        bail!("{shown} is the input itself; name another file for the answers");
    }
    Ok(())
}

/// The first line of OUT, and what stands before it.
pub(crate) fn header<'a>(
    has_bom: bool,
    separator: u8,
    input: impl Iterator<Item = &'a [u8]>,
    columns: &'a [String],
) -> Vec<u8> {
    let mut sheet = Sheet::new(separator);
    for cell in input.chain([b"status".as_slice()]).chain(columns.iter().map(String::as_bytes)) {
        sheet.cell(cell);
    }
    sheet.end();
    let bom: &[u8] = if has_bom { b"\xef\xbb\xbf" } else { b"" };
    [bom, sheet.bytes()].concat()
}

impl Output {
    /// Begins the file that will be `out`, with its first line `header`.
    pub(crate) fn create(out: &Path, separator: u8, header: &[u8]) -> Result<Self> {
        // Where `out` is a link, it stays one, and what it names is replaced.
        let place = fs::canonicalize(out).unwrap_or_else(|_| out.to_owned());
        let shown = out.display();
        let Some(name) = place.file_name() else {
            bail!("{shown} is no name for a file; name one for the answers");
        };
        let directory = match place.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut prefix = name.to_owned();
        prefix.push(".");
        let file = tempfile::Builder::new().prefix(&prefix).suffix(".part").tempfile_in(directory);
        let (mut file, beside) = file
            .map(NamedTempFile::into_parts)
            .with_context(|| format!("cannot write beside {shown}; name a place that is there and writable"))?;
        file.write_all(header).with_context(|| full(&place))?;
        Ok(Self::new(file, place, Some(beside), separator, header.len() as u64))
    }

    /// Goes on with `out`, which must begin with `header` and end with a whole line.
    pub(crate) fn append(out: &Path, separator: u8, header: &[u8]) -> Result<Self> {
        let shown = out.display();
        let advice = || format!("cannot add to {shown}; name the OUT of the run that is to go on");
        let mut file = OpenOptions::new().read(true).write(true).open(out).with_context(advice)?;
        let mut start = Vec::new();
        (&mut file).take(header.len() as u64).read_to_end(&mut start).with_context(advice)?;
        if start != header {
            bail!(
                "{shown} has another header than this run would write; go on with the same IN, options and registry, or begin anew \
                 without --append"
            );
        }
        let mut last = [0];
        file.seek(SeekFrom::End(-1)).and_then(|_| file.read_exact(&mut last)).with_context(advice)?;
        if last != *b"\n" {
            bail!("{shown} ends with half a line; begin anew without --append");
        }
        let bytes = file.seek(SeekFrom::End(0)).with_context(advice)?;
        Ok(Self::new(file, out.to_owned(), None, separator, bytes))
    }

    fn new(file: File, place: PathBuf, beside: Option<TempPath>, separator: u8, bytes: u64) -> Self {
        Self {
            file,
            place,
            beside,
            sheet: Sheet::new(separator),
            written: bytes,
            ends: Vec::new(),
            whole_bytes: bytes,
            whole_lines: 0,
            settled: 0,
            has_failed: false,
        }
    }

    /// Adds a line: the `cells` of the input, ready as they are, the status, and the cells of a row.
    pub(crate) fn row<'a>(&mut self, cells: &[u8], status: &str, row: impl Iterator<Item = &'a str>) -> Result<()> {
        self.sheet.ready(cells);
        self.sheet.cell(status.as_bytes());
        for cell in row {
            self.sheet.cell(cell.as_bytes());
        }
        self.end()
    }

    /// Adds a line without a row, with as many blank cells.
    pub(crate) fn status(&mut self, cells: &[u8], status: &str, columns: usize) -> Result<()> {
        self.sheet.ready(cells);
        self.sheet.cell(status.as_bytes());
        self.sheet.blanks(columns);
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        self.sheet.end();
        if self.sheet.bytes().len() < BLOCK_BYTES { Ok(()) } else { self.flush() }
    }

    /// Says that all that belongs to a line of the input is here.
    pub(crate) fn settle(&mut self) {
        self.settled += 1;
        self.ends.push(self.written + self.sheet.bytes().len() as u64);
        // Where a block was just written, its end is known now.
        self.note_whole();
    }

    /// Remembers the last end that is written.
    fn note_whole(&mut self) {
        let written = self.ends.iter().take_while(|&&end| end <= self.written).count();
        if let Some(&end) = written.checked_sub(1).and_then(|last| self.ends.get(last)) {
            self.whole_bytes = end;
            self.whole_lines += written as u64;
            self.ends.drain(..written);
        }
    }

    fn flush(&mut self) -> Result<()> {
        let mut rest = self.sheet.bytes();
        let failed = loop {
            if rest.is_empty() {
                break None;
            }
            match self.file.write(rest) {
                Ok(0) => break Some(ErrorKind::WriteZero.into()),
                Ok(bytes) => {
                    self.written += bytes as u64;
                    rest = &rest[bytes..];
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Some(error),
            }
        };
        self.has_failed = failed.is_some();
        self.sheet.clear();
        self.note_whole();
        failed.map_or(Ok(()), |error: io::Error| Err(error).with_context(|| full(&self.place)))
    }

    /// Writes what is left and puts the file in its place, on the disk. After an error [`Output::break_off`] keeps what is whole.
    pub(crate) fn publish(&mut self) -> Result<()> {
        self.flush()?;
        self.file.sync_all().with_context(|| full(&self.place))?;
        self.take_place()
    }

    /// Ends a run before its time: what belongs to no whole line of the input is cut away. How many lines are there; if none, OUT is as it was.
    pub(crate) fn break_off(mut self) -> Result<u64> {
        if !self.has_failed {
            // Whether all of it finds room or not: what is whole is known.
            let _ = self.flush();
        }
        self.file.set_len(self.whole_bytes).with_context(|| full(&self.place))?;
        if self.whole_lines > 0 {
            // A disk that is full may still hold all that was written.
            self.file.sync_all().with_context(|| full(&self.place))?;
            if let Err(error) = self.take_place() {
                let kept = self.beside.take().and_then(|beside| beside.keep().ok()).unwrap_or_default();
                return Err(error.context(format!("the answers stay in {}", kept.display())));
            }
        }
        Ok(self.whole_lines)
    }

    fn take_place(&mut self) -> Result<()> {
        match self.beside.take() {
            Some(beside) => beside.persist(&self.place).map_err(|error| {
                // Dropped with the error, it would take the answers with it.
                self.beside = Some(error.path);
                anyhow::Error::new(error.error).context(full(&self.place))
            }),
            None => Ok(()),
        }
    }
}

fn full(place: &Path) -> String {
    format!("cannot write {}; make room", place.display())
}

#[cfg(test)]
#[path = "output_tests.rs"]
mod tests;
