//! How the programs of this package end: 0 on success, 1 when something failed, 2 on wrong usage.
//!
//! It prints the error and nothing else; results are printed by those who have them.

use std::fmt;
use std::process::ExitCode;

/// Arguments that cannot be served, found after the command line was read. Ends a program with 2.
#[derive(Debug)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The exit code of a program that came to `outcome`: whether all was well, or why it could not tell.
#[must_use]
pub fn code(outcome: anyhow::Result<bool>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}
