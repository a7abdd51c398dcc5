//! The reload: one thread looks once a second, and at SIGHUP, whether `CURRENT` names another generation or the database is another file, and
//! serves what fits.
//!
//! A generation is read whole and compared with its checksums before it is taken up. Where it does not hold, or does not fit the database, the one
//! that is served stays, as long as that one fits; else every question is `unavailable`, until something fits again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use balcao_engine::{OpenError, Sight, Snapshot};
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::limits::{LOOK_EVERY, OPEN_PAUSE, OPEN_TRIES, RETRY_EVERY};
use crate::serve::House;
use crate::threads;

/// Asks for a look now.
#[derive(Clone)]
pub(crate) struct Bell(Sender<()>);

impl Bell {
    /// Has everything looked at and opened anew, also where nothing seems to have changed.
    pub(crate) fn ring(&self) {
        // One that was rung and not answered yet is enough.
        let _ = self.0.try_send(());
    }
}

/// Where to look, and what was seen.
pub(crate) struct Reload {
    db: PathBuf,
    index: PathBuf,
    /// Threads that ask a snapshot at once.
    readers: usize,
    house: Arc<House>,
    bell: Receiver<()>,
    /// What was refused, and when: it is not tried again each second.
    refused: Option<(Sight, Instant)>,
}

impl Reload {
    /// Starts to look.
    pub(crate) fn start(db: PathBuf, index: PathBuf, readers: usize, house: &Arc<House>) -> std::io::Result<Bell> {
        let (sender, bell) = bounded(1);
        let mut reload = Self { db, index, readers, house: Arc::clone(house), bell, refused: None };
        threads::start("reload".to_owned(), &house.means.metrics, move || reload.run())?;
        Ok(Bell(sender))
    }

    fn run(&mut self) {
        loop {
            let rung = match self.bell.recv_timeout(LOOK_EVERY) {
                Ok(()) => true,
                Err(crossbeam_channel::RecvTimeoutError::Timeout) => false,
                Err(crossbeam_channel::RecvTimeoutError::Disconnected) => return,
            };
            self.look(rung);
        }
    }

    fn look(&mut self, rung: bool) {
        let served = self.house.snapshot();
        let sight = served.look(&self.index);
        let fits = sight.is_same_database(served.sight()) && !served.is_withdrawn();
        if !rung && fits && sight == *served.sight() {
            self.refused = None;
            return;
        }
        let again = |(refused, at): &(Sight, Instant)| *refused != sight || at.elapsed() >= RETRY_EVERY;
        if !rung && !self.refused.as_ref().is_none_or(again) {
            return;
        }
        let began = Instant::now();
        match self.open() {
            Ok(snapshot) => self.take_up(snapshot, began.elapsed()),
            Err(error) => {
                self.house.means.metrics.reloads_refused.add_one();
                let generation = served.greeting().generation.as_str();
                if fits {
                    tracing::error!(%error, generation, "what was published is refused; the generation before stays");
                } else {
                    served.withdraw();
                    tracing::error!(%error, generation, "the index does not fit the database: all questions are unavailable until it does");
                }
                let transient = matches!(error, OpenError::Changing);
                self.refused = (!transient).then(|| (sight, Instant::now()));
            }
        }
    }

    fn open(&self) -> Result<Snapshot, OpenError> {
        let mut tries = 1;
        loop {
            let open = || {
                let snapshot = Snapshot::open(&self.db, &self.index)?;
                snapshot.check_index()?;
                snapshot.reserve_readers(self.readers)?;
                Ok(snapshot)
            };
            match open() {
                Err(OpenError::Changing) if tries < OPEN_TRIES => std::thread::sleep(OPEN_PAUSE),
                result => return result,
            }
            tries += 1;
        }
    }

    fn take_up(&mut self, snapshot: Snapshot, took: Duration) {
        let (generation, rows) = (snapshot.greeting().generation.clone(), snapshot.greeting().rows);
        // The former one is let go by its last request.
        self.house.replace(snapshot);
        self.house.means.metrics.reloads_taken.add_one();
        self.refused = None;
        tracing::info!(generation, rows, took_ms = took.as_millis() as u64, "a generation was taken up");
    }
}
