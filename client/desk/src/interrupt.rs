//! `Interrupt`: Ctrl-C and its like. The first one shuts the connections, so that the server stops as well and whoever waits for a reply
//! wakes up, and leaves it to the run to end on a whole line; where the run cannot, it is ended.

use std::fmt;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use balcao_client::{Client, Stopper};

/// How long a run has to end on a whole line: enough for a page to be written, and no time for somebody who waits. It is used up only where
/// whoever reads our output does not.
#[cfg(unix)]
const GRACE: std::time::Duration = std::time::Duration::from_secs(1);

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
            std::thread::sleep(GRACE);
            std::process::exit(Interrupted(signal).exit_code().into());
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(listen).context(advice)?;
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

    /// An error once the user wants an end.
    pub(crate) fn check(&self) -> Result<()> {
        match self.signal.load(Ordering::SeqCst) {
            0 => Ok(()),
            signal => Err(Interrupted(signal).into()),
        }
    }

    /// What a failure really was: the shut connection is only how an interrupt shows.
    pub(crate) fn or(&self, error: impl Into<anyhow::Error>) -> anyhow::Error {
        self.check().err().unwrap_or_else(|| error.into())
    }
}
