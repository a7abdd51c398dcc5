//! `hot`: every piece of the way of a question, timed by criterion or counted in instructions. It judges nothing: that is the oracle's work.
//!
//!     cargo bench --bench hot                              # times of every piece
//!     cargo bench --bench hot -- engine                    # of those with `engine` in their name
//!     cargo bench --bench hot -- --instructions            # instructions of an operation, under valgrind's callgrind
//!     cargo bench --bench hot -- --instructions engine_cpf --times 100000 --profiles FOLDER
//!
//! The registry has `BALCAO_BENCH_ROWS` rows (1,000,000), is made and indexed once in the system's folder for temporary files and removed at the end. One that is
//! kept serves several runs: `BALCAO_BENCH_HOUSE=FOLDER`, filled by the first of them.

mod engine;
mod house;
mod index;
mod instructions;
mod piece;
mod wire;
mod words;

use std::env;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use balcao_benches::{exit, scratch};
use clap::Parser as _;
use criterion::Criterion;

use crate::house::{Folder, House};
use crate::piece::Make;

/// Questions that a piece goes round in: more than a core's caches hold of the index.
const QUESTIONS: usize = 100_000;

/// The pieces, in the order of a question's way.
const PIECES: [(&str, Make); 21] = [
    ("cpf_parse", words::cpf_parse),
    ("cpf_parse_points", words::cpf_parse_points),
    ("name_key", words::name_key),
    ("name_key_lower", words::name_key_lower),
    ("name_key_accents", words::name_key_accents),
    ("decode_cpf", wire::decode_cpf),
    ("decode_prefix", wire::decode_prefix),
    ("decode_batch", wire::decode_batch),
    ("rank_cpf", index::rank_cpf),
    ("rank_name", index::rank_name),
    ("prefix_bounds", index::prefix_bounds),
    ("rowid", index::rowid),
    ("row_pages", index::row_pages),
    ("row_pages_50", index::row_pages_50),
    ("row_fetch_sqlite", index::row_fetch_sqlite),
    ("encode_row", wire::encode_row),
    ("engine_cpf", engine::cpf),
    ("engine_name", engine::name),
    ("engine_page", engine::page),
    ("engine_page_copy", engine::page_copy),
    ("engine_batch", engine::batch),
];

/// Timed only: its thread is not the one that callgrind looks at.
const TIMED_ONLY: [(&str, Make); 1] = [("engine_batch_one_thread", engine::batch_one_thread)];

fn main() -> ExitCode {
    let ours = env::args().any(|argument| argument == "--instructions" || argument == "--count");
    let outcome = if ours { instructions::run(&instructions::Arguments::parse()) } else { time() };
    exit::code(outcome.map(|()| true))
}

/// Times the pieces. What criterion is told on the command line is its own.
fn time() -> anyhow::Result<()> {
    scratch::clean_up_when_interrupted()?;
    let folder = Folder::from_environment()?;
    let house = House::open(folder.path(), QUESTIONS)?;
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .sample_size(30)
        .configure_from_args();
    let mut group = criterion.benchmark_group("hot");
    for (name, make) in PIECES.iter().chain(&TIMED_ONLY) {
        let mut piece = make(&house);
        group.throughput(piece.throughput());
        group.bench_function(*name, |bencher| {
            bencher.iter_custom(|times| {
                let start = Instant::now();
                let good = piece.run(times);
                let elapsed = start.elapsed();
                assert_eq!(good, times, "{name} gave wrong results; is the house of another version?");
                elapsed
            });
        });
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}
