//! `server serve`, from the configuration to the end of the process.

use std::io::{self, Write};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use anyhow::{Context, Result};
use balcao_engine::Snapshot;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::config::Config;
use crate::limits::{DESCRIPTORS_RESERVED, STACK_WORDS, STOP_WITHIN};
use crate::listen::{self, Listener};
use crate::queries::Queries;
use crate::sweep::Sessions;

/// What all sessions share.
pub(crate) struct House {
    /// What is served now; a request keeps the one that it began with.
    snapshot: RwLock<Arc<Snapshot>>,
    pub(crate) queries: Queries,
    pub(crate) sessions: Arc<Sessions>,
}

impl House {
    /// What is served now.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Serves until a signal ends it.
pub(crate) fn serve(config: &Config) -> Result<()> {
    let began = Instant::now();
    // Signals first: one that comes while the index is opened ends the process all the same, gently.
    let mut signals = Signals::new([SIGTERM, SIGINT]).context("cannot watch for signals")?;
    let connections = raise_descriptors(config.connections);
    let snapshot = Snapshot::open(&config.db, &config.index)
        .with_context(|| format!("cannot serve {} with {}", config.db.display(), config.index.display()))?;
    let listener = listen::bind(config.listen).with_context(|| {
        format!("cannot listen on {}; take another --listen, or port 0 for a free one", config.listen)
    })?;
    let address = listener.local_addr().context("the listening socket has no address")?;
    let greeting = snapshot.greeting();
    tracing::info!(
        %address,
        generation = greeting.generation,
        rows = greeting.rows,
        workers = config.workers,
        connections,
        open_ms = began.elapsed().as_millis() as u64,
        "serving"
    );
    let house = start_house(snapshot, config.workers)?;
    let listener = Listener::start(listener, Arc::clone(&house), connections).context("cannot start the listener")?;
    let mut out = io::stdout();
    writeln!(out, "ready {address}").and_then(|()| out.flush()).context("cannot write to standard output")?;

    let signal = signals.forever().next();
    tracing::info!(signal, "stopping");
    // The flag before the listener is woken: it then knows why.
    house.sessions.begin_stop();
    listener.stop();
    let left = house.sessions.end_all(STOP_WITHIN);
    if left > 0 {
        tracing::warn!(left, "connections were still open at the end");
    }
    tracing::info!("stopped");
    Ok(())
}

/// Starts the threads of the house: those that are no coroutine workers first, since what `may` does to its own must not be inherited.
pub(crate) fn start_house(snapshot: Snapshot, workers: usize) -> Result<Arc<House>> {
    let pool = rayon::ThreadPoolBuilder::new().thread_name(|number| format!("batch-{number}"));
    // Only a second server in one process, in a test, finds a pool already there.
    let _ = pool.build_global();
    let queries = Queries::start(workers).context("cannot start the query threads")?;
    let sessions = Sessions::start().context("cannot start the sweep")?;
    may::config().set_worker_pin(false);
    may::config().set_workers(workers).set_stack_size(STACK_WORDS);
    // The scheduler starts with the first coroutine, and its threads inherit the name of the one that starts them.
    let start = || may::go!(|| ()).join();
    let started = std::thread::Builder::new().name("worker".to_owned()).spawn(start);
    started
        .context("cannot start the workers")?
        .join()
        .ok()
        .and_then(Result::ok)
        .context("the workers did not start")?;
    Ok(Arc::new(House { snapshot: RwLock::new(Arc::new(snapshot)), queries, sessions }))
}

/// Raises the process's limit of open files for `connections`; where it cannot be raised so far, fewer connections fit.
fn raise_descriptors(connections: usize) -> usize {
    let wanted = connections as u64 + DESCRIPTORS_RESERVED;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return connections;
    }
    let current = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum: limit.maximum }) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
    let granted = getrlimit(Resource::Nofile).current.unwrap_or(wanted);
    let fitting = granted.saturating_sub(DESCRIPTORS_RESERVED).clamp(1, connections as u64) as usize;
    if fitting < connections {
        tracing::warn!(
            wanted = connections,
            fitting,
            "the limit of open files allows fewer connections; raise `ulimit -n`"
        );
    }
    fitting
}
