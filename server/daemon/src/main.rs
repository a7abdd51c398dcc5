//! `server`: parse, run, exit code.

use std::process::ExitCode;

use balcao_server::args::{Args, Usage};
use clap::Parser;

fn main() -> ExitCode {
    match Args::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}
