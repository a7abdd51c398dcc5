//! The peers: what a user would pick instead, each started here on a free loopback port and stopped by its own process id.
//!
//! Nothing is installed here (`make bench-setup` does), and no service of the system is touched.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::processes::Guard;

pub(crate) mod fts5;
pub(crate) mod postgres;
pub(crate) mod python;
pub(crate) mod redis;
pub(crate) mod sqlite;

pub use sqlite::create_indexes;

/// How long a peer may take until it answers.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// A loopback address whose port nobody listens on. Somebody may take it before the peer does; the peer says so then.
fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot find a free port")?;
    Ok(listener.local_addr()?)
}

/// Waits until `is_ready`; an error where the program ends before or takes too long.
fn wait_until(guard: &mut Guard, is_ready: impl Fn() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + READY_WITHIN;
    while !is_ready() {
        if let Some(status) = guard.ended()? {
            return Err(guard.failure(&status.to_string()));
        }
        if Instant::now() > deadline {
            return Err(guard.failure(&format!("it does not answer after {} s", READY_WITHIN.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// The first of these programs that there is.
fn program(candidates: &[&str]) -> anyhow::Result<PathBuf> {
    let found = candidates.iter().map(PathBuf::from).find(|path| path.is_file());
    ensure!(found.is_some(), "there is no {}: `make bench-setup` installs the peers", candidates.join(" and no "));
    Ok(found.unwrap_or_default())
}
