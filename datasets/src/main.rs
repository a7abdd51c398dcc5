//! `datasets`: the command line of the generator.
//!
//! It reads arguments and prints a summary; rows and files are the library's work.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use balcao_datasets::{Defect, Plan, ROWS_MAX, Recipe, Summary, write_registry_until};
use clap::{Parser, Subcommand};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressState, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};

/// Makes synthetic data with the schemas of the real registries. No real person is in it.
#[derive(Parser)]
#[command(name = "datasets", version, propagate_version = true, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a registry: a SQLite file with the table cpf(cpf, nome, sexo, nasc), all TEXT, without index.
    ///
    /// The same arguments give the same rows. CPFs are valid, in random order and without repetition; names follow the census.
    #[command(after_long_help = defect_list())]
    Registry(RegistryArguments),
}

#[derive(clap::Args)]
struct RegistryArguments {
    /// Rows to write, at most 1,000,000,000 (the number of CPF bases).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=ROWS_MAX))]
    rows: u64,
    /// Another seed gives other rows.
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// The probability of a row to be dirty, 0 to 1. A dirty row has one defect, each equally often.
    #[arg(long, value_name = "F", default_value_t = 0.0, value_parser = share)]
    dirty: f64,
    /// The file to write; it must not exist.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print the summary as one JSON line.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let Command::Registry(arguments) = Arguments::parse().command;
    match registry(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes in one line; SQLite's say the same thing twice.
fn with_causes(error: &anyhow::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    for cause in error.chain().map(ToString::to_string) {
        if !texts.iter().any(|text| cause.contains(text)) {
            texts.push(cause);
        }
    }
    texts.join(": ")
}

fn defect_list() -> String {
    let names: Vec<&str> = Defect::ALL.iter().map(|defect| defect.name()).collect();
    format!("Defects: {}.", names.join(", "))
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "write a number from 0 to 1, such as 0.01".to_owned())
}

fn registry(arguments: RegistryArguments) -> anyhow::Result<()> {
    let RegistryArguments { rows, seed, dirty, out, json } = arguments;
    let plan = Plan { recipe: Recipe::new(rows, seed, dirty)?, out };
    let stop = stop_on_signal().context("cannot listen for Ctrl-C")?;
    let bar = progress_bar(rows)?;
    let written = write_registry_until(&plan, &stop, |done| bar.set_position(done));
    bar.finish_and_clear();
    let summary = written?;
    let text = if json { json_line(&plan, &summary) } else { report(&plan, &summary) };
    io::stdout().write_all(text.as_bytes()).context("cannot print the summary; the file is written")
}

/// Ctrl-C ends the writing in good order; a second one ends the program at once.
fn stop_on_signal() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// A bar on standard error, hidden where that is no terminal.
fn progress_bar(rows: u64) -> anyhow::Result<ProgressBar> {
    let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        let _ = write!(out, "{}", HumanCount(state.per_sec() as u64));
    };
    let style = ProgressStyle::with_template("{bar:30} {human_pos} of {human_len} rows, {rate}/s, {eta} left")?;
    Ok(ProgressBar::new(rows).with_style(style.with_key("rate", rate)))
}

fn json_line(plan: &Plan, summary: &Summary) -> String {
    let by_defect: serde_json::Map<_, _> =
        Defect::ALL.iter().map(|&defect| (defect.name().to_owned(), summary.dirty(defect).into())).collect();
    let line = serde_json::json!({
        "rows": summary.rows,
        "seed": plan.recipe.seed(),
        "dirty_rows": summary.dirty_rows(),
        "dirty": by_defect,
        "bytes": summary.bytes,
        "seconds": (summary.elapsed.as_secs_f64() * 1000.0).round() / 1000.0,
    });
    format!("{line}\n")
}

fn report(plan: &Plan, summary: &Summary) -> String {
    let seconds = summary.elapsed.as_secs_f64();
    let mut text = format!(
        "{}: {} rows, {}, {seconds:.1} s ({} rows/s)\n",
        plan.out.display(),
        HumanCount(summary.rows),
        HumanBytes(summary.bytes),
        HumanCount((summary.rows as f64 / seconds) as u64),
    );
    if summary.dirty_rows() > 0 {
        text += &format!("{} rows are dirty:\n", HumanCount(summary.dirty_rows()));
        for defect in Defect::ALL {
            text += &format!("  {:<22}{}\n", defect.name(), HumanCount(summary.dirty(defect)));
        }
    }
    text
}
