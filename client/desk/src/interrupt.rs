//! `Interrupt`: Ctrl-C and its like. The first one shuts the connections, so that the server stops as well and whoever waits for a reply
//! wakes up, and leaves it to the run to end on a whole line; where the run cannot, it is ended.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use balcao_client::{Client, Stopper};

/// How long a run has to end on a whole line: enough for a page to be written, and no time for somebody who waits. It is used up only where
/// whoever reads our output does not.
#[cfg(unix)]
const GRACE: Duration = Duration::from_secs(1);

/// How long a wait does not look whether an end is wanted: too short for somebody to notice.
const STEP: Duration = Duration::from_millis(50);

/// What an interrupted run ends with; the exit code is that of a program which the signal ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interrupted(pub(crate) i32);

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

impl Interrupted {
    /// 128 and the signal, as shells have it.
    pub(crate) fn exit_code(self) -> u8 {
        u8::try_from(128 + self.0).unwrap_or(u8::MAX)
    }
}

/// Knows whether the user wants an end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt {
    /// The signal that came; 0 while none did.
    signal: Arc<AtomicI32>,
    stoppers: Arc<Mutex<Vec<Stopper>>>,
    /// The run ends by itself, however long that takes.
    is_held: Arc<AtomicBool>,
}

impl Interrupt {
    /// Listens from now on.
    pub(crate) fn listen() -> Result<Self> {
        let interrupt = Self::default();
        #[cfg(unix)]
        interrupt.spawn()?;
        Ok(interrupt)
    }

    #[cfg(unix)]
    fn spawn(&self) -> Result<()> {
        use anyhow::Context;
        use signal_hook::consts::{SIGINT, SIGTERM};
        use signal_hook::iterator::Signals;

        let advice = "cannot prepare for an interrupt; try again";
        let mut signals = Signals::new([SIGINT, SIGTERM]).context(advice)?;
        let interrupt = self.clone();
        let listen = move || {
            let Some(signal) = signals.forever().next() else { return };
            interrupt.raise(signal);
            thread::sleep(GRACE);
            if interrupt.is_held.load(Ordering::SeqCst) {
                // A second one is meant.
                signals.forever().next();
            }
            std::process::exit(Interrupted(signal).exit_code().into());
        };
        thread::Builder::new().name("signals".to_owned()).spawn(listen).context(advice)?;
        Ok(())
    }

    #[cfg(unix)]
    fn raise(&self, signal: i32) {
        self.signal.store(signal, Ordering::SeqCst);
        for stopper in self.stoppers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            stopper.stop();
        }
    }

    /// Shuts this client's connection too when the user wants an end.
    pub(crate) fn watch(&self, client: &Client) -> Result<()> {
        let stopper = client.stopper()?;
        self.stoppers.lock().unwrap_or_else(PoisonError::into_inner).push(stopper);
        // It may have come before.
        self.check()
    }

    /// Lets the run take the time that it needs for its end: it looks often enough whether one is wanted. A second signal ends it all the same.
    pub(crate) fn hold(&self) {
        self.is_held.store(true, Ordering::SeqCst);
    }

    /// Waits so long, or until the user wants an end.
    pub(crate) fn sleep(&self, wait: Duration) -> Result<()> {
        let end = Instant::now() + wait;
        loop {
            self.check()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(STEP));
        }
    }

    /// An error once the user wants an end.
    pub(crate) fn check(&self) -> Result<()> {
        match self.signal.load(Ordering::SeqCst) {
            0 => Ok(()),
            signal => Err(Interrupted(signal).into()),
        }
    }
}
