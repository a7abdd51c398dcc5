//! The command line, as `docs/protocol.md` promises it. Each option can be given in the environment as well, but for those of a single run; a
//! flag wins.

mod batch;
mod nome;

use std::ffi::OsString;
use std::time::Duration;

use balcao_wire::limits::{DEADLINE_MS_MAX, LIMIT_MAX};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

pub(crate) use batch::{Batch, Column};
pub(crate) use nome::{Nome, Spelling};

/// The longest time that may be allowed for a reply, in seconds: a day.
const TIMEOUT_SECONDS_MAX: f64 = 86_400.0;

const ABOUT: &str = "Asks a Balcão server for rows of its registry, by CPF or by name";

/// `client`: whom to ask, and what.
#[derive(Debug, Parser)]
#[command(name = "client", version, about = ABOUT, propagate_version = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) peer: Peer,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

impl Args {
    /// Reads a command line.
    pub(crate) fn read<T: Into<OsString> + Clone>(line: impl IntoIterator<Item = T>) -> Result<Self, clap::Error> {
        let args = Self::try_parse_from(line)?;
        let csv = match &args.command {
            Some(Command::Cpf(cpf)) => cpf.paging.csv,
            Some(Command::Nome(nome)) => nome.paging.csv,
            _ => false,
        };
        // Clap sees no conflict where one of the two stands before the command.
        if csv && args.peer.json {
            let text = "the argument '--json' cannot be used with '--csv'";
            return Err(Self::command().error(ErrorKind::ArgumentConflict, text));
        }
        Ok(args)
    }
}

/// Whom to ask, and in which form to tell.
#[derive(Debug, clap::Args)]
pub(crate) struct Peer {
    /// Where the server listens
    #[arg(
        long,
        global = true,
        env = "BALCAO_SERVER",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:7700",
        value_parser = server
    )]
    pub(crate) server: String,

    /// How long to wait for a connection, and for each reply
    #[arg(long, global = true, env = "BALCAO_TIMEOUT", value_name = "SECONDS", default_value = "30", value_parser = timeout)]
    pub(crate) timeout: Duration,

    /// Print the server's reply lines as they come, one JSON object a line
    #[arg(long, global = true, env = "BALCAO_JSON")]
    pub(crate) json: bool,
}

/// What to ask.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Rows by CPF
    Cpf(Cpf),
    /// Rows by name
    Nome(Nome),
    /// Whether a CPF, a name and a birth day agree with the registry
    Verify(Verify),
    /// Rows for each line of a CSV file
    Batch(Batch),
}

/// `client cpf`
#[derive(Debug, clap::Args)]
#[command(after_help = "Fewer than 11 digits are padded with zeros on the left, and then the check digits must hold.")]
pub(crate) struct Cpf {
    /// CPFs, with or without dots and dash; answered in this order
    #[arg(required = true, value_name = "VALUE", allow_negative_numbers = true)]
    pub(crate) values: Vec<String>,
    #[command(flatten)]
    pub(crate) paging: Paging,
}

/// `client verify`
#[derive(Debug, clap::Args)]
#[command(after_help = VERIFY_HELP)]
pub(crate) struct Verify {
    /// A CPF, with or without dots and dash
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    pub(crate) cpf: String,
    /// The name to compare
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) nome: Option<String>,
    /// The birth day to compare: YYYYMMDD, YYYY-MM-DD or DD/MM/YYYY
    #[arg(long, value_name = "DAY")]
    pub(crate) nasc: Option<String>,
    /// Take spellings that are read alike for equal
    #[arg(long, env = "BALCAO_SPELLING", value_name = "LANGUAGE")]
    pub(crate) spelling: Option<Spelling>,
    /// Milliseconds after which the server gives up, 1 to 60000 [default: 2000]
    #[arg(long, env = "BALCAO_DEADLINE_MS", value_name = "N", value_parser = deadline_ms)]
    pub(crate) deadline_ms: Option<u32>,
}

const VERIFY_HELP: &str = "\
Tells of each value whether it agrees, and nothing of the row. A name agrees as a whole, by its words in any order, or is near. Exit code \
0 whatever agrees; with --json the reply's line tells it to a program. The server answers a limited number of these a minute.";

/// How much of an answer is wanted, and in which form.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Paging {
    /// Rows of a page, 1 to 1000 [default: 50, with --all 1000]
    #[arg(long, env = "BALCAO_LIMIT", value_name = "N", value_parser = limit)]
    pub(crate) limit: Option<usize>,
    /// Every page, not only the first
    #[arg(long, env = "BALCAO_ALL")]
    pub(crate) all: bool,
    /// Print rows as CSV: a header, `,` between cells, quotes where needed, NULL as an empty cell. Cells are as the registry has them, also
    /// those that a spreadsheet would take for a formula
    #[arg(long, env = "BALCAO_CSV")]
    csv: bool,
    /// Milliseconds after which the server gives a page up, 1 to 60000 [default: 2000]
    #[arg(long, env = "BALCAO_DEADLINE_MS", value_name = "N", value_parser = deadline_ms)]
    pub(crate) deadline_ms: Option<u32>,
}

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// For a person.
    Table,
    /// As the server's lines.
    Json,
    /// For a spreadsheet.
    Csv,
}

impl Paging {
    /// The form, by the option that stands here and the one of the whole command line, of which one is there at most.
    pub(crate) fn form(&self, json: bool) -> Form {
        match (json, self.csv) {
            (true, _) => Form::Json,
            (false, true) => Form::Csv,
            (false, false) => Form::Table,
        }
    }
}

fn server(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        _ => Err("write HOST:PORT, for instance 127.0.0.1:7700".to_owned()),
    }
}

fn timeout(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= TIMEOUT_SECONDS_MAX => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("write seconds, more than 0 and at most 86400".to_owned()),
    }
}

fn limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
        _ => Err(format!("write a number from 1 to {LIMIT_MAX}")),
    }
}

fn deadline_ms(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(ms) if (1..=DEADLINE_MS_MAX).contains(&ms) => Ok(ms),
        _ => Err(format!("write milliseconds, 1 to {DEADLINE_MS_MAX}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[track_caller]
    fn check(line: &str, fits: bool) {
        let parsed = Args::read(line.split(' '));
        assert_eq!(parsed.is_ok(), fits, "{line}: {parsed:?}");
    }

    #[test]
    fn lines_that_fit() {
        for line in [
            "client",
            "client cpf 123.456.789-09 1 --server localhost:7700",
            "client --server [::1]:7700 cpf -1 --csv",
            "client nome MARIA --match exact --limit 1000 --all --json --timeout 0.5",
            "client nome SILVA --match words --last whole --sex F --born-from 1980-01-01 --born-to 31/12/1989 --csv",
            "client nome TIAGO --match fuzzy --spelling pt --deadline-ms 60000",
            "client verify --cpf 123.456.789-09 --nome MARIA --nasc 19800101 --spelling pt --json",
            "client verify --cpf -1",
            "client batch in.csv --out out.csv --match prefix",
            "client batch in.csv --out out.csv --match fuzzy --first --column cpf=Documento --column nome=Cliente",
            "client batch in.csv --out out.csv --column Cliente --skip 7 --append",
        ] {
            check(line, true);
        }
    }

    #[test]
    fn lines_that_do_not_fit() {
        for line in [
            "client cpf",
            "client cpf 1 --server localhost",
            "client cpf 1 --server localhost:70000",
            "client cpf 1 --server :1",
            "client cpf 1 --limit 0",
            "client cpf 1 --csv --json",
            "client --json nome MARIA --csv",
            "client nome MARIA --limit 1001",
            "client nome MARIA --match near",
            "client nome MARIA --last middle",
            "client nome MARIA --spelling en",
            "client nome MARIA SILVA",
            "client nome MARIA --timeout 0",
            "client nome MARIA --timeout NaN",
            "client nome MARIA --deadline-ms 0",
            "client nome MARIA --deadline-ms 60001",
            "client verify --nome MARIA",
            "client verify --cpf 1 --csv",
            "client batch in.csv",
            "client batch in.csv --out out.csv --match near",
            "client batch in.csv --out out.csv --skip 7",
            "client batch in.csv --out out.csv --append",
            "client batch in.csv --out out.csv --column cpf=",
            "client window",
        ] {
            check(line, false);
        }
    }
}
