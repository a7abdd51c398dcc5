//! The reload: one thread looks once a second, and at SIGHUP, whether `CURRENT` names another generation or the database is another file, and
//! serves what fits.
//!
//! What is new is read whole and compared with its checksums before it is taken up. Where it does not hold, or does not fit the database, the one
//! that is served stays, as long as that one fits; else every question is `unavailable`, until something fits again. What was replaced is watched
//! until its last request has ended: its database may be written to meanwhile.

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use balcao_engine::{OpenError, Sight, Snapshot};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::limits::{LOOK_EVERY, OPEN_PAUSE, OPEN_TRIES, RETRY_EVERY, WARN_EVERY};
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
    /// Snapshots that were replaced and may still be asked.
    former: Vec<Weak<Snapshot>>,
    /// When the log was last told that nothing could be looked at.
    warned: Option<Instant>,
}

impl Reload {
    /// Starts to look.
    pub(crate) fn start(db: PathBuf, index: PathBuf, readers: usize, house: &Arc<House>) -> std::io::Result<Bell> {
        let (sender, bell) = bounded(1);
        let house_of_it = Arc::clone(house);
        let mut reload =
            Self { db, index, readers, house: house_of_it, bell, refused: None, former: Vec::new(), warned: None };
        threads::start("reload".to_owned(), &house.means.metrics, move || reload.run())?;
        Ok(Bell(sender))
    }

    fn run(&mut self) {
        loop {
            let rung = match self.bell.recv_timeout(LOOK_EVERY) {
                Ok(()) => true,
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            self.look(rung);
        }
    }

    fn look(&mut self, rung: bool) {
        self.former.retain(|former| former.strong_count() > 0);
        self.former.iter().filter_map(Weak::upgrade).for_each(|former| withdraw_if_written(&former));
        let served = self.house.snapshot();
        if served.is_copy_written() {
            withdraw_if_written(&served);
        }
        let sight = served.look(&self.index);
        let fits = sight.is_same_database(served.sight()) && !served.is_withdrawn();
        if !rung && fits && sight == *served.sight() {
            self.refused = None;
            return;
        }
        let due = |(refused, at): &(Sight, Instant)| *refused != sight || at.elapsed() >= RETRY_EVERY;
        if !rung && !self.refused.as_ref().is_none_or(due) && !served.is_faulted() {
            return;
        }
        let began = Instant::now();
        let is_new_database = !sight.is_same_database(served.sight());
        match self.open_while_watching(&served, is_new_database) {
            Ok(snapshot) => self.take_up(&served, snapshot, began.elapsed()),
            Err(error) => self.refuse(&served, sight, &error, fits),
        }
    }

    /// Opens and compares what lies there now, on a thread of its own: that may take a while, and what is served, or was, must be looked at meanwhile.
    fn open_while_watching(&self, served: &Arc<Snapshot>, is_new_database: bool) -> Result<Snapshot, OpenError> {
        thread::scope(|scope| {
            let opening = scope.spawn(|| self.open(is_new_database));
            let mut looked = Instant::now();
            while !opening.is_finished() {
                thread::sleep(OPEN_PAUSE);
                if looked.elapsed() >= LOOK_EVERY {
                    looked = Instant::now();
                    let former = self.former.iter().filter_map(Weak::upgrade);
                    former.chain([Arc::clone(served)]).for_each(|snapshot| withdraw_if_written(&snapshot));
                }
            }
            // A panic while opening is one of this thread: it is counted, and begins anew.
            opening.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn open(&self, is_new_database: bool) -> Result<Snapshot, OpenError> {
        let mut tries = 1;
        loop {
            let open = || self.prepared(Snapshot::open(&self.db, &self.index)?, is_new_database);
            match open() {
                Err(OpenError::Changing) if tries < OPEN_TRIES => thread::sleep(OPEN_PAUSE),
                result => return result,
            }
            tries += 1;
        }
    }

    /// Compares everything that can be, and opens the database for every thread.
    fn prepared(&self, snapshot: Snapshot, is_new_database: bool) -> Result<Snapshot, OpenError> {
        snapshot.check_index()?;
        if is_new_database {
            // It is not the file that was indexed, as far as a glance tells: nothing less than all of it says that it is the same all the same.
            snapshot.check_source()?;
        }
        snapshot.reserve_readers(self.readers)?;
        Ok(snapshot)
    }

    fn take_up(&mut self, served: &Arc<Snapshot>, snapshot: Snapshot, took: Duration) {
        let (generation, rows) = (snapshot.greeting().generation.clone(), snapshot.greeting().rows);
        // Requests that began with it are still being answered from it.
        withdraw_if_written(served);
        self.former.push(Arc::downgrade(served));
        self.house.replace(snapshot);
        self.house.means.metrics.reloads_taken.add_one();
        (self.refused, self.warned) = (None, None);
        tracing::info!(generation, rows, took_ms = took.as_millis() as u64, "a generation was taken up");
    }

    fn refuse(&mut self, served: &Arc<Snapshot>, sight: Sight, error: &OpenError, fits: bool) {
        let generation = served.greeting().generation.as_str();
        if !error.is_verdict() {
            // Nothing is known, so that nothing changes, unless what is served was written to; the next look may see.
            withdraw_if_written(served);
            if self.warned.is_none_or(|warned| warned.elapsed() >= WARN_EVERY) {
                self.warned = Some(Instant::now());
                tracing::warn!(%error, generation, "index and database could not be looked at; this is tried again each second");
            }
            return;
        }
        self.house.means.metrics.reloads_refused.add_one();
        self.refused = Some((sight, Instant::now()));
        if fits {
            tracing::error!(%error, generation, "what was published is refused; the generation before stays");
            return;
        }
        // A fault of a file, be it of the one that is refused, has made everything suspect that is open: the generation before is opened again.
        if served.is_faulted() {
            let began = Instant::now();
            let again = served.open_again(&self.db).and_then(|snapshot| self.prepared(snapshot, true));
            if let Ok(snapshot) = again {
                tracing::error!(%error, generation, "what was published is refused; the generation before is opened again");
                return self.take_up(served, snapshot, began.elapsed());
            }
        }
        served.withdraw();
        tracing::error!(%error, generation, "the index does not fit the database: all questions are unavailable until it does");
    }
}

/// Withdraws a snapshot whose database was written to. A file that was only replaced is still what it was, for those who have it open.
fn withdraw_if_written(snapshot: &Snapshot) {
    if !snapshot.is_withdrawn() && !snapshot.is_intact() {
        snapshot.withdraw();
        let generation = snapshot.greeting().generation.as_str();
        tracing::error!(
            generation,
            "the database, or the copy of its rows, was written to; nothing is answered any more from what was opened before"
        );
    }
}
