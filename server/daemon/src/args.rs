//! The command line of `server`.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::config::Settings;
use crate::{log, serve};

/// The desk's server: answers questions about a registry of people, by CPF and by name.
#[derive(Debug, Parser)]
#[command(name = "server", version, propagate_version = true, arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve without a window, until SIGTERM or Ctrl-C.
    Serve {
        #[command(flatten)]
        settings: Box<Settings>,
        /// A TOML file with any of these settings, by the same names; flags and environment win.
        #[arg(long, env = "BALCAO_CONFIG")]
        config: Option<PathBuf>,
    },
}

impl Args {
    /// Runs the command.
    ///
    /// # Errors
    /// Why the server could not start.
    pub fn run(self) -> Result<()> {
        let Command::Serve { settings, config } = self.command;
        let file = config.as_deref().map(Settings::read).transpose()?.unwrap_or_default();
        let settings = settings.over(file);
        log::start(settings.log_level, settings.log_format);
        serve::serve(&settings.check().map_err(Usage)?)
    }
}

/// Settings that cannot be served: wrong usage, not a failed operation.
#[derive(Debug)]
pub struct Usage(anyhow::Error);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

impl std::error::Error for Usage {}
