//! `hostile`: hostile clients beside well-behaved ones, kind by kind.
//!
//! The work is done in `balcao_benches::hostile`; here are the arguments and the printing.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use balcao_benches::exit::{self, Usage};
use balcao_benches::hostile::{self, Plan};
use balcao_benches::oracle::make::Make;
use balcao_benches::scratch;
use clap::Parser;

/// Tries every kind of hostility on a server of its own: the throughput that 100 well-behaved clients keep, and the server's memory before,
/// meanwhile and after. Ends with 1 where a kind falls short.
#[derive(Debug, Parser)]
#[command(name = "hostile", version)]
struct Arguments {
    /// Rows of the registry to make.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(10_000..))]
    rows: u64,
    /// Share of its dirty rows.
    #[arg(long, default_value_t = 0.01)]
    dirty: f64,
    /// Draws its rows, the order of the keys and what is random in hostility.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Rounds of each kind.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Seconds of a window without the hostile clients.
    #[arg(long, default_value_t = 1.0)]
    alone: f64,
    /// Seconds of a window beside them.
    #[arg(long, default_value_t = 2.0)]
    beside: f64,
    /// Only these kinds, by their words.
    #[arg(long, value_name = "KIND", num_args = 1..)]
    only: Vec<String>,
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
    // A window must hold a few slots of the timeline.
    let window = |seconds: f64| match seconds {
        0.5..=600.0 => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(Usage("--alone and --beside are from 0.5 to 600 seconds".to_owned())),
    };
    let plan = Plan {
        make: Make { rows: arguments.rows, dirty: arguments.dirty, seed: arguments.seed },
        rounds: arguments.rounds,
        alone: window(arguments.alone)?,
        beside: window(arguments.beside)?,
        only: arguments.only,
        out: arguments.out,
    };
    scratch::clean_up_when_interrupted()?;
    let (section, is_well) = hostile::run(&plan, |step| eprintln!("{step} …"))?;
    print!("{section}");
    Ok(is_well)
}
