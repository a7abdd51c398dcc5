//! `reload`: ten reloads under load, each reply looked at.
//!
//! The work is done in `balcao_benches::reload`; here are the arguments and the printing.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use balcao_benches::exit::{self, Usage};
use balcao_benches::oracle::make::Make;
use balcao_benches::reload::{self, Plan};
use balcao_benches::scratch;
use clap::Parser;

/// Asks a server over many connections while its index and its database are replaced ten times, once by a damaged generation. Ends with 1
/// where a reply failed, was wrong or of another version, or where the server holds on to what it does not serve any more.
#[derive(Debug, Parser)]
#[command(name = "reload", version)]
struct Arguments {
    /// Rows of the registry to make.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(10_000..))]
    rows: u64,
    /// Share of its dirty rows.
    #[arg(long, default_value_t = 0.01)]
    dirty: f64,
    /// Draws its rows and the questions.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Connections.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Seconds of asking, over which the reloads are spread.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(20..))]
    seconds: u64,
    /// Markdown file whose marked section is replaced.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    exit::code(run(Arguments::parse()))
}

fn run(arguments: Arguments) -> anyhow::Result<bool> {
    if !(0.0..=1.0).contains(&arguments.dirty) {
        return Err(Usage("--dirty is a share from 0 to 1".to_owned()).into());
    }
    let plan = Plan {
        make: Make { rows: arguments.rows, dirty: arguments.dirty, seed: arguments.seed },
        connections: arguments.connections.into(),
        time: Duration::from_secs(arguments.seconds),
        out: arguments.out,
    };
    scratch::clean_up_when_interrupted()?;
    let (section, is_well) = reload::run(&plan, |step| eprintln!("{step} …"))?;
    print!("{section}");
    Ok(is_well)
}
