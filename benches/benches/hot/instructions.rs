//! Instructions of an operation, counted by valgrind's callgrind: a figure that others on the machine do not move. Tells nothing of caches or waiting.
//!
//! Each piece is counted in a process of its own, which finds registry and index made.

use std::env;
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use balcao_benches::scratch::{self, Scratch};
use clap::Parser;
use rayon::ThreadPoolBuilder;

use crate::PIECES;
use crate::house::{Folder, House};
use crate::piece::Piece;

/// Instructions of an operation, counted under callgrind.
#[derive(Debug, Parser)]
#[command(name = "hot")]
pub(crate) struct Arguments {
    /// Count instructions instead of time.
    #[arg(long)]
    instructions: bool,
    /// Only pieces with this in their name.
    #[arg(default_value = "")]
    filter: String,
    /// Operations of each piece; of those that have many rows, so many rows.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    times: u64,
    /// Keep the profiles in this folder, for `callgrind_annotate`.
    #[arg(long, value_name = "FOLDER")]
    profiles: Option<PathBuf>,
    /// Run this piece, for the callgrind around this process.
    #[arg(long, hide = true, requires = "house")]
    count: Option<String>,
    /// Registry and index.
    #[arg(long, hide = true)]
    house: Option<PathBuf>,
    /// What cargo says to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    match (&arguments.count, &arguments.house) {
        (Some(name), Some(house)) => count(name, house, arguments.times),
        _ => count_all(arguments),
    }
}

fn count_all(arguments: &Arguments) -> anyhow::Result<()> {
    scratch::clean_up_when_interrupted()?;
    let house = Folder::from_environment()?;
    let temporary = Scratch::new_in(&env::temp_dir())?;
    let profiles = arguments.profiles.as_deref().unwrap_or(temporary.path());
    fs::create_dir_all(profiles).with_context(|| format!("cannot make {}", profiles.display()))?;
    println!("{:<18} {:>14}", "piece", "instructions");
    for (name, _) in PIECES.iter().filter(|(name, _)| name.contains(&arguments.filter)) {
        let profile = profiles.join(format!("{name}.callgrind"));
        let operations = under_callgrind(name, house.path(), arguments.times, &profile)?;
        println!("{name:<18} {:>14.1}", collected(&profile)? as f64 / operations as f64);
    }
    Ok(())
}

/// Runs a piece in a process of its own. How many operations were counted.
fn under_callgrind(name: &str, house: &Path, times: u64, profile: &Path) -> anyhow::Result<u64> {
    let mut out_file = std::ffi::OsString::from("--callgrind-out-file=");
    out_file.push(profile);
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*counted_operations*"]);
    valgrind.arg(out_file).arg(env::current_exe()?).args(["--count", name, "--times", &times.to_string(), "--house"]);
    valgrind.arg(house).stderr(Stdio::inherit());
    let output = valgrind.output().context("cannot run valgrind; install Debian's package of this name")?;
    ensure!(output.status.success(), "{name} failed under valgrind; what it said stands above");
    let said = String::from_utf8(output.stdout)?;
    said.trim().parse().with_context(|| format!("{name} did not say how many operations it did"))
}

/// The instructions that a profile tells of.
fn collected(profile: &Path) -> anyhow::Result<u64> {
    let text = fs::read_to_string(profile).with_context(|| format!("cannot read {}", profile.display()))?;
    let totals = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let collected: u64 = totals.context("callgrind wrote no totals; is its version another one?")?.trim().parse()?;
    ensure!(collected > 0, "callgrind counted nothing; was the binary stripped?");
    Ok(collected)
}

fn count(name: &str, house: &Path, times: u64) -> anyhow::Result<()> {
    // This thread alone is looked at: what others would do of a batch, it does.
    ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global()?;
    let house = House::open(house, usize::try_from(times)?)?;
    let Some((_, make)) = PIECES.iter().find(|(piece, _)| *piece == name) else { bail!("there is no piece {name}") };
    let mut piece = make(&house);
    let operations = (times / piece.elements()).max(1);
    // A page of the index is checked at its first use: that is not what is counted.
    ensure!(piece.run(operations) == operations, "{name} gave wrong results");
    ensure!(counted_operations(&mut piece, operations) == operations, "{name} gave wrong results");
    println!("{operations}");
    Ok(())
}

/// What callgrind knows by its name.
#[inline(never)]
fn counted_operations(piece: &mut Piece<'_>, operations: u64) -> u64 {
    black_box(piece.run(black_box(operations)))
}
