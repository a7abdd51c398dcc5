//! `Output`: the answered lines, in a file beside its final place, which it takes when the run is over.
//!
//! A run that ends in any other way leaves what was there before, and removes its own file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use balcao_client::Row;
use csv::{ByteRecord, IntoInnerError, Writer, WriterBuilder};
use tempfile::NamedTempFile;

use crate::table::text;

/// The file that becomes OUT.
pub(crate) struct Output {
    writer: Writer<NamedTempFile>,
    place: PathBuf,
}

/// Refuses an OUT that a rename would spoil.
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

impl Output {
    /// Begins the file that will be `out`, its cells parted by `separator`.
    pub(crate) fn create(out: &Path, separator: u8) -> Result<Self> {
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
        let file =
            file.with_context(|| format!("cannot write beside {shown}; name a place that is there and writable"))?;
        remove_on_signal(file.path()).context("cannot prepare for an interrupt")?;
        Ok(Self { writer: WriterBuilder::new().delimiter(separator).from_writer(file), place })
    }

    /// Writes the first line.
    pub(crate) fn header(&mut self, cells: &ByteRecord, columns: &[String]) -> Result<()> {
        self.line(cells, "status", columns.iter().map(String::as_str))
    }

    /// Writes a line with one of its rows.
    pub(crate) fn row(&mut self, cells: &ByteRecord, row: &Row) -> Result<()> {
        self.line(cells, "ok", row.values().map(text))
    }

    /// Writes a line without a row, with as many blank cells.
    pub(crate) fn status(&mut self, cells: &ByteRecord, status: &str, columns: usize) -> Result<()> {
        self.line(cells, status, std::iter::repeat_n("", columns))
    }

    fn line(&mut self, cells: &ByteRecord, status: &str, row: impl Iterator<Item = impl AsRef<str>>) -> Result<()> {
        self.cells(cells, status, row).with_context(|| self.full())
    }

    fn cells(
        &mut self,
        cells: &ByteRecord,
        status: &str,
        row: impl Iterator<Item = impl AsRef<str>>,
    ) -> csv::Result<()> {
        for cell in cells {
            self.writer.write_field(cell)?;
        }
        self.writer.write_field(status)?;
        for cell in row {
            self.writer.write_field(cell.as_ref())?;
        }
        self.writer.write_record(None::<&[u8]>)
    }

    /// Puts the file in its place, whole and on the disk.
    pub(crate) fn publish(self) -> Result<()> {
        let advice = self.full();
        let file = self.writer.into_inner().map_err(IntoInnerError::into_error).with_context(|| advice.clone())?;
        file.as_file().sync_all().with_context(|| advice.clone())?;
        file.persist(&self.place).map_err(io::Error::from).context(advice)?;
        Ok(())
    }

    fn full(&self) -> String {
        format!("cannot write {}; make room and run it again", self.place.display())
    }
}

/// A run that is interrupted takes its file, which may hold names, with it.
#[cfg(unix)]
fn remove_on_signal(path: &Path) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    let path = path.to_owned();
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if let Some(signal) = signals.forever().next() {
            // After the rename nothing is there, and so nothing to remove.
            let _ = fs::remove_file(path);
            // What a shell says of a program that this signal ended.
            std::process::exit(128 + signal);
        }
    })?;
    Ok(())
}

#[cfg(not(unix))]
fn remove_on_signal(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn files(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn lines_are_quoted_where_they_must() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("out.csv");
        let mut output = Output::create(&out, b';').unwrap();
        output.header(&ByteRecord::from(vec!["a;b", "nome"]), &["cpf".to_owned(), "n".to_owned()]).unwrap();
        let Value::Object(row) = json!({"cpf": {"base64": "AP8="}, "n": -1.5}) else { unreachable!() };
        output.row(&ByteRecord::from(vec![b"JOS\xc9".as_slice(), b"x\"y"]), &row).unwrap();
        output.status(&ByteRecord::from(vec!["", ""]), "none", 2).unwrap();
        assert!(!out.exists());
        output.publish().unwrap();
        let expected = b"\"a;b\";nome;status;cpf;n\nJOS\xc9;\"x\"\"y\";ok;AP8=;-1.5\n;;none;;\n";
        assert_eq!(fs::read(&out).unwrap(), expected);
        assert_eq!(files(directory.path()), 1);
    }

    #[test]
    fn what_was_there_stays_until_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("out.csv");
        fs::write(&out, "before").unwrap();
        let mut output = Output::create(&out, b',').unwrap();
        output.header(&ByteRecord::from(vec!["cpf"]), &[]).unwrap();
        drop(output);
        assert_eq!(fs::read(&out).unwrap(), b"before");
        assert_eq!(files(directory.path()), 1);
        Output::create(&out, b',').unwrap().publish().unwrap();
        assert_eq!(fs::read(&out).unwrap(), b"");
    }

    #[test]
    fn places_that_do_not_do() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("in.csv");
        fs::write(&file, "cpf\n").unwrap();
        assert!(check(&file, directory.path()).is_err());
        assert!(check(&file, &directory.path().join("../").join(directory.path()).join("in.csv")).is_err());
        assert!(check(&file, &directory.path().join("out.csv")).is_ok());
        assert!(Output::create(&directory.path().join("no/out.csv"), b',').is_err());
    }
}
