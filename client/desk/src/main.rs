//! `client`: asks the desk by CPF, by name, or for a whole file of them.
//!
//! What is asked and how it is shown is the modules' affair; here the command line becomes a run, and the run an exit code.

mod args;
mod ask;
mod batch;
mod screen;
mod table;

use std::io;
use std::process::ExitCode;

use anyhow::Result;
use balcao_client::{Client, Options};
use clap::{CommandFactory, Parser};

use crate::args::{Args, Command, Peer};

/// How often a busy server is asked again before the user hears of it.
const OVERLOADED_RETRIES: u32 = 5;

/// Exit code for a command line that asks for nothing.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    let Some(command) = args.command else {
        // Until there is a window: what could have been asked for.
        screen::plain(&Args::command().render_help().to_string());
        return ExitCode::from(USAGE);
    };
    match run(&args.peer, command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Whoever read our output has seen enough.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            screen::error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs a command; whether every part of it went well.
fn run(peer: &Peer, command: Command) -> Result<bool> {
    let connect = || {
        let options = Options {
            connect_timeout: peer.timeout,
            read_timeout: peer.timeout,
            overloaded_retries: OVERLOADED_RETRIES,
        };
        Client::connect(&peer.server, options)
    };
    match command {
        Command::Cpf(args) => ask::cpf(&mut connect()?, &args, peer.json),
        Command::Nome(args) => ask::nome(&mut connect()?, &args, peer.json),
        Command::Batch(args) => batch::run(connect, &args, peer.json),
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
