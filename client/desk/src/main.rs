//! `client`: asks the desk by CPF, by name, or for a whole file of them.
//!
//! What is asked and how it is shown is the modules' affair; here the command line becomes a run, and the run an exit code.

mod args;
mod ask;
mod batch;
mod interrupt;
mod progress;
mod screen;
mod sheet;
mod show;
mod table;
mod verify;

use std::io;
use std::process::ExitCode;

use anyhow::Result;
use balcao_client::{Client, Options};
use clap::CommandFactory;

use crate::args::{Args, Command, Peer};
use crate::interrupt::{Interrupt, Interrupted};

/// How often a busy server is asked again before the user hears of it.
const OVERLOADED_RETRIES: u32 = 5;

/// Exit code for a command line that asks for nothing.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let args = Args::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
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
        Err(error) if error.is::<Interrupted>() => {
            let code = error.downcast_ref::<Interrupted>().map_or(1, |interrupted| interrupted.exit_code());
            ExitCode::from(code)
        }
        Err(error) => {
            screen::error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs a command; whether every part of it went well.
fn run(peer: &Peer, command: Command) -> Result<bool> {
    let interrupt = Interrupt::listen()?;
    let connect = || {
        let options = Options {
            connect_timeout: peer.timeout,
            read_timeout: peer.timeout,
            overloaded_retries: OVERLOADED_RETRIES,
        };
        let client = Client::connect(&peer.server, options)?;
        interrupt.watch(&client)?;
        anyhow::Ok(client)
    };
    let done = match &command {
        Command::Cpf(args) => ask::cpf(&mut connect()?, args, args.paging.form(peer.json), &interrupt),
        Command::Nome(args) => ask::nome(&mut connect()?, args, args.paging.form(peer.json), &interrupt),
        Command::Verify(args) => verify::run(&mut connect()?, args, peer.json),
        Command::Batch(args) => batch::run(connect, args, peer, &interrupt),
    };
    // The shut connection of an interrupted run is no failure of its own.
    match done {
        Err(error) if !error.is::<Interrupted>() => Err(interrupt.check().err().unwrap_or(error)),
        done => done,
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
