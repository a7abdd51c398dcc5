//! The options of `client batch`, and all that its help tells of files.

use std::path::PathBuf;
use std::str::FromStr;

use super::nome::Match;

/// `client batch`
#[derive(Debug, clap::Args)]
#[command(after_help = BATCH_HELP)]
pub(crate) struct Batch {
    /// A CSV file whose header names `cpf`, `nome` or both
    #[arg(value_name = "IN.csv")]
    pub(crate) input: PathBuf,
    /// Where the answers go; replaced at the end of the run, or when it is interrupted
    #[arg(long, env = "BALCAO_OUT", value_name = "OUT.csv")]
    pub(crate) out: PathBuf,
    /// How names are compared; all but `exact` may bring many rows for a line
    #[arg(long = "match", env = "BALCAO_BATCH_MATCH", value_name = "HOW", default_value = "exact")]
    pub(crate) how: Match,
    /// A column to ask by: `cpf=NAME`, `nome=NAME`, or NAME alone, and what it holds is seen by its first lines. Can be given twice
    #[arg(long = "column", env = "BALCAO_COLUMN", value_name = "[KIND=]NAME")]
    pub(crate) columns: Vec<Column>,
    /// Only the first row of each line; `status` is `several` where there are more
    #[arg(long, env = "BALCAO_FIRST")]
    pub(crate) first: bool,
    /// Pass over so many lines of IN, which OUT has already
    #[arg(long, value_name = "N", requires = "append")]
    pub(crate) skip: Option<u64>,
    /// Add to OUT, which must have the header that this run would write
    #[arg(long, requires = "skip")]
    pub(crate) append: bool,
}

const BATCH_HELP: &str = "\
IN: the columns are found by their header, `cpf` and `nome` in any case and with any accents, or named by --column. A line with both values \
is asked by its CPF, or by its name where the CPF is blank. The separator is `,`, `;`, a tab or `|`, whichever the header has most of. \
The text is UTF-8, UTF-16 with a mark of its order, or Windows-1252, as the bytes show. Lines end with LF, CRLF or CR; blank ones are \
no lines. Cells may be quoted, `\"` doubled inside, and a quoted cell may go over 100 lines. `=\"00123456789\"` is read as its text, and a CPF that lost its leading \
zeros is found; one in scientific notation (1,23457E+10) has lost its digits and is `invalid_cpf`.

OUT: in UTF-8, with the separator of IN and, if IN has one, a byte order mark, by which Excel knows it. It has the columns of IN, then `status`, \
then the columns of the registry; NULL is an empty cell. `status` is `ok`, `none`, an error code, or `bad_line` for a line of IN that is none: \
more cells than the header, or too few to have those asked by (blank ones at the end may be left out), a quote that is not closed, bytes that are no text, more than 1 MiB. A line with several rows \
is repeated for each; should its pages break off, a last line of it says why. Cells are as the registry and IN have them, also those that a spreadsheet would \
take for a formula. OUT is readable for its owner alone.

An interruption (Ctrl-C, a server that is gone, a full disk) leaves OUT with whole lines, all answers of the first N lines of IN, and says how to go \
on: the same command with --skip N --append. Until then, and if no line was answered, OUT is as it was. A run that is killed says nothing: without \
--append it leaves OUT as it was and a file OUT.….part beside it, which can be removed; with --append it leaves in OUT what it had added, perhaps with half \
a line at the end, and the same --skip again would add those lines twice: cut OUT back to what it was, or begin anew without --append.

Exit code 1 if a line got an error code or was bad, and OUT is whole all the same; also 1 if the run failed; 130 after Ctrl-C.";

/// A column of the input, named by the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    /// It holds CPFs.
    Cpf(String),
    /// It holds names.
    Name(String),
    /// What it holds is to be seen.
    Unknown(String),
}

impl FromStr for Column {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let column = match text.split_once('=') {
            Some((kind, name)) if kind.eq_ignore_ascii_case("cpf") => Self::Cpf(name.to_owned()),
            Some((kind, name)) if kind.eq_ignore_ascii_case("nome") => Self::Name(name.to_owned()),
            _ => Self::Unknown(text.to_owned()),
        };
        match column.name().trim() {
            "" => Err("write the column's name, as the header has it".to_owned()),
            _ => Ok(column),
        }
    }
}

impl Column {
    /// The name, as the user wrote it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Cpf(name) | Self::Name(name) | Self::Unknown(name) => name,
        }
    }
}
