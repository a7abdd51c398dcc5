//! `compare`: the figures of `docs/results.md`, ours beside each peer in one run.
//!
//! The work is done in `balcao_benches::compare`; here are the arguments and the printing.

use std::path::PathBuf;
use std::process::ExitCode;

use balcao_benches::compare::{self, Figure, Plan};
use balcao_benches::exit::{self, Usage};
use balcao_benches::oracle::make::Make;
use balcao_benches::scratch;
use clap::{Parser, Subcommand};

/// Measures ours beside SQLite, Redis, PostgreSQL and Python programs in turns, and writes sections of Markdown and plots.
#[derive(Debug, Parser)]
#[command(name = "compare", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes SQLite's two indexes in a database and prints seconds and bytes; `compare` runs it in a process of its own.
    #[command(hide = true)]
    Sqlite {
        /// The database, which is changed.
        #[arg(long)]
        db: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct Options {
    /// Measure only these figures [default: all but `scale`].
    #[arg(long, value_delimiter = ',', value_name = "FIGURE")]
    only: Vec<Figure>,
    /// Measure ours on registries of several sizes instead, without peers: the same as `--only scale`.
    #[arg(long, conflicts_with = "only")]
    full: bool,
    /// Rows of the registry to make.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    rows: u64,
    /// Rows of the registries of `scale`, ascending.
    #[arg(long, value_delimiter = ',', default_value = "1000000,10000000,220000000", value_parser = clap::value_parser!(u64).range(1..))]
    sizes: Vec<u64>,
    /// Share of dirty rows.
    #[arg(long, default_value_t = 0.01)]
    dirty: f64,
    /// Draws the rows, and the keys of the loads.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder for big files [default: the system's temporary folder].
    #[arg(long, value_name = "FOLDER", conflicts_with = "keep")]
    work: Option<PathBuf>,
    /// Folder that keeps registries, indexes and PostgreSQL's rows for the next run.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// Rounds in which the sides take turns.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Seconds of each load.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Connections of most loads.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Threads of the load generator.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    load_threads: u16,
    /// Markdown file whose marked sections are replaced; plots go into the folder `images` beside it. Required.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    exit::code(run(Arguments::parse()))
}

fn run(arguments: Arguments) -> anyhow::Result<bool> {
    if let Some(Command::Sqlite { db }) = arguments.command {
        println!("{}", compare::create_indexes(&db)?);
        return Ok(true);
    }
    let options = arguments.options;
    if !(0.0..=1.0).contains(&options.dirty) {
        return Err(Usage("--dirty is a share from 0 to 1".to_owned()).into());
    }
    let Some(out) = options.out else {
        return Err(Usage("give the Markdown file with --out".to_owned()).into());
    };
    if !options.sizes.is_sorted() {
        return Err(Usage("give --sizes from the smallest to the largest".to_owned()).into());
    }
    let plan = Plan {
        figures: if options.only.is_empty() { Plan::figures(options.full) } else { options.only },
        make: Make { rows: options.rows, dirty: options.dirty, seed: options.seed },
        sizes: options.sizes,
        work: options.work,
        keep: options.keep,
        rounds: options.rounds.into(),
        seconds: options.seconds,
        connections: options.connections.into(),
        load_threads: options.load_threads.into(),
        out,
    };
    scratch::clean_up_when_interrupted()?;
    compare::run(&plan, |step| eprintln!("{step} …"), |section| println!("{section}"))
}
