//! The command line of `server`.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::config::{LISTEN, Settings};
use crate::{log, serve, stats};

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
    /// Ask a running server what it counts: connections, queue, answers and errors, latencies, generation, defects.
    Stats {
        /// The server's address and port.
        #[arg(long, env = "BALCAO_SERVER", value_name = "HOST:PORT", default_value = LISTEN, value_parser = address)]
        server: String,
        /// Print the reply's line as it came.
        #[arg(long)]
        json: bool,
    },
}

/// The shape only: whether the host is one is for the system to say, and no matter of usage.
fn address(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        _ => Err("write HOST:PORT, for instance 127.0.0.1:7700".to_owned()),
    }
}

impl Args {
    /// Runs the command.
    ///
    /// # Errors
    /// Why the server could not start, or could not be asked.
    pub fn run(self) -> Result<()> {
        let (settings, config) = match self.command {
            Command::Serve { settings, config } => (settings, config),
            Command::Stats { server, json } => return stats::show(&server, json),
        };
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
