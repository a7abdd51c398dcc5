//! The load generator: N connections to a server on this machine that keep requests in flight, in a closed loop or at a fixed rate, in
//! our protocol or in that of a peer.
//!
//! In a closed loop a connection asks again when it is answered, so that a slow server is asked less and waiting before a request is sent is
//! in no figure. At a fixed rate a request has a time at which it is due, drawn before the run, and its latency counts from then, whether or
//! not it could be sent: a server that hangs for a second is charged for everything that was due in that second. It judges whether an
//! answer is one, not whether it is the right one: that is the oracle's work. [`list`] asks each question of a list once instead.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::exit::Usage;

mod balcao;
pub mod draw;
mod framing;
mod idle;
mod keys;
mod link;
pub mod list;
mod postgres;
pub(crate) mod resp;
mod schedule;
mod share;
mod summary;

pub use idle::Held;
pub use summary::{Sending, Slot, Summary};

/// File descriptors beside the connections: standard streams, polls, files.
const FILES_BESIDE: u64 = 64;

/// How long a connection may take to open, or an answer to a ping to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// The highest rate: more than any server here answers, and little enough for every due time to be drawn.
const PER_SECOND_MAX: f64 = 10_000_000.0;

/// What a server speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Ours. A key is a CPF, or a request as a JSON object.
    Balcao,
    /// That of Redis. A key is any text, asked for with `GET`.
    Resp,
    /// That of PostgreSQL. A key is any text, the parameter of the statement.
    Postgres(Statement),
}

/// The prepared statement that every connection of a run executes; each key is its one text parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Who asks; PostgreSQL must trust this user on loopback.
    pub user: String,
    /// Which database is asked.
    pub database: String,
    /// The statement, with `$1` where the key belongs.
    pub sql: String,
}

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// When the one before is answered.
    Closed,
    /// When they are due, at random times of this rate over all connections; they wait while a connection has no free place.
    Fixed {
        /// Requests in a second, more than 0 and at most ten million.
        per_second: f64,
    },
}

/// What to do to which server.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server; a loopback address.
    pub server: SocketAddr,
    /// What it speaks.
    pub protocol: Protocol,
    /// Connections, at least 1.
    pub connections: usize,
    /// When they ask.
    pub pace: Pace,
    /// How long is measured.
    pub measured: Duration,
    /// How long is asked before that without measuring.
    pub warmup: Duration,
    /// Threads that share the connections, at least 1.
    pub threads: usize,
    /// Requests in flight on each connection, at least 1; at a fixed rate at most so many.
    pub pipeline: usize,
    /// The file of keys, one a line.
    pub keys: PathBuf,
    /// Draws the order of the keys, and when they are due.
    pub seed: u64,
    /// Whether an answer without rows counts as an error; one of Redis always does.
    pub expect_rows: bool,
}

/// One good reply and what it answers.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// The number of the question in the file of keys, from 0.
    pub question: usize,
    /// The whole reply; a line with its end.
    pub reply: &'a [u8],
    /// When the question was written.
    pub asked: Instant,
    /// When the reply was whole.
    pub answered: Instant,
}

/// Looks closer at good replies than the load generator does.
pub trait Check: Sync {
    /// The code under which the reply counts as an error, if it is wrong.
    ///
    /// # Errors
    /// That code.
    fn check(&self, answered: &Answered<'_>) -> Result<(), &'static str>;
}

/// Asks for as long as the plan says.
///
/// # Errors
/// When the keys cannot be read or a connection cannot be opened. What goes wrong later is counted in the summary.
pub fn run(plan: &Plan, check: Option<&dyn Check>) -> anyhow::Result<Summary> {
    match &plan.protocol {
        Protocol::Balcao => run_framed(plan, &balcao::Balcao, check),
        Protocol::Resp => run_framed(plan, &resp::Resp, check),
        Protocol::Postgres(statement) => run_framed(plan, &postgres::Postgres(statement), check),
    }
}

fn run_framed<F: framing::Framing>(plan: &Plan, framing: &F, check: Option<&dyn Check>) -> anyhow::Result<Summary> {
    if let Pace::Fixed { per_second } = plan.pace {
        let is_rate = per_second > 0.0 && per_second <= PER_SECOND_MAX;
        let refused = || {
            Usage(format!(
                "{per_second} requests a second cannot be sent; give more than 0 and at most {PER_SECOND_MAX}"
            ))
        };
        ensure!(is_rate, refused());
    }
    let keys = keys::Keys::read(&plan.keys, plan.seed, framing)?;
    allow_connections(plan.connections)?;
    share::run(plan, framing, &keys, check)
}

/// Opens `connections`, has each answer a ping, calls `holding`, and holds them for `time`; then each must answer again.
///
/// # Errors
/// When a connection cannot be opened. Those that do not answer are counted in what is returned.
pub fn hold(server: SocketAddr, connections: usize, time: Duration, holding: impl FnOnce()) -> anyhow::Result<Held> {
    allow_connections(connections)?;
    idle::run(server, connections, time, holding)
}

/// The address that `server` (`HOST:PORT`) names, if it is on this machine.
///
/// # Errors
/// [`Usage`] for another machine: this program would be a weapon there, and the network would be what is measured.
pub fn loopback(server: &str) -> anyhow::Result<SocketAddr> {
    let addresses: Vec<SocketAddr> = server
        .to_socket_addrs()
        .map_err(|error| Usage(format!("`{server}` is no HOST:PORT ({error}); write for instance 127.0.0.1:7700")))?
        .collect();
    let refused =
        || Usage(format!("`{server}` is not this machine: load is sent to loopback only, run it beside the server"));
    ensure!(addresses.iter().all(|address| address.ip().is_loopback()), refused());
    Ok(*addresses.first().ok_or_else(refused)?)
}

/// Raises this process's limit of open files so that `connections` fit.
pub(crate) fn allow_connections(connections: usize) -> anyhow::Result<()> {
    let needed = connections as u64 + FILES_BESIDE;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let maximum = limit.maximum.map(|maximum| maximum.max(needed));
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum }).with_context(|| {
        format!("{connections} connections need {needed} open files; raise the hard limit (ulimit -Hn)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(server: &str, accepted: bool) {
        let outcome = loopback(server);
        assert_eq!(outcome.is_ok(), accepted, "{server}");
        assert!(accepted || outcome.unwrap_err().is::<Usage>(), "{server}");
    }

    #[test]
    fn a_rate_that_is_none_is_refused() {
        for per_second in [0.0, -1.0, f64::NAN, f64::INFINITY, 2.0 * PER_SECOND_MAX] {
            let plan = Plan {
                server: "127.0.0.1:1".parse().unwrap(),
                protocol: Protocol::Resp,
                connections: 1,
                pace: Pace::Fixed { per_second },
                measured: PATIENCE,
                warmup: PATIENCE,
                threads: 1,
                pipeline: 1,
                keys: PathBuf::new(),
                seed: 1,
                expect_rows: false,
            };
            assert!(run(&plan, None).unwrap_err().is::<Usage>(), "{per_second}");
        }
    }

    #[test]
    fn only_this_machine_is_asked() {
        check("127.0.0.1:7700", true);
        check("127.1.2.3:1", true);
        check("[::1]:7700", true);
        check("192.0.2.1:7700", false);
        check("0.0.0.0:7700", false);
        check("127.0.0.1", false);
    }
}
