//! `server`: parse, run, exit code.

use std::process::ExitCode;

use balcao_server::args::Args;
use clap::Parser;

fn main() -> ExitCode {
    match Args::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(1)
        }
    }
}
