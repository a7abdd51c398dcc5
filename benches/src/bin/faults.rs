//! `faults`: damages an index byte by byte and holds `verify` and the server to what they promise.
//!
//! The work is done in `balcao_benches::faults`; here are the arguments and the printing.

use std::path::PathBuf;
use std::process::ExitCode;

use balcao_benches::exit::{self, Usage};
use balcao_benches::faults::{self, Plan};
use balcao_benches::oracle::make::Make;
use balcao_benches::scratch;
use clap::Parser;

/// Flips bytes of an index and cuts its files, one at a time: `indexer verify` must name the file, a server must refuse it or answer right.
#[derive(Debug, Parser)]
#[command(name = "faults", version)]
struct Arguments {
    /// Rows of the registry to make.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1000..))]
    rows: u64,
    /// Share of its dirty rows.
    #[arg(long, default_value_t = 0.01)]
    dirty: f64,
    /// Draws its rows, the damages and the questions.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Bytes to flip.
    #[arg(long, default_value_t = 1000)]
    flips: usize,
    /// Files to cut short.
    #[arg(long, default_value_t = 100)]
    cuts: usize,
    /// Damages that are tried at once [default: one for each core].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Shell command that prints lines `fault table: WHAT: N tried, N survived`; may be repeated.
    #[arg(long, value_name = "COMMAND")]
    also: Vec<String>,
    /// Folder for the registry and its index [default: the system's temporary folder].
    #[arg(long, value_name = "FOLDER")]
    work: Option<PathBuf>,
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
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let plan = Plan {
        make: Make { rows: arguments.rows, dirty: arguments.dirty, seed: arguments.seed },
        flips: arguments.flips,
        cuts: arguments.cuts,
        jobs: arguments.jobs.map_or(cores, usize::from),
        also: arguments.also,
        work: arguments.work,
        out: arguments.out,
    };
    scratch::clean_up_when_interrupted()?;
    let report = faults::run(&plan, |step| eprintln!("{step} …"))?;
    print!("{}", report.markdown(&plan));
    Ok(report.is_well())
}
