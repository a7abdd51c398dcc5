//! `server serve`, from the configuration to the end of the process.

use std::io::{self, Write};
use std::num::NonZero;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use balcao_engine::Snapshot;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::config::Config;
use crate::limits::{DEAR_NICENESS, DESCRIPTORS_RESERVED, STACK_WORDS, STACKS_KEPT, STOP_WITHIN};
use crate::listen::{self, Listener};
use crate::queries::{Means, Queries};
use crate::reload::Reload;
use crate::sweep::Sessions;
use crate::{memory, threads};

/// What all sessions share.
pub(crate) struct House {
    /// What is served now; a request keeps the one that it began with.
    snapshot: RwLock<Arc<Snapshot>>,
    pub(crate) queries: Queries,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) means: Means,
    /// Connections that are served at once, at most.
    pub(crate) connections: usize,
    /// After so long a connection that asks nothing is closed.
    pub(crate) idle: Duration,
    /// Verifications of one connection; 0 for none.
    pub(crate) verifies_per_minute: u32,
}

impl House {
    /// What is served now.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on this is served; requests that began with the former one end with it.
    pub(crate) fn replace(&self, snapshot: Snapshot) {
        let former =
            std::mem::replace(&mut *self.snapshot.write().unwrap_or_else(PoisonError::into_inner), Arc::new(snapshot));
        // Outside the lock: closing files takes its time.
        drop(former);
    }
}

/// Serves until a signal ends it.
pub(crate) fn serve(config: &Config) -> Result<()> {
    let began = Instant::now();
    // Signals first: one that comes while the index is opened ends the process all the same, gently.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).context("cannot watch for signals")?;
    // A session's worker, a query thread of each lane and a thread of the batch pool each ask at most once at a time.
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let readers = config.workers + Queries::threads(config.workers) + cores;
    let connections = raise_descriptors(config.connections, readers);
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
    snapshot.reserve_readers(readers).context("cannot open the database for every thread")?;
    let house = start_house(snapshot, &Rules { connections, ..Rules::of(config) })?;
    let bell =
        Reload::start(config.db.clone(), config.index.clone(), readers, &house).context("cannot watch the index")?;
    let listener = Listener::start(listener, &house).context("cannot start the listener")?;
    let mut out = io::stdout();
    writeln!(out, "ready {address}").and_then(|()| out.flush()).context("cannot write to standard output")?;

    let signal = signals.forever().find(|&signal| {
        let reload = signal == SIGHUP;
        if reload {
            tracing::info!("SIGHUP: looking for a new generation");
            bell.ring();
        }
        !reload
    });
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

/// By what a house is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Threads that serve the sessions.
    pub(crate) workers: usize,
    /// Connections at once, at most.
    pub(crate) connections: usize,
    /// After so long a connection that asks nothing is closed.
    pub(crate) idle: Duration,
    /// Verifications of one connection; 0 for none.
    pub(crate) verifies_per_minute: u32,
}

impl Rules {
    fn of(config: &Config) -> Self {
        let &Config { workers, connections, idle, verifies_per_minute, .. } = config;
        Self { workers, connections, idle, verifies_per_minute }
    }
}

/// Starts the threads of the house: those that are no coroutine workers first, since what `may` does to its own must not be inherited.
pub(crate) fn start_house(snapshot: Snapshot, rules: &Rules) -> Result<Arc<House>> {
    let &Rules { workers, connections, idle, verifies_per_minute } = rules;
    let means = Means { metrics: Arc::default(), budget: Arc::default(), warmth: Arc::default() };
    memory::give_large_blocks_back();
    // Nothing may ask rayon for anything before: the first question would make a pool of its own.
    let pool = rayon::ThreadPoolBuilder::new().thread_name(|number| format!("batch-{number}"));
    let pool = pool.start_handler(|_| threads::let_others_first(DEAR_NICENESS));
    // Only a second server in one process, in a test, finds a pool already there.
    let _ = pool.build_global();
    let queries = Queries::start(workers, &means.metrics).context("cannot start the query threads")?;
    let sessions = Sessions::start(&means.metrics, &means.budget, queries.lines()).context("cannot start the sweep")?;
    may::config().set_worker_pin(false);
    may::config().set_workers(workers).set_stack_size(STACK_WORDS).set_pool_capacity(STACKS_KEPT);
    // The scheduler starts with the first coroutine, and its threads inherit the name of the one that starts them.
    let start = || may::go!(|| ()).join();
    let started = thread::Builder::new().name("worker".to_owned()).spawn(start);
    started
        .context("cannot start the workers")?
        .join()
        .ok()
        .and_then(Result::ok)
        .context("the workers did not start")?;
    // The first coroutine installed handlers of its own for stacks that overflow; the one for files comes back into its place.
    balcao_engine::catch_map_faults().context("cannot catch the faults of mapped files")?;
    let snapshot = RwLock::new(Arc::new(snapshot));
    Ok(Arc::new(House { snapshot, queries, sessions, means, connections, idle, verifies_per_minute }))
}

/// Raises the process's limit of open files for `connections`, and for a snapshot with its readers beside another one that takes its place; where it cannot be raised so far, fewer connections fit.
fn raise_descriptors(connections: usize, readers: usize) -> usize {
    // Of the table and of its copy, of what is served and of what takes its place.
    let reserved = DESCRIPTORS_RESERVED + 4 * readers as u64;
    let wanted = connections as u64 + reserved;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return connections;
    }
    let current = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum: limit.maximum }) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
    let granted = getrlimit(Resource::Nofile).current.unwrap_or(wanted);
    let fitting = granted.saturating_sub(reserved).clamp(1, connections as u64) as usize;
    if fitting < connections {
        tracing::warn!(
            wanted = connections,
            fitting,
            "the limit of open files allows fewer connections; raise `ulimit -n`"
        );
    }
    fitting
}
