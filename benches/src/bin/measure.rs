//! `measure`: the figures of `docs/results.md` in one run.
//!
//! The work is done in `balcao_benches::measure`; here are the arguments and the printing.

use std::path::PathBuf;
use std::process::ExitCode;

use balcao_benches::exit::{self, Usage};
use balcao_benches::measure::{self, Plan};
use balcao_benches::oracle::make::Make;
use balcao_benches::scratch;
use clap::{Parser, Subcommand};

/// Measures building beside SQLite's indexes, the server's start and memory, and many connections; writes a Markdown section.
#[derive(Debug, Parser)]
#[command(name = "measure", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes SQLite's two indexes in a database and prints seconds and bytes; `measure` runs it in a process of its own.
    #[command(hide = true)]
    Peer {
        /// The database, which is changed.
        #[arg(long)]
        db: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct Options {
    /// Rows of the registry to make.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    rows: u64,
    /// Share of its dirty rows.
    #[arg(long, default_value_t = 0.01)]
    dirty: f64,
    /// Draws its rows, and the order of the load's keys.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Measure on this registry instead.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rows", "dirty"])]
    db: Option<PathBuf>,
    /// Folder for big files [default: the system's temporary folder].
    #[arg(long, value_name = "FOLDER")]
    work: Option<PathBuf>,
    /// Rounds of building.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Starts of the server, with a warm and with a cold index each.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    starts: u16,
    /// Connections of the load, and idle ones.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Seconds of load for each number of workers.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Threads of the load generator.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    load_threads: u16,
    /// Markdown file whose marked section is replaced; required.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    exit::code(run(Arguments::parse()))
}

fn run(arguments: Arguments) -> anyhow::Result<bool> {
    if let Some(Command::Peer { db }) = arguments.command {
        println!("{}", measure::create_indexes(&db)?);
        return Ok(true);
    }
    let options = arguments.options;
    if !(0.0..=1.0).contains(&options.dirty) {
        return Err(Usage("--dirty is a share from 0 to 1".to_owned()).into());
    }
    let Some(out) = options.out else {
        return Err(Usage("give the Markdown file with --out".to_owned()).into());
    };
    let plan = Plan {
        make: Make { rows: options.rows, dirty: options.dirty, seed: options.seed },
        db: options.db,
        work: options.work,
        rounds: options.rounds.into(),
        starts: options.starts.into(),
        connections: options.connections.into(),
        seconds: options.seconds,
        load_threads: options.load_threads.into(),
        out,
    };
    scratch::clean_up_when_interrupted()?;
    let (section, is_well) = measure::run(&plan, |step| eprintln!("{step} …"))?;
    print!("{section}");
    Ok(is_well)
}
