//! `cost`: what a change costs, with the programs from before it in another folder.
//!
//! The work is done in `balcao_benches::cost`; here are the arguments and the printing.

use std::path::PathBuf;
use std::process::ExitCode;

use balcao_benches::cost::{self, Plan};
use balcao_benches::exit;
use balcao_benches::oracle::make::Make;
use balcao_benches::scratch;
use clap::Parser;

/// Builds and asks with the programs of two commits in turns, and tells the ratios.
#[derive(Debug, Parser)]
#[command(name = "cost", version)]
struct Arguments {
    /// Folder with `indexer` and `server` from before; those of after lie beside this program.
    #[arg(long, value_name = "FOLDER")]
    before: PathBuf,
    /// What stands there: a commit.
    #[arg(long, default_value = "before")]
    name: String,
    /// Rows of the registry to make.
    #[arg(long, default_value_t = 3_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    rows: u64,
    /// Share of its dirty rows.
    #[arg(long, default_value_t = 0.01)]
    dirty: f64,
    /// Draws its rows.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Rounds.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Connections of the load.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Seconds of each load.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Markdown file whose marked section is replaced.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    exit::code(run(Arguments::parse()))
}

fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let Arguments { before, name, rows, dirty, seed, rounds, connections, seconds, out } = arguments;
    let plan = Plan { make: Make { rows, dirty, seed }, before, name, rounds, connections, seconds, out };
    scratch::clean_up_when_interrupted()?;
    print!("{}", cost::run(&plan, |step| eprintln!("{step} …"))?);
    Ok(true)
}
