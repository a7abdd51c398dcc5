//! `indexer`: parse, run, exit code.

use std::io::Write;
use std::process::ExitCode;

use balcao_indexer::args::Args;
use clap::Parser;

fn main() -> ExitCode {
    match Args::parse().run() {
        Ok(text) => {
            // Whoever closed the pipe does not want the rest.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(1)
        }
    }
}
