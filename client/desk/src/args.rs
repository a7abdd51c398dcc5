//! The command line, as `docs/protocol.md` promises it. Each option can be given in the environment as well; a flag wins.

use std::path::PathBuf;
use std::time::Duration;

use balcao_client::Name;
use balcao_wire::limits::LIMIT_MAX;
use clap::{Parser, Subcommand, ValueEnum};

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

/// `client nome`
#[derive(Debug, clap::Args)]
#[command(after_help = "Case, accents, apostrophes and punctuation make no difference.")]
pub(crate) struct Nome {
    /// A name, or its beginning
    #[arg(value_name = "TEXT")]
    pub(crate) text: String,
    /// How the name is compared
    #[arg(long = "match", env = "BALCAO_MATCH", value_name = "HOW", default_value = "prefix")]
    pub(crate) how: Match,
    #[command(flatten)]
    pub(crate) paging: Paging,
}

/// How much of an answer is wanted.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Paging {
    /// Rows of a page, 1 to 1000 [default: 50, with --all 1000]
    #[arg(long, env = "BALCAO_LIMIT", value_name = "N", value_parser = limit)]
    pub(crate) limit: Option<usize>,
    /// Every page, not only the first
    #[arg(long, env = "BALCAO_ALL")]
    pub(crate) all: bool,
}

/// `client batch`
#[derive(Debug, clap::Args)]
#[command(after_help = BATCH_HELP)]
pub(crate) struct Batch {
    /// A CSV file in UTF-8 whose header names `cpf`, `nome` or both
    #[arg(value_name = "IN.csv")]
    pub(crate) input: PathBuf,
    /// Where the answers go; replaced whole, and only once every line is answered
    #[arg(long, env = "BALCAO_OUT", value_name = "OUT.csv")]
    pub(crate) out: PathBuf,
    /// How names are compared
    #[arg(long = "match", env = "BALCAO_BATCH_MATCH", value_name = "HOW", default_value = "exact")]
    pub(crate) how: BatchMatch,
}

const BATCH_HELP: &str = "\
The header may be in any case; the separator is `,`, `;` or a tab, whichever the header has most of, and OUT has the same. A \
line with both values is asked by its CPF, or by its name where the CPF is blank. Blank lines are skipped, missing cells \
are blank.

OUT has the columns of IN, then `status` (`ok`, `none` or an error code), then the columns of the registry. A line with several \
rows is repeated for each of them; should its pages break off, a last line of it says why in `status`. NULL is an empty cell. \
OUT is readable for its owner alone.

Exit code 1 if a line got an error code, and OUT is there all the same; also 1 if the run failed, and OUT is as it was.";

/// How a name may be compared.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Match {
    /// The whole name
    Exact,
    /// Its beginning
    Prefix,
    /// Its words, in any order
    Words,
    /// A name near to it
    Fuzzy,
}

impl From<Match> for Name {
    fn from(how: Match) -> Self {
        match how {
            Match::Exact => Self::Exact,
            Match::Prefix => Self::Prefix,
            Match::Words => Self::Words,
            Match::Fuzzy => Self::Fuzzy,
        }
    }
}

/// How the names of a batch may be compared.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum BatchMatch {
    /// The whole name
    Exact,
    /// Its beginning; a short one may bring a large part of the registry
    Prefix,
}

impl From<BatchMatch> for Name {
    fn from(how: BatchMatch) -> Self {
        match how {
            BatchMatch::Exact => Self::Exact,
            BatchMatch::Prefix => Self::Prefix,
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[track_caller]
    fn check(line: &str, fits: bool) {
        let parsed = Args::try_parse_from(line.split(' '));
        assert_eq!(parsed.is_ok(), fits, "{line}: {parsed:?}");
    }

    #[test]
    fn lines_that_fit_and_lines_that_do_not() {
        for line in [
            "client",
            "client cpf 123.456.789-09 1 --server localhost:7700",
            "client --server [::1]:7700 cpf -1",
            "client nome MARIA --match exact --limit 1000 --all --json --timeout 0.5",
            "client batch in.csv --out out.csv --match prefix",
        ] {
            check(line, true);
        }
        for line in [
            "client cpf",
            "client cpf 1 --server localhost",
            "client cpf 1 --server localhost:70000",
            "client cpf 1 --server :1",
            "client cpf 1 --limit 0",
            "client nome MARIA --limit 1001",
            "client nome MARIA --match near",
            "client nome MARIA SILVA",
            "client nome MARIA --timeout 0",
            "client nome MARIA --timeout NaN",
            "client batch in.csv",
            "client batch in.csv --out out.csv --match words",
            "client window",
        ] {
            check(line, false);
        }
    }
}
