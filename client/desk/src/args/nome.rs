//! The options of `client nome`, and what they are called on the wire.

use balcao_client::Name;
use clap::ValueEnum;

use super::Paging;

/// `client nome`
#[derive(Debug, clap::Args)]
#[command(after_help = NOME_HELP)]
pub(crate) struct Nome {
    /// A name, its beginning, or some of its words
    #[arg(value_name = "TEXT")]
    pub(crate) text: String,
    /// How the name is compared
    #[arg(long = "match", env = "BALCAO_MATCH", value_name = "HOW", default_value = "prefix")]
    pub(crate) how: Match,
    /// With `words` and `fuzzy`: whether the last word may be a beginning [default: prefix]
    #[arg(long, env = "BALCAO_LAST", value_name = "HOW")]
    pub(crate) last: Option<Last>,
    /// With `fuzzy`: take spellings that are read alike for equal
    #[arg(long, env = "BALCAO_SPELLING", value_name = "LANGUAGE")]
    pub(crate) spelling: Option<Spelling>,
    /// Only rows of this sex, by its first letter
    #[arg(long, env = "BALCAO_SEX", value_name = "SEX")]
    pub(crate) sex: Option<String>,
    /// Only who is born on this day or later: YYYYMMDD, YYYY-MM-DD or DD/MM/YYYY
    #[arg(long, env = "BALCAO_BORN_FROM", value_name = "DAY")]
    pub(crate) born_from: Option<String>,
    /// Only who is born on this day or before
    #[arg(long, env = "BALCAO_BORN_TO", value_name = "DAY")]
    pub(crate) born_to: Option<String>,
    #[command(flatten)]
    pub(crate) paging: Paging,
}

const NOME_HELP: &str = "\
Case, accents, apostrophes and punctuation make no difference. With `fuzzy` the nearest rows come first, and a column `distance` says how \
near: 0 is as asked.

With --all every row comes, in order, each once. If the server takes up another index meanwhile, the run ends with `stale_cursor` and \
says how many rows came: discard them and ask again. Ctrl-C stops it at once, on both sides, behind a whole line; exit code 130.";

/// How a name may be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Match {
    /// The whole name
    Exact,
    /// Its beginning
    Prefix,
    /// Its words, in any order
    Words,
    /// Its words, or words near to them
    Fuzzy,
}

impl Match {
    /// Whether answers tell how far each row is from the question.
    pub(crate) fn has_distances(self) -> bool {
        self == Self::Fuzzy
    }
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

/// What the last word of a question is.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Last {
    /// The beginning of a word
    Prefix,
    /// A word
    Whole,
}

impl From<Last> for &'static str {
    fn from(last: Last) -> Self {
        match last {
            Last::Prefix => "prefix",
            Last::Whole => "whole",
        }
    }
}

/// By whose ear spellings are alike.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Spelling {
    /// Portuguese: TH and T, PH and F, Y and I, …
    Pt,
}

impl From<Spelling> for &'static str {
    fn from(spelling: Spelling) -> Self {
        match spelling {
            Spelling::Pt => "pt",
        }
    }
}
